"""GrowthBook's stream over a real server: the real SDK hears of a change without asking."""

from collections.abc import Iterator
from pathlib import Path

import growthbook
import pytest
import requests
from growthbook import GrowthBook

from service.clock import utc_now
from service.storage.sql import open_store
from tests.server import Server, Start, running_server, until, write_catalog

GTHREAD = Start(command=("-k", "gthread", "--threads", "8", "service.wsgi:application"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running_server(tmp_path / "home", write_catalog(tmp_path / "catalog")) as running:
        yield running
        growthbook.feature_repo.clear_cache()


def set_dark_mode(server: Server, *, killed: bool) -> None:
    store = open_store(server.settings)
    store.set_killed("dark-mode", killed=killed, by="test", now=utc_now())
    store.close()


def test_the_real_sdk_hears_of_a_kill_and_of_its_end(server: Server) -> None:
    client = GrowthBook(
        api_host=server.base_url,
        client_key=server.client_key,
        attributes={"anonymous_id": "v-1"},
        streaming=True,
        cache_ttl=86_400,
    )
    client.load_features()
    assert client.is_on("dark-mode")

    set_dark_mode(server, killed=True)
    until(lambda: not client.is_on("dark-mode"))
    set_dark_mode(server, killed=False)
    until(lambda: client.is_on("dark-mode"))

    client.destroy()


def test_the_stream_needs_a_client_key_and_an_allowed_page(server: Server) -> None:
    unknown = requests.get(f"{server.base_url}/sub/ck_unknown", timeout=30)
    secret = requests.get(f"{server.base_url}/sub/{server.server_key}", timeout=30)
    elsewhere = requests.get(
        f"{server.base_url}/sub/{server.client_key}", headers={"Origin": "https://evil.example"}, timeout=30
    )

    assert [unknown.status_code, secret.status_code, elsewhere.status_code] == [401, 401, 403]


def test_where_no_stream_can_stay_open_the_client_is_told_when_to_come_back(tmp_path: Path) -> None:
    with running_server(tmp_path / "home", write_catalog(tmp_path / "catalog"), GTHREAD) as running:
        answer = requests.get(f"{running.base_url}/sub/{running.client_key}", timeout=30)
        news = requests.get(
            f"{running.base_url}/sub/{running.client_key}", headers={"Last-Event-ID": "0.0"}, timeout=30
        )

    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert answer.text.startswith("retry: ")
    assert "event: features\n" in news.text
