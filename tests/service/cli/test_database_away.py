"""A database that does not answer is one line for every command, without its password."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from service.cli.main import cli


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
