import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.effect import (
    Estimate,
    compare,
    effect_interval,
    lift_estimate,
    lift_interval,
    side_of,
)
from experiments.errors import InvalidParameterError
from experiments.moments import NOTHING, SCALE, Moments
from experiments.sequential import critical_value, one_sided_critical_value
from tests.experiments.builders import conversions

GROWTHBOOK = {c["id"]: c for c in json.loads(Path("tests/golden/stats/gb.json").read_text())}


def micro(n: int, total: float, total_sq: float) -> Moments:
    return Moments(n, round(total * SCALE), round(total_sq * SCALE * SCALE))


@st.composite
def counted(draw: st.DrawFn) -> Moments:
    n = draw(st.integers(2, 10**6))
    return conversions(n, draw(st.integers(0, n)))


amounts = st.lists(st.integers(0, 10**9), min_size=2, max_size=40).map(Moments.of)
any_moments = counted() | amounts


def test_a_one_sided_interval_is_that_of_growthbook() -> None:
    case = GROWTHBOOK["gb-acs-onesided-abs"]
    control, treatment = micro(3_000, 1396.87, 52377.9767), micro(3_461, 2422.7, 134698.29)

    critical = one_sided_critical_value(6_461, n_star=5_000, alpha=0.05)
    found = effect_interval(treatment, control, critical=critical)
    assert [found.lower, found.upper] == pytest.approx(case["expected"], abs=case["abs_tol"])


def test_the_lift_of_the_published_proportions_is_near_the_delta_method() -> None:
    lift, low, high, _, _ = GROWTHBOOK["gb-acs-prop"]["expected"]

    found = compare(conversions(3_461, 2_422), conversions(3_000, 1_396), n_star=5_000, alpha=0.05).lift
    assert found.estimate == pytest.approx(lift, abs=1e-5)
    # Same test, other geometry: Fieller's set is shifted upwards a little.
    assert found.lower == pytest.approx(low, abs=0.01)
    assert found.upper == pytest.approx(high, abs=0.01)


@given(treatment=any_moments, control=any_moments, n_star=st.integers(1, 10**7), alpha=st.floats(1e-6, 0.5))
def test_interval_p_value_and_e_value_never_disagree(
    treatment: Moments, control: Moments, n_star: int, alpha: float
) -> None:
    seen = compare(treatment, control, n_star=n_star, alpha=alpha)

    assert seen.side == side_of(seen.effect)
    if seen.p_value is not None and seen.e_value is not None:
        assert (seen.p_value <= alpha) == (seen.side != 0)
        assert (seen.e_value >= 1 / alpha) == (seen.side != 0)
        assert math.isfinite(seen.e_value)
    if seen.lift.lower is not None:
        assert side_of(seen.lift) == seen.side or (seen.side < 0 and seen.lift.upper is None)


@given(treatment=any_moments, control=any_moments, critical=st.floats(0.1, 10))
def test_the_lift_set_holds_exactly_what_the_test_does_not_reject(
    treatment: Moments, control: Moments, critical: float
) -> None:
    found = lift_interval(treatment, control, critical=critical)
    if found.lower is None:
        return

    def rejected(lift: float) -> bool:
        spread = treatment.var / treatment.n + (1 + lift) ** 2 * control.var / control.n
        return abs(treatment.mean - (1 + lift) * control.mean) > critical * math.sqrt(spread) + 1e-12

    high = found.upper if found.upper is not None else found.lower + 100
    width = max(high - found.lower, 1e-6)
    assert not any(rejected(found.lower + share * width) for share in (0.01, 0.3, 0.7)) or width <= 1e-6
    if found.lower > -1 + 1e-3:
        assert rejected(-1 + (found.lower + 1) * 0.9) or found.lower + 1 < 1e-4
    if found.upper is not None:
        assert rejected(found.upper + 0.1 * (1 + abs(found.upper)))


@given(treatment=any_moments, control=any_moments)
def test_the_estimate_lies_inside_its_interval(treatment: Moments, control: Moments) -> None:
    seen = compare(treatment, control, n_star=1_000, alpha=0.05)

    for part in (seen.effect, seen.lift):
        if part.lower is not None and part.estimate is not None:
            assert part.lower <= part.estimate + 1e-9
            assert part.upper is None or part.estimate <= part.upper + 1e-9 * (1 + abs(part.upper))


@given(one=counted(), two=counted())
def test_swapping_the_variants_mirrors_the_effect(one: Moments, two: Moments) -> None:
    there = compare(one, two, n_star=1_000, alpha=0.05)
    back = compare(two, one, n_star=1_000, alpha=0.05)

    assert there.side == -back.side
    assert there.p_value == back.p_value


def test_a_control_that_cannot_be_told_from_zero_gives_no_upper_end() -> None:
    seen = compare(conversions(5_000, 100), conversions(5_000, 2), n_star=10_000, alpha=0.05)

    assert seen.side == 1
    assert seen.lift.lower is not None
    assert seen.lift.lower > 0
    assert seen.lift.upper is None


def test_a_control_without_any_conversion_has_no_lift_and_still_an_effect() -> None:
    seen = compare(conversions(5_000, 200), conversions(5_000, 0), n_star=10_000, alpha=0.05)

    assert seen.side == 1
    assert seen.lift == Estimate(None)


def test_hardly_any_data_exclude_no_lift_at_all() -> None:
    found = lift_interval(Moments.of([0, SCALE]), Moments.of([0, 0, SCALE]), critical=5.0)

    assert (found.lower, found.upper) == (-1.0, None)


def test_a_loss_below_zero_has_no_lift() -> None:
    assert lift_estimate(Moments.of([-SCALE]), Moments.of([SCALE])) is None
    assert lift_estimate(Moments.of([SCALE]), Moments.of([-SCALE])) is None


@pytest.mark.parametrize(
    ("treatment", "control", "difference"),
    [
        (NOTHING, NOTHING, None),
        (conversions(10, 0), conversions(10, 0), 0.0),
        (conversions(1, 1), conversions(10, 3), 0.7),
    ],
)
def test_without_spread_only_estimates_are_given(
    treatment: Moments, control: Moments, difference: float | None
) -> None:
    seen = compare(treatment, control, n_star=100, alpha=0.05)

    assert seen.effect.estimate == (None if difference is None else pytest.approx(difference))
    assert (seen.effect.lower, seen.p_value, seen.e_value, seen.side) == (None, None, None, 0)


@pytest.mark.parametrize("interval", [effect_interval, lift_interval])
def test_intervals_of_single_units_or_negative_widths_are_refused(interval: type[Estimate]) -> None:
    several = conversions(10, 3)
    for treatment, critical in ((conversions(1, 1), 2.0), (several, -1.0)):
        with pytest.raises(InvalidParameterError):
            interval(treatment, several, critical=critical)  # type: ignore[call-arg, arg-type]  # two functions


def test_overwhelming_evidence_stays_a_finite_number() -> None:
    seen = compare(conversions(10**6, 10**6 - 1), conversions(10**6, 1), n_star=1_000, alpha=0.05)

    assert seen.e_value is not None
    assert math.isfinite(seen.e_value)
    assert seen.p_value is not None
    assert 0 < seen.p_value < 1e-200


def test_at_the_boundary_all_answers_say_the_same() -> None:
    n = 10_000
    for converted in range(400, 700):
        seen = compare(conversions(n, converted), conversions(n, 500), n_star=2 * n, alpha=0.05)
        z = (
            abs(converted - 500)
            / n
            / math.sqrt(conversions(n, converted).var / n + conversions(n, 500).var / n)
        )
        assert (seen.side != 0) == (z > critical_value(2 * n, n_star=2 * n, alpha=0.05))
