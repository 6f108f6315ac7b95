"""A body is taken apart into its events; one that is poisonous spoils no other, and keeps its bytes."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.batches import parts_of
from service.errors import ProblemError

LIMIT = 1 << 20

POISON = {
    b'{"a": NaN}': "unexpected character",
    b'{"a": 1e999}': "",
    b'{"a": "\\u0000"}': "NUL",
    b'{"a": "\x00"}': "",
    b'{"a": "\\ud800"}': "",
    b'{"a": "\xff"}': "",
    b'{"a": "\xed\xa0\x80"}': "",
    b'{"a": 1, "a": 2}': "given twice",
    b'{"a": 99999999999999999999}': "2^53",
    b"[" * 40 + b"]" * 40: "nested",
    b"9" * 5_000: "infinity",
    b'{"a": "line\nbreak"}': "",
}


@pytest.mark.parametrize(("poison", "why"), POISON.items(), ids=range(len(POISON)))
@pytest.mark.parametrize("member", ["events", None])
def test_a_poisonous_event_is_one_part_with_its_bytes(member: str | None, poison: bytes, why: str) -> None:
    array = b' [ {"n": 1} ,\n' + poison + b',{"n":\t2}]'
    body = array if member is None else b'{"sent": "now", "events":' + array + b', "more": [1] } '

    rest, parts = parts_of(body, member, limit=LIMIT)

    assert rest == ({} if member is None else {"sent": "now", "more": [1]})
    assert [part.problem is None for part in parts] == [True, False, True]
    assert [part.original() for part in parts] == [b'{"n": 1}', poison, b'{"n":\t2}']
    assert [parts[0].value, parts[2].value] == [{"n": 1}, {"n": 2}]
    assert parts[1].problem is not None
    assert parts[1].problem.reason == "malformed"
    assert why in parts[1].problem.detail


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nonsense",
        b"\xef\xbb\xbf" + b'{"events": [NaN]}',
        '{"events": [NaN]}'.encode("utf-16"),
        b'{"events": [NaN}',
        b'{"events": [NaN',
        b'{"events": [NaN] "more": 1}',
        b'{"events": NaN}',
        b'{"events" [NaN]}',
        b'{"events": [NaN 1]}',
        b'{"events": [NaN], "more": NaN}',
        b'{"events": [NaN], "events": []}',
        b'{"more": "\xff", "events": []}',
        b'{"events": [NaN]} 1',
        b'{"events": [' + b"[" * 100_000 + b"]" * 100_000 + b"]}",
        b'{"other": [NaN]}',
        b"[NaN]",
    ],
)
def test_a_body_that_cannot_be_taken_apart_is_refused_whole(body: bytes) -> None:
    with pytest.raises(ProblemError) as refused:
        parts_of(body, "events", limit=LIMIT)

    assert (refused.value.status, refused.value.code) == (400, "malformed_json")


@pytest.mark.parametrize("body", [b"[NaN] 1", b"[NaN", b"NaN", b"[NaN,]"])
def test_an_array_that_cannot_be_followed_is_refused_whole(body: bytes) -> None:
    with pytest.raises(ProblemError) as refused:
        parts_of(body, None, limit=LIMIT)

    assert refused.value.status == 400


@pytest.mark.parametrize(("body", "status"), [(b"[]", 422), (b"{}", 422), (b'{"events": 1}', 422)])
def test_a_body_without_the_array_is_refused(body: bytes, status: int) -> None:
    with pytest.raises(ProblemError) as refused:
        parts_of(body, "events", limit=LIMIT)

    assert refused.value.status == status


@pytest.mark.parametrize("filling", [b"1", b"NaN"])
def test_too_many_events_and_too_many_bytes_are_told_apart(filling: bytes) -> None:
    many = b'{"events": [' + b",".join([filling] * 501) + b"]}"

    for body, limit in ((many, LIMIT), (many, 100)):
        with pytest.raises(ProblemError) as refused:
            parts_of(body, "events", limit=limit)
        assert (refused.value.status, refused.value.code) == (413, "too_large")

    assert len(parts_of(many.replace(filling + b",", b"", 1), "events", limit=LIMIT)[1]) == 500


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=9)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=9,
)


@given(st.lists(JSON, max_size=5), JSON, st.booleans())
def test_every_element_has_the_bytes_it_came_as(elements: list[Any], beside: Any, indented: bool) -> None:
    wanted = {"before": beside, "events": elements, "after": beside}
    body = orjson.dumps(wanted, option=orjson.OPT_INDENT_2 if indented else 0)

    rest, parts = parts_of(body, "events", limit=LIMIT)

    assert rest == {"before": beside, "after": beside}
    assert [orjson.loads(part.original()) for part in parts] == elements
    assert all(part.original() in body for part in parts)
