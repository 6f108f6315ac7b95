"""From the log to the file of who is in an audience."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from service.lake import export_all
from service.settings import REPOSITORY
from service.storage.ports import Store
from service.use_cases.audiences import LOOKED, MEMBERS, MembersFile, facts_of, frozen_of, last_look
from service.use_cases.audiences_pass import AudienceKeeper, Pace
from service.use_cases.judge import judged_catalog
from service.use_cases.people import erase_person
from service.worker import Worker
from tests.service.use_cases.shops import FILES, START, a_store, exposure, launched, order, put, settings_in
from tests.service.use_cases.tea import AUDIENCES, NOW, TEA, look, opened, tea


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    with a_store(home) as found:
        launched(found, TEA)
        yield found


# --- what is asked


def test_drafts_are_counted_and_stopped_definitions_are_not(store: Store) -> None:
    rare = "audience: {behaviour: {event: Rare, count: {gte: 1}}}\n"
    launched(store, {**TEA, "flags/later.yaml": f"flag: later\nstatus: draft\n{rare}"})
    assert "Rare" in {fact.event for fact in facts_of(judged_catalog(store)[1].catalog)}

    launched(store, {**TEA, "flags/later.yaml": f"flag: later\nstatus: stopped\n{rare}"})
    assert "Rare" not in {fact.event for fact in facts_of(judged_catalog(store)[1].catalog)}


def test_only_experiments_whose_audience_asks_what_people_did_keep_their_units(store: Store) -> None:
    assert [e.key for e in frozen_of(judged_catalog(store)[1].catalog)] == ["free-shipping"]

    launched(store, {**FILES, "flags/tea.yaml": TEA["flags/tea.yaml"], "audiences.yaml": AUDIENCES})
    assert frozen_of(judged_catalog(store)[1].catalog) == ()


# --- the pass and the file


def test_a_pass_writes_a_file_that_only_its_owner_reads_and_that_names_nobody(
    home: Path, store: Store
) -> None:
    put(store, *tea("maria@shop.example"), *tea("curious", n=2))

    known = look(home, store)

    path = home / "audiences" / MEMBERS
    fact = next(fact for fact in facts_of(judged_catalog(store)[1].catalog) if fact.where)
    assert known.bits("a:maria@shop.example") & known.names[fact.key]
    assert known.bits("a:curious") == 0
    assert known.offset == store.last_seq()
    assert known.as_of == "2026-04-01T09:00:00+00:00"
    assert b"maria" not in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_without_behaviour_in_the_catalog_there_is_no_file(home: Path, store: Store) -> None:
    launched(store, FILES)

    AudienceKeeper(settings_in(home), store).look(now=NOW)

    assert not (home / "audiences").exists()


def test_when_the_last_behaviour_leaves_the_catalog_everybody_leaves_the_file(
    home: Path, store: Store
) -> None:
    put(store, *tea("fan"))
    assert look(home, store).count == 1

    launched(store, FILES)

    assert look(home, store).count == 0


def test_what_says_the_same_of_everybody_is_not_written_again_but_dated_anew(
    home: Path, store: Store
) -> None:
    put(store, *tea("fan"))
    look(home, store)
    before = (home / "audiences" / MEMBERS).stat().st_ino
    put(store, *tea("curious", n=1))

    known = look(home, store, now=NOW + timedelta(hours=1))

    looked = last_look(home / "audiences", known)
    assert (home / "audiences" / MEMBERS).stat().st_ino == before
    assert (looked.as_of, looked.log_offset) == ("2026-04-01T10:00:00+00:00", store.last_seq())


def test_a_pass_killed_between_its_two_files_is_dated_by_the_first(home: Path, store: Store) -> None:
    put(store, *tea("fan"))
    known = look(home, store)
    (home / "audiences" / LOOKED).write_text('{"half', "utf-8")

    assert last_look(home / "audiences", known).as_of == known.as_of


def test_a_damaged_file_is_written_anew(home: Path, store: Store) -> None:
    put(store, *tea("fan"))
    look(home, store)
    (home / "audiences" / MEMBERS).write_bytes(b"OPMEMBR1 and then nothing")

    assert look(home, store).count == 1


def test_a_window_slides_without_any_event(home: Path, store: Store) -> None:
    put(store, order("buyer", START), exposure("other", "control", START))

    assert look(home, store, now=START + timedelta(days=6)).bits("a:buyer") != 0
    lately = look(home, store, now=START + timedelta(days=8))

    fact = next(fact for fact in facts_of(judged_catalog(store)[1].catalog) if fact.within_s)
    assert lately.bits("a:buyer") & lately.names[fact.key] == 0


def test_a_pass_is_done_on_news_of_log_catalog_and_erasure_and_otherwise_not(
    home: Path, store: Store
) -> None:
    keeper = AudienceKeeper(settings_in(home), store, pace=Pace(debounce_s=0, share_of_time=0))

    def passes_after(change: Callable[[], object]) -> int:
        change()
        export_all(store, home / "lake")
        stamps = set()
        before = stamp_of(home / "audiences" / LOOKED)
        for _ in range(3):
            keeper.look(now=NOW)
            stamps.add(stamp_of(home / "audiences" / LOOKED))
        return len(stamps - {before})

    assert passes_after(lambda: put(store, *tea("fan"))) == 1
    assert passes_after(lambda: None) == 0
    assert passes_after(lambda: put(store, *tea("other"))) == 1
    assert passes_after(lambda: launched(store, {**TEA, "flags/x.yaml": "flag: x\n"})) == 1
    assert opened(home).count == 2
    erase = {"user_ids": [], "anonymous_ids": ["fan"]}
    assert passes_after(lambda: erase_person(store, settings_in(home), **erase)) == 1
    assert opened(home).bits("a:fan") == 0
    assert opened(home).count == 1


def stamp_of(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


def test_a_step_of_the_worker_does_a_pass(home: Path, store: Store) -> None:
    put(store, *tea("fan"))

    Worker(settings_in(home), store, clock=lambda: NOW).step()

    assert opened(home).bits("a:fan") != 0


def test_passes_take_at_most_a_quarter_of_the_time_and_windows_slide_once_a_minute() -> None:
    pace = Pace()
    assert pace.is_due(0.0, 1)

    pace.did(1, started=0.0, ended=10.0)

    assert not pace.is_due(39.9, 2)
    assert pace.is_due(40.0, 2)
    assert not pace.is_due(69.9, 1)
    assert pace.is_due(70.0, 1)


def test_a_pass_that_failed_is_due_again_but_not_at_once() -> None:
    pace = Pace()

    pace.did(None, started=0.0, ended=1.0)

    assert (pace.is_due(3.9, 1), pace.is_due(4.0, 1)) == (False, True)


WRITER = """
import sys
from pathlib import Path
import numpy as np
from experiments.membership import fingerprints, tables
from service.use_cases.audiences_pass import write_members
people = fingerprints(f"a:{i}" for i in range(200_000))
n = 0
while True:
    n += 1
    masks = np.full((len(people), 1), 1 + n % 2, np.uint8)
    write_members(Path(sys.argv[1]), tables(["x", "y"], people, masks, offset=n))
"""


def test_a_writer_killed_while_it_writes_leaves_the_whole_file_before(home: Path) -> None:
    folder = home / "audiences"
    temporary = folder / f"{MEMBERS}.tmp"
    for _ in range(4):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(folder)], cwd=REPOSITORY) as writer:
            last = stamp_of(folder / MEMBERS)
            while stamp_of(folder / MEMBERS) == last or not temporary.exists():
                pass
            os.kill(writer.pid, signal.SIGKILL)
        file = MembersFile(folder)
        assert file.look()
        assert file.current.count == 200_000
        assert {path.name for path in folder.iterdir()} <= {MEMBERS, temporary.name}
