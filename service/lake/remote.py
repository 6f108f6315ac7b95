"""The lake below a URL of an object store: no renames and no locks there, but whole objects in one step.

Data go under names that no other writer uses, the manifest is replaced last. The only writer holds a lease in
the event store. One that lost it without knowing cannot replace a manifest that it has not read: S3 refuses
that itself (`If-Match`), for other stores we look just before. Readers take no lock: what a manifest named is
kept for an hour after it was replaced.
"""

import hashlib
import math
import secrets
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import fsspec
import pyarrow as pa
from fsspec.implementations.dirfs import DirFileSystem

from service.clock import utc_now
from service.lake.places import MANIFEST, Index, LakeBusyError, LakeError, Written, is_own, write_parquet
from service.storage.analysis_ports import Leases
from service.storage.holding import TTL_S, LeaseKeeper, holding

LEASE = "lake"
GRACE_S = 3_600.0
CONDITIONAL = frozenset({"s3", "s3a"})
READ_AHEAD = 2**20


SCHEME = "lake://"


class _Below(DirFileSystem):  # type: ignore[misc]  # fsspec ships no types
    """The lake's objects as a file system of their own, for DuckDB."""

    protocol = "lake"

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return path.removeprefix(SCHEME)

    def _join(self, path: str) -> str:
        joined: str = super()._join(path.removeprefix(SCHEME))
        return joined


class RemoteLake:
    """A lake below an fsspec URL; without `leases` it can only be read.

    Raises
    ------
    LakeError
        If nothing is installed that knows such a URL.
    """

    def __init__(
        self, url: str, leases: Leases | None = None, *, ttl_s: float = TTL_S, grace_s: float = GRACE_S
    ) -> None:
        try:
            # What another process wrote must be seen at once.
            self._files, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            raise LakeError(
                f"OPPORTUNE_LAKE={url}: {error}. For s3:// the extra must be installed: pip install '.[s3]'"
            ) from error
        self._root = str(root).rstrip("/")
        protocol = self._files.protocol
        self._protocol = protocol if isinstance(protocol, str) else protocol[0]
        self._leases = leases
        self._ttl_s = ttl_s
        self._keeper: LeaseKeeper | None = None
        self.grace_us = int(grace_s * 1e6)
        self.spill = None

    def index(self) -> Index:
        """Return the manifest."""
        path = self._at(MANIFEST)
        try:
            # The tag first: with a newer content it is refused, and with an older one it would not be.
            tag = str(self._files.info(path).get("ETag", ""))
            content: bytes = self._files.cat_file(path)
        except FileNotFoundError:
            return Index(b"", "")
        return Index(content, tag or hashlib.sha256(content).hexdigest())

    def stamp(self) -> object:
        """Return what is another value whenever the manifest was replaced."""
        return self.index().tag

    def replace_index(self, content: bytes, *, before: Index) -> None:
        """Put another manifest in the place of `before` in one step; for the writer."""
        if self._keeper is not None:
            self._keeper.check()
        if self.index().tag != before.tag:
            raise LakeBusyError(f"another writer replaced the manifest of {self._root}")
        condition = {}
        if self._protocol in CONDITIONAL:
            condition = {"IfMatch": before.tag} if before.tag else {"IfNoneMatch": "*"}
        try:
            self._files.pipe_file(self._at(MANIFEST), content, **condition)
        except OSError as error:
            now = self.index()
            # A client that heard no answer asks again, and is then refused for what it did itself.
            if now.content == content:
                return
            if now.tag != before.tag:
                raise LakeBusyError(f"another writer replaced the manifest of {self._root}") from error
            raise

    @contextmanager
    def open(self, path: str) -> Iterator[Any]:
        """Open an object, of which only what is asked for is fetched."""
        with self._files.open(self._at(path), "rb", block_size=READ_AHEAD) as file:
            yield file

    def write(self, path: str, table: pa.Table) -> Written:
        """Write one object under a name that nobody else has."""
        stem, _, ending = path.rpartition(".")
        name = f"{stem}-{secrets.token_hex(4)}.{ending}"
        buffer = pa.BufferOutputStream()
        write_parquet(table, buffer)
        content = buffer.getvalue().to_pybytes()
        self._files.pipe_file(self._at(name), content)
        return Written(name, len(content))

    def delete(self, paths: Collection[str]) -> None:
        """Delete objects; those that are gone already do not matter."""
        for path in paths:
            with suppress(FileNotFoundError):
                self._files.rm_file(self._at(path))

    def strays(self, known: Collection[str]) -> Sequence[str]:
        """Return the lake's own objects that are not among `known`; a young one may be about to be named."""
        found = [path.removeprefix(f"{self._root}/") for path in self._files.find(self._root)]
        before = utc_now() - timedelta(microseconds=self.grace_us)
        return [
            path for path in found if is_own(path) and path not in known and self._modified(path) <= before
        ]

    @contextmanager
    def writing(self, *, wait: bool) -> Iterator[None]:
        """Be the only writer, by a lease."""
        if self._leases is None:
            raise RuntimeError(f"{self._root} was opened without leases: it can only be read")
        within_s = math.inf if wait else 0.0
        with holding(self._leases, LEASE, within_s=within_s, ttl_s=self._ttl_s) as keeper:
            if keeper is None:
                raise LakeBusyError(f"{self._root} is being written")
            self._keeper = keeper
            try:
                yield
            finally:
                self._keeper = None

    def reading(self) -> "nullcontext[None]":
        """Do nothing: what the manifest names stays for an hour after it was replaced."""
        return nullcontext()

    def location(self, path: str) -> str:
        """Return the URL of an object."""
        return f"{self._protocol}://{self._at(path)}"

    def duckdb_path(self, path: str) -> str:
        """Return a URL that only `prepare` gives a meaning: Ibis loads an extension for those of S3."""
        return f"{SCHEME}{path}"

    def prepare(self, connection: Any) -> None:  # noqa: ANN401 - a DuckDB connection, not loaded here
        """Let DuckDB read through our client: its own extension for S3 would have to be downloaded."""
        connection.register_filesystem(_Below(path=self._root, fs=self._files))

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}"

    def _modified(self, path: str) -> datetime:
        try:
            modified: datetime = self._files.modified(self._at(path))
        except FileNotFoundError:
            return utc_now()
        return modified if modified.tzinfo else modified.replace(tzinfo=UTC)
