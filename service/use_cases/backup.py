"""One archive of everything worth keeping: the database, the lake, the live model; keys only if asked."""

import dataclasses
import fcntl
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePath
from typing import NamedTuple

from sqlalchemy import URL

from service.lake.manifest import read_manifest, reading
from service.lake.places import MANIFEST, sync_folder
from service.settings import UNFINISHED_RESTORE, Settings
from service.storage import copying
from service.storage.places import Place, place_of
from service.storage.sqlite import InUse, in_use_path
from service.use_cases.archive import BackupError, Contents, Progress, pack, quiet, unpack

DATABASE = "opportune.db"
LAKE, MODELS, KEYS = "lake", "models", "keys.env"
PAGES = 2_048
# Folders that a process may leave behind when it is killed: in the home, and beside the new backup.
HELD, UNPACKED = ".backup-", ".restore-"
BESIDE = ".opportune-backup-"
"""Another name than in the home, because the folder of the backups may hold anything."""


class _Facts(NamedTuple):
    """What a copied database says of itself."""

    log_offset: int
    revision: int
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupReport:
    """What an archive holds, and what is left to do for who has restored it."""

    path: Path
    files: int
    size: int
    log_offset: int
    revision: int
    with_keys: bool
    reminders: tuple[str, ...] = ()


def back_up(
    settings: Settings, target: Path, *, now: datetime, with_keys: bool = False, progress: Progress = quiet
) -> BackupReport:
    """Copy a consistent state to `target`, a ``.tar.gz`` or a new folder, while the service runs.

    The lake is held still while the database is copied and the lake's files, which never change, get second
    names; packing, which takes longest, holds up nobody. The copy of the lake is never ahead of the log's.

    Raises
    ------
    BackupError
        If there is no database, or `target` exists.
    """
    source = place_of(settings.database_url)
    if isinstance(source, Path) and not source.is_file():
        raise BackupError(f"there is no database at {source}; nothing to back up")
    if target.exists():
        raise BackupError(f"{target} exists already; choose another name")
    target.parent.mkdir(parents=True, exist_ok=True)
    sweep_unfinished(settings.home)
    _sweep(target.parent, BESIDE)
    with _holding(target.parent, BESIDE) as scratch, _holding(settings.home, HELD) as held:
        copy = scratch / DATABASE
        with _still(settings.lake):
            facts = _copy_database(source, copy, progress)
            lake = _hold_lake(settings.lake, held)
        files = {DATABASE: copy, **lake, **_others(settings, model=facts.model, with_keys=with_keys)}
        made = {"made_at": now.isoformat(), "log_offset": facts.log_offset, "revision": facts.revision}
        packed = scratch / "packed" / target.name
        packed.parent.mkdir()
        contents = pack(packed, files, made=made, progress=progress)
        packed.replace(target)
        sync_folder(target.parent)
    return _report(target, contents)


def restore(
    settings: Settings, archive: Path, *, now: datetime, replace: bool = False, progress: Progress = quiet
) -> BackupReport:
    """Put the state in `archive` in place of nothing, or with `replace` in place of what is there.

    Every digest is checked before anything is moved. What is replaced is kept in a folder
    ``before-restore-<time>`` of the home. Killed while it moves, it leaves a mark that keeps everything else
    from starting; the same command then finishes the work.

    Raises
    ------
    BackupError
        If the service runs, if there is data and `replace` is not said, or if the archive is damaged.
    """
    database = place_of(settings.database_url)
    lake = {LAKE: settings.lake} if isinstance(settings.lake, Path) else {}
    places = {**lake, MODELS: settings.models, KEYS: settings.keys_file}
    if isinstance(database, Path):
        places = {DATABASE: database, **places}
        database.parent.mkdir(parents=True, exist_ok=True)
    settings.home.mkdir(parents=True, exist_ok=True)
    with _alone(database):
        occupied = [str(path) for name, path in places.items() if name != KEYS and _occupied(path)]
        if not isinstance(database, Path) and copying.holds_rows(database):
            occupied.append(f"the database {database.database} on {database.host or 'this machine'}")
        if occupied and not replace and not _mark(settings).exists():
            raise BackupError(f"there is data already ({', '.join(occupied)}); --replace moves it aside")
        for left in settings.home.glob(f"{UNPACKED}*"):
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=UNPACKED, dir=settings.home) as scratch:
            folder = Path(scratch)
            contents = unpack(archive, folder, progress=progress)
            _check_database(folder / DATABASE)
            wanted = {name: place for name, place in places.items() if name != KEYS or KEYS in contents.files}
            _exchange_all(settings, folder, wanted, now=now)
    return dataclasses.replace(_report(archive, contents), reminders=_reminders(settings, contents))


def sweep_unfinished(home: Path) -> None:
    """Remove what killed backups held on to: second names keep the rows of a person who was erased since."""
    _sweep(home, HELD)


def _sweep(parent: Path, prefix: str) -> None:
    for folder in parent.glob(f"{prefix}*"):
        with _claimed(folder) as mine:
            if mine:
                shutil.rmtree(folder, ignore_errors=True)


def _mark(settings: Settings) -> Path:
    return settings.home / UNFINISHED_RESTORE


def _exchange_all(settings: Settings, folder: Path, places: Mapping[str, Path], *, now: datetime) -> None:
    """Put everything of `folder` in its place; from the first move to the last the mark is there."""
    _sync_tree(folder)
    mark = _mark(settings)
    first_time = not mark.exists()
    if first_time:
        with mark.open("w", encoding="utf-8") as file:
            file.write(f"before-restore-{now:%Y%m%dT%H%M%S%fZ}")
            file.flush()
            os.fsync(file.fileno())
        sync_folder(settings.home)
    # A second try keeps what was there first together in one folder, and its own half-done work apart.
    aside = settings.home / (PurePath(mark.read_text("utf-8")).name or "before-restore")
    half_done = None if first_time else settings.home / f"half-restored-{now:%Y%m%dT%H%M%S%fZ}"
    database = place_of(settings.database_url)
    if not isinstance(database, Path):
        _exchange_rows(folder, database, aside, half_done)
    for name, place in places.items():
        _exchange(folder / name, place, aside, half_done)
    folders = {settings.home, aside, half_done, *(place.parent for place in places.values())}
    for changed in folders:
        if changed is not None and changed.is_dir():
            sync_folder(changed)
    mark.unlink()
    sync_folder(settings.home)


def _reminders(settings: Settings, contents: Contents) -> tuple[str, ...]:
    """Return what a restore cannot do by itself."""
    made_at = str(contents.made.get("made_at", "it was made"))[:19].replace("T", " ")
    told = [f"The backup is of {made_at} UTC. Repeat `opportune delete-person` for whoever was erased since."]
    if not settings.keys_file.exists():
        told.append(
            "There is no keys.env here and the backup held none: the next `make run` makes new keys. "
            "Every page then needs the new client key, and every backend the new server key."
        )
    return tuple(told)


def _report(path: Path, contents: Contents) -> BackupReport:
    return BackupReport(
        path=path,
        files=len(contents.files),
        size=sum(entry.size for entry in contents.files.values()),
        log_offset=int(contents.made.get("log_offset", 0)),
        revision=int(contents.made.get("revision", 0)),
        with_keys=KEYS in contents.files,
    )


@contextmanager
def _still(lake: Path | str) -> Iterator[None]:
    """Keep the lake as it is; where there is none, none is made."""
    if isinstance(lake, str) or not lake.is_dir():
        yield
        return
    with reading(lake):
        yield


@contextmanager
def _alone(database: Place) -> Iterator[None]:
    if not isinstance(database, Path):
        with copying.alone(database) as mine:
            if not mine:
                raise BackupError("the database is in use; stop the service and other commands first")
            yield
        return
    try:
        mark = InUse(in_use_path(database), alone=True)
    except BlockingIOError as error:
        raise BackupError(f"{database} is in use; stop the service and other commands first") from error
    try:
        yield
    finally:
        mark.close()


def _copy_database(source: Place, copy: Path, progress: Progress) -> _Facts:
    """Copy one state of the database into a SQLite file; return what it says of itself."""
    if isinstance(source, Path):
        _copy_file(source, copy, progress)
    else:
        copying.to_file(source, copy, progress)
    with closing(sqlite3.connect(copy)) as connection:
        offset = connection.execute("SELECT coalesce(max(seq), 0) FROM event").fetchone()[0]
        live = connection.execute("SELECT revision, model FROM live_state").fetchone() or (0, "")
    return _Facts(log_offset=offset, revision=live[0], model=live[1])


def _copy_file(source: Path, copy: Path, progress: Progress) -> None:
    """Copy one state of the file, page by page inside one read transaction."""

    def tell(_status: int, remaining: int, total: int) -> None:
        progress(total - remaining, total)

    try:
        with (
            closing(
                sqlite3.connect(f"{source.as_uri()}?mode=rw", uri=True, isolation_level=None)
            ) as original,
            closing(sqlite3.connect(copy, isolation_level=None)) as target,
        ):
            original.execute("BEGIN")
            original.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            original.backup(target, pages=PAGES, progress=tell)
            # One file, without a write-ahead log beside it.
            target.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.Error as error:
        raise BackupError(f"the database cannot be copied: {error}") from error


@contextmanager
def _holding(parent: Path, prefix: str) -> Iterator[Path]:
    """Give a new folder below `parent`, claimed for as long as this process lives."""
    with tempfile.TemporaryDirectory(prefix=prefix, dir=parent) as held, _claimed(Path(held)):
        yield Path(held)


@contextmanager
def _claimed(folder: Path) -> Iterator[bool]:
    """Claim a folder for this process; False if another one has it. A claim dies with its holder."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        yield False
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(descriptor)


def _hold_lake(lake: Path | str, held: Path) -> dict[str, Path]:
    """Give the files that the lake's manifest names a second name; return name in the archive -> file.

    A lake in an object store is not part of a backup: it follows from the log.
    """
    if isinstance(lake, str):
        return {}
    index = lake / MANIFEST
    if not index.is_file():
        return {}
    names = [MANIFEST, *(entry.path for entry in read_manifest(lake).files)]
    for name in names:
        place = held / name
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            place.hardlink_to(lake / name)
        except OSError:
            # Not every file system has second names.
            shutil.copyfile(lake / name, place)
    return {f"{LAKE}/{name}": held / name for name in names}


def _others(settings: Settings, *, model: str, with_keys: bool) -> dict[str, Path]:
    """Return name in the archive -> file: the live model only, and the keys when asked for."""
    files = {}
    folder = settings.models / model if model else None
    if folder is not None and folder.is_dir():
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            files[f"{MODELS}/{path.relative_to(settings.models).as_posix()}"] = path
    if with_keys and settings.keys_file.is_file():
        files[KEYS] = settings.keys_file
    return files


def _check_database(path: Path) -> None:
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            said = connection.execute("PRAGMA quick_check").fetchone()[0]
    except sqlite3.Error as error:
        raise BackupError(f"the archive holds no usable database: {error}") from error
    if said != "ok":
        raise BackupError(f"the database in the archive is damaged: {said}")


def _occupied(path: Path) -> bool:
    if path.is_dir():
        return any(p.is_file() and p.name != ".lock" for p in path.rglob("*"))
    return path.exists()


def _exchange(new: Path, place: Path, aside: Path, half_done: Path | None) -> None:
    """Put `new` at `place`; what was there, a write-ahead log too, is kept in `aside` or `half_done`."""
    # The database goes last: as long as it has not gone, what lies beside it is its own.
    for old in (place.with_name(place.name + "-wal"), place.with_name(place.name + "-shm"), place):
        if old.exists():
            kept = half_done if half_done is not None and (aside / place.name).exists() else aside
            kept.mkdir(parents=True, exist_ok=True)
            shutil.move(old, kept / old.name)
    if new.exists():
        if new.name in (DATABASE, KEYS):
            new.chmod(0o600)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(new, place)


def _exchange_rows(folder: Path, database: URL, aside: Path, half_done: Path | None) -> None:
    """Load the unpacked rows into the database, in one transaction; what was there is kept as a file."""
    with copying.exchanging(database) as rows:
        if rows.holds_rows():
            before = folder / "before" / DATABASE
            before.parent.mkdir()
            rows.save(before, quiet)
            kept = half_done if half_done is not None and (aside / DATABASE).exists() else aside
            kept.mkdir(parents=True, exist_ok=True)
            shutil.move(before, kept / DATABASE)
            sync_folder(kept)
        rows.load(folder / DATABASE, quiet)


def _sync_tree(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            sync_folder(path)
