"""`train`: from the log to a live model; a tiny shop gets bestsellers and is told why."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from service import artifacts
from service.cli.train import report_lines
from service.settings import REPOSITORY, Settings, load
from service.storage.migrate import migrate
from service.storage.records import Item
from service.storage.sql import SqlStore, open_store
from service.use_cases.train import Gate, event_weights, gate, train
from tests.service.recommend.kit import NOW, Shop, an_order, make_shop, no_progress, put


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load({"OPPORTUNE_HOME": str(tmp_path)})


@pytest.fixture
def store(settings: Settings) -> Iterator[SqlStore]:
    migrate(settings.database_url)
    opened = open_store(settings)
    yield opened
    opened.close()


def test_a_shop_with_enough_data_gets_a_personal_model_that_beats_bestsellers(trained: Shop) -> None:
    report = trained.report

    assert report.reason == ""
    assert report.engine == "lightfm-warp+ease"
    assert report.evaluated is not None
    assert report.evaluated.gate.passed
    scores = report.evaluated.scores
    assert scores["served"].ndcg > scores["popularity"].ndcg


def test_the_report_names_the_measure_and_the_gate(trained: Shop) -> None:
    text = "\n".join(report_lines(trained.report))

    assert "NDCG@10" in text
    assert "x LightFM's static vectors" in text
    assert "Gate passed" in text
    assert trained.report.version in text


def test_the_same_log_gives_the_same_digest(trained: Shop, tmp_path: Path) -> None:
    again = make_shop(tmp_path)

    first, _ = artifacts.load(trained.settings.models, trained.report.version)
    second, _ = artifacts.load(again.settings.models, again.report.version)
    assert first["digest"] == second["digest"]
    assert first["metrics"]["cases"] >= 50
    assert first["data"]["people"] == 240


def test_three_items_and_five_events_give_bestsellers_and_a_reason(
    settings: Settings, store: SqlStore
) -> None:
    orders = [("a", "tea"), ("b", "tea"), ("c", "tea"), ("a", "cup"), ("b", "lamp")]
    put(
        store,
        *(an_order(f"o{n}", who, [what], NOW - timedelta(days=n)) for n, (who, what) in enumerate(orders)),
    )

    report = train(settings, store, now=NOW, progress=no_progress)

    assert report.engine == "popularity"
    assert "at least" in report.reason
    assert store.live_state().model == report.version
    _, model = artifacts.load(settings.models, report.version)
    assert model.item_ids[int(np.argmax(model.popularity))] == b"tea"
    assert report.reason[1:] in "\n".join(report_lines(report))


def test_items_without_any_event_give_a_model_too(settings: Settings, store: SqlStore) -> None:
    store.put_items([Item(item_id="tea"), Item(item_id="cup")])

    report = train(settings, store, now=NOW, progress=no_progress)

    assert report.items == 2
    assert artifacts.load(settings.models, report.version)[1].popularity.tolist() == [0.0, 0.0]


def test_an_empty_store_publishes_nothing(settings: Settings, store: SqlStore) -> None:
    report = train(settings, store, now=NOW, progress=no_progress)

    assert report.version == ""
    assert store.live_state().model == ""
    assert "Nothing published." in report_lines(report)


def test_people_who_never_came_back_cannot_be_checked(settings: Settings, store: SqlStore) -> None:
    rng = np.random.default_rng(1)
    for person in range(150):
        items = [f"i{n}" for n in rng.choice(30, size=10, replace=False)]
        put(store, an_order(f"o{person}", f"p{person}", items, NOW - timedelta(days=5)))

    report = train(settings, store, now=NOW, progress=no_progress)

    assert report.engine == "popularity"
    assert "came back" in report.reason


def test_the_gate_closes_when_served_is_worse_by_more_than_one_error() -> None:
    better, worse = np.full(50, 0.2), np.full(50, 0.1) + np.linspace(0, 0.01, 50)

    assert gate({"served": better, "popularity": worse}).passed
    assert not gate({"served": worse, "popularity": better}).passed
    assert Gate(margins={"popularity": (-0.01, 0.02)}).passed
    assert not Gate(margins={"popularity": (-0.03, 0.02)}).passed


def test_weights_default_to_orders() -> None:
    assert event_weights([]) == {"Order Completed": 1.0}


def test_the_web_process_never_loads_lightfm() -> None:
    code = "import sys, service.app, service.asgi; sys.exit('lightfm' in sys.modules)"

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, check=False, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
