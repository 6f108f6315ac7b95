"""`opportune ship` and `unship`, and what the desk says of ramps that wait."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from service.cli.main import cli

METRICS = """\
metrics:
  purchase: {kind: conversion, event: Order Completed, window: 7d}
  refund: {kind: conversion, event: Order Refunded, window: 7d}
"""
TEA = """\
experiment: tea
variants: {control: 1, b: 2}
metrics: {primary: purchase, guardrails: [{metric: refund, margin: 20% relative}]}
ramp:
  - {at: 2016-01-01T00:00Z, share: 5%}
  - {at: 2016-01-02T00:00Z, share: 50%, if: guardrails_ok}
"""
ASK = ("--context", '{"anonymous_id": "v-1"}', "--format", "json")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    catalog = tmp_path / "catalog"
    catalog.mkdir()
    for name, text in {"m": METRICS, "tea": TEA, "dark": "flag: dark\n"}.items():
        (catalog / f"{name}.yaml").write_text(text, "utf-8")
    monkeypatch.setenv("OPPORTUNE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OPPORTUNE_CATALOG", str(catalog))
    run("apply")
    return catalog


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(cli, list(arguments))
    assert result.exit_code == code, result.output
    return result.output


def answered() -> tuple[str, int]:
    found = json.loads(run("explain", "tea", *ASK))["assignment"]
    return found["decision"], found["value"]


@pytest.mark.usefixtures("folder")
def test_a_variant_is_shipped_and_taken_back() -> None:
    told = run("ship", "tea", "b")
    assert told.startswith("b of tea is shipped: every worker serves it to everybody within 2 seconds.")
    assert "`opportune unship tea`" in told
    assert answered() == ("shipped", 2)
    assert "SHIPPED b" in run("status")
    assert json.loads(run("status", "--format", "json"))["definitions"][0]["shipped"] == "b"
    assert "nothing changed" in run("ship", "tea", "b")

    assert run("unship", "tea").startswith("tea splits again")
    assert answered()[0] in ("enrolled", "not_in_allocation")
    assert run("unship", "tea") == "Nothing of tea was shipped; nothing changed.\n"


def test_what_is_shipped_stays_when_it_is_written_down_and_stopped(folder: Path) -> None:
    run("ship", "tea", "b")
    served = [answered()]

    (folder / "tea.yaml").write_text(TEA + "otherwise: 2\n", "utf-8")
    run("apply")
    served.append(answered())
    run("stop", "tea")
    served.append(answered())

    assert served == [("shipped", 2), ("shipped", 2), ("not_running", 2)]
    assert "SHIPPED" not in run("status")


@pytest.mark.usefixtures("folder")
def test_what_cannot_be_shipped_is_said() -> None:
    assert "did you mean 'tea'" in run("ship", "teaa", "b", code=1)
    assert "'dark' is a flag" in run("ship", "dark", "on", code=1)


@pytest.mark.usefixtures("folder")
def test_a_list_made_offline_gives_everybody_the_shipped_variant(tmp_path: Path) -> None:
    run("ship", "tea", "b")
    units = tmp_path / "units.csv"
    units.write_text("anonymous_id\nv-1\nv-2\n", "utf-8")

    made = run("assign", "tea", "--units", str(units))

    assert made.count(",b,") == 2
    assert made.count("shipped") == 2


@pytest.mark.usefixtures("folder")
def test_status_says_that_a_ramp_waits_for_its_guardrails() -> None:
    told = run("status")

    assert "5%, ramp to 50%" in told
    assert "tea: Step 2 of the ramp waits for a verdict of the worker" in told
    (tea, _dark) = json.loads(run("status", "--format", "json"))["definitions"]
    assert tea["ramp_waits"].startswith("Step 2 of the ramp waits")


def test_a_plan_tells_the_gate(folder: Path) -> None:
    (folder / "cake.yaml").write_text(TEA.replace("tea", "cake"), "utf-8")

    assert "50% from 2016-01-02T00:00+00:00 if its guardrails are in order" in run("plan")


def test_a_ramp_by_hand_takes_the_place_of_its_gates(folder: Path) -> None:
    assert "if its guardrails are in order" in run("ramp", "tea", "60%", code=1)

    (folder / "tea.yaml").write_text(TEA[: TEA.index("ramp:")] + "allocation: 5%\n", "utf-8")
    run("apply")
    assert "allocation: 60%" in run("ramp", "tea", "60%")
    assert json.loads(run("status", "--format", "json"))["definitions"][0]["allocation"] == 0.6
