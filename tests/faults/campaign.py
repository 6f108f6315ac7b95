"""`make faults`: many random histories against the real server; prints seeds, figures and what went wrong.

FAULT_SEEDS=200 (how many), FAULT_SEED=17 (the first; random by default), FAULT_JOBS=2 (side by side;
the times to serve again are then those of a busy machine),
FAULT_ONLY="power cut,SIGTERM" (choose among these faults only), FAULT_DATABASE=sqlite
or postgresql (without it a third of the seeds is on PostgreSQL).
"""

import os
import secrets
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from service.settings import REPOSITORY
from tests.faults import scenario
from tests.faults.mischief import FAULTS
from tests.faults.scenario import Plan, Report, run

KEEP = REPOSITORY / "build" / "faults"
DATABASES = (os.environ["FAULT_DATABASE"],) if os.environ.get("FAULT_DATABASE") else scenario.DATABASES
ONLY = [name for name in os.environ.get("FAULT_ONLY", "").split(",") if name]


def main() -> int:
    """Run them all; return 1 if a promise was broken."""
    n = int(os.environ.get("FAULT_SEEDS", "200"))
    first = int(os.environ.get("FAULT_SEED") or secrets.randbelow(10**6) * 1_000)
    jobs = int(os.environ.get("FAULT_JOBS", "1"))
    plans = [Plan.of(seed, databases=DATABASES, only=ONLY) for seed in range(first, first + n)]
    which = f"seeds {first} to {first + n - 1}"
    print(f"{which}, {jobs} at a time; again: FAULT_SEED={first} make faults")
    # A process each: migrating is not for threads.
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        reports = [report for report in pool.map(one, plans) if report is not None]
    print("\n".join(summary(reports)))
    broken = len(plans) - sum(not report.violations for report in reports)
    print(
        f"{len(plans)} histories, {broken} with broken promises"
        + (f"; histories in {KEEP}" if broken else "")
    )
    return 1 if broken else 0


def one(plan: Plan) -> Report | None:
    """Run one seed and print its line."""
    name = f"{plan.database}-{plan.seed}"
    folder = Path(tempfile.mkdtemp(prefix=f"opportune-faults-{name}-"))
    try:
        report = run(plan, folder, keep=KEEP)
    except Exception as error:  # noqa: BLE001 - the next seeds are run all the same
        print(f"{name}: BROKE OFF: {error!r}; {folder} and {KEEP}/{name} are kept", flush=True)
        return None
    print(report.line(), *(f"  {found}" for found in report.violations[:10]), sep="\n", flush=True)
    return report


def summary(reports: Sequence[Report]) -> list[str]:
    """Return the figures of all runs."""
    times: dict[str, list[float]] = defaultdict(list)
    for report in reports:
        for blow in report.blows:
            if blow.recovered_s is not None:
                times[blow.name].append(blow.recovered_s)
    lines = [f"{'fault':<18}{'times':>6}  serving again after (median, most)"]
    for name in sorted(times):
        sample = sorted(times[name])
        lines.append(f"{name:<18}{len(sample):>6}  {sample[len(sample) // 2]:.2f} s, {sample[-1]:.2f} s")
    kills = sorted(t for name, sample in times.items() if FAULTS[name].kills for t in sample)
    if kills:
        late = sum(t > 2 for t in kills)
        lines.append(f"after a kill: {len(kills)} times, most {kills[-1]:.2f} s, {late} above 2 s")
    told = sum((report.events for report in reports), start=type(reports[0].events)()) if reports else {}
    lines.append(f"events told: {dict(told)}; evaluations answered: {sum(r.evaluations for r in reports)}")
    return lines


if __name__ == "__main__":
    sys.exit(main())
