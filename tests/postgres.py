"""A private PostgreSQL for tests: a cluster of its own on a free port, a fresh database for each test.

`with running_cluster() as cluster` starts one; the fixture `cluster` of tests/conftest.py is the one of the
session, and `postgres_url` names a migrated database in it.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import psycopg
import pytest

from service.storage.migrate import migrate
from tests.server import free_port

USER, PASSWORD = "opportune", "very-secret-password"
TEMPLATE = "migrated"
PATIENCE_S = 60
WHO = ("postgres", "nobody")


def binaries() -> Path | None:
    """Return the folder of the newest PostgreSQL that is installed, None if there is none."""
    installed = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if installed:
        return max(installed, key=lambda folder: int(folder.parent.name))
    found = shutil.which("initdb")
    return Path(found).resolve().parent if found else None


@dataclass(slots=True, kw_only=True)
class Cluster:
    """A PostgreSQL server that belongs to the tests."""

    binaries: Path
    folder: Path
    port: int
    durable: bool
    account: str | None
    process: subprocess.Popen[bytes] | None = None
    _numbers: Iterator[int] = field(default_factory=count)

    @property
    def data(self) -> Path:
        """The folder of the databases."""
        return self.folder / "data"

    @property
    def log(self) -> Path:
        """What the server said."""
        return self.folder / "server.log"

    def url(self, database: str, *, port: int | None = None) -> str:
        """Return the URL of a database, maybe through another port that leads here."""
        return f"postgresql+psycopg://{USER}:{PASSWORD}@127.0.0.1:{port or self.port}/{database}"

    def new_database(self, *, migrated: bool = True) -> str:
        """Make an empty database, with the schema or without; return its URL."""
        name = f"test_{next(self._numbers)}"
        self.sql(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE if migrated else 'template0'}")
        return self.url(name)

    def drop(self, url: str) -> None:
        """Drop a database, whoever is still connected to it."""
        self.sql(f"DROP DATABASE IF EXISTS {url.rpartition('/')[2]} WITH (FORCE)")

    def sql(self, statement: str, *, database: str = "postgres") -> list[tuple[object, ...]]:
        """Do one statement as the owner of the cluster; return its rows."""
        with psycopg.connect(self._dsn(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def start(self) -> None:
        """Start the server and wait until it answers."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "fsync": "on" if self.durable else "off",
            "full_page_writes": "on" if self.durable else "off",
            "max_connections": "200",
            "log_min_messages": "warning",
            "deadlock_timeout": "100ms",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        command = [str(self.binaries / "postgres"), "-D", str(self.data), *options]
        deadline = time.monotonic() + PATIENCE_S
        # After kill -9 the first try may find what the old processes have not let go yet.
        while time.monotonic() < deadline:
            with self.log.open("ab") as out:
                self.process = _run_as(self.account, command, self.folder, out=out)
            while self.process.poll() is None and time.monotonic() < deadline:
                if self._answers():
                    return
                time.sleep(0.02)
            time.sleep(0.1)
        raise AssertionError(f"PostgreSQL does not start:\n{self.log.read_text('utf-8', 'replace')[-4_000:]}")

    def kill(self) -> None:
        """Kill the server's main process with -9; its children notice and end."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Stop the server at once, but in order; clients are thrown out."""
        self._end(signal.SIGINT)

    def _end(self, how: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(PATIENCE_S)
            self.process = None

    def _answers(self) -> bool:
        try:
            psycopg.connect(self._dsn("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _dsn(self, database: str) -> str:
        return f"host=127.0.0.1 port={self.port} user={USER} password={PASSWORD} dbname={database}"


@contextmanager
def running_cluster(*, durable: bool = False) -> Iterator[Cluster]:
    """Start a new cluster, end and remove it afterwards; without PostgreSQL the test is skipped.

    `durable` makes it wait for the disk like in production; killing the server alone loses nothing without.
    """
    found = binaries()
    if found is None:
        pytest.skip(
            "PostgreSQL is not installed: on Debian, apt-get install postgresql; or: make setup-clients"
        )
    folder = Path(tempfile.mkdtemp(prefix="opportune-pg-"))
    account = _account()
    cluster = Cluster(binaries=found, folder=folder, port=free_port(), durable=durable, account=account)
    try:
        if account is not None:
            shutil.chown(folder, account)
        _initialize(cluster)
        cluster.start()
        cluster.sql(f"CREATE DATABASE {TEMPLATE} TEMPLATE template0")
        migrate(cluster.url(TEMPLATE))
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _initialize(cluster: Cluster) -> None:
    secret = cluster.folder / "password"
    secret.write_text(PASSWORD, "utf-8")
    secret.chmod(0o644)
    command = [
        str(cluster.binaries / "initdb"),
        f"--pgdata={cluster.data}",
        f"--username={USER}",
        f"--pwfile={secret}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C.UTF-8",
        "--no-sync",
    ]
    with cluster.log.open("wb") as out:
        code = _run_as(cluster.account, command, cluster.folder, out=out).wait(PATIENCE_S)
    assert code == 0, cluster.log.read_text("utf-8", "replace")


def _account() -> str | None:
    """Return who shall run it: PostgreSQL refuses to run as root."""
    if os.getuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in WHO if name in known)


def _run_as(account: str | None, command: list[str], folder: Path, *, out: object) -> subprocess.Popen[bytes]:
    if account is None:
        return subprocess.Popen(command, cwd=folder, stdout=out, stderr=out)  # type: ignore[call-overload,no-any-return]
    entry = pwd.getpwnam(account)
    return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
        command,
        cwd=folder,
        stdout=out,
        stderr=out,
        user=entry.pw_uid,
        group=entry.pw_gid,
        extra_groups=[],
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
    )
