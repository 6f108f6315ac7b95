"""What an error says besides that something is wrong: first things first, at the culprit, with a way out."""

import pytest

from service.catalog import CatalogError, Finding, load
from service.catalog.notes import notes

METRICS = "metrics:\n  purchase: {kind: conversion, event: Order Completed, window: 7d}\n"
TWO = 'experiment: x\nvariants:\n  control: ""\n  b: Free\nmetrics: {primary: purchase}\n'


def findings(files: dict[str, str]) -> tuple[Finding, ...]:
    with pytest.raises(CatalogError) as caught:
        load(files)
    return caught.value.findings


@pytest.mark.parametrize(
    ("metrics", "code"),
    [
        ("metrcs:\n  purchase: {kind: conversion}\n", "E102"),
        ("metrics:\n  - purchase\n", "E301"),
        ("metrics:\n  purchase: {kind: conversion\n", "E104"),
        ("", "E105"),
    ],
)
def test_a_file_that_cannot_be_read_is_the_only_error_it_causes(metrics: str, code: str) -> None:
    assert [f.code for f in findings({"a.yaml": TWO, "m.yaml": metrics})] == [code]


def test_what_cannot_be_read_comes_first() -> None:
    found = findings({"a.yaml": TWO.replace("purchase", "orders"), "m.yaml": METRICS + " x"})

    assert [(f.path, f.code) for f in found] == [("m.yaml", "E104"), ("a.yaml", "E401")]


def test_a_colon_inside_a_text_is_shown_in_quotes() -> None:
    (found,) = findings({"a.yaml": TWO.replace("Free", "Buy now: today"), "m.yaml": METRICS})

    assert found.hint == 'put the text in quotes: b: "Buy now: today"'


def test_a_second_definition_without_metrics_is_only_told_that_there_is_a_first() -> None:
    guarded = TWO.replace("{primary: purchase}", "{primary: purchase, guardrails: [{metric: g, margin: 2%}]}")
    metrics = METRICS + "  g: {kind: conversion, event: Order Refunded, window: 7d}\n"

    found = findings({"a.yaml": guarded, "b.yaml": "experiment: x\nowner: maria\n", "m.yaml": metrics})

    assert [(f.path, f.code) for f in found] == [("b.yaml", "E302"), ("b.yaml", "E302"), ("b.yaml", "E405")]


@pytest.mark.parametrize(
    ("line", "home"), [("baseline: 5%", "hypothesis"), ("mde: 10%", "analysis"), ("primary: x", "metrics")]
)
def test_a_key_written_too_far_out_is_told_its_home(line: str, home: str) -> None:
    (found,) = findings({"a.yaml": f"{TWO}{line}\n", "m.yaml": METRICS})

    assert found.hint == f"it belongs under {home}:"


@pytest.mark.parametrize(
    ("variants", "code", "line", "column"),
    [
        ("  control: {weight: 50, value: 1}\n  b: {weight: 60, value: 2}\n", "E310", 4, 15),
        ("  control: 1\n", "E311", 3, 12),
        ("  control: 1\n  b: two\n", "E313", 4, 6),
        ("  control: {value: 1}\n  b: {value: 2}\n  c: {value: x}\n", "E313", 5, 14),
    ],
)
def test_an_error_of_all_variants_is_shown_at_one(variants: str, code: str, line: int, column: int) -> None:
    text = f"experiment: x\nvariants:\n{variants}metrics: {{primary: purchase}}\n"

    (found,) = findings({"a.yaml": text, "m.yaml": METRICS})

    assert (found.code, found.line, found.column) == (code, line, column)


def test_what_serves_another_type_is_named() -> None:
    mixed = TWO.replace("b: Free", "b: 2").replace('control: ""', "control: 1") + "otherwise: text\n"

    assert [hint for _, _, hint in told(TWO.replace("b: Free", "b: 2"))] == [
        "b serves a number, control a string"
    ]
    assert [hint for _, _, hint in told(mixed)] == ["'otherwise' is a string, not a number"]


def test_metrics_written_as_a_list_are_shown_the_form() -> None:
    (found,) = findings({"a.yaml": TWO, "m.yaml": "metrics:\n  - purchase: {kind: conversion}\n"})

    hint = "write 'metrics:' and below it, indented, 'my-key:' and its definition"
    assert (found.code, found.hint) == ("E301", hint)


GUARDED = TWO.replace(
    "primary: purchase}", "primary: purchase, guardrails: [{metric: refund, margin: 2% relative}]}"
)
MORE = (
    METRICS
    + "  refund: {kind: conversion, event: Order Refunded, window: 7d, direction: down}\n"
    + "  revenue: {kind: mean, event: Order Completed, value: revenue, currency: EUR, window: 7d}\n"
    + "  nps: {kind: nps, event: Survey Answered, value: score, window: 7d}\n"
)


def told(experiment: str, metrics: str = MORE) -> list[tuple[str, str, str]]:
    return [(f.code, f.message, f.hint) for f in findings({"a.yaml": experiment, "m.yaml": metrics})]


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("analysis: {power: 1.2}", "E305", "for example 80% or 0.8"),
        ("analysis: {power: 80}", "E305", "write 80%"),
        ("analysis: {power: 120%}", "E305", "more than 0% and less than 100%, not '120%'"),
        ("analysis: {alpha: 500}", "E305", "for example 5%"),
        ("analysis: {mde: 10}", "E305", "write 10%"),
        ("decide: {min_runtime: 0d}", "E306", "more than nothing"),
        ("decide: {ship_when: {runtime: 14d}}", "E360", "decide: {min_runtime: 14d}"),
        ("decide: {rollback_when: {any_guardrail: better}}", "E362", "it can be burn_in"),
        ("decide: {rollback_when: {any_guardrail: bad}}", "E360", "burn_in, not_yet_known, worse, safe"),
        ("decide: {ship_when: {primary: worse}}", "E365", "for example {all: [{primary: better}"),
        ("decide: {ship_when: {all: [{primary: better}, {primary: worse}]}}", "E364", "one state at a time"),
        ("decide: {rollback_when: {any: [{primary: [better, worse]}]}}", "E365", "any_guardrail: worse"),
    ],
)
def test_a_wrong_value_is_told_what_it_may_be(line: str, code: str, words: str) -> None:
    found = told(f"{GUARDED}{line}\n")

    assert code in [one[0] for one in found]
    assert words in " ".join(found[-1])


def test_a_rule_that_is_overruled_everywhere_is_refused() -> None:
    rules = "decide: {ship_when: {primary: better}, rollback_when: {primary: [better, no_effect, worse]}}\n"

    assert [code for code, _message, _hint in told(GUARDED + rules)] == ["E366"]


def test_what_is_offered_of_a_primary_is_what_it_can_be() -> None:
    ((code, message, _hint),) = told(f"{GUARDED}decide: {{rollback_when: {{primary: bad}}}}\n")

    assert (code, "safe" in message) == ("E360", False)


def test_every_guardrail_of_none_is_not_told_its_own_name() -> None:
    ((code, _message, hint),) = told(f"{TWO}decide: {{ship_when: {{every_guardrail: safe}}}}\n")

    assert (code, hint) == ("E361", "add some under metrics: guardrails:")


def test_a_guardrail_without_its_margin_is_shown_one() -> None:
    ((_code, _message, hint),) = told(GUARDED.replace("{metric: refund, margin: 2% relative}", "nps"))

    assert hint == "for example {metric: nps, margin: 2% relative}, or '0.5 absolute'"


@pytest.mark.parametrize(
    ("metric", "margin", "hint"),
    [
        ("revenue", "1% absolute", "write 0.01 absolute, or 1% relative"),
        ("nps", "5% absolute", "write 5 absolute"),
    ],
)
def test_points_of_per_cent_are_only_for_shares(metric: str, margin: str, hint: str) -> None:
    text = GUARDED.replace("refund, margin: 2% relative", f"{metric}, margin: {margin}")

    ((code, _message, found),) = told(text)

    assert (code, found) == ("E416", hint)


@pytest.mark.parametrize(
    ("metric", "margin", "note"),
    [
        (
            "refund",
            "2%",
            "2%, is taken as relative: 2 percent of the rate, not 2 points; write '2% relative' or",
        ),
        ("refund", "0.5 absolute", "0.5 absolute, is 50 points; write '50% absolute' if that is meant"),
        ("refund", "2% relative", ""),
        ("refund", "1% absolute", ""),
        ("revenue", "2%", ""),
        ("revenue", "0.5 absolute", ""),
    ],
)
def test_a_margin_that_may_mean_something_else_is_noted(metric: str, margin: str, note: str) -> None:
    text = GUARDED.replace("refund, margin: 2% relative", f"{metric}, margin: {margin}")
    files = {"a.yaml": text + "status: draft\n", "m.yaml": MORE}

    found = notes(files, load(files))

    assert [note in one for one in found] == [True] * bool(note)


def test_rules_that_may_ship_harm_and_metrics_that_say_nothing_are_noted() -> None:
    rules = "decide: {ship_when: {every_guardrail: safe}, rollback_when: {any_guardrail: worse}}\n"
    seen = "  seen: {kind: conversion, event: Experiment Viewed, window: 7d}\n"
    files = {"a.yaml": f"{GUARDED}status: draft\n{rules}", "m.yaml": MORE + seen}

    harm, certain = notes(files, load(files))

    assert harm.startswith("x: ship_when may hold while the primary metric is worse")
    assert certain.startswith("seen: everybody who is counted has an 'Experiment Viewed'")


@pytest.mark.parametrize(
    ("metric", "code", "hint"),
    [
        ("{kind: nps, event: x, window: 7d}", "E330", "'value: score'"),
        ("{kind: mean, event: x, window: 7d}", "E330", "'value: revenue'"),
        ("{kind: count, event: x, window: 7d, cap: 300 EUR}", "E308", "a plain number: write 300"),
        ("{kind: count, event: x, window: 7d, cap: -3}", "E332", "for example 'cap: 500'"),
        ("{kind: count, event: x, window: 0d}", "E331", "for example 30m"),
        ("{kind: count, event: x, window: 7d, where: {country: [ES, PT]}}", "E204", "{in: [...]}"),
        ("{kind: count, event: x, window: 7d, where: {amount: {gt: '3'}}}", "E204", "a plain number"),
        ("{kind: mean, value: v, event: x, window: 7d, currency: e}", "E337", "such as EUR"),
        ("{kind: mean, value: v, event: x, window: 7d, currency: euro}", "E337", "such as EUR"),
        ("{kind: mean, value: v, event: x, window: 7d, currency: eur}", "E337", "write EUR"),
        ("{kind: quantile, value: v, event: x, window: 7d, quantile: 100%}", "E305", "90%; the median"),
        ("{kind: funnel, event: x, then: x, window: 7d}", "E338", "the event that should follow"),
        ("{kind: cart_abandonment, event: x, then: x, window: 7d}", "E338", "the event that should follow"),
        (
            "{kind: ratio, numerator: {event: a}, denominator: B, window: 7d}",
            "E301",
            "for example {event: ...}",
        ),
        ("{kind: count, event: x, window: 7d, where: {any: {country: ES}}}", "E206", "any: [{country: ES}"),
        ("{kind: count, event: x, window: 7d, where: {v: {'>': 1}}}", "E203", "did you mean 'gt'?"),
        ("{kind: margin, value: v, event: x, window: 7d, currency: EUR, factor: 35}", "E308", "write 35%"),
        (
            "{kind: margin, value: v, event: x, window: 7d, currency: EUR, factor: 250%}",
            "E308",
            "example 35%",
        ),
        ("{kind: count, evnt: x, window: 7d}", "E102", "did you mean 'event'?"),
        ("{knd: count, event: x, window: 7d}", "E102", "did you mean 'kind'?"),
    ],
)
def test_one_mistake_in_a_metric_is_one_error_with_a_way_out(metric: str, code: str, hint: str) -> None:
    ((found, _message, way_out),) = told(TWO, f"{METRICS}  m: {metric}\n")

    assert found == code
    assert hint in way_out


def test_the_words_that_are_possible_are_told_once() -> None:
    ((_, far, nothing),) = told(
        TWO, f"{METRICS}  m: {{kind: count, event: x, window: 7d, direction: higher}}\n"
    )
    ((_, _, near),) = told(TWO, f"{METRICS}  m: {{kind: count, event: x, window: 7d, direction: dwn}}\n")

    assert (far, nothing) == ("'higher' is not one of up, down", "")
    assert near == "did you mean 'down'?"


def test_a_key_that_is_missing_beside_another_mistake_is_still_told() -> None:
    found = told(TWO, f"{METRICS}  m: {{kind: count, colour: x}}\n")

    assert sorted(code for code, _message, _hint in found) == ["E102", "E302", "E302"]
