"""One evaluation and twenty without a server: ours, and GrowthBook's Python SDK on our payload of them."""

import gc
from collections.abc import Callable
from datetime import UTC, datetime
from time import process_time_ns
from typing import Any

from growthbook import GrowthBook

from experiments.growthbook.payload import payload
from scripts.bench import shop
from scripts.bench.table import Sample

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)

Contexts = list[dict[str, Any]]


def measure(*, rounds: int, n: int) -> dict[str, Sample]:
    """Return nanoseconds of CPU time for each question, by name; rounds are interleaved."""
    contexts = shop.visitors(n)
    served = shop.compiled()
    sdk = GrowthBook(**_sdk_arguments())
    _check_agreement(served.keys, contexts[:200], sdk)
    asks: dict[str, tuple[Callable[[Contexts], None], int]] = {
        "ours, one flag": (lambda people: _ours_single(served, people), len(served.keys)),
        "ours, bulk of 20": (lambda people: _ours_bulk(served, people), 1),
        "GrowthBook SDK, one flag": (lambda people: _sdk_single(sdk, served.keys, people), len(served.keys)),
        "GrowthBook SDK, bulk of 20": (lambda people: _sdk_single(sdk, served.keys, people), 1),
    }
    found: dict[str, list[float]] = {name: [] for name in asks}
    for _ in range(rounds):
        for name, (ask, parts) in asks.items():
            # The SDK takes some hundred times as long: a part of the visitors says as much.
            people = contexts if name.startswith("ours") else contexts[: max(1, n // 20)]
            gc.collect()
            began = process_time_ns()
            ask(people)
            found[name].append((process_time_ns() - began) / (len(people) * parts))
    return {name: Sample(values) for name, values in found.items()}


def _ours_single(served: Any, people: Contexts) -> None:  # noqa: ANN401 - a CompiledCatalog
    assign, keys = served.assign, served.keys
    for context in people:
        for key in keys:
            assign(key, context, now=NOW)


def _ours_bulk(served: Any, people: Contexts) -> None:  # noqa: ANN401 - a CompiledCatalog
    assign_all = served.assign_all
    for context in people:
        assign_all(context, now=NOW)


def _sdk_single(sdk: GrowthBook, keys: tuple[str, ...], people: Contexts) -> None:
    for context in people:
        sdk.set_attributes(context)
        for key in keys:
            sdk.eval_feature(key)


def _sdk_arguments() -> dict[str, Any]:
    told = payload(shop.catalog(), now=NOW)
    return {"features": told["features"], "saved_groups": told["savedGroups"]}


def _check_agreement(keys: tuple[str, ...], people: Contexts, sdk: GrowthBook) -> None:
    """Refuse to compare what does not answer alike."""
    served = shop.compiled()
    for context in people:
        sdk.set_attributes(context)
        for key in keys:
            ours = served.assign(key, context, now=NOW).value
            if sdk.eval_feature(key).value != ours:
                raise SystemExit(f"{key} differs for {context}: the comparison would be void")
