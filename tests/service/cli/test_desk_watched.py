"""A plan when the worker that watches the folder was first."""

from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from service.catalog import read_folder
from service.cli.main import cli
from service.clock import utc_now
from service.settings import load
from service.storage.migrate import migrate
from service.storage.sql import open_store
from service.use_cases import launch

METRICS = "metrics:\n  purchase: {kind: conversion, event: Order Completed, window: 7d}\n"
WORKER = "The worker that watches the folder applied it by itself at "


@pytest.mark.parametrize(
    ("by", "age", "said"),
    [
        (launch.WATCH, timedelta(minutes=1), True),
        (launch.WATCH, timedelta(hours=2), False),
        ("cli", timedelta(minutes=1), False),
    ],
)
def test_a_plan_says_that_the_watching_worker_was_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str, age: timedelta, said: bool
) -> None:
    (tmp_path / "metrics.yaml").write_text(METRICS, "utf-8")
    monkeypatch.setenv("OPPORTUNE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OPPORTUNE_CATALOG", str(tmp_path))
    (tmp_path / "home").mkdir()
    migrate(load().database_url)
    store = open_store(load())
    launch.apply(store, read_folder(tmp_path), by=by, now=utc_now() - age)
    store.close()

    told = CliRunner().invoke(cli, ["plan"]).output

    assert "revision 1 is live. Nothing to do." in told
    assert (WORKER in told) is said
