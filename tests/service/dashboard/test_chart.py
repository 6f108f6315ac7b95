from datetime import date, timedelta
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from service.dashboard.chart import HEIGHT, WIDTH, draw, percent
from service.dashboard.sentences import pieces
from service.use_cases.verdict_exports import _cell
from service.use_cases.verdict_words import interval

lifts = st.one_of(st.none(), st.floats(-0.99, 50))


def point(day: int, estimate: float | None, lower: float | None = None, upper: float | None = None) -> Any:
    return {"period": f"2026-03-{day:02}", "n": 10, "estimate": estimate, "lower": lower, "upper": upper}


@given(values=st.lists(st.tuples(lifts, lifts, lifts), max_size=28), mde=st.floats(0.001, 2))
def test_everything_is_drawn_inside_the_picture(
    values: list[tuple[float | None, float | None, float | None]], mde: float
) -> None:
    chart = draw([point(i + 1, *v) for i, v in enumerate(values)], mde=mde, title="t")

    if chart is None:
        assert all(v[0] is None for v in values)
        return
    for dot in chart.dots:
        assert chart.left <= dot.x <= chart.right
        assert all(0 <= y <= HEIGHT for y in (dot.y, dot.low, dot.high) if y is not None)
    assert all(0 <= tick.at <= WIDTH for tick in chart.x_ticks)
    assert all(chart.top <= tick.at <= chart.bottom for tick in (*chart.y_ticks, *chart.mde))


def test_up_is_better_and_time_goes_right() -> None:
    chart = draw([point(1, 0.1, 0.0, 0.2), point(2, 0.2, 0.1, 0.3)], mde=0.1, title="t")

    assert chart is not None
    first, last = chart.dots
    assert last.x > first.x
    assert last.y < first.y < chart.zero
    assert len(chart.bands) == 1


def test_an_end_without_bound_reaches_the_edge() -> None:
    chart = draw([point(1, 0.1, 0.0, None)], mde=0.1, title="t")

    assert chart is not None
    assert chart.dots[0].high == chart.top


def test_before_the_burn_in_there_is_a_dot_and_no_interval() -> None:
    chart = draw([point(1, 0.1)], mde=0.1, title="t")

    assert chart is not None
    assert (chart.dots[0].low, chart.bands, chart.line) == (None, (), "")


def test_words_say_which_end_is_open() -> None:
    assert interval({"lower": -0.1, "upper": None}) == "from -10.0 %"
    assert interval({"lower": None, "upper": 0.25}) == "up to +25.0 %"
    assert interval(None) == "n/a"


def test_names_in_back_quotes_become_code() -> None:
    assert pieces("Ship `banner` now") == [(False, "Ship "), (True, "banner"), (False, " now")]


def test_a_spreadsheet_does_not_run_a_cell() -> None:
    assert _cell("=cmd()") == "'=cmd()"


def test_ticks_are_plain_numbers_and_equally_far_apart() -> None:
    days = [date(2026, 1, 1) + timedelta(days=n) for n in (*range(20), 37, 58)]
    points = [{**point(1, 9.0, -0.5, 19.0), "period": day.isoformat()} for day in days]

    chart = draw(points, mde=0.1, title="t")

    assert chart is not None
    gaps = {round(b.at - a.at) for a, b in pairwise(chart.x_ticks)}
    assert [tick.label for tick in chart.x_ticks] == ["1 Jan", "15 Jan", "29 Jan", "12 Feb", "26 Feb"]
    assert len(gaps) == 1
    assert {tick.label for tick in chart.y_ticks} >= {"0 %", "+1,000 %"}
    assert [percent(value) for value in (0.0125, -0.2, 0.00001, 12.345)] == [
        "+1.25 %",
        "-20 %",
        "0 %",
        "+1,234 %",
    ]
