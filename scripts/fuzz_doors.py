"""Send requests of every kind to every door of a real server: none may be answered by 500, or not at all.

    python -m scripts.fuzz_doors                          # 200,000 requests, some 20 minutes
    python -m scripts.fuzz_doors --requests 5000 --seed 7 # fewer; the same seed sends the same requests
    python -m scripts.fuzz_doors --wsgi                   # the other entry point

The doors are those that /openapi.json names, and the few that need no description. Bodies are what a door
likes with up to three parts spoilt: Hypothesis draws them, and shrinks what fails.
"""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import orjson
from hypothesis import HealthCheck, Phase, given, seed, settings

from scripts.fuzz.asks import Door, requests
from scripts.fuzz.bodies import BODIES, FILES
from scripts.fuzz.wire import Answer, Ask, Line
from service.clock import utc_now
from service.dashboard.frame import TOKEN
from service.lake import export_all, lake_at
from service.storage.records import KeyClass
from service.storage.sql import open_store
from service.use_cases.access import hash_key, sign_person_token
from service.use_cases.judge import refresh_verdicts
from service.use_cases.preview import make_preview
from service.use_cases.streams import make_token
from tests.server import AS_USUAL, Server, Start, running_server, write_catalog

AT_ONCE = 2_000
"""Requests of one Hypothesis run: it remembers all that it drew, to draw no request twice."""
GTHREAD = Start(command=("-k", "gthread", "--threads", "8", "service.wsgi:application"))
UNDESCRIBED = (
    Door("GET", "/"),
    Door("GET", "/experiments/{key}"),
    Door("GET", "/assets/{key}"),
    Door("GET", "/sub/{client_key}"),
    Door("GET", "/nothing"),
)
SOWN = {door: BODIES[door] for door in ("/v1/items", "/v1/events", "/v1/batch")}
METHODS = ("get", "post", "put", "patch", "delete")
OVERLOADED = 503
SERVER_ERRORS = 500
OURS = b"something went wrong on our side"
BAD_LINES = (b'"level": "error"', b"Traceback (most recent call last)")


class FuzzError(AssertionError):
    """An answer that no request may get."""


@dataclass(slots=True)
class Tally:
    """What came back, and what must not have."""

    statuses: Counter[int] = field(default_factory=Counter)
    doors: Counter[str] = field(default_factory=Counter)
    taken: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)

    def add(self, ask: Ask, answer: Answer) -> None:
        """Count one answer."""
        self.statuses[answer.status] += 1
        self.doors[ask.door] += 1
        self.taken[ask.door] += 200 <= answer.status < 400  # noqa: PLR2004 - HTTP's own numbers


@click.command(help=__doc__)
@click.option("--requests", "n", default=200_000, show_default=True, help="How many.")
@click.option("--seed", "first", default=1, show_default=True, help="Where to begin.")
@click.option("--wsgi", is_flag=True, help="Ask service.wsgi under gthread.")
def main(*, n: int, first: int, wsgi: bool) -> None:
    """Fuzz, print what came back, exit by 1 if anything is wrong."""
    began = time.monotonic()
    with TemporaryDirectory() as folder, fuzzed(Path(folder), GTHREAD if wsgi else AS_USUAL) as server:
        tally = fuzz(server, n, first=first, tell=partial(click.echo, err=True))
    print(f"{sum(tally.statuses.values()):,} requests in {time.monotonic() - began:,.0f} s")
    print("statuses:", ", ".join(f"{status}: {n:,}" for status, n in sorted(tally.statuses.items())))
    for door, asked in sorted(tally.doors.items()):
        print(f"  {door:<48}{asked:>9,}{tally.taken[door]:>9,} taken")
    for finding in tally.findings:
        print(f"\n{finding}")
    print(f"\n{len(tally.findings)} findings")
    sys.exit(bool(tally.findings))


@contextmanager
def fuzzed(folder: Path, how: Start = AS_USUAL) -> Iterator[Server]:
    """Give a server to fuzz."""
    with running_server(folder / "home", write_catalog(folder / "catalog", FILES), how) as server:
        for path, bodies in SOWN.items():
            for body in bodies:
                server.post(path, body, key=server.server_key).raise_for_status()
        server.post("/v1/events", {"events": [{"event_id": "bad"}]}).raise_for_status()
        store = open_store(server.settings)
        try:
            export_all(store, lake_at(server.settings.lake, store))
            refresh_verdicts(store, server.settings.lake, now=utc_now())
        finally:
            store.close()
        yield server


def known_secrets(server: Server) -> dict[bytes, bytes]:
    """Return what the names in a request stand for."""
    soon = utc_now() + timedelta(hours=12)
    secret, cookie = server.settings.signing_secret, "a-session-of-an-administrator"
    store = open_store(server.settings)
    try:
        store.put_session(hash_key(cookie), KeyClass.ADMIN, expires_at=soon)
    finally:
        store.close()
    told = {
        "CK": server.client_key,
        "SK": server.server_key,
        "RK": server.analyst_key,
        "AK": server.admin_key,
        "PERSON": sign_person_token(secret, subject="u:maria", expires_at=soon),
        "PREVIEW": make_preview(secret, {"button": "loud"}, expires_at=soon),
        "STREAM": make_token(hash_key(server.client_key), utc_now()),
        "SESSION": cookie,
        "FORM": hash_key(f"{TOKEN}:{cookie}"),
        "HELD": server.get("/v1/quarantine", key=server.admin_key).json()["events"][0]["event"],
    }
    return {f"@{name}@".encode(): secret.encode() for name, secret in told.items()}


def fuzz(server: Server, n: int, *, first: int, tell: Callable[[str], object] = str) -> Tally:
    """Send `n` requests; every run of `AT_ONCE` has its own seed and ends at what it finds first."""
    tally = Tally()
    doors = doors_of(server.get("/openapi.json").json())
    secrets = known_secrets(server)
    read = 0
    for start in range(0, n, AT_ONCE):
        number = first + start // AT_ONCE
        try:
            _run(Line(server.port, secrets), tally, doors, n=min(AT_ONCE, n - start), number=number)
        except FuzzError as error:
            tally.findings.append(f"seed {number}: {error}")
        told = server.log.read_bytes()
        tally.findings += [f"seed {number}, in the log: {line}" for line in bad_lines(told[read:])]
        read = len(told)
        tell(f"seed {number}: {min(start + AT_ONCE, n):,} of {n:,}, {len(tally.findings)} findings")
    return tally


def doors_of(description: Mapping[str, Mapping[str, Mapping[str, object]]]) -> tuple[Door, ...]:
    """Return every route of an OpenAPI description, and those that it does not tell of."""
    described = []
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            if method in METHODS and isinstance(operation, Mapping):
                told = operation.get("parameters", [])
                names = tuple(p["name"] for p in told if p["in"] == "query") if isinstance(told, list) else ()
                scopes = operation.get("x-scopes", [])
                keys = tuple(f"@{scope.upper()}@" for scope in scopes) if isinstance(scopes, list) else ()
                described.append(Door(method.upper(), path, names, keys))
    return (*described, *UNDESCRIBED)


def bad_lines(log: bytes) -> list[str]:
    """Return what a server must not write into its log, however it is asked."""
    return [line.decode("utf-8", "replace") for line in log.splitlines() if any(b in line for b in BAD_LINES)]


def wrong(answer: Answer) -> str:
    """Say what is wrong with an answer; empty if nothing is."""
    if not answer.status:
        return "no answer"
    if answer.status == OVERLOADED and "retry-after" in answer.headers:
        return ""
    if answer.status >= SERVER_ERRORS:
        return f"a {answer.status}"
    if OURS in answer.body:
        return "a failure of ours inside the answer"
    if "json" in answer.headers.get("content-type", "") and answer.body:
        try:
            orjson.loads(answer.body)
        except orjson.JSONDecodeError as error:
            return f"no JSON ({error})"
    return ""


def _run(line: Line, tally: Tally, doors: tuple[Door, ...], *, n: int, number: int) -> None:
    @seed(number)
    @settings(
        max_examples=n,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(ask=requests(doors))
    def every_request_is_answered(ask: Ask) -> None:
        answer = line.send(ask)
        tally.add(ask, answer)
        if problem := wrong(answer):
            raise FuzzError(f"{problem} to {ask!r}: {answer.body[:300]!r}")

    try:
        every_request_is_answered()
    finally:
        line.close()


if __name__ == "__main__":
    main()
