"""The checks of the split: false alarms over a whole life, and what they find in the Upworthy archive."""

import csv
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from functools import partial

import numpy as np

from experiments.checks import srm, srm_days, srm_sources
from experiments.definitions import Experiment, MetricPlan, Variant
from experiments.evidence import Arrivals, Evidence, ExposureAccount
from scripts.calibration.figures import Rate, Report
from scripts.calibration.runs import Bench, Found
from scripts.calibration.streams import HORIZON
from service.settings import REPOSITORY

UPWORTHY = REPOSITORY / "tests" / "golden" / "upworthy" / "impressions.csv"
BROKEN_WEEKS = range(201326, 201403)
INSIDE_GOAL, OUTSIDE_GOAL = 0.6, 0.02
LIFETIME_LIMIT = 0.0125  # what the upper 99 % bound may be where 1 % is promised
PER_DAY = 1_500
SPLITS = {"50/50": (5_000, 5_000), "90/10": (9_000, 1_000), "34/33/33": (3_400, 3_300, 3_300)}
SOURCES = {"web": 0.7, "app": 0.2, "import": 0.1}
FIRST_DAY = date(2027, 1, 4)
LEVELS = {"srm": srm.OVERALL_LEVEL, "srm_days": srm_days.LEVEL, "srm_sources": srm_sources.LEVEL}


def simulate(weights_bp: tuple[int, ...], rng: np.random.Generator, runs: int) -> Found:
    """Return, for each fair life, which of the three checks ever finds the split broken.

    Each check remembers: it takes the smallest p-value of all looks, so the last look tells of all of them.
    """
    experiment = Experiment(
        key="fair",
        variants=tuple(
            Variant(key=key, value=key, weight_bp=weight)
            for key, weight in zip("abcdef", weights_bp, strict=False)
        ),
        metrics=MetricPlan(primary="buy"),
    )
    planned = srm.planned_shares(experiment)
    mean = PER_DAY * np.multiply.outer(list(planned.values()), list(SOURCES.values()))
    found: dict[str, list[bool]] = {name: [] for name in LEVELS}
    for _ in range(runs):
        evidence = _evidence(rng.poisson(mean, (HORIZON, *mean.shape)), tuple(planned))
        for name, module in (("srm", srm), ("srm_days", srm_days), ("srm_sources", srm_sources)):
            p_value = module.check(experiment, {}, evidence).facts["p_value"]
            found[name].append(p_value < LEVELS[name])
    return {name: np.array(alarms) for name, alarms in found.items()}


def _evidence(counts: np.ndarray[tuple[int, ...], np.dtype[np.int64]], variants: tuple[str, ...]) -> Evidence:
    rows = [
        Arrivals(FIRST_DAY + timedelta(days=day), variant, int(counts[day, i, j]), source)
        for day in range(len(counts))
        for i, variant in enumerate(variants)
        for j, source in enumerate(SOURCES)
    ]
    end = datetime(FIRST_DAY.year, FIRST_DAY.month, FIRST_DAY.day, tzinfo=UTC) + timedelta(
        days=len(counts) + 1
    )
    return Evidence(periods=(), arrivals=rows, account=ExposureAccount(), as_of=end, first_exposure_at=None)


def upworthy_shares(level: float = srm.ALARM_LEVEL) -> tuple[Rate, Rate]:
    """Return how many tests are flagged inside the window that the archive calls broken, and outside.

    Each test is looked at once: the archive holds no days. All packages of a test were to be shown equally.
    """
    flagged: dict[bool, list[bool]] = {True: [], False: []}
    with UPWORTHY.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            counts = [int(n) for n in row["impressions"].split()]
            p_value = srm.srm_p_value([counts], [1.0] * len(counts))
            flagged[int(row["week"]) in BROKEN_WEEKS].append(p_value < level)
    inside, outside = (Rate(sum(flagged[broken]), len(flagged[broken])) for broken in (True, False))
    return inside, outside


def reports(bench: Bench) -> Iterable[Report]:
    """Run everything about the split; yield its tables."""
    report = Report(
        "srm_false_alarms",
        f"Sample ratio: fair splits ever found broken in {HORIZON} daily looks",
        [
            "planned split",
            *(f"{name} (level {100 * level:g} %)" for name, level in LEVELS.items()),
            "any (1 %)",
        ],
    )
    for name, weights in SPLITS.items():
        found = bench.run(f"split {name}", partial(simulate, weights))
        every = np.logical_or.reduce([found[check] for check in LEVELS])
        rates = [Rate(int(alarms.sum()), len(every)) for alarms in (*(found[c] for c in LEVELS), every)]
        report.rows.append([name, *(rate.told() for rate in rates)])
        report.promise(f"split {name}", rates[-1], level=srm.ALARM_LEVEL, limit=LIFETIME_LIMIT)
    yield report
    yield upworthy()


def upworthy() -> Report:
    """Tabulate what is flagged in the archive."""
    report = Report(
        "srm_upworthy",
        "Sample ratio on the Upworthy archive: tests flagged, looked at once",
        ["tests", "number", *(f"at {100 * level:g} %" for level in (srm.ALARM_LEVEL, srm.OVERALL_LEVEL))],
    )
    at_levels = [upworthy_shares(level) for level in (srm.ALARM_LEVEL, srm.OVERALL_LEVEL)]
    for place, name in enumerate(("weeks 201326-201402, known to be broken", "all others")):
        rates = [found[place] for found in at_levels]
        report.rows.append([name, f"{rates[0].runs:,}", *(f"{100 * rate.share:.2f} %" for rate in rates)])
    for inside, outside in at_levels:
        report.goal("flagged inside", inside.share, at_least=INSIDE_GOAL)
        report.goal("flagged outside", outside.share, at_most=OUTSIDE_GOAL)
    return report
