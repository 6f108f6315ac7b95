"""The second process beside `tests.server.running_server`, as any part's test may need it."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from service.settings import REPOSITORY, child_environment
from tests.server import Server


def environment_of(server: Server) -> dict[str, str]:
    """Return what a process of the server's home needs to be told; its own keys included."""
    return child_environment(
        OPPORTUNE_HOME=str(server.home),
        OPPORTUNE_CATALOG=str(server.settings.catalog),
        OPPORTUNE_DATABASE_URL=server.settings.database_url,
        OPPORTUNE_WATCH="0",
        PORT=str(server.port),
        OPPORTUNE_CLIENT_KEY=server.client_key,
        OPPORTUNE_SERVER_KEY=server.server_key,
        OPPORTUNE_ANALYST_KEY=server.analyst_key,
    )


@contextmanager
def worker_of(server: Server) -> Iterator[subprocess.Popen[bytes]]:
    """Run the worker over the server's home; whoever kills it simply starts another."""
    arguments = [sys.executable, "-m", "service.cli.main", "worker"]
    with (server.home / "worker.log").open("ab") as log:
        process = subprocess.Popen(
            arguments, env=environment_of(server), cwd=REPOSITORY, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait()
