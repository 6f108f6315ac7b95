"""Geometry of the chart of a confidence sequence: numbers in, coordinates out; the template draws."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from typing import Any

WIDTH, HEIGHT = 960, 420
LEFT, RIGHT, TOP, BOTTOM = 92, 40, 18, 44
ROOM = 0.12
MAX_X_TICKS = 6
WEEK = 7
WANTED_Y_TICKS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A place on an axis with its words."""

    at: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """One closed period; `low` and `high` are None before the burn-in."""

    x: float
    y: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Everything the template needs, in the coordinates of a WIDTH x HEIGHT view box."""

    title: str
    bands: tuple[str, ...]
    line: str
    dots: tuple[Dot, ...]
    zero: float
    mde: tuple[Tick, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    marks: tuple[Tick, ...] = ()
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def draw(
    points: Sequence[Mapping[str, Any]],
    *,
    mde: float,
    title: str,
    marks: Sequence[tuple[float, str]] = (),
) -> Chart | None:
    """Place the lift after each closed period, its band, zero and the smallest effect of interest.

    None when no period has an estimate. An end without bound is drawn to the edge. `marks` are moments,
    in days by their ordinals, with a word; one outside of the chart is at its edge.
    """
    known = [p for p in points if p["estimate"] is not None]
    if not known:
        return None
    bottom, top = _range(known, mde)
    days = [date.fromisoformat(p["period"]).toordinal() for p in known]
    span = max(1, days[-1] - days[0])

    def x(day: float) -> float:
        if len(known) == 1:
            return _round((LEFT + WIDTH - RIGHT) / 2)
        inside = max(days[0], min(days[-1], day))
        return _round(LEFT + (WIDTH - RIGHT - LEFT) * (inside - days[0]) / span)

    def y(value: float) -> float:
        inside = max(bottom, min(top, value))
        return _round(TOP + (HEIGHT - BOTTOM - TOP) * (top - inside) / (top - bottom))

    dots = tuple(_dot(p, x(day), y) for p, day in zip(known, days, strict=True))
    return Chart(
        title=title,
        bands=_bands(dots),
        line=" ".join(f"{d.x},{d.y}" for d in dots if d.low is not None),
        dots=dots,
        zero=y(0.0),
        mde=tuple(Tick(at=y(edge), label=percent(edge)) for edge in (mde, -mde)),
        x_ticks=tuple(Tick(at=x(day), label=_day(day)) for day in _spread(days)),
        y_ticks=tuple(Tick(at=y(v), label=percent(v)) for v in _nice(bottom, top)),
        marks=tuple(Tick(at=x(day), label=label) for day, label in marks),
    )


def percent(value: float) -> str:
    """Return a fraction as a short signed percentage, large ones in whole per cent."""
    if abs(value) < 5e-5:  # noqa: PLR2004 - shown as 0
        return "0 %"
    return f"{value * 100:+,.0f} %" if abs(value) >= 1 else f"{value * 100:+.3g} %"


def _dot(point: Mapping[str, Any], at: float, y: Callable[[float], float]) -> Dot:
    low, high = point["lower"], point["upper"]
    if low is None and high is None:
        return Dot(x=at, y=y(point["estimate"]), low=None, high=None)
    low, high = (-math.inf if low is None else low), (math.inf if high is None else high)
    return Dot(x=at, y=y(point["estimate"]), low=y(low), high=y(high))


def _range(points: Sequence[Mapping[str, Any]], mde: float) -> tuple[float, float]:
    """Return the lifts between which is drawn: what was said lately fits, the wide first days are cut."""
    bounded = [p for p in points if p["lower"] is not None or p["upper"] is not None]
    late = bounded[len(bounded) // 2 :] or points[-1:]
    values = [p[end] for p in late for end in ("lower", "upper", "estimate") if p[end] is not None]
    low, high = min(-mde, *values), max(mde, *values)
    return low - ROOM * (high - low), high + ROOM * (high - low)


def _bands(dots: Sequence[Dot]) -> tuple[str, ...]:
    runs = (list(run) for bounded, run in groupby(dots, key=lambda d: d.low is not None) if bounded)
    return tuple(
        " ".join([*(f"{d.x},{d.high}" for d in run), *(f"{d.x},{d.low}" for d in reversed(run))])
        for run in runs
        if len(run) > 1
    )


def _spread(days: Sequence[int]) -> list[int]:
    """Return days equally far apart, the first among them; from a week on, whole weeks."""
    step = max(1, math.ceil((days[-1] - days[0]) / (MAX_X_TICKS - 1)))
    if step >= WEEK:
        step = WEEK * math.ceil(step / WEEK)
    return list(range(days[0], days[-1] + 1, step))


def _nice(bottom: float, top: float) -> list[float]:
    raw = (top - bottom) / WANTED_Y_TICKS
    power: float = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= raw)
    return [i * step for i in range(math.ceil(bottom / step), math.floor(top / step) + 1)]


def _day(ordinal: int) -> str:
    day = date.fromordinal(ordinal)
    return f"{day.day} {day:%b}"


def _round(value: float) -> float:
    return round(value, 2)
