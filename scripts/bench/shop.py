"""What is measured: 20 definitions with targeting, and 5,000 visitors, so that no cache can help."""

import random
from typing import Any

from experiments.assignment import CompiledCatalog, compile_catalog
from experiments.definitions import Catalog
from service.catalog import load

N_VISITORS = 5_000
AUDIENCES = (
    "{country: {in: [ES, PT, FR, DE]}}",
    "{all: [{country: {in: [ES, PT]}}, {age: {gte: 18}}]}",
    "{plan: {ne: free}}",
    "{any: [{plan: gold}, {orders: {gt: 3}}]}",
    "{app: {semver_gte: 2.1.0}}",
    "{audience: loyal}",
    "{tags: {contains: tea}}",
    "{not: {device: bot}}",
    "{email_domain: {ends_with: .example}}",
    "{language: {in: [es, pt, fr, en]}}",
)
FILES: dict[str, str] = {
    "metrics.yaml": "metrics:\n  purchase: {kind: conversion, event: Order Completed, window: 7d}\n",
    "audiences.yaml": "audiences:\n  loyal: {all: [{orders: {gte: 2}}, {plan: {in: [silver, gold]}}]}\n",
    "gates.yaml": "layers:\n  page: {}\nholdouts:\n  q1: {share: 5%}\n",
}
for i in range(14):
    gate = {3: "holdout: q1\n", 5: "layer: {name: page, from: 0%, share: 50%}\n", 7: "allocation: 40%\n"}
    gate[9] = "layer: {name: page, from: 50%, share: 50%}\n"
    FILES[f"e{i:02}.yaml"] = (
        f"experiment: experiment-{i:02}\naudience: {AUDIENCES[i % 10]}\n{gate.get(i, '')}"
        f"variants: {{control: old {i}, treatment: new {i}}}\nmetrics: {{primary: purchase}}\n"
    )
for i in range(6):
    share = ("allocation: 20%\n", "")[i % 2]
    FILES[f"f{i:02}.yaml"] = f"flag: flag-{i:02}\naudience: {AUDIENCES[(i + 4) % 10]}\n{share}"


def catalog() -> Catalog:
    """Return the catalog."""
    return load(FILES).catalog


def compiled() -> CompiledCatalog:
    """Return it as a worker serves it."""
    return compile_catalog(catalog())


def visitors(n: int = N_VISITORS) -> list[dict[str, Any]]:
    """Return contexts as a shop sends them; always the same ones."""
    draw = random.Random(20)
    return [
        {
            "anonymous_id": f"{draw.getrandbits(128):032x}",
            "country": draw.choice(["ES", "PT", "FR", "DE", "GB", "US"]),
            "language": draw.choice(["es", "pt", "fr", "de", "en"]),
            "age": draw.randint(15, 80),
            "plan": draw.choice(["free", "silver", "gold"]),
            "orders": draw.randint(0, 8),
            "app": draw.choice(["1.9.4", "2.1.0", "2.10.3", "3.0.0-rc.1"]),
            "device": draw.choice(["desktop", "mobile", "tablet", "bot"]),
            "tags": draw.sample(["tea", "coffee", "gift", "mug", "new"], 2),
            "email_domain": draw.choice(["mail.example", "shop.test", "corp.example"]),
        }
        for _ in range(n)
    ]
