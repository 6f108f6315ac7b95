"""`opportune decisions` and `opportune webhooks` over a real store and a real receiver."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from service.cli.main import cli
from service.storage.ports import Store
from tests.hooks import SECRET, receiver
from tests.service.use_cases.shops import KEY, a_store, launched
from tests.service.use_cases.test_decisions import act, files, judged


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    with a_store(home) as opened:
        launched(opened, files("rollback"))
        yield opened


def invoke(home: Path, *arguments: str, url: str = "", secret: str = SECRET) -> tuple[int, str, str]:
    environment = {"OPPORTUNE_HOME": str(home), "HOOK_URL": url, "HOOK_SECRET": secret}
    done = CliRunner().invoke(cli, arguments, env=environment)
    return done.exit_code, done.stdout, done.stderr


def test_decisions_are_told_with_their_reason_and_as_json(home: Path, store: Store) -> None:
    judged(store, "rollback", "banner")
    act(store)

    code, out, _ = invoke(home, "decisions")
    assert code == 0
    assert out.startswith(
        "free-shipping.1.d1   2026-04-01 09:00 UTC   rollback\n    Decided: roll back banner"
    )
    assert invoke(home, "decisions", KEY)[1] == out
    assert invoke(home, "decisions", "free-shipping.1.d1")[1] == out
    (line,) = invoke(home, "decisions", "--json")[1].splitlines()
    assert json.loads(line)["id"] == "free-shipping.1.d1"


def test_no_decision_and_an_unknown_experiment_are_told_apart(home: Path, store: Store) -> None:
    assert store.decisions() == []
    assert invoke(home, "decisions", KEY)[:2] == (
        0,
        "Nothing was decided yet: every verdict so far is to keep running.\n",
    )

    code, _, err = invoke(home, "decisions", "free-shiping")
    assert code == 1
    assert "did you mean 'free-shipping'?" in err


def test_the_list_of_webhooks_tells_what_is_missing_and_what_became_of_messages(
    home: Path, store: Store
) -> None:
    judged(store, "rollback", "banner")
    act(store)

    _, out, _ = invoke(home, "webhooks", "list")
    assert "HOOK_URL is not set in the environment of this shell" in out
    assert "0 delivered, 1 waiting, 0 given up" in out
    assert "msg_1" in out
    _, out, _ = invoke(home, "webhooks", "list", url="https://hooks.example/T00/XyZ")
    assert "HOOK_URL and HOOK_SECRET are set" in out
    assert "XyZ" not in out
    (line,) = invoke(home, "webhooks", "list", "--json")[1].splitlines()
    assert json.loads(line)["webhook"] == "growth"


def test_a_test_message_says_whether_it_was_taken_and_enables_what_was_gone(home: Path, store: Store) -> None:
    judged(store, "rollback", "banner")
    act(store)
    store.disable_endpoint("growth")
    with receiver(lambda n: 204 if n else 500) as told:
        code, _, err = invoke(home, "webhooks", "test", "growth", url=told.url)
        assert (code, err) == (1, "growth did not take the test: answered 500.\n")
        assert store.outbox_counts()["given_up"] == 1

        code, out, _ = invoke(home, "webhooks", "test", "growth", url=told.url)

    assert code == 0
    assert out.startswith("growth took the test.\nIt was disabled; 1 messages")
    assert store.outbox_counts()["waiting"] == 1
    assert told.ids[0].startswith("msg_test_")


@pytest.mark.parametrize(
    ("arguments", "url", "said"),
    [
        (("test", "growht"), "", "did you mean 'growth'?"),
        (("test", "growth"), "", "HOOK_URL is not set in the environment of this shell"),
        (("test", "growth"), "http://hooks.example/x", "must be an https address"),
        (("retry", "msg_none"), "", "no undelivered message has the id 'msg_none'"),
    ],
)
def test_what_cannot_be_sent_is_refused_in_words(
    home: Path, store: Store, arguments: tuple[str, ...], url: str, said: str
) -> None:
    assert store.messages() == []

    code, _, err = invoke(home, "webhooks", *arguments, url=url)

    assert code == 1
    assert said in err


def test_what_was_given_up_can_be_sent_again(home: Path, store: Store) -> None:
    judged(store, "rollback", "banner")
    act(store)
    store.disable_endpoint("growth")

    code, out, _ = invoke(home, "webhooks", "retry", "msg_1")

    assert (code, out) == (0, "msg_1 will be sent by the worker within seconds.\n")
    assert store.outbox_counts()["waiting"] == 1
