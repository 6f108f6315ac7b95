"""Metrics by name: each template loads, what is written wins, and errors lead to the user's own lines."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from experiments.definitions import Catalog, Metric
from experiments.metric_kinds import MetricKind
from service.catalog import CatalogError, load
from service.catalog.metric_templates import GIVEN, TEMPLATES, yaml_of
from service.cli.metric_templates import templates

PAGE = Path(__file__).resolve().parents[3] / "docs" / "metrics.md"
KNOWN = [
    *("conversion", "average_order_value", "revenue", "margin", "cross_sell", "up_sell"),
    *("visits", "time_on_site", "response_time", "resolution_time", "cost_to_serve", "nps", "csat", "ces"),
    *("churn", "retention", "repeat_purchase", "cart_abandonment", "lifetime_value"),
]


def catalog(text: str) -> Catalog:
    return load({"m.yaml": text}).catalog


def one(text: str) -> Metric:
    return catalog(f"metrics:\n  m: {text}\n").metrics["m"]


def told(text: str) -> list[tuple[str, int, int, str]]:
    with pytest.raises(CatalogError) as caught:
        one(text)
    return [(f.code, f.line, f.column, f.hint) for f in caught.value.findings]


def test_the_metrics_that_users_know_have_templates() -> None:
    assert list(TEMPLATES) == KNOWN


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_is_what_its_yaml_says(name: str) -> None:
    asked = "".join(f", {key}: {GIVEN[key]}" for key in TEMPLATES[name].asks)

    short = catalog(f"metrics:\n  {name}: {{template: {name}{asked}}}\n").metrics[name]

    assert short == catalog(f"metrics:\n{yaml_of(name)}").metrics[name]
    assert short.label


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_page_says_what_a_template_stands_for(name: str) -> None:
    assert yaml_of(name) in PAGE.read_text("utf-8")


def test_every_kind_of_metric_is_explained_with_an_example_that_loads() -> None:
    page = PAGE.read_text("utf-8")
    blocks = [part.partition("```")[0] for part in page.split("```yaml\n")[1:]]
    loaded = [catalog(block) for block in blocks if block.startswith(("metrics:", "dimensions:"))]

    assert {m.kind for found in loaded for m in found.metrics.values()} == set(MetricKind)
    assert all(f"| `{kind.value}` |" in page for kind in MetricKind)
    assert sum(len(found.dimensions) for found in loaded) > 0


def test_what_is_written_wins_over_the_template() -> None:
    m = one("{template: response_time, window: 14d, where: {channel: chat}, label: wait}")

    assert (m.kind, m.event, m.unit) == (MetricKind.RATIO, "Ticket Answered", "s")
    assert (m.window_s, m.where, m.label) == (14 * 86_400, {"channel": "chat"}, "wait")


def test_the_halves_of_a_ratio_replace_those_of_its_template() -> None:
    m = one(
        "{template: average_order_value, numerator: {event: Sale, value: sum}, "
        "denominator: {event: Visit, where: {new: true}}}"
    )

    assert (m.event, m.value, m.per, m.per_value, m.per_where) == ("Sale", "sum", "Visit", "", {"new": True})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{template: avg_order_value}", ("E341", 2, 17, "did you mean 'average_order_value'?")),
        ("{template: x}", ("E341", 2, 17, "`opportune metric templates` lists them")),
        ("{template: 5}", ("E341", 2, 17, "`opportune metric templates` lists them")),
        ("{template: nps, kind: csat}", ("E341", 2, 28, "remove 'kind', or 'template'")),
        ("{template: lifetime_value}", ("E334", 2, 3, "for example 'factor: 30%'")),
        ("{template: churn, window: 3d}", ("E335", 2, 32, "the template 'churn' says after: 7d")),
        ("{template: churn, window: 30d, after: 31d}", ("E335", 2, 44, "")),
        ("{template: revenue, value: 5}", ("E301", 2, 33, "put it in quotes to make it text")),
        ("{template: visits, then: x}", ("E333", 2, 25, "remove it: it is for cart_abandonment, funnel")),
        ("{template: visits, windw: 7d}", ("E102", 2, 25, "did you mean 'window'?")),
    ],
)
def test_an_error_leads_to_what_the_user_wrote(text: str, expected: tuple[str, int, int, str]) -> None:
    assert told(text) == [expected]


def test_the_command_prints_yaml_that_loads() -> None:
    everything = CliRunner().invoke(templates)
    single = CliRunner().invoke(templates, ["margin"])

    assert list(catalog(everything.output).metrics) == KNOWN
    assert catalog(single.output).metrics["margin"].minus == "discount"
    assert "(factor and currency: yours)" in single.output


def test_the_command_suggests_a_template() -> None:
    done = CliRunner().invoke(templates, ["average_order"])

    assert done.exit_code == 2
    assert "did you mean 'average_order_value'?" in done.output
