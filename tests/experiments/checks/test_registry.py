import inspect

import pytest

from experiments.checks import CHECKS
from experiments.checks.finding import CheckState, Finding, Share, advised
from service.dashboard.findings import CHECKS as NAMES
from service.settings import REPOSITORY
from tests.experiments.builders import METRICS, evidence, experiment

PAGE = (REPOSITORY / "docs" / "verdicts.md").read_text("utf-8")
KEYS = [inspect.getmodule(check).NAME for check in CHECKS]  # type: ignore[union-attr]


def test_every_check_stands_an_empty_experiment() -> None:
    states = {check(experiment(), METRICS, evidence({}, arrivals=[])).state for check in CHECKS}

    assert states == {CheckState.OK, CheckState.NOT_YET_KNOWN}


def test_every_check_stands_a_metric_without_a_definition() -> None:
    found = [check(experiment(), {}, evidence({}, arrivals=[])) for check in CHECKS]

    assert [finding.check for finding in found] == KEYS


def test_names_are_told_apart_and_explained() -> None:
    assert len(set(KEYS)) == len(KEYS)
    assert [key for key in KEYS if f"| `{key}` |" not in PAGE] == []
    assert set(NAMES) == set(KEYS)


@pytest.mark.parametrize("state", [CheckState.WARNING, CheckState.ALARM])
def test_advice_is_given_where_something_is_to_be_done(state: CheckState) -> None:
    finding = Finding(check="x", state=state, detail="It burns.", advice="Put it out.", facts={"n": 1})

    assert advised(finding) is finding
    assert finding.members() == {
        "check": "x",
        "state": state.value,
        "detail": "It burns.",
        "advice": "Put it out.",
        "n": 1,
    }


def test_a_share_of_nothing_is_none() -> None:
    assert (Share(0, 0).value, Share(1, 3).text) == (0.0, "33.3 %")
