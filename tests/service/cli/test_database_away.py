"""What commands say of the database: that it is away, without its password, or that it was upgraded."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from service.cli.main import cli
from service.storage.version import HEAD


@pytest.mark.parametrize(
    "command", [["migrate"], ["run"], ["verdict", "x"], ["sign-in-link"], ["status"], ["quarantine", "list"]]
)
def test_a_database_that_is_away_is_one_clear_line(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "catalog").mkdir()
    monkeypatch.setenv("OPPORTUNE_HOME", str(tmp_path))
    monkeypatch.setenv("OPPORTUNE_CATALOG", str(tmp_path / "catalog"))
    monkeypatch.setenv("OPPORTUNE_DATABASE_URL", "postgresql://maria:very-secret@127.0.0.1:1/shop")
    (tmp_path / "keys.env").write_text("OPPORTUNE_CLIENT_KEY=ck_" + "a" * 32 + "\n")

    ended = CliRunner().invoke(cli, command)

    told = [line for line in ended.stderr.splitlines() if "new keys in" not in line]
    assert ended.exit_code == 1, ended.output
    assert len(told) == 1, ended.stderr
    assert "Connection refused" in told[0]
    assert "very-secret" not in ended.output


def test_an_upgrade_says_where_the_database_is_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = Path(__file__).parents[1] / "storage" / "released" / "r0001.sql"
    with closing(sqlite3.connect(tmp_path / "opportune.db")) as connection:
        connection.executescript(released.read_text("utf-8"))
    monkeypatch.setenv("OPPORTUNE_HOME", str(tmp_path))

    first, second = (CliRunner().invoke(cli, ["migrate"]) for _ in range(2))

    assert (first.exit_code, second.exit_code) == (0, 0)
    assert f"as it was before, it lies in {tmp_path}/opportune.db.before-{HEAD}" in first.stderr
    assert second.stderr == ""
