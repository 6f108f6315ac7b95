"""Rows of shops, e-mail tools and call centres as events: what each column is, said once for a whole file."""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import orjson

from experiments.allocation import ANONYMOUS_ID
from experiments.definitions import Experiment
from experiments.units import USER_ID
from service.errors import ProblemError
from service.storage.interactions import EXPOSURE_EVENT
from service.use_cases.import_files import MAX_LINE, NESTED, Row
from service.use_cases.import_times import Times
from service.use_cases.terms import ROW_IDS
from service.use_cases.viewed import digits_as_text, exposure_of
from service.wire import read_json

ExperimentAt = Callable[[str, datetime], Experiment | None]
"""Gives an experiment by its key as it was at a moment."""
LATEST = datetime.max.replace(tzinfo=UTC)
ENROLLED = "enrolled"
IDS = (USER_ID, ANONYMOUS_ID)
MEMBERS = ("event_id", "type", *IDS, "occurred_at")
KINDS = ("number", "json")
_NUMBER = re.compile(r" *-?[0-9][0-9.eE+-]* *")


class As(StrEnum):
    """What the rows of a file are."""

    EXPOSURES = "exposures"
    OUTCOMES = "outcomes"


EXPOSURE_WORDS = {
    "experiment": "experiment_key",
    "variant": "variant_key",
    "unit": "unit_id",
    **{name: name for name in ("experiment_key", "variant_key", "unit_type", "unit_id")},
    **{name: name for name in ("phase", "revision", "decision")},
    **{name: name for name in MEMBERS if name != "type"},
}
"""What a column of an exposure may be, in the words of `opportune assign` and of events."""
NUMBERS_OF_EXPOSURES = ("phase", "revision")


class MappingError(ValueError):
    """The way to read a file was said wrongly; the message tells which part and what is expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How to read a file: `columns` gives what a column is, `constants` what every row has, read already."""

    rows_are: As
    columns: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, Any] = field(default_factory=dict)
    times: Times = field(default_factory=Times)

    def target(self, column: str) -> str:
        """Return what `column` is, empty if it is left out."""
        known = EXPOSURE_WORDS if self.rows_are is As.EXPOSURES else (*MEMBERS, NESTED)
        return self.word(self.columns.get(column, column if column in known else ""))

    def word(self, member: str) -> str:
        """Return a member's name: exposures also know the short words of `opportune assign`."""
        return EXPOSURE_WORDS.get(member, member) if self.rows_are is As.EXPOSURES else member

    def read(self, target: str, cell: Any) -> tuple[str, Any]:  # noqa: ANN401 - JSON
        """Return name and value of what a cell says; ValueError tells why it cannot be read."""
        name, _, kind = target.partition(":")
        if name == "occurred_at" and isinstance(cell, str):
            return name, self.times.read(cell).isoformat(timespec="microseconds")
        if kind == "number" or (self.rows_are is As.EXPOSURES and name in NUMBERS_OF_EXPOSURES):
            return name, number(cell)
        if kind == "json" and isinstance(cell, str):
            return name, _json(cell)
        return name, digits_as_text(cell) if name in (*IDS, "event_id", "unit_id") else cell


def make_plan(rows_are: As, maps: Iterable[str], constants: Iterable[str], times: Times) -> Plan:
    """Return the plan of ``COLUMN=MEMBER`` and ``MEMBER=VALUE`` pairs.

    Raises
    ------
    MappingError
        If a pair is none, a member is said twice, a constant cannot be read, or an exposure has no such
        member.
    """
    columns = dict(_pair(said, "--map COLUMN=MEMBER", last=True) for said in maps)
    fixed = [_pair(said, "--set MEMBER=VALUE", last=False) for said in constants]
    plan = Plan(rows_are=rows_are, columns=columns, times=times)
    named = [*columns.values(), *(member for member, _ in fixed)]
    strange = [name for name in named if rows_are is As.EXPOSURES and name not in EXPOSURE_WORDS]
    if strange:
        words = ", ".join(sorted(EXPOSURE_WORDS))
        raise MappingError(f"an exposure has no '{strange[0]}'; it has {words}")
    twice = [name for name, n in Counter(plan.word(one).partition(":")[0] for one in named).items() if n > 1]
    if twice:
        raise MappingError(f"'{twice[0]}' is said twice; one column or one --set gives it")
    try:
        read = dict(plan.read(plan.word(member), value) for member, value in fixed)
    except ValueError as error:
        raise MappingError(f"--set: {error}") from error
    return replace(plan, constants=read)


class Mapper:
    """Reads the rows of one file; equal rows are counted, so that each of two equal purchases has its id."""

    def __init__(self, plan: Plan, experiment_at: ExperimentAt) -> None:
        self._plan = plan
        self._experiment_at = experiment_at
        self._alike: Counter[bytes] = Counter()
        self.columns_left: set[str] = set()

    def event(self, row: Row) -> dict[str, Any] | None:
        """Return the event that a row tells of; None for a unit that was not enrolled.

        Raises
        ------
        ValueError
            If a cell cannot be read; the message names its column and what to do.
        """
        said = self._said(row)
        if self._plan.rows_are is As.EXPOSURES:
            if said.pop("decision", ENROLLED) != ENROLLED:
                return None
            inferred = "phase" not in said
            event = self._exposure(said)
        else:
            inferred = False
            event = _outcome(said)
        if not event.get("event_id"):
            event["event_id"] = self._content_id(_without_phase(event) if inferred else event)
        return {name: event[name] for name in (*MEMBERS, NESTED) if name in event}

    def _said(self, row: Row) -> dict[str, Any]:
        said: dict[str, Any] = {}
        for column, cell in row.items():
            target = self._plan.target(column)
            if not target:
                self.columns_left.add(column)
                continue
            try:
                name, value = self._plan.read(target, cell)
            except ValueError as error:
                raise ValueError(f"column {column}: {error}") from error
            said[name] = value
        return {**said, **self._plan.constants}

    def _exposure(self, said: dict[str, Any]) -> dict[str, Any]:
        members = {name: said.pop(name) for name in ("event_id", "occurred_at", *IDS) if name in said}
        said_at = members.get("occurred_at")
        at = datetime.fromisoformat(said_at) if isinstance(said_at, str) else LATEST
        found = {**said, **exposure_of(said, members, lambda key: self._experiment_at(key, at))}
        if found["unit_type"] in IDS and found["unit_id"]:
            members.setdefault(found["unit_type"], found["unit_id"])
        return {"type": EXPOSURE_EVENT, **members, "properties": found}

    def _content_id(self, event: Mapping[str, Any]) -> str:
        digest = hashlib.sha256(orjson.dumps(event, option=orjson.OPT_SORT_KEYS)).digest()[:20]
        self._alike[digest] += 1
        number_of = self._alike[digest]
        return ROW_IDS + digest.hex() + (f"-{number_of}" if number_of > 1 else "")


def _without_phase(event: dict[str, Any]) -> dict[str, Any]:
    """Return an event without the phase that nobody named: it follows from the catalog, not from the row."""
    return {**event, NESTED: {name: one for name, one in event[NESTED].items() if name != "phase"}}


def number(cell: object) -> int | float:
    """Return a cell as a number.

    Raises
    ------
    ValueError
        If it is none. A comma is never guessed at: 1,234 is a thousand to some and one and a bit to others.
    """
    if isinstance(cell, int | float) and not isinstance(cell, bool):
        return cell
    text = str(cell)
    if "," in text:
        raise ValueError(
            f"{text[:40]!r} has a comma; write 1234.50: a point before decimals, nothing between thousands"
        )
    value = _json(text) if _NUMBER.fullmatch(text) else None
    if not isinstance(value, int | float):
        raise ValueError(f"{text[:40]!r} is no number such as 34.50")  # noqa: TRY004 - of a cell
    return value


def _json(text: str) -> Any:  # noqa: ANN401 - JSON
    try:
        return read_json(text.encode("utf-8", "surrogatepass"), limit=MAX_LINE)
    except ProblemError as error:
        raise ValueError(f"{text[:40]!r} cannot be read: {error.detail}") from error


def _outcome(said: dict[str, Any]) -> dict[str, Any]:
    members = {name: said.pop(name) for name in MEMBERS if name in said}
    nested = said.pop(NESTED, {})
    return {**members, "properties": {**nested, **said} if isinstance(nested, Mapping) else nested}


def _pair(said: str, form: str, *, last: bool) -> tuple[str, str]:
    """Return the halves; a column's name may hold an equals sign, a member's cannot."""
    left, sign, right = said.rpartition("=") if last else said.partition("=")
    member = right if last else left
    name, _, kind = member.partition(":")
    if (
        not sign
        or not left
        or not right
        or not name
        or (kind and kind not in KINDS)
        or (":" in member and not kind)
    ):
        raise MappingError(f"{said!r}: expected {form}, a member such as user_id or revenue:number")
    return left, right
