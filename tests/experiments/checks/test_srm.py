import json
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binom, chisquare

from experiments.checks import srm, srm_days, srm_sources
from experiments.checks.finding import CheckState
from experiments.errors import InvalidParameterError
from experiments.evidence import Arrivals, Evidence, ExposureAccount
from tests.experiments.builders import METRICS, START, arriving, evidence, experiment, variants

STATS = Path("tests/golden/stats")
EXACT = json.loads((STATS / "seqsrm.json").read_text())
CLASSIC = {case["id"]: case for case in json.loads((STATS / "srm.json").read_text())}
E = experiment()
FIRST = date(2027, 1, 5)


@pytest.mark.parametrize("case", EXACT, ids=lambda case: case["id"])
def test_the_bayes_factor_is_exact(case: Any) -> None:
    given_ = case["input"]

    found = srm.log_bayes_factor(
        np.array([given_["counts"]], float), np.array(given_["null"]), np.array(given_["dirichlet"], float)
    )
    assert found[0] == pytest.approx(case["expected"], abs=case["abs_tol"])


def test_a_real_incident_alarms_and_a_real_doubt_does_not() -> None:
    incident = CLASSIC["srm-posthog-84351"]["input"]
    doubt = CLASSIC["srm-cookiecats"]

    # The published classical p-values, to show that the same data are meant.
    expected = np.array(incident["weights"]) * sum(incident["counts"])
    assert np.log10(chisquare(incident["counts"], expected).pvalue) == pytest.approx(-148.6198, abs=0.01)
    assert chisquare(doubt["input"]["counts"]).pvalue == pytest.approx(doubt["expected"], abs=5e-5)

    assert srm.srm_p_value([incident["counts"]], incident["weights"]) < 1e-90
    # p = .0086 at one look is not yet an alarm for somebody who looks every day.
    assert srm.srm_p_value([doubt["input"]["counts"]], doubt["input"]["weights"]) > srm.ALARM_LEVEL


@given(
    days=st.lists(st.tuples(st.integers(0, 5_000), st.integers(0, 5_000)), min_size=1, max_size=10),
    share=st.floats(0.01, 0.99),
)
def test_more_looks_never_raise_the_p_value(days: list[tuple[int, int]], share: float) -> None:
    looks = np.cumsum(np.array(days), axis=0).tolist()
    p_values = [srm.srm_p_value(looks[:i], [share, 1 - share]) for i in range(len(looks) + 1)]

    assert p_values[0] == 1.0
    assert all(after <= before * (1 + 1e-9) for before, after in pairwise(p_values))
    assert all(0 <= p <= 1 for p in p_values)


def test_the_planned_split_does_not_alarm_and_another_one_does() -> None:
    fine = srm.check(E, METRICS, evidence({}, arrivals=[5_040, 4_960]))
    broken = srm.check(E, METRICS, evidence({}, arrivals=[5_400, 4_600]))

    assert fine.state is CheckState.OK
    assert fine.members()["planned"] == {"a": 0.5, "b": 0.5}
    assert fine.members()["advice"] == ""
    assert "not shown to differ from the plan (50.4/49.6, planned 50.0/50.0, SRM p = " in fine.detail
    assert broken.state is CheckState.ALARM
    assert "not as planned: 54.0/46.0 instead of 50.0/50.0" in broken.detail
    assert "start a new phase" in str(broken.members()["advice"])


def test_a_split_is_first_judged_when_a_day_has_closed() -> None:
    open_day = Evidence(
        periods=(),
        arrivals=(Arrivals(START.date(), "a", 900, "web"),),
        account=ExposureAccount(),
        as_of=START,
        first_exposure_at=START,
    )

    for one in (srm, srm_days, srm_sources):
        assert one.check(E, METRICS, open_day).state is CheckState.NOT_YET_KNOWN


def test_a_broken_split_stays_broken_when_later_days_hide_it() -> None:
    hidden = arriving([("", [(900, 500), (0, 400)])])

    assert srm.check(E, METRICS, hidden).state is CheckState.ALARM


def test_sources_are_added_up() -> None:
    hidden = arriving([("web", [(450, 450)] * 3), ("app", [(50, 50)] * 3)])

    finding = srm.check(E, METRICS, hidden)

    assert finding.state is CheckState.OK
    assert finding.facts["counts"] == {"a": 1_500, "b": 1_500}


def test_a_day_without_units_says_nothing() -> None:
    assert (
        "(none, planned 50.0/50.0, SRM p = 1)" in srm.check(E, METRICS, evidence({}, arrivals=[0, 0])).detail
    )


def test_whole_buckets_are_the_plan() -> None:
    tiny = experiment(variants=variants(7_000, 3_000), allocation_bp=5)
    none = experiment(variants=variants(7_000, 3_000), allocation_bp=0)

    assert srm.planned_shares(tiny) == {"a": 0.75, "b": 0.25}
    assert srm.planned_shares(none) == {"a": 0.7, "b": 0.3}
    assert srm.planned_shares(experiment(variants=variants(10_000, 0))) == {"a": 1.0}


def test_variants_without_a_share_are_not_part_of_the_split() -> None:
    e = experiment(variants=variants(5_000, 5_000, 0))

    assert srm.check(e, METRICS, evidence({}, arrivals=[500, 500, 3])).state is CheckState.OK


@pytest.mark.parametrize("shares", [[], [0.0, 1.0]])
def test_a_plan_outside_its_domain_is_refused(shares: list[float]) -> None:
    with pytest.raises(InvalidParameterError):
        srm.srm_p_value([[1, 1]], shares)


@pytest.mark.parametrize(("counts", "alarms"), [((274, 149), True), ((60, 14), True), ((225, 198), False)])
def test_a_split_far_off_the_plan_is_seen_among_few_units(counts: tuple[int, int], alarms: bool) -> None:
    finding = srm.check(E, METRICS, evidence({}, arrivals=counts))

    assert (finding.state is CheckState.ALARM) is alarms


def test_the_evidence_is_a_fair_bet_under_the_plan() -> None:
    # Exactly, over all outcomes of 30 units: the mean of 1 / p, were p not cut at 1, is 1.
    n, share = 30, 0.3
    outcomes = np.arange(n + 1)
    counts = np.stack([outcomes, n - outcomes], axis=1).astype(float)
    planned = np.array([share, 1 - share])
    bets = np.zeros(n + 1)
    for concentration, weight in srm.PRIORS:
        bets += weight * np.exp(srm.log_bayes_factor(counts, planned, 2 * concentration * planned))

    assert (binom.pmf(outcomes, n, share) * bets).sum() == pytest.approx(1, rel=1e-9)
    uncut = bets > 1
    p_values = [srm.srm_p_value([row], [share, 1 - share]) for row in counts[uncut].astype(int).tolist()]
    assert p_values == pytest.approx(1 / bets[uncut])


def test_one_day_off_the_plan_is_named_even_if_the_whole_looks_fine() -> None:
    days = [(1_000, 1_000)] * 6 + [(1_000, 760)] + [(1_000, 1_000)] * 7
    seen = arriving([("", days)])

    finding = srm_days.check(E, METRICS, seen)

    assert srm.check(E, METRICS, seen).state is CheckState.OK
    assert finding.state is CheckState.ALARM
    assert finding.facts["broken"] == [(FIRST + timedelta(days=6)).isoformat()]
    assert "on 1 day with 6.3 % of the units: 2027-01-11 (56.8/43.2)" in finding.detail
    assert "start a new phase" in finding.advice


def test_a_small_day_off_the_plan_is_a_warning() -> None:
    seen = arriving([("", [(100, 0)] + [(1_000, 1_000)] * 7)])

    assert srm_days.check(E, METRICS, seen).state is CheckState.WARNING


def test_days_that_waver_by_chance_are_quiet() -> None:
    seen = arriving([("", [(1_040, 960), (960, 1_040)] * 4)])

    finding = srm_days.check(E, METRICS, seen)

    assert finding.state is CheckState.OK
    assert finding.advice == ""
    assert finding.detail.startswith("No single day is shown to differ")


def test_one_broken_source_among_good_ones_is_named() -> None:
    seen = arriving(
        [("web", [(2_000, 2_000)] * 14), ("app", [(100, 75)] * 14), ("import", [(500, 500)] * 14)]
    )

    finding = srm_sources.check(E, METRICS, seen)

    assert srm.check(E, METRICS, seen).state is CheckState.OK
    assert finding.state is CheckState.ALARM
    assert finding.facts["broken"] == ["app"]
    assert "not as planned in what was sent through `app` (57.1/42.9), 3.4 % of the units" in finding.detail
    assert "new phase" in finding.advice


def test_variants_with_sources_of_their_own_are_a_warning_while_nothing_is_missing() -> None:
    swapped = arriving([("server", [(1_000, 0)] * 7), ("browser", [(0, 1_000)] * 7)])
    missing = arriving([("server", [(1_000, 0)] * 7), ("browser", [(0, 700)] * 7)])

    finding = srm_sources.check(E, METRICS, swapped)

    assert finding.state is CheckState.WARNING
    assert "through the same one" in finding.advice
    assert srm_sources.check(E, METRICS, missing).state is CheckState.ALARM


def test_a_small_broken_source_is_a_warning() -> None:
    seen = arriving([("web", [(2_000, 2_000)] * 14), ("partner", [(20, 0)] * 14)])

    finding = srm_sources.check(E, METRICS, seen)

    assert finding.state is CheckState.WARNING
    assert finding.facts["broken"] == ["partner"]


def test_sources_as_planned_are_quiet_and_unknown_ones_too() -> None:
    fine = arriving([("web", [(1_000, 1_010)] * 3), ("", [(52, 48)] * 3)])

    assert srm_sources.check(E, METRICS, fine).state is CheckState.OK
    assert (
        srm_sources.check(E, METRICS, arriving([("", [(9, 9)])])).detail
        == "Which source sent the exposures is not known."
    )


def test_a_single_source_has_nothing_to_add_even_if_the_whole_is_broken() -> None:
    seen = arriving([("events", [(900, 500)] * 3)])

    finding = srm_sources.check(E, METRICS, seen)

    assert srm.check(E, METRICS, seen).state is CheckState.ALARM
    assert finding.state is CheckState.OK
    assert finding.detail == "All units were sent through `events`: one source is the whole."
    assert finding.facts == {"p_value": None, "counts": {"events": {"a": 2_700, "b": 1_500}}, "broken": []}


def test_units_of_an_unknown_source_are_one_source() -> None:
    seen = arriving([("web", [(1_000, 1_000)] * 7), ("", [(200, 100)] * 7)])

    assert "through a source that is not known (66.7/33.3)" in srm_sources.check(E, METRICS, seen).detail


@pytest.mark.statistical
def test_a_fair_split_alarms_in_at_most_one_lifetime_of_a_hundred_over_all_checks_of_it() -> None:
    lifetimes, days, level = 2_500, 42, 0.99
    rng = np.random.default_rng(20_270_105)
    e = experiment(variants=variants(5_000, 3_000, 2_000))
    sizes = {"web": 400, "app": 120, "import": 15}
    looked = (srm.check, srm_days.check, srm_sources.check)
    alarms = 0
    for _ in range(lifetimes):
        drawn = {s: rng.multinomial(rng.poisson(n, days), [0.5, 0.3, 0.2]).tolist() for s, n in sizes.items()}
        # Once alarmed it stays so: the last look tells whether any look did. Warnings count as alarms here.
        found = {check(e, METRICS, arriving(drawn.items())).state for check in looked}
        alarms += bool(found & {CheckState.ALARM, CheckState.WARNING})

    assert beta.ppf(level, alarms + 1, lifetimes - alarms) <= srm.ALARM_LEVEL
