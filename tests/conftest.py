"""For every test: Hypothesis without deadlines, since no test may depend on how busy the machine is."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.postgres import Cluster, running_cluster

# A program of the clients' own environment: here its library is missing.
collect_ignore = ["clients/segment_client.py"]

settings.register_profile("opportune", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("opportune")


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Give the PostgreSQL server of the session; tests that need it are skipped where there is none."""
    with running_cluster() as started:
        yield started


@pytest.fixture
def postgres_url(cluster: Cluster) -> Iterator[str]:
    """Give the URL of a migrated, empty database on PostgreSQL."""
    url = cluster.new_database()
    yield url
    cluster.drop(url)
