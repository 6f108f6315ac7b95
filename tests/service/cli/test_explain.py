import json
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from service.cli.main import cli
from service.clock import utc_now
from service.use_cases.preview import read_preview
from tests.server import CATALOG, write_catalog

SECRET = "s" * 48
FILES = {
    **CATALOG,
    "flags/phones.yaml": "flag: phones\naudience: {request.device: mobile}\n",
}


def invoke(home: Path, *arguments: str, stdin: str = "", **env: str) -> tuple[int, str, str]:
    environment = {
        "OPPORTUNE_HOME": str(home / "home"),
        "OPPORTUNE_CATALOG": str(home / "catalog"),
        "OPPORTUNE_SIGNING_SECRET": SECRET,
        **env,
    }
    done = CliRunner().invoke(cli, arguments, env=environment, input=stdin)
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("explain")
    write_catalog(home / "catalog", FILES)
    assert invoke(home, "apply")[0] == 0
    return home


def test_an_assignment_is_explained_gate_by_gate(home: Path) -> None:
    code, out, _ = invoke(home, "explain", "members", "--context", '{"user_id": 7, "country": "DE"}')

    assert code == 0
    assert out.startswith("members for user_id 7, revision 1\ndefault: ")
    (decided,) = [line for line in out.splitlines() if line.endswith("<- decided")]
    assert "NO  audience" in decided
    assert "saw 'DE'" in decided
    assert "To change it: " in out


def test_the_same_as_json_from_standard_input(home: Path) -> None:
    code, out, _ = invoke(
        home, "explain", "button", "--context", "-", "--format", "json", stdin='{"targetingKey": "v-1"}'
    )

    found = json.loads(out)
    assert code == 0
    assert (found["unit_id"], found["decided_by"], found["assignment"]["decision"]) == (
        "v-1",
        None,
        "enrolled",
    )
    assert [gate["gate"] for gate in found["gates"]] == ["killed", "status", "override", "unit", "allocation"]


def test_facts_of_a_request_may_be_asked_for(home: Path) -> None:
    def device(context: str) -> str:
        found = json.loads(invoke(home, "explain", "phones", "--context", context, "--format", "json")[1])
        return str(found["assignment"]["decision"])

    assert device("{}") == "not_in_audience"
    assert device('{"request": {"device": "mobile"}}') == "targeting_match"


@pytest.mark.parametrize(
    ("key", "context", "code", "said"),
    [
        ("buton", "{}", 1, "did you mean 'button'?"),
        ("unborn", "{}", 1, "is a draft"),
        ("button", "{", 2, "--context"),
        ("button", "[1]", 2, "expected a JSON object"),
        ("button", '{"a": NaN}', 2, "--context"),
    ],
)
def test_what_cannot_be_explained_is_said(home: Path, key: str, context: str, code: int, said: str) -> None:
    done, out, err = invoke(home, "explain", key, "--context", context)

    assert (done, out) == (code, "")
    assert said in err


def test_nobody_to_split_by_is_no_error(home: Path) -> None:
    code, out, _ = invoke(home, "explain", "button")

    assert code == 0
    assert "no answer: it must split" in out
    assert "send anonymous_id (or targetingKey)" in out


@pytest.mark.parametrize("key", ["button", "unborn"])
def test_a_preview_shows_one_variant_for_a_while(home: Path, key: str) -> None:
    variant = "loud" if key == "button" else "treatment"

    code, out, _ = invoke(home, "preview", key, variant, "--ttl", "2h")

    assert code == 0
    token = out.splitlines()[2]
    assert read_preview(SECRET, token, now=utc_now()) == {key: variant}
    assert read_preview(SECRET, token, now=utc_now() + timedelta(hours=2)) is None
    assert f"X-Opportune-Preview: {token}" in out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("button", "lod"), 1, "button has no variant 'lod': did you mean 'loud'?"),
        (("buton", "loud"), 1, "did you mean 'button'?"),
        (("button", "loud", "--ttl", "1y"), 2, "expected a time"),
        (("button", "loud", "--ttl", "14w"), 2, "at most 90d"),
    ],
)
def test_a_preview_that_makes_no_sense_is_refused(
    home: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    done, out, err = invoke(home, "preview", *arguments)

    assert (done, out) == (code, "")
    assert said in err


def test_without_a_secret_no_preview_is_signed(home: Path) -> None:
    code, _, err = invoke(home, "preview", "button", "loud", OPPORTUNE_SIGNING_SECRET="")

    assert code == 1
    assert "OPPORTUNE_SIGNING_SECRET is not set" in err
