"""Strict JSON at the door, and the marshmallow fields that every wire schema is made of.

Nothing is repaired: what is not exactly acceptable is refused with a reason. A value that passed is safe to
store, to hash, to log and to send back.
"""

import json
import math
import re
from datetime import UTC, datetime
from typing import Any, NoReturn, TypeVar

import orjson
from marshmallow import ValidationError, fields

from experiments.definitions import JsonValue
from experiments.identifiers import MAX_IDENTIFIER, is_identifier
from service.errors import ProblemError

MAX_DEPTH = 32
MAX_INTEGER = 2**53
MAX_DIGITS = 17

# 2**53 has sixteen digits: shorter runs need no exact look at whole numbers.
_LONG_DIGITS = b"0" * 16
_DIGITS_AS_ZERO = bytes(ord("0") if byte in b"0123456789" else ord(" ") for byte in range(256))
_ESCAPED_COLON = b"\\u003"

_INSTANT = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(\.[0-9]{1,9})?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})",
    re.ASCII,
)
_CONTAINERS = frozenset({dict, list})
FIRST_YEAR, LAST_YEAR = 2015, 2100


def read_json(body: bytes, *, limit: int) -> JsonValue:
    """Return the value of a body that is one UTF-8 JSON text.

    Refused are: a byte order mark or another encoding, nesting deeper than 32, NaN, Infinity and numbers that
    overflow, whole numbers beyond +-2^53, a key twice in one object, lone surrogates and NUL.

    Raises
    ------
    ProblemError
        413 ``too_large`` above `limit` bytes, 400 ``malformed_json`` for everything else.
    """
    if len(body) > limit:
        raise ProblemError(413, "too_large", f"the body has {len(body)} bytes, the limit is {limit}")
    try:
        value: JsonValue = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        _refuse(str(error))
    # Brackets in strings count too, which only means that some shallow bodies are looked at.
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH:
        _check_depth(value)
    if _is_plain(body, value):
        return value
    value = _read_exactly(body)
    _check_depth(value)
    return value


def _refuse(reason: str) -> NoReturn:
    raise ProblemError(400, "malformed_json", reason)


def _check_depth(value: JsonValue) -> None:
    """Refuse deep nesting, a level at a time, so that no input can exhaust the stack."""
    level: list[Any] = [value] if type(value) in _CONTAINERS else []
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for container in level:
            members = container.values() if type(container) is dict else container
            inner += [v for v in members if type(v) in _CONTAINERS]
        if not inner:
            return
        level = inner
    _refuse(f"nested deeper than {MAX_DEPTH}")


def _is_plain(body: bytes, value: JsonValue) -> bool:
    r"""Return whether the fast parser has provably lost nothing, so that the exact one is not needed.

    It rounds whole numbers beyond 64 bits (sixteen digits somewhere), lets NUL pass (``\u0000``), and drops
    all but the last value of a repeated key: then the colons of the text and of the value written out again
    differ, unless an escaped colon hides the difference.
    """
    if b"\\" in body and (b"\\u0000" in body or _ESCAPED_COLON in body):
        return False
    if _LONG_DIGITS in body.translate(_DIGITS_AS_ZERO):
        return False
    again = orjson.dumps(value)
    return again == body or again.count(b":") == body.count(b":")


def _read_exactly(body: bytes) -> JsonValue:
    try:
        value: JsonValue = json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_int=_whole,
            parse_float=_finite,
            parse_constant=_constant,
        )
    except RecursionError:
        _refuse(f"nested deeper than {MAX_DEPTH}")
    except ValueError as error:
        _refuse(str(error))
    _check_text(value)
    return value


def _unique(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        _refuse(f"the key {json.dumps(twice[:80])} is given twice")
    return found


def _whole(digits: str) -> int:
    # int() of an endless number is slow and refuses above 4,300 digits with a message of its own.
    if len(digits) > MAX_DIGITS or abs(int(digits)) > MAX_INTEGER:
        _refuse("a whole number lies beyond +-2^53; send it as a string")
    return int(digits)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        _refuse("a number is too large")
    return number


def _constant(name: str) -> NoReturn:
    _refuse(f"{name} is not JSON")


def _check_text(value: JsonValue) -> None:
    """Refuse NUL in any string of `value`, keys included; lone surrogates the first parser has refused."""
    if isinstance(value, str):
        if "\x00" in value:
            _refuse("a string contains NUL")
    elif isinstance(value, dict):
        for key, inner in value.items():
            _check_text(key)
            _check_text(inner)
    elif isinstance(value, list):
        for inner in value:
            _check_text(inner)


def read_instant(text: str) -> datetime:
    """Return the aware UTC time of an RFC 3339 date-time; the offset is mandatory.

    Raises
    ------
    ValueError
        If it is another form, no real date, or outside the years 2015..2100.
    """
    moment = read_moment(text)
    if not FIRST_YEAR <= moment.year < LAST_YEAR:
        raise ValueError(f"the year must lie between {FIRST_YEAR} and {LAST_YEAR}")
    return moment


def read_moment(text: str) -> datetime:
    """Return the same of any year: what a wrong clock says is still a time.

    Raises
    ------
    ValueError
        If it is another form or no real date.
    """
    found = _INSTANT.fullmatch(text)
    if found is None:
        raise ValueError("expected a time with an offset such as 2026-11-21T09:30:00Z")
    fraction = (found[7] or ".0")[1:7].ljust(6, "0")
    offset = "+00:00" if found[8] in "Zz" else found[8]
    try:
        return datetime.fromisoformat(f"{text[:10]}T{text[11:19]}.{fraction}{offset}").astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError("there is no such time") from error


T = TypeVar("T")


class JsonField(fields.Field[T]):
    """Base of fields that take a JSON value as it is or refuse it; marshmallow's own would convert."""

    def read(self, value: object) -> T:
        """Return the loaded value; ValueError says what was expected."""
        raise NotImplementedError

    def _deserialize(self, value: object, *_: object, **__: object) -> T:
        try:
            return self.read(value)
        except ValueError as error:
            raise ValidationError(str(error)) from error


class Identifier(JsonField[str]):
    """An id: a string of 1 to 128 characters without controls, surrogates or text-direction marks."""

    def read(self, value: object) -> str:
        """Return the id, unchanged."""
        if not isinstance(value, str):
            raise ValueError("expected a string")  # noqa: TRY004 - marshmallow's word for it is a value error
        if not is_identifier(value):
            raise ValueError(f"expected 1 to {MAX_IDENTIFIER} characters without control characters")
        return value


class Instant(JsonField[datetime]):
    """An RFC 3339 date-time with an offset; aware and in UTC once loaded."""

    def read(self, value: object) -> datetime:
        """Return the moment in UTC."""
        return read_instant(value if isinstance(value, str) else "")


class Text(JsonField[str]):
    """A JSON string of at most `most` characters, as it is."""

    def __init__(self, *, most: int = 1_024, **options: Any) -> None:  # noqa: ANN401 - marshmallow's options
        super().__init__(**options)
        self.most = most

    def read(self, value: object) -> str:
        """Return the text, unchanged."""
        if not isinstance(value, str) or len(value) > self.most:
            raise ValueError(f"expected a string of at most {self.most} characters")
        return value


class Whole(JsonField[int]):
    """A JSON number without a fraction between `least` and `most`; 1.0 and "1" are not whole numbers."""

    def __init__(
        self,
        *,
        least: int = -MAX_INTEGER,
        most: int = MAX_INTEGER,
        **options: Any,  # noqa: ANN401 - marshmallow's options
    ) -> None:
        super().__init__(**options)
        self.least = least
        self.most = most

    def read(self, value: object) -> int:
        """Return the number, unchanged."""
        if isinstance(value, bool) or not isinstance(value, int) or not self.least <= value <= self.most:
            raise ValueError(f"expected a whole number from {self.least} to {self.most}")
        return value


class Truth(JsonField[bool]):
    """JSON true or false; "yes" and 1 are neither."""

    def read(self, value: object) -> bool:
        """Return the truth value."""
        if not isinstance(value, bool):
            raise ValueError("expected true or false")  # noqa: TRY004 - marshmallow's word for it is a value error
        return value


class Object(JsonField[dict[str, Any]]):
    """A JSON object of any members."""

    def read(self, value: object) -> dict[str, Any]:
        """Return the object, unchanged."""
        if not isinstance(value, dict):
            raise ValueError("expected an object")  # noqa: TRY004 - marshmallow's word for it is a value error
        return value
