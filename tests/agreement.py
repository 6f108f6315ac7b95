"""Every door on random catalogs and people: engine, OFREP, GrowthBook's SDKs for Python and JavaScript.

OFREP is asked through the function that both lanes answer with, over a real store, so that 200,000 people
take minutes. A triple is a catalog, a person and their attributes; each definition of the catalog is decided.
"""

import json
import logging
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import orjson
from growthbook import GrowthBook

from experiments.assignment import Assignment
from experiments.growthbook.payload import default_value, hidden, payload
from service import settings as settings_module
from service.app import build_services
from service.catalog.loader import load
from service.storage.migrate import migrate
from service.storage.ports import Store
from service.use_cases.exchange import Call
from service.use_cases.launch import definitions
from service.use_cases.ofrep import answer
from service.use_cases.services import Services
from service.use_cases.snapshot import ServingSnapshot
from tests.clients.kit import FOLDER, need_packages, program
from tests.differential import NOW, decided, files, people
from tests.server import new_keys

PEOPLE = 250
MOST_TOLD = 20
MISSING = "TARGETING_KEY_MISSING"

Decision: TypeAlias = tuple[Any, str | None]
"""A value, and the variant that an exposure would name."""


@dataclass(slots=True)
class Report:
    """What was compared; `seen` counts how the engine decided."""

    triples: int = 0
    decisions: int = 0
    hidden: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)

    def add(self, other: "Report") -> None:
        """Take in another part."""
        self.triples += other.triples
        self.decisions += other.decisions
        self.hidden += other.hidden
        self.seen += other.seen
        self.differences += other.differences

    def told(self) -> str:
        """Return the figures in one line each."""
        ways = ", ".join(f"{name} {n:,}" for name, n in self.seen.most_common())
        return (
            f"{self.triples:,} triples, {self.decisions:,} decisions by each of engine, OFREP and "
            f"GrowthBook's SDKs for Python and JavaScript: {len(self.differences):,} differences\n"
            f"{self.hidden:,} decisions are kept from public payloads\n{ways}"
        )


def compare(n: int, *, first_seed: int = 0, processes: int = 2) -> Report:
    """Compare `n` triples or a few more; the same ones for the same seed."""
    seeds = range(first_seed, first_seed - (-n // PEOPLE))
    total = Report()
    with ProcessPoolExecutor(processes) as pool:
        for part in pool.map(compare_catalogs, [seeds[i::processes] for i in range(processes)]):
            total.add(part)
    return total


def compare_catalogs(seeds: Sequence[int]) -> Report:
    """Compare the catalogs of some seeds for 250 people each."""
    logging.disable(logging.WARNING)  # the SDK warns of each prerequisite that leads nowhere
    report = Report()
    with _services() as services, _javascript() as script:
        for seed in seeds:
            snapshot = _served(services, seed)
            _compare_one(services, snapshot, script, seed, report)
            if len(report.differences) >= MOST_TOLD:
                break
    return report


def _compare_one(
    services: Services, snapshot: ServingSnapshot, script: "Script", seed: int, report: Report
) -> None:
    catalog, keys = snapshot.loaded.catalog, snapshot.compiled.keys
    sent = json.loads(json.dumps(payload(catalog, now=NOW)))
    crowd = people(seed, PEOPLE)
    public = [not hidden(catalog, key) for key in keys]
    of_python = _python_sdk(sent, keys, crowd)
    of_javascript = script.decide(sent, keys, crowd)
    known = definitions(snapshot.loaded)
    for who, by_python, by_javascript in zip(crowd, of_python, of_javascript, strict=True):
        assigned = snapshot.compiled.assign_all(who, now=NOW)
        served = orjson.loads(_asked(services, who))["flags"]
        report.triples += 1
        for i, key in enumerate(keys):
            one = assigned[i]
            ours = (default_value(known[key]), None) if one is None else _of_engine(one)
            report.decisions += 1
            report.hidden += not public[i]
            report.seen[one.decision if one else MISSING] += 1
            doors = {"OFREP": (of_ofrep(served[i], key), wire_form(one))}
            if public[i]:
                doors |= {"Python": (by_python[i], ours), "JavaScript": (by_javascript[i], ours)}
            for door, (theirs, expected) in doors.items():
                if not alike(theirs, expected):
                    report.differences.append(
                        f"seed {seed}, {key}, {who}: engine {expected}, {door} {theirs}"
                    )


def _of_engine(one: Assignment) -> Decision:
    return one.value, one.variant_key if one.enrolled else None


def wire_form(one: Assignment | None) -> Any:
    if one is None:
        return MISSING
    return [one.key, one.value, one.variant_key, one.reason.value, one.decision, one.enrolled, one.phase]


def of_ofrep(found: dict[str, Any], key: str) -> Any:
    if "errorCode" in found:
        return found["errorCode"] if found["key"] == key else found
    about = found["metadata"]
    return [
        *(found[name] for name in ("key", "value", "variant", "reason")),
        *(about[name] for name in ("decision", "enrolled", "phase")),
    ]


def alike(one: Any, other: Any) -> bool:
    """Return whether two values are the same JSON: 2 and 2.0 are, 1 and true are not."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[name], other[name]) for name in one)
    return bool(one == other)


# --- the doors


@contextmanager
def _services() -> Iterator[Services]:
    with TemporaryDirectory() as home:
        settings = settings_module.load({"OPPORTUNE_HOME": home, **new_keys()})
        migrate(settings.database_url)
        services = replace(build_services(settings), clock=lambda: NOW)
        yield services
        services.store.close()


def _served(services: Services, seed: int) -> ServingSnapshot:
    """Make a catalog live without the review of a change, which each of these would fail."""
    live = services.store.live_state().revision
    make_live(services.store, seed)
    services.snapshots.refresh()
    snapshot = services.snapshots.current
    assert snapshot.state.revision == live + 1, snapshot.problem
    return snapshot


def make_live(store: Store, seed: int) -> None:
    """Store what was decided about the experiments of a seed's catalog, and last the catalog."""
    live, made = store.live_state().revision, files(seed)
    for steering in store.steerings():
        store.clear_steering(steering.experiment, steering.phase)
    for steering in decided(seed, load(made).catalog):
        store.put_steering(steering, by="test", now=NOW)
    store.add_revision(made, f"random {live} {seed}", by="test", now=NOW, expected=live)


def _asked(services: Services, who: dict[str, Any]) -> bytes:
    body = json.dumps({"context": who}).encode()
    reply = answer(
        services, Call(key=None, body=body, authorization=f"Bearer {services.settings.client_key}")
    )
    assert reply is not None
    assert reply.status == 200, reply.body
    return reply.body


def _python_sdk(sent: Any, keys: Iterable[str], crowd: Iterable[dict[str, Any]]) -> list[list[Decision]]:
    client = GrowthBook(features=sent["features"], savedGroups=sent["savedGroups"])
    answers = []
    for who in crowd:
        client.set_attributes(who)
        answers.append([_of_sdk(client.eval_feature(key)) for key in keys])
    return answers


def _of_sdk(found: Any) -> Decision:
    result = found.experimentResult
    return found.value, result.key if result and result.inExperiment else None


@dataclass(frozen=True, slots=True)
class Script:
    """One Node process that decides with GrowthBook's JavaScript SDK."""

    process: "subprocess.Popen[str]"

    def decide(self, sent: Any, keys: Sequence[str], crowd: Sequence[dict[str, Any]]) -> list[list[Decision]]:
        """Return value and variant of each key for each person."""
        asked, answered = self.process.stdin, self.process.stdout
        assert asked is not None
        assert answered is not None
        asked.write(json.dumps({"payload": sent, "keys": keys, "people": crowd}) + "\n")
        asked.flush()
        found: list[list[Decision]] = json.loads(answered.readline())
        return found


@contextmanager
def _javascript() -> Iterator[Script]:
    need_packages()
    command = [program("node"), "differential.mjs"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "encoding": "utf-8"}
    with subprocess.Popen(command, cwd=FOLDER, **pipes) as process:
        yield Script(process)
        if process.stdin:
            process.stdin.close()
