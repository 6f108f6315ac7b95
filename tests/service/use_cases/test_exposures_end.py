"""Exposures of what is over, and the quick reading of what an exposure claims."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import ValidationError

from service.settings import load
from service.storage.migrate import migrate
from service.storage.sql import SqlStore, open_store
from service.use_cases.exposures import Claim, ExposureSchema, obvious_claim
from service.use_cases.ingest import CLIENT, SERVER
from service.use_cases.launch import apply
from tests.service.use_cases.deliveries import NOW, send
from tests.service.use_cases.test_exposures import ENROLLED, METRICS, an_exposure, dated, files, status_of

LAUNCH = NOW - timedelta(days=3)
STOP = NOW - timedelta(hours=1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    settings = load({"OPPORTUNE_HOME": str(tmp_path)})
    migrate(settings.database_url)
    opened = open_store(settings)
    yield opened
    opened.close()


@pytest.mark.parametrize("trust", [CLIENT, SERVER])
@pytest.mark.parametrize("revision", [1, ...])
@pytest.mark.parametrize("taken_out", [False, True])
def test_an_exposure_dated_after_its_experiment_was_stopped_is_quarantined(
    store: SqlStore, taken_out: bool, revision: Any, trust: str
) -> None:
    apply(store, files(), by="test", now=LAUNCH)
    apply(store, status_of("stopped"), by="test", now=STOP)
    if taken_out:
        apply(store, {"metrics.yaml": METRICS}, by="test", now=STOP + timedelta(minutes=1))
    shown = an_exposure(ENROLLED, "banner", revision=revision)

    told = [
        send(store, dated(shown, STOP + timedelta(minutes=n), f"e{n}"), trust=trust)[0] for n in (-9, 4, 7)
    ]

    assert [result.get("reason") for result in told] == [None, None, "experiment_stopped"]


def test_an_exposure_after_the_schedule_closed_is_quarantined(store: SqlStore) -> None:
    dates = f"{{start: {LAUNCH.isoformat()}, end: {STOP.isoformat()}}}"
    catalog = files()
    catalog["experiments/hero.yaml"] += f"schedule: {dates}\n"
    apply(store, catalog, by="test", now=LAUNCH)
    shown = an_exposure(ENROLLED, "banner")

    told = [send(store, dated(shown, STOP + timedelta(minutes=n), f"e{n}"))[0] for n in (4, 6)]

    assert [result.get("reason") for result in told] == [None, "experiment_stopped"]


def test_a_backfill_from_before_an_experiment_was_in_the_catalog_is_not_after_its_end(
    store: SqlStore,
) -> None:
    apply(store, {"metrics.yaml": METRICS}, by="test", now=NOW - timedelta(days=9))
    apply(store, files(), by="test", now=LAUNCH)
    old = dated(an_exposure(ENROLLED, "banner", revision=2), NOW - timedelta(days=6))

    assert send(store, old, trust=SERVER)[0]["status"] == "accepted"


NUMBERS = st.none() | st.booleans() | st.integers(-(2**54), 2**54) | st.floats(allow_nan=False)
VALUES = NUMBERS | st.text(max_size=3) | st.just("x" * 129) | st.lists(st.integers(), max_size=1)
GOOD: dict[str, Any] = {
    "experiment_key": "hero",
    "variant_key": "banner",
    "unit_type": "user_id",
    "unit_id": "maria",
    "phase": 1,
    "revision": 7,
}


@given(
    changed=st.dictionaries(st.sampled_from([*GOOD, "more"]), VALUES, max_size=3),
    absent=st.sets(st.sampled_from(list(GOOD)), max_size=1),
)
def test_an_obvious_claim_is_what_the_schema_would_read(changed: dict[str, Any], absent: set[str]) -> None:
    properties = {name: said for name, said in {**GOOD, **changed}.items() if name not in absent}

    obvious = obvious_claim(properties)

    try:
        loaded = Claim(**ExposureSchema().load(properties))
    except ValidationError:
        assert obvious is None
    else:
        assert obvious == loaded
