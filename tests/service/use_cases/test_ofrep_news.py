"""What becomes of an evaluation whose caller was told of a version that this process does not know."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from service.app import build_services, shut_down
from service.clock import utc_now
from service.use_cases.exchange import Call
from service.use_cases.ofrep import MISSING_FOR, answer, refreshed
from service.use_cases.services import Services
from tests.service.use_cases.shops import a_store, launched, settings_in

SERVER_KEY = "sk_" + "2" * 32
ASKED = Call(None, b"{}", authorization=f"Bearer {SERVER_KEY}", if_none_match="*")


def told(version: int) -> Call:
    return ASKED._replace(query=f"flagConfigEtag={version}.0")


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    with a_store(tmp_path) as store:
        launched(store)
        now = utc_now()
        settings = replace(settings_in(tmp_path), server_key=SERVER_KEY)
        built = replace(build_services(settings), clock=lambda: now)
        yield built
        shut_down(built)


def test_a_version_that_the_store_does_not_know_is_looked_for_once_a_poll(services: Services) -> None:
    looked_at = services.snapshots.looked_at
    assert answer(services, told(9_999)) is None
    call = refreshed(services, told(9_999))
    first = answer(services, call)
    assert first is not None
    assert first.status == 200
    assert services.snapshots.looked_at > looked_at

    looked_at = services.snapshots.looked_at
    for version in (9_999, 10_000):
        again = answer(services, told(version))
        assert again is not None
        assert again.status == 200
        refreshed(services, told(version))
    assert services.snapshots.looked_at == looked_at

    later = services.clock() + MISSING_FOR + timedelta(seconds=1)
    assert answer(replace(services, clock=lambda: later), told(9_999)) is None


def test_an_invented_version_hides_no_real_one(services: Services) -> None:
    refreshed(services, told(9_999))
    version = services.snapshots.current.state.version
    services.store.set_killed("any", killed=True, by="test", now=utc_now())

    assert answer(services, told(version + 1)) is None
    call = refreshed(services, told(version + 1))

    assert call.if_none_match == "*"
    assert services.snapshots.current.state.version == version + 1
