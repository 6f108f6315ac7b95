"""One question, one answer: DuckDB, PostgreSQL and Spark against plain Python, integer by integer."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from experiments.definitions import Experiment
from service.clock import to_micros
from service.lake import erase, export_all
from service.lake.engine import Engine
from service.lake.engines.duckdb import open_duckdb
from service.lake.engines.postgresql import open_postgresql
from service.lake.engines.spark import HERE, open_spark, start_session
from service.lake.moments import LakeReader
from service.storage.places import place_of
from service.storage.records import Event
from service.storage.sql import SqlStore
from tests.postgres import Cluster
from tests.service.lake.histories import ACCOUNT, UNTIL, History, history, told, told_by_hand
from tests.service.lake.logs import START, days, received
from tests.service.lake.test_kinds import EXPERIMENT, METRICS

N_HISTORIES = 50
SOURCE = "events"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A history that has been told to a store on PostgreSQL, and exported to a lake."""

    of: History
    url: Any
    tenant: str
    lake: Path

    def facts(self, opened: AbstractContextManager[Engine], experiment: Experiment) -> dict[str, object]:
        with opened as engine:
            return told(LakeReader(engine).facts(experiment, self.of.metrics, until_us=to_micros(UNTIL)))


Ask = Callable[[Told, Experiment], dict[str, object]]


@pytest.fixture(scope="module")
def database(cluster: Cluster) -> Iterator[str]:
    url = cluster.new_database()
    yield url
    cluster.drop(url)


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    if shutil.which("java") is None:
        pytest.skip("Java 17 is not installed")
    session = start_session("local[2]", **FAST)
    yield session
    session.stop()


# Histories are small: what speeds up the large only costs time here.
FAST = {
    "spark.sql.shuffle.partitions": "1",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.driver.extraJavaOptions": f"{HERE['spark.driver.extraJavaOptions']} -XX:TieredStopAtLevel=1",
}


@pytest.fixture(params=["duckdb", "postgresql", "spark"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """Give what asks one engine; another engine is one more entry."""
    if request.param == "duckdb":
        return lambda said, of: said.facts(open_duckdb(said.lake), of)
    if request.param == "postgresql":
        return lambda said, of: said.facts(open_postgresql(said.url, tenant=said.tenant), of)
    session = request.getfixturevalue("spark")
    return lambda said, of: said.facts(open_spark(session, said.lake), of)


@pytest.fixture(scope="module")
def histories(database: str, tmp_path_factory: pytest.TempPathFactory) -> list[Told]:
    url = place_of(database)
    return [
        tell(history(seed), url, f"shop{seed}", tmp_path_factory.mktemp("lake"))
        for seed in range(N_HISTORIES)
    ]


def tell(of: History, url: Any, tenant: str, lake: Path) -> Told:
    """Append a history in batches of many days of receipt, export it in steps, and erase whom it erases."""
    store = SqlStore(url, tenant=tenant)
    try:
        _send(store, of.events[: of.erased_after], lake)
        if of.erased:
            store.delete_person((), user_ids=(), anonymous_ids=of.erased)
            erase(lake, user_ids=(), anonymous_ids=of.erased)
        _send(store, of.events[of.erased_after :], lake)
    finally:
        store.close()
    return Told(of=of, url=url, tenant=tenant, lake=lake)


def _send(store: SqlStore, events: Sequence[Event], lake: Path) -> None:
    for i in range(0, len(events), 50):
        store.append(received(*events[i : i + 50], at=START + days(i % 3), source=SOURCE))
    export_all(store, lake)


def test_an_engine_gives_the_integers_of_plain_python_for_fifty_histories(
    ask: Ask, histories: list[Told]
) -> None:
    for said in histories:
        expected = told_by_hand(said.of.left(), said.of.metrics, source=SOURCE)

        assert ask(said, EXPERIMENT) == expected, said.tenant


def test_a_unit_that_is_a_property_gives_the_same_integers(ask: Ask, histories: list[Told]) -> None:
    for said in histories[:5]:
        expected = told_by_hand(said.of.left(), said.of.metrics, source=SOURCE)

        # Only visitors can be one person.
        assert ask(said, replace(EXPERIMENT, unit=ACCOUNT)) == {**expected, "contaminated": 0}, said.tenant


def test_the_histories_have_what_makes_a_history_hard(histories: list[Told]) -> None:
    facts = [told_by_hand(said.of.left(), said.of.metrics, source=SOURCE) for said in histories]

    assert {metric.key for said in histories for metric in said.of.metrics} == {m.key for m in METRICS}
    assert sum(bool(found["contaminated"]) for found in facts) > 10
    assert sum(bool(found["absent"]) for found in facts) > 2
    assert sum(bool(said.of.erased) for said in histories) > 10
    assert sum(found["n_events"] == 0 for found in facts) > 2
