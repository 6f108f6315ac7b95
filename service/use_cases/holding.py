"""How an event is kept that is not taken in: the bytes that came, and enough to judge it again."""

import base64

import orjson

from experiments.identifiers import is_identifier
from service.batches import MALFORMED
from service.storage.records import QuarantinedEvent
from service.use_cases.arrivals import Arrival
from service.use_cases.event_rules import agent_of
from service.use_cases.exposures import Refusal
from service.use_cases.terms import Terms

TEXT, BASE64 = "utf-8", "base64"
IDS = {"user_id": "u:", "anonymous_id": "a:"}


def held(arrival: Arrival, refusal: Refusal, terms: Terms) -> QuarantinedEvent:
    """Return an event as quarantine keeps it: the bytes that came, and what was judged where it differs."""
    sent = arrival.bytes_sent()
    canonical = "" if refusal.reason == MALFORMED else orjson.dumps(arrival.canonical).decode()
    body, encoding = _as_text(sent) if sent is not None else (canonical, TEXT)
    if encoding == TEXT and canonical and _says_the_same(body, arrival.canonical):
        canonical = ""
    context = {"user_agent": agent_of(arrival, terms), "signals": " ".join(sorted(terms.signals))}
    if refusal.reason == MALFORMED:
        context |= _ids_in(arrival.canonical)
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


def persons_named(raw: object) -> tuple[str, ...]:
    """Return the persons that a value names which may be no event otherwise."""
    return tuple(IDS[name] + value for name, value in _ids_in(raw).items())


def _ids_in(raw: object) -> dict[str, str]:
    said = raw if isinstance(raw, dict) else {}
    return {name: said[name] for name in IDS if is_identifier(said.get(name))}


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
