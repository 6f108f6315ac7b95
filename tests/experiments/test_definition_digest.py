from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from experiments.definition_digest import TOLD_ONLY, digest_of
from experiments.definitions import AnalysisPlan, Direction, MetricPlan
from experiments.errors import InvalidParameterError
from experiments.lifecycle import Schedule, Status
from experiments.money_plan import MoneyPlan
from experiments.targeting.conditions import All, Any_, Leaf
from tests.experiments.verdict_scenes import REVENUE, plan


@pytest.mark.parametrize(
    "change",
    [
        {"status": Status.STOPPED},
        {"schedule": Schedule(end_at=datetime(2027, 2, 1, tzinfo=UTC))},
        {"metrics": MetricPlan(primary="revenue")},
        {"analysis": AnalysisPlan(mde=0.2)},
        {"money": MoneyPlan(metric="revenue", costs={"banner": 1.0})},
        {"overrides": {"banner": ("qa",)}},
        {"audience": All((Leaf("country", "eq", "ES"),))},
        {"audience": Any_((Leaf("country", "eq", "ES"),))},
    ],
)
def test_every_change_of_a_definition_is_another_digest(change: dict[str, Any]) -> None:
    assert digest_of(replace(plan(), **change)) != digest_of(plan())


def test_conditions_of_another_kind_are_not_the_same() -> None:
    parts = (Leaf("country", "eq", "ES"), Leaf("country", "eq", "PT"))

    assert digest_of(plan(audience=All(parts))) != digest_of(plan(audience=Any_(parts)))


def test_what_is_written_out_although_it_is_the_default_is_the_same() -> None:
    written_out = replace(plan(), schedule=Schedule(), status=Status.RUNNING, overrides={})

    assert digest_of(written_out) == digest_of(plan())


def test_a_metric_is_the_same_by_any_label() -> None:
    renamed = replace(REVENUE, label="turnover", owner="maria")

    assert digest_of(renamed, without=TOLD_ONLY) == digest_of(REVENUE, without=TOLD_ONLY)
    assert digest_of(renamed) != digest_of(REVENUE)
    for change in ({"direction": Direction.DOWN}, {"cap": 400.0}, {"where": {"shop": "a"}}, {"window_s": 1}):
        assert digest_of(replace(REVENUE, **change), without=TOLD_ONLY) != digest_of(
            REVENUE, without=TOLD_ONLY
        )


def test_the_digest_of_a_definition_does_not_move() -> None:
    assert digest_of(MoneyPlan(metric="revenue")) == (
        "8b5bf5fd975a0cf81de76c185b0dcbe1856363c309a37529444d1dfa6009d073"
    )


def test_what_has_no_form_is_refused() -> None:
    with pytest.raises(InvalidParameterError, match="set, which has no digest"):
        digest_of(MoneyPlan(metric="revenue", costs={"banner": {1.0}}))  # type: ignore[dict-item]
