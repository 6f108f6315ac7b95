"""docs/import.md: its files, imported by its commands, give what the page shows."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from service.catalog.loader import read_folder
from service.cli.main import cli
from service.clock import utc_now
from service.settings import REPOSITORY, load
from service.storage.migrate import migrate
from service.storage.sql import open_store
from service.use_cases.launch import apply
from tests.server import write_catalog

PAGE = (REPOSITORY / "docs" / "import.md").read_text("utf-8")
BLOCK = r"\n\n((?:    .*\n)+)"
FILES = re.findall(r"`([\w.]+\.csv)`:" + BLOCK, PAGE)
SHOWN = re.findall("The command:" + BLOCK + r"\nIt says:" + BLOCK, PAGE)
CATALOG = {
    "metrics.yaml": "metrics:\n  purchase: {kind: conversion, event: Sale, window: 7d}\n",
    "experiments/newsletter.yaml": """\
experiment: newsletter
unit: user_id
variants: {control: long, short: short}
metrics: {primary: purchase}
""",
}


def lines_of(block: str) -> list[str]:
    return [line.removeprefix("    ") for line in block.splitlines()]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a working directory with the files of the page, and a home with a live catalog."""
    for name, block in FILES:
        (tmp_path / name).write_text("\n".join(lines_of(block)) + "\n", "utf-8")
    settings = load({"OPPORTUNE_HOME": str(tmp_path / "home")})
    settings.home.mkdir()
    migrate(settings.database_url)
    store = open_store(settings)
    apply(store, read_folder(write_catalog(tmp_path / "catalog", CATALOG)), by="test", now=utc_now())
    store.close()
    monkeypatch.setenv("OPPORTUNE_HOME", str(settings.home))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_page_has_two_examples() -> None:
    assert [name for name, _ in FILES] == ["calls.csv", "sent.csv"]
    assert len(SHOWN) == 2


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("command", "said"), SHOWN, ids=["outcomes", "exposures"])
def test_a_command_of_the_page_says_what_the_page_says(command: str, said: str) -> None:
    words = shlex.split("\n".join(lines_of(command)).replace("\\\n", ""))
    assert words[0] == "opportune"

    done = CliRunner().invoke(cli, words[1:])

    assert done.exit_code == 0, done.output
    assert [line for line in lines_of(said) if line not in done.output.splitlines()] == [], done.output
