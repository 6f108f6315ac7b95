"""What changes between two catalogs, in words a marketer reads."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from experiments.definitions import AnalysisPlan, Experiment, Flag, Metric
from experiments.targeting import All, Any_, AudienceRef, Condition, Leaf, Not
from recommender.definitions import Placement, Recommender
from service.catalog.loader import LoadedCatalog

KINDS = ("experiments", "flags", "metrics", "audiences", "recommenders", "placements")
NOTHING = "-"
MAX_WORDS = 72
UNITS = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """One property that differs."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One definition that is new, gone or changed; `sign` is ``+``, ``-`` or ``~``."""

    kind: str
    key: str
    sign: str
    details: tuple[Detail, ...] = ()


def diff(old: LoadedCatalog | None, new: LoadedCatalog) -> tuple[Difference, ...]:
    """Return every definition that differs, experiments first, in order of key."""
    found: list[Difference] = []
    for kind in KINDS:
        before = parts(old)[kind] if old else {}
        after = parts(new)[kind]
        for key in sorted(before.keys() | after.keys()):
            difference = _compare(kind, key, before.get(key), after.get(key))
            if difference:
                found.append(difference)
    return tuple(found)


def parts(loaded: LoadedCatalog) -> Mapping[str, Mapping[str, Any]]:
    """Return all definitions by kind."""
    catalog = loaded.catalog
    return {
        "experiments": catalog.experiments,
        "flags": catalog.flags,
        "metrics": catalog.metrics,
        "audiences": catalog.audiences,
        "recommenders": loaded.recommenders,
        "placements": loaded.placements,
    }


def _compare(kind: str, key: str, before: object, after: object) -> Difference | None:
    if before == after:
        return None
    old, new = describe(before), describe(after)
    names = tuple(dict.fromkeys((*new, *old)))
    details = tuple(
        Detail(name=name, before=old.get(name, NOTHING), after=new.get(name, NOTHING))
        for name in names
        if old.get(name) != new.get(name)
    )
    sign = "+" if before is None else "-" if after is None else "~"
    return Difference(kind=kind, key=key, sign=sign, details=details)


def describe(definition: object) -> dict[str, str]:
    """Return the properties of a definition as short texts, named as in the YAML file."""
    words: dict[str, str]
    match definition:
        case Experiment():
            words = dict(_experiment(definition))
        case Flag():
            words = dict(_flag(definition))
        case Metric():
            words = dict(_metric(definition))
        case Recommender():
            words = dict(_recommender(definition))
        case Placement():
            words = {
                "recommender": definition.recommender,
                "slots": str(definition.slots),
                "channel": definition.channel,
            }
        case None:
            words = {}
        case _:
            words = {"condition": condition_words(definition)}  # type: ignore[arg-type]  # what is left: an audience
    return {name: text for name, text in words.items() if text}


def _experiment(e: Experiment) -> Iterator[tuple[str, str]]:
    yield "status", e.status.value
    yield "allocation", percent(e.allocation_bp)
    yield "variants", " / ".join(f"{v.key} {v.weight_bp / 100:g}" for v in e.variants)
    yield "values", ", ".join(f"{v.key}: {json_words(v.value)}" for v in e.variants)
    yield "audience", condition_words(e.audience) if e.audience else "everybody"
    yield "unit", e.unit
    yield "phase", str(e.phase)
    yield "primary", e.metrics.primary
    yield "secondary", ", ".join(e.metrics.secondary)
    yield (
        "guardrails",
        ", ".join(
            f"{g.metric} {g.margin * 100:g}% relative" if g.relative else f"{g.metric} {g.margin:g} absolute"
            for g in e.metrics.guardrails
        ),
    )
    yield "analysis", _plan(e.analysis)
    yield "min_runtime", duration_words(e.decide.min_runtime_s)
    yield (
        "schedule",
        f"{_moment(e.schedule.start_at)} to {_moment(e.schedule.end_at)}"
        if e.schedule.start_at or e.schedule.end_at
        else "",
    )
    yield "overrides", ", ".join(f"{key}: {' '.join(units)}" for key, units in e.overrides.items())
    yield "owner", e.owner
    yield "hypothesis", e.statement


def _plan(plan: AnalysisPlan) -> str:
    mde, baseline = f"{plan.mde * 100:.4g}% relative", f"{plan.baseline * 100:.4g}%"
    return f"alpha {plan.alpha:.4g}, power {plan.power:.4g}, mde {mde}, baseline {baseline}"


def _flag(f: Flag) -> Iterator[tuple[str, str]]:
    yield "status", f.status.value
    yield "allocation", percent(f.allocation_bp)
    yield "value", json_words(f.value)
    yield "otherwise", json_words(f.otherwise)
    yield "audience", condition_words(f.audience) if f.audience else "everybody"
    yield "unit", f.unit
    yield "owner", f.owner


def _metric(m: Metric) -> Iterator[tuple[str, str]]:
    yield "kind", m.kind.value
    yield "event", m.event
    yield "value", m.value
    yield "where", ", ".join(f"{key} = {json_words(value)}" for key, value in m.where.items())
    yield "window", duration_words(m.window_s)
    yield "cap", f"{m.cap:g}" if m.cap is not None else ""
    yield "currency", m.currency
    yield "direction", m.direction.value
    yield "label", m.label


def _recommender(r: Recommender) -> Iterator[tuple[str, str]]:
    yield "rank_by", r.rank_by.value
    yield "hide", ", ".join(sorted(r.hide))
    yield "only", ", ".join(sorted(r.only))
    yield "weights", ", ".join(f"{name} {weight:g}" for name, weight in r.weights.items())


def condition_words(condition: Condition, *, inner: bool = False) -> str:
    """Return a condition as one line of plain words."""
    match condition:
        case All(found):
            text = " and ".join(condition_words(part, inner=True) for part in found) or "everybody"
        case Any_(found):
            text = " or ".join(condition_words(part, inner=True) for part in found)
        case Not(part):
            return f"not {condition_words(part, inner=True)}"
        case AudienceRef(name):
            return f"audience {name}"
        case Leaf(attribute, op, operand):
            return f"{attribute} {op} {json_words(operand)}"
    return f"({text})" if inner and len(found) > 1 else text


def json_words(value: object) -> str:
    """Return a value as JSON, cut when it is long."""
    text = json.dumps(value, ensure_ascii=False, default=list)
    return text if len(text) <= MAX_WORDS else text[: MAX_WORDS - 3] + "..."


def percent(basis_points: int) -> str:
    """Return basis points as a percentage."""
    return f"{basis_points / 100:g}%"


def duration_words(seconds: int) -> str:
    """Return seconds in the largest unit that fits, in the form that the catalog reads."""
    size, unit = next((size, unit) for size, unit in UNITS if seconds % size == 0)
    return f"{seconds // size}{unit}"


def _moment(moment: datetime | None) -> str:
    return moment.isoformat(timespec="minutes") if moment else "open"
