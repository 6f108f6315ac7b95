"""The desk with layers, holdouts and ramps: what start, ramp, plan and status make of them."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from service.cli.main import cli

METRICS = "metrics:\n  purchase: {kind: conversion, event: Order Completed, window: 7d}\n"
GATES = "layers: {page: {}}\nholdouts: {q1: {share: 5%}}\n"
TEA = """\
experiment: tea
variants: {control: 1, b: 2}
metrics: {primary: purchase}
layer: {name: page, from: 0%, share: 40%}
holdout: q1
ramp: [{at: 2016-01-01T00:00Z, share: 5%}, {at: 2099-01-01T00:00Z, share: 50%}]  # slowly
"""
CAKE = """\
experiment: cake
status: draft
variants: {control: 1, b: 2}
metrics: {primary: purchase}
layer: {name: page, from: 30%, share: 30%}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    catalog = tmp_path / "catalog"
    catalog.mkdir()
    for name, text in {"m": METRICS, "g": GATES, "tea": TEA, "cake": CAKE}.items():
        (catalog / f"{name}.yaml").write_text(text, "utf-8")
    monkeypatch.setenv("OPPORTUNE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OPPORTUNE_CATALOG", str(catalog))
    assert "Running now: tea on 5%." in run("apply")
    return catalog


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(cli, list(arguments))
    assert result.exit_code == code, result.output
    return result.output


@pytest.mark.usefixtures("folder")
def test_status_shows_the_layer_and_the_share_of_now() -> None:
    assert "experiment tea    running   5%, ramp to 50%   page, 0% to 40%    -" in run("status")

    cake, tea = json.loads(run("status", "--format", "json"))["definitions"]
    assert (tea["allocation"], tea["ramp_to"], tea["layer"]) == (0.05, 0.5, "page, 0% to 40%")
    assert (cake["allocation"], cake["ramp_to"], cake["layer"]) == (1.0, None, "page, 30% to 60%")


@pytest.mark.parametrize("command", [("ramp", "tea", "80%"), ("start", "tea", "80%", "--new-phase")])
def test_a_share_by_hand_is_refused_where_a_ramp_sets_it(folder: Path, command: tuple[str, ...]) -> None:
    told = run(*command, code=1)

    assert "tea follows the steps of its ramp (5% from 2016-01-01T00:00+00:00, 50% from 2099" in told
    assert "put 'allocation: ...' in the place of 'ramp:'" in told
    assert (folder / "tea.yaml").read_text("utf-8") == TEA


def test_a_ramp_may_be_replaced_by_a_share_that_is_as_large(folder: Path) -> None:
    (folder / "tea.yaml").write_text(TEA.replace("ramp: [", "allocation: 50%\n#"), "utf-8")

    assert "Revision 2 is live" in run("apply")
    assert "running   50%" in run("status")


def test_an_experiment_without_room_in_its_layer_cannot_start(folder: Path) -> None:
    told = run("start", "cake", code=1)

    assert "cake.yaml:5:27  error E411  the place 30% to 60% of layer 'page' is taken: 'tea'" in told
    assert "free: 40% to 100%: write from: 40%" in told
    assert (folder / "cake.yaml").read_text("utf-8") == CAKE
    assert "running" not in run("status").split("experiment cake")[1].splitlines()[0]


def test_an_experiment_with_room_starts_stops_and_makes_room(folder: Path) -> None:
    (folder / "cake.yaml").write_text(CAKE.replace("30%, share", "40%, share"), "utf-8")

    assert "status: running, allocation: 10%" in run("start", "cake", "10%")
    assert "allocation: 20%" in run("ramp", "cake", "20%")
    run("stop", "tea")
    (folder / "new.yaml").write_text(TEA.replace("tea", "new"), "utf-8")
    assert "Running now: new on 5%." in run("apply")


def test_a_plan_warns_of_a_change_of_who_is_served(folder: Path) -> None:
    (folder / "g.yaml").write_text(GATES.replace("page: {}", "page: {seed: x}"), "utf-8")

    plan = run("plan", code=1)

    assert (
        "~ layer page\n    seed   - -> x\n    CAREFUL: it changes who is served by what is live: tea" in plan
    )


def test_a_plan_counts_who_would_move_when_a_place_moves(folder: Path) -> None:
    (folder / "tea.yaml").write_text(TEA.replace("from: 0%", "from: 10%"), "utf-8")

    plan = run("plan", code=1)

    assert "layer   page, 0% to 40% -> page, 10% to 50%" in plan
    assert "UNSAFE" in plan
    assert "100,000 synthetic units" in plan


def test_a_plan_tells_overlap_without_a_layer(folder: Path) -> None:
    (folder / "free.yaml").write_text(TEA.replace("tea", "free").replace("layer:", "#"), "utf-8")

    assert "overlap: units that may be in another experiment at the same time: tea 9.5%" in run("plan")
    assert json.loads(run("plan", "--format", "json"))["overlaps"]["free"].startswith("units that may be")
