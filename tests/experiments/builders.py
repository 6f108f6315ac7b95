"""Short ways to the values that tests of the experiments room need."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from experiments.definitions import (
    AnalysisPlan,
    Direction,
    Experiment,
    Guardrail,
    Metric,
    MetricKind,
    MetricPlan,
    Variant,
)
from experiments.evidence import Arrivals, Evidence, ExposureAccount, PeriodMoments
from experiments.moments import SCALE, Moments

ONE_DAY = frozenset({"missing_days", "weekdays"})  # what checks warn of where all units come on one day
START = datetime(2027, 1, 4, 12, tzinfo=UTC)


def conversions(n: int, converted: int) -> Moments:
    """Return the moments of `n` units of which `converted` did."""
    return Moments(n, converted * SCALE, converted * SCALE * SCALE)


def variants(*weights_bp: int) -> tuple[Variant, ...]:
    """Return variants a (control), b, c ... with these weights; halves by default."""
    weights = weights_bp or (5_000, 5_000)
    return tuple(
        Variant(key=k, value=k.upper(), weight_bp=w) for k, w in zip("abcdef", weights, strict=False)
    )


def experiment(**changes: Any) -> Experiment:
    """Return an experiment on the metric `buy`, 10 % smallest lift on a base of 5 %."""
    settings: dict[str, Any] = {
        "key": "banner",
        "variants": variants(),
        "metrics": MetricPlan(primary="buy"),
        "analysis": AnalysisPlan(alpha=0.05, power=0.8, mde=0.1, baseline=0.05),
    }
    return Experiment(**{**settings, **changes})


def metric(**changes: Any) -> Metric:
    """Return the conversion `buy` with a window of one day."""
    settings: dict[str, Any] = {
        "key": "buy",
        "kind": MetricKind.CONVERSION,
        "event": "Order Completed",
        "window_s": 86_400,
    }
    return Metric(**{**settings, **changes})


BUY = metric()
REFUND = metric(key="refund", event="Order Refunded", direction=Direction.DOWN)
METRICS: Mapping[str, Metric] = {"buy": BUY, "refund": REFUND}
GUARDED = MetricPlan(primary="buy", guardrails=(Guardrail(metric="refund", margin=0.2),))


def evidence(
    moments: Mapping[tuple[str, str], Moments],
    *,
    arrivals: Sequence[int] | None = None,
    days: int = 14,
    account: ExposureAccount | None = None,
) -> Evidence:
    """Return evidence with all moments in one closed day; arrivals are the primary's units unless given."""
    day = date(2027, 1, 5)
    primary = {variant: m.n for (metric_key, variant), m in moments.items() if metric_key == "buy"}
    counts = list(primary.values()) if arrivals is None else list(arrivals)
    keys = "abcdef"[: len(counts)]
    n = sum(primary.values())
    balanced = ExposureAccount(events=n, first=n, exposed_units=primary, analysed=primary)
    return Evidence(
        periods=tuple(PeriodMoments(key, variant, day, m) for (key, variant), m in moments.items()),
        arrivals=tuple(Arrivals(day, key, n) for key, n in zip(keys, counts, strict=True)),
        account=account or balanced,
        as_of=START + timedelta(days=days),
        first_exposure_at=START if n else None,
    )


def arriving(sources: Iterable[tuple[str, Sequence[Sequence[int]]]], *, days: int = 60) -> Evidence:
    """Return evidence of arrivals only: for each source the units of each variant, day by day."""
    first = date(2027, 1, 5)
    rows = [
        Arrivals(first + timedelta(days=i), variant, n, source)
        for source, by_day in sources
        for i, counts in enumerate(by_day)
        for variant, n in zip("abcdef", counts, strict=False)
    ]
    return Evidence(
        periods=(),
        arrivals=tuple(rows),
        account=ExposureAccount(),
        as_of=START + timedelta(days=days),
        first_exposure_at=START,
    )
