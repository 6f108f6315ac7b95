"""YAML is read strictly, and every node knows its place."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.catalog.nodes import MAX_BYTES, data, locate, parse


def codes(text: str) -> list[str]:
    return [fault.code for fault in parse(text)[1]]


def value(text: str) -> object:
    root, faults = parse(f"v: {text}\n")
    assert root is not None
    assert faults == []
    tree = data(root)
    assert isinstance(tree, dict)
    return tree["v"]


@pytest.mark.parametrize(
    "word", ["on", "off", "yes", "no", "NO", "y", "12:30:00", "2027-01-31", "1_000", "0b1", "5%"]
)
def test_words_that_old_yaml_misreads_stay_text(word: str) -> None:
    assert value(word) == word


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("", None),
        ("12", 12),
        ("-7", -7),
        ("0x1F", 31),
        ("0o17", 15),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("'12'", "12"),
        ('"true"', "true"),
    ],
)
def test_plain_scalars_follow_the_core_schema(text: str, expected: object) -> None:
    assert value(text) == expected
    assert type(value(text)) is type(expected)


@pytest.mark.parametrize(
    "number", ["012", "08001", "-07", "00.5", "1e400", ".inf", ".NaN", "9007199254740993", "9" * 5000]
)
def test_a_number_that_others_read_differently_is_refused(number: str) -> None:
    assert codes(f"v: {number}\n") == ["E108"]


def test_a_duplicate_key_names_both_places() -> None:
    _root, (fault,) = parse("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n")

    assert (fault.code, fault.span.line, fault.span.column) == ("E101", 5, 3)
    assert "line 3, column 3" in fault.message


def test_keys_are_taken_as_written() -> None:
    root, faults = parse("no: 1\n404: 2\nnull: 3\n1.0: 4\n")

    assert faults == []
    assert root is not None
    assert list(root.entries) == ["no", "404", "null", "1.0"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: &x 1\nb: *x\n", ["E103", "E103"]),
        ("a: !!python/object:os.system 1\n", ["E103"]),
        ("a: !x {b: 1}\n", ["E103"]),
        ("a: 1\n---\nb: 2\n", ["E104"]),
        ("a: [1\n", ["E104"]),
        ("a:\n\tb: 1\n", ["E104"]),
        ("", ["E105"]),
        ("# only a comment\n", ["E105"]),
        ("- 1\n", ["E110"]),
        ("word\n", ["E110"]),
        ("a: \x00\n", ["E107"]),
        ('a: "\\0"\n', ["E107"]),
        ("a: \u202e\n", ["E107"]),
        ("a: \udcff\n", ["E104"]),
        ("? [a]\n: 1\n", ["E301"]),
    ],
)
def test_what_is_no_plain_yaml_is_refused(text: str, expected: list[str]) -> None:
    assert codes(text) == expected


def test_depth_and_size_are_bounded() -> None:
    assert codes("a: " + "[" * 15 + "]" * 15) == []
    assert codes("a: " + "[" * 16 + "]" * 16) == ["E106"]
    assert codes("a: " + "[" * 100_000) == ["E106"]
    assert codes("a: " + "{b: " * 2_000) == ["E106"]
    assert codes("a: '" + "x" * MAX_BYTES + "'") == ["E106"]


def test_a_bomb_of_aliases_is_never_expanded() -> None:
    lines = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 40)]

    assert set(codes("\n".join(lines))) == {"E103"}


def test_a_tab_is_named_as_the_cause() -> None:
    _root, (fault,) = parse("a:\n\tb: 1\n")

    assert (fault.span.line, fault.span.column) == (2, 1)
    assert "tab" in fault.hint


def test_places_are_found_by_path() -> None:
    root, _faults = parse("a:\n  - b: 1\n    c: {d: x}\n")
    assert root is not None

    assert (locate(root, ("a", 0, "c", "d")).line, locate(root, ("a", 0, "c", "d")).column) == (3, 12)
    assert locate(root, ("a", 0, "c", "d"), key=True).column == 9
    assert locate(root, ("a", 0, "nowhere", "at all")).line == 2


def test_lines_of_windows_and_wide_letters_count_right() -> None:
    root, faults = parse('a: "日本"\r\nb: ["日本", x]\r\n')

    assert faults == []
    assert root is not None
    assert (locate(root, ("b", 1)).line, locate(root, ("b", 1)).column) == (2, 11)


@settings(max_examples=300)
@given(st.text(alphabet="ab: {}[],&*!%@|>-'\"\\\n\t#0\x00é\ud800?~", max_size=60))
def test_any_text_is_either_read_or_refused_with_a_place(text: str) -> None:
    root, faults = parse(text)

    assert root is not None or faults
    assert all(fault.span.line >= 1 and fault.span.column >= 1 for fault in faults)
