"""Shipping by hand, and what a decision about a phase does to serving and to counting."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from experiments.assignment import variant_of
from service.settings import load
from service.storage.analysis_records import Steering
from service.storage.migrate import migrate
from service.storage.sql import SqlStore, open_store
from service.use_cases.ingest import CLIENT, SERVER
from service.use_cases.launch import BlockedError, UnknownKeyError, apply, plan
from service.use_cases.shipping import ship, unship
from service.use_cases.snapshot import SnapshotHolder
from service.use_cases.steer import RefusedError
from tests.service.use_cases.deliveries import NOW, send
from tests.service.use_cases.test_exposures import (
    METRICS,
    an_exposure,
    dated,
    files,
    hero,
    status_of,
    unit_of,
)

LAUNCH = NOW - timedelta(days=3)
SHIPPED = NOW - timedelta(hours=1)
UNITS = [f"v{n}" for n in range(1_000)]
RAMPED = {
    "metrics.yaml": METRICS + "  refund: {kind: conversion, event: Order Refunded, window: 7d}\n",
    "experiments/hero.yaml": f"""\
experiment: hero
variants: {{control: "", banner: "Hello"}}
metrics: {{primary: purchase, guardrails: [{{metric: refund, margin: 20% relative}}]}}
schedule: {{start: {LAUNCH.isoformat()}}}
ramp:
  - {{at: start, share: 10%}}
  - {{after: 24h, share: 50%, if: guardrails_ok}}
  - {{after: 48h, share: 100%, if: guardrails_ok}}
""",
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    settings = load({"OPPORTUNE_HOME": str(tmp_path)})
    migrate(settings.database_url)
    opened = open_store(settings)
    yield opened
    opened.close()


def served(store: SqlStore, unit: str, holder: SnapshotHolder | None = None) -> str:
    holder = holder or SnapshotHolder(store)
    holder.refresh()
    return holder.current.compiled.assign("hero", {"anonymous_id": unit}, now=NOW).decision


def catalog(**changes: str) -> dict[str, str]:
    made = files()
    made["experiments/hero.yaml"] += "".join(f"{name}: {text}\n" for name, text in changes.items())
    return made


# --- by hand


def test_what_is_shipped_is_served_and_recorded_with_who_did_it(store: SqlStore) -> None:
    apply(store, files(), by="test", now=LAUNCH)
    stranger = unit_of(hero(files()), None)
    holder = SnapshotHolder(store)
    before = served(store, stranger, holder)

    done = ship(store, "hero", "banner", by="anna", now=SHIPPED)

    assert (done.variant, done.changed, done.notes) == ("banner", True, ())
    assert (before, served(store, stranger, holder)) == ("not_in_allocation", "shipped")
    assert [(one.changed_by, one.changed_at) for one in store.steerings()] == [("anna", SHIPPED)]
    assert not ship(store, "hero", "banner", by="ben", now=NOW).changed
    assert unship(store, "hero", by="ben", now=NOW).variant == "banner"
    assert not unship(store, "hero", by="ben", now=NOW).changed
    assert served(store, stranger, holder) == "not_in_allocation"


@pytest.mark.parametrize(
    ("key", "variant", "said"),
    [
        ("heor", "banner", "did you mean 'hero'"),
        ("hero", "baner", "did you mean 'banner'"),
        ("dark", "on", "'dark' is a flag"),
        ("*", "banner", "is everything"),
    ],
)
def test_only_a_variant_of_a_live_experiment_is_shipped(
    store: SqlStore, key: str, variant: str, said: str
) -> None:
    apply(store, {**files(), "flags/dark.yaml": "flag: dark\n"}, by="test", now=LAUNCH)

    with pytest.raises((UnknownKeyError, RefusedError), match=said):
        ship(store, key, variant, by="anna", now=NOW)

    assert store.steerings() == []


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (status_of("paused"), "opportune start hero"),
        (status_of("stopped"), "stays stopped"),
        (catalog(schedule=f"{{start: {(NOW + timedelta(days=1)).isoformat()}}}"), "begins only at"),
        (
            catalog(schedule=f"{{start: {LAUNCH.isoformat()}, end: {SHIPPED.isoformat()}}}"),
            "take 'end' out",
        ),
    ],
)
def test_what_serves_nobody_is_not_shipped(store: SqlStore, made: dict[str, str], said: str) -> None:
    apply(store, files() if "status" in made["experiments/hero.yaml"] else made, by="test", now=LAUNCH)
    apply(store, made, by="test", now=SHIPPED)

    with pytest.raises(RefusedError, match=said):
        ship(store, "hero", "banner", by="anna", now=NOW)


def test_what_stands_beside_a_shipping_is_told(store: SqlStore) -> None:
    made = catalog(layer="{name: page, from: 0%, share: 50%}", holdout="q1")
    made["gates.yaml"] = "layers: {page: {}}\nholdouts: {q1: {share: 5%}}\n"
    made["experiments/other.yaml"] = (
        "experiment: other\nvariants: {control: 1, two: 2}\nmetrics: {primary: purchase}\n"
        "layer: {name: page, from: 50%, share: 50%}\n"
    )
    apply(store, made, by="test", now=LAUNCH)
    store.set_killed("hero", killed=True, by="test", now=NOW)

    notes = ship(store, "hero", "banner", by="anna", now=NOW).notes

    assert len(notes) == 3
    assert "opportune revive 'hero'" in notes[0]
    assert "holdout q1" in notes[1]
    assert notes[2].endswith("are in other")


def test_a_shipping_that_ends_with_its_schedule_says_so(store: SqlStore) -> None:
    end = NOW + timedelta(days=5)
    made = catalog(schedule=f"{{start: {LAUNCH.isoformat()}, end: {end.isoformat()}}}")
    apply(store, made, by="test", now=LAUNCH)

    (note,) = ship(store, "hero", "banner", by="anna", now=NOW).notes

    assert note.startswith(f"its schedule ends at {end.isoformat()}, and the shipment with it")


# --- how it ends


@pytest.mark.parametrize(
    ("made", "decision"),
    [(status_of("stopped"), "not_running"), (files(phase=2, allocation=0), "not_in_allocation")],
)
def test_stopping_and_a_new_phase_end_a_shipping_and_a_plan_says_so(
    store: SqlStore, made: dict[str, str], decision: str
) -> None:
    apply(store, files(), by="test", now=LAUNCH)
    ship(store, "hero", "banner", by="anna", now=SHIPPED)

    warned = plan(store, made, NOW).warnings["experiments", "hero"]
    apply(store, made, by="test", now=NOW)

    assert "banner is shipped to everybody, and this ends it" in warned
    assert served(store, "v1") == decision


def test_a_shipping_outlives_a_pause_and_other_edits(store: SqlStore) -> None:
    apply(store, files(), by="test", now=LAUNCH)
    ship(store, "hero", "banner", by="anna", now=SHIPPED)

    decisions = []
    for made in (status_of("paused"), files(), files(allocation=80)):
        apply(store, made, by="test", now=NOW)
        decisions.append(served(store, "v1"))

    assert decisions == ["not_running", "shipped", "shipped"]


# --- what is served while the store is away


def test_a_process_that_starts_while_the_store_is_away_goes_on_shipping(
    store: SqlStore, tmp_path: Path
) -> None:
    spare = tmp_path / "run" / "spare.json"
    apply(store, RAMPED, by="test", now=LAUNCH)
    store.put_steering(Steering(experiment="hero", phase=1, shipped="banner", ramp_steps=2), by="x", now=NOW)
    SnapshotHolder(store, spare=spare).refresh()

    holder = SnapshotHolder(SqlStore(tmp_path / "missing" / "x.db"), spare=spare)

    assert served(store, "v1", holder) == "shipped"
    assert holder.store_problem
    assert holder.current.state.steering == store.live_state().steering
    assert holder.current.loaded.catalog.experiments["hero"].share_at(NOW) == 5_000


# --- what is counted


@pytest.mark.parametrize("trust", [CLIENT, SERVER])
@pytest.mark.parametrize("revision", [1, ...])
def test_an_exposure_dated_after_the_shipping_is_quarantined(
    store: SqlStore, revision: object, trust: str
) -> None:
    apply(store, files(), by="test", now=LAUNCH)
    ship(store, "hero", "banner", by="anna", now=SHIPPED)
    shown = an_exposure(unit_of(hero(files()), "banner"), "banner", revision=revision)

    told = [
        send(store, dated(shown, SHIPPED + timedelta(minutes=n), f"e{n}"), trust=trust)[0] for n in (-9, 4, 7)
    ]

    assert [result.get("reason") for result in told] == [None, None, "experiment_stopped"]
    unship(store, "hero", by="anna", now=NOW)
    assert send(store, dated(shown, NOW, "later"), trust=trust)[0]["status"] == "accepted"


def test_what_is_dated_within_a_shipping_counts_neither_after_another_variant_nor_after_its_end(
    store: SqlStore,
) -> None:
    apply(store, files(), by="test", now=LAUNCH)
    shown = an_exposure(unit_of(hero(files()), "banner"), "banner")
    ship(store, "hero", "banner", by="anna", now=SHIPPED)
    within = dated(shown, SHIPPED + timedelta(minutes=20), "within")

    ship(store, "hero", "control", by="automatic", now=SHIPPED + timedelta(minutes=40))
    after_another = send(store, within)[0]
    unship(store, "hero", by="anna", now=SHIPPED + timedelta(minutes=50))
    after_the_end = send(store, {**within, "event_id": "late"})[0]

    assert (after_another["reason"], after_the_end["reason"]) == ("experiment_stopped", "experiment_stopped")
    before = dated(shown, SHIPPED - timedelta(minutes=1), "before")
    assert send(store, before)[0]["status"] == "accepted"


@pytest.mark.parametrize("revision", [1, ...])
def test_who_came_in_by_a_gate_counts_and_who_waits_before_it_does_not(
    store: SqlStore, revision: object
) -> None:
    apply(store, RAMPED, by="test", now=LAUNCH)
    narrow, wide = (replace(hero(RAMPED), ramp=(), allocation_bp=share) for share in (1_000, 5_000))
    unit = next(u for u in UNITS if variant_of(wide, u) == "banner" and variant_of(narrow, u) is None)
    shown = an_exposure(unit, "banner", revision=revision)

    closed = send(store, {**shown, "event_id": "closed"})[0]
    store.put_steering(Steering(experiment="hero", phase=1, ramp_steps=2), by="automatic", now=NOW)
    opened = send(store, {**shown, "event_id": "opened"})[0]

    assert (closed["reason"], opened["status"]) == ("not_enrolled", "accepted")


# --- a ramp whose gate was opened


def test_an_edit_that_would_close_a_gate_behind_people_is_refused(store: SqlStore) -> None:
    apply(store, RAMPED, by="test", now=LAUNCH)
    store.put_steering(Steering(experiment="hero", phase=1, ramp_steps=2), by="automatic", now=NOW)
    text = RAMPED["experiments/hero.yaml"]
    inserted = text.replace("  - {after: 24h", "  - {after: 1h, share: 20%}\n  - {after: 24h")

    with pytest.raises(BlockedError, match="50% of the units are enrolled by now"):
        apply(store, {**RAMPED, "experiments/hero.yaml": inserted}, by="test", now=NOW)

    opened = Steering(experiment="hero", phase=1, ramp_steps=2, ramp_share_bp=5_000)
    store.put_steering(opened, by="automatic", now=NOW)
    assert apply(store, {**RAMPED, "experiments/hero.yaml": inserted}, by="test", now=NOW).changed

    finished = text[: text.index("ramp:")] + "allocation: 60%\n"
    assert apply(store, {**RAMPED, "experiments/hero.yaml": finished}, by="test", now=NOW).changed
