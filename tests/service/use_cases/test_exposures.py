"""Which exposures count: those that this service would have assigned, of an experiment that was live."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from experiments.assignment import variant_of
from experiments.definitions import Experiment
from service.catalog.loader import load as load_catalog
from service.settings import load
from service.storage.migrate import migrate
from service.storage.sql import SqlStore, open_store
from service.use_cases.exposures import ExposureBook
from service.use_cases.ingest import CLIENT, SERVER, Terms, take_in
from service.use_cases.launch import apply
from tests.service.use_cases.deliveries import NOW, an_event, send

METRICS = "metrics:\n  purchase: {kind: conversion, event: Order Completed, window: 7d}\n"
HERO = """\
experiment: hero
phase: {phase}
unit: {unit}
allocation: {allocation}%
variants: {{control: "", banner: "Hello"}}
overrides: {{banner: [qa-maria]}}
metrics: {{primary: purchase}}
"""


def files(*, phase: int = 1, unit: str = "anonymous_id", allocation: int = 50) -> dict[str, str]:
    hero = HERO.format(phase=phase, unit=unit, allocation=allocation)
    return {"metrics.yaml": METRICS, "experiments/hero.yaml": hero}


def hero(catalog: dict[str, str]) -> Experiment:
    return load_catalog(catalog).catalog.experiments["hero"]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    settings = load({"OPPORTUNE_HOME": str(tmp_path)})
    migrate(settings.database_url)
    opened = open_store(settings)
    yield opened
    opened.close()


def unit_of(experiment: Experiment, variant: str | None) -> str:
    return next(f"v{n}" for n in range(10_000) if variant_of(experiment, f"v{n}") == variant)


def an_exposure(unit_id: str, variant: str, **changes: Any) -> dict[str, Any]:
    properties = {
        "experiment_key": "hero",
        "variant_key": variant,
        "unit_type": "anonymous_id",
        "unit_id": unit_id,
        "phase": 1,
        "revision": 1,
        **changes,
    }
    properties = {name: value for name, value in properties.items() if value is not ...}
    return an_event(type="Experiment Viewed", anonymous_id=unit_id, properties=properties)


def test_an_exposure_of_the_assigned_variant_is_accepted(store: SqlStore) -> None:
    apply(store, files(), by="test", now=NOW)

    for variant in ("control", "banner"):
        unit = unit_of(hero(files()), variant)
        (result,) = send(store, an_exposure(unit, variant) | {"event_id": unit})
        assert result["status"] == "accepted"


ENROLLED = unit_of(hero(files()), "banner")
OUTSIDE = unit_of(hero(files()), None)

MISMATCHES: dict[str, tuple[dict[str, Any], str]] = {
    "another experiment": (an_exposure(ENROLLED, "banner", experiment_key="other"), "unknown_experiment"),
    "another experiment, any revision": (
        an_exposure(ENROLLED, "banner", experiment_key="other", revision=...),
        "unknown_experiment",
    ),
    "a revision to come": (an_exposure(ENROLLED, "banner", revision=2), "unknown_revision"),
    "another phase": (an_exposure(ENROLLED, "banner", phase=2), "phase_mismatch"),
    "another phase, any revision": (
        an_exposure(ENROLLED, "banner", phase=2, revision=...),
        "phase_mismatch",
    ),
    "the other variant": (an_exposure(ENROLLED, "control"), "variant_mismatch"),
    "a variant that is not there": (an_exposure(ENROLLED, "treatment"), "variant_mismatch"),
    "the default": (an_exposure(ENROLLED, "default"), "not_enrolled"),
    "a unit outside the allocation": (an_exposure(OUTSIDE, "banner"), "not_enrolled"),
    "a unit forced for QA": (an_exposure("qa-maria", "banner"), "override"),
    "another unit type": (
        an_exposure(ENROLLED, "banner", unit_type="user_id") | {"user_id": ENROLLED},
        "unit_mismatch",
    ),
    "somebody else's unit": (an_exposure(ENROLLED, "banner") | {"anonymous_id": "a1"}, "unit_mismatch"),
    "no experiment": (an_exposure(ENROLLED, "banner", experiment_key=...), "invalid_event"),
    "a phase as text": (an_exposure(ENROLLED, "banner", phase="1"), "invalid_event"),
    "a revision as text": (an_exposure(ENROLLED, "banner", revision="1"), "invalid_event"),
}


@pytest.mark.parametrize(("event", "reason"), MISMATCHES.values(), ids=MISMATCHES.keys())
def test_an_exposure_that_the_service_would_not_have_given_is_quarantined(
    store: SqlStore, event: dict[str, Any], reason: str
) -> None:
    apply(store, files(), by="test", now=NOW)

    (result,) = send(store, event)

    assert (result["status"], result["reason"]) == ("quarantined", reason)
    assert store.last_seq() == 0
    named = event["properties"].get("experiment_key")
    assert store.quarantined_exposures(str(named)) == ({reason: 1} if named else {})


def test_an_exposure_is_judged_by_the_revision_it_names_even_when_another_is_live(store: SqlStore) -> None:
    apply(store, files(allocation=50), by="test", now=NOW - timedelta(days=3))
    apply(store, files(allocation=100), by="test", now=NOW - timedelta(days=2))
    wide = hero(files(allocation=100))
    newcomer = next(
        f"v{n}" for n in range(10_000)
        if variant_of(wide, f"v{n}") == "banner" and variant_of(hero(files()), f"v{n}") is None
    )  # fmt: skip

    assert send(store, an_exposure(newcomer, "banner", revision=2))[0]["status"] == "accepted"
    assert send(store, an_exposure(newcomer, "banner", revision=1))[0]["reason"] == "not_enrolled"
    either = an_exposure(newcomer, "banner", revision=...) | {"event_id": "e9"}
    assert send(store, either)[0]["status"] == "accepted"


def test_a_revision_replaced_more_than_30_days_ago_is_stale(store: SqlStore) -> None:
    apply(store, files(), by="test", now=NOW - timedelta(days=60))
    apply(store, files(phase=2), by="test", now=NOW - timedelta(days=31))
    late = an_exposure(ENROLLED, "banner")

    (named,) = send(store, late, now=NOW)
    (unnamed,) = send(store, an_exposure(ENROLLED, "banner", revision=...), now=NOW)
    (in_time,) = send(
        store, late | {"occurred_at": (NOW - timedelta(days=2)).isoformat()}, now=NOW - timedelta(days=2)
    )

    assert named["reason"] == "stale_revision"
    assert unnamed["reason"] == "phase_mismatch"
    assert in_time["status"] == "accepted"


def test_a_book_that_knows_old_revisions_sees_a_new_one_at_once(store: SqlStore) -> None:
    book = ExposureBook()
    terms = Terms(trust=CLIENT, source="test", now=NOW)
    apply(store, files(), by="test", now=NOW)
    take_in(store, book, [an_exposure(ENROLLED, "banner")], terms=terms)
    apply(store, files(phase=2), by="test", now=NOW)
    second = hero(files(phase=2))
    variant = variant_of(second, ENROLLED) or "default"

    event = an_exposure(ENROLLED, variant, phase=2, revision=2) | {"event_id": "e2"}
    (result,) = take_in(store, book, [event], terms=terms)

    assert result.get("reason") == (None if variant != "default" else "not_enrolled")


def test_an_exposure_before_any_catalog_is_unknown(store: SqlStore) -> None:
    assert send(store, an_exposure(ENROLLED, "banner"))[0]["reason"] == "unknown_revision"
    assert send(store, an_exposure(ENROLLED, "banner", revision=...))[0]["reason"] == "unknown_experiment"


def test_a_unit_of_another_kind_is_checked_when_the_event_says_it(store: SqlStore) -> None:
    catalog = files(unit="store_id")
    apply(store, catalog, by="test", now=NOW)
    unit = unit_of(hero(catalog), "banner")
    said = an_exposure(unit, "banner", unit_type="store_id") | {"anonymous_id": "a1"}
    contradicted = an_exposure(unit, "banner", unit_type="store_id", store_id="another") | {
        "anonymous_id": "a1"
    }

    assert send(store, said)[0]["status"] == "accepted"
    assert send(store, contradicted)[0]["reason"] == "unit_mismatch"


def status_of(status: str, **changes: Any) -> dict[str, str]:
    catalog = files(**changes)
    hero_file = catalog["experiments/hero.yaml"].replace("phase:", f"status: {status}\nphase:")
    return catalog | {"experiments/hero.yaml": hero_file}


def dated(event: dict[str, Any], moment: datetime, event_id: str = "e1") -> dict[str, Any]:
    return event | {"occurred_at": moment.isoformat(), "event_id": event_id}


@pytest.mark.parametrize("trust", [CLIENT, SERVER])
@pytest.mark.parametrize("revision", [1, ...])
def test_an_exposure_of_a_draft_is_quarantined(store: SqlStore, trust: str, revision: Any) -> None:
    apply(store, status_of("draft"), by="test", now=NOW - timedelta(days=2))

    (result,) = send(store, an_exposure(ENROLLED, "banner", revision=revision), trust=trust)

    assert (result["status"], result["reason"]) == ("quarantined", "not_running")


@pytest.mark.parametrize("revision", [2, ...])
def test_a_client_cannot_date_an_exposure_before_the_launch_but_a_backfill_can(
    store: SqlStore, revision: Any
) -> None:
    launch = NOW - timedelta(days=1)
    apply(store, status_of("draft"), by="test", now=NOW - timedelta(days=6))
    apply(store, files(), by="test", now=launch)
    apply(store, files(allocation=60), by="test", now=NOW)
    shown = an_exposure(ENROLLED, "banner", revision=revision)

    (early,) = send(store, dated(shown, launch - timedelta(minutes=6)))
    (skewed,) = send(store, dated(shown, launch - timedelta(minutes=5), "e2"))
    (fresh,) = send(store, dated(shown, NOW, "e3"))
    (backfilled,) = send(store, dated(shown, launch - timedelta(days=3), "e4"), trust=SERVER)

    assert (early["status"], early["reason"]) == ("quarantined", "not_running")
    assert [skewed["status"], fresh["status"], backfilled["status"]] == ["accepted"] * 3


def test_a_new_phase_has_a_launch_of_its_own(store: SqlStore) -> None:
    apply(store, files(), by="test", now=NOW - timedelta(days=3))
    apply(store, files(phase=2), by="test", now=NOW - timedelta(hours=1))
    unit = unit_of(hero(files(phase=2)), "banner")
    second = an_exposure(unit, "banner", phase=2, revision=2)

    assert send(store, dated(second, NOW - timedelta(days=1)))[0]["reason"] == "not_running"
    assert send(store, dated(second, NOW))[0]["status"] == "accepted"
    late = an_exposure(ENROLLED, "banner", revision=...)
    assert send(store, dated(late, NOW, "e2"))[0]["status"] == "accepted"


def test_an_exposure_before_the_schedule_opens_is_quarantined(store: SqlStore) -> None:
    opens = NOW - timedelta(hours=2)
    catalog = files()
    hero_file = catalog["experiments/hero.yaml"]
    catalog["experiments/hero.yaml"] = f"{hero_file}schedule: {{start: {opens.isoformat()}}}\n"
    apply(store, catalog, by="test", now=NOW - timedelta(days=3))
    shown = an_exposure(ENROLLED, "banner")

    assert send(store, dated(shown, opens - timedelta(hours=1)))[0]["reason"] == "not_running"
    assert send(store, dated(shown, opens, "e2"))[0]["status"] == "accepted"


GATED = """\
layers: {page: {}}
holdouts: {q1: {share: 20%}}
"""
MEMBER = """\
experiment: hero
schedule: {start: 2026-12-01T00:00Z}
ramp: [{at: start, share: 20%}, {after: 10d, share: 100%}]
layer: {name: page, from: 30%, share: 40%}
holdout: q1
variants: {control: "", banner: "Hello"}
metrics: {primary: purchase}
"""
GATED_FILES = {"metrics.yaml": METRICS, "gates.yaml": GATED, "experiments/hero.yaml": MEMBER}
STARTED = datetime(2026, 12, 1, tzinfo=UTC)


def gated(store: SqlStore) -> Experiment:
    apply(store, GATED_FILES, by="test", now=STARTED - timedelta(days=1))
    return hero(GATED_FILES)


def without(experiment: Experiment, gate: str) -> str:
    """Return a unit that this gate alone keeps out."""
    wider = replace(experiment, layer=None) if gate == "layer" else replace(experiment, holdout=None)
    return next(
        unit
        for unit in (f"v{n}" for n in range(10_000))
        if variant_of(wider, unit) == "banner" and variant_of(experiment, unit) is None
    )


@pytest.mark.parametrize("gate", ["layer", "holdout"])
def test_an_exposure_of_a_unit_outside_the_layer_or_in_the_holdout_is_quarantined(
    store: SqlStore, gate: str
) -> None:
    now = STARTED + timedelta(days=20)
    experiment = gated(store)
    inside, outside = unit_of(experiment, "banner"), without(experiment, gate)

    told = [
        send(store, at(an_exposure(unit, "banner") | {"event_id": unit}, now), now=now)[0]
        for unit in (inside, outside)
    ]
    assert [result.get("reason") for result in told] == [None, "not_enrolled"]


def test_an_exposure_counts_from_the_step_of_the_ramp_that_enrols_its_unit(store: SqlStore) -> None:
    step = STARTED + timedelta(days=10)
    experiment = gated(store)
    late = next(
        unit
        for unit in (f"v{n}" for n in range(10_000))
        if variant_of(experiment, unit) == "banner" and variant_of(experiment, unit, at=STARTED) is None
    )

    told = []
    for minutes in (-6, -4, 1):
        now = step + timedelta(minutes=minutes)
        told += send(store, at(an_exposure(late, "banner") | {"event_id": f"e{minutes}"}, now), now=now)
    assert [result.get("reason") for result in told] == ["not_enrolled", None, None]


def test_an_exposure_that_says_it_was_forced_is_never_analysed(store: SqlStore) -> None:
    apply(store, files(), by="test", now=NOW)

    (forced,) = send(store, an_exposure(ENROLLED, "banner", decision="override"))
    (served,) = send(store, an_exposure(ENROLLED, "banner", decision="enrolled") | {"event_id": "e2"})
    assert (forced["reason"], served["status"]) == ("override", "accepted")


def test_a_unit_that_is_overridden_now_is_not_looked_up_in_older_revisions(store: SqlStore) -> None:
    apply(store, files(), by="test", now=NOW)
    forced = {name: text.replace("qa-maria", f"qa-maria, {ENROLLED}") for name, text in files().items()}
    apply(store, forced, by="test", now=NOW)

    (unnamed,) = send(store, an_exposure(ENROLLED, "banner", revision=...))
    assert unnamed["reason"] == "override"


def at(event: dict[str, Any], moment: datetime) -> dict[str, Any]:
    return event | {"occurred_at": moment.isoformat()}
