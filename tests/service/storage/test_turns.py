"""The writer's lock while its holder is stuck: waits end, pile up nowhere, and leave nothing held."""

import threading
from pathlib import Path

import pytest

from service.storage.ports import StoreUnavailableError
from service.storage.turns import WriterLock


def waiting_threads() -> int:
    return sum(thread.name == "turn" for thread in threading.enumerate())


def test_waits_for_a_stuck_holder_do_not_pile_up(tmp_path: Path) -> None:
    holder, waiter = WriterLock(tmp_path / "lock"), WriterLock(tmp_path / "lock")
    before = waiting_threads()

    with holder.held():
        for _ in range(20):
            with pytest.raises(StoreUnavailableError), waiter.held(within_s=0.01):
                pytest.fail("nobody else may write now")
        piled_up = waiting_threads() - before

    assert piled_up == 1
    with waiter.held():
        pass


def test_an_abandoned_wait_gives_its_late_turn_back(tmp_path: Path) -> None:
    holder, waiter = WriterLock(tmp_path / "lock"), WriterLock(tmp_path / "lock")
    with holder.held(), pytest.raises(StoreUnavailableError), waiter.held(within_s=0.01):
        pytest.fail("nobody else may write now")

    for lock in (holder, waiter, holder):
        with lock.held():
            pass
