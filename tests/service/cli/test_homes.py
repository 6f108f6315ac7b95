"""Homes: who makes them, who may not, and what is said when something about them is wrong."""

import csv
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from service.cli.main import cli
from service.settings import REPOSITORY, SettingsError, load


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OPPORTUNE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OPPORTUNE_CATALOG", str(tmp_path / "catalog"))
    (tmp_path / "catalog").mkdir()
    return tmp_path / "home"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


def write_csv(path: Path, *, delimiter: str) -> Path:
    rows = [
        ["event_id", "type", "user_id", "occurred_at"],
        ["o1", "Order Completed", "ann", "2026-05-01T10:00:00Z"],
    ]
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    return path


@pytest.mark.parametrize(
    "origins",
    ["shop.example", "*", "https://shop.example/path", "https://", "ftp://shop.example", "https://a:b@c"],
)
def test_an_origin_that_is_none_is_refused_with_the_form(origins: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"scheme://host\[:port\]"):
        load({"OPPORTUNE_HOME": str(tmp_path), "OPPORTUNE_ORIGINS": f"localhost,{origins}"})


@pytest.mark.parametrize(
    "lake", ["s3://", "s3:///shop", "s3://bucket/shop?x=1", "s3://key:secret@bucket/shop"]
)
def test_a_lake_that_is_neither_a_folder_nor_a_url_is_refused_with_the_form(
    lake: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=r"OPPORTUNE_LAKE: .*such as s3://bucket/shop"):
        load({"OPPORTUNE_HOME": str(tmp_path), "OPPORTUNE_LAKE": lake})


def test_the_lake_lies_in_the_home_or_where_it_is_said(tmp_path: Path) -> None:
    places = ["", f"{tmp_path}/lake/", f"file://{tmp_path}/lake", "s3://bucket/shop/", "gs://bucket"]

    lakes = [load({"OPPORTUNE_HOME": str(tmp_path), "OPPORTUNE_LAKE": one}).lake for one in places]

    assert lakes == [tmp_path / "lake"] * 3 + ["s3://bucket/shop", "gs://bucket"]


def test_origins_of_every_good_form_are_taken(tmp_path: Path) -> None:
    text = "localhost, https://shop.example/, http://127.0.0.1:8080, https://[::1]:8443"

    found = load({"OPPORTUNE_HOME": str(tmp_path), "OPPORTUNE_ORIGINS": text}).origins

    assert found == ("localhost", "https://shop.example", "http://127.0.0.1:8080", "https://[::1]:8443")


@pytest.mark.parametrize("place", ["a-file", "a-file/below", "/proc/opportune"])
def test_a_home_that_cannot_be_is_one_clear_line(
    place: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a-file").write_text("", "utf-8")
    monkeypatch.setenv("OPPORTUNE_HOME", str(tmp_path / place))

    done = run("migrate")

    assert done.exit_code == 2
    assert done.output.startswith("opportune: OPPORTUNE_HOME=")
    assert done.output.count("\n") == 1
    assert not home.exists()


def test_migrate_makes_a_home_for_its_owner_only(home: Path) -> None:
    assert run("migrate").exit_code == 0

    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert (home / ".gitignore").read_text("utf-8") == "*\n"


def test_a_folder_with_other_things_in_it_gets_no_gitignore(home: Path) -> None:
    home.mkdir()
    (home / "letters.txt").write_text("Dear", "utf-8")

    assert run("migrate").exit_code == 0

    assert not (home / ".gitignore").exists()


def test_a_missing_catalog_is_told_before_anything_is_written(home: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "service.cli.main", "run"],
        cwd=REPOSITORY,
        env={**os.environ, "OPPORTUNE_CATALOG": str(tmp_path / "nope"), "PORT": "8123"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert "create it: mkdir -p" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not home.exists()


def test_erasing_somebody_unknown_says_so(home: Path) -> None:
    run("migrate")

    done = run("delete-person", "--user-id", "nobody", "--yes")

    assert done.exit_code == 0
    assert str(home) in done.output
    assert "Nothing is stored about nobody" in done.output


def test_a_backup_names_the_home_it_copied(home: Path, tmp_path: Path) -> None:
    run("migrate")

    done = run("backup", str(tmp_path / "copy.tar.gz"))

    assert f"Copied {home}" in done.output


def test_an_import_of_which_nothing_was_accepted_fails_and_names_the_separator(
    home: Path, tmp_path: Path
) -> None:
    bad = run("import", str(write_csv(tmp_path / "bad.csv", delimiter=";")))
    good = run("import", str(write_csv(tmp_path / "good.csv", delimiter=",")))
    again = run("import", str(tmp_path / "good.csv"))

    assert bad.exit_code == 1
    assert "separated by semicolons: say --separator ';'" in bad.output
    assert (good.exit_code, again.exit_code) == (0, 0), good.output
    assert home.exists()


def test_the_demo_is_not_mixed_into_data_of_ones_own(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other_catalog = run("demo-load")
    monkeypatch.delenv("OPPORTUNE_CATALOG")
    run("import", str(write_csv(home.parent / "mine.csv", delimiter=",")))
    other_events = run("demo-load")

    assert other_catalog.exit_code == other_events.exit_code == 1
    assert "is not the demo shop" in other_catalog.output
    assert "holds other events" in other_events.output


def test_every_command_is_summed_up_whole() -> None:
    said = run("--help").output

    assert "..." not in said.split("Commands:")[1]
    assert "offers" not in said
