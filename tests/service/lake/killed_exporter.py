"""A process that fills a lake in children which are killed on the way; `python -m ... URL LAKE`.

It reads one line for each child, HOW WHEN ID...: `step N` has it kill itself with SIGKILL before its Nth step
in the file system, `at TEXT` before the first that has to do with such a file, and `delay S` has it killed S
seconds after it began; the ids are of people to erase. It answers with the last step, or `finished`.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

from service.lake import erase, export, forget, read_manifest
from service.storage.places import place_of
from service.storage.sql import SqlStore
from tests.service.lake.logs import START, an_event, an_exposure, days, received

STEPS = {"open", "os.rename", "os.remove", "os.mkdir", "os.scandir"}
LIMIT = 12
PEOPLE = 40


def fill(store: SqlStore, first: int, n: int) -> None:
    """Append `n` events of some people over some days, two of three with more than one row in the lake."""
    rng = random.Random(first)
    batch = []
    for i in range(first, first + n):
        visitor = f"v{rng.randrange(PEOPLE)}"
        event = (
            an_exposure(f"e{i}", visitor, rng.choice(["control", "banner"]))
            if i % 3 == 0
            else an_event(f"e{i}", anonymous_id=visitor, item_id=f"i{i % 7}", price=rng.random())
        )
        batch.append(event)
    store.append(received(*batch, at=START + days(rng.randrange(2))))


def work(url: str, lake: Path, gone: list[str]) -> None:
    """Do what a worker and somebody who erases people do, all of it again after each kill."""
    store = SqlStore(place_of(url))
    reached = -1
    while (now := export(store, lake, limit=LIMIT)) != reached:
        reached = now
    store.delete_person([], user_ids=[], anonymous_ids=gone)
    erase(lake, user_ids=[], anonymous_ids=gone)
    day = START.date()
    forget(lake, events_before=day, interactions_before=day)
    store.close()


def child(url: str, lake: Path, gone: list[str], *, how: str, when: str, note: int) -> None:
    """Work, writing down each step, and die before the one that is told."""
    n_steps = 0

    def audited(name: str, arguments: tuple[object, ...]) -> None:
        nonlocal n_steps
        if name not in STEPS or not any(str(one).startswith(str(lake)) for one in arguments):
            return
        what = " ".join(str(one) for one in arguments[:2])
        os.pwrite(note, f"{name} {what}".ljust(400).encode(), 0)
        n_steps += 1
        if (how == "step" and n_steps == int(when)) or (how == "at" and when in what):
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(audited)
    work(url, lake, gone)


def main() -> None:
    """Answer until the input ends."""
    url, lake = sys.argv[1], Path(sys.argv[2])
    read_manifest(lake)
    print("ready", flush=True)
    for line in sys.stdin:
        how, when, *gone = line.split()
        print(run(url, lake, gone, how, when), flush=True)


def run(url: str, lake: Path, gone: list[str], how: str, when: str) -> str:
    """Have a child work; return what it did last, or that it finished."""
    note = lake.with_name("last-step")
    note.write_bytes(b"")
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            child(url, lake, gone, how=how, when=when, note=os.open(note, os.O_WRONLY))
            code = 0
        finally:
            os._exit(code)
    if how == "delay":
        time.sleep(float(when))
        os.kill(pid, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code == 0:
        return "finished"
    return f"killed {note.read_text().strip()}" if code == -signal.SIGKILL else f"failed {code}"


if __name__ == "__main__":
    main()
