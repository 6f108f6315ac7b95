"""docs/marketer-quickstart.md is true: its commands run, print what it shows, and end in a verdict."""

import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from service.catalog import CatalogError, load
from service.cli.main import cli
from service.settings import REPOSITORY
from tests.server import running_server

QUICKSTART = REPOSITORY / "docs" / "marketer-quickstart.md"
CATALOG_PAGE = REPOSITORY / "docs" / "catalog.md"
BLOCK = re.compile(r"(?:<!-- file: (?P<file>\S+) -->\n)?```(?P<language>\w*)\n(?P<body>.*?)```", re.DOTALL)
HOME = re.compile(r'^export OPPORTUNE_HOME="\$PWD/([a-z-]+)"', re.MULTILINE)
MOMENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d")


VIDEOS = """\
experiment: videos
variants: {control: a, treatment: b}
metrics: {primary: purchase}
layer: {name: product-page, from: 60%, share: 20%}
"""


@dataclass(frozen=True)
class Block:
    file: str
    language: str
    body: str


def blocks(page: Path) -> list[Block]:
    found = BLOCK.finditer(page.read_text("utf-8"))
    return [Block(m["file"] or "", m["language"], m["body"]) for m in found]


def write(block: Block, folder: Path) -> None:
    path = folder / block.file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(block.body, "utf-8")


def printed(command: str) -> str:
    program, *arguments = shlex.split(command)
    assert program == "opportune"
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    return result.output


def sessions(body: str) -> list[tuple[str, str]]:
    """Return the commands of a console block, each with what the page says it prints."""
    parts = re.split(r"^\$ (.*)\n", body, flags=re.MULTILINE)
    return list(zip(parts[1::2], parts[2::2], strict=True))


def test_each_command_prints_what_the_quickstart_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPPORTUNE_CATALOG", str(tmp_path / "my-shop"))

    n_commands = 0
    for block in blocks(QUICKSTART):
        if block.file:
            write(block, tmp_path / "my-shop")
        for home in HOME.findall(block.body) if block.language == "sh" else ():
            monkeypatch.setenv("OPPORTUNE_HOME", str(tmp_path / home))
        for command, shown in sessions(block.body) if block.language == "console" else ():
            assert MOMENT.sub("TIME", printed(command)) == MOMENT.sub("TIME", shown)
            n_commands += 1

    assert n_commands == 10


def test_the_yaml_of_the_quickstart_passes_lint() -> None:
    files = {b.file: b.body for b in blocks(QUICKSTART) if b.language == "yaml"}

    assert set(load(files).catalog.experiments) == {"free-delivery"}


def test_the_yaml_of_the_catalog_page_passes_lint() -> None:
    short, *rest = [b.body for b in blocks(CATALOG_PAGE) if b.language == "yaml"]
    together = {f"{i}.yaml": body for i, body in enumerate(rest)}

    assert load(
        {**together, "x.yaml": short.replace("free-shipping", "short")}
    ).catalog.experiments.keys() == {
        "free-shipping",
        "reviews-first",
        "large-photos",
        "first-order-discount",
        "short",
    }


def test_the_catalog_page_shows_what_is_said_of_a_place_that_is_taken() -> None:
    files = {"experiments/videos.yaml": VIDEOS}
    for i, block in enumerate(blocks(CATALOG_PAGE)):
        name = block.body.removeprefix("experiment: ").partition("\n")[0]
        if block.language == "yaml":
            files[f"experiments/{name}.yaml" if block.body.startswith("experiment: ") else f"{i}.yaml"] = (
                block.body
            )

    with pytest.raises(CatalogError) as caught:
        load(files)

    assert f"```\n{caught.value}\n```" in CATALOG_PAGE.read_text("utf-8")


@pytest.mark.e2e
def test_the_rehearsal_ends_in_a_verdict(tmp_path: Path) -> None:
    catalog = tmp_path / "my-shop"
    for block in blocks(QUICKSTART):
        if block.file:
            write(block, catalog)
    experiment = catalog / "experiments" / "free-delivery.yaml"
    experiment.write_text(experiment.read_text("utf-8").replace("status: draft", "status: running"), "utf-8")
    script = tmp_path / "rehearse.py"

    with running_server(tmp_path / "home", catalog) as server:
        environment = {
            **os.environ,
            "BASE": server.base_url,
            "OPPORTUNE_SERVER_KEY": server.server_key,
            "OPPORTUNE_HOME": str(server.home),
            "OPPORTUNE_CATALOG": str(catalog),
        }
        told = subprocess.run(
            [sys.executable, str(script)], env=environment, capture_output=True, text=True, check=True
        )
        verdict = subprocess.run(
            [sys.executable, "-m", "service.cli.main", "verdict", "free-delivery", "--json"],
            env=environment,
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=True,
        )

    assert told.stdout == "{'accepted': 4574}\n"
    body = json.loads(verdict.stdout)
    assert body["decision"] == "ship"
    assert body["variant"] == "banner"
    assert sum(body["exposure"]["exposed_units"].values()) == 4_000
