"""The verdict JSON: everything its page shows, the same bytes for the same inputs."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC

from experiments.decision_rules import form
from experiments.definitions import Experiment, Metric, MetricKind
from experiments.metrics import WITH_FACTOR, Aggregate
from experiments.verdict import Arrivals, Evidence, PeriodMoments, judge, series
from service.use_cases.verdict_inputs import config_digest

SCHEMA = "verdict/1"
DIGITS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What one verdict is made from, and nothing else goes in: the same inputs give the same bytes."""

    experiment: Experiment
    metrics: Mapping[str, Metric]
    evidence: Evidence
    revision: int
    catalog_digest: str
    log_offset: int


def verdict_body(inputs: Inputs) -> str:
    """Return the verdict JSON, byte for byte the same for the same inputs."""
    experiment, evidence = inputs.experiment, inputs.evidence
    first = evidence.first_exposure_at
    members = judge(experiment, inputs.metrics, evidence).members()
    members |= {
        "schema": SCHEMA,
        "experiment": experiment.key,
        "phase": experiment.phase,
        "revision": inputs.revision,
        "log_offset": inputs.log_offset,
        "first_exposure_at": None if first is None else first.astimezone(UTC).isoformat(),
        "digests": {
            "catalog": inputs.catalog_digest,
            "config": config_digest(experiment, inputs.metrics),
            "exposures": _digest([evidence.account.members(), [_arrived(a) for a in evidence.arrivals]]),
            "moments": _digest([_summed(p) for p in evidence.periods]),
        },
        "series": _series(inputs),
        "record": record_of(experiment, inputs.metrics),
    }
    return canonical(members)


def canonical(value: object) -> str:
    """Return JSON with sorted keys and 12 significant digits; numbers that JSON cannot hold become null."""
    return json.dumps(
        _tidy(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def record_of(experiment: Experiment, metrics: Mapping[str, Metric]) -> dict[str, object]:
    """Return the plan that the verdict was made by, so that its page needs nothing else."""
    return {
        "owner": experiment.owner,
        "statement": experiment.statement,
        "status": experiment.status.value,
        "unit": experiment.unit,
        "allocation_bp": experiment.allocation_bp,
        "alpha": experiment.analysis.alpha,
        "power": experiment.analysis.power,
        "mde": experiment.analysis.mde,
        "baseline": experiment.analysis.baseline,
        "min_runtime_s": experiment.decide.min_runtime_s,
        "ship_when": form(experiment.decide.ship_when),
        "rollback_when": form(experiment.decide.rollback_when),
        "variants": [{"variant": v.key, "weight_bp": v.weight_bp} for v in experiment.variants],
        "metrics": {
            m.key: {
                "label": m.label,
                "kind": m.kind.value,
                "event": m.event,
                "value": m.value,
                "where": dict(m.where),
                "currency": m.currency,
                "window_s": m.window_s,
                "cap": m.cap,
                "direction": m.direction.value,
                **_of_its_kind(m),
            }
            for m in metrics.values()
        },
        "money": experiment.money
        and {"metric": experiment.money.metric, "costs": dict(experiment.money.costs)},
        "guardrails": [
            {"metric": g.metric, "margin": g.margin, "relative": g.relative}
            for g in experiment.metrics.guardrails
        ],
    }


def _of_its_kind(metric: Metric) -> dict[str, object]:
    """Return what only some kinds have, where it is said."""
    said = {
        "aggregate": "" if metric.aggregate is Aggregate.SUM else metric.aggregate.value,
        "unit": metric.unit,
        "per": metric.per,
        "per_value": metric.per_value,
        "per_where": dict(metric.per_where),
        "then": metric.then,
        "after_s": metric.after_s,
        "quantile": metric.quantile if metric.kind is MetricKind.QUANTILE else None,
        "scale": list(metric.scale or ()),
        "factor": metric.factor if metric.kind in WITH_FACTOR else None,
        "minus": metric.minus,
        "owner": metric.owner,
        "lookback_s": metric.lookback_s,
    }
    return {name: value for name, value in said.items() if value}


def _series(inputs: Inputs) -> list[dict[str, object]]:
    experiment = inputs.experiment
    metric = inputs.metrics[experiment.metrics.primary]
    return [
        {
            "metric": metric.key,
            "variant": variant,
            "points": [
                {
                    "period": point.period.isoformat(),
                    "n": point.n,
                    "estimate": point.estimate,
                    "lower": point.lower,
                    "upper": point.upper,
                }
                for point in points
            ],
        }
        for variant, points in series(experiment, metric, inputs.evidence.closed_periods()).items()
    ]


def _arrived(row: Arrivals) -> list[object]:
    return [row.period.isoformat(), row.variant, row.n, row.source]


def _summed(row: PeriodMoments) -> list[object]:
    # As text: these outgrow the 53 bits in which some readers of JSON keep a number.
    moments = row.moments
    sums = [moments.n, moments.total, moments.total_sq, *moments.others, *moments.products]
    counts = [[list(bin_and_n) for bin_and_n in moments.bins]] if moments.bins else []
    return [row.metric, row.variant, row.period.isoformat(), *map(str, sums), *counts]


def _digest(value: object) -> str:
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def _tidy(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _tidy(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_tidy(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    return value
