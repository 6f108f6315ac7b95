"""From YAML over stored events to the verdict: metrics that are more than one number of a unit."""

import random
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.catalog.metric_templates import TEMPLATES, yaml_of
from service.dashboard.page import page
from service.lake.moments import LAST_EVENTS
from service.storage.records import Event, VerdictSnapshot
from service.use_cases.judge import refresh_verdicts
from service.use_cases.verdict_exports import to_csv, to_markdown
from service.use_cases.verdicts import body_of
from tests.service.use_cases.shops import KEY, START, a_store, exposure, launched, shown

PER_DAY, DAYS = 800, 3
NOW = START + timedelta(days=30)
METRICS = """\
metrics:
  order_value: {kind: ratio, event: Order Completed, value: revenue, per: Order Completed, window: 1d}
  load_time: {kind: quantile, event: Page Loaded, value: ms, quantile: 90%, window: 1d, direction: down}
  spend: {kind: mean, event: Order Completed, value: revenue, cap: 500, lookback: 7d, window: 1d}
  nps: {kind: nps, event: Survey Answered, value: score, window: 1d}
  profit:
    {template: margin, factor: 35%, currency: EUR, where: {revenue: {gte: 10}},
     cap: 900, owner: li, window: 1d}
  slowest: {kind: mean, event: Page Loaded, value: ms, aggregate: max, unit: ms, cap: 60000, window: 1d}
"""
EXPERIMENT = """\
experiment: free-shipping
variants: {control: "", banner: "Free shipping over 30 EUR"}
metrics: {primary: order_value, secondary: [load_time, spend, nps, profit, slowest]}
analysis: {mde: 20% relative}
decide: {min_runtime: 2d}
"""
FILES = {"metrics.yaml": METRICS, "experiments/free-shipping.yaml": EXPERIMENT}


class Visitor:
    """What one visitor did, known to the test and told in events."""

    def __init__(self, rng: random.Random, number: int) -> None:
        self.unit = f"v{number}"
        self.variant = "banner" if number % 2 else "control"
        self.at = START + timedelta(days=number // PER_DAY, seconds=number % PER_DAY)
        helped = self.variant == "banner"
        taste = rng.lognormvariate(3, 0.6)
        self.before = round(taste * rng.uniform(0.9, 1.1), 2)
        n_orders = rng.choice((0, 1, 1, 2)) if number % 10 else 0
        self.orders = [
            round(taste * rng.uniform(0.9, 1.1) * (1.4 if helped else 1), 2) for _ in range(n_orders)
        ]
        self.loads = [round(rng.lognormvariate(6, 0.5) * (0.7 if helped else 1), 1)] if number % 5 else []
        scores = (7, 8, 9, 10) if helped else (4, 6, 7, 9)
        self.score = rng.choice(scores) if number % 3 == 0 else None

    def events(self) -> Iterator[Event]:
        """Yield the exposure and what came before and after it."""
        yield exposure(self.unit, self.variant, self.at)
        yield self._did("Order Completed", -48, revenue=self.before, currency="EUR")
        for hour, revenue in enumerate(self.orders):
            yield self._did("Order Completed", hour + 1, revenue=revenue, currency="EUR", discount=4)
        for ms in self.loads:
            yield self._did("Page Loaded", 0, ms=ms)
        if self.score is not None:
            yield self._did("Survey Answered", 12, score=self.score)

    def _did(self, kind: str, hours: int, **said: object) -> Event:
        return Event(
            event_id=f"{kind}-{self.unit}-{hours}",
            type=kind,
            occurred_at=self.at + timedelta(hours=hours),
            anonymous_id=self.unit,
            properties=said,
        )


@pytest.fixture(scope="module")
def visitors() -> list[Visitor]:
    rng = random.Random(5)
    return [Visitor(rng, number) for number in range(PER_DAY * DAYS)]


def judged(folder: Path, files: dict[str, str], visitors: list[Visitor]) -> VerdictSnapshot:
    events = [event for visitor in visitors for event in visitor.events()]
    # The newest events tell up to when the log is complete: a month later all days are closed.
    later = [
        Event(event_id=f"later-{i}", type="Page Viewed", occurred_at=NOW, anonymous_id="z", properties={})
        for i in range(LAST_EVENTS)
    ]
    with a_store(folder / "home") as store:
        launched(store, files)
        shown(store, folder / "lake", [*events, *later])
        refresh_verdicts(store, folder / "lake", now=NOW)
        snapshot = store.latest_verdict(KEY)
    assert snapshot is not None
    return snapshot


@pytest.fixture(scope="module")
def snapshot(visitors: list[Visitor], tmp_path_factory: pytest.TempPathFactory) -> VerdictSnapshot:
    return judged(tmp_path_factory.mktemp("kinds"), FILES, visitors)


@pytest.fixture(scope="module")
def verdict(snapshot: VerdictSnapshot) -> dict[str, Any]:
    return body_of(snapshot)


def rows(verdict: dict[str, Any], metric: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the entries of control and of the treatment."""
    control, banner = (row for row in verdict["metrics"] if row["metric"] == metric)
    assert (control["variant"], banner["variant"]) == ("control", "banner")
    return control, banner


def of(visitors: list[Visitor], variant: str) -> list[Visitor]:
    return [visitor for visitor in visitors if visitor.variant == variant]


def test_a_ratio_is_the_quotient_of_the_sums_and_decides(
    visitors: list[Visitor], verdict: dict[str, Any]
) -> None:
    for row in rows(verdict, "order_value"):
        orders = [revenue for visitor in of(visitors, row["variant"]) for revenue in visitor.orders]
        assert row["estimate"] == pytest.approx(sum(orders) / len(orders), rel=1e-7)
        assert (row["test"], row["n"]) == ("ratio", PER_DAY * DAYS // 2)
    assert rows(verdict, "order_value")[1]["lift"]["estimate"] == pytest.approx(0.4, abs=0.1)
    assert (verdict["decision"], verdict["variant"]) == ("ship", "banner")


def test_a_quantile_is_that_of_the_units_with_an_event(
    visitors: list[Visitor], verdict: dict[str, Any]
) -> None:
    for row in rows(verdict, "load_time"):
        loads = [sum(visitor.loads) for visitor in of(visitors, row["variant"]) if visitor.loads]
        assert row["n"] == len(loads)
        assert row["estimate"] == pytest.approx(np.quantile(loads, 0.9), rel=0.03)
    banner = rows(verdict, "load_time")[1]
    assert (banner["test"], banner["state"]) == ("quantile", "better")
    assert banner["lift"]["upper"] < 0


def test_what_units_did_before_makes_the_interval_of_a_mean_narrower(
    visitors: list[Visitor], verdict: dict[str, Any]
) -> None:
    for row in rows(verdict, "spend"):
        spent = [sum(visitor.orders) for visitor in of(visitors, row["variant"])]
        assert row["estimate"] == pytest.approx(sum(spent) / len(spent), rel=1e-7)
    adjusted = rows(verdict, "spend")[1]["adjusted"]
    effect = rows(verdict, "spend")[1]["effect"]
    raw = adjusted["unadjusted_effect"]
    narrower = (effect["upper"] - effect["lower"]) / (raw["upper"] - raw["lower"])
    assert narrower == pytest.approx(adjusted["variance_ratio"] ** 0.5, rel=0.05)
    assert narrower < 0.9


def test_a_net_promoter_score_lies_between_minus_and_plus_100(
    visitors: list[Visitor], verdict: dict[str, Any]
) -> None:
    for row in rows(verdict, "nps"):
        scores = [v.score for v in of(visitors, row["variant"]) if v.score is not None]
        points = [100 if score >= 9 else -100 if score <= 6 else 0 for score in scores]
        assert row["estimate"] == pytest.approx(sum(points) / len(points), rel=1e-7)
    assert rows(verdict, "nps")[1]["effect"]["estimate"] > 20


def test_a_margin_is_what_is_left_of_the_orders_that_count(
    visitors: list[Visitor], verdict: dict[str, Any]
) -> None:
    for row in rows(verdict, "profit"):
        mine = of(visitors, row["variant"])
        left = [sum(0.35 * r - 4 for r in visitor.orders if r >= 10) for visitor in mine]
        assert row["estimate"] == pytest.approx(sum(left) / len(left), rel=1e-6)
        assert min(left) < 0


def test_the_largest_number_of_a_unit_is_its_value(visitors: list[Visitor], verdict: dict[str, Any]) -> None:
    for row in rows(verdict, "slowest"):
        slowest = [max(visitor.loads, default=0) for visitor in of(visitors, row["variant"])]
        assert row["estimate"] == pytest.approx(sum(slowest) / len(slowest), rel=1e-7)


def test_every_template_is_judged(visitors: list[Visitor], tmp_path: Path) -> None:
    keys = [name for name in TEMPLATES if name != "conversion"]
    metrics = "metrics:\n" + "".join(map(yaml_of, TEMPLATES))
    plan = EXPERIMENT.replace("order_value", "conversion").replace(
        "load_time, spend, nps, profit, slowest", ", ".join(keys)
    )
    files = {"metrics.yaml": metrics, "experiments/free-shipping.yaml": plan}

    body = body_of(judged(tmp_path, files, visitors[:40]))

    assert {row["metric"] for row in body["metrics"]} == set(TEMPLATES)


def test_the_plan_of_each_metric_and_its_numbers_are_on_record(verdict: dict[str, Any]) -> None:
    record = verdict["record"]["metrics"]

    assert record["order_value"]["per"] == "Order Completed"
    assert record["load_time"]["quantile"] == 0.9
    assert record["spend"]["lookback_s"] == 7 * 86_400
    assert record["nps"]["scale"] == [0, 10]
    assert (record["profit"]["factor"], record["profit"]["minus"]) == (0.35, "discount")
    assert (record["profit"]["where"], record["profit"]["owner"]) == ({"revenue": {"gte": 10}}, "li")
    assert (record["slowest"]["aggregate"], record["slowest"]["unit"]) == ("max", "ms")
    assert "nps,secondary,banner" in to_csv(verdict)
    assert "| `load_time` | secondary | `banner` |" in to_markdown(verdict)


def test_the_page_says_what_each_metric_is(snapshot: VerdictSnapshot) -> None:
    told = dict(page(snapshot, (), standing="", trouble="").record)["metrics"]

    assert "order_value: ratio of Order Completed, revenue per Order Completed, within 1 d, better up" in told
    assert "load_time: quantile of Page Loaded, ms, 0.9 quantile, within 1 d, better down" in told
    assert "spend: mean of Order Completed, revenue capped at 500, adjusted for the 7 d before, " in told
    assert "times 0.35 less discount, where revenue gte 10, within 1 d, better up, of li" in told
    assert "slowest: mean of Page Loaded, max ms capped at 60000 in ms, within 1 d" in told


def test_units_without_an_event_are_left_out_of_a_quantile_and_accounted_for(
    visitors: list[Visitor], tmp_path: Path
) -> None:
    alone = EXPERIMENT.replace(
        "order_value, secondary: [load_time, spend, nps, profit, slowest]", "load_time"
    )
    some = visitors[:60]

    body = body_of(judged(tmp_path, FILES | {"experiments/free-shipping.yaml": alone}, some))

    account = body["exposure"]
    without = sum(not visitor.loads for visitor in some)
    assert account["excluded"] == {"immature": 0, "multiple_variants": 0, "without_event": without}
    assert sum(account["analysed"].values()) == 60 - without
    assert f"{without} did nothing that the metric is about" in body["text"]
    assert next(c for c in body["checks"] if c["check"] == "accounting")["state"] == "ok"
