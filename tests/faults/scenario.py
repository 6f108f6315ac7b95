"""One run: a seed chooses the clients, the faults and their order; afterwards everything is compared."""

import os
import random
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.check import violations
from tests.faults.history import Blow, History
from tests.faults.mischief import FAULTS
from tests.faults.scene import Scene, scene_of
from tests.faults.stored import read
from tests.faults.subject import Subject
from tests.faults.traffic import Address, Watcher, Writer

DATABASES = ("sqlite", "sqlite", "postgresql")
SETTLE_S = 40.0
"""Long enough for any wait inside the service to end; nothing is measured against it."""
SLACK_S = 0.05
"""A request under way when a fault begins may have been sent a moment before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a seed stands for. The operating system still decides who comes first."""

    seed: int
    database: str
    faults: Sequence[str]
    n_writers: int
    settles: bool
    """Whether clients send everything again until it is answered, as they should."""

    @classmethod
    def of(cls, seed: int, *, databases: Sequence[str] = DATABASES, only: Sequence[str] = ()) -> "Plan":
        """Return the plan of a seed: one of the databases, and faults that it can have, or some of them."""
        rng = random.Random(seed)
        database = rng.choice(databases)
        possible = sorted(name for name in only or FAULTS if database in FAULTS[name].on)
        return cls(
            seed=seed,
            database=database,
            faults=[rng.choice(possible) for _ in range(rng.choice((1, 2, 2, 3)))],
            n_writers=rng.randrange(2, 6),
            settles=rng.random() < 0.8,
        )


@dataclass(slots=True, kw_only=True)
class Report:
    """What came out of a run."""

    plan: Plan
    violations: Sequence[str]
    operations: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    evaluations: int = 0
    blows: Sequence[Blow] = ()
    seconds: float = 0.0

    def line(self) -> str:
        """Return one line for a person."""
        recovered = ", ".join(
            f"{blow.name}" + (f" (back in {blow.recovered_s:.2f} s)" if blow.recovered_s is not None else "")
            for blow in self.blows
        )
        outcome = "ok" if not self.violations else f"{len(self.violations)} VIOLATIONS"
        batches = f"{self.operations['ok']}/{self.operations.total()} batches answered"
        did = f"{batches}, {self.events.total()} events; {self.seconds:.1f} s"
        return f"{self.plan.database} seed {self.plan.seed}: {outcome}; {recovered}; {did}"


def run(plan: Plan, folder: Path, *, keep: Path) -> Report:
    """Run a plan in `folder`; a history that breaks a promise goes to `keep` with the server's log."""
    started = time.monotonic()
    history = History(plan.seed, plan.database)
    tracing = "power cut" in plan.faults
    with scene_of(plan.database, folder, seed=plan.seed, tracing=tracing) as scene:
        try:
            report = _play(plan, scene, history)
        except BaseException as error:
            _keep(keep, history, scene.subject, [f"the run broke off: {error!r}"])
            raise
        report.seconds = time.monotonic() - started
        if report.violations:
            _keep(keep, history, scene.subject, report.violations)
    shutil.rmtree(folder)
    return report


def _play(plan: Plan, scene: Scene, history: History) -> Report:
    subject = scene.subject
    probe = _writer("probe", scene, history, plan, key=subject.server_key)
    subject.start()
    subject.wait_until(probe.probe, "serving")
    keys = (subject.client_key, subject.server_key)
    writers = [_writer(f"w{n}", scene, history, plan, key=keys[n % 2]) for n in range(plan.n_writers)]
    watcher = Watcher(Address(port=subject.port, key=subject.client_key))
    clients: list[Writer | Watcher] = [*writers, watcher]
    for client in clients:
        client.start()
    for name in plan.faults:
        scene.pause(0.1, 0.5)
        _strike(name, scene, history, probe)
    scene.pause(0.1, 0.3)
    for client in clients:
        client.end()
    found = [*_finish(plan, scene, [probe, *writers]), *_missed(watcher, history, subject.kills)]
    found += _waited(watcher, history)
    stored = read(scene.database_url)
    moved = any(blow.moves_clock for blow in history.blows)
    found += violations(history, stored, settled=plan.settles, clock_moved=moved)
    return Report(
        plan=plan,
        violations=found,
        operations=Counter(operation.outcome.value for operation in history.operations),
        events=Counter(status for _, _, status, _ in history.answered()),
        evaluations=watcher.answers,
        blows=history.blows,
    )


def _writer(name: str, scene: Scene, history: History, plan: Plan, *, key: str) -> Writer:
    address = Address(port=scene.subject.port, key=key)
    return Writer(name, address, history, random.Random(f"{name} {plan.seed}"))


def _strike(name: str, scene: Scene, history: History, probe: Writer) -> None:
    fault = FAULTS[name]
    with history.blow(name, interrupts=fault.interrupts, moves_clock=fault.moves_clock) as blow:
        fault.do(scene, blow)
        # The clock of a recovery starts when the harm has been done.
        harmed = time.monotonic()
        scene.subject.wait_until(probe.probe, "serving")
        blow.recovered_s = time.monotonic() - harmed
        scene.subject.until_workers()


def _finish(plan: Plan, scene: Scene, writers: Sequence[Writer]) -> list[str]:
    found = []
    subject = scene.subject
    if plan.settles:
        found += [f"{w.name} was not answered for {SETTLE_S:g} s" for w in writers if not w.settle(SETTLE_S)]
    found += _unbalanced(subject)
    code = subject.terminate()
    if code != 0:
        found.append(f"exit code {code} after SIGTERM")
    return found


def _unbalanced(subject: Subject) -> list[str]:
    """Compare what the service says it received with what it says became of it; nothing is in flight."""
    deadline = time.monotonic() + SETTLE_S
    # What a killed worker had counted last is lost with it.
    while not subject.kills:
        received, known = subject.counted()
        if received == known:
            break
        if time.monotonic() > deadline:
            return [f"conservation: /metrics counts {received} events received, {known} with an outcome"]
        # Each worker publishes its counts twice a second.
        time.sleep(0.1)
    return []


def _missed(watcher: Watcher, history: History, kills: Sequence[float]) -> list[str]:
    """Evaluations fail only while nobody listens, or with the process that had just taken them."""
    spans = [(blow.begun - SLACK_S, blow.ended) for blow in history.blows if blow.interrupts]
    return [
        f"evaluation from {miss.begun:.3f} to {miss.ended:.3f}: {miss.what}"
        for miss in watcher.misses
        if not any(begun <= miss.ended <= ended for begun, ended in spans)
        and not any(miss.begun - SLACK_S <= kill <= miss.ended for kill in kills)
    ]


def _waited(watcher: Watcher, history: History) -> list[str]:
    """Evaluations need no disk and no database: whatever becomes of those, nobody waits for half of it."""
    calm = [
        blow
        for blow in history.blows
        if not (blow.interrupts or FAULTS[blow.name].kills or FAULTS[blow.name].freezes)
    ]
    return [
        f"evaluation waited {wait.ended - wait.begun:.3f} s during {blow.name}"
        for wait in watcher.waits
        for blow in calm
        if min(wait.ended, blow.ended) - max(wait.begun, blow.begun) > (blow.ended - blow.begun) / 2
    ]


def _keep(folder: Path, history: History, subject: Subject, found: Sequence[str]) -> None:
    target = folder / f"{history.database}-{history.seed}"
    history.keep(target / "history.jsonl", found)
    with suppress(OSError):
        shutil.copy(subject.log, target / "server.log")
    for path in subject.home.glob("opportune.db*"):
        with suppress(OSError):
            shutil.copy(path, target / path.name)
    os.sync()
