"""The front doors of events: one way through them all, for the event lane and for Flask.

A door says where its events are in a body and what they mean; reading, keys, judging, counting and the
answer are the same for every door. Nobody holds a thread while the commit is pending.
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from service.batches import Part, parts_of, whole_of
from service.errors import PROBLEM_TYPE, Pointer, ProblemError, too_large
from service.log import logger
from service.storage.ports import StoreUnavailableError
from service.storage.records import AppendStatus, KeyClass
from service.use_cases.access import Caller
from service.use_cases.arrivals import Arrival
from service.use_cases.authority import IN_BODY, authenticate, may_ride_in_body
from service.use_cases.conservation import Tally
from service.use_cases.cors import answer_headers
from service.use_cases.exchange import JSON_TYPE, PRIVATE, Call, Headers, Reply
from service.use_cases.ingest import MAX_EVENTS, Judged, judge, terms_of
from service.use_cases.problems import store_problem
from service.use_cases.services import Services
from service.wire import read_json

BODY_LIMIT = 1 << 20
PATIENCE_S = 10.0
BAD_REQUEST = 400
MOST_POINTERS = 50
EITHER_KEY = frozenset({KeyClass.CLIENT, KeyClass.SERVER})
COUNTED = "counted"
ZIPPED = ("gzip", "x-gzip")
MOST_MEMBERS = 8
_GZIP = 16 + zlib.MAX_WBITS

Results = list[dict[str, Any]]


class Delivery(NamedTuple):
    """One request that was read: its events as they came, what stood beside them, and its size unzipped."""

    call: Call
    caller: Caller
    rest: dict[str, Any]
    parts: Sequence[Part]
    now: datetime
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """One kind of front door.

    `member` is the member of the body that holds the events; None: the body is the array. With `single` the
    body is one event itself. `understand` returns an arrival for each part, or None for one that is counted
    and not stored; it may raise a ProblemError about what stands beside the events. `members` makes the
    body of the answer from the results.
    """

    source: str
    understand: Callable[[Services, Delivery], Sequence[Arrival | None]]
    member: str | None = None
    single: bool = False
    scopes: frozenset[KeyClass] = EITHER_KEY
    members: Callable[[Results], Any] = lambda results: {"results": results}
    status: int = 200


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request whose events are on their way into the store."""

    services: Services
    call: Call
    door: Door
    judged: Judged
    places: Sequence[int]
    n: int
    size: int
    tally: Tally
    future: "Future[Sequence[AppendStatus]]"

    def needs_store(self, statuses: Sequence[AppendStatus]) -> bool:
        """Tell whether `finish` looks at the store, and so may not run on an event loop."""
        return self.judged.needs_store(statuses)

    def finish(self, statuses: Sequence[AppendStatus]) -> Reply:
        """Answer what became of each event."""
        try:
            stored = self.judged.results(self.services.store, statuses)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets an answer
            return self.failed(error)
        results: Results = [{"index": n, "event_id": "", "status": COUNTED} for n in range(self.n)]
        for place, result in zip(self.places, stored, strict=True):
            results[place] = {**result, "index": place}
        self.tally.settle(result["status"] for result in results)
        headers = (*JSON_TYPE, *_common_headers(self.services, self.call))
        return Reply(self.door.status, headers, orjson.dumps(self.door.members(results)))

    def failed(self, error: BaseException) -> Reply:
        """Answer that nothing may be stored; sending the same again is harmless."""
        self.tally.refuse()
        return failure(self.services, self.call, error)


def begin(services: Services, call: Call, door: Door) -> Reply | Waiting:
    """Check the key, read and judge the events and hand them to the store; a reply is a refusal."""
    tally = Tally(services.meters, services.clock())
    try:
        delivery = _read(services, call, door)
        tally.receive(len(delivery.parts))
        return _hand_over(services, delivery, door, tally)
    except Exception as error:  # noqa: BLE001 - whatever it is, the client gets an answer
        tally.refuse()
        return failure(services, call, error)


def answer(services: Services, call: Call, door: Door) -> Reply:
    """Do all of it in this thread."""
    begun = begin(services, call, door)
    if isinstance(begun, Reply):
        return begun
    try:
        statuses = begun.future.result(timeout=PATIENCE_S)
    except TimeoutError:
        return begun.failed(out_of_patience())
    except Exception as error:  # noqa: BLE001 - whatever it is, the client gets an answer
        return begun.failed(error)
    return begun.finish(statuses)


def out_of_patience() -> StoreUnavailableError:
    """Return the error of a commit that takes too long."""
    return StoreUnavailableError(f"no answer from the database within {PATIENCE_S:g} s")


def failure(services: Services, call: Call, error: BaseException) -> Reply:
    """Return the refusal as problem+json, with the headers that a browser needs to read it."""
    problem = _problem(error)
    kind: Headers = (("Content-Type", PROBLEM_TYPE),)
    headers = (*kind, *_common_headers(services, call), *problem.headers.items())
    return Reply(problem.status, headers, orjson.dumps(problem.body(call.request_id)))


def only_members(rest: Mapping[str, Any]) -> None:
    """Refuse members beside the events, so that a misspelt one is noticed; the key may be among them.

    Raises
    ------
    ProblemError
        422 ``invalid_body``.
    """
    unknown = [name for name in rest if name != IN_BODY]
    if unknown:
        found = tuple(Pointer(f"/{_escaped(name)}", "Unknown field.") for name in unknown[:MOST_POINTERS])
        raise ProblemError(422, "invalid_body", "some members are missing or wrong", found)


def _read(services: Services, call: Call, door: Door) -> Delivery:
    # A beacon's key is inside its body; every other body is read after the key is known to be good.
    in_body = may_ride_in_body(call, door.scopes)
    # Unzipping is work for known callers only, and a beacon never zips.
    known = not in_body or _coding(call) in ZIPPED
    caller = authenticate(services, call, door.scopes) if known else None
    body = _unpacked(call)
    try:
        rest, parts = _parts(body, door)
    except ProblemError as refused:
        if caller is None and refused.status != BAD_REQUEST:
            # It could be read, so it may hold a good key; without one that is all there is to say.
            authenticate(services, call, door.scopes, _rest_of(body, refused))
        raise
    if caller is None:
        caller = authenticate(services, call, door.scopes, rest)
    return Delivery(call, caller, rest, parts, services.clock(), len(body))


def _rest_of(body: bytes, refused: ProblemError) -> object:
    """Return what a body says that was refused for another reason than its form, else raise that."""
    try:
        return read_json(body, limit=BODY_LIMIT)
    except ProblemError:
        raise refused from None


def _parts(body: bytes, door: Door) -> tuple[dict[str, Any], list[Part]]:
    if not door.single:
        return parts_of(body, door.member, limit=BODY_LIMIT, most=MAX_EVENTS)
    whole = whole_of(body, limit=BODY_LIMIT)
    return (whole.value if isinstance(whole.value, dict) else {}), [whole]


def _hand_over(services: Services, delivery: Delivery, door: Door, tally: Tally) -> Waiting:
    understood = door.understand(services, delivery)
    places = [place for place, arrival in enumerate(understood) if arrival is not None]
    arrivals = [arrival for arrival in understood if arrival is not None]
    terms = terms_of(services, delivery.caller, source=door.source, call=delivery.call)
    judged = judge(services.store, services.exposures, arrivals, terms=terms, wishes=services.wishes)
    future: Future[Sequence[AppendStatus]]
    if arrivals:
        future = services.store.submit(judged.batch)
    else:
        future = Future()
        future.set_result(())
    n, size = len(delivery.parts), delivery.size
    return Waiting(services, delivery.call, door, judged, places, n, size, tally, future)


def _unpacked(call: Call) -> bytes:
    """Return the body as JSON text, unzipped if it was zipped."""
    kind = call.content_type.partition(";")[0].strip().lower()
    # sendBeacon can only say text/plain without a preflight.
    if kind and kind not in ("application/json", "text/plain") and not kind.endswith("+json"):
        raise ProblemError(415, "unsupported_media_type", "send Content-Type: application/json")
    coding = _coding(call)
    if coding in ("", "identity"):
        return call.body
    if coding not in ZIPPED:
        raise ProblemError(
            415, "unsupported_media_type", "send the body plain, or with Content-Encoding: gzip"
        )
    return _unzipped(call.body)


def _coding(call: Call) -> str:
    return call.content_encoding.strip().lower()


def _unzipped(body: bytes) -> bytes:
    """Return what a gzip file holds, at most as much as a plain body may have, in few members.

    What follows a member is copied, so many of them would cost the square of their number.
    """
    out: list[bytes] = []
    room = BODY_LIMIT + 1
    try:
        for _ in range(MOST_MEMBERS):
            member = zlib.decompressobj(_GZIP)
            piece = member.decompress(body, room)
            room -= len(piece)
            if room <= 0:
                raise too_large(BODY_LIMIT)
            if not member.eof:
                raise ProblemError(400, "bad_request", "the gzip body ends too early")
            out.append(piece)
            body = member.unused_data
            if not body:
                return b"".join(out)
    except zlib.error as error:
        raise ProblemError(400, "bad_request", "the body is not gzip, as Content-Encoding says") from error
    raise ProblemError(400, "bad_request", f"the gzip body has more than {MOST_MEMBERS} members; send one")


def _problem(error: BaseException) -> ProblemError:
    if isinstance(error, ProblemError):
        return error
    if isinstance(error, StoreUnavailableError):
        return store_problem(error)
    logger().error("request_failed", exc_info=error)
    return ProblemError(500, "internal", "the request id names the line in our log")


def _common_headers(services: Services, call: Call) -> Headers:
    told = answer_headers(call.origin, services.settings.origins, host=call.host)
    return (*PRIVATE, *told)


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
