"""Goals as YAML: what they become, and what is told of those that nobody could reach or measure."""

from datetime import UTC, date, datetime

import pytest

from experiments.goals import Goal, Target
from service.catalog import CatalogError, load
from service.catalog.diff import diff
from service.catalog.goal_schema import notes
from service.use_cases.launch import plan

METRICS = """\
metrics:
  purchase: {kind: conversion, event: Order Completed, window: 7d}
  revenue: {kind: mean, event: Order Completed, value: revenue, currency: EUR, window: 7d}
  complaints: {kind: count, event: Complaint Made, window: 7d, direction: down}
"""
KEYS = {
    "statement": "Sell more",
    "metric": "purchase",
    "baseline": "4%",
    "target": "'+10%'",
    "owner": "maria",
    "start": "2027-01-01",
    "due": "2027-03-31",
}


SIGNED = (
    "a change is written with its sign, such as '{change}'; if the target is meant, "
    "say 'direction: {direction}' at the metric"
)


def goals(*definitions: str) -> dict[str, Goal]:
    text = "goals:\n" + "".join(f"  {one}\n" for one in definitions)
    return dict(load({"m.yaml": METRICS, "g.yaml": text}).goals)


def written(name: str = "grow", /, **changes: str | None) -> str:
    members = {**KEYS, **changes}
    return f"{name}: {{{', '.join(f'{k}: {v}' for k, v in members.items() if v is not None)}}}"


def told(*definitions: str) -> list[tuple[str, str, str]]:
    with pytest.raises(CatalogError) as caught:
        goals(*definitions)
    assert all(f.path == "g.yaml" for f in caught.value.findings)
    return [(f.code, f.message, f.hint) for f in caught.value.findings]


def test_a_goal_is_specific_measurable_somebodys_and_due() -> None:
    found = goals(written(), written("part", parent="grow", target="4.6%", statement="Sell more tea"))

    assert found["grow"] == Goal(
        key="grow",
        statement="Sell more",
        metric="purchase",
        baseline=0.04,
        target=Target(amount=0.1, relative=True),
        owner="maria",
        start=date(2027, 1, 1),
        due=date(2027, 3, 31),
    )
    assert found["grow"].target_value == pytest.approx(0.044)
    assert (found["part"].parent, found["part"].target_value) == ("grow", 0.046)


@pytest.mark.parametrize(
    ("changes", "code", "message", "hint"),
    [
        ({"owner": None}, "E302", "'owner' is missing", "add 'owner: ...'"),
        ({"due": "soon"}, "E307", "expected a date, not 'soon'", "for example 2027-01-31"),
        (
            {"due": "2026-12-31"},
            "E370",
            "it is due on 2026-12-31, which is not after its start on 2027-01-01",
            "a goal needs a day at least",
        ),
        (
            {"baseline": "0%"},
            "E371",
            "a target relative to a baseline of 0 is 0 again",
            "write the value itself, for example 'target: 12'",
        ),
        ({"target": "4%"}, "E371", "the target is the baseline: there is nothing to reach", ""),
        (
            {"target": "more"},
            "E372",
            "expected a value of the metric, not 'more'",
            "the value itself, such as 4.6%, or a change from the baseline, such as '+10%'",
        ),
        (
            {"target": "'+0.5'"},
            "E372",
            "expected a change in per cent, not '+0.5'",
            "the value itself, such as 4.6%, or a change from the baseline, such as '+10%'",
        ),
        (
            {"baseline": "true"},
            "E372",
            "expected a value of the metric, not true",
            "for example 4.2%, or a plain number in the unit of the metric",
        ),
        ({"metric": "purchas"}, "E401", "unknown metric 'purchas'", "did you mean 'purchase'?"),
        ({"parent": "gro"}, "E430", "unknown goal 'gro'", "did you mean 'grow'?"),
        ({"parent": "grow"}, "E431", "goals need each other: grow -> grow", "break the circle"),
        (
            {"target": "3%"},
            "E432",
            "the target 0.03 is below the baseline 0.04, and 'purchase' is better up",
            SIGNED.format(change="+10%", direction="down"),
        ),
        (
            {"metric": "complaints", "baseline": "10", "target": "12"},
            "E432",
            "the target 12 is above the baseline 10, and 'complaints' is better down",
            SIGNED.format(change="-10%", direction="up"),
        ),
        ({"baseline": "4.2", "target": "5%"}, "E433", "'purchase' is a share: it is never 4.2", "write 4.2%"),
        (
            {"baseline": "60%", "target": "'+80%'"},
            "E433",
            "'purchase' is a share: it is never 1.08",
            "a share is from 0% to 100%",
        ),
        (
            {"metric": "revenue", "baseline": "40", "target": "10%"},
            "E433",
            "'revenue' is no share: it is not told in per cent",
            "write 10, in the unit of the metric, or '+10%' for a change from the baseline",
        ),
        (
            {"metric": "revenue", "baseline": "4%", "target": "'+10%'"},
            "E433",
            "'revenue' is no share: it is not told in per cent",
            "write 4, in the unit of the metric",
        ),
    ],
)
def test_what_nobody_could_reach_or_measure_is_refused(
    changes: dict[str, str | None], code: str, message: str, hint: str
) -> None:
    assert told(written("grow", **changes)) == [(code, message, hint)]


def test_a_circle_of_goals_is_told_once_with_its_chain() -> None:
    circle = told(written("a", parent="b"), written("b", parent="c"), written("c", parent="a"))

    assert circle == [("E431", "goals need each other: a -> b -> c -> a", "break the circle")]


def test_less_is_reached_by_a_negative_change() -> None:
    fewer = goals(written(metric="complaints", baseline="10", target="'-20%'"))["grow"]

    assert fewer.target_value == 8


def test_a_change_of_a_negative_baseline_goes_the_way_of_its_sign() -> None:
    text = METRICS + "  nps: {kind: nps, event: Survey Answered, value: score, window: 7d}\n"
    grow = written(metric="nps", baseline="-20", target="'+10%'")

    assert load({"m.yaml": text, "g.yaml": f"goals:\n  {grow}\n"}).goals["grow"].target_value == -18


def test_goals_that_are_over_and_parts_that_end_after_the_whole_are_noted() -> None:
    found = goals(written(), written("part", parent="grow", due="2027-04-30"))

    assert list(notes(found, today=date(2027, 1, 31))) == [
        "part: due on 2027-04-30, after the goal that it serves, grow (2027-03-31)"
    ]
    assert "grow: it was due on 2027-03-31: set a new day, or remove it" in notes(
        found, today=date(2027, 4, 1)
    )


def test_a_plan_tells_of_goals_and_of_those_that_are_over() -> None:
    files = {"m.yaml": METRICS, "g.yaml": f"goals:\n  {written()}\n"}

    found = plan(None, files, datetime(2027, 4, 1, tzinfo=UTC))

    goal = next(d for d in found.differences if d.kind == "goals")
    assert (goal.key, goal.sign) == ("grow", "+")
    assert [(d.name, d.after) for d in goal.details][:4] == [
        ("statement", "Sell more"),
        ("metric", "purchase"),
        ("baseline", "0.04"),
        ("target", "+10%"),
    ]
    assert "note: grow: it was due on 2027-03-31: set a new day, or remove it" in found.notes


def test_a_changed_goal_is_told_key_by_key() -> None:
    texts = [
        {"m.yaml": METRICS, "g.yaml": f"goals:\n  {written(target=target)}\n"} for target in ("4.5%", "5%")
    ]

    [changed] = diff(load(texts[0]), load(texts[1]))

    assert [(d.name, d.before, d.after) for d in changed.details] == [("target", "0.045", "0.05")]
