"""A few thousand odd requests to every door; `make fuzz` sends 200,000."""

from pathlib import Path

import pytest

from scripts.fuzz.asks import Door
from scripts.fuzz.bodies import Raw, changed, packed, places, written
from scripts.fuzz.wire import Answer, Ask, Line
from scripts.fuzz_doors import bad_lines, doors_of, fuzz, fuzzed, known_secrets, wrong

N_REQUESTS = 2_000


@pytest.mark.e2e
def test_no_request_to_any_door_is_answered_by_500(tmp_path: Path) -> None:
    with fuzzed(tmp_path) as server:
        tally = fuzz(server, N_REQUESTS, first=20_261_122)

    assert tally.findings == []
    assert sum(tally.statuses.values()) == N_REQUESTS
    # Most doors are got through to at least once, so that more than their locks is tried.
    assert sum(n > 0 for n in tally.taken.values()) > len(tally.doors) / 2


@pytest.mark.e2e
def test_names_in_a_request_stand_for_what_this_server_knows(tmp_path: Path) -> None:
    ask = Ask("", "GET", b"/v1/quarantine/@HELD@", (("Authorization", b"Bearer @AK@"),), chunked=True)

    with fuzzed(tmp_path) as server:
        line = Line(server.port, known_secrets(server))
        answers = [line.send(ask), line.send(ask._replace(method="HEAD"))]
        line.close()

    assert [answer.status for answer in answers] == [200, 200]
    assert b'"reason":"invalid_event"' in answers[0].body
    assert answers[1].body == b""


def test_doors_come_from_the_description() -> None:
    told = {
        "paths": {
            "/v1/x": {
                "post": {"x-scopes": ["sk"], "parameters": [{"name": "a", "in": "query"}]},
                "summary": {},
            }
        }
    }

    assert doors_of(told)[0] == Door("POST", "/v1/x", ("a",), ("@SK@",))


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (Answer(200, {"content-type": "application/json"}, b"{}"), ""),
        (Answer(503, {"retry-after": "1"}, b""), ""),
        (Answer(503, {}, b""), "a 503"),
        (Answer(500, {}, b""), "a 500"),
        (Answer(0, {}, b""), "no answer"),
        (
            Answer(200, {}, b'{"errorDetails":"something went wrong on our side"}'),
            "a failure of ours inside the answer",
        ),
        (Answer(200, {"content-type": "application/problem+json"}, b"{"), "no JSON"),
    ],
)
def test_what_is_wrong_is_told(answer: Answer, problem: str) -> None:
    assert wrong(answer).startswith(problem)
    assert bool(wrong(answer)) is bool(problem)


def test_a_traceback_in_the_log_is_told() -> None:
    log = b'{"level": "info"}\nTraceback (most recent call last):\n{"event": "x", "level": "error"}\n'

    assert len(bad_lines(log)) == 2


def test_bodies_are_spoilt_in_one_place() -> None:
    body = {"events": [{"a": 1}, "b"]}

    assert [*places(body)] == [(), ("events",), ("events", 0), ("events", 0, "a"), ("events", 1)]
    assert written(changed(body, ("events", 0, "a"), lambda _: Raw("NaN"))) == '{"events":[{"a":NaN},"b"]}'
    assert body == {"events": [{"a": 1}, "b"]}
    assert len(packed(b"{}", "cut")) < len(packed(b"{}", "whole")) < len(packed(b"{}", "twice"))
