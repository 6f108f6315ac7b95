"""One trained shop for all tests that only read it."""

import pytest

from tests.service.recommend.kit import Shop, make_shop


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Give a shop with a personal model; copy its home before changing anything."""
    return make_shop(tmp_path_factory.mktemp("shop"))
