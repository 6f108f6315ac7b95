"""Bodies: what each door likes, spoilt a little, and bytes that are nothing at all."""

import gzip
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from functools import partial
from typing import Any

from hypothesis import strategies as st

from service.clock import utc_now
from tests.server import CATALOG

NOW = (utc_now() - timedelta(hours=1)).isoformat()
PERSON = {"anonymous_id": "d41d8cd98f00b204e98009@DIGITS@", "user_id": "maria@DIGIT@"}
VISIT = {
    "event_id": "e-@DIGITS@",
    "type": "Product Viewed",
    "occurred_at": NOW,
    "properties": {"product_id": "p-1"},
}
EXPOSED = {
    "event_id": "x-@DIGITS@",
    "type": "Experiment Viewed",
    "occurred_at": NOW,
    "properties": {
        "experiment_key": "button",
        "variant_key": "control",
        "unit_type": "anonymous_id",
        "unit_id": PERSON["anonymous_id"],
        "phase": 1,
        "revision": 1,
    },
}
ORDER = {
    "event_id": "o-@DIGITS@",
    "type": "Order Completed",
    "occurred_at": NOW,
    "properties": {"revenue": 19.99, "currency": "EUR", "products": [{"product_id": "p-1", "quantity": 2}]},
}
TRACK = {
    "userId": "maria",
    "anonymousId": "a-1",
    "event": "Order Completed",
    "messageId": "m-@DIGITS@",
    "timestamp": NOW,
}
CALLS: tuple[dict[str, Any], ...] = (
    {**TRACK, "type": "track", "properties": {"revenue": 3, "products": [{"product_id": "p"}]}},
    {"type": "page", "anonymousId": "a-1", "name": "Home", "properties": {"url": "https://shop.example/"}},
    {"type": "screen", "anonymousId": "a-1", "name": "Home", "category": "c"},
    {"type": "identify", "userId": "maria", "anonymousId": "a-1", "traits": {"email": "m@shop.example"}},
    {"type": "group", "userId": "maria", "groupId": "g", "traits": {}},
    {"type": "alias", "userId": "maria", "previousId": "a-1", "sentAt": NOW, "context": {"userAgent": "x"}},
)
CONTEXT = {"targetingKey": "u-1", "country": "ES", **PERSON, "orders": 3, "tags": ["tea"]}
RULE = {"event_name": "Experiment Viewed", "properties": {"experimentId": "button", "variationId": "control"}}

FILES = {
    **CATALOG,
    "recommenders.yaml": "recommenders: {best: {rank_by: popularity}, new: {rank_by: model}}\n",
    "placements.yaml": "placements: {home: {recommender: best, slots: 3}}\n",
    "holdouts.yaml": "holdouts: {q1: {share: 5%}}\n",
    "flags/night.yaml": "flag: night\naudience: {request.device: mobile}\n",
}
BODIES: Mapping[str, tuple[object, ...]] = {
    "/v1/events": (
        {"events": [{**VISIT, **PERSON}, {**EXPOSED, **PERSON}, {**ORDER, **PERSON}]},
        {
            "events": [
                {**ORDER, "user_id": "maria"},
                {**VISIT, "event_id": "e-@DIGITS@", "anonymous_id": "other"},
            ]
        },
    ),
    "/track": ([{**RULE, "anonymous_id": "a-1"}], {"events": [RULE]}, {"key": "button", "user_id": "maria"}),
    "/v1/batch": ({"batch": list(CALLS), "sentAt": NOW, "writeKey": "@CK@"},),
    "/v1/consent": (
        {
            **PERSON,
            "decisions": [{"purpose": "personalization", "status": "denied", "decided_at": NOW}],
            "text_version": "3",
            "proof": "banner",
            "consent_id": "c-@DIGITS@",
        },
    ),
    "/v1/identity/link": (
        PERSON,
        {"user_id": "maria", "previous_user_id": "old", "person_token": "@PERSON@"},
    ),
    "/v1/people/profile": (PERSON,),
    "/v1/people": (PERSON, {"anonymous_id": "nobody"}),
    "/v1/person-tokens": ({**PERSON, "ttl_s": 600},),
    "/v1/quarantine/replay": ({}, {"reason": "invalid_event", "dry_run": True}, {"events": ["@HELD@"]}),
    "/v1/quarantine": ({}, {"reason": "invalid_event"}, {"events": ["@HELD@"]}),
    "/v1/items": (
        {"items": [{"item_id": "p-1", "fields": {"price": 3}, "categories": ["tea"], "active": True}]},
    ),
    "/v1/recommendations": (
        {**PERSON, "k": 5, "context": CONTEXT, "filters": {"categories": ["tea"]}, "exclude": ["p-2"]},
        {"anonymous_id": "a-1", "placement": "home", "seed_items": ["p-1"], "fields": ["price"]},
    ),
    "/v1/catalog": (
        {"files": FILES},
        {"files": FILES},
        {"files": {"m.yaml": "metrics: [", "../e.yaml": "flag: x"}},
    ),
    "/v1/flags/{key}/explain": ({"context": CONTEXT}, {"context": CONTEXT, "at": NOW}),
    "/api/eval/{client_key}": (
        {"attributes": CONTEXT, "forcedVariations": {"button": 1}, "url": "https://x/"},
    ),
    "/ofrep/v1/evaluate/flags": (
        {"context": CONTEXT},
        {"context": {"targetingKey": "u-2", "preview": "@PREVIEW@"}},
    ),
    "/ofrep/v1/evaluate/flags/{key}": ({"context": CONTEXT}, {"context": CONTEXT, "expose": True}),
}
SEGMENT = {call["type"]: call for call in CALLS}
OTHERS: tuple[object, ...] = ({}, PERSON, *CALLS)
FORMS: Mapping[str, tuple[str, ...]] = {
    "/quarantine/replay": (
        "form_token=@FORM@&reason=invalid_event&step=do",
        "form_token=@FORM@&before_launch=yes",
    ),
    "/quarantine/drop": ("form_token=@FORM@&reason=invalid_event&step=do&until=x", "form_token=@FORM@"),
}
FORM_ENDS = ("", "&event=", "&event=abc", "&after=%ff&x")


class Raw(str):
    """JSON text as it stands; what no writer of JSON would write."""

    __slots__ = ()


NASTY: tuple[object, ...] = (
    None,
    True,
    0,
    -1,
    1.5,
    "",
    " ",
    [],
    {},
    [[]],
    {"": ""},
    "\u202e\u0000",
    "caf\u00e9 \U0001f375",
    "a" * 129,
    "a" * 40_000,
    "../../etc/passwd",
    "=cmd|' /C calc'!A0",
    "1e309",
    "2026-02-30T25:61:61Z",
    "9999-12-31T23:59:59.999999999+14:00",
    "2026-11-22T09:30:00",
    2**53,
    2**63,
    -(2**70),
    10**400,
    Raw("NaN"),
    Raw("-Infinity"),
    Raw("1e999"),
    Raw("-0.0"),
    Raw("1E-400"),
    Raw('"\\ud800"'),
    Raw('"\\u0000"'),
    Raw('{"a":1,"a":2}'),
    Raw("[" * 40 + "]" * 40),
    Raw('{"a":' * 600 + "1" + "}" * 600),
    Raw('"\x01"'),
    Raw("01"),
    Raw("tru"),
    Raw("'x'"),
)
leaves = st.one_of(
    st.sampled_from(NASTY),
    st.sampled_from(NASTY),
    st.text(max_size=12),
    st.integers(),
    st.floats(),
)
Place = tuple[str | int, ...]


def written(value: object) -> str:
    """Return `value` as JSON, `Raw` parts as they are."""
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{json.dumps(str(key))}:{written(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(written, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def places(value: object, here: Place = ()) -> Iterator[Place]:
    """Return the way to every part of `value`, itself first."""
    yield here
    inner: Iterator[tuple[str | int, object]]
    inner = (
        iter(value.items())
        if isinstance(value, dict)
        else iter(enumerate(value))
        if isinstance(value, list)
        else iter(())
    )
    for key, item in inner:
        yield from places(item, (*here, key))


def changed(value: object, place: Place, change: Callable[[object], object]) -> object:
    """Return `value` with one part replaced."""
    if not place:
        return change(value)
    copy: Any = dict(value) if isinstance(value, dict) else list(value)  # type: ignore[call-overload]
    copy[place[0]] = changed(copy[place[0]], place[1:], change)
    return copy


def _replaced(old: object, *, how: str, leaf: object) -> object:
    if how == "empty":
        return type(old)() if isinstance(old, dict | list | str) else None
    if how == "wrap":
        return [old, old]
    if how == "add":
        return {**old, "more": leaf} if isinstance(old, dict) else [old]
    return leaf


@st.composite
def spoilt(draw: st.DrawFn, value: object) -> object:
    """Draw `value` with up to three parts replaced, taken out, doubled or wrapped."""
    for _ in range(draw(st.sampled_from((0, 0, 0, 1, 1, 1, 2, 3)))):
        ways = list(places(value))
        place = ways[draw(st.integers(0, len(ways) - 1))]
        how = draw(st.sampled_from(("replace", "replace", "replace", "empty", "wrap", "add")))
        leaf = draw(leaves)
        value = changed(value, place, partial(_replaced, how=how, leaf=leaf))
    return value


def _liked(door: str) -> tuple[object, ...]:
    name = door.removeprefix("/v1/")
    if name in ("b", "import"):
        return BODIES["/v1/batch"]
    found = [call for kind, call in SEGMENT.items() if name in (kind, kind[0])]
    return BODIES.get(door) or tuple(found) or OTHERS


BYTES = (
    b"",
    b"{",
    b"[]",
    b"null",
    b'"',
    b"\x00",
    b"\xff\xfe",
    b"\xef\xbb\xbf{}",
    b"a=1&b=2",
    b"{}{}",
    b"\x1f\x8b\x08",
    b"%",
)


@st.composite
def bodies(draw: st.DrawFn, door: str) -> bytes:
    """Draw a body for one door."""
    if draw(st.integers(0, 19)) == 0:
        return draw(st.one_of(st.sampled_from(BYTES), st.binary(max_size=40)))
    if door in FORMS:
        text = draw(st.sampled_from(FORMS[door])) + draw(st.sampled_from(FORM_ENDS))
    else:
        text = written(draw(spoilt(draw(st.sampled_from(_liked(door))))))
    # Few persons, so that they meet again; many events, so that not all are known already.
    number = draw(st.integers(0, 99_999))
    text = text.replace("@DIGITS@", f"{number:05}").replace("@DIGIT@", f"{number % 10}")
    coding = draw(st.sampled_from(("utf-8",) * 12 + ("utf-16", "latin-1")))
    body = text.encode(coding, "surrogatepass" if coding != "latin-1" else "replace")
    spoil = draw(st.integers(0, 39))
    if spoil == 0:
        return body[: draw(st.integers(0, len(body)))]
    if spoil == 1:
        cut = draw(st.integers(0, len(body)))
        return body[:cut] + draw(st.binary(min_size=1, max_size=3)) + body[cut:]
    return body


def packed(body: bytes, way: str) -> bytes:
    """Return a body in one of the encodings that clients send, whole or broken."""
    whole = gzip.compress(body, mtime=0)
    bomb = gzip.compress(b" " * (8 << 20), mtime=0)
    return {"whole": whole, "cut": whole[:-9], "twice": whole + whole, "bomb": bomb, "not": body}[way]
