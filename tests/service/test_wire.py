"""Every trap of the JSON at the door: refused with a problem, never a crash, never a silent repair."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from marshmallow import Schema, ValidationError, fields

from experiments.identifiers import is_identifier
from service.errors import ProblemError
from service.wire import (
    Identifier,
    Instant,
    Object,
    Text,
    Truth,
    Whole,
    read_instant,
    read_json,
)

LIMIT = 1_000_000

REFUSED = {
    "nothing": b"",
    "only spaces": b"  ",
    "two values": b"{} {}",
    "single quotes": b"{'a': 1}",
    "a trailing comma": b"[1,]",
    "a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": "{}".encode("utf-16"),
    "UTF-16 without a mark": '{"a":1}'.encode("utf-16-le"),
    "UTF-32": "{}".encode("utf-32"),
    "latin-1": '{"name":"M\xfcller"}'.encode("latin-1"),
    "an overlong encoding": b'"\xc0\xaf"',
    "a surrogate in the bytes": b'"\xed\xa0\x80"',
    "deep lists": b"[" * 100_000,
    "deep lists that end": b"[" * 500 + b"]" * 500,
    "deep objects": b'{"a":' * 33 + b"1" + b"}" * 33,
    "a deep value hidden by a repeated key": b'{"a":' + b"[" * 900 + b"]" * 900 + b',"a":1}',
    "33 levels": b"[" * 33 + b"]" * 33,
    "NaN": b'{"a": NaN}',
    "Infinity": b"[Infinity]",
    "-Infinity": b"[-Infinity]",
    "a number that overflows": b"[1e400]",
    "a number that overflows, long": b"1" * 400,
    "a number of 5000 digits": b"[" + b"9" * 5_000 + b"]",
    "beyond 2^53": b"[9007199254740993]",
    "beyond -2^53": b"[-9007199254740993]",
    "beyond 64 bits": b"[18446744073709551617]",
    "a leading zero": b"[01]",
    "a key twice": b'{"a":1,"a":2}',
    "a key twice, deep": b'[{"x":{"a":1,"b":2,"a":3}}]',
    "a key twice, once escaped": b'{"a":1,"\\u0061":2}',
    "a key twice beside escaped colons": b'{"a":"\\u003a","a":"\\u003A"}',
    "a key twice with a colon inside": b'{"a:":1,"a:":2}',
    "a lone high surrogate": b'"\\ud800"',
    "a lone low surrogate": b'"\\udc00x"',
    "surrogates the wrong way round": b'"\\udc00\\ud800"',
    "a lone surrogate as a key": b'{"\\ud800":1}',
    "an escaped NUL": b'{"a":"x\\u0000y"}',
    "an escaped NUL as a key": b'{"\\u0000":1}',
    "a raw NUL": b'"\x00"',
    "a raw newline in a string": b'"\n"',
}


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED.keys())
def test_a_body_that_is_not_exactly_json_is_refused(body: bytes) -> None:
    with pytest.raises(ProblemError) as refused:
        read_json(body, limit=LIMIT)

    assert (refused.value.status, refused.value.code) == (400, "malformed_json")
    refused.value.detail.encode("utf-8")


TAKEN = {
    "text that looks like an escape": (b'"\\\\u0000"', "\\u0000"),
    "a pair of surrogates": (b'"\\ud83d\\ude00"', "\U0001f600"),
    "an escaped colon": (b'{"a":"\\u003a"}', {"a": ":"}),
    "the largest whole number": (b"[9007199254740992]", [2**53]),
    "the smallest whole number": (b"[-9007199254740992]", [-(2**53)]),
    "sixteen digits in a string": (b'{"id":"1234567890123456789"}', {"id": "1234567890123456789"}),
    "a long fraction": (b"[0.12345678901234567890]", [0.1234567890123456789]),
    "the same key in two objects": (b'[{"a":1},{"a":2}]', [{"a": 1}, {"a": 2}]),
    "32 levels": (b"[" * 32 + b"]" * 32, None),
    "spaces around": (b' \r\n\t{"a" : [1 , 2]} ', {"a": [1, 2]}),
    "a scalar": (b"true", True),
}


@pytest.mark.parametrize(("body", "value"), TAKEN.values(), ids=TAKEN.keys())
def test_a_body_that_is_json_is_taken_as_it_is(body: bytes, value: object) -> None:
    assert value is None or read_json(body, limit=LIMIT) == value
    read_json(body, limit=LIMIT)


def test_a_body_above_the_limit_is_too_large_and_one_at_the_limit_is_not() -> None:
    assert read_json(b"[1,2]", limit=5) == [1, 2]

    with pytest.raises(ProblemError) as refused:
        read_json(b"[1,2] ", limit=5)
    assert (refused.value.status, refused.value.code) == (413, "too_large")


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


@given(value=values, ascii_only=st.booleans(), indent=st.sampled_from([None, 1]))
@settings(max_examples=200, deadline=None)
def test_what_json_can_write_is_read_back_exactly(
    value: object, ascii_only: bool, indent: int | None
) -> None:
    body = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()

    read = read_json(body, limit=LIMIT)

    assert json.dumps(read) == json.dumps(value)


@given(
    body=st.binary(max_size=40) | st.text('[]{}":,0123456789eE+-.\\u tfn\x00é', max_size=40).map(str.encode)
)
@settings(max_examples=500, deadline=None)
def test_any_bytes_give_a_value_or_a_problem_and_what_is_given_can_be_stored(body: bytes) -> None:
    try:
        value = read_json(body, limit=LIMIT)
    except ProblemError as refused:
        # Only these two may come, and neither is a 500.
        status = refused.status
    else:
        status = 200
        assert json.loads(body) == value
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode("utf-8")
    assert status in (200, 400)


@given(pairs=st.lists(st.tuples(texts, scalars), min_size=1, max_size=6))
@settings(max_examples=200, deadline=None)
def test_an_object_is_refused_exactly_when_a_key_comes_twice(pairs: list[tuple[str, object]]) -> None:
    body = ("{" + ",".join(f"{json.dumps(k)}:{json.dumps(v)}" for k, v in pairs) + "}").encode()
    twice = len({key for key, _ in pairs}) < len(pairs)

    try:
        read = read_json(body, limit=LIMIT)
    except ProblemError:
        assert twice
    else:
        assert not twice
        assert json.dumps(read) == json.dumps(dict(pairs))


@pytest.mark.parametrize(
    "text",
    [
        "", "a" * 129, "a\x00b", "a\nb", "\x7f", "a\x85b", "\ud800", "\u202eevil", "a\u2066b", "\ufeffid",
        "a\u200bb", "a\u2028b", 7, None, True, ["a"], {"a": 1}, 1.5,
    ],
)  # fmt: skip
def test_a_bad_identifier_is_refused(text: object) -> None:
    assert not is_identifier(text)
    with pytest.raises(ValidationError):
        Identifier().deserialize(text)


@pytest.mark.parametrize(
    "text", ["a", "a" * 128, "maria@shop.example", "日本", "a b", "é", "e\u0301", "\U0001f600", "0"]
)
def test_a_good_identifier_is_taken_unchanged(text: str) -> None:
    assert Identifier().deserialize(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-21", "2026-11-21T09:30:00", "2026-11-21T09:30Z", "2026-11-21 09:30:00Z",
        "2024-W01-1T00:00:00Z", "20261121T093000Z", "2026-11-21T09:30:00+0100", "2026-11-21T24:00:00Z",
        "2026-02-30T00:00:00Z",
        "2026-11-21T09:30:60Z", "9999-12-31T23:59:59-14:00",
        "0001-01-01T00:00:00+14:00", "2014-12-31T23:59:59Z",
        "2100-01-01T00:00:00Z", "2026-11-21T09:30:00+25:00", "2026-11-21T09:30:00.Z", " 2026-11-21T09:30:00Z",
        "2026-11-21T09:30:00Z\n", "\u0662\u0660\u0662\u0666-11-21T09:30:00Z", "", 1_700_000_000, None, True,
        "2026-11-21T09:30:00.1234567890Z",
    ],
)  # fmt: skip
def test_a_time_of_another_form_or_without_an_offset_is_refused(text: object) -> None:
    with pytest.raises(ValidationError):
        Instant().deserialize(text)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-21T09:30:00Z", datetime(2026, 11, 21, 9, 30, tzinfo=UTC)),
        ("2026-11-21t09:30:00z", datetime(2026, 11, 21, 9, 30, tzinfo=UTC)),
        ("2026-11-21T09:30:00.5+01:00", datetime(2026, 11, 21, 8, 30, 0, 500_000, tzinfo=UTC)),
        ("2026-11-21T09:30:00.123456789-08:00", datetime(2026, 11, 21, 17, 30, 0, 123_456, tzinfo=UTC)),
        ("2015-01-01T00:30:00+00:30", datetime(2015, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_time_with_an_offset_is_that_moment_in_utc(text: str, moment: datetime) -> None:
    assert read_instant(text) == moment
    assert read_instant(text).tzinfo is UTC


@pytest.mark.parametrize(
    ("field", "bad"),
    [
        (Whole(), 1.9), (Whole(), "٣"), (Whole(), "3"), (Whole(), True), (Whole(), 1.0), (Whole(least=1), 0),
        (Whole(most=9), 10), (Whole(), 2**60),
        (Truth(), "yes"), (Truth(), 1), (Truth(), "true"), (Truth(), None),
        (Text(most=3), "four"), (Text(), 1), (Object(), []), (Object(), "{}"), (Object(), None),
    ],
)  # fmt: skip
def test_a_field_converts_nothing(field: fields.Field[object], bad: object) -> None:
    with pytest.raises(ValidationError):
        field.deserialize(bad)


def test_a_field_takes_its_own_type() -> None:
    class Everything(Schema):
        whole = Whole(least=1, most=3)
        truth = Truth()
        text = Text(most=3)
        anything = Object()

    given = {"whole": 3, "truth": False, "text": "abc", "anything": {"a": [None]}}

    assert Everything().load(given) == given
