"""From the verdict JSON to what the page says: words and sizes, no markup."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from experiments.decision_rules import in_one_line
from experiments.definitions import MetricKind
from experiments.event_filters import parse_filter
from experiments.targeting.phrases import condition_words
from service.dashboard.chart import Chart, draw
from service.dashboard.findings import CHECKS, Findings, findings_of
from service.dashboard.history import Stood, stood
from service.dashboard.sentences import pieces
from service.storage.records import VerdictSnapshot
from service.use_cases import verdict_words as words
from service.use_cases.heartbeat import Heartbeat
from service.use_cases.verdict_history import Moment
from service.use_cases.verdict_inputs import version_of
from service.use_cases.verdicts import body_of, when

DAY_S = 86_400
STALE_S = 30
WORDS = {
    "ship": "Ship",
    "rollback": "Roll back",
    "keep_running": "Keep running",
    "no_effect": "No effect",
    "inconclusive": "Inconclusive",
    "untrustworthy": "Cannot be trusted",
}
RULES = {
    "guardrail_worse": "a guardrail is worse than its limit",
    "primary_worse": "the primary metric is worse than control",
    "primary_better": "the primary metric is better and no guardrail is worse",
    "within_mde": "the whole interval lies within the smallest effect of interest",
    "ended_without_answer": "the experiment ended without an answer",
    "no_data": "no unit has been exposed yet",
    "burn_in": "too few data for any conclusion",
    "min_runtime": "the shortest runtime has not passed",
    "primary_not_planned": "the primary metric is not the one that the phase was begun with",
    "not_yet_known": "neither a difference nor its absence is shown yet",
    "ship_when": "ship_when, a rule of the plan, holds",
    "rollback_when": "rollback_when, a rule of the plan, holds",
    "rules_not_met": "a difference is shown, but the plan's own rules ask for more",
}
LEFT_OUT = {
    "multiple_variants": "saw several variants",
    "immature": "metric window, or its day, still open",
    "without_event": "did nothing that the primary metric is about",
}
FOLDED = frozenset({"checks", "others", "secondary", "exploratory", "account", "unknown"})
"""What the page says again below, and more: the banner keeps these parts of the text for who asks."""
CONTAMINATED = "contaminated: of people who saw another variant under another id; not left out"
QUARANTINED = {
    "variant_mismatch": "named a variant the unit does not have",
    "not_enrolled": "unit not enrolled",
    "override": "QA override",
    "unknown_experiment": "unknown experiment",
    "unknown_revision": "unknown revision",
    "stale_revision": "revision replaced long ago",
    "not_running": "a draft, or dated before the launch",
    "experiment_stopped": "dated after the stop",
    "event_id_conflict": "its event_id was taken",
    "phase_mismatch": "another phase",
    "unit_mismatch": "unit is not the event's own",
    "invalid_event": "malformed",
    "too_old": "too old",
    "in_future": "in the future",
    "too_large": "too large",
    "bot": "a crawler",
    "other_person": "another person's",
    "revenue_not_allowed": "money with a client key",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One line of the funnel; `width` is its share of the largest, in per cent. An exclusion is `out`."""

    label: str
    n: int
    width: float
    out: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A few sentences that belong together, in pieces with whether each is code."""

    about: str
    sentences: Sequence[tuple[bool, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One metric of one variant."""

    metric: str
    role: str
    exploratory: bool
    variant: str
    share: str
    exposed: str
    n: str
    estimate: str
    difference: str
    unadjusted: str
    interval: str
    limit: str
    state: str
    word: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Earnings:
    """What treatments earn."""

    note: str
    projection: str
    rows: Sequence[words.Worth]
    included: Sequence[str]
    not_included: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The verdict page, top to bottom."""

    key: str
    decision: str
    word: str
    variant: str
    standing: Sequence[tuple[bool, str]]
    told: Sequence[Told]
    more: Sequence[Told]
    rule: str
    facts: Sequence[tuple[str, str]]
    events: Sequence[Step]
    units: Sequence[Step]
    findings: Findings
    freshness: Sequence[tuple[str, str]]
    worker: Sequence[tuple[bool, str]]
    charts: Sequence[tuple[str, Chart | None, Sequence[Mapping[str, str]]]]
    primary: str
    variants: Sequence[Row]
    metrics: Sequence[Row]
    differences: str
    stood: Stood | None
    money: Earnings | None
    read: bool
    record: Sequence[tuple[str, str]]
    warnings: Sequence[str]
    body: Mapping[str, Any]


def page(
    snapshot: VerdictSnapshot,
    history: Sequence[Moment],
    *,
    standing: str,
    trouble: str,
    ramp_bp: int | None = None,
) -> Page:
    """Return what the page of one snapshot says.

    `standing` tells why nobody gets a treatment now, `trouble` what is wrong with the worker; `ramp_bp` is
    the share of all units that a ramp enrols now, None without a ramp.
    """
    body = body_of(snapshot)
    rows = [_row(body, reading) for reading in body["metrics"]]
    record = body["record"]
    told = [Told(about=part.about, sentences=pieces(part.text)) for part in words.parts(body["text"])]
    primary = next(r["metric"] for r in body["metrics"] if r["role"] == "primary")
    return Page(
        key=body["experiment"],
        decision=body["decision"],
        word=WORDS.get(body["decision"], body["decision"]),
        variant=body["variant"] or "",
        standing=pieces(standing),
        told=[part for part in told if part.about not in FOLDED],
        more=[part for part in told if part.about in FOLDED],
        rule=RULES.get(body["rule"], f"check: {CHECKS.get(body['rule'], body['rule'])}"),
        facts=_facts(body),
        events=_events(body["exposure"]),
        units=_units(body["exposure"]),
        findings=findings_of(body["checks"]),
        freshness=[
            ("data up to", when(snapshot.as_of)),
            ("judged", when(snapshot.computed_at)),
            ("log offset", f"{snapshot.log_offset:,}"),
        ],
        worker=pieces(trouble),
        charts=[_chart(line, record) for line in body["series"]],
        primary=words.label(record, primary),
        variants=[row for row in rows if row.role == "primary"],
        metrics=[row for row in rows if row.role != "primary"],
        differences=words.day_by_day(body),
        stood=stood(history, body, decisions=WORDS),
        money=_earnings(body),
        read=body["decision"] != words.UNTRUSTWORTHY,
        record=_record(body, snapshot, ramp_bp),
        warnings=[code for code in body["warnings"] if code not in CHECKS],
        body=body,
    )


def worker_words(heartbeat: Heartbeat | None, now: datetime, *, revision: int) -> str:
    """Say what is wrong with the worker; empty when it is well. `revision` is the one that is served."""
    if heartbeat is None:
        return "No worker has run yet, so nothing is judged: start `opportune worker`."
    if heartbeat.age_s(now) > STALE_S:
        return f"The worker was last seen {heartbeat.age_s(now):,.0f} s ago: these numbers are growing old."
    kept = f". Revision {revision}, the last good one, is served until it is mended: see `opportune plan`."
    return " ".join(
        f"{duty}: {problem}{kept if duty == 'catalog' else ''}"
        for duty, problem in sorted(heartbeat.problems.items())
    )


def _earnings(body: Mapping[str, Any]) -> Earnings | None:
    rows = words.worths(body)
    if not rows:
        return None
    return Earnings(
        note=words.money_note(body),
        projection=words.projection(body),
        rows=rows,
        included=body["money"]["included"],
        not_included=body["money"]["not_included"],
    )


def _facts(body: Mapping[str, Any]) -> list[tuple[str, str]]:
    forecast = body["forecast"]
    analysed = sum(body["exposure"]["analysed"].values())
    facts = [("analysed units", f"{analysed:,}")]
    if body["decision"] == words.UNTRUSTWORTHY:
        return facts
    if forecast.get("needed_units"):
        power = f"{body['record']['power'] * 100:g} % power"
        facts.append((f"needed for {power}", f"{forecast['needed_units']:,}"))
    if forecast.get("planned_units"):
        facts.append(("interval tightest near", f"{forecast['planned_units']:,}"))
    if forecast.get("days_left") is not None:
        facts.append(("days until then, at this pace", f"{forecast['days_left']:,}"))
    kinds = (
        body["record"]["metrics"][r["metric"]]["kind"] for r in body["metrics"] if r["role"] == "primary"
    )
    if forecast.get("detectable_lift") is not None and not MetricKind(next(kinds)).in_points:
        facts.append(("lift known to within", f"± {words.share(forecast['detectable_lift'], signed=False)}"))
    return facts


def _events(account: Mapping[str, Any]) -> list[Step]:
    whole = account["events"]
    steps = [Step(label="exposure events received", n=whole, width=_width(whole, whole))]
    steps += [
        Step(label=f"quarantined: {QUARANTINED.get(r, r)}", n=n, width=_width(n, whole), out=True)
        for r, n in sorted(account["quarantined"].items())
    ]
    repeats, first = account["repeats"], account["first"]
    steps.append(
        Step(label="repeats of a unit already counted", n=repeats, width=_width(repeats, whole), out=True)
    )
    steps.append(Step(label="first exposures = units exposed", n=first, width=_width(first, whole)))
    return steps


def _units(account: Mapping[str, Any]) -> list[Step]:
    whole = sum(account["exposed_units"].values())
    analysed = sum(account["analysed"].values())
    steps = [Step(label="units exposed", n=whole, width=_width(whole, whole))]
    steps += [
        Step(label=f"left out: {LEFT_OUT.get(r, r)}", n=n, width=_width(n, whole), out=True)
        for r, n in sorted(account["excluded"].items())
    ]
    steps.append(Step(label="units analysed", n=analysed, width=_width(analysed, whole)))
    if n := account.get("contaminated_units", 0):
        steps.append(Step(label=CONTAMINATED, n=n, width=_width(n, whole), out=True))
    return steps


def _chart(
    line: Mapping[str, Any], record: Mapping[str, Any]
) -> tuple[str, Chart | None, Sequence[Mapping[str, str]]]:
    points = line["points"]
    label = words.label(record, line["metric"])
    title = f"Lift of {line['variant']} over control in {label}, after each closed day"
    numbers = [
        {
            "period": p["period"],
            "n": f"{p['n']:,}",
            "lift": words.share(p["estimate"]),
            "interval": words.interval(p),
        }
        for p in reversed(points)
    ]
    return line["variant"], draw(points, mde=record["mde"], title=title), numbers


def _row(body: Mapping[str, Any], reading: Mapping[str, Any]) -> Row:
    record, variant = body["record"], reading["variant"]
    weights = {v["variant"]: v["weight_bp"] for v in record["variants"]}
    exposed = body["exposure"]["exposed_units"].get(variant, 0)
    said, control = words.difference(record, reading), reading["state"] == "control"
    state = words.state(body, reading)
    return Row(
        metric=words.label(record, reading["metric"]),
        role=reading["role"],
        exploratory=reading.get("exploratory", False),
        variant=variant,
        share=f"{weights.get(variant, 0) / 100:g} %",
        exposed=f"{exposed:,}",
        n=f"{reading['n']:,}",
        estimate=words.estimate(record["metrics"][reading["metric"]], reading["estimate"]),
        difference="" if control else said.estimate,
        unadjusted="" if control else said.unadjusted,
        interval="" if control else said.interval,
        limit="" if control else words.limit(record, reading),
        state=state,
        word=words.STATES.get(state, state),
    )


def _record(body: Mapping[str, Any], snapshot: VerdictSnapshot, ramp_bp: int | None) -> list[tuple[str, str]]:
    record = body["record"]
    enrolled = f"{record['allocation_bp'] / 100:g} % of all units"
    if ramp_bp is not None and ramp_bp < record["allocation_bp"]:
        enrolled += f" at the end of its ramp, which is at {ramp_bp / 100:g} % now"
    shares = ", ".join(f"{v['variant']} {v['weight_bp'] / 100:g} %" for v in record["variants"])
    runtime = timedelta(seconds=record["min_runtime_s"]) / timedelta(days=1)
    plan = (
        f"alpha {record['alpha']:g}, power {record['power']:g}, smallest effect of interest "
        f"{record['mde'] * 100:g} % relative, baseline {record['baseline'] * 100:g} %, "
        f"at least {runtime:g} days"
    )
    digests = [
        (f"{name} digest", body["digests"][name])
        for name in ("catalog", "config", "exposures", "moments")
        if name in body["digests"]
    ]
    return [
        ("hypothesis", record["statement"] or "not written down"),
        ("owner", record["owner"] or "nobody named"),
        ("status", record["status"]),
        ("unit", record["unit"]),
        ("variants", f"{shares}; {enrolled}"),
        ("plan", plan),
        *_rules(record),
        ("metrics", "; ".join(_metric_words(key, m) for key, m in record["metrics"].items())),
        ("phase", str(body["phase"])),
        ("catalog revision", str(body["revision"])),
        ("verdict", f"{snapshot.id}, final" if snapshot.final else snapshot.id),
        *([("made by version", version)] if (version := version_of(snapshot)) else []),
        *digests,
        ("verdict digest", snapshot.digest),
    ]


def _rules(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the rules of the plan; a verdict of an older release does not name them."""
    names = {"ship_when": "ship when", "rollback_when": "roll back when"}
    return [(words, in_one_line(record[name])) for name, words in names.items() if name in record]


def _metric_words(key: str, metric: Mapping[str, Any]) -> str:
    what = f"{metric['kind'].replace('_', ' ')} of {metric['event']}"
    if metric["value"]:
        what += f", {metric.get('aggregate', '')} {metric['value']}".replace("  ", " ")
    if metric["cap"] is not None:
        what += f" capped at {metric['cap']:g}"
    what += "".join(words.format(metric[name]) for name, words in _PARTS.items() if name in metric)
    if "lookback_s" in metric:
        what += f", adjusted for the {metric['lookback_s'] / DAY_S:g} d before"
    filters = ("where", metric["where"]), ("below where", metric.get("per_where"))
    what += "".join(f", {word} {condition_words(parse_filter(told))}" for word, told in filters if told)
    after = f"{metric['after_s'] / DAY_S:g} to " if "after_s" in metric else ""
    owner = f", of {metric['owner']}" if "owner" in metric else ""
    return (
        f"{key}: {what}, within {after}{metric['window_s'] / DAY_S:g} d, better {metric['direction']}{owner}"
    )


_PARTS = {
    "per": " per {}",
    "per_value": ", {}",
    "then": ", then {}",
    "quantile": ", {:.4g} quantile",
    "factor": " times {:g}",
    "minus": " less {}",
    "unit": " in {}",
}


def _width(n: int, whole: int) -> float:
    return round(100 * n / whole, 2) if whole else 0.0
