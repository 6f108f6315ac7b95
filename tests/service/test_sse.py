"""Event streams without a server: what a hub makes and keeps, and the end of a client that is deaf."""

import asyncio
import socket
import tracemalloc
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from service import gunicorn_conf, settings
from service.app import build_services, shut_down
from service.sse import Hub
from service.storage.migrate import migrate
from service.use_cases.access import hash_key
from service.use_cases.services import Services
from service.use_cases.snapshot import ServingSnapshot
from service.use_cases.streams import Mark, Opened

CLIENT_KEY = "ck_" + "1" * 32
LARGE = 1 << 20


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    chosen = settings.load({"OPPORTUNE_HOME": str(tmp_path), "OPPORTUNE_CLIENT_KEY": CLIENT_KEY})
    migrate(chosen.database_url)
    built = build_services(chosen)
    yield built
    shut_down(built)


def test_a_message_is_made_once_for_all_streams_and_no_stream_keeps_it(services: Services) -> None:
    made: list[str] = []

    def message(_: ServingSnapshot, mark: Mark) -> bytes:
        made.append(mark.event_id)
        return b"x" * LARGE

    async def never() -> Any:
        await asyncio.sleep(3_600)

    async def crowd() -> tuple[int, int]:
        hub = Hub(services, is_stopping=lambda: False)
        opened = Opened(key_digest=hash_key(CLIENT_KEY), headers=(), message=message)
        sizes: list[int] = []

        async def take(sent: Any) -> None:
            sizes.append(len(sent["body"]))

        tracemalloc.start()
        streams = [asyncio.create_task(hub.serve(opened, "older", never, take)) for _ in range(20)]
        while len(sizes) < len(streams):
            await asyncio.sleep(0.01)
        kept, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        for stream in streams:
            stream.cancel()
        await asyncio.gather(*streams, return_exceptions=True)
        return min(sizes), kept

    smallest, kept = asyncio.run(crowd())

    assert smallest > LARGE
    assert len(made) == 1
    assert kept < 3 * LARGE


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux cuts such a client off")
def test_a_client_that_takes_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gunicorn_conf, "SILENT_MS", 500)
    with ExitStack() as opened:
        listener = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
        gunicorn_conf.when_ready(SimpleNamespace(LISTENERS=[SimpleNamespace(sock=listener)]))
        client = opened.enter_context(socket.create_connection(listener.getsockname()))
        served = opened.enter_context(listener.accept()[0])

        served.settimeout(60)
        with pytest.raises(OSError, match=r"timed out") as ended:
            served.sendall(b"x" * 64 * LARGE)

        # The kernel's own error has a number, the end of our patience has none.
        assert ended.value.errno is not None
        assert client.fileno() > 0
