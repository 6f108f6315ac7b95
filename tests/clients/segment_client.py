"""Segment's Python library, run where it has its own environment: makes the calls it is told and waits."""

import json
import sys

from segment.analytics.client import Client

asked = json.load(sys.stdin)
failed = []
client = Client(
    write_key=asked["key"],
    host=asked["url"],
    gzip=asked["gzip"],
    max_retries=asked["retries"],
    on_error=lambda error, batch: failed.append([str(error), len(batch)]),
)
for call in asked["calls"]:
    getattr(client, call["method"])(**call["with"])
client.flush()
client.join()
json.dump(failed, sys.stdout)
