"""The `data:` of a catalog: what may come in, what counts as agreed, how long it stays."""

import pytest

from service.catalog import CatalogError, load
from service.catalog.diff import diff
from service.catalog.rules import DataRules
from service.cli.desk_text import plan_text
from service.clock import EPOCH
from service.storage.ports import Keep
from service.use_cases import launch
from service.use_cases.cautions import warnings

METRICS = "metrics:\n  purchase: {kind: conversion, event: Order Completed, window: 60d}\n"
FULL = """\
data:
  client_revenue: allow
  unknown_consent: denied
  opt_out_signals: record
  keep: {events: 365d, interactions: 26w, quarantine: 30d, slates: 1d}
"""


def rules(text: str) -> DataRules:
    return load({"data.yaml": text, "m.yaml": METRICS}).data


def said(text: str, **others: str) -> list[tuple[str, int, int]]:
    files = {"data.yaml": text, "m.yaml": METRICS, **{f"{n}.yaml": t for n, t in others.items()}}
    with pytest.raises(CatalogError) as caught:
        load(files)
    return [(f.code, f.line, f.column) for f in caught.value.findings]


@pytest.mark.parametrize("text", ["data: {}\n", "data:\n", "flags: {dark: {}}\n"])
def test_without_a_word_money_from_browsers_is_refused_and_signals_are_respected(text: str) -> None:
    found = rules(text)

    assert found == DataRules()
    assert (found.client_revenue, found.unknown_consent, found.respect_signals) == (False, True, True)


def test_everything_can_be_said() -> None:
    assert rules(FULL) == DataRules(
        client_revenue=True,
        unknown_consent=False,
        respect_signals=False,
        keep=Keep(events=365, interactions=182, quarantine=30, slates=1),
    )


def test_data_may_stand_beside_collections() -> None:
    assert rules("flags: {dark: {}}\ndata: {client_revenue: allow}\n").client_revenue


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("data: {keep: {events: 29d}}\n", ("E340", 1, 23)),
        ("data: {keep: {slates: 0d}}\n", ("E340", 1, 23)),
        ("data: {keep: {slates: 36h}}\n", ("E306", 1, 23)),
        ("data: {keep: {events: 900d}}\n", ("E306", 1, 23)),
        ("data: {keep: {events: 45d}}\n", ("E415", 1, 23)),
        ("data: {keep: 30d}\n", ("E301", 1, 14)),
        ("data: {keep: {event: 90d}}\n", ("E102", 1, 15)),
        ("data: {client_revenue: true}\n", ("E303", 1, 24)),
        ("data: {unknown_consent: refused}\n", ("E303", 1, 25)),
        ("data: {residency: eu}\n", ("E190", 1, 8)),
        ("data: [1]\n", ("E301", 1, 1)),
    ],
)
def test_what_is_wrong_is_told_at_its_place(text: str, expected: tuple[str, int, int]) -> None:
    assert said(text) == [expected]


def test_there_is_one_data_in_a_catalog() -> None:
    assert said(FULL, other="data: {}\n") == [("E405", 1, 1)]


def test_a_plan_tells_what_changes_and_what_will_be_deleted() -> None:
    old = load({"m.yaml": METRICS})
    new = load({"m.yaml": METRICS, "d.yaml": "data: {keep: {events: 90d}, client_revenue: allow}\n"})

    (difference,) = diff(old, new)
    told = warnings(old, new, [difference])

    assert (difference.sign, difference.kind) == ("+", "data")
    assert ("client_revenue", "-", "allow") in {(d.name, d.before, d.after) for d in difference.details}
    assert told == {
        ("data", "data"): ("events older than 90 days will be deleted for good: they were kept 400 days",)
    }
    assert diff(new, new) == ()


def test_a_plan_prints_the_rules() -> None:
    files = {"m.yaml": METRICS, "d.yaml": FULL}
    plan = launch.plan(None, files, EPOCH)

    text = plan_text(plan)

    assert "+ rules of data   new" in text
    assert "client_revenue" in text
