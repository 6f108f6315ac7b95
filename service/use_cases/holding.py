"""How an event is kept that is not taken in: the bytes that came, and enough to judge it again."""

import base64
import hashlib
from itertools import islice

import orjson

from experiments.identifiers import is_identifier
from service.batches import MALFORMED
from service.storage.naming import EXPOSURES, Named, named_in, named_in_text, texts_in, without
from service.storage.records import QuarantinedEvent
from service.use_cases.arrivals import Arrival
from service.use_cases.event_rules import agent_of
from service.use_cases.exposures import Refusal
from service.use_cases.terms import Terms

TEXT, BASE64 = "utf-8", "base64"
NEVER_KEPT = ("ip", "writeKey")
TYPES = ("type", "event", "event_name")
"""Where an event's type stands, in the words of Segment and GrowthBook too."""
MOST_ASKED = 20
STRANGER = "other_person"
"""In the context of an event: it came in somebody else's request, whatever else is wrong with it."""


def held(arrival: Arrival, refusal: Refusal, terms: Terms, *, stranger: bool = False) -> QuarantinedEvent:
    """Return an event as quarantine keeps it: the bytes that came, and what was judged where it differs.

    Of a `stranger` it is remembered that its request was about somebody else. Of what cannot be read, neither
    addresses nor keys are kept; nor anything if it seems to be about several people, since erasing one of
    them would have to find it.
    """
    sent = arrival.bytes_sent()
    named = Named((), ())
    if refusal.reason == MALFORMED and sent is not None:
        sent, named = _cleaned(sent)
    canonical = "" if refusal.reason == MALFORMED else orjson.dumps(arrival.canonical).decode()
    body, encoding = _as_text(sent) if sent is not None else (canonical, TEXT)
    if encoding == TEXT and canonical and _says_the_same(body, arrival.canonical):
        canonical = ""
    context = {"user_agent": agent_of(arrival, terms), "signals": " ".join(sorted(terms.signals))}
    context[STRANGER] = "yes" if stranger else ""
    context["user_id"] = next(iter(named.user_ids), "")
    context["anonymous_id"] = next(iter(named.anonymous_ids), "")
    return QuarantinedEvent(
        event_id=echoed_id(arrival.canonical),
        reason=refusal.reason,
        detail=refusal.detail,
        body=body,
        received_at=terms.now,
        source=terms.source,
        trust=terms.trust,
        encoding=encoding,
        canonical=canonical,
        context={name: value for name, value in context.items() if value},
    )


def echoed_id(raw: object) -> str:
    """Return the id that was sent if it can be sent back, empty otherwise."""
    event_id = raw.get("event_id") if isinstance(raw, dict) else None
    return event_id if isinstance(event_id, str) and is_identifier(event_id) else ""


def persons_named(arrival: Arrival) -> tuple[str, ...]:
    """Return the persons that an arrival names which may be no event otherwise."""
    named = named_in(arrival.canonical)
    if _is_unreadable(arrival):
        named = named_in_text(_loosely(arrival.bytes_sent() or b""))
    return tuple(islice(named.person_ids, MOST_ASKED))


def is_exposure(arrival: Arrival) -> bool:
    """Tell whether an event is, or would be, an exposure: a bad one is not kept against a person's wish."""
    if _is_unreadable(arrival):
        text = _loosely(arrival.bytes_sent() or b"")
        return any(said in EXPOSURES for _, said in texts_in(text, TYPES))
    said = arrival.canonical if isinstance(arrival.canonical, dict) else {}
    return any(said.get(name) == one for name in TYPES for one in EXPOSURES)


def _is_unreadable(arrival: Arrival) -> bool:
    return arrival.problem is not None and arrival.problem.reason == MALFORMED


def _cleaned(sent: bytes) -> tuple[bytes, Named]:
    """Return what may be kept of an unreadable event, and whom it names."""
    text = _loosely(sent)
    named = named_in_text(text)
    if max(map(len, named)) <= 1:
        try:
            return without(text, NEVER_KEPT).encode("utf-8", "surrogateescape"), named
        except (ValueError, RecursionError):
            pass
    return f"{len(sent)} bytes, sha256 {hashlib.sha256(sent).hexdigest()}".encode(), named


def _loosely(sent: bytes) -> str:
    return sent.decode("utf-8", "surrogateescape")


def _as_text(sent: bytes) -> tuple[str, str]:
    """Return bytes as text with its encoding; what not every database takes as text goes as base64."""
    try:
        text = sent.decode()
    except UnicodeDecodeError:
        text = "\0"
    return (base64.b64encode(sent).decode(), BASE64) if "\0" in text else (text, TEXT)


def _says_the_same(body: str, canonical: object) -> bool:
    try:
        return bool(orjson.loads(body) == canonical)
    except orjson.JSONDecodeError:
        return False
