"""The checks that read moments and arrivals: what is missing, and what single units or days could do."""

from dataclasses import replace
from datetime import date, timedelta

import pytest

from experiments.checks import missing_days, missing_events, outliers, silent_variant, weekdays
from experiments.checks.finding import CheckState
from experiments.definitions import Direction, Metric, MetricKind, MetricPlan
from experiments.evidence import Arrivals, Evidence, ExposureAccount, PeriodMoments
from experiments.lifecycle import Schedule, Status
from experiments.moments import NOTHING, SCALE, Moments
from tests.experiments.builders import (
    GUARDED,
    METRICS,
    START,
    arriving,
    conversions,
    evidence,
    experiment,
    metric,
    variants,
)

E = experiment()
FIRST = date(2027, 1, 5)
REVENUE = metric(kind=MetricKind.MEAN, value="revenue")
STARS = metric(kind=MetricKind.NPS, value="score")


def by_day(series: dict[tuple[str, str], list[Moments]], *, n_arrived: int = 0) -> Evidence:
    """Return evidence with the moments of each metric and variant, day by day from FIRST on."""
    rows = [
        PeriodMoments(key, variant, FIRST + timedelta(days=i), m)
        for (key, variant), days in series.items()
        for i, m in enumerate(days)
    ]
    return Evidence(
        periods=tuple(rows),
        arrivals=(Arrivals(FIRST, "a", n_arrived),),
        account=ExposureAccount(),
        as_of=START + timedelta(days=30),
        first_exposure_at=START,
    )


def orders(n: int, ordered: int, worth: int = SCALE) -> Moments:
    return Moments(n, ordered * worth, ordered * worth * worth)


def answers(n: int, answered: int) -> Moments:
    """Return the moments of a survey in which half of those who answer say yes."""
    yes, unit = answered // 2, SCALE * SCALE
    return Moments(n, yes * SCALE, yes * unit, (answered * SCALE,), (yes * unit, answered * unit))


def seconds(n: int) -> Moments:
    return Moments(n, n * SCALE, n * SCALE * SCALE, bins=((500, n),) if n else ())


# --- days without arrivals ---


def test_days_without_arrivals_are_named() -> None:
    seen = arriving([("", [(20, 20), (0, 0), (20, 20), (20, 20), (0, 0), (0, 0)])], days=7)

    finding = missing_days.check(E, METRICS, seen)

    assert finding.state is CheckState.WARNING
    assert "on 3 days (2027-01-06, 2027-01-09, 2027-01-10); on other days 40 do" in finding.detail
    assert "paused" in finding.advice


@pytest.mark.parametrize(
    "ended",
    [
        {"status": Status.STOPPED},
        {"schedule": Schedule(end_at=START + timedelta(days=5))},
    ],
)
def test_nothing_is_expected_after_the_end(ended: dict[str, object]) -> None:
    seen = arriving([("", [(50, 50)] * 3)], days=20)

    assert missing_days.check(E, METRICS, seen).state is CheckState.WARNING
    assert missing_days.check(experiment(**ended), METRICS, seen).state is CheckState.OK


def test_a_small_experiment_may_have_quiet_days() -> None:
    seen = arriving([("", [(5, 5), (0, 0), (5, 5)])], days=4)

    finding = missing_days.check(E, METRICS, seen)

    assert (finding.state, finding.advice) == (CheckState.OK, "")
    assert "on 1 day (2027-01-06)" in finding.detail


# --- metrics without events ---


def test_a_metric_without_a_single_event_is_named() -> None:
    silent = {("refund", v): conversions(600, 0) for v in "ab"}
    fine = {("buy", v): conversions(600, 30) for v in "ab"}

    finding = missing_events.check(experiment(metrics=GUARDED), METRICS, evidence(silent | fine))

    assert finding.state is CheckState.WARNING
    assert "No unit of any variant has an event of refund (`Order Refunded`, 1,200 units)." in finding.detail
    assert finding.facts["metrics"] == ["refund"]
    assert "exactly this name" in finding.advice


@pytest.mark.parametrize(
    ("found", "moments", "is_missing"),
    [
        (metric(kind=MetricKind.CHURN), conversions(2_000, 2_000), True),
        (metric(kind=MetricKind.CHURN), conversions(2_000, 1_999), False),
        (metric(kind=MetricKind.RETENTION), conversions(2_000, 1), False),
        (REVENUE, Moments(2_000, 0, 0), True),
        (REVENUE, Moments(2_000, 0, 2), False),  # an order and its refund
        (STARS, answers(2_000, 0), True),
        (STARS, answers(2_000, 3), False),
        (STARS, Moments(2_000, 0, 0, (SCALE,), (0, SCALE * SCALE)), False),  # one who answered 8
        (STARS, Moments(2_000, 0, 0), True),  # not even a denominator
        (metric(kind=MetricKind.FUNNEL, then="Paid"), answers(2_000, 1), True),  # seen once, and never paid
        (metric(kind=MetricKind.FUNNEL, then="Paid"), answers(2_000, 2), False),
        (metric(kind=MetricKind.QUANTILE, value="ms"), NOTHING, True),
        (metric(kind=MetricKind.QUANTILE, value="ms"), seconds(1), False),
    ],
)
def test_no_event_means_for_each_kind_what_it_must(found: Metric, moments: Moments, is_missing: bool) -> None:
    seen = by_day({("buy", "a"): [moments], ("buy", "b"): [NOTHING]}, n_arrived=2_000)

    state = missing_events.check(E, {"buy": found}, seen).state

    assert state is (CheckState.WARNING if is_missing else CheckState.OK)


def test_few_units_may_have_no_events_yet() -> None:
    early = evidence({("buy", v): conversions(499, 0) for v in "ab"})
    fine = evidence({("buy", v): conversions(600, 1) for v in "ab"})

    assert missing_events.check(E, METRICS, early).state is CheckState.NOT_YET_KNOWN
    assert missing_events.check(E, METRICS, fine).state is CheckState.OK


def test_units_count_as_matured_only_when_every_window_of_their_day_has_closed() -> None:
    never = metric(kind=MetricKind.QUANTILE, value="ms", window_s=3 * 86_400)
    seen = arriving([("", [(600, 600)])], days=30)
    # Who came in the last moment of 5 January has a window to the end of the 8th, a day that closes with it.
    days = [replace(seen, as_of=START.replace(day=day, hour=0)) for day in (8, 9)]

    states = [missing_events.check(E, {"buy": never}, one).state for one in days]

    assert states == [CheckState.NOT_YET_KNOWN, CheckState.WARNING]


# --- a variant that has stopped reporting ---


@pytest.mark.parametrize(
    ("key", "silent", "state"),
    [
        ("buy", "a", CheckState.ALARM),  # control sells nothing: a treatment would be shipped for that
        ("buy", "b", CheckState.WARNING),  # the treatment sells nothing: it may be the treatment's fault
        ("refund", "b", CheckState.ALARM),  # no refunds, and fewer are better
        ("refund", "a", CheckState.WARNING),
    ],
)
def test_a_variant_that_falls_silent_alarms_where_that_flatters_a_treatment(
    key: str, silent: str, state: CheckState
) -> None:
    loud, mute = [conversions(500, 30)] * 5, [conversions(500, 30)] * 3 + [conversions(500, 0)] * 2
    seen = by_day({(key, "a"): mute if silent == "a" else loud, (key, "b"): mute if silent == "b" else loud})

    finding = silent_variant.check(experiment(metrics=GUARDED), METRICS, seen)

    assert finding.state is state
    assert f"{key} with `{silent}` (60 units were to be expected)" in finding.detail
    assert "still sent from that variant" in finding.advice


def test_a_metric_that_decides_nothing_never_alarms() -> None:
    plan = MetricPlan(primary="buy", secondary=("refund",))
    seen = by_day(
        {
            ("refund", "a"): [conversions(500, 60)] * 2,
            ("refund", "b"): [conversions(500, 60), conversions(500, 0)],
        }
    )

    assert silent_variant.check(experiment(metrics=plan), METRICS, seen).state is CheckState.WARNING


def test_a_silence_from_the_first_day_on_may_be_meant() -> None:
    seen = by_day({("buy", "a"): [conversions(500, 0)] * 3, ("buy", "b"): [conversions(500, 50)] * 3})

    assert silent_variant.check(E, METRICS, seen).state is CheckState.WARNING


def test_nobody_is_measured_by_a_variant_that_gets_everybody() -> None:
    alone = experiment(variants=variants(10_000, 0))
    seen = by_day(
        {("buy", "a"): [conversions(500, 30), conversions(500, 0)], ("buy", "b"): [conversions(9, 9)] * 2}
    )

    assert silent_variant.check(alone, METRICS, seen).state is CheckState.OK


def test_rows_of_one_day_add_up_in_any_order() -> None:
    seen = by_day({("buy", "a"): [conversions(500, 0)] * 2, ("buy", "b"): [conversions(500, 60)] * 2})
    more = PeriodMoments("buy", "a", seen.periods[0].period, conversions(5, 5))
    found = [
        silent_variant.check(E, METRICS, replace(seen, periods=rows))
        for rows in ((*seen.periods, more), (more, *seen.periods))
    ]

    assert found[0] == found[1]
    assert found[0].state is CheckState.ALARM


@pytest.mark.parametrize(
    ("expected", "state"), [(49, CheckState.OK), (50, CheckState.ALARM)], ids=["too few", "enough"]
)
def test_a_short_silence_is_quiet(expected: int, state: CheckState) -> None:
    seen = by_day(
        {
            ("buy", "a"): [conversions(500, 30), conversions(500, 0)],
            ("buy", "b"): [conversions(500, 30), conversions(500, expected)],
        }
    )

    assert silent_variant.check(E, METRICS, seen).state is state


@pytest.mark.parametrize(
    ("kind", "direction", "silent", "state"),
    [
        (MetricKind.CHURN, Direction.DOWN, "a", CheckState.ALARM),  # nobody seems to come back to control
        (MetricKind.CHURN, Direction.DOWN, "b", CheckState.WARNING),
        (MetricKind.MEAN, Direction.UP, "a", CheckState.ALARM),
        (MetricKind.NPS, Direction.UP, "a", CheckState.WARNING),  # no answers: no better and no worse
        (MetricKind.QUANTILE, Direction.DOWN, "b", CheckState.WARNING),
    ],
)
def test_silence_means_for_each_kind_what_it_must(
    kind: MetricKind, direction: Direction, silent: str, state: CheckState
) -> None:
    found = metric(kind=kind, direction=direction, value="number")
    loud, mute = {
        MetricKind.CHURN: (conversions(500, 400), conversions(500, 500)),
        MetricKind.MEAN: (orders(500, 60), orders(500, 0)),
        MetricKind.NPS: (answers(500, 60), answers(500, 0)),
        MetricKind.QUANTILE: (seconds(60), NOTHING),
    }[kind]
    other = "b" if silent == "a" else "a"
    seen = by_day({("buy", silent): [loud, mute], ("buy", other): [loud, loud]})

    assert silent_variant.check(E, {"buy": found}, seen).state is state


def test_a_variant_without_units_is_not_called_silent() -> None:
    seen = by_day({("buy", "a"): [conversions(500, 60)] * 3, ("buy", "b"): [conversions(500, 60)]})

    assert silent_variant.check(E, METRICS, seen).state is CheckState.OK


# --- single units that carry a sum ---


def revenue(largest: int, *, n: int = 2_000) -> dict[tuple[str, str], list[Moments]]:
    """Return orders of 1 by every second unit of each variant, and one of `largest` in the treatment."""
    rest = orders(n, n // 2)
    one = Moments(1, largest * SCALE, largest * largest * SCALE * SCALE)
    return {("buy", "a"): [rest], ("buy", "b"): [rest + one]}


def test_one_huge_order_is_a_warning_and_a_cap_is_the_advice() -> None:
    finding = outliers.check(E, {"buy": REVENUE}, by_day(revenue(100)))

    assert finding.state is CheckState.WARNING
    assert "more than 5 % of a variant's sum" in finding.detail
    assert "buy (up to 9.5 %, no cap)" in finding.detail
    assert "`cap`" in finding.advice


def test_many_small_orders_are_quiet() -> None:
    finding = outliers.check(E, {"buy": REVENUE}, by_day(revenue(2)))

    assert (finding.state, finding.advice) == (CheckState.OK, "")
    assert finding.detail == "No unit can have more than 3.2 % of a sum."


@pytest.mark.parametrize(("cap", "state"), [(50.0, CheckState.OK), (60.0, CheckState.WARNING)])
def test_a_cap_bounds_what_one_unit_can_have(cap: float, state: CheckState) -> None:
    # 25 units with 40 each: by the squares alone, one could have 20 % of their sum.
    few = orders(2_000, 25, worth=40 * SCALE)
    capped = metric(kind=MetricKind.MEAN, value="revenue", cap=cap)

    finding = outliers.check(E, {"buy": capped}, by_day({("buy", "a"): [few], ("buy", "b"): [few]}))

    assert finding.state is state
    assert "no cap" not in finding.detail


def test_nothing_is_said_of_outliers_before_a_decision_can_fall() -> None:
    late = by_day(revenue(100))
    early = replace(late, as_of=START + timedelta(days=6))

    assert outliers.check(E, {"buy": REVENUE}, early).state is CheckState.NOT_YET_KNOWN
    assert (
        "no metric is a sum" in outliers.check(E, {"buy": REVENUE}, by_day(revenue(9, n=999))).detail.lower()
    )
    assert outliers.check(E, METRICS, late).state is CheckState.OK


def test_a_sum_below_nothing_has_no_largest_share() -> None:
    assert outliers.largest_share(Moments.of([-SCALE, 0]), cap=None) == 0.0


# --- weekdays ---


def test_weekdays_missing_are_named_once_a_decision_can_fall() -> None:
    seen = by_day({("buy", v): [conversions(100, 5)] * 5 for v in "ab"})
    hasty = replace(seen, as_of=START + timedelta(days=6))

    finding = weekdays.check(E, METRICS, seen)

    assert finding.state is CheckState.WARNING
    assert finding.detail == "The closed days cover 5 of 7 weekdays, not Monday, Sunday."
    assert "whole week" in finding.advice
    assert weekdays.check(E, METRICS, hasty).state is CheckState.NOT_YET_KNOWN
    assert weekdays.check(E, METRICS, replace(seen, first_exposure_at=None)).advice == ""


def test_a_whole_week_is_quiet() -> None:
    seen = by_day({("buy", "a"): [conversions(100, 5)] * 7})

    assert weekdays.check(E, METRICS, seen).state is CheckState.OK


def test_days_on_which_no_window_closed_cover_no_weekday() -> None:
    seen = by_day({("buy", "a"): [conversions(100, 5)] * 6 + [NOTHING]})

    assert weekdays.check(E, METRICS, seen).facts["weekdays"] == 6
