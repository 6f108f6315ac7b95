"""One Node process, one browser and one server for all tests with real clients."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.catalog import CATALOG
from tests.clients.kit import Node
from tests.server import Server, running_server, write_catalog


@pytest.fixture(scope="session")
def node() -> Iterator[Node]:
    """Give the process that runs the JavaScript SDKs and the browser."""
    process = Node()
    yield process
    process.close()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Give a running server with flags of every type; each module may kill flags in its own."""
    home: Path = tmp_path_factory.mktemp("clients")
    with running_server(home / "home", write_catalog(home / "catalog", CATALOG)) as running:
        yield running
