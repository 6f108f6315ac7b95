import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.errors import InvalidParameterError
from experiments.inference.fieller import lift_intervals
from experiments.inference.interval import Inference, Intervals
from experiments.inference.linear import LinearInference, MomentArrays, mean_pairs
from experiments.inference.normal import critical_values
from experiments.moments import NOTHING, SCALE, Moments
from experiments.sequential import MAX_LOG_E
from tests.experiments.builders import conversions
from tests.experiments.inference.samples import judged, pairs

GROWTHBOOK: dict[str, dict[str, Any]] = {
    case["id"]: case for case in json.loads(Path("tests/golden/stats/gb.json").read_text())
}
LEVEL = np.array([0.05])


def seen(treatment: Moments, control: Moments, *, n_star: int, alpha: float = 0.05) -> LinearInference:
    t, c = MomentArrays.of([treatment]), MomentArrays.of([control])
    return judged(mean_pairs(t, c), n_star=n_star, alpha=alpha)


def ends(found: Intervals) -> list[float]:
    return [float(part[0]) for part in (found.estimate, found.lower, found.upper)]


def sides(found: Intervals) -> Any:
    """Return 1, -1 or 0 where the interval lies above zero, below zero, or neither."""
    return (found.lower > 0).astype(int) - (found.upper < 0).astype(int)


def micro(n: int, total: float, total_sq: float) -> Moments:
    return Moments(n, round(total * SCALE), round(total_sq * SCALE * SCALE))


@st.composite
def counted(draw: st.DrawFn) -> Moments:
    n = draw(st.integers(2, 10**6))
    return conversions(n, draw(st.integers(0, n)))


any_moments = counted() | st.lists(st.integers(0, 10**9), min_size=2, max_size=40).map(Moments.of)
levels = st.floats(1e-6, 0.5)


def test_it_is_an_inference() -> None:
    found: Inference = judged(pairs(1.2, 1.0, 0.01, 0.01))

    assert found.log_e.shape == (1,)


def test_one_sided_bounds_are_those_of_growthbook() -> None:
    case = GROWTHBOOK["gb-acs-onesided-abs"]
    control, treatment = micro(3_000, 1396.87, 52377.9767), micro(3_461, 2422.7, 134698.29)

    _, lower, upper = ends(seen(treatment, control, n_star=5_000).one_sided(LEVEL).effect)
    assert [lower, upper] == pytest.approx(case["expected"], abs=case["abs_tol"])


def test_the_lift_of_the_published_proportions_is_near_the_delta_method() -> None:
    lift, low, high, _, _ = GROWTHBOOK["gb-acs-prop"]["expected"]

    found = seen(conversions(3_461, 2_422), conversions(3_000, 1_396), n_star=5_000).two_sided(LEVEL).lift
    estimate, lower, upper = ends(found)
    assert estimate == pytest.approx(lift, abs=1e-5)
    # Same test, other geometry: Fieller's set is shifted upwards a little.
    assert lower == pytest.approx(low, abs=0.01)
    assert upper == pytest.approx(high, abs=0.01)


def test_the_published_covariate_changes_the_lift_as_published() -> None:
    case = GROWTHBOOK["gb-acs-cuped"]
    given_, (lift, _, upper, standard_error, _) = case["input"], case["expected"]
    variants = []
    for key, n in zip("ba", reversed(given_["n"]), strict=True):
        (y, yy), (x, xx) = given_[f"post_{key}"], given_[f"pre_{key}"]
        both = given_["post_pre_sum_of_products"]["ab".index(key)]
        variants.append(
            MomentArrays.from_sums(np.array([n]), np.array([[y, x]]), np.array([[[yy, both], [both, xx]]]))
        )
    found = judged(mean_pairs(*variants), n_star=5_000)

    p, estimate = found.pairs, found.two_sided(LEVEL).lift.estimate.item()
    # GrowthBook moves the difference and leaves control's mean alone; the covariate explains next to nothing.
    assert estimate == pytest.approx(lift, abs=1e-4)
    ratio = p.mean_t / p.mean_c
    delta_method = np.sqrt(p.var_t - 2 * ratio * p.cov + ratio**2 * p.var_c) / p.mean_c
    assert delta_method.item() == pytest.approx(standard_error, abs=1e-4)
    half_width = critical_values(6_461, n_star=5_000, alpha=0.05, level=0.05) * delta_method
    assert half_width.item() == pytest.approx(upper - lift, abs=3e-4)


@given(treatment=any_moments, control=any_moments, n_star=st.integers(1, 10**7), alpha=levels, level=levels)
def test_evidence_and_intervals_never_disagree(
    treatment: Moments, control: Moments, n_star: int, alpha: float, level: float
) -> None:
    found = seen(treatment, control, n_star=n_star, alpha=alpha)
    told = found.two_sided(np.array([level]))

    rejected = found.log_e[0] >= -math.log(level)
    effect = treatment.mean - control.mean
    assert sides(told.effect)[0] == (np.sign(effect) if rejected else 0)
    if not math.isnan(told.lift.lower[0]):
        assert sides(told.lift)[0] == sides(told.effect)[0]


def random_pairs(rng: np.random.Generator, k: int) -> LinearInference:
    """Return k tests, of which many lie near their boundary, near zero, or have strongly tied estimates."""
    sd_t, sd_c = np.exp(rng.normal(-2, 2, k)), np.exp(rng.normal(-2, 2, k))
    tied = np.where(rng.random(k) < 0.5, 0.0, np.tanh(rng.normal(0, 2, k)) * 0.999)
    mean_c = np.exp(rng.normal(0, 1, k)) * rng.choice([1, 1, 1, 0, -1], k)
    error = np.sqrt(sd_t**2 + sd_c**2 - 2 * tied * sd_t * sd_c)
    mean_t = mean_c + rng.normal(0, 4, k) * error
    n = rng.integers(2, 10**6, k)
    p = pairs(mean_t, mean_c, sd_t**2, sd_c**2, tied * sd_t * sd_c, n)
    return judged(p, n_star=rng.integers(1, 10**6, k), alpha=rng.uniform(0.001, 0.4, k))


def test_random_evidence_and_intervals_never_disagree() -> None:
    rng = np.random.default_rng(1)
    found = random_pairs(rng, 200_000)
    level = rng.uniform(0.0005, 0.5, 200_000)

    told, rejected = found.two_sided(level), found.log_e >= -np.log(level)
    effect = np.sign(found.pairs.mean_t - found.pairs.mean_c)
    assert (sides(told.effect) == np.where(rejected, effect, 0)).all()
    lifted = np.isfinite(told.lift.estimate)
    assert 0.3 < lifted.mean() < 0.9
    assert (sides(told.lift) == sides(told.effect))[lifted].all()
    assert np.isnan(told.lift.lower[~lifted]).all()
    one = found.one_sided(level)
    assert (sides(one.lift) == sides(one.effect))[lifted].all()
    for part in (told.effect, told.lift, one.effect, one.lift):
        outside = (part.estimate < part.lower - 1e-9) | (part.estimate > part.upper * (1 + 1e-9) + 1e-9)
        assert not outside.any()


def test_the_lift_set_holds_exactly_what_the_test_does_not_reject() -> None:
    rng = np.random.default_rng(2)
    k = 20_000
    found = random_pairs(rng, k)
    p, level = found.pairs, np.full(k, 0.05)
    lift = found.two_sided(level).lift
    critical = critical_values(
        (p.n_t + p.n_c).astype(float), n_star=found.n_star, alpha=found.alpha, level=level
    )

    def distance(ratio: Any) -> Any:
        """Return how far beyond the boundary a ratio lies, in standard errors."""
        spread = p.var_t - 2 * ratio * p.cov + ratio**2 * p.var_c
        return np.abs(p.mean_t - ratio * p.mean_c) / np.sqrt(spread) - critical

    exists = np.isfinite(lift.estimate)
    low, high = lift.lower + 1, np.where(np.isinf(lift.upper), lift.lower + 1e3, lift.upper + 1)
    bounded = exists & np.isfinite(lift.upper)
    joined = exists & (p.cov > 0) & (lift.lower == -1) & np.isinf(lift.upper)  # perhaps of two parts
    for share in (0.001, 0.1, 0.5, 0.9, 0.999):
        inside = distance(low + share * (high - low))
        assert (inside[exists & ~joined] <= 1e-6).all()
    beyond = distance(high * 1.001 + 1e-9)
    assert (beyond[bounded] >= -1e-6).all()
    assert (distance(np.maximum(low * 0.999 - 1e-9, 0))[exists & (low > 1e-6)] >= -1e-6).all()
    # Means that are tied may leave two parts; that is rare, and never the case of means that are not.
    assert joined.mean() < 0.2


def test_a_set_of_two_parts_is_joined_unless_no_difference_lies_between_them() -> None:
    # Control's mean cannot be told from zero; the difference can, for the two means go together.
    between = judged(pairs(1.0, 2.0, 1.05, 1.0, 1.0), n_star=10_000).two_sided(LEVEL)
    _, low, high = ends(between.lift)
    assert sides(between.effect)[0] == sides(between.lift)[0] == -1
    assert (low, high < 0) == (-1.0, True)

    joined = judged(pairs(1.8, 2.0, 1.05, 1.0, 1.0), n_star=10_000).two_sided(LEVEL)
    assert sides(joined.effect)[0] == 0
    assert ends(joined.lift)[1:] == [-1.0, math.inf]


def test_a_control_exactly_at_the_boundary_to_zero_has_one_end() -> None:
    # The square's coefficient is 0, and 5 - 12 r <= 0 is left.
    found = lift_intervals(pairs(3.0, 2.0, 1.0, 1.0), np.array([2.0]))

    assert ends(found) == pytest.approx([0.5, 5 / 12 - 1, math.inf])


@given(one=counted(), two=counted())
def test_swapping_the_variants_mirrors_the_effect(one: Moments, two: Moments) -> None:
    there, back = seen(one, two, n_star=1_000), seen(two, one, n_star=1_000)

    np.testing.assert_array_equal(there.log_e, back.log_e)
    np.testing.assert_array_equal(there.two_sided(LEVEL).effect.lower, -back.two_sided(LEVEL).effect.upper)


def test_a_level_is_chosen_after_the_tuning() -> None:
    found = judged(pairs(1.35, 1.0, 0.01, 0.01), n_star=10_000, alpha=0.05)
    level = math.exp(-found.log_e[0])

    # One e-value, whatever the level: it excludes zero at every level down to its own.
    assert sides(found.two_sided(np.array([level * 1.001])).effect)[0] == 1
    assert sides(found.two_sided(np.array([level * 0.999])).effect)[0] == 0


def test_at_the_boundary_all_answers_say_the_same() -> None:
    n = 10_000
    control = conversions(n, 500)
    for converted in range(400, 700):
        treatment = conversions(n, converted)
        told = seen(treatment, control, n_star=2 * n).two_sided(LEVEL)
        z = abs(converted - 500) / n / math.sqrt((treatment.var + control.var) / n)
        outside = z > critical_values(2 * n, n_star=2 * n, alpha=0.05, level=0.05)
        assert (sides(told.effect)[0] != 0) == (sides(told.lift)[0] != 0) == outside


def test_a_control_that_cannot_be_told_from_zero_gives_no_upper_end() -> None:
    told = seen(conversions(5_000, 100), conversions(5_000, 2), n_star=10_000).two_sided(LEVEL)

    assert sides(told.effect)[0] == 1
    assert told.lift.lower[0] > 0
    assert told.lift.upper[0] == math.inf


def test_a_control_without_any_conversion_has_no_lift_and_still_an_effect() -> None:
    told = seen(conversions(5_000, 200), conversions(5_000, 0), n_star=10_000).two_sided(LEVEL)

    assert sides(told.effect)[0] == 1
    assert np.isnan(ends(told.lift)).all()


def test_hardly_any_data_exclude_no_lift_at_all() -> None:
    told = seen(Moments.of([0, SCALE]), Moments.of([0, 0, SCALE]), n_star=10_000).two_sided(LEVEL)

    assert ends(told.lift)[1:] == [-1.0, math.inf]


@pytest.mark.parametrize(("mean_t", "mean_c"), [(-1.0, 1.0), (1.0, -1.0), (1.0, 0.0)])
def test_a_loss_below_zero_has_no_lift(mean_t: float, mean_c: float) -> None:
    told = judged(pairs(mean_t, mean_c, 0.01, 0.01)).two_sided(LEVEL)

    assert np.isnan(ends(told.lift)).all()
    assert np.isfinite(ends(told.effect)).all()


@pytest.mark.parametrize(
    ("treatment", "control", "difference"),
    [
        (NOTHING, NOTHING, math.nan),
        (conversions(10, 0), conversions(10, 0), 0.0),
        (conversions(1, 1), conversions(10, 3), 0.7),
        (NOTHING, conversions(10, 3), math.nan),
    ],
)
def test_without_spread_only_estimates_are_given(
    treatment: Moments, control: Moments, difference: float
) -> None:
    found = seen(treatment, control, n_star=100)

    assert np.isnan(found.log_e).all()
    for told in (found.two_sided(LEVEL), found.one_sided(LEVEL)):
        assert told.effect.estimate[0] == pytest.approx(difference, nan_ok=True)
        assert np.isnan([*ends(told.effect)[1:], *ends(told.lift)[1:]]).all()


def test_before_the_burn_in_only_estimates_are_given() -> None:
    p = pairs([1.5, 1.5], 1.0, 0.001, 0.001)
    found = LinearInference.of(p, n_star=100, alpha=0.05, ready=np.array([False, True]))

    told = found.two_sided(np.array([0.05, 0.05]))
    for part in (told.effect, told.lift):
        assert part.estimate.tolist() == [0.5, 0.5]
        assert np.isnan(part.lower).tolist() == np.isnan(part.upper).tolist() == [True, False]
    assert np.isnan(found.log_e).tolist() == [True, False]


def test_a_difference_that_rounding_alone_leaves_is_no_variance() -> None:
    found = judged(pairs(1.5, 1.0, 1.0, 1.0, 1.0 - 1e-14))

    assert np.isnan(found.log_e).all()


def test_overwhelming_evidence_stays_a_finite_number() -> None:
    found = seen(conversions(10**6, 10**6 - 1), conversions(10**6, 1), n_star=1_000)

    assert found.log_e.tolist() == [MAX_LOG_E]
    assert sides(found.two_sided(np.array([1e-200])).effect)[0] == 1


@pytest.mark.parametrize(("n_star", "alpha", "level"), [(0, 0.05, 0.05), (10, 0.0, 0.05), (10, 0.05, 1.0)])
def test_plans_outside_their_domain_are_refused(n_star: int, alpha: float, level: float) -> None:
    with pytest.raises(InvalidParameterError):
        judged(pairs(1.5, 1.0, 0.1, 0.1), n_star=n_star, alpha=alpha).two_sided(np.array([level]))


def test_a_one_sided_bound_lies_inside_the_two_sided_one() -> None:
    found = judged(pairs(1.5, 1.0, 0.01, 0.01))

    one, two = found.one_sided(LEVEL), found.two_sided(LEVEL)
    for narrow, wide in ((one.effect, two.effect), (one.lift, two.lift)):
        assert wide.lower < narrow.lower < narrow.upper < wide.upper
