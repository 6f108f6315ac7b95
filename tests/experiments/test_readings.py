"""What metrics say at one look: one test for each kind, one level for each family."""

import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.burn_in import is_burnt_in
from experiments.comparisons import Pair, dispersion, estimate_of, infer, infer_series
from experiments.definitions import Direction, Experiment, Guardrail, Metric, MetricKind, MetricPlan, Test
from experiments.errors import InvalidParameterError
from experiments.estimates import Estimate, Reading
from experiments.inference.interval import Inference
from experiments.inference.multiplicity import shared_level
from experiments.moments import NOTHING, SCALE, Moments
from experiments.readings import read_metrics
from tests.experiments.builders import conversions, evidence, experiment, metric, variants
from tests.experiments.verdict_scenes import amounts, amounts_with_past, seconds

N = 20_000
KINDS: Mapping[Test, MetricKind] = {test: MetricKind(test.value) for test in Test}


def of_kind(kind: MetricKind, **changes: Any) -> Metric:
    needs: dict[str, Any] = {"value": "amount"} if kind is not MetricKind.CONVERSION else {}
    return metric(kind=kind, **needs, **changes)


def ratios(n: int, per_unit: int, amount: float) -> Moments:
    """Return units with one to three orders each and an amount per order that varies a little."""
    below = [SCALE * (1 + i % per_unit) for i in range(n)]
    above = [round(b * amount * (0.9 + 0.2 * (i % 7) / 6)) for i, b in enumerate(below)]
    return Moments.of(above, below)


def counts(n: int, each: int) -> Moments:
    return Moments.of([SCALE * (each if i % 4 == 0 else 0) for i in range(n)])


def of_counts(many: npt.NDArray[np.int64]) -> Moments:
    return Moments.of([SCALE * n for n in many.tolist()])


DAYS = [date(2027, 1, 5) + timedelta(days=i) for i in range(10)]
SAMPLES = {
    Test.CONVERSION: (conversions(N, 1_200), conversions(N, 1_000)),
    Test.COUNT: (counts(N, 5), counts(N, 4)),
    Test.MEAN: (amounts(N, 0.12, 30), amounts(N, 0.1, 30)),
    Test.RATIO: (ratios(N, 3, 22), ratios(N, 3, 20)),
    Test.QUANTILE: (seconds(4_000, 1.2), seconds(4_000, 1.0)),
}


def read(kind: MetricKind, treatment: Moments, control: Moments, **changes: Any) -> Reading:
    known = evidence({("buy", "a"): control, ("buy", "b"): treatment}, arrivals=[1, 1])
    return read_metrics(experiment(**changes), {"buy": of_kind(kind)}, known)[1]


@pytest.mark.parametrize("test", Test)
def test_every_kind_is_judged_by_its_test_and_all_that_it_shows_agrees(test: Test) -> None:
    treatment, control = SAMPLES[test]

    better, worse = read(KINDS[test], treatment, control), read(KINDS[test], control, treatment)

    assert (better.state.value, worse.state.value) == ("better", "worse")
    for one in (better, worse):
        assert one.lift is not None
        assert one.effect is not None
        assert one.p_value is not None
        assert one.e_value is not None
        assert one.level == 0.05
        assert one.p_value <= one.level <= 1
        assert one.e_value >= 1 / one.level
        for shown in (one.lift, one.effect):
            assert shown.estimate is not None
            assert shown.lower is not None
            assert shown.upper is not None
            assert shown.lower <= shown.estimate <= shown.upper
            assert (shown.lower > 0) == (one is better)
            assert (shown.upper < 0) == (one is worse)


@pytest.mark.parametrize("test", Test)
def test_the_estimate_of_a_variant_is_that_of_its_units(test: Test) -> None:
    treatment, _ = SAMPLES[test]
    expected = {
        Test.CONVERSION: 0.06,
        Test.COUNT: 1.25,
        Test.MEAN: treatment.mean,
        Test.RATIO: treatment.total / treatment.others[0] if treatment.others else None,
        Test.QUANTILE: 1.2 * 2.0,
    }[test]

    assert estimate_of(of_kind(KINDS[test]), treatment) == pytest.approx(expected, rel=0.01)
    assert estimate_of(of_kind(KINDS[test]), NOTHING) is None


def test_a_ratio_over_nothing_has_no_estimate() -> None:
    assert estimate_of(of_kind(MetricKind.RATIO), Moments.of([0, 0], [0, 0])) is None
    assert estimate_of(of_kind(MetricKind.QUANTILE), Moments(3, 0, 0)) is None


def test_a_secondary_family_is_that_of_all_metrics_and_treatments_together() -> None:
    keys = ("buy", "s1", "s2")
    metrics = {key: metric(key=key) for key in keys}
    e = experiment(
        variants=variants(4_000, 3_000, 3_000), metrics=MetricPlan(primary="buy", secondary=("s1", "s2"))
    )
    alike, far = conversions(N, 1_000), conversions(N, 1_300)
    moments = {(key, v): alike for key in keys for v in "abc"} | {("s1", "b"): far, ("s2", "b"): far}

    found = read_metrics(e, metrics, evidence(moments, arrivals=[1, 1, 1]))

    levels = {(r.metric.key, r.variant): r.level for r in found if r.variant != "a"}
    # No treatment differs in the primary metric: alpha / 2. Two of four secondary ones do: alpha * 2 / 4.
    assert levels == {(key, v): 0.025 for key in keys for v in "bc"}
    states = {(r.metric.key, r.variant): r.state.value for r in found}
    assert (states["s1", "b"], states["s2", "b"], states["s1", "c"]) == ("better", "better", "not_yet_known")


def test_what_is_called_different_is_what_e_bh_rejects() -> None:
    arms = {"a": 1_000, "b": 1_190, "c": 1_130, "d": 1_000}
    e = experiment(variants=variants(4_000, 2_000, 2_000, 2_000))
    moments = {("buy", key): conversions(N, converted) for key, converted in arms.items()}

    found = read_metrics(e, {"buy": metric()}, evidence(moments, arrivals=[1, 1, 1, 1]))[1:]

    log_e = np.array([math.log(r.e_value or math.nan) for r in found])
    level = shared_level(log_e, alpha=0.05)
    assert {r.level for r in found} == {level}
    assert [r.state.value == "better" for r in found] == (log_e >= -math.log(level)).tolist()


def test_a_guardrail_spends_alpha_alone_whatever_the_number_of_treatments() -> None:
    plan = MetricPlan(primary="buy", guardrails=(Guardrail(metric="g", margin=0.1),))
    e = experiment(variants=variants(4_000, 3_000, 3_000), metrics=plan)
    moments = {(key, v): conversions(N, 1_000) for key in ("buy", "g") for v in "abc"}

    found = read_metrics(e, {"buy": metric(), "g": metric(key="g")}, evidence(moments, arrivals=[1, 1, 1]))

    guards = [r for r in found if r.role.value == "guardrail" and r.variant != "a"]
    assert [(r.level, r.p_value, r.e_value) for r in guards] == [(0.05, None, None)] * 2


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize("test", Test)
def test_bounds_of_a_guardrail_lie_inside_the_two_sided_interval_of_twice_the_level(
    test: Test, direction: Direction
) -> None:
    treatment, control = SAMPLES[test]
    plan = MetricPlan(primary="buy", guardrails=(Guardrail(metric="g", margin=0.5),))
    guarded = of_kind(KINDS[test], key="g", direction=direction)
    moments = {("g", "a"): control, ("g", "b"): treatment, ("buy", "a"): NOTHING, ("buy", "b"): NOTHING}

    found = read_metrics(
        experiment(metrics=plan), {"buy": metric(), "g": guarded}, evidence(moments, arrivals=[1, 1])
    )[-1]

    two_sided = read(KINDS[test], treatment, control).lift
    assert found.state.value == "safe"
    assert found.lift is not None
    assert two_sided is not None
    assert inside(found.lift, two_sided)


def inside(inner: Estimate, outer: Estimate) -> bool:
    ends = (inner.lower, inner.upper, outer.lower, outer.upper)
    low, high, least, most = (math.nan if end is None else end for end in ends)
    return least <= low < high <= most


def test_covariates_sharpen_a_comparison_and_show_what_it_was_without() -> None:
    treatment, control = amounts_with_past(N, 0.125, 30), amounts_with_past(N, 0.12, 30)
    plain = [replace(m, others=(), products=()) for m in (treatment, control)]

    found, without = read(MetricKind.MEAN, treatment, control), read(MetricKind.MEAN, *plain)

    assert without.adjusted is None
    assert found.adjusted is not None
    assert found.lift is not None
    assert without.lift is not None
    assert found.adjusted.lift == pytest.approx(without.lift)
    assert found.adjusted.effect == pytest.approx(without.effect)
    assert found.adjusted.variance_ratio < 0.5
    assert inside(found.lift, without.lift)
    assert (without.state.value, found.state.value) == ("not_yet_known", "better")
    assert found.estimate == without.estimate


def test_where_nothing_varies_nothing_is_adjusted() -> None:
    still = Moments.of([SCALE] * 2_000, [SCALE] * 2_000)

    found = read(MetricKind.MEAN, still, still)
    assert (found.adjusted, found.p_value) == (None, None)


def test_a_ratio_with_a_covariate_is_adjusted_too() -> None:
    def with_past(m: Moments, amount: float) -> Moments:
        below = [SCALE * (1 + i % 3) for i in range(2_000)]
        past = [SCALE * (i % 7) for i in range(2_000)]
        above = [round(b * (amount + i % 7)) for i, b in enumerate(below)]
        return Moments.of(above, below, past) if m.n else m

    found = read(
        MetricKind.RATIO, with_past(SAMPLES[Test.RATIO][0], 20), with_past(SAMPLES[Test.RATIO][0], 20)
    )

    assert found.adjusted is not None
    assert found.adjusted.variance_ratio < 0.9


@pytest.mark.parametrize(
    ("kind", "treatment", "ready"),
    [
        (MetricKind.CONVERSION, conversions(1, 0), True),
        (MetricKind.RETENTION, conversions(1, 0), True),
        (MetricKind.QUANTILE, seconds(100, 1.0), True),
        (MetricKind.QUANTILE, seconds(99, 1.0), False),
        (MetricKind.MEAN, amounts(1_000, 0.1, 1), True),
        (MetricKind.MEAN, amounts(999, 0.1, 1), False),
        (MetricKind.MEAN, amounts(1_000, 0.05, 1), False),
        (MetricKind.COUNT, counts(1_000, 1), True),
        (MetricKind.RATIO, ratios(1_000, 3, 5), True),
        (MetricKind.RATIO, Moments.of([SCALE] * 60 + [0] * 2_000, [SCALE] * 2_060), True),
        (MetricKind.RATIO, Moments.of([SCALE] * 40 + [0] * 2_000, [SCALE] * 2_040), False),
        (MetricKind.RATIO, Moments.of([SCALE] * 40 + [0] * 2_000, [SCALE] * 40 + [0] * 2_000), False),
        (MetricKind.RATIO, Moments(2_000, 5, 5), False),
        (MetricKind.FUNNEL, Moments.of([SCALE] * 2_000, [SCALE] * 2_000), False),
        (MetricKind.FUNNEL, Moments.of([SCALE] * 1_000 + [0] * 60, [SCALE] * 1_060), True),
        (MetricKind.NPS, Moments.of([100 * SCALE, -100 * SCALE] * 600, [SCALE] * 1_200), True),
        (MetricKind.NPS, Moments.of([100 * SCALE] * 40 + [0] * 1_000, [SCALE] * 40 + [0] * 1_000), False),
    ],
)
def test_the_burn_in_is_as_published(kind: MetricKind, treatment: Moments, ready: bool) -> None:
    assert is_burnt_in(of_kind(kind), treatment, treatment) is ready


@pytest.mark.parametrize(("buyers", "ready"), [(499, False), (500, True)])
def test_what_carries_a_sum_is_asked_for_in_the_smaller_variant(buyers: int, ready: bool) -> None:
    large = Moments.of([SCALE] * buyers + [0] * (9_000 - buyers))
    sells_nothing = Moments.of([0] * 1_000)

    assert is_burnt_in(of_kind(MetricKind.MEAN), sells_nothing, large) is ready
    assert is_burnt_in(of_kind(MetricKind.MEAN), large, sells_nothing) is ready


def test_a_count_with_a_covariate_is_read_as_a_mean() -> None:
    past = [SCALE * (i % 5) for i in range(4_000)]
    now = [p + SCALE * (i % 2) for i, p in enumerate(past)]

    known = evidence({("buy", "a"): Moments.of(now, past), ("buy", "b"): Moments.of(now, past)})
    found = read_metrics(experiment(), {"buy": of_kind(MetricKind.COUNT, lookback_s=86_400)}, known)[1]

    assert found.adjusted is not None
    assert found.adjusted.variance_ratio < 0.2


def test_what_nobody_can_have_counted_is_refused() -> None:
    huge = Moments.of([10**16 * SCALE] * 1_000)

    with pytest.raises(InvalidParameterError, match="more than can be counted"):
        read(MetricKind.COUNT, huge, huge)


@pytest.mark.statistical
def test_a_small_variant_that_varies_more_than_the_large_one_does_not_look_different() -> None:
    rng, wrong, plan = np.random.default_rng(7), 0, experiment().analysis
    for _ in range(100):
        clumped, plain = rng.poisson(rng.gamma(0.1, 5, (10, 200))), rng.poisson(0.5, (10, 1_800))
        treatment, control = (dict(zip(DAYS, map(of_counts, many), strict=True)) for many in (clumped, plain))
        pair = Pair.of(of_kind(MetricKind.COUNT), n_star=8_000, treatment=treatment, control=control)
        wrong += bool((infer_series(pair, plan=plan, alpha=0.05).log_e >= np.log(20)).any())

    assert wrong <= 11  # 5 % and three standard errors; the pooled variance made it 30


@pytest.mark.parametrize("test", [Test.COUNT, Test.MEAN, Test.RATIO, Test.QUANTILE])
def test_before_the_burn_in_there_are_estimates_and_nothing_else(test: Test) -> None:
    small = {
        Test.COUNT: counts(900, 5),
        Test.MEAN: amounts(900, 0.5, 3),
        Test.RATIO: ratios(900, 3, 20),
        Test.QUANTILE: seconds(90, 1.0),
    }[test]

    found = read(KINDS[test], small, small)

    assert found.state.value == "burn_in"
    assert found.lift is not None
    assert found.lift.estimate == pytest.approx(0)
    assert (found.lift.lower, found.lift.upper) == (None, None)
    assert (found.p_value, found.e_value) == (None, None)


def test_counts_of_one_unit_that_hang_together_weigh_less() -> None:
    spread = Moments.of([SCALE * 8 if i % 8 == 0 else 0 for i in range(4_000)])
    single = Moments.of([SCALE * (i % 8 == 0) * 8 // 8 for i in range(4_000)])

    assert dispersion(spread, spread) == pytest.approx(7, rel=0.01)
    assert dispersion(single, single) == pytest.approx(7 / 8, rel=0.01)
    assert dispersion(NOTHING, NOTHING) == dispersion(Moments.of([SCALE]), Moments.of([0])) == 1


@settings(max_examples=30, deadline=None)
@given(
    rates=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=1, max_size=6),
    mde=st.floats(0.02, 1),
)
def test_one_call_for_many_comparisons_says_what_many_calls_say(
    rates: list[tuple[int, int]], mde: float
) -> None:
    e: Experiment = experiment()
    pairs = [
        Pair(
            metric=metric(),
            n_star=100,
            treatment=conversions(60, t),
            control=conversions(60, c),
            days=((conversions(60, t), conversions(60, c)),),
        )
        for t, c in rates
    ]
    plan = replace(e.analysis, mde=mde)
    level = np.array([0.05])

    together: Inference = infer(Test.CONVERSION, pairs, plan=plan, alpha=0.05)
    alone = [infer(Test.CONVERSION, [pair], plan=plan, alpha=0.05) for pair in pairs]

    assert together.log_e == pytest.approx([one.log_e[0] for one in alone], abs=1e-9)
    lower = together.two_sided(np.full(len(pairs), 0.05)).effect.lower
    assert lower == pytest.approx([one.two_sided(level).effect.lower[0] for one in alone], abs=1e-7)
