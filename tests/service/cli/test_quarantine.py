"""Whoever looks after the events that were set aside, at the command line."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from service.cli.main import cli
from service.storage.ports import IngestBatch
from service.storage.records import QuarantinedEvent
from service.use_cases.quarantine_reasons import REASONS
from tests.service.use_cases.shops import START, a_store, launched

ORDER = '{"event_id":"o1","type":"Order Completed","user_id":"maria","occurred_at":"2026-03-02T09:00:00Z"}'
GARBLED = '{"event_id":"x","note":"\x1b[2Jgone"'


def bad(body: str, reason: str, **more: Any) -> QuarantinedEvent:
    return QuarantinedEvent(
        event_id="o1",
        reason=reason,
        detail="why",
        body=body,
        received_at=START,
        source="events",
        trust="server",
        **more,
    )


def invoke(home: Path, *arguments: str, answer: str = "") -> tuple[int, str, str]:
    environment = {"OPPORTUNE_HOME": str(home)}
    done = CliRunner().invoke(cli, ["quarantine", *arguments], env=environment, input=answer)
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An order that is good today, one from the future, and bytes that are no JSON."""
    path = tmp_path / "home"
    with a_store(path) as store:
        launched(store)
        store.append(
            IngestBatch(
                quarantined=[
                    bad(ORDER, "too_old"),
                    bad(ORDER.replace("2026", "2030"), "in_future"),
                    bad(GARBLED, "malformed"),
                ]
            )
        )
    return path


def names(home: Path) -> dict[str, str]:
    """The name of each event, by reason."""
    lines = [json.loads(line) for line in invoke(home, "list", "--json")[1].splitlines()]
    return {line["reason"]: line["event"] for line in lines}


def test_the_list_counts_reasons_in_words_and_names_the_newest(home: Path) -> None:
    code, out, _ = invoke(home, "list")

    assert code == 0
    assert "REASON" in out
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in out.splitlines() if line}
    assert rows["in_future"] == "1 2026-03-02 09:00 UTC it is dated more than 5 minutes ahead"
    assert rows[names(home)["too_old"][:12]] == "2026-03-02 09:00 UTC too_old why"
    assert "One of them whole: opportune quarantine show " in out


def test_a_list_of_one_reason_may_be_short_and_may_be_empty(home: Path) -> None:
    assert len(invoke(home, "list", "--json", "--reason", "too_old")[1].splitlines()) == 1
    assert len(invoke(home, "list", "--json", "--limit", "2")[1].splitlines()) == 2
    assert "No event is in quarantine for bot." in invoke(home, "list", "--reason", "bot")[1]


def test_one_event_is_shown_whole_and_cannot_move_the_cursor(home: Path) -> None:
    name = names(home)["malformed"]

    code, out, _ = invoke(home, "show", name[:8].upper())

    assert code == 0
    assert "\\x1b[2Jgone" in out
    assert "\x1b" not in out
    assert json.loads(invoke(home, "show", name, "--json")[1])["body"] == GARBLED


def test_what_was_read_from_a_librarys_own_form_is_shown_beside_it(home: Path) -> None:
    with a_store(home) as store:
        store.append(IngestBatch(quarantined=[bad("/w==", "too_large", encoding="base64", canonical=ORDER)]))

    _, out, _ = invoke(home, "show", names(home)["too_large"])

    assert "sent (base64: it is no UTF-8)\n/w==" in out
    assert f"read as\n{ORDER}" in out


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ("abc", "'abc': give at least 6 digits"),
        ("000000", "no event in quarantine has a name that begins with '000000'"),
    ],
)
def test_a_name_that_leads_nowhere_is_told(home: Path, event: str, said: str) -> None:
    for command in ("show", "replay", "drop"):
        code, _, err = invoke(home, command, event)

        assert code == 1
        assert said in err


def test_a_dry_run_tells_and_changes_nothing_then_the_replay_does_it(home: Path) -> None:
    dry = invoke(home, "replay", "--dry-run")
    assert "3 events judged again: 1 leave quarantine (1 accepted), 2 stay." in dry[1]
    assert "this was a dry run" in dry[1]
    assert len(names(home)) == 3

    code, out, _ = invoke(home, "replay")

    rows = [" ".join(line.split()) for line in out.splitlines()]
    assert code == 0
    assert "too_old accepted 1" in rows
    assert "malformed stays 1 why" in rows
    assert set(names(home)) == {"in_future", "malformed"}
    with a_store(home) as store:
        assert store.last_seq() == 1


def test_a_replay_of_named_events_or_of_a_reason_leaves_the_others(home: Path) -> None:
    assert json.loads(invoke(home, "replay", "--reason", "in_future", "--json")[1])["judged"] == 1
    told = json.loads(invoke(home, "replay", names(home)["too_old"][:9], "--json")[1])

    assert (told["accepted"], told["quarantined"], told["dry_run"]) == (1, 0, False)
    assert "No such event is in quarantine." in invoke(home, "replay", "--reason", "too_old")[1]


def test_nothing_is_dropped_without_a_yes(home: Path) -> None:
    assert "1 event would be deleted" in invoke(home, "drop", "--reason", "too_old", "--dry-run")[1]
    assert invoke(home, "drop", "--reason", "too_old", answer="n\n")[0] == 1
    assert len(names(home)) == 3

    assert "Deleted 1 event." in invoke(home, "drop", "--reason", "too_old", answer="y\n")[1]
    assert "Deleted 1 event." in invoke(home, "drop", names(home)["in_future"], "--yes")[1]
    assert json.loads(invoke(home, "drop", "--reason", "malformed", "--yes", "--json")[1])["dropped"] == 1
    assert invoke(home, "list")[1] == "The quarantine is empty.\n"


def test_what_would_be_too_much_or_too_little_to_ask_for_is_refused(home: Path) -> None:
    assert "name events, or a reason" in invoke(home, "drop")[2]
    assert "name events or a reason, not both" in invoke(home, "replay", "abcdef", "--reason", "bot")[2]


def test_without_a_catalog_nothing_can_be_judged(tmp_path: Path) -> None:
    with a_store(tmp_path) as store:
        store.append(IngestBatch(quarantined=[bad(ORDER, "too_old")]))

    code, _, err = invoke(tmp_path, "replay")

    assert code == 1
    assert "no catalog is live yet" in err


def test_a_misspelt_reason_is_refused_and_one_of_another_release_is_not(home: Path) -> None:
    with a_store(home) as store:
        store.append(IngestBatch(quarantined=[bad("{}", "too_blue")]))

    for command in ("list", "replay", "drop"):
        code, _, err = invoke(home, command, "--reason", "too_odl")
        assert code == 2
        assert "there is no reason 'too_odl'; did you mean 'too_old'?" in " ".join(err.split())
    far = " ".join(invoke(home, "list", "--reason", "q")[2].replace("│", " ").split())
    assert all(reason in far for reason in REASONS)

    assert len(invoke(home, "list", "--json", "--reason", "too_blue")[1].splitlines()) == 1
    assert "Deleted 1 event." in invoke(home, "drop", "--reason", "too_blue", "--yes")[1]
