"""What a backup or a restore leaves on the disk: nothing of a killed one, nothing that others may read."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from service.settings import Settings, load
from service.storage.migrate import migrate
from service.storage.sql import open_store
from service.use_cases.backup import back_up, restore
from tests.service.storage.facts import a_batch, an_event

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def settings_in(home: Path) -> Settings:
    return load({"OPPORTUNE_HOME": str(home)})


@pytest.fixture
def shop(tmp_path: Path) -> Settings:
    settings = settings_in(tmp_path / "shop")
    migrate(settings.database_url)
    store = open_store(settings)
    store.append(a_batch(an_event("e1")))
    store.close()
    return settings


KILLED = """
import os, sys
from datetime import UTC, datetime
from pathlib import Path
from service.settings import load
from service.use_cases import backup
def progress(done, total):
    # The last stage counts the files that are packed.
    if (done, total) == (1, 1):
        os.kill(os.getpid(), 9)
backup.back_up(
    load({"OPPORTUNE_HOME": sys.argv[1]}), Path(sys.argv[2]), now=datetime.now(UTC), progress=progress
)
"""


@pytest.mark.parametrize("name", ["b.tar.gz", "b"])
def test_the_next_backup_removes_every_copy_that_a_killed_one_left(
    shop: Settings, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "backups"
    (folder / ".backup-of-somebody-else").mkdir(parents=True)
    words = [str(shop.home), str(folder / f"killed-{name}")]
    assert subprocess.run([sys.executable, "-c", KILLED, *words], check=False).returncode == -9
    assert len(list(folder.iterdir())) == 2

    back_up(shop, folder / name, now=NOW)

    assert {path.name for path in folder.iterdir()} == {name, ".backup-of-somebody-else"}


def test_a_restored_database_is_read_by_its_owner_only(shop: Settings, tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        back_up(shop, tmp_path / "b.tar.gz", now=NOW)
        other = settings_in(tmp_path / "other")
        restore(other, tmp_path / "b.tar.gz", now=NOW)
    finally:
        os.umask(before)

    assert (other.home / "opportune.db").stat().st_mode & 0o777 == 0o600
