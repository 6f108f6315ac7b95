"""Goals over HTTP, on a real server: who may read them, and what they say."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from openapi_spec_validator import validate

from service.clock import utc_now
from service.lake import export_all
from service.lake.moments import open_lake
from service.storage.sql import open_store
from service.use_cases.goals_pass import refresh_goals
from service.use_cases.launch import live_catalog
from tests.server import CATALOG, Server, running_server, write_catalog
from tests.service.use_cases.shops import order, put

NOW = utc_now()
TODAY = NOW.date()
GOALS = f"""\
goals:
  grow: {{statement: Sell more, metric: day_buy, baseline: 10%, target: 20%, owner: maria,
    start: {TODAY - timedelta(days=10)}, due: {TODAY + timedelta(days=10)}}}
metrics:
  day_buy: {{kind: conversion, event: Order Completed, window: 1d}}
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("goals")
    catalog = write_catalog(home / "catalog", {**CATALOG, "goals.yaml": GOALS})
    with running_server(home / "home", catalog) as server:
        store = open_store(server.settings)
        put(store, *(order(f"v{i}", NOW - timedelta(days=2)) for i in range(3)))
        export_all(store, home / "lake")
        loaded = live_catalog(store)
        assert loaded is not None
        with open_lake(Path(home / "lake")) as reader:
            refresh_goals(store, reader.engine, loaded, today=TODAY, limit=100)
        store.close()
        yield server


def test_a_goal_tells_how_far_it_is_and_its_days(shop: Server) -> None:
    answer = shop.get("/v1/goals", key=shop.analyst_key)

    assert answer.status_code == 200
    assert answer.json()["revision"] == 1
    [goal] = answer.json()["goals"]
    assert (goal["goal"], goal["owner"], goal["parent"]) == ("grow", "maria", "")
    assert (goal["value"], goal["n"], goal["state"], goal["elapsed"]) == (1.0, 3, "reached", 0.5)
    assert goal["progress"] == pytest.approx(9)
    assert goal["text"] == "Reached: 100.00 % over the last 7 days; the target is 20.00 %."
    assert [day for day in goal["days"] if day["n"]] == [
        {"day": (TODAY - timedelta(days=1)).isoformat(), "value": 1.0, "n": 3}
    ]


@pytest.mark.parametrize(("key", "status"), [("", 401), ("client", 403), ("server", 200), ("admin", 200)])
def test_goals_are_for_those_who_read_verdicts(shop: Server, key: str, status: int) -> None:
    chosen = {"": "", "client": shop.client_key, "server": shop.server_key, "admin": shop.admin_key}[key]

    assert shop.get("/v1/goals", key=chosen).status_code == status


def test_the_description_tells_every_member(shop: Server) -> None:
    spec = shop.get("/openapi.json").json()
    [goal] = shop.get("/v1/goals", key=shop.analyst_key).json()["goals"]

    validate(spec)
    assert spec["paths"]["/v1/goals"]["get"]["x-scopes"]
    assert set(spec["components"]["schemas"]["goals_GoalSchema"]["properties"]) == set(goal)
