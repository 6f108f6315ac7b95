"""The faults. Each takes the scene, does its harm, undoes what does not end by itself, says what it did."""

import errno
import os
import resource
import signal
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from fcntl import LOCK_EX, flock
from pathlib import Path

from tests.faults.history import Blow
from tests.faults.mischief_postgres import POSTGRES_FAULTS
from tests.faults.scene import SQLITE, Fault, Harm, Scene
from tests.faults.subject import Subject

DAY_US = 86_400_000_000
HOUR_US = 3_600_000_000


def kill_workers(scene: Scene, blow: Blow) -> None:
    """Kill one web worker, or one after the other."""
    n = scene.rng.choice((1, 1, 2, 3))
    for _ in range(n):
        scene.subject.until_workers()
        scene.subject.kill_worker(scene.rng)
        scene.pause(0.1, 0.4)
    blow.note = f"{n} workers"


def kill_group(scene: Scene, _: Blow) -> None:
    """Kill everything at once, start again."""
    scene.subject.kill_group()
    scene.subject.start()


def kill_master(scene: Scene, blow: Blow) -> None:
    """Kill the master alone and start another at once, while the old workers still hold the port."""
    blow.note = f"the old workers had ended after {scene.subject.replace_master():.2f} s"


def terminate(scene: Scene, blow: Blow) -> None:
    """End it as a platform does, start again."""
    started = time.monotonic()
    code = scene.subject.terminate()
    assert code == 0, f"exit code {code} after SIGTERM"
    blow.note = f"drained in {time.monotonic() - started:.2f} s"
    scene.subject.start()


def reload(scene: Scene, _: Blow) -> None:
    """Have all workers replaced, as after a change of settings."""
    before = set(scene.subject.workers())
    scene.subject.running.send_signal(signal.SIGHUP)
    scene.subject.wait_until(lambda: not before & set(scene.subject.workers()), "reloaded")


def cut_power(scene: Scene, blow: Blow) -> None:
    """Kill everything and take away a random part of what was not synced."""
    scene.subject.kill_group()
    assert scene.power is not None, "this fault is of SQLite"
    blow.note = scene.power.strike(scene.rng)
    scene.subject.start()


def freeze_worker(scene: Scene, _: Blow) -> None:
    """Stop a worker wherever it is, even while it has the turn to write."""
    worker = scene.rng.choice(scene.subject.workers())
    os.kill(worker, signal.SIGSTOP)
    try:
        scene.pause(0.3, 1.5)
    finally:
        os.kill(worker, signal.SIGCONT)


def while_set(**fields: tuple[int, ...]) -> Harm:
    """Return a fault that lasts as long as fields of the shim are set, each to one of its values."""

    def do(scene: Scene, blow: Blow) -> None:
        chosen = {name: scene.rng.choice(values) for name, values in fields.items()}
        before = scene.shim.get("fired")
        scene.shim.set(**chosen)
        scene.pause(0.2, 0.8)
        killed = scene.maybe_kill()
        scene.pause(0.0, 0.4)
        scene.shim.calm()
        blow.note = f"{chosen}, fired {scene.shim.get('fired') - before} times{killed}"

    return do


def limit_files(scene: Scene, blow: Blow) -> None:
    """Let no worker write beyond a size that its files have already: every append to them is refused."""
    workers = scene.subject.workers()
    for worker in workers:
        _limit(worker, resource.RLIMIT_FSIZE, scene.rng.choice((4_096, 100_000)))
    scene.pause(0.2, 0.8)
    killed = scene.maybe_kill()
    for worker in workers:
        _limit(worker, resource.RLIMIT_FSIZE, resource.RLIM_INFINITY)
    blow.note = f"{len(workers)} workers{killed}"


def limit_descriptors(scene: Scene, blow: Blow) -> None:
    """Leave no worker a free descriptor: no connection can be taken, no lock file opened."""
    workers = scene.subject.workers()
    for worker in workers:
        _limit(worker, resource.RLIMIT_NOFILE, 12)
    scene.pause(0.2, 0.8)
    for worker in workers:
        _limit(worker, resource.RLIMIT_NOFILE, 4_096)
    blow.note = f"{len(workers)} workers"


def hold_the_turn(scene: Scene, blow: Blow) -> None:
    """Take the writers' lock, as a process does that hangs in a write."""
    with Path(f"{scene.subject.database}.lock").open("rb") as other:
        flock(other, LOCK_EX)
        scene.pause(0.3, 1.5)
        blow.note = scene.maybe_kill()


def write_from_outside(scene: Scene, _: Blow) -> None:
    """Keep a write transaction of a foreign tool open, which does not know of turns."""
    with closing(sqlite3.connect(scene.subject.database, timeout=30, isolation_level=None)) as tool:
        tool.execute("BEGIN IMMEDIATE")
        scene.pause(0.3, 1.5)
        tool.execute("ROLLBACK")


def read_for_long(scene: Scene, _: Blow) -> None:
    """Pin the write-ahead log with a read transaction."""
    with closing(sqlite3.connect(scene.subject.database, timeout=30, isolation_level=None)) as tool:
        tool.execute("BEGIN")
        tool.execute("SELECT count(*) FROM event").fetchone()
        scene.pause(0.5, 1.5)
        tool.execute("ROLLBACK")


def start_a_second(scene: Scene, _: Blow) -> None:
    """Start another server over the same home, and kill it."""
    second = Subject(home=scene.subject.home, extra=scene.subject.extra, keys=scene.subject.keys)
    second.start()
    try:
        second.until_workers()
        scene.pause(0.3, 1.0)
    finally:
        second.kill_group()


def _limit(process: int, which: int, soft: int) -> None:
    try:
        _, hard = resource.prlimit(process, which)
        resource.prlimit(process, which, (soft, hard))
    except ProcessLookupError:
        return


FAULTS: Mapping[str, Fault] = {
    "kill workers": Fault(do=kill_workers, kills=True),
    "kill the group": Fault(do=kill_group, interrupts=True, kills=True),
    "kill the master": Fault(do=kill_master, interrupts=True, kills=True),
    "power cut": Fault(do=cut_power, interrupts=True, kills=True, on=SQLITE),
    "SIGTERM": Fault(do=terminate, interrupts=True),
    "SIGHUP": Fault(do=reload),
    "frozen worker": Fault(do=freeze_worker, freezes=True),
    "sync fails": Fault(
        do=while_set(sync_errno=(errno.EIO, errno.ENOSPC), sync_ppm=(100_000, 500_000, 10**6)), on=SQLITE
    ),
    "disk full": Fault(do=while_set(write_errno=(errno.ENOSPC,), write_ppm=(10**6,)), on=SQLITE),
    "write fails": Fault(
        do=while_set(write_errno=(errno.EIO, errno.ENOSPC, errno.EDQUOT), write_ppm=(1_000, 50_000)),
        on=SQLITE,
    ),
    "short writes": Fault(do=while_set(short_ppm=(10_000, 300_000)), on=SQLITE),
    "read fails": Fault(do=while_set(read_errno=(errno.EIO,), read_ppm=(1_000, 30_000, 10**6)), on=SQLITE),
    "slow disk": Fault(do=while_set(sync_delay_us=(20_000, 100_000, 400_000)), on=SQLITE),
    "clock jump": Fault(
        do=while_set(clock_offset_us=(-2 * DAY_US, -HOUR_US, HOUR_US, 2 * DAY_US)), moves_clock=True
    ),
    "file size limit": Fault(do=limit_files, on=SQLITE),
    "no descriptors": Fault(do=limit_descriptors),
    "held turn": Fault(do=hold_the_turn, on=SQLITE),
    "foreign writer": Fault(do=write_from_outside, on=SQLITE),
    "long reader": Fault(do=read_for_long, on=SQLITE),
    "second server": Fault(do=start_a_second, kills=True),
    **POSTGRES_FAULTS,
}
