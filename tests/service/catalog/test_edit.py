"""A small edit changes one value; every comment, quote and blank line stays."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.catalog import load
from service.catalog.diff import diff
from service.catalog.edit import EditError, Place, find, set_values
from service.catalog.scaffold import scaffold

TEXT = """\
# A question.
experiment: banner     # its name

status:   draft        # not yet
variants: {control: "", banner: 'Free'}   # texts
metrics: {primary: purchase}
"""


def changed_lines(before: str, after: str) -> list[str]:
    old = before.splitlines(keepends=True)
    return [line for line in after.splitlines(keepends=True) if line not in old]


def test_a_value_is_replaced_where_it_stands() -> None:
    edited = set_values(TEXT, (), {"status": "running"})

    assert edited == TEXT.replace("status:   draft        #", "status:   running        #")


def test_an_absent_key_is_added_below_the_name() -> None:
    edited = set_values(TEXT, (), {"allocation": "50%"})

    assert changed_lines(TEXT, edited) == ["allocation: 50%\n"]
    assert edited.splitlines()[2] == "allocation: 50%"


def test_line_ends_of_windows_are_kept() -> None:
    text = TEXT.replace("\n", "\r\n")

    edited = set_values(text, (), {"allocation": "50%", "status": "running"})

    assert edited.count("\r\n") == edited.count("\n") == TEXT.count("\n") + 1


def test_a_flag_of_a_collection_is_edited_in_either_form() -> None:
    block = "flags:\n  # dark\n  dark:\n    value: true\n  light: {value: 1, otherwise: 2} # x\n  empty: {}\n"

    assert "  dark:\n    status: running\n    value: true\n" in set_values(
        block, ("flags", "dark"), {"status": "running"}
    )
    assert "light: {status: running, value: 1," in set_values(
        block, ("flags", "light"), {"status": "running"}
    )
    assert "empty: {status: running}" in set_values(block, ("flags", "empty"), {"status": "running"})


def test_an_empty_or_quoted_value_is_filled() -> None:
    assert "status: running\n" in set_values("experiment: x\nstatus:\nphase: 1\n", (), {"status": "running"})
    assert "status: running # c\n" in set_values(
        "experiment: x\nstatus: 'draft' # c\n", (), {"status": "running"}
    )
    assert set_values("experiment: x", (), {"status": "running"}) == "experiment: x\nstatus: running\n"


def test_what_is_no_plain_value_is_left_to_a_person() -> None:
    with pytest.raises(EditError, match="by hand"):
        set_values("experiment: x\nallocation: {a: 1}\n", (), {"allocation": "5%"})
    with pytest.raises(EditError, match="lint"):
        set_values("experiment: [\n", (), {"status": "running"})


def test_definitions_are_found_in_every_kind_of_file() -> None:
    files = {
        "a/e.yaml": TEXT,
        "flags.yaml": "flags: {dark: {}}\n",
        "f.yaml": "flag: light\n",
        "broken.yaml": "a: [\n",
    }

    assert find(files, "banner") == Place(file="a/e.yaml", kind="experiment", path=())
    assert find(files, "dark") == Place(file="flags.yaml", kind="flag", path=("flags", "dark"))
    assert find(files, "light") == Place(file="f.yaml", kind="flag", path=())
    assert find(files, "nothing") is None


@settings(max_examples=100, deadline=None)
@given(
    keys=st.lists(st.sampled_from(["status", "allocation", "phase"]), min_size=1, max_size=3, unique=True),
    comments=st.lists(st.sampled_from(["", "# note", "   # a: b"]), min_size=6, max_size=6),
)
def test_an_edit_keeps_every_other_line(keys: list[str], comments: list[str]) -> None:
    lines = [f"{line}{comment}" for line, comment in zip(TEXT.splitlines(), comments, strict=True)]
    text = "\n".join(lines) + "\n"

    edited = set_values(text, (), dict.fromkeys(keys, "7"))

    kept = [line for line in edited.splitlines() if line in lines]
    assert len(kept) >= len(lines) - 1
    assert all(lines.index(a) < lines.index(b) for a, b in pairwise(line for line in kept if line))


@pytest.mark.parametrize("kind", ["experiment", "flag"])
def test_a_scaffold_passes_lint_as_it_is(kind: str) -> None:
    files = dict(scaffold(kind, "my-first", load({})))

    loaded = load(files)

    assert "my-first" in {**loaded.catalog.experiments, **loaded.catalog.flags}
    again = scaffold("experiment", "second", loaded)
    assert ("metrics.yaml" in again) == (kind == "flag")
    load({**files, **again})


def test_a_difference_names_what_changed_in_the_words_of_the_file() -> None:
    metrics = "metrics: {purchase: {kind: conversion, event: Order Completed, window: 7d}}\n"
    old = load({"e.yaml": TEXT, "m.yaml": metrics})
    new = load(
        {"e.yaml": set_values(TEXT, (), {"status": "running", "allocation": "50%"}), "m.yaml": metrics}
    )

    (difference,) = diff(old, new)

    assert (difference.sign, difference.kind, difference.key) == ("~", "experiments", "banner")
    assert [(d.name, d.before, d.after) for d in difference.details] == [
        ("status", "draft", "running"),
        ("allocation", "100%", "50%"),
    ]
    assert [d.sign for d in diff(None, new)] == ["+", "+"]
    assert [d.sign for d in diff(new, load({}))] == ["-", "-"]
