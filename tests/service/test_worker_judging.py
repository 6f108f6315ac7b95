"""The duty of judging: what cannot be judged is named until it can be, and all else is judged."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from service.lake import export_all
from service.storage.leases import LeaseLostError, under
from service.storage.ports import Store
from service.use_cases.heartbeat import last_beat
from service.use_cases.judge import UnjudgedError, refresh_verdicts
from service.worker import Worker
from tests.service.use_cases.shops import (
    FILES,
    KEY,
    START,
    a_store,
    a_week,
    launched,
    order,
    put,
    settings_in,
)

PATH = "experiments/free-shipping.yaml"
# It comes after the other one by name, and is judged after it.
OTHER = "later-shipping"
BOTH = {**FILES, "experiments/later-shipping.yaml": FILES[PATH].replace(KEY, OTHER)}
NOW = START + timedelta(days=30)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    with a_store(home) as opened:
        launched(opened, BOTH)
        put(opened, *a_week(per_day=30))
        yield opened


def set_inputs(home: Path, inputs: str) -> str:
    """Replace what is recorded with the snapshot of an experiment; return what was there."""
    with closing(sqlite3.connect(home / "opportune.db")) as database:
        find = "SELECT inputs FROM verdict_snapshot WHERE experiment = ?"
        (before,) = database.execute(find, (KEY,)).fetchone()
        database.execute("UPDATE verdict_snapshot SET inputs = ? WHERE experiment = ?", (inputs, KEY))
        database.commit()
    return str(before)


def numbers(store: Store) -> list[int]:
    found = [store.latest_verdict(key) for key in (KEY, OTHER)]
    return [one.number if one else 0 for one in found]


def test_one_that_fails_is_told_after_the_others_were_judged(home: Path, store: Store) -> None:
    export_all(store, home / "lake")
    refresh_verdicts(store, home / "lake", now=NOW)
    set_inputs(home, "{")
    put(store, order("new", START))
    export_all(store, home / "lake")

    with pytest.raises(UnjudgedError, match=f"^{KEY}: JSONDecodeError: [^\n]*$") as raised:
        refresh_verdicts(store, home / "lake", now=NOW, settled=True)

    assert raised.value.kept == 1
    assert numbers(store) == [1, 2]


def test_the_heartbeat_names_it_until_it_is_judged_again(home: Path, store: Store) -> None:
    Worker(settings_in(home), store, clock=lambda: NOW).step()
    sound = set_inputs(home, "{")
    put(store, order("new", START))
    worker = Worker(settings_in(home), store, clock=lambda: NOW)

    with capture_logs() as lines:
        for _ in range(3):
            worker.step()
    told = last_beat(home)
    set_inputs(home, sound)
    again = Worker(settings_in(home), store, clock=lambda: NOW)
    again.step()
    again.step()

    assert told is not None
    assert told.problems["verdicts"].startswith(f"UnjudgedError: {KEY}: JSONDecodeError: ")
    assert [line["duty"] for line in lines if line["event"] == "duty_failed"] == ["verdicts"]
    assert [line for line in lines if line["event"] == "duty_recovered"] == []
    mended = last_beat(home)
    assert mended is not None
    assert mended.problems == {}


def test_who_has_lost_the_lease_judges_no_other_experiment(home: Path, store: Store) -> None:
    export_all(store, home / "lake")
    held = store.acquire_lease("worker", "a", ttl=timedelta(0), now=NOW)
    assert held is not None
    store.acquire_lease("worker", "b", ttl=timedelta(hours=1), now=NOW)

    with under(held), pytest.raises(LeaseLostError):
        refresh_verdicts(store, home / "lake", now=NOW)

    assert numbers(store) == [0, 0]
