"""`opportune metric`: what a metric says of a day, what it reads, and why it may read nothing."""

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from service.cli.main import cli
from service.clock import utc_now
from service.storage.records import Event
from tests.server import write_catalog
from tests.service.use_cases.shops import FILES, a_store, launched, order, put

NOW = utc_now()
TODAY = NOW.date()
YESTERDAY, BEFORE = TODAY - timedelta(days=1), TODAY - timedelta(days=2)
NOON = datetime.combine(BEFORE, time(12), tzinfo=UTC)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A shop with eleven visitors the day before yesterday, six of whom ordered, the day before that two."""
    home = tmp_path / "home"
    with a_store(home) as store:
        launched(store)
        put(store, *(visit(f"visitor-number-{i:02}") for i in range(11)))
        put(store, *(order(f"visitor-number-{i:02}", NOON, revenue=10.5 * (i + 1)) for i in range(6)))
        put(store, *(order(f"early-{i}", NOON - timedelta(days=1)) for i in range(2)))
    return home


def visit(unit: str) -> Event:
    return replace(order(unit, NOON), event_id=f"v-{unit}", type="Product Viewed", properties={"item": "tea"})


def invoke(home: Path, *arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(cli, ["metric", *arguments], env={"OPPORTUNE_HOME": str(home)})
    return done.exit_code, done.stdout, done.stderr


def written(tmp_path: Path, metric: str) -> str:
    return str(write_catalog(tmp_path / "folder", {"m.yaml": f"metrics:\n  m: {metric}\n"}))


def test_a_metric_says_its_value_and_what_it_reads(home: Path) -> None:
    code, out, _ = invoke(home, "preview", "revenue")

    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "revenue: mean of Order Completed, better up"
    assert f"over every anonymous_id with any event on {BEFORE}" in " ".join(lines)
    table = [line.split("  ") for line in out.partition("\n\n")[2].partition("\n\n")[0].splitlines()]
    words = [[cell.strip() for cell in row if cell.strip()] for row in table]
    assert words == [
        [str(YESTERDAY), "20.05 EUR", "11 units"],
        ["the day before", "30.00 EUR", "2 units"],
        ["7 days together", "21.58 EUR", "13 units"],
    ]
    assert f"Events from {BEFORE} to {YESTERDAY} that match: 6." in lines
    assert '  Order Completed   visitor-n...   currency = "EUR", revenue = 63' in out.replace(
        f"{NOON:%Y-%m-%d %H:%M:%S} ", ""
    )
    units = out.partition("the largest first:")[2].split()
    assert units[:3] == ["unit", "first", "event"]
    assert "visitor-number" not in out
    assert out.rstrip().endswith(" 0")


def test_a_ratio_tells_what_it_is_divided_by(home: Path, tmp_path: Path) -> None:
    folder = written(
        tmp_path,
        "{kind: ratio, event: Order Completed, per: Product Viewed, window: 1d, label: orders a view}",
    )

    code, out, _ = invoke(home, "preview", "m", "--catalog", folder)

    assert code == 0
    assert out.startswith("m (orders a view): ratio of Order Completed, better up\n")
    assert "that match: 6, 11 are what it is divided by or leads to." in out
    assert "(divides)" in out
    assert "divided by\n" in out
    assert f"{YESTERDAY}        0.545" in out


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        (
            "{kind: conversion, event: Order Complete, window: 1d}",
            (
                f"no 'Order Complete' occurred from {BEFORE} to {YESTERDAY}; did you mean 'Order Completed'? "
                "what did occur: 'Product Viewed' 11, 'Order Completed' 6"
            ),
        ),
        (
            "{kind: mean, event: Order Completed, value: revenu, window: 1d}",
            "has a number in 'revenu'; did you mean 'revenue'? they have currency, revenue",
        ),
        (
            "{kind: conversion, event: Order Completed, where: {channel: shop}, window: 1d}",
            "no 'Order Completed' has the property 'channel'; they have currency, revenue",
        ),
        (
            "{kind: conversion, event: Product Viewed, where: {item: coffee}, window: 1d}",
            (
                "'Product Viewed' occurred, and none of them counts: look at where, currency and scale ! 11 "
                "'Product Viewed' have 'item', most often \"tea\""
            ),
        ),
        (
            "{kind: mean, event: Order Completed, value: revenue, currency: USD, window: 1d}",
            "6 'Order Completed' have 'currency', most often \"EUR\"",
        ),
        (
            "{kind: funnel, event: Product Viewed, then: Paid, window: 1d}",
            f"no 'Paid' occurred from {BEFORE} to {YESTERDAY}; what did occur:",
        ),
    ],
)
def test_a_metric_that_reads_nothing_says_why(home: Path, tmp_path: Path, metric: str, said: str) -> None:
    code, out, _ = invoke(home, "preview", "m", "--catalog", written(tmp_path, metric))

    assert code == 0
    assert said in " ".join(out.split())


def test_a_day_on_which_nothing_happened_says_so(home: Path) -> None:
    code, out, _ = invoke(home, "preview", "purchase", "--day", "2026-01-31")

    assert code == 0
    assert "2026-01-31        n/a   0 units" in out
    assert "no 'Order Completed' occurred from 2026-01-30 to 2026-01-31; nothing at all occurred" in out


def test_the_first_day_of_all_can_be_looked_at(home: Path) -> None:
    code, out, _ = invoke(home, "preview", "purchase", "--day", "1970-01-01")

    assert code == 0
    assert "nothing at all occurred" in " ".join(out.split())


def test_numbers_may_be_those_of_another_unit(home: Path) -> None:
    code, out, _ = invoke(home, "preview", "purchase", "--unit", "user_id")

    assert code == 0
    assert "over every user_id with any event" in " ".join(out.split())
    assert "n/a   0 units" in out


def test_a_unit_that_no_event_has_is_told(home: Path) -> None:
    code, out, _ = invoke(home, "preview", "purchase", "--unit", "acount_id")

    assert code == 0
    words = " ".join(out.split())
    assert "n/a 0 units" in words
    assert "! no 'Order Completed' has the property 'acount_id'; they have currency, revenue" in words


def test_units_of_a_property_are_shown_but_not_as_a_whole(home: Path) -> None:
    with a_store(home) as store:
        bought = order("v", NOON)
        accounts = {**bought.properties, "account_id": "the-account-of-maria"}
        put(store, replace(bought, event_id="account", properties=accounts))

    code, out, _ = invoke(home, "preview", "purchase", "--unit", "account_id")

    assert code == 0
    assert "100.00 % 1 units" in " ".join(out.split())
    samples = out.partition("The newest of them")[2]
    assert samples.count("the-accou...") == 2
    assert "the-account" not in out


def test_metrics_are_listed_with_yesterdays_value(home: Path) -> None:
    code, out, _ = invoke(home, "list")

    assert code == 0
    rows = [line.split() for line in out.splitlines()]
    assert rows[0] == ["metric", "kind", "event", "owner", "on", str(YESTERDAY), "units"]
    assert rows[1] == ["purchase", "conversion", "Order", "Completed", "-", "54.55", "%", "11"]
    assert [row[0] for row in rows[1:]] == ["purchase", "refunds", "revenue"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["preview", "purchas"], 1, "no metric 'purchas' is in the live catalog; did you mean 'purchase'?"),
        (["preview", "purchase", "--day", str(TODAY)], 2, f"{TODAY} has not ended in UTC: the newest day is"),
        (["preview", "purchase", "--day", "1969-12-31"], 2, "too long ago: the first day is 1970-01-01"),
        (["preview", "purchase", "--day", "0001-01-01"], 2, "0001-01-01 is too long ago"),
        (["preview", "purchase", "--day", "soon"], 2, "does not match the format '%Y-%m-%d'"),
        (["preview", "purchase", "--unit", "a b"], 2, "'a b' is no attribute, such as user_id"),
        (["preview", "purchase", "--catalog", "nowhere"], 2, "'nowhere' does not exist"),
    ],
)
def test_what_cannot_be_looked_at_is_told(home: Path, arguments: list[str], code: int, said: str) -> None:
    found, out, err = invoke(home, *arguments)

    assert (found, out) == (code, "")
    assert said in err


def test_a_folder_with_errors_is_told_at_their_places(home: Path, tmp_path: Path) -> None:
    code, out, _ = invoke(home, "preview", "m", "--catalog", written(tmp_path, "{kind: mean, window: 1d}"))

    assert code == 1
    assert "m.yaml:2" in out


@pytest.mark.parametrize(
    ("live", "arguments", "said"),
    [
        (False, ["list"], "no catalog is live yet: `opportune apply` makes one live"),
        (True, ["list"], "no event has arrived yet, so there is nothing to look at"),
        (True, ["preview", "purchase"], "no event has arrived yet, so there is nothing to look at"),
    ],
)
def test_without_data_there_is_one_clear_line(
    tmp_path: Path, live: bool, arguments: list[str], said: str
) -> None:
    with a_store(tmp_path / "bare") as store:
        if live:
            launched(store, FILES)

    code, out, err = invoke(tmp_path / "bare", *arguments)

    assert (code, out) == (1, "")
    assert err.startswith(f"opportune: {said}")
    assert err.count("\n") == 1
