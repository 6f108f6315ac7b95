"""The desk when the home is half restored or the database is held by somebody else."""

import threading
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from service.cli.main import cli
from service.settings import UNFINISHED_RESTORE, load
from service.storage.sqlite import lock_path
from service.storage.turns import WriterLock

BANNER = (
    'experiment: banner\nstatus: draft\nvariants: {control: "", banner: Free}\nmetrics: {primary: purchase}\n'
)
METRICS = "metrics:\n  purchase: {kind: conversion, event: Order Completed, window: 7d}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    catalog = tmp_path / "catalog"
    catalog.mkdir()
    (catalog / "banner.yaml").write_text(BANNER, "utf-8")
    (catalog / "metrics.yaml").write_text(METRICS, "utf-8")
    monkeypatch.setenv("OPPORTUNE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OPPORTUNE_CATALOG", str(catalog))
    return catalog


def opportune(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


def test_an_edit_that_could_not_go_live_is_taken_back(folder: Path) -> None:
    assert opportune("apply").exit_code == 0
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with WriterLock(lock_path(load().home / "opportune.db")).held():
            held.set()
            done.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    try:
        refused = opportune("start", "banner")
    finally:
        done.set()
        holder.join()

    assert refused.exit_code == 1
    assert "nothing was changed" in refused.output
    assert (folder / "banner.yaml").read_text("utf-8") == BANNER


@pytest.mark.parametrize(
    "arguments",
    [("start", "banner"), ("kill", "banner"), ("status",), ("sign-in-link",), ("backup", "b.tar.gz")],
)
def test_a_half_restored_home_is_touched_by_no_command(
    folder: Path, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    home = load().home
    home.mkdir()
    (home / UNFINISHED_RESTORE).write_text("before-restore-x", "utf-8")

    refused = opportune(*arguments)

    assert refused.exit_code != 0
    assert "was interrupted" in str(refused.exception) + refused.output
    assert [path.name for path in home.iterdir()] == [UNFINISHED_RESTORE]
