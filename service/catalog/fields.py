"""Marshmallow fields of the catalog: each refuses with a stable code and a hint, and coerces nothing."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from marshmallow import INCLUDE, Schema, ValidationError, fields, validates_schema

from experiments.definitions import JsonValue
from experiments.notation import seconds_in
from service.catalog.findings import did_you_mean, near_one

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}", re.ASCII)
UNIT = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}", re.ASCII)
UNIT_HINT = "for example anonymous_id, user_id or store_id"
TAKEN_ATTRIBUTES = frozenset({"request", "preview", "person_token"})
NUMBER = re.compile(r"[-+]?[0-9]+(\.[0-9]+)?", re.ASCII)
INSTANT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d)", re.ASCII)
EMPTY = re.compile(r"0+\s?[smhdw]?", re.ASCII)
YEARS = range(2015, 2101)
MAX_TEXT = 10_000
MAX_SHOWN = 60
MAX_DIGITS = 20
HUNDRED = 100
NOT_YET = "not supported yet"


@dataclass(frozen=True, slots=True)
class Said:
    """What a field says about a value; the loader adds the place."""

    code: str
    message: str
    hint: str = ""
    at_key: bool = False


def refuse(code: str, message: str, hint: str = "", *, at_key: bool = False) -> ValidationError:
    """Return the error that a field raises."""
    said: list[Any] = [Said(code, message, hint, at_key)]
    return ValidationError(said)


def nested(errors: Mapping[Any, Any]) -> ValidationError:
    """Return an error that holds others by key or index."""
    return ValidationError(dict(errors))


def show(value: object) -> str:
    """Return a short form of a value for a message."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "a mapping"
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 3] + "..."


class StrictSchema(Schema):
    """Refuses unknown keys with a suggestion; `later` names keys of features that do not exist yet.

    `instead` says what to write for such a key; `elsewhere` says under which key a key is known that is often
    written too far out.
    """

    later: tuple[str, ...] = ()
    instead: Mapping[str, str] = {}
    elsewhere: Mapping[str, str] = {}

    class Meta:
        """Unknown keys are collected by `_known`, so that all are told at once."""

        unknown = INCLUDE

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def _known(self, _data: object, original: Mapping[str, object], **_: object) -> None:
        wrong: dict[str, list[Said]] = {}
        known = [declared.data_key or name for name, declared in self.fields.items()]
        for key in original:
            if key in self.later:
                hint = self.instead.get(key, "remove it: it would have no effect")
                wrong[key] = [Said("E190", f"'{key}' is {NOT_YET}", hint, at_key=True)]
            elif key in self.elsewhere:
                hint = f"it belongs under {self.elsewhere[key]}:"
                wrong[key] = [Said("E102", f"unknown key '{key}' here", hint, at_key=True)]
            elif key not in known:
                wrong[key] = [Said("E102", f"unknown key '{key}'", did_you_mean(key, known), at_key=True)]
        if wrong:
            raise nested(wrong)


class Word(fields.Field[str]):
    """Text, not empty, at most `longest` characters."""

    def __init__(self, *, longest: int = MAX_TEXT, **kwargs: Any) -> None:  # noqa: ANN401 - marshmallow's own
        super().__init__(**kwargs)
        self.longest = longest

    def _deserialize(self, value: Any, *_: object, **__: object) -> str:  # noqa: ANN401 - anything may come
        if not isinstance(value, str):
            raise refuse("E301", f"expected text, not {show(value)}", "put it in quotes to make it text")
        if not value.strip() or len(value) > self.longest:
            raise refuse("E301", f"expected 1 to {self.longest:,} characters of text")
        return value


class Name(Word):
    """A key that definitions are known by."""

    def _deserialize(self, value: Any, *_: object, **__: object) -> str:  # noqa: ANN401 - anything may come
        return checked_name(super()._deserialize(as_text(value)))


def as_text(value: object) -> object:
    """Return a whole number as the text that it was written as: a name may be one."""
    return str(value) if type(value) is int else value


def checked_name(text: str) -> str:
    """Return `text` when it can be a key."""
    if NAME.fullmatch(text):
        return text
    better = re.sub(r"[^a-z0-9_-]+", "-", text.lower()).strip("-_")[:64]
    hint = f"for example '{better}'" if NAME.fullmatch(better) else ""
    raise refuse("E304", f"{show(text)} is not a usable name: lower-case letters, digits, '-' and '_'", hint)


class Unit(Word):
    """An attribute that holds an id to split by."""

    def _deserialize(self, value: Any, *_: object, **__: object) -> str:  # noqa: ANN401 - anything may come
        text = super()._deserialize(value)
        if text in TAKEN_ATTRIBUTES:
            raise refuse("E304", f"'{text}' is no unit: the server puts its own facts there", UNIT_HINT)
        if not UNIT.fullmatch(text):
            message = f"{show(text)} is not a usable unit: letters, digits, '-' and '_', at most 64"
            raise refuse("E304", message, UNIT_HINT)
        return text


class OneOf(Word):
    """One of a closed set of words; `later` are words of features that do not exist yet."""

    def __init__(self, allowed: Iterable[str], *, later: Iterable[str] = (), **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(**kwargs)
        self.allowed = tuple(allowed)
        self.later = tuple(later)

    def _deserialize(self, value: Any, *_: object, **__: object) -> str:  # noqa: ANN401 - anything may come
        if isinstance(value, str) and value in self.allowed:
            return value
        if isinstance(value, str) and value in self.later:
            raise refuse("E190", f"'{value}' is {NOT_YET}", f"use {' or '.join(self.allowed)}")
        word = value if isinstance(value, str) else ""
        raise refuse(
            "E303", f"{show(value)} is not one of {', '.join(self.allowed)}", near_one(word, self.allowed)
        )


class YesOrNo(fields.Field[bool]):
    """true or false."""

    def _deserialize(self, value: Any, *_: object, **__: object) -> bool:  # noqa: ANN401 - anything may come
        if not isinstance(value, bool):
            raise refuse("E301", f"expected true or false, not {show(value)}")
        return value


class Whole(fields.Field[int]):
    """A whole number from `low` to `high`."""

    def __init__(self, low: int, high: int, **kwargs: Any) -> None:  # noqa: ANN401 - marshmallow's own
        super().__init__(**kwargs)
        self.low, self.high = low, high

    def _deserialize(self, value: Any, *_: object, **__: object) -> int:  # noqa: ANN401 - anything may come
        if type(value) is not int or not self.low <= value <= self.high:
            raise refuse(
                "E308", f"expected a whole number from {self.low} to {self.high:,}, not {show(value)}"
            )
        return value


class Positive(fields.Field[float]):
    """A number above zero, at most `high`; `not_above` is the code for a number that is not above zero."""

    def __init__(self, high: float, *, hint: str = "", not_above: str = "E308", **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(**kwargs)
        self.high, self.hint, self.not_above = high, hint, not_above

    def _deserialize(self, value: Any, *_: object, **__: object) -> float:  # noqa: ANN401 - anything may come
        if type(value) not in (int, float) or not 0 < value <= self.high:
            code = self.not_above if type(value) in (int, float) and value <= 0 else "E308"
            first = decimal_in(value.split()[0]) if isinstance(value, str) and value.split() else None
            hint = f"a plain number: write {first:f}" if first is not None and first > 0 else self.hint
            raise refuse(code, f"expected a number above 0, at most {self.high:,g}, not {show(value)}", hint)
        return float(value)


class Plain(fields.Field[Any]):
    """One value that is neither a list nor a mapping; `hint` tells what to do instead."""

    def __init__(self, *, hint: str, **kwargs: Any) -> None:  # noqa: ANN401 - marshmallow's own
        super().__init__(**kwargs)
        self.hint = hint

    def _deserialize(self, value: Any, *_: object, **__: object) -> JsonValue:  # noqa: ANN401 - anything may come
        if isinstance(value, list | dict):
            raise refuse("E301", f"expected one plain value to be equal to, not {show(value)}", self.hint)
        return value  # type: ignore[no-any-return]  # the tree holds JSON values only


class Json(fields.Field[Any]):
    """Any value at all."""

    def _deserialize(self, value: Any, *_: object, **__: object) -> JsonValue:  # noqa: ANN401 - anything may come
        return value  # type: ignore[no-any-return]  # the tree holds JSON values only


class BasisPoints(fields.Field[int]):
    """A part of the whole, '50%' or 50, in basis points; a bare number up to 1 is ambiguous."""

    def _deserialize(self, value: Any, *_: object, **__: object) -> int:  # noqa: ANN401 - anything may come
        percent = percent_in(value)
        if percent is None and type(value) in (int, float):
            if 0 < value <= 1:
                hint = f"write {value * 100:g}% or {value:g}%"
                raise refuse("E305", f"{value:g} can be read as {value:g}% and as {value * 100:g}%", hint)
            percent = Decimal(str(value))
        if percent is None or not 0 <= percent <= HUNDRED:
            raise refuse(
                "E305", f"expected a percentage from 0% to 100%, not {show(value)}", "for example 50%"
            )
        basis_points = percent * HUNDRED
        if basis_points != int(basis_points):
            raise refuse("E305", f"{show(value)} is finer than 0.01%", "round it to two decimals")
        return int(basis_points)


class Fraction(fields.Field[float]):
    """A probability or rate between 0 and 1: '5%' or 0.05; `relative` allows the word: '10% relative'.

    A number from `least` to 100 is taken for a percentage whose sign was forgotten.
    """

    def __init__(
        self,
        *,
        relative: bool = False,
        example: str = "5%",
        least: float = 1,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(**kwargs)
        self.relative = relative
        self.example = "10% relative" if relative else example
        self.least = least

    def _deserialize(self, value: Any, *_: object, **__: object) -> float:  # noqa: ANN401 - anything may come
        text = value
        if self.relative and isinstance(value, str):
            text, _sep, word = value.strip().partition(" ")
            if word.strip() == "absolute":
                raise refuse("E190", f"an absolute effect is {NOT_YET}", "for example '10% relative'")
            if word.strip() not in ("", "relative"):
                raise refuse(
                    "E305", f"expected a relative effect, not {show(value)}", "for example '10% relative'"
                )
        percent = percent_in(text)
        share = float(percent / 100) if percent is not None else text
        if type(share) not in (int, float) or not 0 < share < 1:
            bare = type(value) in (int, float) and self.least <= value < HUNDRED
            hint = f"write {value:g}%" if bare else f"for example {self.example}"
            raise refuse(
                "E305", f"expected a share of more than 0% and less than 100%, not {show(value)}", hint
            )
        return float(share)


class Margin(fields.Field[tuple[float, bool]]):
    """How much worse a guardrail may get: '2% relative', '0.5 absolute' or '1% absolute'."""

    def _deserialize(self, value: Any, *_: object, **__: object) -> tuple[float, bool]:  # noqa: ANN401
        parts = value.split() if isinstance(value, str) else []
        percent = percent_in(parts[0]) if parts else None
        number = percent / 100 if percent is not None else decimal_in(parts[0] if parts else None)
        word = " ".join(parts[1:]) or ("relative" if percent is not None else "")
        if number is None or number <= 0 or word not in ("relative", "absolute"):
            hint = "for example '2% relative' or '0.5 absolute'"
            raise refuse("E305", f"expected how much worse it may get, not {show(value)}", hint)
        return float(number), word == "relative"


class Duration(fields.Field[int]):
    """A length of time in seconds: 30m, 24h, 7d, 2w; `empty` is the code for one of nothing."""

    def __init__(self, *, empty: str = "E306", **kwargs: Any) -> None:  # noqa: ANN401 - marshmallow's own
        super().__init__(**kwargs)
        self.empty = empty

    def _deserialize(self, value: Any, *_: object, **__: object) -> int:  # noqa: ANN401 - anything may come
        seconds = seconds_in(value)
        if seconds is None and EMPTY.fullmatch(str(value).strip()):
            message = f"expected a length of time of more than nothing, not {show(value)}"
            raise refuse(self.empty, message, "for example 30m, 24h or 7d")
        if seconds is None:
            raise refuse(
                "E306",
                f"expected a length of time up to 400d, not {show(value)}",
                "for example 30m, 24h or 7d",
            )
        return seconds


class Instant(fields.Field[datetime]):
    """A time with its zone, in UTC afterwards."""

    def _deserialize(self, value: Any, *_: object, **__: object) -> datetime:  # noqa: ANN401 - anything may come
        hint = "for example 2027-01-07T09:00+01:00"
        if not isinstance(value, str) or not INSTANT.fullmatch(value):
            raise refuse("E307", f"expected a time with a zone, not {show(value)}", hint)
        try:
            moment = datetime.fromisoformat(value)
        except ValueError as error:
            raise refuse("E307", f"{show(value)}: {error}", hint) from error
        if moment.year not in YEARS:
            raise refuse("E307", f"the year {moment.year} is out of range", hint)
        return moment.astimezone(UTC)


class Day(fields.Field[date]):
    """A date."""

    def _deserialize(self, value: Any, *_: object, **__: object) -> date:  # noqa: ANN401 - anything may come
        try:
            day = date.fromisoformat(value) if re.fullmatch(r"\d{4}-\d\d-\d\d", str(value)) else None
        except ValueError:
            day = None
        if day is None or day.year not in YEARS:
            raise refuse("E307", f"expected a date, not {show(value)}", "for example 2027-01-31")
        return day


def percent_in(value: object) -> Decimal | None:
    """Return 50 for '50%', None for anything else."""
    text = value.strip() if isinstance(value, str) else ""
    return decimal_in(text[:-1].strip()) if text.endswith("%") else None


def decimal_in(text: str | None) -> Decimal | None:
    """Return a plain number exactly as it is written, None for anything else."""
    try:
        return Decimal(text) if text and len(text) <= MAX_DIGITS and NUMBER.fullmatch(text) else None
    except InvalidOperation:
        return None
