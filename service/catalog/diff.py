"""What changes between two catalogs, in words a marketer reads."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from experiments.automatic import Automatic
from experiments.decision_rules import ROLLBACK_WHEN, SHIP_WHEN, Rule, written
from experiments.definitions import AnalysisPlan, ControlValue, Experiment, Flag, Metric, MetricKind
from experiments.gates import Holdout, Layer
from experiments.goals import Goal
from experiments.metrics import WITH_FACTOR, Aggregate, Dimension, group_name
from experiments.money_plan import MoneyPlan
from experiments.notation import duration_words, percent
from experiments.targeting import Condition
from experiments.targeting.phrases import condition_words
from recommender.definitions import Placement, Recommender
from service.catalog.loader import LoadedCatalog
from service.catalog.rules import DataRules
from service.catalog.webhooks import WEBHOOKS, Webhook
from service.catalog.words import (
    json_words,
    prerequisite_words,
    ramp_words,
    schedule_words,
    slot_words,
)

KINDS = (
    "experiments",
    "flags",
    "metrics",
    "audiences",
    "layers",
    "holdouts",
    "lists",
    "recommenders",
    "placements",
    "goals",
    WEBHOOKS,
    "dimensions",
)
NOTHING = "-"


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
    data = _compare("data", "data", _said(old), _said(new))
    return (*found, data) if data else tuple(found)


def _said(loaded: LoadedCatalog | None) -> DataRules | None:
    """Return what a catalog says about data, None for nothing but the defaults."""
    return loaded.data if loaded and loaded.data != DataRules() else None


def parts(loaded: LoadedCatalog) -> Mapping[str, Mapping[str, Any]]:
    """Return all definitions by kind."""
    catalog = loaded.catalog
    return {
        "experiments": catalog.experiments,
        "flags": catalog.flags,
        "metrics": catalog.metrics,
        "audiences": catalog.audiences,
        "layers": catalog.layers,
        "holdouts": catalog.holdouts,
        "lists": catalog.lists,
        "recommenders": loaded.recommenders,
        "placements": loaded.placements,
        "goals": loaded.goals,
        WEBHOOKS: loaded.webhooks,
        "dimensions": catalog.dimensions,
    }


def _compare(kind: str, key: str, before: object, after: object) -> Difference | None:
    if _own(before) == _own(after):
        return None
    old, new = describe(before), describe(after)
    if isinstance(before, tuple) and isinstance(after, tuple):
        new["members"] += f" ({len(set(after) - set(before))} new, {len(set(before) - set(after))} gone)"
    names = tuple(dict.fromkeys((*new, *old)))
    details = tuple(
        Detail(name=name, before=old.get(name, NOTHING), after=new.get(name, NOTHING))
        for name in names
        if old.get(name) != new.get(name)
    )
    sign = "+" if before is None else "-" if after is None else "~"
    return Difference(kind=kind, key=key, sign=sign, details=details)


def _own(definition: object) -> object:
    """Return a definition with only the names of its layer and holdout: those differ by themselves."""
    if not isinstance(definition, Experiment | Flag):
        return definition
    slot, holdout = definition.layer, definition.holdout
    return replace(
        definition,
        layer=slot and replace(slot, layer=Layer(key=slot.layer.key)),
        holdout=holdout and Holdout(key=holdout.key),
    )


def describe(definition: object) -> dict[str, str]:
    """Return the properties of a definition as short texts, named as in the YAML file."""
    if definition is None:
        return {}
    words = _WORDS.get(type(definition), _audience)(definition)
    return {name: text for name, text in words if text}


def _experiment(e: Experiment) -> Iterator[tuple[str, str]]:
    yield "status", e.status.value
    yield from _share(e)
    yield "variants", " / ".join(f"{v.key} {v.weight_bp / 100:g}" for v in e.variants)
    yield "values", ", ".join(f"{v.key}: {json_words(v.value)}" for v in e.variants)
    yield "otherwise", "" if isinstance(e.otherwise, ControlValue) else json_words(e.otherwise)
    yield from _eligible(e)
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
    yield "ship_when", _rule(e.decide.ship_when, SHIP_WHEN)
    yield "rollback_when", _rule(e.decide.rollback_when, ROLLBACK_WHEN)
    yield "automatic", e.decide.automatic.word if e.decide.automatic != Automatic() else ""
    yield "money", _money(e.money) if e.money else ""
    yield "notify", "" if e.notify is None else ", ".join(e.notify) or "nobody"
    yield from _rest(e)
    yield "hypothesis", e.statement


def _money(plan: MoneyPlan) -> str:
    return ", ".join([plan.metric, *(f"{variant} costs {cost:g}" for variant, cost in plan.costs.items())])


def _share(d: Experiment | Flag) -> Iterator[tuple[str, str]]:
    yield "allocation", percent(d.allocation_bp)
    yield "ramp", ramp_words(d.ramp)


def _eligible(d: Experiment | Flag) -> Iterator[tuple[str, str]]:
    yield "audience", condition_words(d.audience) if d.audience else "everybody"
    yield "prerequisites", prerequisite_words(d.prerequisites)
    yield "unit", d.unit
    yield "layer", slot_words(d.layer) if d.layer else ""
    yield "holdout", d.holdout.key if d.holdout else ""
    yield "seed", d.seed


def _rest(d: Experiment | Flag) -> Iterator[tuple[str, str]]:
    yield "schedule", schedule_words(d.schedule)
    yield "overrides", ", ".join(f"{key}: {' '.join(units)}" for key, units in d.overrides.items())
    yield "owner", d.owner


def _rule(rule: Rule, usual: Rule) -> str:
    return "" if rule == usual else written(rule)


def _plan(plan: AnalysisPlan) -> str:
    mde, baseline = f"{plan.mde * 100:.4g}% relative", f"{plan.baseline * 100:.4g}%"
    return f"alpha {plan.alpha:.4g}, power {plan.power:.4g}, mde {mde}, baseline {baseline}"


def _flag(f: Flag) -> Iterator[tuple[str, str]]:
    yield "status", f.status.value
    yield from _share(f)
    yield "value", json_words(f.value)
    yield "otherwise", json_words(f.otherwise)
    yield from _eligible(f)
    yield from _rest(f)


def _layer(layer: Layer) -> Iterator[tuple[str, str]]:
    yield "unit", layer.unit
    yield "seed", layer.seed
    yield "hash_version", str(layer.hash_version)
    yield "description", layer.description


def _holdout(holdout: Holdout) -> Iterator[tuple[str, str]]:
    yield "share", percent(holdout.share_bp)
    yield "unit", holdout.unit
    yield "seed", holdout.seed
    yield "owner", holdout.owner
    yield "description", holdout.description


def _metric(m: Metric) -> Iterator[tuple[str, str]]:
    yield "kind", m.kind.value
    yield "event", m.event
    yield "value", m.value
    yield "aggregate", "" if m.aggregate is Aggregate.SUM else m.aggregate.value
    yield "where", condition_words(m.counts) if m.where else ""
    yield "per", m.per
    yield "per_value", m.per_value
    yield "per_where", condition_words(m.per_counts) if m.per_where else ""
    yield "then", m.then
    yield "after", duration_words(m.after_s) if m.after_s else ""
    yield "window", duration_words(m.window_s)
    yield "quantile", f"{m.quantile * 100:.10g}%" if m.kind is MetricKind.QUANTILE else ""
    yield "scale", "{}-{}".format(*m.scale) if m.scale else ""
    yield "factor", f"{m.factor:g}" if m.kind in WITH_FACTOR else ""
    yield "minus", m.minus
    yield "cap", f"{m.cap:g}" if m.cap is not None else ""
    yield "lookback", duration_words(m.lookback_s) if m.lookback_s else ""
    yield "currency", m.currency
    yield "unit", m.unit
    yield "direction", m.direction.value
    yield "label", m.label
    yield "owner", m.owner


def _recommender(r: Recommender) -> Iterator[tuple[str, str]]:
    yield "rank_by", r.rank_by.value
    yield "hide", ", ".join(sorted(r.hide))
    yield "only", ", ".join(sorted(r.only))
    yield "weights", ", ".join(f"{name} {weight:g}" for name, weight in r.weights.items())


def _placement(p: Placement) -> Iterator[tuple[str, str]]:
    yield "recommender", p.recommender
    yield "slots", str(p.slots)
    yield "channel", p.channel


def _goal(g: Goal) -> Iterator[tuple[str, str]]:
    yield "statement", g.statement
    yield "metric", g.metric
    yield "baseline", f"{g.baseline:.10g}"
    yield "target", f"{g.target.amount * 100:+.10g}%" if g.target.relative else f"{g.target.amount:.10g}"
    yield "start", g.start.isoformat()
    yield "due", g.due.isoformat()
    yield "owner", g.owner
    yield "parent", g.parent


def _dimension(d: Dimension) -> Iterator[tuple[str, str]]:
    yield "property", d.property
    yield "values", ", ".join(map(group_name, d.values))
    yield "label", d.label


def _data(rules: DataRules) -> Iterator[tuple[str, str]]:
    yield "client_revenue", "allow" if rules.client_revenue else "refuse"
    yield "unknown_consent", "granted" if rules.unknown_consent else "denied"
    yield "opt_out_signals", "respect" if rules.respect_signals else "record"
    for name in ("events", "interactions", "quarantine", "slates"):
        yield f"keep.{name}", f"{getattr(rules.keep, name)}d"


def _webhook(w: Webhook) -> Iterator[tuple[str, str]]:
    yield "url_env", w.url_env
    yield "secret_env", w.secret_env
    yield "events", ", ".join(sorted(w.events))
    yield "default", "true" if w.default else ""


def _list(members: tuple[object, ...]) -> Iterator[tuple[str, str]]:
    yield "members", f"{len(members):,}"


def _audience(condition: Condition) -> Iterator[tuple[str, str]]:
    yield "condition", condition_words(condition)


_WORDS: Mapping[type, Callable[[Any], Iterator[tuple[str, str]]]] = {
    Experiment: _experiment,
    Flag: _flag,
    Metric: _metric,
    Layer: _layer,
    Holdout: _holdout,
    Recommender: _recommender,
    Placement: _placement,
    Goal: _goal,
    Dimension: _dimension,
    DataRules: _data,
    Webhook: _webhook,
    tuple: _list,
}
