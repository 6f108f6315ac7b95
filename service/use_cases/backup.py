"""One archive of everything worth keeping: the database, the lake, the live model; keys only if asked."""

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from service.lake import manifest as lake_manifest
from service.settings import Settings
from service.storage.engine import InUse, database_path, in_use_path
from service.use_cases.archive import BackupError, Contents, Progress, pack, quiet, unpack

DATABASE = "opportune.db"
LAKE, MODELS, KEYS = "lake", "models", "keys.env"
PAGES = 2_048


class _Facts(NamedTuple):
    """What a copied database says of itself."""

    log_offset: int
    revision: int
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupReport:
    """What an archive holds."""

    path: Path
    files: int
    size: int
    log_offset: int
    revision: int
    with_keys: bool


def back_up(
    settings: Settings, target: Path, *, now: datetime, with_keys: bool = False, progress: Progress = quiet
) -> BackupReport:
    """Copy a consistent state to `target`, a ``.tar.gz`` or a new folder, while the service runs.

    The lake is held still first and the database copied after it, so the copy of the lake is never ahead
    of the copied log. Writers go on meanwhile.

    Raises
    ------
    BackupError
        If there is no database, or `target` exists.
    """
    source = database_path(settings.database_url)
    if not source.is_file():
        raise BackupError(f"there is no database at {source}; nothing to back up")
    if target.exists():
        raise BackupError(f"{target} exists already; choose another name")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".backup-", dir=target.parent) as scratch:
        copy = Path(scratch) / DATABASE
        with _still(settings.lake):
            facts = _copy_database(source, copy, progress)
            files = _collect(settings, copy, model=facts.model, with_keys=with_keys)
            made = {"made_at": now.isoformat(), "log_offset": facts.log_offset, "revision": facts.revision}
            contents = pack(target, files, made=made, progress=progress)
    return _report(target, contents)


def restore(
    settings: Settings, archive: Path, *, now: datetime, replace: bool = False, progress: Progress = quiet
) -> BackupReport:
    """Put the state in `archive` in place of nothing, or with `replace` in place of what is there.

    Every digest is checked before anything is moved. What is replaced is kept in a folder
    ``before-restore-<time>`` of the home.

    Raises
    ------
    BackupError
        If the service runs, if there is data and `replace` is not said, or if the archive is damaged.
    """
    database = database_path(settings.database_url)
    places = {DATABASE: database, LAKE: settings.lake, MODELS: settings.models, KEYS: settings.keys_file}
    database.parent.mkdir(parents=True, exist_ok=True)
    settings.home.mkdir(parents=True, exist_ok=True)
    with _alone(database):
        occupied = [str(path) for name, path in places.items() if name != KEYS and _occupied(path)]
        if occupied and not replace:
            raise BackupError(f"there is data already ({', '.join(occupied)}); --replace moves it aside")
        with tempfile.TemporaryDirectory(prefix=".restore-", dir=settings.home) as scratch:
            folder = Path(scratch)
            contents = unpack(archive, folder, progress=progress)
            _check_database(folder / DATABASE)
            aside = settings.home / f"before-restore-{now:%Y%m%dT%H%M%S%fZ}"
            for name, place in places.items():
                if name != KEYS or KEYS in contents.files:
                    _exchange(folder / name, place, aside)
    return _report(archive, contents)


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
def _still(lake: Path) -> Iterator[None]:
    """Keep the lake as it is; where there is none, none is made."""
    if not lake.is_dir():
        yield
        return
    with lake_manifest.reading(lake):
        yield


@contextmanager
def _alone(database: Path) -> Iterator[None]:
    try:
        mark = InUse(in_use_path(database), alone=True)
    except BlockingIOError as error:
        raise BackupError(f"{database} is in use; stop the service and other commands first") from error
    try:
        yield
    finally:
        mark.close()


def _copy_database(source: Path, copy: Path, progress: Progress) -> _Facts:
    """Copy one state of the database, page by page inside one read transaction."""

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
            offset = target.execute("SELECT coalesce(max(seq), 0) FROM event").fetchone()[0]
            live = target.execute("SELECT revision, model FROM live_state").fetchone() or (0, "")
    except sqlite3.Error as error:
        raise BackupError(f"the database cannot be copied: {error}") from error
    return _Facts(log_offset=offset, revision=live[0], model=live[1])


def _collect(settings: Settings, copy: Path, *, model: str, with_keys: bool) -> dict[str, Path]:
    """Return name in the archive -> file: the live model only, of the lake what its manifest names."""
    files = {DATABASE: copy}
    index = settings.lake / lake_manifest.MANIFEST
    if index.is_file():
        files[f"{LAKE}/{lake_manifest.MANIFEST}"] = index
        for entry in lake_manifest.read_manifest(settings.lake).files:
            files[f"{LAKE}/{entry.path}"] = settings.lake / entry.path
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


def _exchange(new: Path, place: Path, aside: Path) -> None:
    """Put `new` at `place`; what was there, a write-ahead log too, is kept in `aside`."""
    for old in (place, place.with_name(place.name + "-wal"), place.with_name(place.name + "-shm")):
        if old.exists():
            aside.mkdir(parents=True, exist_ok=True)
            shutil.move(old, aside / old.name)
    if new.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(new, place)
    if new.name == KEYS and place.exists():
        place.chmod(0o600)
