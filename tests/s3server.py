"""An S3 server of its own for tests: moto's, as another process on a free port, with one empty bucket."""

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.error import URLError

import fsspec

from tests.server import free_port

BUCKET = "shop"
PATIENCE_S = 60
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "eu-central-1",
}


@contextmanager
def running_s3() -> Iterator[dict[str, str]]:
    """Start a server; give the environment variables that lead clients to it."""
    # Clients are kept by their arguments: one of a server of an earlier test would be asked again.
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(
        command, env={**os.environ, **CREDENTIALS}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            _make_bucket(f"http://127.0.0.1:{port}")
            yield {**CREDENTIALS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
        finally:
            server.terminate()


def _make_bucket(url: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            request = urllib.request.Request(f"{url}/{BUCKET}", method="PUT", data=b"")
            signed = "AWS4-HMAC-SHA256 Credential=testing/20260101/us-east-1/s3/aws4_request"
            request.add_header("Authorization", signed)
            urllib.request.urlopen(request).close()
        except URLError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)
        else:
            return
