"""The file of who did what, as web workers serve from it: nobody waits, nothing good is thrown away."""

import gc
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from experiments.membership import build_membership
from service.api.health import readiness
from service.app import build_services, shut_down
from service.storage.ports import Store
from service.storage.sql import SqlStore
from service.use_cases.audiences import MEMBERS
from service.use_cases.snapshot import SnapshotHolder
from tests.service.use_cases.shops import START, a_store, exposure, launched, order, put, settings_in
from tests.service.use_cases.tea import NOW, TEA, look, tea


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    with a_store(home) as found:
        launched(found, TEA)
        yield found


def is_in(holder: SnapshotHolder, key: str, person: str, *, now: datetime = NOW) -> bool:
    answer = holder.current.compiled.assign(key, {"targetingKey": person, "anonymous_id": person}, now=now)
    return answer.decision not in ("not_in_audience", "killed")


def a_holder(home: Path, store: Store) -> SnapshotHolder:
    holder = SnapshotHolder(store, audiences=home / "audiences", spare=home / "spare.json")
    holder.refresh()
    return holder


def test_whoever_comes_into_an_audience_is_let_in_at_the_next_poll(home: Path, store: Store) -> None:
    holder = a_holder(home, store)
    heard: list[object] = []
    prepared: list[object] = []
    holder.on_change.append(heard.append)
    holder.before_serving.append(prepared.append)
    before = is_in(holder, "tea", "fan")
    put(store, *tea("fan"))
    look(home, store)

    holder.refresh()

    assert (before, is_in(holder, "tea", "fan"), is_in(holder, "tea", "curious")) == (False, True, False)
    assert (heard, prepared) == ([], [holder.current])


def test_nobody_is_let_in_by_what_is_not_counted_yet(home: Path, store: Store) -> None:
    holder = a_holder(home, store)

    assert not is_in(holder, "free-shipping", "newcomer")
    assert holder.audience_problem == "the file of who did what is not there"
    look(home, store)
    holder.refresh()
    assert is_in(holder, "free-shipping", "newcomer")
    assert holder.audience_problem == ""

    launched(store, {**TEA, "flags/x.yaml": "flag: x\naudience: {behaviour: {event: Rare}}\n"})
    holder.refresh()
    assert holder.audience_problem == "1 facts about what people did are not counted yet"


def test_who_was_exposed_and_then_bought_stays_in_an_audience_of_people_who_did_not(
    home: Path, store: Store
) -> None:
    put(store, exposure("converter", "banner", START), order("converter", START), order("buyer", START))
    look(home, store)
    holder = a_holder(home, store)

    assert is_in(holder, "free-shipping", "converter")
    assert not is_in(holder, "free-shipping", "buyer")

    later = TEA["experiments/free-shipping.yaml"] + "phase: 2\n"
    launched(store, {**TEA, "experiments/free-shipping.yaml": later})
    look(home, store)
    holder.refresh()
    assert not is_in(holder, "free-shipping", "converter")


def cut_short(path: Path) -> None:
    put_in_place(path, path.read_bytes()[:-9])


def flip_a_bit(path: Path) -> None:
    whole = path.read_bytes()
    put_in_place(path, whole[:-3] + bytes([whole[-3] ^ 4]) + whole[-2:])


def empty(path: Path) -> None:
    put_in_place(path, b"")


def make_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def put_in_place(path: Path, content: bytes) -> None:
    fresh = path.with_suffix(".fresh")
    fresh.write_bytes(content)
    if path.is_dir():
        path.rmdir()
    fresh.rename(path)


@pytest.mark.parametrize("damage", [cut_short, flip_a_bit, empty, Path.unlink, make_a_folder])
def test_a_damaged_or_missing_file_keeps_the_last_good_one_and_is_told(
    home: Path, store: Store, damage: Callable[[Path], None]
) -> None:
    put(store, *tea("fan"))
    look(home, store)
    services = build_services(settings_in(home))
    path = home / "audiences" / MEMBERS
    whole = path.read_bytes()

    damage(path)
    services.snapshots.refresh()

    state = readiness(services)
    assert is_in(services.snapshots, "tea", "fan")
    assert state["degraded"] == ["audiences"]
    assert str(home) not in str(state)
    put_in_place(path, whole)
    services.snapshots.refresh()
    assert readiness(services)["degraded"] == []
    shut_down(services)


def test_a_process_that_starts_while_the_store_is_away_knows_who_did_what(home: Path, store: Store) -> None:
    put(store, *tea("fan"))
    look(home, store)
    a_holder(home, store)

    away = SnapshotHolder(
        SqlStore(home / "missing" / "x.db"), audiences=home / "audiences", spare=home / "spare.json"
    )
    away.refresh()

    assert is_in(away, "tea", "fan")
    put(store, *tea("later"))
    look(home, store)
    away.refresh()
    assert is_in(away, "tea", "later")


def test_old_maps_are_let_go(home: Path, store: Store) -> None:
    holder = a_holder(home, store)
    folder = home / "audiences"
    for n in range(20):
        fresh = folder.with_name("fresh")
        fresh.write_bytes(build_membership(["x"], {f"a:{n}": 1}))
        folder.mkdir(exist_ok=True)
        fresh.rename(folder / MEMBERS)
        holder.refresh()
    gc.collect()

    mapped = [line for line in Path("/proc/self/maps").read_text("utf-8").splitlines() if MEMBERS in line]

    assert len([line for line in mapped if str(home) in line]) == 1
