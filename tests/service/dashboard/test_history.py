"""The verdict page with a history, money and a metric that was added after the launch, without any lake.

`python -m tests.service.dashboard.test_history` prints the CPU time of a page with 200 snapshots behind it.
"""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time
from timeit import repeat

import pytest
from flask.testing import FlaskClient

from service.app import build_services, create_app, shut_down
from service.cli.setup import new_sign_in_link
from service.dashboard.history import stood
from service.dashboard.page import page as page_of
from service.storage.ports import Store
from service.use_cases.judge import refresh_verdict
from service.use_cases.launch import apply
from service.use_cases.services import Services
from service.use_cases.verdict_history import Moment, turns
from service.use_cases.verdicts import body_of
from tests.service.use_cases.shops import FILES, KEY, START, a_store, a_week, launched, settings_in, shown

NOW = START + timedelta(days=30)
LATER = FILES["experiments/free-shipping.yaml"] + "money: {metric: revenue, costs: {banner: 0.5}}\n"
BEFORE = LATER.replace("secondary: [revenue], ", "")
WORDS = {"ship": "Ship", "keep_running": "Keep running"}


def filled(home: Path) -> None:
    """Judge on every day of a week; on its fifth day a metric is added."""
    with a_store(home) as store:
        launched(store, {**FILES, "experiments/free-shipping.yaml": BEFORE})
        week = a_week()
        for day in range(7):
            if day == 5:
                apply(
                    store,
                    {**FILES, "experiments/free-shipping.yaml": LATER},
                    by="test",
                    now=START + timedelta(5),
                )
            midnight = START.replace(hour=0) + timedelta(days=day)
            today = [e for e in week if midnight <= e.occurred_at < midnight + timedelta(days=1)]
            shown(store, home / "lake", today)
            refresh_verdict(store, home / "lake", KEY, now=NOW)
    shutil.rmtree(home / "lake")


@contextmanager
def browsing(home: Path) -> Iterator[tuple[Services, FlaskClient]]:
    services = build_services(settings_in(home))
    browser = create_app(services).test_client()
    browser.post(new_sign_in_link(settings_in(home), ""))
    try:
        yield services, browser
    finally:
        shut_down(services)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("history") / "home"
    filled(home)
    return home


@pytest.fixture
def page(home: Path) -> Iterator[str]:
    with browsing(home) as (_services, browser):
        yield browser.get(f"/experiments/{KEY}").text


def moments_of(store: Store) -> list[Moment]:
    return list(turns(store, KEY, 1))


def test_the_page_draws_how_the_verdict_stood_and_when_it_changed(home: Path, page: str) -> None:
    with a_store(home) as store:
        moments = moments_of(store)
        latest = store.latest_verdict(KEY)
    assert latest is not None
    changes = [
        after.row.id for before, after in pairwise(moments) if before.row.decision != after.row.decision
    ]

    assert changes
    assert page.count('<line class="mark"') == len(changes)
    assert 'aria-labelledby="chart-history"' in page
    for moment in moments:
        assert f'<a href="/v1/verdicts/{moment.row.id}">{moment.row.id}</a>' in page
    assert f"<dd>{latest.id}</dd>" in page


@pytest.mark.parametrize(
    ("ramp_bp", "said"),
    [
        (None, "100 % of all units"),
        (5_000, "100 % of all units at the end of its ramp, which is at 50 % now"),
        (10_000, "100 % of all units"),
    ],
)
def test_the_record_says_where_a_ramp_stands(home: Path, ramp_bp: int | None, said: str) -> None:
    with a_store(home) as store:
        snapshot = store.latest_verdict(KEY)
    assert snapshot is not None

    told = dict(page_of(snapshot, (), standing="", trouble="", ramp_bp=ramp_bp).record)

    assert told["variants"] == f"control 50 %, banner 50 %; {said}"


def test_the_chart_shows_the_last_verdict_of_each_day(home: Path) -> None:
    with a_store(home) as store:
        moments = moments_of(store)
        latest = store.latest_verdict(KEY)
    assert latest is not None
    days = {one.row.as_of.date() for one in moments if one.of("banner") and one.of("banner").lift["estimate"]}  # type: ignore[union-attr]

    found = stood(moments, body_of(latest), decisions=WORDS)

    assert found is not None
    assert found.chart is not None
    assert len(found.chart.dots) == len(days)
    assert found.turns[0].id == latest.id
    assert [turn.mark for turn in found.turns if turn.mark][-1] == "1"
    for mark in found.chart.marks:
        assert found.chart.left <= mark.at <= found.chart.right


def test_one_snapshot_is_no_history(home: Path) -> None:
    with a_store(home) as store:
        moments = moments_of(store)
        latest = store.latest_verdict(KEY)
    assert latest is not None

    assert stood(moments[:1], body_of(latest), decisions=WORDS) is None


def test_the_page_tells_what_treatments_earn_and_what_that_holds(page: str) -> None:
    section = page[page.index('<h2 id="money">') : page.index('<h2 id="record">')]

    assert "after declared costs" in section
    assert re.search(r"\+0\.50\s?EUR", section)
    assert "Not included:" in section


def test_a_metric_that_was_added_is_labelled(page: str) -> None:
    assert re.search(r'revenue <span class="role">secondary, exploratory</span>', page)
    assert "An exploratory metric was added after the launch" in page


def measure() -> None:
    """Print what a page with 200 snapshots takes, the best of some."""
    with TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        filled(home)
        with a_store(home) as store:
            latest = store.latest_verdict(KEY)
            assert latest is not None
            for i in range(200):
                store.put_verdict(replace(latest, as_of=latest.as_of + timedelta(hours=i)))
        with browsing(home) as (services, browser):
            path = f"/experiments/{KEY}"
            steps = {
                "page": lambda: browser.get(path),
                "verdict JSON": lambda: browser.get(f"/v1{path}/verdict"),
                "history alone": lambda: turns(services.store, KEY, 1),
                "snapshot alone": lambda: services.store.latest_verdict(KEY),
            }
            for name, step in steps.items():
                took = min(repeat(step, number=20, repeat=5, timer=process_time)) / 20
                print(f"{name}: {took * 1000:.2f} ms of CPU")


if __name__ == "__main__":
    measure()
