"""The page of goals: every goal with its word, its bar, its line of days, and where it belongs."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from experiments.definitions import Metric, MetricKind
from experiments.goals import Goal, GoalState, Progress, Target
from service.app import build_services, create_app, shut_down
from service.cli.setup import new_sign_in_link
from service.clock import utc_now
from service.dashboard.goals import HEIGHT, card, spark
from service.lake.moments import open_lake
from service.use_cases.goals import Point, Standing
from service.use_cases.goals_pass import refresh_goals
from service.use_cases.launch import live_catalog
from tests.service.use_cases.shops import FILES, START, a_store, a_week, launched, settings_in, shown

TODAY = utc_now().date()
GOALS = f"""\
goals:
  grow: {{statement: Sell <b>more</b>, metric: purchase, baseline: 10%, target: 20%, owner: maria,
    start: {TODAY - timedelta(days=10)}, due: {TODAY + timedelta(days=10)}}}
  part: {{statement: Larger baskets, metric: revenue, baseline: 2, target: '+900%', owner: li.na,
    start: {TODAY - timedelta(days=10)}, due: {TODAY + timedelta(days=5)}, parent: grow}}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("goals") / "home"
    shift = utc_now() - START - timedelta(days=9)
    with a_store(home) as store:
        launched(store, {**FILES, "goals.yaml": GOALS})
        events = [replace(e, occurred_at=e.occurred_at + shift) for e in a_week(per_day=10)]
        shown(store, home / "lake", events)
        loaded = live_catalog(store)
        assert loaded is not None
        with open_lake(home / "lake") as reader:
            refresh_goals(store, reader.engine, loaded, today=TODAY, limit=100)
    return home


@pytest.fixture
def browser(home: Path) -> Iterator[FlaskClient]:
    services = build_services(settings_in(home))
    yield create_app(services).test_client()
    shut_down(services)


def test_without_a_session_the_page_asks_to_sign_in(browser: FlaskClient) -> None:
    answer = browser.get("/goals")

    assert answer.status_code == 401
    assert "Sell" not in answer.text


def test_every_goal_is_told_in_words_beside_its_bar_and_its_days(browser: FlaskClient, home: Path) -> None:
    browser.post(new_sign_in_link(settings_in(home), ""))

    page = browser.get("/goals").text
    listed = browser.get("/").text

    assert "Sell &lt;b&gt;more&lt;/b&gt;" in page
    assert re.search(r"</svg>(Reached|On track)</span>", page)
    assert page.index('id="grow"') < page.index('id="part"')
    assert 'class="card goal' in page
    assert "depth1" in page
    assert 'serves <a href="#grow">grow</a>' in page
    assert '<a href="/experiments/free-shipping">free-shipping</a>' in page
    assert page.count('<polyline class="days"') == 2
    assert "the target is reached; the mark is today, 50 % of the time" in page
    assert '<a href="/goals">Goals</a>' in listed


def test_a_catalog_without_goals_says_how_to_write_one(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with a_store(home) as store:
        launched(store)
    services = build_services(settings_in(home))
    browser = create_app(services).test_client()
    browser.post(new_sign_in_link(settings_in(home), ""))

    page = browser.get("/goals").text
    shut_down(services)

    assert "has no goal yet" in page


LAST = date(2027, 1, 31)


def standing(
    *values: float | None, state: GoalState = GoalState.BEHIND, share: float | None = 0.5
) -> Standing:
    points = [Point(day=LAST - timedelta(days=back), value=v, n=1) for back, v in enumerate(reversed(values))]
    return Standing(
        goal=Goal(
            key="grow",
            statement="Sell more",
            metric="buy",
            baseline=0.1,
            target=Target(amount=0.2),
            owner="maria",
            start=date(2027, 1, 1),
            due=date(2027, 3, 1),
        ),
        metric=Metric(key="buy", kind=MetricKind.CONVERSION, event="Order", window_s=86_400),
        progress=Progress(state=state, value=None, n=0, share=share, elapsed=0.25),
        text="",
        points=tuple(reversed(points)),
        experiments=(),
        depth=0,
    )


def test_a_line_is_not_drawn_over_days_that_are_not_known() -> None:
    found = spark(standing(0.1, 0.15, None, 0.2, 0.2))

    assert found is not None
    assert [len(line.split()) for line in found.lines] == [2, 2]
    assert found.last[0] == pytest.approx(236)
    assert 0 < found.target < found.baseline < HEIGHT
    assert found.title == "buy day by day: 10.00 % on 2027-01-27, 20.00 % on 2027-01-31"


def test_one_day_is_a_dot_and_none_is_no_drawing() -> None:
    one = spark(standing(0.15))

    assert one is not None
    assert one.lines == ()
    assert spark(standing(None, None)) is None
    assert spark(standing()) is None


@pytest.mark.parametrize(
    ("share", "bar", "way"),
    [
        (0.5, 50.0, "50 % of the way"),
        (-0.4, 0.0, "further away than the baseline"),
        (-9.98, 0.0, "further away than the baseline"),
        (1.0, 100.0, "the target is reached"),
        (171.39, 100.0, "the target is reached"),
    ],
)
def test_a_bar_never_leaves_its_frame_and_its_words_say_how_far(share: float, bar: float, way: str) -> None:
    found = card(standing(0.1, share=share))

    assert (found.bar, found.way, found.time, found.gone) == (bar, way, 25.0, "25 %")
