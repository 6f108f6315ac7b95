"""A few histories of every `make test`; `make faults` runs hundreds of others."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from service.settings import REPOSITORY
from tests.faults.mischief import FAULTS
from tests.faults.scenario import Plan, run

pytestmark = pytest.mark.e2e

KEEP = REPOSITORY / "build" / "faults"


@pytest.mark.parametrize(
    ("seed", "database", "faults"),
    [
        (1, "sqlite", ["kill workers", "disk full", "kill the group"]),
        (2, "sqlite", ["power cut", "sync fails"]),
        (3, "sqlite", ["clock jump", "SIGTERM", "file size limit"]),
        (4, "postgresql", ["database killed", "slow network", "kill the group"]),
        (5, "postgresql", ["silent network", "cut connections"]),
    ],
)
def test_no_fault_breaks_a_promise(seed: int, database: str, faults: Sequence[str], tmp_path: Path) -> None:
    plan = Plan(seed=seed, database=database, faults=faults, n_writers=3, settles=True)

    report = run(plan, tmp_path / "run", keep=KEEP)

    print(report.line())
    assert report.violations == [], f"see {KEEP}/{database}-{seed}"
    assert report.events["accepted"] > 0
    assert report.evaluations > 0
    assert all(blow.recovered_s is not None for blow in report.blows)


def test_a_seed_stands_for_one_plan_of_faults_that_its_database_can_have() -> None:
    plans = [Plan.of(seed) for seed in range(300)]

    assert plans == [Plan.of(seed) for seed in range(300)]
    assert all(plan.database in FAULTS[name].on for plan in plans for name in plan.faults)
    assert {name for plan in plans for name in plan.faults} == set(FAULTS)
    assert {plan.database for plan in plans} == {"sqlite", "postgresql"}
