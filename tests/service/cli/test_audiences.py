import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from experiments.membership import NOBODY
from service.catalog import load
from service.cli.main import cli
from service.settings import REPOSITORY
from service.use_cases.audience_sizes import audience_sizes
from tests.service.use_cases.shops import FILES, START, a_store, launched, order, put
from tests.service.use_cases.tea import TEA, look, tea

SPANIARDS = "flag: es\naudience: {all: [{country: ES}, {not: {audience: tea_fans}}]}\n"


def invoke(home: Path, *arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(cli, ["audiences", *arguments], env={"OPPORTUNE_HOME": str(home)})
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def test_a_marketer_sees_how_many_people_are_in_an_audience(home: Path) -> None:
    with a_store(home) as store:
        launched(store, {**TEA, "flags/es.yaml": SPANIARDS})
        put(store, *tea("a-1"), *tea("a-2"), *tea("x", anonymous_id="a-3", user_id="maria"))
        put(store, order("a-1", START))
        look(home, store)

    code, out, _ = invoke(home)

    lines = {line.split()[0]: " ".join(line.split()[1:]) for line in out.splitlines() if line}
    assert code == 0
    assert lines["tea_fans"].startswith("3 1 did (Product Viewed at least 3")
    assert lines["newcomers"].startswith("all but 1 all but 0 not")
    assert lines["recent"].startswith("0 0 ")
    assert lines["flag"].startswith("es at most all but 3 at most all but 1 country")
    assert "experiment" not in lines
    assert "As of 2026-04-01 09:00 UTC, log offset 10." in out


def test_the_same_as_json(home: Path) -> None:
    with a_store(home) as store:
        launched(store, TEA)
        put(store, *tea("a-1"))
        look(home, store)

    told = json.loads(invoke(home, "--format", "json")[1])

    assert (told["as_of"], told["log_offset"], told["problem"]) == ("2026-04-01T09:00:00+00:00", 3, "")
    sizes = {size["name"]: size for size in told["audiences"]}
    assert sizes["tea_fans"] == {
        "name": "tea_fans",
        "kind": "audience",
        "who": sizes["tea_fans"]["who"],
        "visitors": 1,
        "users": 0,
        "all_but": False,
        "at_most": False,
    }


def test_before_the_worker_has_counted_it_says_so(home: Path) -> None:
    with a_store(home) as store:
        launched(store, TEA)

    code, out, _ = invoke(home)

    assert code == 0
    assert "not counted yet" in out
    assert out.endswith("is the worker running?\n")


def test_a_catalog_without_behaviour_is_one_line(home: Path) -> None:
    with a_store(home) as store:
        launched(store, FILES)

    assert invoke(home)[1].startswith("No audience of the live catalog asks what people did")


def test_without_a_catalog_it_says_what_to_do(home: Path) -> None:
    with a_store(home):
        pass

    code, out, err = invoke(home)

    assert (code, out) == (1, "")
    assert err == "opportune: no catalog is live yet; `opportune apply` makes one live\n"


def test_the_examples_of_the_page_are_a_catalog() -> None:
    page = (REPOSITORY / "docs" / "audiences.md").read_text("utf-8")
    files = dict(re.findall(r"```yaml\n# (\S+)[^\n]*\n(.*?)```", page, flags=re.DOTALL))

    catalog = load({**files, "metrics.yaml": FILES["metrics.yaml"]}).catalog

    assert sorted(files) == ["audiences.yaml", "experiments/tea-reminder.yaml"]
    assert [size.name for size in audience_sizes(catalog, NOBODY)] == sorted(catalog.audiences)
