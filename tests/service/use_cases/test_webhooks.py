"""Messages reach a real receiver, signed, at least once, under one id; whatever it answers, others go on."""

import json
import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from standardwebhooks.webhooks import Webhook as Reference
from structlog.testing import capture_logs

from experiments.actions import Action
from service.catalog.webhooks import Webhook
from service.settings import REPOSITORY
from service.storage.analysis_records import OutboxMessage
from service.storage.outbox import GONE
from service.storage.ports import Store
from service.use_cases.endpoints import Endpoint, Limits, endpoint_of
from service.use_cases.webhooks import PAUSES_S, Patience, Sender, finder, try_endpoint
from tests.hooks import HANG, SECRET, receiver
from tests.service.use_cases.shops import a_store

NOW = datetime.now(UTC)


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each test begin now: the reference library refuses what was signed five minutes ago."""
    monkeypatch.setattr(sys.modules[__name__], "NOW", datetime.now(UTC))


SHORT = Limits(silence_s=0.3, whole_s=0.6)
HOOK = Webhook(key="growth", url_env="HOOK_URL", secret_env="HOOK_SECRET")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with a_store(tmp_path / "home") as opened:
        yield opened


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def on(self, **by: float) -> None:
        self.now += timedelta(**by)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def endpoint(url: str, *, hook: Webhook = HOOK) -> Endpoint:
    return endpoint_of(hook, {hook.url_env: url, hook.secret_env: SECRET}.__getitem__, insecure=False)


def sender(store: Store, clock: Clock, **urls: str) -> Sender:
    def find(name: str) -> Endpoint:
        return endpoint(urls[name], hook=replace(HOOK, key=name))

    patience = Patience(limits=SHORT, jitter=0.0)
    return Sender(store, find, clock=clock, random=lambda: 0.5, patience=patience)


def a_message(message_id: str = "msg_1", endpoint: str = "growth") -> OutboxMessage:
    payload = json.dumps({"type": "experiment.decided", "data": {"text": "Führe ein"}}, ensure_ascii=False)
    return OutboxMessage(
        message_id=message_id, endpoint=endpoint, payload=payload, created_at=NOW, next_at=NOW
    )


def _same(leads_to: Endpoint, _name: str) -> Endpoint:
    return leads_to


def only(store: Store) -> OutboxMessage:
    (message,) = store.messages()
    return message


def test_a_message_is_delivered_once_and_the_reference_library_believes_it(
    store: Store, clock: Clock
) -> None:
    store.put_messages([a_message()])
    with receiver() as told:
        sending = sender(store, clock, growth=f"{told.url}/hook?team=growth")
        assert sending.send_due() == 1
        clock.on(days=9)
        assert sending.send_due() == 0

    (request,) = told.received
    assert Reference(SECRET).verify(request.body, dict(request.headers)) == json.loads(a_message().payload)
    assert request.path == "/hook?team=growth"
    assert request.body.decode() == a_message().payload
    assert only(store).delivered_at == NOW


def test_every_action_and_every_pause_is_documented() -> None:
    page = (REPOSITORY / "docs" / "actions.md").read_text("utf-8")

    assert [action.value for action in Action if f"`{action.value}`" not in page] == []
    words = [
        f"{p / 3_600:g} h" if p >= 3_600 else f"{p / 60:g} min" if p >= 60 else f"{p:g} s" for p in PAUSES_S
    ]
    assert f"{', '.join(words[:-1])} and {words[-1]}" in page


def test_what_fails_is_tried_again_under_the_same_id_with_growing_pauses_and_then_given_up(
    store: Store, clock: Clock
) -> None:
    store.put_messages([a_message()])
    with receiver(lambda _n: 500) as told, capture_logs() as lines:
        sending = sender(store, clock, growth=told.url)
        pauses = []
        while True:
            sending.send_due()
            next_at = only(store).next_at
            if next_at is None:
                break
            pauses.append((next_at - clock.now).total_seconds())
            clock.on(seconds=max(pauses[-1], 30.0))

    assert pauses == list(PAUSES_S)
    assert told.ids == ["msg_1"] * 10
    assert len({one.body for one in told.received}) == 1
    assert len({one.headers["webhook-timestamp"] for one in told.received}) == 10
    last = only(store)
    assert (last.attempts, last.delivered_at, last.problem) == (10, None, "answered 500")
    assert [line["event"] for line in lines] == ["webhook_failed"] * 9 + ["webhook_given_up"]


def test_pauses_are_spread_so_that_receivers_are_not_met_all_at_once(store: Store, clock: Clock) -> None:
    for random, pause_s in ((0.0, 4.0), (0.5, 5.0), (0.999_999, 6.0)):
        store.put_messages([a_message(f"msg_{random}")])
        with receiver(lambda _n: 503) as told:
            leads_to = endpoint(told.url)
            Sender(store, partial(_same, leads_to), clock=clock, random=partial(float, random)).send_due()
        message = next(m for m in store.messages() if m.message_id == f"msg_{random}")
        assert message.next_at is not None
        assert (message.next_at - NOW).total_seconds() == pytest.approx(pause_s, abs=1e-3)


@pytest.mark.parametrize(
    ("status", "problem"),
    [
        (302, "answered 302: redirects are not followed"),
        (307, "answered 307: redirects are not followed"),
        (404, "answered 404"),
        (429, "answered 429"),
        (HANG, "no answer in time"),
    ],
)
def test_whatever_is_no_success_is_tried_again(store: Store, clock: Clock, status: int, problem: str) -> None:
    store.put_messages([a_message()])
    with receiver(lambda n: 204 if n else status) as told:
        sending = sender(store, clock, growth=told.url)
        sending.send_due()
        assert (only(store).attempts, only(store).problem) == (1, problem)
        clock.on(seconds=60)
        assert sending.send_due() == 1

    assert [one.path for one in told.received] == ["/", "/"]
    assert told.ids == ["msg_1", "msg_1"]


def test_an_answer_that_comes_byte_by_byte_is_cut_off(store: Store, clock: Clock) -> None:
    store.put_messages([a_message()])
    ended = threading.Event()

    def drip(listening: socket.socket) -> None:
        connection, _address = listening.accept()
        with connection:
            for byte in b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000:
                if ended.wait(0.1):
                    return
                try:
                    connection.sendall(bytes([byte]))
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=drip, args=(listening,), daemon=True)
        thread.start()
        sender(store, clock, growth=f"http://127.0.0.1:{listening.getsockname()[1]}").send_due()
        ended.set()
        thread.join()

    assert only(store).delivered_at is None
    assert only(store).attempts == 1


def test_410_disables_the_endpoint_until_it_is_enabled(store: Store, clock: Clock) -> None:
    store.put_messages([a_message("msg_1"), a_message("msg_2")])
    with receiver(lambda n: 204 if n else 410) as told:
        sending = sender(store, clock, growth=told.url)
        with capture_logs() as lines:
            sending.send_due()
        store.put_messages([a_message("msg_3")])
        clock.on(days=9)
        assert sending.send_due() == 0
        assert [line["event"] for line in lines] == ["webhook_disabled"]
        assert {(m.problem, m.next_at) for m in store.messages()} == {(GONE, None)}

        store.enable_endpoint("growth", now=clock.now)
        assert sending.send_due() == 3

    assert sorted(told.ids) == ["msg_1", "msg_1", "msg_2", "msg_3"]


def test_an_endpoint_that_hangs_keeps_no_other_waiting_long(store: Store, clock: Clock) -> None:
    store.put_messages([a_message(f"msg_{i}") for i in range(20)] + [a_message("msg_x", "finance")])
    with receiver(lambda _n: HANG) as slow, receiver() as quick:
        sender(store, clock, growth=slow.url, finance=quick.url).send_due()

    assert quick.ids == ["msg_x"]
    assert len(slow.received) == 1
    waiting = store.messages(endpoint="growth")
    assert sorted(m.attempts for m in waiting) == [0] * 19 + [1]
    assert all(m.next_at and m.next_at > NOW for m in waiting)


def _send_once(home: Path, url: str) -> None:
    with a_store(home) as store:
        Sender(store, lambda _n: endpoint(url), clock=lambda: NOW, random=lambda: 0.5).send_due()


def test_a_sender_killed_between_delivery_and_marking_leads_to_the_same_id_again(
    store: Store, clock: Clock, tmp_path: Path
) -> None:
    store.put_messages([a_message()])
    with receiver() as told:
        child = multiprocessing.get_context("spawn").Process(
            target=_send_once, args=(tmp_path / "home", told.url)
        )

        def kill_the_sender(n: int) -> int:
            if n == 0:
                os.kill(child.pid or 0, signal.SIGKILL)
            return 204

        told.answer = kill_the_sender
        child.start()
        child.join()
        sending = sender(store, clock, growth=told.url)
        assert sending.send_due() == 0
        clock.on(minutes=10)
        assert sending.send_due() == 1

    assert told.ids == ["msg_1", "msg_1"]
    assert told.received[0].body == told.received[1].body


def test_stopping_ends_an_attempt_at_once_and_does_not_count_it(store: Store) -> None:
    store.put_messages([a_message()])
    with receiver(lambda _n: HANG) as told:
        sending = Sender(store, lambda _n: endpoint(told.url), clock=lambda: NOW, random=lambda: 0.5)
        thread = threading.Thread(target=sending.run)
        thread.start()
        told.wait_for(1)
        sending.stop()
        thread.join()

    assert (only(store).attempts, only(store).next_at) == (0, NOW)


def test_a_broken_environment_is_a_failure_in_words_that_hold_no_secret(store: Store, clock: Clock) -> None:
    store.put_messages([a_message(), a_message("msg_2", "finance")])
    environment = {"HOOK_URL": "https://hooks.example/T00/B00/XyZ", "HOOK_SECRET": ""}
    find = finder({"growth": HOOK}.get, lambda name: environment.get(name, ""), insecure=False)

    with capture_logs() as lines:
        Sender(store, find, clock=clock, random=lambda: 0.5).send_due()

    assert {m.endpoint: m.problem for m in store.messages()} == {
        "growth": "HOOK_SECRET is not set in the environment of the worker",
        "finance": "the live catalog has no webhook of this name",
    }
    assert "XyZ" not in str(lines)


def test_a_test_message_goes_past_the_outbox(store: Store) -> None:
    with receiver(lambda n: 500 if n else 200) as told:
        assert try_endpoint(endpoint(told.url), message_id="msg_test", now=NOW) == ""
        assert try_endpoint(endpoint(told.url), message_id="msg_test", now=NOW) == "answered 500"

    body = Reference(SECRET).verify(told.received[0].body, dict(told.received[0].headers))
    assert body["type"] == "webhook.test"
    assert store.messages() == []


def test_a_name_that_leads_nowhere_and_a_closed_port_are_told_without_the_address(
    store: Store, clock: Clock
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    store.put_messages([a_message()])

    sender(store, clock, growth=f"http://127.0.0.1:{port}/T00/XyZ").send_due()

    assert only(store).problem == "the connection was refused"


def test_https_is_verified(store: Store, clock: Clock) -> None:
    store.put_messages([a_message()])
    with receiver() as told:
        url = told.url.replace("http://", "https://")
        sender(store, clock, growth=url).send_due()

    assert told.received == []
    assert only(store).problem == "no secure connection"
