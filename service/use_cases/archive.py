"""A backup as files: named, digested, packed into one .tar.gz or a folder, and taken out only if unharmed."""

import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from service.settings import unfinished_restore

FORMAT = 1
MANIFEST = "manifest.json"
ARCHIVE_SUFFIXES = (".tar.gz", ".tgz")
CHUNK = 1024 * 1024
MAX_MANIFEST = 64 * 1024 * 1024

Progress = Callable[[int, int], None]
"""Called with what is done and what there is in all, in one unit for each stage."""


class BackupError(Exception):
    """A backup cannot be made, or not be restored; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a backup: its length and digest."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Contents:
    """The manifest of a backup: its files by name, and what was noted when it was made."""

    files: Mapping[str, Entry]
    made: Mapping[str, Any]


def check_restored(home: Path) -> None:
    """Refuse to go on in a home whose restore was interrupted: what lies there is neither old nor new.

    Raises
    ------
    BackupError
        If there is the mark of an unfinished restore.
    """
    if problem := unfinished_restore(home):
        raise BackupError(problem)


def quiet(_done: int, _total: int) -> None:
    """Show nothing."""


def pack(
    target: Path, files: Mapping[str, Path], *, made: Mapping[str, Any], progress: Progress = quiet
) -> Contents:
    """Write `files` (name -> file) and a manifest of their digests to `target`, complete or not there."""
    contents = Contents(files=_digests(files, progress), made=dict(made))
    text = json.dumps(
        {
            "format": FORMAT,
            **contents.made,
            "files": {name: {"bytes": e.size, "sha256": e.sha256} for name, e in contents.files.items()},
        },
        indent=1,
        sort_keys=True,
    ).encode()
    unfinished = target.with_name(f".{target.name}.unfinished")
    _remove(unfinished)
    if target.name.endswith(ARCHIVE_SUFFIXES):
        _write_archive(unfinished, files, text, progress)
    else:
        _write_folder(unfinished, files, text, progress)
    unfinished.replace(target)
    return contents


def unpack(archive: Path, folder: Path, *, progress: Progress = quiet) -> Contents:
    """Take the files of a backup out into the empty `folder`, checking every length and digest.

    Raises
    ------
    BackupError
        If it is no backup, or anything is missing, additional or changed.
    """
    try:
        with _members(archive) as members:
            contents = _read_manifest(members)
            total = sum(entry.size for entry in contents.files.values())
            done, seen = 0, set()
            for name, stream in members:
                entry = contents.files.get(name)
                if entry is None or name in seen:
                    raise BackupError(f"{archive} holds {name!r}, which its manifest does not name once")
                seen.add(name)
                _take_out(stream, folder / name, entry, name)
                done += entry.size
                progress(done, total)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise BackupError(f"{archive} cannot be read: {error}") from error
    missing = sorted(set(contents.files) - seen)
    if missing:
        raise BackupError(f"{archive} is incomplete: {missing[0]} is missing")
    return contents


def _digests(files: Mapping[str, Path], progress: Progress) -> dict[str, Entry]:
    total = sum(path.stat().st_size for path in files.values())
    entries: dict[str, Entry] = {}
    done = 0
    for name, path in files.items():
        digest = hashlib.sha256()
        size = 0
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
                size += len(chunk)
                progress(done + size, total)
        done += size
        entries[name] = Entry(size=size, sha256=digest.hexdigest())
    return entries


def _write_archive(path: Path, files: Mapping[str, Path], manifest: bytes, progress: Progress) -> None:
    with path.open("xb") as raw:
        # Keys may be inside.
        path.chmod(0o600)
        with tarfile.open(fileobj=raw, mode="w:gz", compresslevel=5) as tar:
            first = tarfile.TarInfo(MANIFEST)
            first.size = len(manifest)
            tar.addfile(first, io.BytesIO(manifest))
            for number, (name, file) in enumerate(files.items(), 1):
                tar.add(file, arcname=name, recursive=False)
                progress(number, len(files))
        raw.flush()
        os.fsync(raw.fileno())


def _write_folder(path: Path, files: Mapping[str, Path], manifest: bytes, progress: Progress) -> None:
    path.mkdir(mode=0o700)
    for number, (name, file) in enumerate(files.items(), 1):
        place = path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, place)
        _sync(place)
        progress(number, len(files))
    (path / MANIFEST).write_bytes(manifest)
    _sync(path / MANIFEST)


@contextmanager
def _members(archive: Path) -> Iterator[Iterator[tuple[str, IO[bytes]]]]:
    """Open a backup and give its files, the manifest first."""
    with ExitStack() as stack:
        if archive.is_dir():
            yield _folder_members(archive)
        elif archive.is_file():
            yield _archive_members(stack.enter_context(tarfile.open(archive, "r:gz")))
        else:
            raise BackupError(f"there is no backup at {archive}")


def _archive_members(tar: tarfile.TarFile) -> Iterator[tuple[str, IO[bytes]]]:
    for member in tar:
        stream = tar.extractfile(member) if member.isreg() else None
        if stream is None:
            raise BackupError(f"the archive holds {member.name!r}, which is no plain file")
        yield member.name, stream


def _folder_members(folder: Path) -> Iterator[tuple[str, IO[bytes]]]:
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    for name in sorted(names, key=lambda name: name != MANIFEST):
        with (folder / name).open("rb") as stream:
            yield name, stream


def _read_manifest(members: Iterator[tuple[str, IO[bytes]]]) -> Contents:
    name, stream = next(members, ("", io.BytesIO()))
    if name != MANIFEST:
        raise BackupError("this is no backup: it does not begin with a manifest")
    try:
        made = json.loads(stream.read(MAX_MANIFEST))
        if made.pop("format") != FORMAT:
            raise BackupError(f"this backup has another format than {FORMAT}; use the version that made it")
        files = {
            name: Entry(int(entry["bytes"]), str(entry["sha256"]))
            for name, entry in made.pop("files").items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BackupError(f"the manifest of the backup cannot be read: {error}") from error
    for name in files:
        parts = PurePosixPath(name)
        if parts.is_absolute() or ".." in parts.parts or parts.as_posix() != name:
            raise BackupError(f"the backup names a file outside of it: {name!r}")
    return Contents(files=files, made=made)


def _take_out(stream: IO[bytes], place: Path, entry: Entry, name: str) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    size = 0
    with place.open("xb") as file:
        # Never more than was promised: a small archive can unpack to more than the disk holds.
        while size <= entry.size and (chunk := stream.read(min(CHUNK, entry.size - size + 1))):
            digest.update(chunk)
            size += len(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    if (size, digest.hexdigest()) != (entry.size, entry.sha256):
        raise BackupError(f"{name} in the backup has changed since it was made; nothing was restored")


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
