"""What an error says besides that something is wrong: first things first, at the culprit, with a way out."""

import pytest

from service.catalog import CatalogError, Finding, load

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
