"""By what name a worker holds its lease: its own again after a kill, and never that of a copied home."""

import shutil
from pathlib import Path

import pytest

from service import worker
from service.worker import _name_of


def test_a_home_keeps_its_name_and_a_copy_in_its_place_has_another(tmp_path: Path) -> None:
    home, kept = tmp_path / "home", tmp_path / "kept"
    home.mkdir()
    name = _name_of(home)
    again = _name_of(home)

    home.rename(kept)
    shutil.copytree(kept, home)

    assert again == name
    assert _name_of(home) != name
    assert [file.name for file in (home / "run").iterdir()] == ["worker.id"]


def test_another_machine_with_the_same_volume_has_another_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = _name_of(tmp_path)
    boot = tmp_path / "boot_id"
    boot.write_text("another machine\n", "utf-8")
    monkeypatch.setattr(worker, "BOOT_ID", boot)

    assert _name_of(tmp_path) != name


def test_a_name_that_was_cut_off_while_it_was_written_is_given_anew(tmp_path: Path) -> None:
    file = tmp_path / "run" / "worker.id"
    file.parent.mkdir()
    file.write_text("", "utf-8")

    _name_of(tmp_path)

    assert len(file.read_text("utf-8")) == 16
