"""A migrated store in an empty folder; every adapter of the Store port is one more parameter."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from service.storage.migrate import migrate
from service.storage.sql import SqlStore


@pytest.fixture(params=["sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqlStore]:
    assert request.param == "sqlite"
    path = tmp_path / "opportune.db"
    migrate(f"sqlite:///{path}")
    opened = SqlStore(path)
    yield opened
    opened.close()
