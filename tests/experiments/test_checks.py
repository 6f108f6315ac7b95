import json
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from experiments.checks import CHECKS, accounting, contamination, crossover, quarantine, srm
from experiments.checks.finding import CheckState
from experiments.errors import InvalidParameterError
from experiments.evidence import Arrivals, Evidence, ExposureAccount
from tests.experiments.builders import START, conversions, evidence, experiment, variants

STATS = Path("tests/golden/stats")
EXACT = json.loads((STATS / "seqsrm.json").read_text())
CLASSIC = {case["id"]: case for case in json.loads((STATS / "srm.json").read_text())}
E = experiment()


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
    fine = srm.check(E, evidence({}, arrivals=[5_040, 4_960]))
    broken = srm.check(E, evidence({}, arrivals=[5_400, 4_600]))

    assert fine.state is CheckState.OK
    assert fine.members()["planned"] == {"a": 0.5, "b": 0.5}
    assert "as planned (50.4/49.6, SRM p = " in fine.detail
    assert broken.state is CheckState.ALARM
    assert "not as planned: 54.0/46.0 instead of 50.0/50.0" in broken.detail


def test_a_split_is_first_judged_when_a_day_has_closed() -> None:
    open_day = Evidence(
        periods=(),
        arrivals=(Arrivals(START.date(), "a", 900),),
        account=ExposureAccount(),
        as_of=START,
        first_exposure_at=START,
    )

    assert srm.check(E, open_day).state is CheckState.NOT_YET_KNOWN


def test_a_broken_split_stays_broken_when_later_days_hide_it() -> None:
    day = date(2027, 1, 5)
    rows = [(day, "a", 900), (day, "b", 500), (day + timedelta(days=1), "b", 400)]
    late = Evidence(
        periods=(),
        arrivals=tuple(Arrivals(*row) for row in reversed(rows)),
        account=ExposureAccount(),
        as_of=START + timedelta(days=9),
        first_exposure_at=START,
    )

    assert srm.check(E, late).state is CheckState.ALARM


def test_a_day_without_units_says_nothing() -> None:
    assert "(none, SRM p = 1)" in srm.check(E, evidence({}, arrivals=[0, 0])).detail


def test_whole_buckets_are_the_plan() -> None:
    tiny = experiment(variants=variants(7_000, 3_000), allocation_bp=5)
    none = experiment(variants=variants(7_000, 3_000), allocation_bp=0)

    assert srm.planned_shares(tiny) == {"a": 0.75, "b": 0.25}
    assert srm.planned_shares(none) == {"a": 0.7, "b": 0.3}
    assert srm.planned_shares(experiment(variants=variants(10_000, 0))) == {"a": 1.0}


def test_variants_without_a_share_are_not_part_of_the_split() -> None:
    e = experiment(variants=variants(5_000, 5_000, 0))

    assert srm.check(e, evidence({}, arrivals=[500, 500, 3])).state is CheckState.OK


@pytest.mark.parametrize("shares", [[], [0.0, 1.0]])
def test_a_plan_without_shares_is_refused(shares: list[float]) -> None:
    with pytest.raises(InvalidParameterError):
        srm.srm_p_value([[1, 1]], shares)


def test_accounts_that_add_up_are_fine() -> None:
    account = ExposureAccount(
        events=12,
        first=7,
        repeats=3,
        quarantined={"override": 2},
        exposed_units={"a": 4, "b": 3},
        excluded={"immature": 1},
        analysed={"a": 3, "b": 3},
    )

    assert accounting.check(E, evidence({}, arrivals=[], account=account)).state is CheckState.OK


@pytest.mark.parametrize(
    ("account", "words"),
    [
        (ExposureAccount(events=3, first=1), "3 exposure events, but 1 accounted for"),
        (ExposureAccount(exposed_units={"a": 2}), "2 exposed units, but 0 analysed or excluded"),
        (ExposureAccount(analysed={"z": 0}), "unknown variants: z"),
    ],
)
def test_accounts_that_do_not_add_up_alarm(account: ExposureAccount, words: str) -> None:
    finding = accounting.check(E, evidence({}, arrivals=[], account=account))

    assert finding.state is CheckState.ALARM
    assert words in finding.detail


def test_units_of_unknown_variants_alarm() -> None:
    finding = accounting.check(E, evidence({("buy", "c"): conversions(10, 1)}, arrivals=[1, 1, 1, 1]))

    assert "unknown variants: c, d" in finding.detail


@pytest.mark.parametrize(("several", "state"), [(5, CheckState.OK), (6, CheckState.WARNING)])
def test_too_many_units_in_several_variants_are_a_warning(several: int, state: CheckState) -> None:
    account = ExposureAccount(exposed_units={"a": 1_000}, excluded={"multiple_variants": several})

    assert crossover.check(E, evidence({}, arrivals=[], account=account)).state is state


@pytest.mark.parametrize(("n", "state"), [(10, CheckState.OK), (11, CheckState.WARNING)])
def test_too_many_units_of_people_with_several_ids_are_a_warning(n: int, state: CheckState) -> None:
    account = ExposureAccount(exposed_units={"a": 1_000}, contaminated_units=n)

    assert contamination.check(E, evidence({}, arrivals=[], account=account)).state is state


@pytest.mark.parametrize(("refused", "state"), [(1, CheckState.OK), (2, CheckState.WARNING)])
def test_too_many_refused_exposures_are_a_warning(refused: int, state: CheckState) -> None:
    account = ExposureAccount(events=100, quarantined={"variant_mismatch": refused})

    assert quarantine.check(E, evidence({}, arrivals=[], account=account)).state is state


def test_every_check_stands_an_empty_experiment() -> None:
    states = {check(E, evidence({}, arrivals=[])).state for check in CHECKS}

    assert states == {CheckState.OK, CheckState.NOT_YET_KNOWN}
