"""How a verdict stood: the lift that each day's last snapshot said, and when the decision changed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from service.dashboard.chart import Chart, draw
from service.use_cases import verdict_words as words
from service.use_cases.verdict_history import Moment
from service.use_cases.verdicts import when

DAY_S = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One line of the table; `mark` is its number in the chart where the decision changed, else empty."""

    mark: str
    id: str
    as_of: str
    decision: str
    variant: str
    lift: str
    interval: str
    final: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Stood:
    """The history of a phase, for one treatment."""

    variant: str
    chart: Chart | None
    turns: Sequence[Turn]


def stood(
    moments: Sequence[Moment], body: Mapping[str, Any], *, decisions: Mapping[str, str]
) -> Stood | None:
    """Return how the treatment that a verdict is about stood, None where there is one snapshot only.

    `decisions` are the words for decisions.
    """
    if len(moments) < 2:  # noqa: PLR2004 - a history begins with two
        return None
    variant = body["forecast"]["variant"]
    marks = {after.row.id: str(i) for i, after in enumerate(_changes(moments), start=1)}
    label = words.label(body["record"], body["series"][0]["metric"])
    chart = draw(
        _last_of_days(moments, variant),
        mde=body["record"]["mde"],
        title=f"Lift of {variant} over control in {label}, as the last verdict of each day said it",
        marks=[(_ordinal(m.row.as_of), marks[m.row.id]) for m in moments if m.row.id in marks],
    )
    turns = [_turn(one, variant, mark=marks.get(one.row.id, ""), decisions=decisions) for one in moments]
    return Stood(variant=variant, chart=chart, turns=turns[::-1])


def _changes(moments: Sequence[Moment]) -> Iterator[Moment]:
    for before, after in pairwise(moments):
        if (before.row.decision, before.variant) != (after.row.decision, after.variant):
            yield after


def _last_of_days(moments: Sequence[Moment], variant: str) -> list[dict[str, Any]]:
    last = {one.row.as_of.astimezone(UTC).date(): one.of(variant) for one in moments}
    return [{"period": day.isoformat(), **one.lift} for day, one in sorted(last.items()) if one is not None]


def _ordinal(moment: datetime) -> float:
    utc = moment.astimezone(UTC)
    midnight = utc.replace(hour=0, minute=0, second=0, microsecond=0)
    return utc.toordinal() + (utc - midnight).total_seconds() / DAY_S


def _turn(moment: Moment, variant: str, *, mark: str, decisions: Mapping[str, str]) -> Turn:
    said = moment.of(variant)
    return Turn(
        mark=mark,
        id=moment.row.id,
        as_of=when(moment.row.as_of),
        decision=decisions.get(moment.row.decision, moment.row.decision),
        variant=moment.variant,
        lift=words.share(said.estimate) if said else words.NONE,
        interval=words.interval(said.lift) if said else words.NONE,
        final=moment.row.final,
    )
