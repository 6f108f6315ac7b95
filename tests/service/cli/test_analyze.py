"""`opportune analyze`: what a verdict would say, groups of units, and a check against the last verdict."""

import csv
import json
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from service.cli.main import cli
from service.settings import load
from service.storage.records import Event
from service.storage.sql import open_store
from service.use_cases.judge import refresh_verdict
from tests.service.use_cases.shops import FILES, KEY, START, a_store, a_week, launched, order, put, shown

DIMENSIONS = "dimensions:\n  device: {property: device, values: [mobile, desktop], label: device}\n"
GROUPS = ("mobile", "desktop", "other", "unknown")


def of_devices(per_day: int) -> list[Event]:
    events = []
    for i, event in enumerate(a_week(per_day=per_day)):
        device = ("mobile", "mobile", "desktop", "watch")[i % 4]
        exposed = event.type == "Experiment Viewed"
        told = {**event.properties, "device": device} if exposed else event.properties
        events.append(replace(event, properties=told))
    return events


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A judged shop: of every four units that are exposed, two are mobile, one is a desktop, one a watch."""
    home = tmp_path_factory.mktemp("analyze") / "home"
    with a_store(home) as store:
        launched(store, {**FILES, "dimensions.yaml": DIMENSIONS})
        shown(store, home / "lake", of_devices(80))
        refresh_verdict(store, home / "lake", KEY, now=START)
    return home


def invoke(home: Path, *arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(cli, ["analyze", *arguments], env={"OPPORTUNE_HOME": str(home)})
    return done.exit_code, done.stdout, done.stderr


def test_it_says_what_the_verdict_says_of_each_metric(home: Path) -> None:
    code, out, _ = invoke(home, KEY, "--format", "json")

    with a_store(home) as store:
        kept = store.latest_verdict(KEY)
    assert (code, kept is not None) == (0, True)
    found, verdict = json.loads(out), json.loads(kept.body if kept else "")
    assert found["engine"] == "duckdb"
    for name in ("metrics", "digests", "as_of", "log_offset"):
        assert found[name] == verdict[name]


def test_the_table_reads_like_a_verdict(home: Path) -> None:
    code, out, _ = invoke(home, KEY)

    assert code == 0
    lines = out.splitlines()
    assert lines[0].startswith(f"{KEY}, phase 1, revision 1: computed by duckdb up to log offset ")
    assert lines[2].split() == ["metric", "role", "variant", "units", "value", "difference", "interval"]
    assert lines[3].split() == ["purchase", "primary", "control", "200", "10.00", "%"]
    assert lines[4].split()[:6] == ["purchase", "primary", "banner", "200", "35.00", "%"]
    assert "xploratory" not in out
    assert "each day is compared with itself: the difference is not that of the" in out


def test_groups_add_up_and_are_called_exploratory(home: Path) -> None:
    code, out, _ = invoke(home, KEY, "--by", "device", "--format", "json")

    assert code == 0
    found = json.loads(out)
    cut = found["cut"]
    assert (cut["dimension"], cut["exploratory"], cut["corrected"]) == ("device", True, False)
    for row in found["metrics"]:
        cells = [c for c in cut["groups"] if (c["metric"], c["variant"]) == (row["metric"], row["variant"])]
        assert [cell["group"] for cell in cells] == list(GROUPS)
        assert sum(cell["n"] for cell in cells) == row["n"]
        total = sum(cell["n"] * cell["value"] for cell in cells if cell["n"])
        assert total == pytest.approx(row["n"] * row["estimate"])
    lifts = {
        c["group"]: c["lift"] for c in cut["groups"] if (c["metric"], c["variant"]) == ("purchase", "banner")
    }
    assert lifts["unknown"] is None


def test_over_a_control_that_loses_money_there_is_no_lift(tmp_path: Path) -> None:
    home = tmp_path / "home"
    margin = "{kind: margin, event: Order Completed, value: revenue, factor: 30%, currency: EUR, window: 1d}"
    files = {
        "metrics.yaml": f"{FILES['metrics.yaml']}  margin: {margin}\n",
        "experiments/free-shipping.yaml": FILES["experiments/free-shipping.yaml"].replace(
            "[revenue]", "[margin]"
        ),
        "dimensions.yaml": DIMENSIONS,
    }
    loss = [
        replace(event, properties={**event.properties, "revenue": -30.0})
        if event.type == "Order Completed"
        else event
        for event in of_devices(80)
    ]
    with a_store(home) as store:
        launched(store, files)
        shown(store, home / "lake", loss)

    _, out, _ = invoke(home, KEY, "--by", "device", "--format", "json")

    groups = json.loads(out)["cut"]["groups"]
    cells = {(c["metric"], c["variant"], c["group"]): c for c in groups}
    assert cells["margin", "banner", "mobile"]["value"] < cells["margin", "control", "mobile"]["value"] < 0
    assert {c["lift"] for c in groups if c["metric"] == "margin"} == {None}
    assert cells["purchase", "banner", "mobile"]["lift"] > 0


def test_the_table_of_groups_says_that_it_proves_nothing(home: Path) -> None:
    code, out, _ = invoke(home, KEY, "--by", "device")

    assert code == 0
    assert "By device (device of the first exposure)\nExploratory: groups were looked at" in out
    assert "without correction" in " ".join(out.split())
    header = next(line for line in out.splitlines() if line.startswith("device   "))
    assert header.split() == ["device", "metric", "variant", "units", "value", "lift,", "exploratory"]


def test_csv_has_a_row_for_each_metric_variant_and_group(home: Path) -> None:
    code, out, _ = invoke(home, KEY, "--by", "device", "--format", "csv")

    rows = list(csv.DictReader(out.splitlines()))
    assert code == 0
    assert [row["exploratory"] for row in rows] == ["no"] * 6 + ["yes"] * 6 * len(GROUPS)
    assert (rows[0]["role"], rows[0]["variant"], rows[0]["lift"]) == ("primary", "control", "")
    assert {row["dimension"] for row in rows[6:]} == {"device"}


def test_a_check_finds_the_integers_of_the_last_verdict(home: Path) -> None:
    code, out, _ = invoke(home, KEY, "--check")

    assert code == 0
    assert out.startswith(f"{KEY}.1.1: the same integers, digest ")


def test_a_check_sees_that_the_data_are_others(home: Path, tmp_path: Path) -> None:
    other = tmp_path / "home"
    with a_store(other) as store, a_store(home) as source:
        launched(store, {**FILES, "dimensions.yaml": DIMENSIONS})
        shown(store, other / "lake", [order("v0-0", START), *a_week(per_day=80)])
        snapshot = source.latest_verdict(KEY)
        assert snapshot is not None
        store.put_verdict(snapshot)

    code, out, _ = invoke(other, KEY, "--check")

    assert code == 1
    assert out.startswith(f"{KEY}.1.1: OTHER integers, digest ")
    assert f"`opportune verdict replay {KEY}.1.1` tells what differs." in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("fre-shipping",), f"no experiment 'fre-shipping' is in the live catalog; did you mean '{KEY}'?"),
        ((KEY, "--by", "devise"), "no dimension 'devise' is in the live catalog; did you mean 'device'?"),
    ],
)
def test_what_there_is_not_is_one_clear_line(home: Path, arguments: tuple[str, ...], said: str) -> None:
    assert invoke(home, *arguments) == (1, "", f"opportune: {said}\n")


def test_an_unknown_engine_is_told_which_there_are(home: Path) -> None:
    code, _, err = invoke(home, KEY, "--engine", "sqlite")

    assert code == 2
    assert "'sqlite' is not one of 'duckdb', 'postgresql', 'spark'" in err


def test_postgresql_needs_its_events_there(home: Path) -> None:
    code, out, err = invoke(home, KEY, "--engine", "postgresql")

    assert (code, out) == (1, "")
    assert err == (
        "opportune: the engine postgresql computes where the events are, and the store is SQLite. "
        "Let OPPORTUNE_DATABASE_URL name a PostgreSQL database, or take another engine\n"
    )


def test_an_engine_that_is_not_installed_tells_what_to_install(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyspark.sql", None)

    code, out, err = invoke(home, KEY, "--engine", "spark")

    assert (code, out) == (1, "")
    assert "opportune: the engine spark needs PySpark and Java 17: pip install 'opportune[spark]'" in err


def test_postgresql_finds_the_same_groups_in_place(tmp_path: Path, postgres_url: str) -> None:
    home, found = tmp_path / "home", []
    settings = load({"OPPORTUNE_HOME": str(home), "OPPORTUNE_DATABASE_URL": postgres_url})
    home.mkdir()
    with closing(open_store(settings)) as store:
        launched(store, {**FILES, "dimensions.yaml": DIMENSIONS})
        put(store, *of_devices(40))
    for engine in ("postgresql", "duckdb"):
        done = CliRunner().invoke(
            cli,
            ["analyze", KEY, "--by", "device", "--engine", engine, "--format", "json"],
            env={"OPPORTUNE_HOME": str(home), "OPPORTUNE_DATABASE_URL": postgres_url},
        )
        assert done.exit_code == 0, done.stderr
        found.append(json.loads(done.stdout))

    assert [one.pop("engine") for one in found] == ["postgresql", "duckdb"]
    assert found[0] == found[1]
    assert sum(cell["n"] for cell in found[0]["cut"]["groups"]) > 0


@pytest.mark.parametrize(
    ("live", "said"),
    [
        (False, "no catalog is live yet: `opportune apply` makes one live"),
        (True, "no event has arrived yet, so there is nothing to analyze"),
    ],
)
def test_without_data_there_is_one_clear_line(tmp_path: Path, live: bool, said: str) -> None:
    with a_store(tmp_path / "bare") as store:
        if live:
            launched(store)

    assert invoke(tmp_path / "bare", KEY) == (1, "", f"opportune: {said}\n")


def test_a_check_needs_a_verdict(tmp_path: Path) -> None:
    with a_store(tmp_path / "bare") as store:
        launched(store)
        put(store, order("v1", START))

    code, out, err = invoke(tmp_path / "bare", KEY, "--check")

    assert (code, out) == (1, "")
    assert err == f"opportune: no verdict of {KEY} is kept yet: `opportune verdict {KEY}` makes one\n"
