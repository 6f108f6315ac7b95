"""The worker decides and delivers: a verdict leads to a webhook, and a slow endpoint delays nothing."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from service.lake import read_manifest
from service.storage.ports import Store
from service.use_cases.acting import Actor
from service.use_cases.launch import apply
from service.worker import Worker
from tests.hooks import HANG, SECRET, receiver
from tests.service.use_cases.shops import KEY, START, a_store, a_week, launched, order, put, settings_in
from tests.service.use_cases.test_decisions import files


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    with a_store(home) as opened:
        yield opened


def test_one_step_of_the_worker_judges_and_acts(home: Path, store: Store) -> None:
    launched(store, files("rollback_and_ship"))
    put(store, *a_week())
    told: list[str] = []
    worker = Worker(settings_in(home), store, clock=lambda: START, tell=told.append)

    worker.step()

    (decision,) = store.decisions()
    assert told == [f"opportune: {KEY}: {decision.reason}"]
    assert "\n" not in decision.reason
    assert (decision.decision, decision.action, decision.verdict) == ("ship", "ship", 1)
    assert len(store.messages()) == 1


def test_an_endpoint_that_hangs_does_not_keep_the_worker_from_its_duties(
    home: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    launched(store, files())
    put(store, *a_week())
    worker = Worker(settings_in(home), store, clock=lambda: START)
    worker.step()
    with receiver(lambda _n: HANG) as told:
        monkeypatch.setenv("HOOK_URL", told.url)
        monkeypatch.setenv("HOOK_SECRET", SECRET)
        actor = Actor(settings_in(home), store, clock=lambda: START)
        actor.send(wanted=True)
        told.wait_for(1)
        put(store, order("late", START))

        worker.step()

        assert read_manifest(home / "lake").offset == store.last_seq()
        actor.send(wanted=False)

    (message,) = store.messages()
    assert (message.attempts, message.delivered_at) == (0, None)


def test_messages_leave_while_sending_is_wanted_and_by_the_live_catalog(
    home: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    launched(store, files())
    put(store, *a_week())
    with receiver() as told:
        monkeypatch.setenv("HOOK_URL", told.url)
        monkeypatch.setenv("HOOK_SECRET", SECRET)
        actor = Actor(settings_in(home), store, clock=lambda: START)
        actor.send(wanted=True)
        Worker(settings_in(home), store, clock=lambda: START).step()
        told.wait_for(1)
        actor.send(wanted=False)

    assert told.ids == [store.messages()[0].message_id]
    assert told.received[0].body.startswith(b'{"type":"experiment.decided"')
    assert KEY.encode() in told.received[0].body


def test_a_live_revision_that_cannot_be_read_keeps_no_message_back(
    home: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    launched(store, files())
    put(store, *a_week())
    Worker(settings_in(home), store, clock=lambda: START).step()
    apply(store, files(more="# newer\n"), by="test", now=START)
    with closing(sqlite3.connect(home / "opportune.db")) as database:
        database.execute(
            "UPDATE catalog_revision SET files = ? WHERE revision = 2", ('{"a.yaml": "metrics: ["}',)
        )
        database.commit()

    with receiver() as told, capture_logs() as lines:
        monkeypatch.setenv("HOOK_URL", told.url)
        monkeypatch.setenv("HOOK_SECRET", SECRET)
        actor = Actor(settings_in(home), store, clock=lambda: START)
        actor.send(wanted=True)
        told.wait_for(1)
        actor.send(wanted=False)

    assert told.ids == [store.messages()[0].message_id]
    assert [line for line in lines if line["log_level"] == "error"] == []
