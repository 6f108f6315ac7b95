"""What a plan says of layers, holdouts, ramps, prerequisites and lists, in words."""

from datetime import UTC, datetime

import pytest

from experiments.allocation import variant_of
from service.catalog import load
from service.catalog.diff import Difference, diff
from service.catalog.notes import notes
from service.use_cases import launch
from service.use_cases.cautions import overlaps, warnings

METRICS = "metrics:\n  purchase: {kind: conversion, event: Order Completed, window: 7d}\n"
GATES = "layers: {page: {}}\nholdouts: {q1: {share: 5%}}\nlists: {vips: [a, b, c]}\nflags: {dark: {}}\n"
TEA = "experiment: tea\nvariants: {control: 1, b: 2}\nmetrics: {primary: purchase}\n"
NOW = datetime(2027, 1, 7, 12, tzinfo=UTC)
FULL = (
    TEA
    + """\
otherwise: 0
layer: {name: page, from: 40%, share: 30%}
holdout: q1
prerequisites: {dark: true}
schedule: {start: 2027-01-07T09:00+01:00}
ramp: [{at: start, share: 5%}, {after: 24h, share: 100%}]
seed: old
"""
)


def files(**texts: str) -> dict[str, str]:
    return {"m.yaml": METRICS, "g.yaml": GATES, **{f"{name}.yaml": text for name, text in texts.items()}}


def differences(old: dict[str, str], new: dict[str, str]) -> dict[str, Difference]:
    return {d.key: d for d in diff(load(old), load(new))}


def words(difference: Difference) -> dict[str, tuple[str, str]]:
    return {d.name: (d.before, d.after) for d in difference.details}


def test_every_gate_is_shown_in_the_words_of_the_file() -> None:
    found = words(differences(files(a=TEA), files(a=FULL))["tea"])

    assert found == {
        "ramp": ("-", "5% from 2027-01-07T08:00+00:00, 100% from 2027-01-08T08:00+00:00"),
        "otherwise": ("-", "0"),
        "prerequisites": ("-", "dark eq true"),
        "layer": ("-", "page, 40% to 70%"),
        "holdout": ("-", "q1"),
        "seed": ("-", "old"),
        "schedule": ("-", "2027-01-07T08:00+00:00 to open"),
    }


def test_overrides_of_a_flag_are_shown() -> None:
    new = files(a=TEA, f="flags: {light: {overrides: {on: [maria, li]}}}\n")

    assert words(differences(files(a=TEA), new)["light"])["overrides"] == ("-", "on: maria li")


def test_a_list_is_shown_by_counts_and_never_by_its_members() -> None:
    old, new = files(a=TEA), files(a=TEA)
    new["g.yaml"] = GATES.replace("[a, b, c]", "[a, b, x, y]")

    assert words(differences(old, new)["vips"]) == {"members": ("3", "4 (2 new, 1 gone)")}
    assert words({d.key: d for d in diff(None, load(old))}["vips"]) == {"members": ("-", "3")}


def test_a_change_of_a_layer_is_told_once_and_not_for_each_member() -> None:
    old, new = files(a=FULL), files(a=FULL)
    new["g.yaml"] = GATES.replace("page: {}", "page: {seed: x, description: y}").replace("5%", "4%")

    found = differences(old, new)

    assert set(found) == {"page", "q1"}
    assert words(found["q1"]) == {"share": ("5%", "4%")}


@pytest.mark.parametrize(
    ("place", "old", "new"),
    [
        (("experiments", "tea"), "from: 40%", "from: 50%"),
        (("experiments", "tea"), "holdout: q1\n", ""),
        (("layers", "page"), "page: {}", "page: {seed: x}"),
        (("holdouts", "q1"), "share: 5%", "share: 4%"),
    ],
)
def test_a_change_of_who_is_served_is_warned_of(place: tuple[str, str], old: str, new: str) -> None:
    before = load(files(a=FULL))
    after = load({name: text.replace(old, new) for name, text in files(a=FULL).items()})

    found = warnings(before, after, diff(before, after))

    assert list(found) == [place]
    assert "changes who is served" in found[place][0]


def told(before: dict[str, str], after: dict[str, str]) -> list[str]:
    old, new = load(before), load(after)
    return [text for texts in warnings(old, new, diff(old, new), now=NOW).values() for text in texts]


RESHAPED = [
    ("audience: {country: ES}\n", "audience"),
    ("prerequisites: {dark: true}\n", "prerequisites"),
    ("overrides: {control: [qa]}\n", "overrides"),
    ("schedule: {end: 2027-02-01T00:00Z}\n", "schedule"),
    ("audience: {country: ES}\nschedule: {end: 2027-02-01T00:00Z}\n", "audience and schedule"),
]


@pytest.mark.parametrize(("line", "name"), RESHAPED)
def test_a_change_of_who_a_begun_experiment_is_for_is_warned_of(line: str, name: str) -> None:
    said = f"it is live, and a change of its {name} changes who is served"

    assert said in told(files(a=TEA), files(a=TEA + line))
    assert said in told(files(a=TEA + line), files(a=TEA))


@pytest.mark.parametrize("line", [line for line, _name in RESHAPED])
@pytest.mark.parametrize(
    ("before", "after"),
    [("status: draft\n", "status: draft\n"), ("status: stopped\n", "status: stopped\n"), ("", "phase: 2\n")],
)
def test_who_a_new_phase_or_one_that_does_not_serve_is_for_is_free(
    before: str, after: str, line: str
) -> None:
    assert told(files(a=TEA + before), files(a=TEA + after + line)) == []


def test_what_waits_for_its_start_may_change_and_what_ends_simply_ends() -> None:
    waits = "schedule: {start: 2027-02-01T00:00Z}\n"

    assert told(files(a=TEA + waits), files(a=TEA + waits + "audience: {country: ES}\n")) == []
    assert told(files(a=TEA), files(a=TEA + "schedule: {end: 2027-01-07T12:00Z}\n")) == []


def test_an_override_of_a_unit_of_another_variant_is_named() -> None:
    split = variant_of(load(files(a=TEA)).catalog.experiments["tea"], "qa")
    other = {"control": "b", "b": "control"}[str(split)]

    found = told(files(a=TEA), files(a=f"{TEA}overrides: {{{other}: [qa]}}\n"))
    assert found[1:] == [f"its overrides for {other} are of another variant: qa (now {split})"]
    assert len(told(files(a=TEA), files(a=f"{TEA}overrides: {{{split}: [qa]}}\n"))) == 1


def test_a_change_of_an_audience_behind_a_begun_experiment_is_warned_of() -> None:
    audiences = "audiences: {near: {audience: iberia}, iberia: {country: ES}}\n"
    before = files(a=TEA + "audience: {audience: near}\n", x=audiences)
    after = files(a=TEA + "audience: {audience: near}\n", x=audiences.replace("ES", "PT"))

    assert told(before, after) == ["it changes who is served by what is live: tea"]


def test_a_ramp_that_its_schedule_cuts_off_is_noted() -> None:
    texts = files(a=FULL.replace("09:00+01:00}", "09:00+01:00, end: 2027-01-08T08:00Z}"))

    note = "tea: it ends before this part of its ramp: 100% from 2027-01-08T08:00+00:00"
    assert note in notes(texts, load(texts))
    assert f"note: {note}" in launch.plan(None, texts, NOW).notes


def test_what_does_not_touch_the_live_is_not_warned_of() -> None:
    before = load(files(a=f"{FULL}status: draft\n"))
    after = load(files(a=FULL.replace("40%", "50%") + "status: draft\n"))

    assert warnings(before, after, diff(before, after)) == {}


def experiment(key: str, more: str = "") -> str:
    return TEA.replace("tea", key) + more


@pytest.mark.parametrize(
    ("one", "two", "expected"),
    [
        ("allocation: 50%\n", "allocation: 50%\n", "two 25%"),
        ("holdout: q1\n", "holdout: q1\n", "two 95%"),
        ("layer: {name: page, share: 40%}\n", "", "two 40%"),
        ("layer: {name: page, share: 40%}\n", "layer: {name: page, from: 40%, share: 60%}\n", ""),
        ("schedule: {end: 2027-01-01T00:00Z}\n", "schedule: {start: 2027-01-01T00:00Z}\n", ""),
        ("", "unit: user_id\n", ""),
        ("", "status: draft\n", ""),
    ],
)
def test_overlap_without_a_layer_is_told_with_its_share(one: str, two: str, expected: str) -> None:
    loaded = load(files(a=experiment("one", one), b=experiment("two", two)))

    told = overlaps(loaded.catalog, diff(None, loaded)).get("one", "")

    assert expected in told
    assert bool(told) == bool(expected)


def test_overlap_with_many_names_the_largest() -> None:
    others = {f"e{i}": experiment(f"e{i}", f"allocation: {i * 10}%\n") for i in range(1, 7)}
    loaded = load(files(a=experiment("one"), **others))

    told = overlaps(loaded.catalog, diff(None, loaded))["one"]

    assert "e6 60%, e5 50%, e4 40% and 3 more" in told


def test_a_first_plan_says_what_a_ramp_will_do() -> None:
    plan = launch.plan(None, files(a=FULL), NOW)

    assert plan.dependent == ()
    assert plan.starts["tea"] == (
        "tea starts by its ramp as soon as it is applied: "
        "5% from 2027-01-07T08:00+00:00, 100% from 2027-01-08T08:00+00:00"
    )


@pytest.mark.parametrize(
    ("flag", "needed", "note"),
    [
        ("dark: {}", "dark: true", ""),
        ("dark: {}", "dark: 'true'", "tea: nobody takes part: dark serves only true, false"),
        (
            "dark: {status: draft}",
            "dark: true",
            "tea: nobody takes part: dark serves only false while it is draft",
        ),
        ("dark: {status: draft}", "dark: false", ""),
    ],
)
def test_a_prerequisite_that_nobody_meets_is_noted(flag: str, needed: str, note: str) -> None:
    texts = {n: t.replace("dark: {}", flag).replace("dark: true", needed) for n, t in files(a=FULL).items()}

    told = [one for one in notes(texts, load(texts)) if "takes part" in one]

    assert told == ([note] if note else [])
