"""A backup is one consistent state, and comes back whole or not at all."""

import json
import shutil
import socket
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from service.lake import erase, export, export_all, read_interactions, read_manifest
from service.settings import Settings, child_environment, load
from service.storage.migrate import migrate
from service.storage.ports import IngestBatch
from service.storage.records import KeyClass
from service.storage.sql import SqlStore, open_store
from service.use_cases.archive import BackupError, check_restored, unpack
from service.use_cases.backup import back_up, restore
from service.use_cases.people import erase_person
from tests.service.storage.facts import a_batch, an_event

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
LATER = datetime(2026, 11, 23, 12, tzinfo=UTC)


def settings_in(home: Path) -> Settings:
    return load({"OPPORTUNE_HOME": str(home)})


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def opened(settings: Settings) -> Iterator[SqlStore]:
    migrate(settings.database_url)
    store = open_store(settings)
    try:
        yield store
    finally:
        store.close()


@pytest.fixture
def shop(tmp_path: Path) -> Settings:
    """A home with events, a lake, a live model, an older model and keys."""
    settings = settings_in(tmp_path / "shop")
    with opened(settings) as store:
        store.append(a_batch(*(an_event(f"e{n}") for n in range(20))))
        export_all(store, settings.home / "lake")
        store.append(a_batch(an_event("not in the lake yet")))
        store.set_keys("web", {"aa": KeyClass.CLIENT}, now=NOW)
        store.set_live_model("m2", now=NOW)
    for version in ("m1", "m2"):
        folder = settings.models / version
        folder.mkdir(parents=True)
        (folder / "items.npy").write_bytes(version.encode() * 100)
    settings.keys_file.write_text("OPPORTUNE_SIGNING_SECRET=hush\n")
    return settings


@pytest.mark.parametrize("name", ["backup.tar.gz", "backup-folder"])
def test_a_backup_comes_back_whole_in_an_empty_home(shop: Settings, tmp_path: Path, name: str) -> None:
    made = back_up(shop, tmp_path / name, now=NOW)
    other = settings_in(tmp_path / "other")

    restored = restore(other, tmp_path / name, now=LATER)

    assert (made.log_offset, restored.log_offset, restored.with_keys) == (21, 21, False)
    with opened(other) as store:
        assert store.last_seq() == 21
        assert store.live_state().model == "m2"
        assert [key.sha256 for key in store.keys()] == ["aa"]  # noqa: SIM118
        assert store.append(a_batch(an_event("e1"), an_event("new"))) == ["duplicate", "accepted"]
        assert read_manifest(other.lake).offset == 20
        export_all(store, other.home / "lake")
    assert len(set(read_interactions(other.lake)["event_id"].to_pylist())) == 22
    assert (other.models / "m2" / "items.npy").read_bytes() == b"m2" * 100
    assert not (other.models / "m1").exists()
    assert not other.keys_file.exists()


def test_keys_are_in_it_only_when_asked_for(shop: Settings, tmp_path: Path) -> None:
    back_up(shop, tmp_path / "with.tar.gz", now=NOW, with_keys=True)
    back_up(shop, tmp_path / "without.tar.gz", now=NOW)
    other = settings_in(tmp_path / "other")

    assert "keys.env" not in tarfile.open(tmp_path / "without.tar.gz").getnames()  # noqa: SIM115
    assert restore(other, tmp_path / "with.tar.gz", now=LATER).with_keys
    assert other.keys_file.read_text() == shop.keys_file.read_text()
    assert other.keys_file.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "with.tar.gz").stat().st_mode & 0o077 == 0


def test_a_backup_taken_while_events_arrive_is_one_state(shop: Settings, tmp_path: Path) -> None:
    stop = threading.Event()
    with opened(shop) as store:

        def write() -> None:
            n = 0
            while not stop.is_set():
                store.append(a_batch(*(an_event(f"w{n}-{k}") for k in range(50))))
                n += 1

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for number in range(3):
                back_up(shop, tmp_path / f"b{number}", now=NOW)
        finally:
            stop.set()
            writer.join()

    for number in range(3):
        other = settings_in(tmp_path / f"other{number}")
        restore(other, tmp_path / f"b{number}", now=LATER)
        with opened(other) as copy:
            events = [row.received.event.event_id for row in copy.read(0, 1_000_000)]
            with copy.reading() as connection:
                rows = connection.exec_driver_sql("SELECT count(*) FROM interaction").scalar_one()
        assert (len(events) - 21) % 50 == 0, "a batch is in it whole or not at all"
        assert rows == 2 * len(events)


def test_restore_refuses_while_the_service_runs(shop: Settings, tmp_path: Path) -> None:
    back_up(shop, tmp_path / "b.tar.gz", now=NOW)

    with opened(shop) as store:
        store.ping()
        with pytest.raises(BackupError, match="in use"):
            restore(shop, tmp_path / "b.tar.gz", now=LATER, replace=True)


def test_restore_refuses_a_home_with_data_and_with_replace_keeps_what_was_there(
    shop: Settings, tmp_path: Path
) -> None:
    back_up(shop, tmp_path / "b.tar.gz", now=NOW)
    with opened(shop) as store:
        store.append(a_batch(an_event("after the backup")))

    with pytest.raises(BackupError, match="--replace"):
        restore(shop, tmp_path / "b.tar.gz", now=LATER)
    restore(shop, tmp_path / "b.tar.gz", now=LATER, replace=True)

    with opened(shop) as store:
        assert store.last_seq() == 21
    (aside,) = shop.home.glob("before-restore-*")
    with opened(load({"OPPORTUNE_HOME": str(aside)})) as store:
        assert store.last_seq() == 22
    assert (aside / "lake").is_dir()
    assert shop.keys_file.read_text() == "OPPORTUNE_SIGNING_SECRET=hush\n"


@pytest.mark.parametrize("name", ["backup.tar.gz", "backup-folder"])
@pytest.mark.parametrize("harm", ["changed", "missing", "additional", "outside", "no manifest"])
def test_a_damaged_backup_is_refused_and_nothing_is_touched(
    shop: Settings, tmp_path: Path, name: str, harm: str
) -> None:
    back_up(shop, tmp_path / "good", now=NOW)
    folder = tmp_path / "bad"
    shutil.copytree(tmp_path / "good", folder)
    damage(folder, harm)
    archive = folder
    if name.endswith(".gz"):
        archive = tmp_path / name
        with tarfile.open(archive, "w:gz") as tar:
            for path in sorted(
                folder.rglob("*"), key=lambda p: p.name != "manifest.json" or p.parent != folder
            ):
                if path.is_file():
                    tar.add(path, arcname=path.relative_to(folder).as_posix())
    other = settings_in(tmp_path / "other")

    with pytest.raises(BackupError):
        restore(other, archive, now=LATER)

    left = [p.name for p in other.home.rglob("*") if p.is_file() and not p.name.endswith(".inuse")]
    assert left == []


def damage(folder: Path, harm: str) -> None:
    database = folder / "opportune.db"
    if harm == "changed":
        raw = bytearray(database.read_bytes())
        raw[len(raw) // 2] ^= 1
        database.write_bytes(raw)
    elif harm == "missing":
        database.unlink()
    elif harm == "additional":
        (folder / "surprise.sh").write_text("echo")
    elif harm == "no manifest":
        (folder / "manifest.json").unlink()
    else:
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["files"]["../outside"] = manifest["files"].pop("opportune.db")
        (folder / "manifest.json").write_text(json.dumps(manifest))


def test_a_truncated_archive_is_refused(shop: Settings, tmp_path: Path) -> None:
    back_up(shop, tmp_path / "b.tar.gz", now=NOW)
    raw = (tmp_path / "b.tar.gz").read_bytes()

    for keep in (0, 10, len(raw) // 2, 3 * len(raw) // 4):
        (tmp_path / "cut.tar.gz").write_bytes(raw[:keep])
        with pytest.raises(BackupError):
            restore(settings_in(tmp_path / "other"), tmp_path / "cut.tar.gz", now=LATER)


def test_a_backup_never_overwrites_and_needs_a_database(shop: Settings, tmp_path: Path) -> None:
    (tmp_path / "there.tar.gz").write_bytes(b"precious")

    with pytest.raises(BackupError, match="exists already"):
        back_up(shop, tmp_path / "there.tar.gz", now=NOW)
    with pytest.raises(BackupError, match="nothing to back up"):
        back_up(settings_in(tmp_path / "empty"), tmp_path / "new.tar.gz", now=NOW)
    assert not list(tmp_path.glob(".backup-*"))


KILLED = """
import os, shutil, sys
from pathlib import Path
from datetime import UTC, datetime
from service.settings import load
from service.use_cases import backup
real, left = shutil.move, int(sys.argv[3])
def move(*args):
    global left
    real(*args)
    left -= 1
    if not left:
        os.kill(os.getpid(), 9)
backup.shutil.move = move
settings = load({"OPPORTUNE_HOME": sys.argv[1]})
backup.restore(settings, Path(sys.argv[2]), now=datetime.now(UTC), replace=True)
"""


@pytest.mark.parametrize("moves", [1, 2, 3, 5])
def test_a_killed_restore_is_refused_to_start_and_finished_by_another_one(
    shop: Settings, tmp_path: Path, moves: int
) -> None:
    back_up(shop, tmp_path / "b.tar.gz", now=NOW)
    with opened(shop) as store:
        store.append(a_batch(an_event("after the backup")))
    command = [sys.executable, "-c", KILLED, str(shop.home), str(tmp_path / "b.tar.gz"), str(moves)]
    assert subprocess.run(command, check=False).returncode == -9

    with pytest.raises(BackupError, match="interrupted"):
        check_restored(shop.home)
    restore(shop, tmp_path / "b.tar.gz", now=LATER)

    check_restored(shop.home)
    with opened(shop) as store:
        assert store.last_seq() == 21
    assert read_manifest(shop.lake).offset == 20
    (aside,) = shop.home.glob("before-restore-*")
    with opened(load({"OPPORTUNE_HOME": str(aside)})) as store:
        assert store.last_seq() == 22
    assert read_manifest(aside / "lake").offset == 20
    assert not list(shop.home.glob(".restore-*"))


@pytest.mark.parametrize("name", ["run", "worker", "migrate", "import"])
def test_nothing_starts_on_half_a_restore(shop: Settings, name: str, free_port: int) -> None:
    (shop.home / "restore.unfinished").write_text("before-restore-x")
    words = [name, __file__] if name == "import" else [name]
    command = [sys.executable, "-m", "service.cli.main", *words]
    env = child_environment(OPPORTUNE_HOME=str(shop.home), PORT=str(free_port))
    keys = shop.keys_file.read_text()

    ended = subprocess.run(command, env=env, capture_output=True, text=True, check=False)

    assert ended.returncode == 1
    assert shop.keys_file.read_text() == keys
    assert "run the same `opportune restore` again" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_small_archive_cannot_fill_the_disk(shop: Settings, tmp_path: Path) -> None:
    back_up(shop, tmp_path / "good", now=NOW)
    with tarfile.open(tmp_path / "bomb.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "good" / "manifest.json", arcname="manifest.json")
        bomb = tarfile.TarInfo("opportune.db")
        bomb.size = 200_000_000
        with Path("/dev/zero").open("rb") as zeros:
            tar.addfile(bomb, zeros)
    folder = tmp_path / "out"
    folder.mkdir()

    with pytest.raises(BackupError, match=r"opportune\.db"):
        unpack(tmp_path / "bomb.tar.gz", folder)

    taken = [path.stat().st_size for path in folder.iterdir()]
    assert taken == [(tmp_path / "good" / "opportune.db").stat().st_size + 1]


def test_restore_reminds_of_erasures_and_of_keys_that_are_nowhere(shop: Settings, tmp_path: Path) -> None:
    back_up(shop, tmp_path / "without.tar.gz", now=NOW)
    back_up(shop, tmp_path / "with.tar.gz", now=NOW, with_keys=True)

    nowhere = restore(settings_in(tmp_path / "other"), tmp_path / "without.tar.gz", now=LATER)
    there = restore(settings_in(tmp_path / "third"), tmp_path / "with.tar.gz", now=LATER)

    assert "2026-11-22 12:00" in nowhere.reminders[0]
    assert "delete-person" in nowhere.reminders[0]
    assert "new client key" in nowhere.reminders[1]
    assert len(there.reminders) == 1


def test_the_lake_goes_on_while_a_backup_is_packed(shop: Settings, tmp_path: Path) -> None:
    stages: list[int] = []
    with opened(shop) as store:

        def erase_and_export(done: int, total: int) -> None:
            # Files are packed one by one at the end: the last stage counts them.
            if total < 20 and done == 1 and not stages:
                stages.append(export(store, shop.home / "lake", wait=False))
                stages.append(erase(shop.home / "lake", user_ids=[], anonymous_ids=["v1"]))

        back_up(shop, tmp_path / "b", now=NOW, progress=erase_and_export)

    assert stages[0] == 21
    assert read_manifest(tmp_path / "b" / "lake").offset == 20
    restore(settings_in(tmp_path / "other"), tmp_path / "b", now=LATER)
    assert not list(shop.home.glob(".backup-*"))


def test_what_a_killed_backup_held_is_let_go(shop: Settings) -> None:
    left = shop.home / ".backup-killed"
    (left / "lake").mkdir(parents=True)
    (left / "lake" / "rows").write_text("of somebody")

    with opened(shop) as store:
        erase_person(store, shop, user_ids=["nobody"], anonymous_ids=[])

    assert not left.exists()


def test_writers_are_not_held_up_by_a_backup(shop: Settings, tmp_path: Path) -> None:
    stages: list[object] = []
    with opened(shop) as store:
        store.ping()

        def write_meanwhile(_done: int, _total: int) -> None:
            if not stages:
                stages.append(store.append(IngestBatch(events=[an_event("meanwhile")])))

        back_up(shop, tmp_path / "b", now=NOW, progress=write_meanwhile)

    assert stages == [["accepted"]]
