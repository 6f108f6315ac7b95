"""Webhooks and automatic actions in the catalog: read, compared, refused at the place."""

import pytest

from experiments.automatic import Automatic
from service.catalog import CatalogError, Finding, LoadedCatalog, load
from service.catalog.diff import Detail, diff
from service.catalog.webhooks import EventKind, Webhook, told_of

METRICS = "metrics:\n  buy: {kind: conversion, event: Order Completed, window: 7d}\n"
TEA = "experiment: tea\nvariants: {control: 1, b: 2}\nmetrics: {primary: buy}\n"
HOOKS = """\
webhooks:
  growth: {url_env: GROWTH_URL, secret_env: GROWTH_SECRET, default: true}
  finance: {url_env: FINANCE_URL, secret_env: FINANCE_SECRET, events: [decision]}
"""


def loaded(tea: str = "", hooks: str = HOOKS) -> LoadedCatalog:
    return load({"tea.yaml": TEA + tea, "hooks.yaml": hooks, "metrics.yaml": METRICS})


def findings(tea: str = "", hooks: str = HOOKS) -> list[Finding]:
    with pytest.raises(CatalogError) as caught:
        loaded(tea, hooks)
    return list(caught.value.findings)


def told(tea: str, kind: EventKind = EventKind.DECISION) -> tuple[str, ...]:
    catalog = loaded(tea)
    return told_of(catalog.catalog.experiments["tea"], catalog.webhooks, kind)


def test_a_webhook_holds_names_of_variables_and_defaults() -> None:
    assert loaded().webhooks == {
        "growth": Webhook(
            key="growth",
            url_env="GROWTH_URL",
            secret_env="GROWTH_SECRET",
            events=frozenset(EventKind),
            default=True,
        ),
        "finance": Webhook(
            key="finance",
            url_env="FINANCE_URL",
            secret_env="FINANCE_SECRET",
            events=frozenset({EventKind.DECISION}),
        ),
    }


def test_an_experiment_tells_whom_it_names_else_the_default_ones() -> None:
    assert told("") == ("growth",)
    assert told("notify: []\n") == ()
    assert told("notify: [finance, growth, finance]\n") == ("finance", "growth")
    assert told("notify: [finance, growth]\n", EventKind.RAMP) == ("growth",)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("none", Automatic()),
        ("rollback", Automatic(rollback=True)),
        ("ship", Automatic(ship=True)),
        ("rollback_and_ship", Automatic(rollback=True, ship=True)),
        ("{rollback: true, ship: false}", Automatic(rollback=True)),
        ("{}", Automatic()),
    ],
)
def test_automatic_is_read_in_both_forms(written: str, read: Automatic) -> None:
    assert loaded(f"decide: {{automatic: {written}}}\n").catalog.experiments["tea"].decide.automatic == read


def test_without_a_word_nothing_is_automatic() -> None:
    assert loaded().catalog.experiments["tea"].decide.automatic == Automatic()


@pytest.mark.parametrize(
    ("hook", "code", "column"),
    [
        ("{secret_env: S}", "E302", 3),
        ("{url_env: https://hooks.example/abc, secret_env: S}", "E375", 16),
        ("{url_env: OPPORTUNE_ADMIN_KEY, secret_env: S}", "E375", 16),
        ("{url_env: U, secret_env: whsec_abc}", "E375", 31),
        ("{url_env: U, secret_env: S, events: [goals]}", "E303", 43),
        ("{url_env: U, secret_env: S, default: yes}", "E301", 43),
        ("{url_env: U, secret_env: S, url: x}", "E190", 34),
    ],
)
def test_a_wrong_webhook_is_told_with_its_place(hook: str, code: str, column: int) -> None:
    (found,) = findings(hooks=f"webhooks:\n  h: {hook}\n")

    assert (found.code, found.line, found.column) == (code, 2, column)


@pytest.mark.parametrize("name", ["url", "secret"])
def test_what_belongs_into_the_environment_is_told_its_way(name: str) -> None:
    found = findings(hooks=f"webhooks:\n  h: {{url_env: U, secret_env: S, {name}: https://h.example/1}}\n")

    hint = f"write '{name}_env: GROWTH_HOOK_{name.upper()}', and the {name} into that environment variable"
    assert [(f.code, f.hint) for f in found] == [("E190", hint)]


def test_a_secret_that_was_written_into_the_catalog_is_not_repeated_by_the_error() -> None:
    (found,) = findings(hooks="webhooks:\n  h: {url_env: U, secret_env: whsec_C2FyYQ}\n")

    assert "C2FyYQ" not in found.message + found.hint


def test_an_unknown_webhook_is_told_with_a_near_one() -> None:
    (found,) = findings("notify: [growht]\n")

    assert (found.code, found.line, found.column) == ("E420", 4, 10)
    assert found.hint == "did you mean 'growth'?"


@pytest.mark.parametrize(
    ("tea", "code", "column"),
    [
        ("notify: growth\n", "E301", 9),
        ("notify: [Growth!]\n", "E420", 10),
        ("decide: {automatic: {rollback: yes}}\n", "E301", 32),
        ("decide: {automatic: {roll: true}}\n", "E102", 22),
        ("automatic: rollback\n", "E102", 1),
    ],
)
def test_a_wrong_line_is_told_with_its_place(tea: str, code: str, column: int) -> None:
    found = findings(tea)

    assert (code, 4, column) in [(f.code, f.line, f.column) for f in found]


def test_a_plan_shows_what_changes() -> None:
    (changed,) = diff(loaded(), loaded("notify: [finance]\ndecide: {automatic: rollback}\n"))

    assert changed.details == (
        Detail(name="automatic", before="-", after="rollback"),
        Detail(name="notify", before="-", after="finance"),
    )
    (gone,) = diff(loaded(), loaded("notify: []\n", HOOKS.replace("default: true", "default: false")))[1:]
    assert (gone.kind, gone.key, gone.details) == (
        "webhooks",
        "growth",
        (Detail(name="default", before="true", after="-"),),
    )
