"""Event streams over a real server: who hears what, and how a stream ends."""

import json
import queue
import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from service.clock import utc_now
from service.storage.records import KeyClass
from service.storage.sql import open_store
from service.use_cases.access import hash_key
from tests.server import Server, Start, running_server, stop, until, write_catalog

BULK = "/ofrep/v1/evaluate/flags"
GTHREAD = Start(command=("-k", "gthread", "--threads", "8", "service.wsgi:application"))


class Stream:
    """A client of one stream: its lines arrive in `lines`, None when it has ended."""

    def __init__(self, url: str, **headers: str) -> None:
        self.answer = requests.get(url, headers=headers, stream=True, timeout=60)
        self.lines: queue.Queue[str | None] = queue.Queue()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            for line in self.answer.iter_lines(chunk_size=1, decode_unicode=True):
                self.lines.put(line)
        except (requests.RequestException, AttributeError, ValueError):
            pass
        self.lines.put(None)

    def until(self, start: str) -> str:
        """Return the next line that begins with `start`."""
        while True:
            line = self.lines.get(timeout=60)
            assert line is not None, "the stream ended"
            if line.startswith(start):
                return line.removeprefix(start).strip()

    def ended(self) -> bool:
        """Wait for the end."""
        while self.lines.get(timeout=60) is not None:
            pass
        return True


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running_server(tmp_path / "home", write_catalog(tmp_path / "catalog")) as running:
        yield running


def address(server: Server, **more: Any) -> str:
    told = server.post(BULK, {"context": {}}, **more).json()["eventStreams"]
    assert [entry["type"] for entry in told] == ["sse"]
    assert told[0]["inactivityDelaySec"] == 120
    return server.base_url + str(told[0]["endpoint"]["requestUri"])


def set_dark_mode(server: Server, *, killed: bool) -> None:
    store = open_store(server.settings)
    store.set_killed("dark-mode", killed=killed, by="test", now=utc_now())
    store.close()


def dark_mode(answer: requests.Response) -> Any:
    return next(flag["value"] for flag in answer.json()["flags"] if flag["key"] == "dark-mode")


def test_a_change_is_told_with_an_id_and_a_refetch_sees_it(server: Server) -> None:
    stream = Stream(address(server), Origin="http://localhost:5173")
    assert stream.answer.headers["Content-Type"] == "text/event-stream"
    assert stream.answer.headers["Access-Control-Allow-Origin"] == "http://localhost:5173"
    first = stream.until("id:")

    set_dark_mode(server, killed=True)
    data = json.loads(stream.until("data:"))
    while data["etag"] == first:
        data = json.loads(stream.until("data:"))

    assert data["type"] == "refetchEvaluation"
    assert abs(data["lastModified"] - utc_now().timestamp()) < 120
    told = {"flagConfigEtag": data["etag"], "flagConfigLastModified": data["lastModified"]}
    for _ in range(20):
        assert dark_mode(server.post(BULK, {"context": {}}, params=told)) is False


def test_who_was_told_of_a_change_never_gets_an_older_answer(server: Server) -> None:
    asked = {"context": {"targetingKey": "u-1"}}
    version = 0
    for round_no in range(1, 7):
        before = server.post(BULK, asked, params={"flagConfigEtag": f"{version}.0"})
        store = open_store(server.settings)
        store.set_killed("dark-mode", killed=round_no % 2 == 1, by="test", now=utc_now())
        version = store.live_state().version
        store.close()

        answer = server.post(
            BULK,
            asked,
            params={"flagConfigEtag": f"{version}.0"},
            headers={"If-None-Match": before.headers["ETag"]},
        )

        assert answer.status_code == 200
        assert dark_mode(answer) is (round_no % 2 == 0)


@pytest.mark.parametrize("told", ["2999-01-01T00:00:00Z", "32503680000", "nonsense"])
def test_a_304_is_never_given_to_who_knows_of_something_newer(server: Server, told: str) -> None:
    tag = server.post(BULK, {"context": {}}).headers["ETag"]
    newer = {"flagConfigLastModified": told}

    answer = server.post(BULK, {"context": {}}, params=newer, headers={"If-None-Match": tag})
    known = server.post(
        BULK,
        {"context": {}},
        params={"flagConfigLastModified": "2020-01-01T00:00:00Z"},
        headers={"If-None-Match": tag},
    )

    assert answer.status_code == 200
    assert known.status_code == 304


def test_an_invented_version_is_looked_for_once_and_never_gives_a_304(server: Server) -> None:
    store = open_store(server.settings)
    version = store.live_state().version
    store.close()
    tag = {"If-None-Match": server.post(BULK, {"context": {}}).headers["ETag"]}
    invented = {"flagConfigEtag": "9999999.0"}
    for _ in range(20):
        assert server.post(BULK, {"context": {}}, params=invented, headers=tag).status_code == 200

    set_dark_mode(server, killed=True)

    told = {"flagConfigEtag": f"{version + 1}.0"}
    for _ in range(20):
        server.post(BULK, {"context": {}}, params=invented)
        assert dark_mode(server.post(BULK, {"context": {}}, params=told)) is False


def test_a_stream_is_found_behind_a_doubled_slash(server: Server) -> None:
    stream = Stream(address(server).replace("/ofrep", "//ofrep"))

    assert stream.answer.headers["Content-Type"] == "text/event-stream"
    assert stream.until("id:")


def test_a_client_that_comes_back_hears_only_what_it_missed(server: Server) -> None:
    url = address(server)
    stream = Stream(url)
    seen = stream.until("id:")

    again = Stream(url, **{"Last-Event-ID": seen})
    missed = Stream(url, **{"Last-Event-ID": "0.0"})

    assert json.loads(missed.until("data:"))["etag"] == seen
    set_dark_mode(server, killed=True)
    assert json.loads(again.until("data:"))["etag"] != seen


def test_a_token_names_one_key_and_cannot_be_made_up(server: Server) -> None:
    url = address(server)
    assert server.client_key not in url
    assert hash_key(server.client_key) not in url
    assert address(server) == url
    wrong = [
        "",
        "?token=",
        "?token=a.b.c",
        f"?token={url[-8:]}",
        re.sub(r"..$", "zz", url).split("streams")[1],
    ]

    for query in wrong:
        answer = server.get(f"/ofrep/v1/streams{query}")
        assert answer.status_code == 401
        assert answer.json()["code"] == "unauthorized"
    foreign = server.get(url.removeprefix(server.base_url), headers={"Origin": "https://evil.example"})
    assert foreign.status_code == 403
    assert foreign.json()["code"] == "origin_not_allowed"


def test_a_secret_keys_stream_is_not_for_pages(server: Server) -> None:
    url = address(server, key=server.server_key)

    assert requests.get(url, headers={"Origin": "http://localhost:1"}, timeout=30).status_code == 403


def test_a_stream_ends_when_its_key_is_taken_back(server: Server) -> None:
    store = open_store(server.settings)
    key = "ck_" + "f" * 32
    store.set_keys("extra", {hash_key(key): KeyClass.CLIENT}, now=utc_now())
    set_dark_mode(server, killed=True)
    until(lambda: server.post(BULK, {"context": {}}, key=key).status_code == 200)
    stream = Stream(address_once_known(server, key))

    store.set_keys("extra", {}, now=utc_now())
    store.close()

    assert stream.ended()


def address_once_known(server: Server, key: str) -> str:
    """Return the address, once every worker knows the key: it is asked often enough to meet them all."""
    until(lambda: all(server.post(BULK, {"context": {}}, key=key).status_code == 200 for _ in range(20)))
    return address(server, key=key)


def test_streams_end_cleanly_when_the_server_stops(server: Server) -> None:
    streams = [Stream(address(server)) for _ in range(20)]
    for stream in streams:
        stream.until("id:")

    server.process.send_signal(signal.SIGTERM)

    assert all(stream.ended() for stream in streams)
    assert stop(server.process) == 0
    log = server.log.read_text("utf-8")
    assert "Forcing close" not in log
    assert "token=" not in log
    assert "Traceback" not in log


def test_under_gthread_a_stream_is_one_message_and_a_long_pause(tmp_path: Path) -> None:
    with running_server(tmp_path / "home", write_catalog(tmp_path / "catalog"), GTHREAD) as server:
        url = address(server)

        fresh = requests.get(url, headers={"Last-Event-ID": "0.0"}, timeout=30)
        seen = re.search(r"^id: (.*)$", fresh.text, re.MULTILINE)
        assert seen is not None
        known = requests.get(url, headers={"Last-Event-ID": seen[1]}, timeout=30)

        assert fresh.headers["Content-Type"] == known.headers["Content-Type"] == "text/event-stream"
        assert fresh.text.startswith("retry: 30000\n")
        assert "refetchEvaluation" in fresh.text
        assert "data:" not in known.text
