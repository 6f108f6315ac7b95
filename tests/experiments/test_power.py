import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import samplesize_proportions_2indep_onetail

from experiments.definitions import AnalysisPlan, Test
from experiments.errors import InvalidParameterError
from experiments.power import LOOKS, MAX_PLANNED, planned_total, power_by, sequential_n, units_needed
from tests.experiments.builders import experiment, variants


def test_the_planned_number_is_that_of_the_reference() -> None:
    # 31,231 in each variant at 5 % base, 10 % smallest lift, 80 % power: docs/decisions/0003-statistics.md.
    assert units_needed(AnalysisPlan(baseline=0.05, mde=0.1)) == 2 * 31_231


@pytest.mark.parametrize(("baseline", "mde"), [(0.05, 0.1), (0.3, 0.05), (0.01, 0.5)])
def test_the_planned_number_is_near_that_of_statsmodels(baseline: float, mde: float) -> None:
    pooled = samplesize_proportions_2indep_onetail(
        diff=baseline * mde, prop2=baseline, power=0.8, ratio=1, alpha=0.05
    )

    # statsmodels pools the variance under no difference: the two recipes differ by a little.
    assert units_needed(AnalysisPlan(baseline=baseline, mde=mde)) == pytest.approx(2 * pooled, rel=0.02)


@given(baseline=st.floats(0.001, 0.9), mde=st.floats(0.01, 2.0), share=st.floats(0.01, 0.99))
def test_smaller_effects_and_lopsided_splits_need_more_units(
    baseline: float, mde: float, share: float
) -> None:
    plan = AnalysisPlan(baseline=baseline, mde=mde)
    half = AnalysisPlan(baseline=baseline, mde=mde / 2)

    assert units_needed(half, share_treatment=share) >= units_needed(plan, share_treatment=share)
    assert units_needed(plan, share_treatment=0.01) > 5 * units_needed(plan)


def test_a_lift_that_would_pass_certainty_is_planned_for_with_the_largest_there_is() -> None:
    assert units_needed(AnalysisPlan(baseline=0.9, mde=5.0)) > 1


def test_plans_for_hardly_any_effect_are_capped() -> None:
    assert units_needed(AnalysisPlan(baseline=1e-6, mde=1e-6)) == MAX_PLANNED


def test_treatments_without_any_weight_still_have_a_plan() -> None:
    assert planned_total(experiment(variants=variants(0, 0, 10_000)), "b") == planned_total(experiment(), "b")
    assert planned_total(experiment(variants=variants(10_000, 0)), "b") > planned_total(experiment(), "b")


@pytest.mark.parametrize("wrong", [{"power": 1.0}, {"baseline": 0.0}, {"mde": 0.0}, {"power": 0.01}])
def test_a_plan_outside_its_domain_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidParameterError):
        units_needed(AnalysisPlan(**wrong))


# docs/decisions/0003-statistics.md and the reference: daily looks over four weeks at the planned effect.
@pytest.mark.parametrize(("test", "found"), [(Test.CONVERSION, 0.574), (Test.COUNT, 0.574), (Test.MEAN, 0.5)])
def test_the_power_at_the_planned_units_is_that_of_the_reference(test: Test, found: float) -> None:
    assert power_by(1, AnalysisPlan(), test=test, level=0.05) == pytest.approx(found, abs=0.003)


@pytest.mark.parametrize("test", [Test.CONVERSION, Test.MEAN])
@pytest.mark.parametrize("power", [0.5, 0.8, 0.95])
def test_the_needed_units_have_the_planned_power(test: Test, power: float) -> None:
    e = experiment(analysis=AnalysisPlan(power=power))

    ratio = sequential_n(e, "b", test=test) / planned_total(e, "b")
    looks = math.floor(ratio * LOOKS)
    before = power_by(looks / LOOKS, e.analysis, test=test, level=0.05)
    after = power_by((looks + 1.5) / LOOKS, e.analysis, test=test, level=0.05)
    assert before <= power <= after


def test_the_test_of_conversions_needs_fewer_units_than_the_one_of_means() -> None:
    e = experiment()

    assert sequential_n(e, "b") == sequential_n(e, "b", test=Test.COUNT)
    assert planned_total(e, "b") < sequential_n(e, "b") < sequential_n(e, "b", test=Test.MEAN)


def test_more_treatments_need_more_units_each() -> None:
    two = experiment(variants=variants(4_000, 4_000, 2_000))

    assert sequential_n(two, "b") / planned_total(two, "b") > sequential_n(experiment(), "b") / planned_total(
        experiment(), "b"
    )


def test_before_the_first_look_nothing_is_found_and_with_time_more() -> None:
    by = [power_by(time, AnalysisPlan(), test=Test.CONVERSION, level=0.05) for time in (0.01, 0.5, 1, 2, 4)]

    assert by[0] == 0
    assert by == sorted(by)
    assert by[-1] > 0.99


def test_a_plan_that_hardly_ever_finds_its_effect_has_an_end() -> None:
    hopeless = experiment(analysis=AnalysisPlan(power=0.03))

    assert sequential_n(hopeless, "b", chance=0.9) == 50 * planned_total(hopeless, "b")
    assert sequential_n(experiment(), "b", chance=0.5) < planned_total(experiment(), "b")
