from datetime import timedelta
from typing import Any

import pytest

from experiments.definitions import (
    AnalysisPlan,
    Experiment,
    Flag,
    Guardrail,
    Metric,
    MetricKind,
    MetricPlan,
    Test,
    Variant,
    type_name,
)
from experiments.errors import InvalidDefinitionError
from experiments.lifecycle import Schedule
from tests.experiments.builders import START, experiment, metric, variants

HALF = 5_000


def mixed(**changes: Any) -> Experiment:
    arms = (Variant(key="a", value=1, weight_bp=HALF), Variant(key="b", value="1", weight_bp=HALF))
    return experiment(variants=arms, **changes)


def reserved() -> Experiment:
    arms = (Variant(key="a", value=1, weight_bp=HALF), Variant(key="on", value=1, weight_bp=HALF))
    return experiment(variants=arms)


@pytest.mark.parametrize(
    ("build", "code", "path"),
    [
        (lambda: experiment(variants=variants(10_000)), "E311", ("variants",)),
        (lambda: experiment(variants=variants(5_000, 6_000)), "E310", ("variants",)),
        (reserved, "E312", ("variants", "on")),
        (mixed, "E313", ("variants",)),
        (lambda: experiment(overrides={"z": ("u",)}), "E314", ("overrides", "z")),
        (lambda: experiment(overrides={"a": ("u",), "b": ("v", "u")}), "E314", ("overrides", "b", 1)),
        (lambda: Flag(key="f", overrides={"on": ("u",), "off": ("u",)}), "E314", ("overrides", "off", 0)),
        (lambda: Flag(key="f", value=True, otherwise="no"), "E313", ("otherwise",)),
        (lambda: Schedule(start_at=START, end_at=START), "E321", ("schedule", "end")),
        (lambda: metric(kind=MetricKind.MEAN), "E330", ("value",)),
        (lambda: metric(kind=MetricKind.NPS), "E330", ("value",)),
        (lambda: metric(kind=MetricKind.CHURN, window_s=60, after_s=60), "E335", ("after",)),
        (lambda: metric(window_s=0), "E331", ("window",)),
        (lambda: metric(cap=0.0), "E332", ("cap",)),
        (lambda: metric(cap=0.0000001), "E308", ("cap",)),
        (lambda: metric(cap=2.0000005), "E308", ("cap",)),
    ],
)
def test_a_definition_that_contradicts_itself_cannot_be_built(build: Any, code: str, path: Any) -> None:
    with pytest.raises(InvalidDefinitionError) as caught:
        build()

    assert (caught.value.code, caught.value.path) == (code, path)


def test_a_unit_that_is_overridden_twice_is_told_with_both_variants() -> None:
    with pytest.raises(InvalidDefinitionError, match="'qa' for 'a' and for 'b'"):
        experiment(overrides={"a": ("qa",), "b": ("qa",)})

    assert experiment(overrides={"a": ("qa", "qa")}).overrides["a"] == ("qa", "qa")


def test_a_new_phase_is_a_new_salt() -> None:
    assert experiment(phase=2).salt == "banner#2"
    assert Flag(key="dark").salt == "dark#1"


def test_the_first_variant_is_the_control() -> None:
    assert experiment().control.key == "a"


def test_a_plan_names_every_metric_once() -> None:
    plan = MetricPlan(
        primary="buy", secondary=("spend",), guardrails=(Guardrail(metric="refund", margin=0.1),)
    )

    assert plan.keys() == ("buy", "spend", "refund")


@pytest.mark.parametrize(
    ("secondary", "guarded", "twice"),
    [(("buy",), (), "buy"), (("refund",), ("refund",), "refund"), ((), ("refund", "refund"), "refund")],
)
def test_a_metric_has_one_role_and_one_margin(
    secondary: tuple[str, ...], guarded: tuple[str, ...], twice: str
) -> None:
    guardrails = tuple(Guardrail(metric=key, margin=0.1 * (i + 1)) for i, key in enumerate(guarded))

    with pytest.raises(InvalidDefinitionError, match=f"'{twice}' plays two roles") as told:
        MetricPlan(primary="buy", secondary=secondary, guardrails=guardrails)

    assert (told.value.code, told.value.path) == ("E317", ("metrics",))


@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.6, float("nan")])
def test_a_level_that_bounds_nothing_is_refused(alpha: float) -> None:
    with pytest.raises(InvalidDefinitionError, match="alpha must be") as told:
        AnalysisPlan(alpha=alpha)

    assert (told.value.code, told.value.path) == ("E308", ("analysis", "alpha"))


def test_a_count_with_a_covariate_is_judged_as_a_mean() -> None:
    assert metric(kind=MetricKind.COUNT).test is Test.COUNT
    assert metric(kind=MetricKind.COUNT, lookback_s=86_400).test is Test.MEAN
    assert metric(lookback_s=86_400).test is Test.CONVERSION


@pytest.mark.parametrize(
    ("value", "name"),
    [(True, "boolean"), (1, "number"), (1.5, "number"), ("x", "string"), (None, "null"), ([1], "object")],
)
def test_types_have_the_names_of_openfeature(value: Any, name: str) -> None:
    assert type_name(value) == name


def test_a_schedule_may_be_open() -> None:
    assert Schedule(start_at=START, end_at=START + timedelta(days=1)).start_at == START
    assert Metric(key="m", kind=MetricKind.COUNT, event="e", window_s=1, cap=3.0).cap == 3.0


def test_a_metric_says_which_numbers_of_which_events_it_reads() -> None:
    ratio = metric(kind=MetricKind.RATIO, event="Order", value="revenue", per="Visit", per_value="pages")

    assert ratio.sums() == (("Order", "revenue"), ("Visit", "pages"))
    assert metric(kind=MetricKind.RATIO, event="Order", per="Visit").sums() == ()


def test_shares_are_told_from_amounts() -> None:
    assert MetricKind.FUNNEL.is_share
    assert not MetricKind.NPS.is_share
