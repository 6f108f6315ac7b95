"""Every HTTP test runs on both lanes: evaluations on the event loop, and everything through Flask."""

from collections.abc import Iterator

import pytest

from tests.server import Server, running_server, write_catalog


@pytest.fixture(scope="session", params=["1", "0"], ids=["hot-lane", "flask-only"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Give a running server with the small test catalog."""
    home = tmp_path_factory.mktemp("server")
    catalog = write_catalog(home / "catalog")
    with running_server(home / "home", catalog, OPPORTUNE_HOT_LANE=request.param) as running:
        yield running
