"""The events of one request body, each with the bytes it came as: one poisonous event spoils no other."""

import json
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from service.errors import Pointer, ProblemError
from service.use_cases.exposures import Refusal
from service.wire import read_json

MOST_EVENTS = 500
MALFORMED = "malformed"

_SPACE = re.compile(r"[ \t\n\r]*")
# Not strict: a raw control character in a string is the fault of one element, not of the whole body.
_DECODER = json.JSONDecoder(strict=False, parse_int=float)


class Part(NamedTuple):
    """One element of a body.

    `value` is what it says; of a poisonous one, for which `problem` is set, what could be made out.
    `original` returns the exact bytes it came as, found when first asked for.
    """

    value: Any
    original: Callable[[], bytes]
    problem: Refusal | None = None


class _Array(NamedTuple):
    """Where an array stands in a text, where each of its elements does, and what these say, loosely read."""

    start: int
    end: int
    spans: Sequence[tuple[int, int]]
    values: Sequence[Any]


def parts_of(
    body: bytes, member: str | None, *, limit: int, most: int = MOST_EVENTS
) -> tuple[dict[str, Any], list[Part]]:
    """Return the members beside the array `member` of a body, and a part for each element of the array.

    With `member` None the body is the array.
    An element that is no acceptable JSON becomes a part with a problem; the others are not touched by it.

    Raises
    ------
    ProblemError
        413 above `limit` bytes or `most` elements; 400 when the body cannot be taken apart, or what is
        beside the array is no acceptable JSON; 422 when there is no such array.
    """
    try:
        value = read_json(body, limit=limit)
    except ProblemError as refused:
        if refused.status != 400:  # noqa: PLR2004 - a body that is too large stays so
            raise
        return _taken_apart(body, member, refused, most=most)
    rest, elements = _split(value, member)
    check_number(len(elements), most)
    originals = Originals(body, member, len(elements))
    return rest, [Part(element, partial(originals.at, n)) for n, element in enumerate(elements)]


def whole_of(body: bytes, *, limit: int) -> Part:
    """Return a body that is one event itself; an object that is no acceptable JSON has a problem.

    Raises
    ------
    ProblemError
        413 above `limit` bytes; 400 when it is no object from its beginning to its end.
    """
    try:
        return Part(read_json(body, limit=limit), lambda: body)
    except ProblemError as refused:
        if refused.status != 400:  # noqa: PLR2004 - a body that is too large stays so
            raise
        text = _text(body)
        try:
            value, end = _DECODER.raw_decode(text, _after_space(text, 0))
        except (ValueError, RecursionError):
            raise refused from None
        if not isinstance(value, dict) or _after_space(text, end) != len(text):
            raise
        return Part(value, lambda: body, Refusal(MALFORMED, refused.detail))


def check_number(n: int, most: int = MOST_EVENTS) -> None:
    """Refuse more events than one batch may hold.

    Raises
    ------
    ProblemError
        413 ``too_large``.
    """
    if n > most:
        raise ProblemError(413, "too_large", f"a batch may hold {most} events, this one has {n}")


class Originals:
    """The bytes of each element of an array, looked for once and only if somebody asks."""

    def __init__(self, body: bytes, member: str | None, n: int) -> None:
        self._body = body
        self._member = member
        self._n = n
        self._pieces: Sequence[bytes] | None = None

    def at(self, place: int) -> bytes:
        """Return the bytes of one element."""
        if self._pieces is None:
            text = _text(self._body)
            found = _find_array(text, self._member, most=self._n)
            self._pieces = [_bytes(text[start:end]) for start, end in found.spans]
        return self._pieces[place]


def _split(value: object, member: str | None) -> tuple[dict[str, Any], list[Any]]:
    if member is None:
        if not isinstance(value, list):
            raise ProblemError(400, "bad_request", "send a JSON array of events")
        return {}, value
    rest = dict(value) if isinstance(value, dict) else None
    if rest is None:
        raise ProblemError(
            422, "invalid_body", "the body must be a JSON object", (Pointer("", "not an object"),)
        )
    if member not in rest:
        raise _invalid(member, "Missing data for required field.")
    elements = rest.pop(member)
    if not isinstance(elements, list):
        raise _invalid(member, "Not a valid list.")
    return rest, elements


def _invalid(member: str, reason: str) -> ProblemError:
    found = (Pointer(f"/{member}", reason),)
    return ProblemError(422, "invalid_body", "some members are missing or wrong", found)


def _taken_apart(
    body: bytes, member: str | None, refused: ProblemError, *, most: int
) -> tuple[dict[str, Any], list[Part]]:
    """Read the elements of a refused body one by one; raise `refused` when that cannot be done."""
    text = _text(body)
    try:
        found = _find_array(text, member, most=most)
    except (ValueError, RecursionError):
        raise refused from None
    beside = read_json(_bytes(text[: found.start] + "[]" + text[found.end :]), limit=len(body))
    rest = {name: said for name, said in beside.items() if name != member} if isinstance(beside, dict) else {}
    return rest, [
        _strictly(_bytes(text[start:end]), loosely)
        for (start, end), loosely in zip(found.spans, found.values, strict=True)
    ]


def _strictly(piece: bytes, loosely: object) -> Part:
    try:
        return Part(read_json(piece, limit=len(piece)), lambda: piece)
    except ProblemError as error:
        return Part(loosely, lambda: piece, Refusal(MALFORMED, error.detail))


def _find_array(text: str, member: str | None, *, most: int) -> _Array:
    """Return where the array is; ValueError or RecursionError when the text cannot be followed to it."""
    at = _after_space(text, 0)
    if member is None:
        found = _walk(text, at, most=most)
        if _after_space(text, found.end) != len(text):
            raise ValueError("there is more after the array")
        return found
    if text[at : at + 1] != "{":
        raise ValueError("this is no object")
    while text[at : at + 1] in ("{", ","):
        name, at = _DECODER.raw_decode(text, _after_space(text, at + 1))
        at = _after_space(text, at)
        if text[at : at + 1] != ":":
            raise ValueError("a colon is missing")
        at = _after_space(text, at + 1)
        if name == member:
            return _walk(text, at, most=most)
        at = _after_space(text, _DECODER.raw_decode(text, at)[1])
    raise ValueError("there is no such member")


def _walk(text: str, start: int, *, most: int) -> _Array:
    """Return the array that begins at `start`, of at most `most` elements."""
    if text[start : start + 1] != "[":
        raise ValueError("this is no array")
    spans: list[tuple[int, int]] = []
    values: list[Any] = []
    at = _after_space(text, start + 1)
    if text[at : at + 1] == "]":
        return _Array(start, at + 1, spans, values)
    while True:
        value, end = _DECODER.raw_decode(text, at)
        spans.append((at, end))
        values.append(value)
        check_number(len(spans), most)
        at = _after_space(text, end)
        if text[at : at + 1] == "]":
            return _Array(start, at + 1, spans, values)
        if text[at : at + 1] != ",":
            raise ValueError("a comma is missing")
        at = _after_space(text, at + 1)


def _after_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _text(body: bytes) -> str:
    """Return the body as text of which `_bytes` gives back every byte, also those that are no UTF-8."""
    return body.decode("utf-8", "surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
