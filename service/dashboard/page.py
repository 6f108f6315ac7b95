"""From the verdict JSON to what the page says: words and sizes, no markup."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from service.dashboard.chart import Chart, draw
from service.storage.records import VerdictSnapshot
from service.use_cases.heartbeat import Heartbeat
from service.use_cases.verdicts import body_of, interval, share, when

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
    "not_yet_known": "neither a difference nor its absence is shown yet",
}
STATES = {
    "control": "control",
    "burn_in": "too few data",
    "not_yet_known": "not yet known",
    "better": "better",
    "worse": "worse",
    "no_effect": "no effect",
    "safe": "within its limit",
    "ok": "ok",
    "warning": "look at this",
    "alarm": "alarm",
}
CHECKS = {
    "srm": "Split between variants",
    "accounting": "Accounts add up",
    "multiple_variants": "Several variants",
    "contaminated_units": "One person, several ids",
    "quarantine": "Quarantine",
}
LEFT_OUT = {
    "multiple_variants": "saw several variants",
    "immature": "metric window, or its day, still open",
}
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
class Check:
    """One finding in words."""

    name: str
    state: str
    word: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One metric of one variant."""

    metric: str
    role: str
    variant: str
    share: str
    exposed: str
    n: str
    mean: str
    lift: str
    interval: str
    limit: str
    state: str
    word: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The verdict page, top to bottom."""

    key: str
    decision: str
    word: str
    variant: str
    standing: Sequence[tuple[bool, str]]
    sentence: Sequence[tuple[bool, str]]
    rule: str
    facts: Sequence[tuple[str, str]]
    events: Sequence[Step]
    units: Sequence[Step]
    checks: Sequence[Check]
    freshness: Sequence[tuple[str, str]]
    worker: Sequence[tuple[bool, str]]
    charts: Sequence[tuple[str, Chart | None, Sequence[Mapping[str, str]]]]
    primary: str
    variants: Sequence[Row]
    metrics: Sequence[Row]
    record: Sequence[tuple[str, str]]
    warnings: Sequence[str]
    body: Mapping[str, Any]


def page(snapshot: VerdictSnapshot, *, standing: str, heartbeat: Heartbeat | None, now: datetime) -> Page:
    """Return what the page of one snapshot says; `standing` tells why nobody gets a treatment now."""
    body = body_of(snapshot)
    rows = [_row(body, reading) for reading in body["metrics"]]
    record = body["record"]
    primary = next(r["metric"] for r in body["metrics"] if r["role"] == "primary")
    return Page(
        key=body["experiment"],
        decision=body["decision"],
        word=WORDS.get(body["decision"], body["decision"]),
        variant=body["variant"] or "",
        standing=pieces(standing),
        sentence=pieces(body["text"]),
        rule=RULES.get(body["rule"], f"check {body['rule']}"),
        facts=_facts(body),
        events=_events(body["exposure"]),
        units=_units(body["exposure"]),
        checks=[_check(found) for found in body["checks"]],
        freshness=[
            ("data up to", when(snapshot.as_of)),
            ("judged", when(snapshot.computed_at)),
            ("log offset", f"{snapshot.log_offset:,}"),
        ],
        worker=pieces(worker_words(heartbeat, now)),
        charts=[_chart(line, record) for line in body["series"]],
        primary=_label(record, primary),
        variants=[row for row in rows if row.role == "primary"],
        metrics=[row for row in rows if row.role != "primary"],
        record=_record(body, snapshot),
        warnings=body["warnings"],
        body=body,
    )


def pieces(text: str) -> list[tuple[bool, str]]:
    """Return a sentence in pieces, each with whether it is code: names stand in back-quotes."""
    return [(bool(i % 2), part) for i, part in enumerate(text.split("`")) if part]


def worker_words(heartbeat: Heartbeat | None, now: datetime) -> str:
    """Say what is wrong with the worker; empty when it is well."""
    if heartbeat is None:
        return "No worker has run yet, so nothing is judged: start `opportune worker`."
    if heartbeat.age_s(now) > STALE_S:
        return f"The worker was last seen {heartbeat.age_s(now):,.0f} s ago: these numbers are growing old."
    return " ".join(f"{duty}: {problem}" for duty, problem in sorted(heartbeat.problems.items()))


def _facts(body: Mapping[str, Any]) -> list[tuple[str, str]]:
    forecast = body["forecast"]
    analysed = sum(body["exposure"]["analysed"].values())
    facts = [("analysed units", f"{analysed:,}")]
    if forecast.get("needed_units"):
        power = f"{body['record']['power'] * 100:g} % power"
        facts.append((f"needed for {power}", f"{forecast['needed_units']:,}"))
    if forecast.get("planned_units"):
        facts.append(("boundary tuned to", f"{forecast['planned_units']:,}"))
    if forecast.get("days_left") is not None:
        facts.append(("days until then, at this pace", f"{forecast['days_left']:,}"))
    if forecast.get("detectable_lift") is not None:
        facts.append(("half of the interval", share(forecast["detectable_lift"], signed=False)))
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


def _check(found: Mapping[str, Any]) -> Check:
    return Check(
        name=CHECKS.get(found["check"], found["check"]),
        state=found["state"],
        word=STATES.get(found["state"], found["state"]),
        detail=found["detail"],
    )


def _chart(
    line: Mapping[str, Any], record: Mapping[str, Any]
) -> tuple[str, Chart | None, Sequence[Mapping[str, str]]]:
    points = line["points"]
    title = (
        f"Lift of {line['variant']} over control in {_label(record, line['metric'])}, after each closed day"
    )
    numbers = [
        {
            "period": p["period"],
            "n": f"{p['n']:,}",
            "lift": share(p["estimate"]),
            "interval": interval(p),
        }
        for p in reversed(points)
    ]
    return line["variant"], draw(points, mde=record["mde"], title=title), numbers


def _row(body: Mapping[str, Any], reading: Mapping[str, Any]) -> Row:
    record, variant = body["record"], reading["variant"]
    weights = {v["variant"]: v["weight_bp"] for v in record["variants"]}
    exposed = body["exposure"]["exposed_units"].get(variant, 0)
    lift = reading.get("lift") or {}
    control = reading["state"] == "control"
    return Row(
        metric=_label(record, reading["metric"]),
        role=reading["role"],
        variant=variant,
        share=f"{weights.get(variant, 0) / 100:g} %",
        exposed=f"{exposed:,}",
        n=f"{reading['n']:,}",
        mean=_mean(record["metrics"][reading["metric"]], reading["estimate"]),
        lift="" if control else share(lift.get("estimate")),
        interval="" if control else interval(lift),
        limit=_limit(record, reading),
        state=reading["state"],
        word=STATES.get(reading["state"], reading["state"]),
    )


def _limit(record: Mapping[str, Any], reading: Mapping[str, Any]) -> str:
    margin = reading.get("margin")
    if not margin:
        return ""
    sign = "+" if record["metrics"][reading["metric"]]["direction"] == "down" else "-"
    if margin["relative"]:
        return f"{sign}{margin['value'] * 100:g} % relative"
    return f"{sign}{_mean(record['metrics'][reading['metric']], margin['value'])}"


def _mean(metric: Mapping[str, Any], value: float | None) -> str:
    if value is None:
        return share(None)
    if metric["kind"] == "conversion":
        return share(value, signed=False)
    return f"{value:,.2f} {metric['currency']}" if metric["currency"] else f"{value:,.4g}"


def _label(record: Mapping[str, Any], metric: str) -> str:
    return str(record["metrics"][metric]["label"] or metric)


def _record(body: Mapping[str, Any], snapshot: VerdictSnapshot) -> list[tuple[str, str]]:
    record = body["record"]
    shares = ", ".join(f"{v['variant']} {v['weight_bp'] / 100:g} %" for v in record["variants"])
    runtime = timedelta(seconds=record["min_runtime_s"]) / timedelta(days=1)
    plan = (
        f"alpha {record['alpha']:g}, power {record['power']:g}, smallest effect of interest "
        f"{record['mde'] * 100:g} % relative, baseline {record['baseline'] * 100:g} %, "
        f"at least {runtime:g} days"
    )
    return [
        ("hypothesis", record["statement"] or "not written down"),
        ("owner", record["owner"] or "nobody named"),
        ("status", record["status"]),
        ("unit", record["unit"]),
        ("variants", f"{shares}; {record['allocation_bp'] / 100:g} % of all units"),
        ("plan", plan),
        ("metrics", "; ".join(_metric_words(key, m) for key, m in record["metrics"].items())),
        ("phase", str(body["phase"])),
        ("catalog revision", str(body["revision"])),
        ("catalog digest", body["digests"]["catalog"]),
        ("exposures digest", body["digests"]["exposures"]),
        ("moments digest", body["digests"]["moments"]),
        ("verdict digest", snapshot.digest),
    ]


def _metric_words(key: str, metric: Mapping[str, Any]) -> str:
    what = f"{metric['kind']} of {metric['event']}"
    if metric["value"]:
        what += f", {metric['value']}"
    if metric["cap"] is not None:
        what += f" capped at {metric['cap']:g}"
    return f"{key}: {what}, within {metric['window_s'] / DAY_S:g} d, better {metric['direction']}"


def _width(n: int, whole: int) -> float:
    return round(100 * n / whole, 2) if whole else 0.0
