"""Only one holder at a time, whoever asks from wherever."""

import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from service.settings import REPOSITORY, child_environment
from service.storage.holding import LeaseKeeper
from service.storage.leases import LeaseLostError, under
from service.storage.sql import SqlStore

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
TTL = timedelta(seconds=15)
ROUNDS = 150


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def url_of(store: SqlStore) -> str:
    place = store.place
    return f"sqlite:///{place}" if isinstance(place, Path) else place.render_as_string(hide_password=False)


def test_the_first_who_asks_holds_it_and_others_do_not(store: SqlStore) -> None:
    held = store.acquire_lease("worker", "a", ttl=TTL, now=NOW)

    assert held is not None
    assert (held.name, held.holder, held.fence, held.expires_at) == ("worker", "a", 1, NOW + TTL)
    assert store.acquire_lease("worker", "b", ttl=TTL, now=after(14.999)) is None
    assert store.acquire_lease("training", "b", ttl=TTL, now=NOW) is not None


def test_what_expired_goes_to_the_next_with_a_larger_fence(store: SqlStore) -> None:
    first = store.acquire_lease("worker", "a", ttl=TTL, now=NOW)

    second = store.acquire_lease("worker", "b", ttl=TTL, now=after(15))

    assert first is not None
    assert second is not None
    assert (second.holder, second.fence) == ("b", 2)
    assert store.renew_lease(first, ttl=TTL, now=after(16)) is None
    assert store.acquire_lease("worker", "a", ttl=TTL, now=after(16)) is None


def test_a_holder_keeps_it_for_as_long_as_it_renews(store: SqlStore) -> None:
    held = store.acquire_lease("worker", "a", ttl=TTL, now=NOW)
    assert held is not None

    for second in range(10, 100, 10):
        renewed = store.renew_lease(held, ttl=TTL, now=after(second))
        assert renewed is not None
        assert (renewed.fence, renewed.expires_at) == (1, after(second) + TTL)
        assert store.acquire_lease("worker", "b", ttl=TTL, now=after(second + 9)) is None


def test_asking_again_for_what_one_holds_renews_it(store: SqlStore) -> None:
    store.acquire_lease("worker", "a", ttl=TTL, now=NOW)

    again = store.acquire_lease("worker", "a", ttl=TTL, now=after(10))

    assert again is not None
    assert (again.fence, again.expires_at) == (1, after(25))


def test_a_released_one_is_free_at_once_and_its_fence_still_grows(store: SqlStore) -> None:
    held = store.acquire_lease("worker", "a", ttl=TTL, now=NOW)
    assert held is not None
    store.release_lease(held)

    taken = store.acquire_lease("worker", "b", ttl=TTL, now=NOW)
    assert taken is not None
    assert taken.fence == 2
    store.release_lease(held)

    assert store.acquire_lease("worker", "c", ttl=TTL, now=NOW) is None


def test_the_clock_is_that_of_the_database(store: SqlStore) -> None:
    before = datetime.now(UTC)

    held = store.acquire_lease("worker", "a", ttl=TTL)

    assert held is not None
    assert abs(held.expires_at - TTL - before) < timedelta(minutes=1)
    assert store.acquire_lease("worker", "b", ttl=TTL) is None
    assert store.acquire_lease("short", "a", ttl=timedelta(0)) is not None
    assert store.acquire_lease("short", "b", ttl=TTL) is not None


def test_nothing_is_written_under_a_lease_that_somebody_else_has_got(store: SqlStore) -> None:
    held = store.acquire_lease("worker", "a", ttl=TTL, now=NOW)
    assert held is not None
    with under(held):
        store.set_killed("mine", killed=True, by="me", now=NOW)
    store.acquire_lease("worker", "b", ttl=TTL, now=after(20))

    with under(held), pytest.raises(LeaseLostError, match="'worker' went to another process"):
        store.set_killed("too-late", killed=True, by="me", now=NOW)
    store.set_killed("under-none", killed=True, by="me", now=NOW)

    assert store.live_state().killed == {"mine", "under-none"}


def test_who_lost_a_lease_lets_go_of_another_without_trouble(store: SqlStore) -> None:
    lost = store.acquire_lease("worker", "a", ttl=TTL, now=NOW)
    assert lost is not None
    keeper = LeaseKeeper(store, "lake")
    assert keeper.seek() is not None
    store.acquire_lease("worker", "b", ttl=TTL, now=after(20))

    with under(lost):
        keeper.close()

    assert keeper.lease is None


RACER = """
import sys
from datetime import timedelta
from service.storage.places import place_of
from service.storage.sql import SqlStore
url, me, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
store = SqlStore(place_of(url))
store.live_state()
print("ready", flush=True)
sys.stdin.readline()
for n in range(rounds):
    if store.acquire_lease(f"round-{n}", me, ttl=timedelta(hours=1)):
        print(n, flush=True)
store.close()
"""


def test_of_processes_that_race_for_a_lease_exactly_one_gets_it(store: SqlStore) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, url_of(store), name, str(ROUNDS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
            env=child_environment(),
        )
        for name in ("a", "b", "c")
    ]
    for racer in racers:
        assert racer.stdout is not None
        racer.stdout.readline()
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()

    won = [racer.communicate()[0].split() for racer in racers]

    assert [racer.returncode for racer in racers] == [0, 0, 0]
    assert Counter(n for numbers in won for n in numbers) == Counter(str(n) for n in range(ROUNDS))
