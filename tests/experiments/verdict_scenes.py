"""One small, realistic experiment for each decision; their verdicts in words are tests/golden/verdicts.

`python -m tests.experiments.verdict_scenes` writes the files anew after a change of wording: read them aloud.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from experiments.decision_rules import AllOf, Leaf
from experiments.definitions import (
    AnalysisPlan,
    DecisionPlan,
    Direction,
    Experiment,
    Guardrail,
    Metric,
    MetricKind,
    MetricPlan,
    Variant,
)
from experiments.evidence import Arrivals, Evidence, ExposureAccount, PeriodMoments
from experiments.histogram import bin_of
from experiments.lifecycle import Status
from experiments.moments import SCALE, Moments
from experiments.money_plan import MoneyPlan
from experiments.states import MetricState
from experiments.verdict import Verdict, judge

FOLDER = Path(__file__).parents[1] / "golden" / "verdicts"
START = datetime.fromisoformat("2027-01-04T00:00:00+00:00")
WINDOW_S = 2 * 86_400
WINDOW_DAYS = 2

ORDERS = Metric(
    key="purchase",
    kind=MetricKind.CONVERSION,
    event="Order Completed",
    window_s=WINDOW_S,
    label="order rate",
)
REVENUE = Metric(
    key="revenue",
    kind=MetricKind.MEAN,
    event="Order Completed",
    value="revenue",
    currency="EUR",
    cap=500,
    window_s=WINDOW_S,
    label="revenue per visitor",
)
REFUNDS = Metric(
    key="refund",
    kind=MetricKind.CONVERSION,
    event="Order Refunded",
    window_s=WINDOW_S,
    direction=Direction.DOWN,
    label="refund rate",
)
LOAD_TIME = Metric(
    key="load_time",
    kind=MetricKind.QUANTILE,
    event="Page Loaded",
    value="seconds",
    quantile=0.9,
    window_s=WINDOW_S,
    direction=Direction.DOWN,
    label="load time in seconds",
)
METRICS = {metric.key: metric for metric in (ORDERS, REVENUE, REFUNDS, LOAD_TIME)}
GUARDED = MetricPlan(primary="purchase", guardrails=(Guardrail(metric="refund", margin=0.2),))
Moment = tuple[str, str]


def plan(*treatments: str, **changes: Any) -> Experiment:
    """Return an experiment with equal shares; `banner` is the treatment unless others are named."""
    keys = ("control", *(treatments or ("banner",)))
    weights = [10_000 // len(keys) + (i < 10_000 % len(keys)) for i in range(len(keys))]
    settings: dict[str, Any] = {
        "key": "free-shipping",
        "variants": tuple(Variant(key=k, value=k, weight_bp=w) for k, w in zip(keys, weights, strict=True)),
        "metrics": MetricPlan(primary="purchase"),
        "analysis": AnalysisPlan(mde=0.1, baseline=0.05),
    }
    return Experiment(**{**settings, **changes})


def conversions(n: int, rate: float) -> Moments:
    """Return a day of units of which a share converts."""
    converted = round(n * rate)
    return Moments(n, converted * SCALE, converted * SCALE * SCALE)


def amounts(n: int, share: float, each: float) -> Moments:
    """Return a day of units of which a share spends one to three times the same amount."""
    values = [round(each * SCALE) * (1 + i % 3) for i in range(round(n * share))]
    return Moments.of([*values, *[0] * (n - len(values))])


def amounts_with_past(n: int, share: float, each: float) -> Moments:
    """Return the same with what each unit spent before: a tenth of all did, and they still do."""
    after = [round(each * SCALE) * (1 + i % 3) if i < round(n * share) else 0 for i in range(n)]
    before = [round(each * SCALE) * (1 + i % 3) if i < n // 10 else 0 for i in range(n)]
    return Moments.of(after, before)


def seconds(n: int, scale: float) -> Moments:
    """Return a day of units that waited between half and three and a half times `scale` seconds."""
    values = [round(scale * SCALE * (0.5 + 3 * i / n)) for i in range(n)]
    bins: dict[int, int] = {}
    for value in values:
        number = bin_of(value)
        bins[number] = bins.get(number, 0) + 1
    whole = Moments.of(values)
    return replace(whole, bins=tuple(sorted(bins.items())))


def scene(
    e: Experiment,
    rows: Mapping[Moment, Moments],
    *,
    days: int,
    arrivals: Sequence[int] | None = None,
    several: int = 0,
    all_in: bool = False,
    **more: Any,
) -> Verdict:
    """Judge `days` equal days; `rows` holds one day by metric and variant, `arrivals` units by variant.

    All units that came are analysed if `all_in`, else those of the last two days are still immature; `more`
    are members of the evidence, and `metrics` where those are others.
    """
    keys = [v.key for v in e.variants]
    metrics = more.pop("metrics", METRICS)
    daily = {key: rows[e.metrics.primary, key].n for key in keys}
    came = dict(zip(keys, arrivals or daily.values(), strict=True))
    closed = [START.date() + timedelta(days=i) for i in range(WINDOW_DAYS, days)]
    exposed = {key: n * (len(closed) if all_in else days) for key, n in came.items()}
    analysed = {key: n * len(closed) for key, n in daily.items()}
    first = sum(exposed.values())
    immature = first - several - sum(analysed.values())
    account = ExposureAccount(
        events=first + first // 10,
        first=first,
        repeats=first // 10,
        exposed_units=exposed,
        excluded={"multiple_variants": several, "immature": immature},
        analysed=analysed,
    )
    evidence = Evidence(
        periods=tuple(PeriodMoments(m, v, day, row) for (m, v), row in rows.items() for day in closed),
        arrivals=tuple(
            Arrivals(date.fromordinal(START.toordinal() + i), key, n, source="client_key")
            for i in range(days)
            for key, n in came.items()
        ),
        account=account,
        as_of=START + timedelta(days=days),
        first_exposure_at=START,
        **more,
    )
    return judge(e, metrics, evidence)


def both(n: int, control: float, treatment: float, metric: str = "purchase") -> dict[Moment, Moments]:
    """Return a day of a conversion in both variants."""
    return {(metric, "control"): conversions(n, control), (metric, "banner"): conversions(n, treatment)}


def scenes() -> Mapping[str, Verdict]:
    """Return the verdict of every scene by the name of its file."""
    guarded = plan(metrics=GUARDED)
    refunds = both(2_500, 0.02, 0.0204, "refund")
    full = plan(metrics=replace(GUARDED, secondary=("revenue",)))
    spent = {
        ("revenue", "control"): amounts(2_500, 0.05, 30),
        ("revenue", "banner"): amounts(2_500, 0.0576, 30),
    }
    careful = AllOf((Leaf("primary", (MetricState.BETTER,)), Leaf("every_guardrail", (MetricState.SAFE,))))
    return {
        "ship": scene(full, both(2_500, 0.05, 0.0576) | refunds | spent, days=31, several=310),
        "rollback_primary": scene(guarded, both(2_500, 0.05, 0.0428) | refunds, days=18),
        "rollback_guardrail": scene(
            guarded, both(2_500, 0.05, 0.0576) | both(2_500, 0.02, 0.03, "refund"), days=16
        ),
        "keep_running": scene(guarded, both(2_500, 0.05, 0.0508) | refunds, days=12),
        "keep_running_first_week": scene(plan(), both(6_000, 0.05, 0.06), days=6),
        "keep_running_beyond": scene(plan(), both(5_000, 0.05, 0.0526), days=22),
        "keep_running_first_day": scene(plan(), both(40, 0.05, 0.05), days=3),
        "keep_running_burn_in": scene(
            plan(metrics=MetricPlan(primary="revenue")),
            {
                ("revenue", "control"): amounts(300, 0.05, 30),
                ("revenue", "banner"): amounts(300, 0.06, 30),
            },
            days=4,
        ),
        "keep_running_own_rule": scene(
            plan(metrics=GUARDED, decide=DecisionPlan(ship_when=careful)),
            both(2_500, 0.05, 0.0576) | both(2_500, 0.02, 0.0216, "refund"),
            days=20,
        ),
        "no_effect": scene(plan(), both(60_000, 0.05, 0.0502), days=16),
        "inconclusive": scene(plan(status=Status.STOPPED), both(2_000, 0.05, 0.0515), days=16, all_in=True),
        "untrustworthy": scene(
            guarded, both(2_500, 0.05, 0.0576) | refunds, days=14, arrivals=[2_700, 2_300]
        ),
        "several_treatments": scene(
            plan("banner", "popup", "price"),
            {
                ("purchase", "control"): conversions(2_500, 0.05),
                ("purchase", "banner"): conversions(2_500, 0.0588),
                ("purchase", "popup"): conversions(2_500, 0.0516),
                ("purchase", "price"): conversions(2_500, 0.04),
            },
            days=30,
        ),
        "money": scene(
            plan(metrics=MetricPlan(primary="revenue")),
            {
                ("revenue", "control"): amounts(2_000, 0.1, 30),
                ("revenue", "banner"): amounts(2_000, 0.12, 30),
            },
            days=20,
        ),
        "adjusted": scene(
            plan(metrics=MetricPlan(primary="revenue")),
            {
                ("revenue", "control"): amounts_with_past(2_000, 0.12, 30),
                ("revenue", "banner"): amounts_with_past(2_000, 0.135, 30),
            },
            days=20,
        ),
        "money_after_costs": scene(
            plan(
                metrics=replace(GUARDED, secondary=("revenue",)),
                money=MoneyPlan(metric="revenue", costs={"banner": 0.2}),
            ),
            both(2_500, 0.05, 0.0576) | refunds | spent,
            days=31,
        ),
        "exploratory": scene(
            full,
            both(2_500, 0.05, 0.0508) | refunds | spent,
            days=12,
            exploratory=frozenset({"revenue", "refund"}),
            changed={"purchase": 4},
        ),
        "primary_not_planned": scene(
            guarded, both(2_500, 0.05, 0.0576) | refunds, days=31, exploratory=frozenset({"purchase"})
        ),
        "final": scene(
            plan(status=Status.STOPPED),
            both(2_500, 0.05, 0.0576),
            days=31,
            all_in=True,
            windows_open=False,
        ),
        "quantile": scene(
            plan(metrics=MetricPlan(primary="load_time")),
            {("load_time", "control"): seconds(1_000, 1.0), ("load_time", "banner"): seconds(1_000, 0.85)},
            days=16,
        ),
    }


def write() -> None:
    """Write the golden texts."""
    FOLDER.mkdir(exist_ok=True)
    for name, verdict in scenes().items():
        (FOLDER / f"{name}.txt").write_text(f"{verdict.text}\n", "utf-8")


if __name__ == "__main__":
    write()
