"""Whom a refused event names, in our words and in those of Segment and GrowthBook.

Quarantine keeps what nobody could read, so ids are also looked for in its text: who erases a person, or heeds
a refusal, must find them there. Finding one too many is better than missing one.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from json import JSONDecoder
from typing import NamedTuple

from service.storage.interactions import EXPOSURE_EVENT

USER_IDS = ("user_id", "userId")
ANONYMOUS_IDS = ("anonymous_id", "anonymousId", "device_id")
EXPOSURES = frozenset({EXPOSURE_EVENT, "$$experiment_viewed"})
"""The names of an exposure; GrowthBook's Python SDK has one of its own."""
ALIASED, PREVIOUS = "User Aliased", "previous_id"
"""The event that says which id became a user, and the property that holds it."""
PREVIOUS_IDS = (PREVIOUS, "previousId")
NESTED = "context_json"
"""Where GrowthBook's plugins put the attributes of a visitor."""
MAX_EXTRACTED = 256
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_COLON = re.compile(r"[ \t\n\r]*:[ \t\n\r]*")
_NUMBER = re.compile(r"-?[0-9]{1,128}")
_UNSEEN = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
# Not strict: a raw control character is what made some of these texts unreadable.
_DECODER = JSONDecoder(strict=False, parse_int=float)


class Named(NamedTuple):
    """The ids that are named, each once, in the order of their names' weight."""

    user_ids: tuple[str, ...]
    anonymous_ids: tuple[str, ...]

    @property
    def person_ids(self) -> tuple[str, ...]:
        """Return them as persons."""
        return (*(f"u:{one}" for one in self.user_ids), *(f"a:{one}" for one in self.anonymous_ids))


def named_in(value: object) -> Named:
    """Return whom a JSON value names."""
    said = value if isinstance(value, Mapping) else {}
    nested = said.get(NESTED)
    places = (said, nested) if isinstance(nested, Mapping) else (said,)
    properties = said.get("properties")
    previous = previous_in(said.get("type"), properties if isinstance(properties, Mapping) else {})
    # It may be an account as well as a device.
    also = (previous,) if previous else ()
    return Named(
        tuple(dict.fromkeys((*_ids(places, USER_IDS), *also))),
        tuple(dict.fromkeys((*_ids(reversed(places), ANONYMOUS_IDS), *also))),
    )


def previous_in(event_type: object, properties: Mapping[str, object]) -> str | None:
    """Return the id that an alias replaces, None for any other event."""
    return text_of(properties.get(PREVIOUS)) if event_type == ALIASED else None


def named_in_text(text: str) -> Named:
    """Return whom a text names that looks like JSON, at any depth and as often as it does."""
    found: dict[str, list[str]] = {name: [] for name in (*USER_IDS, *ANONYMOUS_IDS, *PREVIOUS_IDS)}
    for name, said in texts_in(text, found):
        found[name].append(said)
    return Named(_each(found, (*USER_IDS, *PREVIOUS_IDS)), _each(found, (*ANONYMOUS_IDS, *PREVIOUS_IDS)))


def texts_in(text: str, names: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield name and value of the members of these names that are strings or whole numbers."""
    for name, start in _members(text, names):
        number = _NUMBER.match(text, start)
        string = None if number else _STRING.match(text, start)
        said = number[0] if number else _decoded(text, start) if string else None
        if isinstance(said, str) and (shown := visible(said)):
            yield name, shown


def without(text: str, names: Collection[str]) -> str:
    """Return a text that looks like JSON with null for the members of these names, the rest as it is.

    Raises
    ------
    ValueError
        If the end of such a member cannot be found.
    RecursionError
        If it is nested too deeply for that.
    """
    pieces: list[str] = []
    end = 0
    for _, start in _members(text, names):
        if start >= end:
            pieces += text[end:start], "null"
            end = _DECODER.raw_decode(text, start)[1]
    return "".join((*pieces, text[end:]))


def text_of(value: object) -> str | None:
    """Return an id as text, also one of the wrong type; None for what can be no id."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return visible(str(value)) or None


def visible(text: str) -> str:
    """Return an id without what no id holds: it may be what made the event unreadable."""
    return _UNSEEN.sub("", text)[:MAX_EXTRACTED]


def _ids(places: Iterable[Mapping[str, object]], names: Collection[str]) -> tuple[str, ...]:
    said = (text_of(place.get(name)) for place in places for name in names)
    return tuple(dict.fromkeys(one for one in said if one))


def _each(found: Mapping[str, list[str]], names: Collection[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(said for name in names for said in found[name]))


def _members(text: str, names: Collection[str]) -> Iterator[tuple[str, int]]:
    """Yield the name of each such member and where its value begins."""
    for token in _STRING.finditer(text):
        colon = _COLON.match(text, token.end())
        if colon is not None and (name := _decoded(text, token.start())) in names:
            yield str(name), colon.end()


def _decoded(text: str, start: int) -> object:
    try:
        return _DECODER.raw_decode(text, start)[0]
    except ValueError:
        return None
