"""Filters, halves of ratios, units and dimensions as YAML: what they become and what is refused."""

from typing import Any

import pytest

from experiments.definitions import Dimension, Metric
from experiments.errors import InvalidDefinitionError
from experiments.event_filters import matches
from experiments.metrics import OTHER, UNKNOWN, Aggregate
from service.catalog import CatalogError, load
from service.catalog.diff import diff

BELOW = "denominator: {event: y}, window: 7d}"
COUNT = "{kind: count, event: x, window: 7d, where: "


def one(text: str) -> Metric:
    return load({"m.yaml": f"metrics:\n  m: {text}\n"}).catalog.metrics["m"]


def dimension(text: str) -> Dimension:
    return load({"d.yaml": f"dimensions:\n  d: {text}\n"}).catalog.dimensions["d"]


def told(text: str, kind: str = "metrics") -> list[tuple[str, int]]:
    """Return code and column, counted from the text on."""
    with pytest.raises(CatalogError) as caught:
        load({"m.yaml": f"{kind}:\n  m: {text}\n"})
    return [(f.code, f.column - 6) for f in caught.value.findings]


def test_a_filter_means_what_it_says() -> None:
    m = one(COUNT + "{country: {in: [ES, NO]}, price: {gte: 10, lt: 20.5}, none: [{test: true}]}}")

    assert matches(m.counts, {"country": "NO", "price": 10})
    assert not matches(m.counts, {"country": "NO", "price": 10, "test": True})
    assert not matches(m.counts, {"country": "ES", "price": 20.5})
    assert m.where["country"] == {"in": ["ES", "NO"]}


def test_every_bad_part_of_a_filter_is_told_at_its_place() -> None:
    text = COUNT + "{a: {gt: '3'}, b: {regex: x}, c: {inn: [1]}, d: [1], any: [{e: {lt: 1e-9}}]}}"

    assert told(text) == [
        ("E204", text.index("'3'")),
        ("E212", text.index("regex")),
        ("E203", text.index("inn")),
        ("E204", text.index("d: [1]")),
        ("E204", text.index("1e-9")),
    ]


@pytest.mark.parametrize(
    "parts", ["any: [" + "{a: 1}, " * 200 + "]", "".join(f"p{i}: 1, " for i in range(200))]
)
def test_a_filter_that_is_too_long_is_refused_where_it_stands(parts: str) -> None:
    assert [code for code, _ in told(COUNT + "{" + parts + "}}")] == ["E209"]
    half = "{kind: ratio, numerator: {event: x}, denominator: {event: y, where: {" + parts + "}}, window: 7d}"
    assert [code for code, _ in told(half)] == ["E209"]


@pytest.mark.parametrize("cap", ["0.0000001", "2.0000005"])
def test_a_cap_that_is_finer_than_amounts_are_is_refused(cap: str) -> None:
    assert [code for code, _ in told("{kind: count, event: x, window: 7d, cap: " + cap + "}")] == ["E308"]
    assert one("{kind: count, event: x, window: 7d, cap: 0.000001}").cap == 0.000001


def test_the_halves_of_a_ratio_have_a_filter_each() -> None:
    long = one(
        "{kind: ratio, numerator: {event: Sale, value: sum, where: {vip: true}}, "
        "denominator: {event: Visit, value: pages, where: {pages: {gt: 1}}}, window: 7d, currency: EUR}"
    )
    short = one(
        "{kind: ratio, event: Sale, value: sum, where: {vip: true}, per: Visit, per_value: pages, "
        "window: 7d, currency: EUR}"
    )

    assert (long.event, long.value, long.per, long.per_value) == ("Sale", "sum", "Visit", "pages")
    assert matches(long.per_counts, {"pages": 2})
    assert not matches(long.per_counts, {"pages": 1})
    assert (long.counts, short.per_where) == (short.counts, {})


@pytest.mark.parametrize(
    ("text", "code", "at"),
    [
        ("{kind: ratio, numerator: {event: x}, window: 7d}", "E334", "numerator"),
        ("{kind: ratio, numerator: {event: x}, denominator: {event: y}, per: z, window: 7d}", "E333", "per"),
        ("{kind: ratio, numerator: {event: x}, denominator: {value: y}, window: 7d}", "E302", "denominator"),
        (
            "{kind: ratio, numerator: {event: x, unit: y}, denominator: {event: y}, window: 7d}",
            "E102",
            "unit",
        ),
        (
            "{kind: ratio, numerator: {event: x, where: {p: {regex: y}}}, " + BELOW,
            "E212",
            "regex",
        ),
        ("{kind: ratio, event: x, per: y, aggregate: max, window: 7d}", "E333", "aggregate"),
        ("{kind: mean, event: x, value: v, currency: EUR, unit: s, window: 7d}", "E333", "unit: s"),
        ("{kind: nps, event: x, value: v, unit: s, window: 7d}", "E333", "unit: s"),
        ("{kind: mean, event: x, value: v, aggregate: avg, window: 7d}", "E303", "avg"),
        ("{kind: mean, event: x, value: v, tags: [a], window: 7d}", "E190", "tags"),
    ],
)
def test_a_wrong_key_is_told_at_its_place(text: str, code: str, at: str) -> None:
    assert told(text) == [(code, text.index(at))]


def test_halves_are_for_ratios_only() -> None:
    text = "{kind: count, numerator: {event: x}, denominator: {event: y}, window: 7d}"

    assert told(text) == [("E333", text.index("numerator")), ("E333", text.index("denominator"))]


def test_a_plan_shows_what_is_new() -> None:
    old = load({"m.yaml": "metrics:\n  m: {kind: mean, event: x, value: v, window: 1d}\n"})
    new = load(
        {
            "m.yaml": "metrics:\n  m: {kind: mean, event: x, value: v, aggregate: max, unit: s, owner: li, "
            "where: {p: {gt: 1}}, window: 1d}\n"
            "  p: {kind: margin, event: x, value: v, minus: d, factor: 35%, currency: EUR, window: 1d}\n"
            "dimensions:\n  d: {property: device, values: [mobile, 3], label: kind of device}\n"
        }
    )

    found = {d.key: {detail.name: detail.after for detail in d.details} for d in diff(old, new)}

    assert found["m"] == {"aggregate": "max", "unit": "s", "owner": "li", "where": "p gt 1"}
    assert (found["p"]["minus"], found["p"]["factor"]) == ("d", "0.35")
    assert found["d"] == {"property": "device", "values": "mobile, 3", "label": "kind of device"}


def test_a_metric_takes_the_largest_or_the_smallest() -> None:
    assert one("{kind: mean, event: x, value: v, aggregate: min, window: 1d}").aggregate is Aggregate.MIN
    assert one("{kind: mean, event: x, value: v, window: 1d}").aggregate is Aggregate.SUM


@pytest.mark.parametrize(
    ("value", "group"),
    [
        ("mobile", "mobile"),
        ("Mobile", OTHER),
        ("", OTHER),
        (3, "3"),
        (3.0, "3"),
        ("3", OTHER),
        (True, "true"),
        (1, OTHER),
        (None, UNKNOWN),
        (["mobile"], UNKNOWN),
        ({}, UNKNOWN),
    ],
    ids=repr,
)
def test_a_unit_is_in_exactly_one_group(value: Any, group: str) -> None:
    d = dimension("{property: device, values: [mobile, 3, true]}")

    assert d.group_of(value) == group
    assert group in d.groups()


@pytest.mark.parametrize(
    ("text", "code", "at"),
    [
        ("{property: p, values: []}", "E342", "values"),
        ("{property: p, values: [a, b, a]}", "E342", "a]"),
        ("{property: p, values: [3, '3']}", "E342", "'3'"),
        ("{property: p, values: [other]}", "E342", "other"),
        ("{property: p, values: [null]}", "E301", "null"),
        ("{property: p, values: [[a]]}", "E301", "[a]"),
        ("{property: p, values: mobile}", "E301", "mobile"),
        ("{values: [a]}", "E302", "{"),
        ("{property: p, value: [a], values: [b]}", "E102", "value: [a]"),
    ],
)
def test_a_bad_dimension_is_told_at_its_place(text: str, code: str, at: str) -> None:
    ((found, column),) = told(text, "dimensions")

    assert found == code
    assert column in (text.index(at), -3)


def test_a_dimension_has_at_most_twenty_values() -> None:
    values = ", ".join(f"v{i}" for i in range(21))

    assert [code for code, _ in told(f"{{property: p, values: [{values}]}}", "dimensions")] == ["E308"]
    with pytest.raises(InvalidDefinitionError):
        Dimension(key="d", property="p", values=tuple(range(21)))
