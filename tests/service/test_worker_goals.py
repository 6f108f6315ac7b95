"""The worker keeps the values of goals, and goes on where another one was killed."""

from datetime import UTC, datetime
from pathlib import Path

from service.use_cases.goals_pass import AT_ONCE
from service.worker import Worker
from tests.service.use_cases.shops import FILES, a_store, a_week, launched, put, settings_in

NOW = datetime(2026, 3, 10, 8, tzinfo=UTC)
GOALS = """\
goals:
  grow: {statement: Sell more, metric: purchase, baseline: 10%, target: 20%, owner: maria, start: 2026-03-01,
    due: 2026-03-11}
  spend: {statement: Larger baskets, metric: revenue, baseline: 2, target: 4, owner: li.na, start: 2026-03-01,
    due: 2026-03-11}
"""


def test_every_worker_computes_a_few_values_and_the_next_one_the_rest(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with a_store(home) as store:
        launched(store, {**FILES, "goals.yaml": GOALS})
        put(store, *a_week(per_day=10))

        computed = []
        for _ in range(3):
            worker = Worker(settings_in(home), store, clock=lambda: NOW)
            worker.step()
            rows = store.goal_values(["grow", "spend"], since="")
            computed.append(sum('"n":0,' not in row.sums for row in rows))

    assert computed == [AT_ONCE, 2 * 7, 2 * 7]
