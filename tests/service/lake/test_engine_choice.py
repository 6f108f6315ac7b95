"""Which engine a setting opens, and what PostgreSQL in place makes of properties and of a log that grows."""

import random
import struct
from dataclasses import replace
from math import isfinite
from pathlib import Path

import pytest

from experiments.kinds import micro_of
from service import settings
from service.lake import export_all
from service.lake.columns import Wanted
from service.lake.engine import EngineError
from service.lake.engines import open_engine
from service.lake.moments import LakeReader
from service.lake.rows import canonical_json
from service.settings import Settings, SettingsError
from service.storage.places import place_of
from service.storage.sql import SqlStore
from tests.service.lake.logs import ListLog, an_event, an_exposure, received
from tests.service.lake.test_moments import BANNER, EXPERIMENT, METRICS

AWKWARD = (
    *(0, -0.0, 5.0, 1e22, 1e23, 1e308, -1e308, 5e-324, 2.5e-07, 1e-5, 9.99e-5, 0.0001, 0.0000005, 0.0000015),
    *(2**53, 2.0**53, 2.0**53 + 2, 1234567890123456.5, 4503599627370497.5, 999999999999999.9, 1e15, 1e16),
    *(2**63, -(2**63), 2**64 - 1, True, False, None, "5", "", 'a"b\\c\n\t\x7f\x01é😀/', [1], {"a": 1}, 19.99),
)


def loaded(home: Path, **variables: str) -> Settings:
    return settings.load({"OPPORTUNE_HOME": str(home), **variables})


def random_floats(n: int) -> list[float]:
    rng = random.Random(6)
    bits = (struct.unpack("d", struct.pack("Q", rng.getrandbits(64)))[0] for _ in range(n))
    return [*filter(isfinite, bits), *(rng.uniform(-1e4, 1e4) for _ in range(n))]


def test_the_setting_chooses_and_the_default_is_the_lake_of_this_machine(tmp_path: Path) -> None:
    log = ListLog()
    log.append(received(an_exposure("x1", "a", BANNER)))
    export_all(log, tmp_path / "lake")

    with open_engine(loaded(tmp_path)) as engine:
        assert (engine.name, engine.offset) == ("duckdb", 1)
        assert LakeReader(engine).facts(EXPERIMENT, METRICS, until_us=0).n_events == 1
    with open_engine(loaded(tmp_path), upto=0) as engine:
        assert engine.offset == 0
        assert LakeReader(engine).facts(EXPERIMENT, METRICS, until_us=0).n_events == 0


def test_an_engine_that_cannot_be_used_says_what_it_needs(tmp_path: Path) -> None:
    chosen = loaded(tmp_path, OPPORTUNE_ENGINE="postgresql")

    with pytest.raises(EngineError, match="OPPORTUNE_DATABASE_URL"), open_engine(chosen):
        pass
    with pytest.raises(EngineError, match="duckdb, postgresql, spark"), open_engine(chosen, name="oracle"):
        pass
    with pytest.raises(SettingsError, match="'Oracle': expected one of duckdb, postgresql, spark"):
        loaded(tmp_path, OPPORTUNE_ENGINE="Oracle")
    assert loaded(tmp_path, OPPORTUNE_ENGINE="DuckDB").engine == "duckdb"
    assert loaded(tmp_path, OPPORTUNE_LOG_LEVEL="warning").log_level == "WARNING"


def test_postgresql_writes_a_property_as_an_export_does(tmp_path: Path, postgres_url: str) -> None:
    values = [*AWKWARD, *random_floats(300)]
    store = SqlStore(place_of(postgres_url))
    store.append(received(*(an_event(f"e{i}", v=value) for i, value in enumerate(values))))
    kept = [logged.received.event.properties["v"] for logged in store.read(0, len(values))]
    store.close()
    wanted = Wanted(facts=("v",), amounts=("v",))
    in_place = loaded(tmp_path, OPPORTUNE_ENGINE="postgresql", OPPORTUNE_DATABASE_URL=postgres_url)

    with open_engine(in_place) as engine:
        rows = sorted(engine.rows(engine.events(wanted)), key=lambda row: int(row["seq"]))

    expected = [None if isinstance(value, list | dict) else canonical_json(value) for value in kept]
    assert [row["fact_0"] for row in rows] == expected
    assert [row["amount_0"] for row in rows] == [micro_of(value) for value in kept]


def test_postgresql_sees_the_log_up_to_where_it_was_complete(tmp_path: Path, postgres_url: str) -> None:
    in_place = loaded(tmp_path, OPPORTUNE_ENGINE="postgresql", OPPORTUNE_DATABASE_URL=postgres_url)
    store = SqlStore(place_of(postgres_url))
    store.append(received(an_exposure("x1", "a", BANNER)))
    with open_engine(in_place) as engine:
        store.append(received(an_exposure("x2", "b", BANNER)))
        early = LakeReader(engine).facts(EXPERIMENT, METRICS, until_us=0)
        offset = engine.offset
    with open_engine(replace(in_place, engine="duckdb"), name="postgresql") as engine:
        whole, newest = LakeReader(engine).facts(EXPERIMENT, METRICS, until_us=0), engine.offset
    with open_engine(in_place, upto=offset) as engine:
        again = LakeReader(engine).facts(EXPERIMENT, METRICS, until_us=0)
    left = [name for name in ("x1", "x2") if store.stored_events([name])]
    store.close()

    assert (early.n_events, whole.n_events) == (1, 2)
    assert again == early
    assert (offset, newest, left) == (1, 2, ["x1", "x2"])
