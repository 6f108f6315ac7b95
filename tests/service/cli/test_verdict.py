import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from service.cli.main import cli
from service.lake import erase
from tests.service.use_cases.shops import FILES, KEY, START, a_store, a_week, launched, put


def invoke(home: Path, *arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(cli, arguments, env={"OPPORTUNE_HOME": str(home), "PORT": "8123"})
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def test_a_verdict_is_judged_and_told(home: Path) -> None:
    with a_store(home) as store:
        launched(store)
        put(store, *a_week())

    code, out, _ = invoke(home, "verdict", KEY)
    code_json, as_json, _ = invoke(home, "verdict", KEY, "--json")

    assert (code, code_json) == (0, 0)
    assert out.startswith(f"{KEY}: SHIP\n\nShip `banner`: switch it on for everybody.")
    assert "units analysed" in out
    with a_store(home) as store:
        stored = store.latest_verdict(KEY)
    assert stored is not None
    assert as_json == stored.body
    assert json.loads(as_json)["decision"] == "ship"


def test_a_verdict_is_listed_and_computed_again(home: Path) -> None:
    with a_store(home) as store:
        launched(store)
        put(store, *a_week(per_day=60))
    invoke(home, "verdict", KEY)

    code, out, _ = invoke(home, "verdict", "history", KEY)
    listed = json.loads(invoke(home, "verdict", "history", KEY, "--json")[1])
    again, same, _ = invoke(home, "verdict", "replay", f"{KEY}.1.1")

    (snapshot,) = listed["snapshots"]
    assert code == 0
    assert out.splitlines()[1].split()[0] == snapshot["id"] == f"{KEY}.1.1"
    assert snapshot["digest"][:12] in out
    assert (again, same) == (0, f"{KEY}.1.1: same bytes, digest {snapshot['digest']}\n")


def test_a_replay_that_differs_says_what_and_fails(home: Path) -> None:
    with a_store(home) as store:
        launched(store)
        put(store, *a_week(per_day=60))
    invoke(home, "verdict", KEY)
    erase(home / "lake", user_ids=[], anonymous_ids=["v0-0"])

    code, out, _ = invoke(home, "verdict", "replay", f"{KEY}.1.1")

    assert code == 1
    assert "1 exposure events fewer: erased or expired since" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("replay", f"{KEY}.1.9"), f"there is no verdict '{KEY}.1.9'"),
        (("replay", "nonsense"), "names are <experiment>.<phase>.<number>"),
        (("history", "nothing"), "no verdict of 'nothing' is kept"),
        (("history", KEY, "--phase", "7"), "no verdict of phase 7"),
        (("show", "nothing"), "no experiment 'nothing' is in the live catalog"),
    ],
)
def test_what_is_not_there_is_one_clear_line(home: Path, arguments: tuple[str, ...], said: str) -> None:
    with a_store(home) as store:
        launched(store)
        put(store, *a_week(per_day=2))
    invoke(home, "verdict", KEY)

    code, out, err = invoke(home, "verdict", *arguments)

    assert (code, out) == (1, "")
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("launch", "key", "said"),
    [
        (False, KEY, "no catalog is live yet"),
        (True, "nothing", f"no experiment 'nothing' is in the live catalog; known: {KEY}"),
        (True, "fre-shipping", f"did you mean '{KEY}'?"),
        (True, KEY, "no event has arrived yet"),
    ],
)
def test_what_cannot_be_judged_is_one_clear_line(home: Path, launch: bool, key: str, said: str) -> None:
    with a_store(home) as store:
        if launch:
            launched(store, FILES)

    code, out, err = invoke(home, "verdict", key)

    assert (code, out) == (1, "")
    assert err.startswith("opportune: ")
    assert said in err
    assert err.count("\n") == 1


def test_a_draft_says_how_to_start_it(home: Path) -> None:
    draft = FILES["experiments/free-shipping.yaml"] + "status: draft\n"
    with a_store(home) as store:
        launched(store, {**FILES, "experiments/free-shipping.yaml": draft})

    code, _, err = invoke(home, "verdict", KEY)

    assert (code, err) == (1, f"opportune: {KEY} is a draft: `opportune start {KEY}`\n")


def test_a_killed_experiment_is_not_only_shipped(home: Path) -> None:
    with a_store(home) as store:
        launched(store)
        put(store, *a_week())
        store.set_killed(KEY, killed=True, by="test", now=START)

    code, out, _ = invoke(home, "verdict", KEY)

    assert code == 0
    assert out.startswith(
        f"{KEY}: SHIP\nKilled: everybody gets the control value until `opportune revive {KEY}`."
    )


def test_a_sign_in_link_is_printed(home: Path) -> None:
    with a_store(home):
        pass

    default, chosen = (
        invoke(home, "sign-in-link")[1],
        invoke(home, "sign-in-link", "--base", "https://shop.example/")[1],
    )

    assert default.startswith("http://127.0.0.1:8123/sign-in/")
    assert chosen.startswith("https://shop.example/sign-in/")
