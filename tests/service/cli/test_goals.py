"""`opportune goals`: how every goal stands, as text and as JSON."""

import json
from datetime import timedelta
from pathlib import Path

from click.testing import CliRunner

from service.cli.main import cli
from service.clock import utc_now
from service.lake import export_all
from service.lake.moments import open_lake
from service.use_cases.goals_pass import refresh_goals
from service.use_cases.launch import live_catalog
from tests.service.use_cases.shops import FILES, a_store, launched, order, put

NOW = utc_now()
TODAY = NOW.date()
GOALS = f"""\
goals:
  grow: {{statement: Sell more, metric: purchase, baseline: 10%, target: 20%, owner: maria,
    start: {TODAY - timedelta(days=10)}, due: {TODAY + timedelta(days=10)}}}
  part: {{statement: Refund less, metric: refunds, baseline: 50%, target: 25%, owner: li.na,
    start: {TODAY - timedelta(days=10)}, due: {TODAY + timedelta(days=10)}, parent: grow}}
"""


def invoke(home: Path, *arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(cli, arguments, env={"OPPORTUNE_HOME": str(home)})
    return done.exit_code, done.stdout, done.stderr


def test_goals_are_told_each_before_its_parts(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with a_store(home) as store:
        launched(store, {**FILES, "goals.yaml": GOALS})
        put(store, *(order(f"v{i}", NOW - timedelta(days=2)) for i in range(3)))
        export_all(store, home / "lake")
        loaded = live_catalog(store)
        assert loaded is not None
        with open_lake(home / "lake") as reader:
            refresh_goals(store, reader.engine, loaded, today=TODAY, limit=100)

    code, out, _ = invoke(home, "goals")
    code_json, as_json, _ = invoke(home, "goals", "--format", "json")
    status, status_json = (invoke(home, "status", *form)[1] for form in ((), ("--format", "json")))

    assert (code, code_json) == (0, 0)
    due = TODAY + timedelta(days=10)
    assert out == (
        "grow: Sell more\n"
        f"[###############|##############] due {due}, maria\n"
        "Reached: 100.00 % over the last 7 days; the target is 20.00 %.\n"
        "running: free-shipping\n"
        "\n"
        "  part: Refund less\n"
        f"  [###############|##############] due {due}, li.na\n"
        "  Reached: 0.00 % over the last 7 days; the target is 25.00 %.\n"
    )
    assert [(g["goal"], g["state"], g["n"]) for g in json.loads(as_json)["goals"]] == [
        ("grow", "reached", 3),
        ("part", "reached", 3),
    ]
    assert "\ngoals      2 reached: opportune goals\n" in status
    assert json.loads(status_json)["goals"] == {"reached": 2}


def test_without_a_goal_the_command_shows_how_to_write_one(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with a_store(home) as store:
        launched(store)

    code, out, _ = invoke(home, "goals")

    assert code == 0
    assert out.startswith("The live catalog has no goal. Write one under `goals:`")


def test_a_home_without_data_is_one_clear_line(tmp_path: Path) -> None:
    code, out, err = invoke(tmp_path / "nowhere", "goals")

    assert (code != 0, out) == (True, "")
    assert "nowhere" in err
