from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.errors import InvalidParameterError
from experiments.histogram import EDGES, N_BINS, bin_of, lower_end, upper_end
from experiments.inference.bernoulli import log_mixture, log_one_sided_mixture
from experiments.inference.interval import FloatArray, Inference, IntArray, Intervals
from experiments.inference.places import PARTS, placed, places_of, sample_quantiles
from experiments.inference.quantile import QuantileInference
from experiments.moments import SCALE

Triple = tuple[float, float, float]


def histogram(*variants: Any) -> IntArray:
    """Return one row of bins for each sequence of values."""
    micro = [np.round(np.asarray(values, dtype=np.float64) * SCALE) for values in variants]
    return np.array([np.bincount(np.searchsorted(EDGES, v), minlength=N_BINS) for v in micro])


def compared(
    counts_t: IntArray, counts_c: IntArray, quantile: float = 0.5, plan: float = 2_000, parts: int = PARTS
) -> Inference:
    k = len(counts_t)
    return QuantileInference.of(
        counts_t=counts_t,
        counts_c=counts_c,
        quantile=np.full(k, quantile),
        n_star=np.full(k, plan),
        alpha=0.05,
        parts=parts,
    )


def ends(found: Intervals, row: int = 0) -> Triple:
    return float(found.lower[row]), float(found.estimate[row]), float(found.upper[row])


def by_brute_force(
    rising: tuple[FloatArray, FloatArray],
    falling: tuple[FloatArray, FloatArray],
    threshold: float,
    parts: int,
) -> list[float]:
    """Return effect and lift ends from all pairs of places (control, treatment), as they are defined."""
    low, high = places_of(parts).low, places_of(parts).high
    below = rising[0][:, None] + falling[1][None, :] < threshold
    above = falling[0][:, None] + rising[1][None, :] < threshold
    with np.errstate(divide="ignore", invalid="ignore"):
        least = np.where(low[None, :] == 0, 0.0, low[None, :] / high[:, None])
        most = np.where(low[:, None] == 0, np.inf, high[None, :] / low[:, None])
        effect = low[None, :] - high[:, None], high[None, :] - low[:, None]
    return [
        effect[0][below].min() / SCALE,
        effect[1][above].max() / SCALE,
        least[below].min() - 1,
        most[above].max() - 1,
    ]


@st.composite
def seen(draw: st.DrawFn) -> IntArray:
    """Draw one row of bins: few or many units, close together or far apart, with zeros and huge values."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    n = draw(st.sampled_from([1, 3, 30, 300, 5_000]))
    values = rng.lognormal(draw(st.sampled_from([0.0, 0.1, 1.0])), draw(st.sampled_from([0.05, 1.0, 3.0])), n)
    values *= draw(st.sampled_from([0.01, 1.0, 1e3, 1e7]))
    zeros = draw(st.sampled_from([0.0, 0.3, 0.9]))
    return histogram(np.where(rng.random(n) < zeros, 0, values))


quantiles = st.sampled_from([0.1, 0.5, 0.75, 0.99])
levels = st.sampled_from([0.3, 0.05, 0.001])


@settings(max_examples=30)
@given(t=seen(), c=seen(), quantile=quantiles, level=levels, parts=st.sampled_from([1, 2]))
def test_intervals_are_those_of_all_pairs_of_places(
    t: IntArray, c: IntArray, quantile: float, level: float, parts: int
) -> None:
    test: Any = compared(t, c, quantile, parts=parts)
    row, every = np.array([0]), np.arange(parts * N_BINS)[None, :]
    arms = (test._control, test._treatment)

    plain = tuple(arm.evidence(row, every)[0] for arm in arms)
    two_sided = test.two_sided(np.array([level]))
    expected = by_brute_force(plain, plain, -np.log(level), parts)
    check(two_sided, expected)
    rising = tuple(arm.only_against_above(row, every)[0] for arm in arms)
    falling = tuple(arm.only_against_below(row, every)[0] for arm in arms)
    check(test.one_sided(np.array([level])), by_brute_force(rising, falling, -np.log(level), parts))
    assert test.log_e[0] == pytest.approx(np.min(plain[0] + plain[1]), abs=1e-12)


def check(found: Any, expected: list[float]) -> None:
    got = [found.effect.lower[0], found.effect.upper[0], found.lift.lower[0], found.lift.upper[0]]
    if np.isnan(found.lift.estimate[0]):
        got[2:] = expected[2:]
    assert got == pytest.approx(expected, rel=1e-9, abs=1.1e-9)


@given(t=seen(), c=seen(), quantile=quantiles, level=st.floats(1e-6, 0.99))
def test_evidence_and_intervals_never_disagree(
    t: IntArray, c: IntArray, quantile: float, level: float
) -> None:
    test = compared(t, c, quantile)
    found = test.two_sided(np.array([level]))

    rejected = bool(test.log_e[0] >= -np.log(level))
    low, middle, high = ends(found.effect)
    assert low <= middle <= high
    assert (low > 0 or high < 0) == rejected
    lift_low, lift, lift_high = ends(found.lift)
    if not np.isnan(lift):
        assert -1 <= lift_low <= lift <= lift_high
        assert (lift_low > 0 or lift_high < 0) == rejected
        assert not rejected or (lift_low > 0) == (low > 0)


@settings(max_examples=25)
@given(t=seen(), c=seen(), quantile=quantiles)
def test_a_weaker_level_gives_a_narrower_interval_around_the_estimate(
    t: IntArray, c: IntArray, quantile: float
) -> None:
    test = compared(t, c, quantile)

    for bounds in (test.two_sided, test.one_sided):
        low, middle, high = ends(bounds(np.array([0.2])).effect)
        wide_low, _, wide_high = ends(bounds(np.array([0.01])).effect)
        assert wide_low <= low <= middle <= high <= wide_high


@settings(max_examples=25)
@given(t=seen(), c=seen(), quantile=quantiles)
def test_the_mirrored_comparison_has_the_mirrored_answer(t: IntArray, c: IntArray, quantile: float) -> None:
    one, other = compared(t, c, quantile), compared(c, t, quantile)

    low, middle, high = ends(one.two_sided(np.array([0.05])).effect)
    mirrored = ends(other.two_sided(np.array([0.05])).effect)
    assert other.log_e == pytest.approx(one.log_e)
    assert (-high, -middle, -low) == pytest.approx(mirrored)


@settings(max_examples=15)
@given(rows=st.lists(st.tuples(seen(), seen()), min_size=1, max_size=4))
def test_many_comparisons_at_once_are_each_as_if_alone(rows: list[tuple[IntArray, IntArray]]) -> None:
    level = np.linspace(0.01, 0.1, len(rows))
    together = compared(np.concatenate([t for t, _ in rows]), np.concatenate([c for _, c in rows]))

    for i, (t, c) in enumerate(rows):
        alone = compared(t, c)
        assert alone.log_e[0] == together.log_e[i]
        for bounds in ("two_sided", "one_sided"):
            both = (getattr(test, bounds)(of) for test, of in ((alone, level[i : i + 1]), (together, level)))
            one, all_ = both
            np.testing.assert_array_equal(ends(one.effect), ends(all_.effect, i))
            np.testing.assert_array_equal(ends(one.lift), ends(all_.lift, i))


@given(
    counts=st.lists(st.integers(0, 6), min_size=3, max_size=8).filter(any),
    quantile=quantiles,
    parts=st.integers(1, 4),
)
def test_the_evidence_of_a_place_is_the_least_of_all_counts_below_a_value_in_it(
    counts: list[int], quantile: float, parts: int
) -> None:
    row = np.zeros((1, N_BINS), dtype=np.int64)
    row[0, : len(counts)] = counts
    arm = cast("Any", compared(row, row, quantile, plan=40, parts=parts))._treatment
    n, variance = sum(counts), quantile * (1 - quantile)
    of = {"v": variance * n, "v_opt": 20 * variance, "alpha_opt": 0.05}
    p, q = quantile, 1 - quantile

    for place in range(len(counts) * parts):
        number, part = divmod(place, parts)
        # Zeros are all one value: how many of them lie below it is for nobody to say.
        cut = [0, 1] if number == 0 else [part / parts, (part + 1) / parts]
        least, most = (sum(counts[:number]) + counts[number] * share for share in cut)
        at_most = np.linspace(least, most, 200)
        at = np.array([0]), np.array([[place]])
        two_sided = log_mixture(at_most - p * n, g=p, h=q, **of)
        above = log_one_sided_mixture(at_most - p * n, g=p, h=q, **of)
        below = log_one_sided_mixture(p * n - at_most, g=q, h=p, **of)
        assert arm.evidence(*at) == pytest.approx(two_sided.min(), abs=2e-3)
        assert arm.evidence(*at) <= two_sided.min() + 1e-9
        assert arm.only_against_above(*at) == pytest.approx(above.min())
        assert arm.only_against_below(*at) == pytest.approx(below.min())


def test_a_true_lift_is_found_and_held() -> None:
    rng = np.random.default_rng(3)
    spent = rng.lognormal(3, 1, (2, 20_000))

    found = compared(histogram(spent[0] * 1.2), histogram(spent[1])).two_sided(np.array([0.05]))
    low, lift, high = ends(found.lift)
    assert 0 < low < 0.2 < high
    assert lift == pytest.approx(0.2, abs=0.05)
    assert ends(found.effect)[1] == pytest.approx(0.2 * np.exp(3), rel=0.2)


def test_without_a_quantile_of_control_above_zero_there_is_no_lift() -> None:
    found = compared(histogram([5.0] * 500), histogram([0.0] * 400 + [5.0] * 100)).two_sided(np.array([0.05]))

    assert np.isnan(ends(found.lift)).all()
    assert ends(found.effect)[0] > 0


def test_a_control_that_may_have_the_quantile_zero_leaves_the_lift_without_an_upper_end() -> None:
    found = compared(histogram([5.0] * 50), histogram([0.0] * 24 + [5.0] * 26)).two_sided(np.array([0.05]))

    low, _, high = ends(found.lift)
    assert low < 0 < high == np.inf


def test_without_units_nothing_is_said() -> None:
    none = np.zeros((1, N_BINS), dtype=np.int64)
    test = compared(none, histogram([1.0, 2.0]))

    assert np.isnan(test.log_e[0])
    for found in (test.two_sided(np.array([0.05])), test.one_sided(np.array([0.05]))):
        assert np.isnan([*ends(found.effect), *ends(found.lift)]).all()


@given(values=st.lists(st.integers(-5, 10**15), min_size=1, max_size=30), quantile=quantiles)
def test_the_sample_quantile_is_less_than_a_bin_from_the_plain_one(
    values: list[int], quantile: float
) -> None:
    counts = histogram([value / SCALE for value in values])

    plain = sorted(values)[int(np.ceil(quantile * len(values))) - 1]
    number, _ = placed(np.cumsum([[0, *counts[0]]], axis=1).astype(float), np.array([quantile * len(values)]))
    found = sample_quantiles(counts, np.array([quantile])) * SCALE
    assert number == bin_of(plain)
    assert lower_end(bin_of(plain)) <= found + 1e-3 <= (upper_end(bin_of(plain)) or np.inf) + 1e-3


def test_the_last_bin_has_no_end_so_its_beginning_is_reported() -> None:
    assert sample_quantiles(histogram([1e9] * 9), np.array([0.5])) == lower_end(N_BINS - 1) / SCALE


@pytest.mark.parametrize("factor", [0.0, 0.003])
def test_parts_of_bins_see_more_than_whole_ones(factor: float) -> None:
    rng = np.random.default_rng(2)
    spent = rng.lognormal(3, 0.3, (2, 20_000))
    counts = histogram(spent[0] * (1 + factor)), histogram(spent[1])

    cut, whole = (compared(*counts, parts=parts).two_sided(np.array([0.05])).lift for parts in (PARTS, 1))
    assert ends(whole)[0] < ends(cut)[0] < factor < ends(cut)[2] < ends(whole)[2]


RIGHT: dict[str, Any] = {
    "counts_t": np.zeros((1, N_BINS), dtype=np.int64),
    "counts_c": np.zeros((1, N_BINS), dtype=np.int64),
    "quantile": np.array([0.5]),
    "n_star": np.array([100.0]),
    "alpha": 0.05,
}


@pytest.mark.parametrize(
    "wrong",
    [
        {"quantile": np.array([1.0])},
        {"n_star": np.array([0.0])},
        {"n_star": np.array([10.0, 10.0])},
        {"alpha": 0.5},
        {"parts": 0},
        {"counts_t": np.zeros((1, 5), dtype=np.int64)},
        {"counts_c": np.full((1, N_BINS), -1)},
    ],
    ids=str,
)
def test_arguments_outside_their_domain_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameterError):
        QuantileInference.of(**RIGHT | wrong)


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_no_interval_has_the_level_of_certainty(level: float) -> None:
    with pytest.raises(InvalidParameterError):
        QuantileInference.of(**RIGHT).two_sided(np.array([level]))


def test_the_quantiles_of_two_variants_differ_by_the_estimated_effect() -> None:
    rng = np.random.default_rng(5)
    counts_t, counts_c = (histogram(rng.lognormal(mean, 1, 500)) for mean in (1.1, 1.0))
    effect = compared(counts_t, counts_c, quantile=0.9).two_sided(np.array([0.05])).effect

    t, c = (sample_quantiles(counts, np.array([0.9])) for counts in (counts_t, counts_c))
    assert t - c == pytest.approx(effect.estimate, rel=1e-12)
    assert c == pytest.approx(np.quantile(rng.lognormal(1.0, 1, 100_000), 0.9), rel=0.2)


@pytest.mark.statistical
def test_few_runs_ever_reject_or_miss_when_nothing_differs() -> None:
    """A/A with twenty looks at the median of amounts with zeros; a high level, as the test is strict."""
    rng = np.random.default_rng(11)
    n_runs, n_looks, step, alpha = 400, 20, 40, 0.5
    counts = np.zeros((2, n_runs, N_BINS), dtype=np.int64)
    ever = {name: np.zeros(n_runs, dtype=bool) for name in ("rejected", "above", "below")}
    for _ in range(n_looks):
        values = np.where(rng.random((2, n_runs, step)) < 0.2, 0, rng.lognormal(1, 1, (2, n_runs, step)))
        for arm in range(2):
            counts[arm] += histogram(*values[arm])
        test = compared(counts[0], counts[1], plan=800)
        bounds = test.one_sided(np.full(n_runs, alpha)).effect
        ever["rejected"] |= test.log_e >= -np.log(alpha)
        ever["above"] |= bounds.lower > 0
        ever["below"] |= bounds.upper < 0

    allowed = alpha + 3 * np.sqrt(alpha * (1 - alpha) / n_runs)
    for name, runs in ever.items():
        # A test that never rejects would pass, and be of no use.
        assert 0 < runs.mean() <= allowed, name
