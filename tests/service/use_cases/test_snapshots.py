"""What a snapshot remembers: what was planned, what was changed since, and that it is the last one."""

import csv
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from service.storage.ports import Store
from service.storage.records import VerdictSnapshot
from service.use_cases.judge import refresh_verdict, refresh_verdicts
from service.use_cases.launch import apply
from service.use_cases.verdict_exports import to_csv, to_markdown
from service.use_cases.verdict_history import history, turns
from service.use_cases.verdict_inputs import recorded_of
from tests.service.use_cases.shops import FILES, KEY, START, a_store, a_week, launched, order, put, shown

NOW = START + timedelta(days=30)
EXPERIMENT = FILES["experiments/free-shipping.yaml"]
METRICS = FILES["metrics.yaml"]
LATER = START + timedelta(days=9)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with a_store(tmp_path / "home") as opened:
        yield opened


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    return tmp_path / "lake"


def applied(store: Store, *, experiment: str = EXPERIMENT, metrics: str = METRICS) -> int:
    files = {**FILES, "experiments/free-shipping.yaml": experiment, "metrics.yaml": metrics}
    return apply(store, files, by="test", now=LATER).revision


def judged(store: Store, lake: Path) -> VerdictSnapshot:
    refresh_verdict(store, lake, KEY, now=NOW)
    snapshot = store.latest_verdict(KEY)
    assert snapshot is not None
    return snapshot


def body(snapshot: VerdictSnapshot) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(snapshot.body)
    return parsed


def flags(verdict: dict[str, Any]) -> dict[str, bool]:
    return {row["metric"]: row["exploratory"] for row in verdict["metrics"]}


def test_an_unrelated_edit_changes_the_catalog_digest_and_not_that_of_the_plan(
    store: Store, lake: Path
) -> None:
    launched(store)
    shown(store, lake, a_week(per_day=20))
    before = body(judged(store, lake))["digests"]
    apply(store, {**FILES, "other.yaml": "flag: new\n"}, by="test", now=LATER)
    unrelated = body(judged(store, lake))["digests"]
    applied(store, experiment=EXPERIMENT + "audience: {country: ES}\n")
    own = body(judged(store, lake))["digests"]

    assert before["catalog"] != unrelated["catalog"]
    assert before["config"] == unrelated["config"] != own["config"]


def test_a_metric_that_is_added_after_the_launch_is_exploratory_from_its_first_day(
    store: Store, lake: Path
) -> None:
    launched(
        store, {**FILES, "experiments/free-shipping.yaml": EXPERIMENT.replace("secondary: [revenue], ", "")}
    )
    shown(store, lake, a_week(per_day=300))
    first = body(judged(store, lake))
    revision = applied(store)
    verdict = body(judged(store, lake))

    assert flags(first) == {"purchase": False, "refunds": False}
    assert flags(verdict) == {"purchase": False, "revenue": True, "refunds": False}
    added = next(r for r in verdict["metrics"] if r["metric"] == "revenue" and r["variant"] == "banner")
    assert added["n"] == next(r["n"] for r in verdict["metrics"] if r["variant"] == "banner")
    assert [r["lift"] for r in first["metrics"] if r["metric"] == "purchase"] == [
        r["lift"] for r in verdict["metrics"] if r["metric"] == "purchase"
    ]
    assert "Exploratory, added after the launch" in verdict["text"]
    assert verdict["revision"] == revision
    rows = list(csv.DictReader(to_csv(verdict).splitlines()))
    assert {row["metric"]: row["exploratory"] for row in rows}["revenue"] == "true"
    assert "exploratory" in to_markdown(verdict)


def test_a_guardrail_that_is_added_after_the_launch_rolls_nothing_back(store: Store, lake: Path) -> None:
    bare = "metrics: {primary: purchase}"
    plan = EXPERIMENT[EXPERIMENT.index("metrics:") : EXPERIMENT.index("analysis:")].strip()
    launched(store, {**FILES, "experiments/free-shipping.yaml": EXPERIMENT.replace(plan, bare)})
    shown(store, lake, a_week())
    assert body(judged(store, lake))["decision"] == "ship"
    # Control orders less often, so that "fewer orders" is a guardrail that the banner breaks at once.
    applied(
        store,
        experiment=EXPERIMENT.replace(
            plan, "metrics: {primary: purchase, guardrails: [{metric: orders, margin: 1% relative}]}"
        ),
        metrics=METRICS
        + "  orders: {kind: conversion, event: Order Completed, window: 1d, direction: down}\n",
    )

    verdict = body(judged(store, lake))

    assert {r["state"] for r in verdict["metrics"] if r["metric"] == "orders"} == {"control", "worse"}
    assert (verdict["decision"], verdict["rule"]) == ("ship", "primary_better")


def test_another_primary_metric_decides_nothing(store: Store, lake: Path) -> None:
    launched(store)
    shown(store, lake, a_week())
    judged(store, lake)
    applied(
        store, experiment=EXPERIMENT.replace("primary: purchase, secondary: [revenue]", "primary: revenue")
    )

    verdict = body(judged(store, lake))

    assert (verdict["decision"], verdict["rule"]) == ("keep_running", "primary_not_planned")
    assert "primary_not_planned:revenue" in verdict["warnings"]


def test_what_was_planned_is_what_the_newest_revision_before_the_start_said(store: Store, lake: Path) -> None:
    later = EXPERIMENT.replace("secondary: [revenue], ", "") + "status: draft\n"
    launched(store, {**FILES, "experiments/free-shipping.yaml": later})
    applied(store)
    shown(store, lake, a_week(per_day=20))

    snapshot = judged(store, lake)

    planned = recorded_of(snapshot).planned
    assert planned is not None
    assert (planned.revision, planned.primary) == (2, "purchase")
    assert flags(body(snapshot))["revenue"] is False


def test_without_earlier_snapshots_the_launch_is_found_among_the_revisions(store: Store, lake: Path) -> None:
    launched(
        store, {**FILES, "experiments/free-shipping.yaml": EXPERIMENT.replace("secondary: [revenue], ", "")}
    )
    applied(store)
    shown(store, lake, a_week(per_day=20))

    assert flags(body(judged(store, lake)))["revenue"] is True


def test_a_metric_that_is_measured_in_another_way_is_told_with_the_revision(store: Store, lake: Path) -> None:
    launched(store)
    shown(store, lake, a_week(per_day=60))
    judged(store, lake)
    renamed = applied(store, metrics=METRICS.replace("placed an order", "ordered"))
    assert "metric_changed" not in str(body(judged(store, lake))["warnings"])
    changed = applied(store, metrics=METRICS.replace("Refunded, window: 1d", "Refunded, window: 2d"))
    applied(store, metrics=METRICS.replace("Refunded, window: 1d", "Refunded, window: 2d") + "\n")

    verdict = body(judged(store, lake))

    assert changed == renamed + 1
    assert "metric_changed:refunds" in verdict["warnings"]
    assert {r["changed_since"] for r in verdict["metrics"] if r["metric"] == "refunds"} == {changed}
    assert f"refunds is measured in another way since revision {changed}" in verdict["text"]


def stopped(store: Store, lake: Path) -> VerdictSnapshot:
    """Stop after a week, and let the last windows end."""
    launched(store)
    shown(store, lake, a_week(per_day=60))
    judged(store, lake)
    applied(store, experiment=EXPERIMENT + "status: stopped\n")
    assert not judged(store, lake).final
    shown(store, lake, [order("other", START + timedelta(days=9, seconds=i)) for i in range(200)])
    return judged(store, lake)


def test_a_stopped_experiment_is_final_once_every_window_has_ended(store: Store, lake: Path) -> None:
    snapshot = stopped(store, lake)

    assert snapshot.final
    assert body(snapshot)["final"] is True
    assert body(snapshot)["exposure"]["excluded"]["immature"] == 0
    assert "This verdict is final" in body(snapshot)["text"]
    assert history(store, KEY, 1)[-1].members()["final"] is True


def test_nothing_changes_a_final_verdict(store: Store, lake: Path) -> None:
    snapshot = stopped(store, lake)
    late = [order(f"v1-{i}", START + timedelta(days=1, hours=2)) for i in range(50)]
    shown(store, lake, late)
    applied(store, experiment=EXPERIMENT.replace("maria@", "li@") + "status: stopped\n")

    assert refresh_verdict(store, lake, KEY, now=NOW + timedelta(days=1)) is False
    assert refresh_verdicts(store, lake, now=NOW + timedelta(days=1), settled=True) == 0
    assert store.latest_verdict(KEY) == snapshot


def test_a_history_tells_the_lift_as_each_snapshot_said_it(store: Store, lake: Path) -> None:
    launched(store)
    for day in range(3, 8):
        put(
            store,
            *[
                e
                for e in a_week(days=day)
                if e.occurred_at >= START + timedelta(days=day - 1 if day > 3 else 0)
            ],
        )
        shown(store, lake, [])
        judged(store, lake)

    told = history(store, KEY, 1)

    assert [one.row.id for one in told] == [f"{KEY}.1.{n}" for n in range(1, len(told) + 1)]
    last = body(judged(store, lake))
    lift = next(r["lift"] for r in last["metrics"] if r["variant"] == "banner")
    assert told[-1].treatments[0].lift == lift
    assert [one.row.id for one in turns(store, KEY, 1)] == [one.row.id for one in told]
    assert told[0].members()["version"]
