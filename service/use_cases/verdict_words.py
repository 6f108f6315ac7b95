"""A verdict's numbers and sentences as people read them: on pages, in Markdown, on a terminal."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.definitions import MetricKind
from experiments.wording.amounts import MEDIAN
from experiments.wording.en import ENGLISH

NONE = "n/a"
POINTS = " points"
UNTRUSTWORTHY = "untrustworthy"
NOT_READ = "not_read"
"""The state of everything but control where a check has raised an alarm: nothing is read from such data."""
DAY_BY_DAY = frozenset({"conversion", "count"})
DAY_BY_DAY_NOTE = (
    "Of conversions and counts, each day is compared with itself: "
    "the difference is not that of the two totals."
)
"""What is told of differences by the tests named in `DAY_BY_DAY`."""
STATES = {
    "control": "control",
    "burn_in": "too few data",
    "not_yet_known": "not yet known",
    "better": "better",
    "worse": "worse",
    "no_effect": "no effect",
    "safe": "within its limit",
    NOT_READ: "not read",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A treatment against control: as a lift, or in the metric's unit. `unadjusted` is empty without it."""

    estimate: str
    interval: str
    unadjusted: str


def share(value: float | None, *, signed: bool = True) -> str:
    """Return a fraction as per cent for people."""
    if value is None:
        return NONE
    return ENGLISH.signed(ENGLISH.share(abs(value)), value) if signed else ENGLISH.rate(value)


def interval(bounds: Mapping[str, Any] | None, write: Callable[[float], str] = share) -> str:
    """Return an interval in words, of fractions unless `write` says otherwise; an open end is said to be."""
    low, high = (bounds or {}).get("lower"), (bounds or {}).get("upper")
    if low is None:
        return NONE if high is None else f"up to {write(high)}"
    if high is None:
        return f"from {write(low)}"
    return f"{write(low).removesuffix(POINTS)} to {write(high)}"


def estimate(metric: Mapping[str, Any], value: float | None) -> str:
    """Return what was seen with one variant: a share, money, or a plain number."""
    if value is None:
        return NONE
    if MetricKind(metric["kind"]).is_share:
        return share(value, signed=False)
    return ENGLISH.money(value, metric["currency"]) if metric["currency"] else ENGLISH.plain(value)


def difference(record: Mapping[str, Any], reading: Mapping[str, Any]) -> Difference:
    """Return how a treatment differs, in the terms in which it is judged."""
    metric = record["metrics"][reading["metric"]]
    absolute = in_unit(metric, reading)

    def write(value: float) -> str:
        return _signed_size(metric, value) if absolute else share(value)

    kind = "effect" if absolute else "lift"
    shown, adjusted = reading.get(kind) or {}, reading.get("adjusted") or {}
    found = shown.get("estimate")
    plain = (adjusted.get(f"unadjusted_{kind}") or {}).get("estimate")
    return Difference(
        estimate=NONE if found is None else write(found),
        interval=NONE if not absolute and _rules_nothing_out(reading) else interval(shown, write),
        unadjusted="" if plain is None else write(plain),
    )


def _rules_nothing_out(reading: Mapping[str, Any]) -> bool:
    """Return whether a lift is only known not to be below -100 %, which no share or count can be."""
    lift = reading.get("lift") or {}
    return reading.get("test") in DAY_BY_DAY and lift.get("lower") == -1 and lift.get("upper") is None


def in_unit(metric: Mapping[str, Any], reading: Mapping[str, Any]) -> bool:
    """Return whether a difference is told in the metric's unit: its limit is, or a lift says nothing."""
    margin, lift, effect = (reading.get(name) or {} for name in ("margin", "lift", "effect"))
    if margin:
        return not margin["relative"]
    no_lift = lift.get("estimate") is None and effect.get("estimate") is not None
    return no_lift or MetricKind(metric["kind"]).in_points


def day_by_day(body: Mapping[str, Any]) -> str:
    """Return what is to be known of differences that are not those of the shown values; empty for none."""
    return DAY_BY_DAY_NOTE if any(row.get("test") in DAY_BY_DAY for row in body["metrics"]) else ""


def limit(record: Mapping[str, Any], reading: Mapping[str, Any]) -> str:
    """Return how much worse a guardrail may get, in words; empty for what is none."""
    signed, margin = signed_limit(record, reading), reading.get("margin")
    if signed is None or not margin:
        return ""
    if margin["relative"]:
        return ENGLISH.signed(ENGLISH.short_share(abs(signed)), signed)
    return _signed_size(record["metrics"][reading["metric"]], signed)


def signed_limit(record: Mapping[str, Any], reading: Mapping[str, Any]) -> float | None:
    """Return how much worse a guardrail may get, with the sign of what is worse."""
    margin = reading.get("margin")
    if not margin:
        return None
    down = record["metrics"][reading["metric"]]["direction"] == "down"
    return float(margin["value"] if down else -margin["value"])


def level(reading: Mapping[str, Any]) -> str:
    """Return in how many experiments an interval holds at every look."""
    return ENGLISH.short_share(1 - reading["level"]) if reading.get("level") else ""


def label(record: Mapping[str, Any], metric: str) -> str:
    """Return what people call a metric."""
    told = record["metrics"][metric]
    name = str(told["label"] or metric)
    if "quantile" not in told:
        return name
    if told["quantile"] == MEDIAN:
        return ENGLISH.say("median", metric=name)
    return ENGLISH.say("quantile", metric=name, share=ENGLISH.short_share(told["quantile"]))


def state(body: Mapping[str, Any], reading: Mapping[str, Any]) -> str:
    """Return the state of a metric as it may be told: none is read from data that cannot be trusted."""
    untold = body["decision"] == UNTRUSTWORTHY and reading["state"] != "control"
    return NOT_READ if untold else str(reading["state"])


def accounting(account: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Return the lines of the exposure account in the order in which they add up.

    A verdict of an older release does not know the last one.
    """
    lines = [("exposure events", account["events"]), ("repeats of a unit", account["repeats"])]
    lines += [(f"quarantined: {reason}", n) for reason, n in sorted(account["quarantined"].items())]
    lines += [("units exposed", sum(account["exposed_units"].values()))]
    lines += [(f"left out: {reason}", n) for reason, n in sorted(account["excluded"].items())]
    lines += [("units analysed", sum(account["analysed"].values()))]
    if "contaminated_units" in account:
        lines.append(("contaminated, not left out", account["contaminated_units"]))
    return lines


def _signed_size(metric: Mapping[str, Any], value: float) -> str:
    """Return a difference in the metric's unit; shares differ by percentage points, not by per cent."""
    if MetricKind(metric["kind"]).is_share:
        return ENGLISH.signed(f"{ENGLISH.points(abs(value))}{POINTS}", value)
    unit = POINTS if MetricKind(metric["kind"]).in_points else ""
    return ENGLISH.signed(estimate(metric, abs(value)) + unit, value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Worth:
    """What one treatment earns, in words; empty where nothing is known."""

    variant: str
    cost: str
    per_unit: str
    interval: str
    units: str
    so_far: str
    projected: str


def worths(body: Mapping[str, Any]) -> list[Worth]:
    """Return what each treatment earns; none where no metric is money, and of an older release."""
    money = body.get("money")
    if not money:
        return []

    def write(value: float) -> str:
        return ENGLISH.signed(ENGLISH.money(abs(value), money["currency"]), value)

    def sum_of(amount: Mapping[str, Any] | None) -> str:
        if not amount or amount["estimate"] is None:
            return NONE
        return f"{write(amount['estimate'])} ({interval(amount, write)})"

    return [
        Worth(
            variant=one["variant"],
            cost=write(one["extra_cost"]) if money["declared"] else NONE,
            per_unit=NONE if one["per_unit"]["estimate"] is None else write(one["per_unit"]["estimate"]),
            interval=interval(one["per_unit"], write),
            units=f"{one['units']:,}",
            so_far=sum_of(one["so_far"]),
            projected=sum_of(one["projected"]),
        )
        for one in money["variants"]
    ]


def money_note(body: Mapping[str, Any]) -> str:
    """Return by what the money is counted, and whether what it costs is known."""
    money = body["money"]
    name = label(body["record"], money["metric"])
    declared = "after declared costs" if money["declared"] else "no margin and no costs were declared"
    return f"counted by {name}, {declared}"


def projection(body: Mapping[str, Any]) -> str:
    """Return what the projected amounts are about."""
    pace = body["money"]["pace"]
    units = "" if pace["units"] is None else f" ({pace['units']:,} units)"
    return f"{pace['days']} days at full traffic{units}"


# --- the paragraph ----------------------------------------------------------------------------------

_BEGINS = {
    "why": r"Why: ",
    "checks": r"All [\d,]+ checks passed\.|The one check passed\.|[\d,]+ of [\d,]+ checks? passed, ",
    "changed": r"Changed while running: ",
    "guardrails": r"Guardrails: ",
    "primary": r"After [\d,]+ days? and ",
    "others": r"Other treatments: ",
    "secondary": r"Secondary metrics?, ",
    "exploratory": r"Exploratory, added after the launch, ",
    "money": r"Money, by ",
    "next": (
        r"If the true lift is |Units enough for a chance of |To try again: |The primary metric is decided"
    ),
    "account": r"Of [\d,]+ exposed units?, ",
    "unknown": r"Not known: ",
    "final": r"This verdict is final: ",
}
"""How each part of a verdict's text begins; `experiments.wording` says them in this order."""
_FIRST = re.compile(r"(?<=\.) (?=[A-Z0-9])")


@dataclass(frozen=True, slots=True)
class Part:
    """Some sentences that belong together; `about` is a key of `_BEGINS`, or headline, or alarms."""

    about: str
    text: str


def parts(text: str) -> Sequence[Part]:
    """Return a verdict's text in parts; joined by spaces they are the text.

    A sentence that begins in a way not known here stays with the one before it: nothing is ever lost.
    """
    cuts, after = [("headline", 0)], 0
    for about, begins in _BEGINS.items():
        if begun := re.compile(rf"(?<=\. )(?:{begins})").search(text, after):
            cuts.append((about, begun.start()))
            after = begun.end()
    ends = [start for _about, start in cuts[1:]] + [len(text)]
    found = [Part(about, text[start:end].strip()) for (about, start), end in zip(cuts, ends, strict=True)]
    return [*_told_apart(found[0].text), *found[1:]]


def headline(text: str) -> str:
    """Return what to do, and why where that is said."""
    return " ".join(part.text for part in parts(text) if part.about in ("headline", "why"))


def _told_apart(text: str) -> Sequence[Part]:
    """Part the alarms of data that cannot be trusted, which follow the headline without a word, from it."""
    first, *more = _FIRST.split(text, maxsplit=1)
    if not more or not first.startswith("Do not act "):
        return [Part("headline", text)]
    return [Part("headline", first), Part("alarms", more[0])]
