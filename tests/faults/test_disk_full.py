"""A disk that is really full: a small file system of its own, which takes the server's log, too."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from service.clock import utc_now
from tests.faults.stored import read
from tests.faults.subject import Subject
from tests.server import until

pytestmark = pytest.mark.e2e

SIZE = "24m"
PAGE = bytes(65_536)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "opportune-test", str(folder)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a file system of its own can only be mounted as root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def subject(small_disk: Path) -> Iterator[Subject]:
    made = Subject(home=small_disk / "home")
    made.make()
    made.start()
    try:
        made.wait_until(lambda: answers(made), "answering")
        yield made
    finally:
        made.end()


def answers(subject: Subject) -> bool:
    try:
        return readiness(subject)["status"] == "ready"
    except requests.ConnectionError:
        return False


def readiness(subject: Subject) -> dict[str, object]:
    told = requests.get(f"http://127.0.0.1:{subject.port}/readyz", timeout=30).json()
    assert isinstance(told, dict)
    return told


def post(subject: Subject, path: str, body: object) -> requests.Response:
    headers = {"Authorization": f"Bearer {subject.server_key}"}
    return requests.post(f"http://127.0.0.1:{subject.port}{path}", json=body, headers=headers, timeout=30)


def send(subject: Subject, event_id: str) -> requests.Response:
    event = {
        "event_id": event_id,
        "type": "Survey Answered",
        "anonymous_id": "visitor",
        "occurred_at": utc_now().isoformat(),
        "properties": {"text": "x" * 2_000},
    }
    return post(subject, "/v1/events", {"events": [event]})


def fill(ballast: Path) -> None:
    with ballast.open("ab", buffering=0) as out:
        try:
            while out.write(PAGE):
                pass
        except OSError:
            return


def test_a_full_disk_stops_events_alone_and_only_until_there_is_room(subject: Subject) -> None:
    acknowledged: list[str] = []
    refused: list[requests.Response] = []
    ballast = subject.home.parent / "ballast"

    def one_more() -> bool:
        answer = send(subject, f"e{len(acknowledged) + len(refused)}")
        if answer.status_code == 202:
            acknowledged.append(answer.json()["results"][0]["event_id"])
        else:
            refused.append(answer)
        return len(refused) >= 20

    one_more()
    fill(ballast)
    until(one_more)
    flags = post(subject, "/ofrep/v1/evaluate/flags", {"context": {"targetingKey": "u"}})
    degraded = readiness(subject)["degraded"]
    ballast.unlink()
    until(lambda: send(subject, "after").status_code == 202)
    until(lambda: readiness(subject)["degraded"] == [])
    code = subject.terminate()

    assert {answer.status_code for answer in refused} == {503}
    assert {answer.json()["code"] for answer in refused} == {"store_unavailable"}
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)
    assert flags.status_code == 200
    assert degraded == ["store"]
    assert code == 0
    stored = read(subject.settings.database_url)
    assert stored.integrity == "ok"
    assert [event.event_id for event in stored.events] == [*acknowledged, "after"]
