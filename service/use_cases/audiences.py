"""Behavioural audiences as a web worker sees them: what the catalog asks, and the file that answers."""

import json
import mmap
import os
from dataclasses import dataclass
from pathlib import Path

from experiments.definitions import Catalog, Experiment
from experiments.lifecycle import Status
from experiments.membership import NOBODY, Membership, MembershipError
from experiments.targeting.conditions import Behaviour, Condition, behaviours
from service.log import logger

MEMBERS, LOOKED = "members.bin", "looked.json"
LIVE = frozenset({Status.SCHEDULED, Status.RUNNING, Status.PAUSED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """The last pass: up to which moment and event it looked, what it found, how long it took."""

    as_of: str
    log_offset: int
    digest: str
    seconds: float


def facts_of(catalog: Catalog) -> tuple[Behaviour, ...]:
    """Return every fact about behaviour that a catalog asks, drafts included: one wants to see their size."""
    conditions: list[Condition | None] = list(catalog.audiences.values())
    conditions += [e.audience for e in catalog.experiments.values() if e.status is not Status.STOPPED]
    conditions += [f.audience for f in catalog.flags.values() if f.status is not Status.STOPPED]
    found = {fact for part in conditions if part is not None for fact in behaviours(part, catalog.audiences)}
    return tuple(sorted(found, key=lambda fact: fact.key))


def frozen_of(catalog: Catalog) -> tuple[Experiment, ...]:
    """Return the experiments whose exposed units stay in, whatever they do next."""
    return tuple(
        experiment
        for _, experiment in sorted(catalog.experiments.items())
        if experiment.status in LIVE
        and experiment.audience is not None
        and behaviours(experiment.audience, catalog.audiences)
    )


def last_look(folder: Path, membership: Membership) -> Looked:
    """Return the last pass that found what `membership` says."""
    try:
        looked = Looked(**json.loads((folder / LOOKED).read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        looked = None
    if looked is None or looked.digest != membership.digest:
        # Killed between the two files, or a pass is under way.
        return Looked(
            as_of=membership.as_of, log_offset=membership.offset, digest=membership.digest, seconds=0.0
        )
    return looked


class MembersFile:
    """The membership file of one folder, mapped into memory: its pages are shared by all processes.

    A file that is damaged or gone never takes away what was read before. Whoever holds a `Membership` keeps
    its map alive; nobody else does.
    """

    def __init__(self, folder: Path | None) -> None:
        self.current: Membership = NOBODY
        self.problem = ""
        self._path = folder / MEMBERS if folder else None
        self._seen: tuple[int, int, int] | None = None

    def problem_of(self, catalog: Catalog) -> str:
        """Return why the file does not answer what `catalog` asks; empty when it does or nothing is."""
        lacking = [fact for fact in facts_of(catalog) if fact.key not in self.current.names]
        if lacking:
            return self.problem or f"{len(lacking)} facts about what people did are not counted yet"
        return self.problem if facts_of(catalog) else ""

    def look(self) -> bool:
        """Map the file if it is another one than before; return whether there is news. It never raises."""
        if self._path is None:
            return False
        try:
            found = self._read(self._path)
        except FileNotFoundError:
            self._seen, self.problem = None, "the file of who did what is not there"
            return False
        except (OSError, MembershipError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            self._tell(f"the file of who did what cannot be used: {why}")
            return False
        if found is None:
            return False
        self.current, self.problem = found, ""
        return True

    def _read(self, path: Path) -> Membership | None:
        with path.open("rb") as file:
            # The open file is asked, so that what is mapped is what was looked at.
            stamp = _stamp(file.fileno())
            if stamp == self._seen:
                return None
            # Remembered even if it is damaged: one look at a bad file is enough.
            self._seen = stamp
            return Membership(_mapped(file.fileno()))

    def _tell(self, problem: str) -> None:
        if problem != self.problem:
            logger().error("membership_unusable", error=problem)
        self.problem = problem


def _stamp(descriptor: int) -> tuple[int, int, int]:
    status = os.fstat(descriptor)
    return status.st_ino, status.st_mtime_ns, status.st_size


def _mapped(descriptor: int) -> mmap.mmap:
    try:
        return mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
    except ValueError as error:  # an empty file
        raise MembershipError(str(error)) from error
