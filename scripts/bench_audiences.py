"""How long it takes to find out who did what, how large the answer is, and what a look-up costs.

    .venv/bin/python -m scripts.bench_audiences [--events 1000000] [--people 200000]

The events are made up and written straight into a lake of thirty daily files in a temporary folder.
"""

import argparse
import random
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa

from experiments.definitions import Catalog, Experiment, MetricPlan, Variant
from experiments.membership import Membership
from experiments.targeting.conditions import Any_, Behaviour
from service.clock import to_micros
from service.lake.manifest import EVENTS, EXPOSURES, SCHEMAS, Manifest, commit, write_table
from service.use_cases.audiences import MEMBERS, MembersFile
from service.use_cases.audiences_pass import find_members

NOW = datetime(2027, 1, 31, tzinfo=UTC)
DAYS = 30
VIEWED, ORDERED = "Product Viewed", "Order Completed"
TEA = (("category", "tea"),)
FACTS = (
    Behaviour(event=VIEWED, where=TEA, at_least=3),
    Behaviour(event=VIEWED, where=TEA, at_least=3, within_s=7 * 86_400),
    Behaviour(event=ORDERED),
    Behaviour(event=ORDERED, within_s=30 * 86_400),
    Behaviour(event=ORDERED, measure="sum", property="revenue", at_least=100, within_s=30 * 86_400),
)
EXPERIMENT = Experiment(
    key="free-shipping",
    variants=(
        Variant(key="control", value="", weight_bp=5_000),
        Variant(key="banner", value="x", weight_bp=5_000),
    ),
    metrics=MetricPlan(primary="purchase"),
    audience=Any_(FACTS),
)


def main() -> None:
    """Fill a lake, do passes over it, print what they took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--people", type=int, default=200_000)
    parser.add_argument("--passes", type=int, default=3)
    asked = parser.parse_args()
    catalog = Catalog(experiments={EXPERIMENT.key: EXPERIMENT})
    with TemporaryDirectory() as folder:
        home = Path(folder)
        fill(home / "lake", n_events=asked.events, n_people=asked.people)
        taken = []
        for i in range(asked.passes):
            started = time.perf_counter()
            # A day later each time: the windows have slid, so the file is written each time.
            find_members(catalog, home / "lake", home / "audiences", now=NOW + timedelta(days=i))
            taken.append(time.perf_counter() - started)
        file = MembersFile(home / "audiences")
        started = time.perf_counter()
        file.look()
        opened_s = time.perf_counter() - started
        size = (home / "audiences" / MEMBERS).stat().st_size
        n_known = file.current.count
        print(f"{asked.events:,} events, {len(FACTS)} facts: a pass takes {statistics.median(taken):.2f} s")
        print(f"{n_known:,} people known, {size:,} bytes, {size / n_known:.1f} per person")
        print(f"opened, digests checked, in {opened_s * 1e3:.1f} ms")
        known, strange = look_ups(file.current, asked.people)
        print(f"look-up of somebody known {known:.0f} ns, of a stranger {strange:.0f} ns (CPU time)")


def fill(lake: Path, *, n_events: int, n_people: int) -> None:
    """Write events and exposures: a third of the people are signed in."""
    rng = np.random.default_rng(7)
    lake.mkdir(parents=True)
    files = []
    per_day = n_events // DAYS
    for day in range(DAYS):
        seqs = np.arange(per_day) + day * per_day + 1
        people = rng.integers(0, n_people, per_day)
        at = to_micros(NOW) - (DAYS - day) * 86_400_000_000 + rng.integers(0, 86_400_000_000, per_day)
        date = (NOW - timedelta(days=DAYS - day)).date().isoformat()
        files.append(write_table(lake, EVENTS, date, "1", events(rng, seqs, people, at)))
        seen = pa.table(
            {
                "seq": seqs,
                "experiment_key": pa.repeat(EXPERIMENT.key, per_day),
                "phase": pa.repeat(1, per_day),
                "variant_key": pa.repeat("banner", per_day),
                "unit_type": pa.repeat("anonymous_id", per_day),
                "unit_id": [visitor(person) for person in people],
                "occurred_us": at,
                "revision": pa.repeat(1, per_day),
                "source": pa.repeat("events", per_day),
            }
        ).cast(SCHEMAS[EXPOSURES])
        files.append(write_table(lake, EXPOSURES, date, "1", seen.slice(0, per_day // 10)))
    commit(lake, replace(Manifest(), offset=per_day * DAYS, generation=1, files=tuple(files)))


def events(rng: np.random.Generator, seqs: np.ndarray, people: np.ndarray, at: np.ndarray) -> pa.Table:
    """Return one day of events: a tenth are orders."""
    kinds = rng.choice([VIEWED, ORDERED, "Page Viewed"], len(seqs), p=[0.5, 0.1, 0.4])
    categories = rng.choice(['"tea"', '"mud"', '"cups"'], len(seqs))
    amounts = rng.integers(1_000_000, 90_000_000, len(seqs))
    return pa.table(
        {
            "seq": seqs,
            "event_id": [f"e{seq}" for seq in seqs],
            "type": kinds,
            "user_id": [f"user-{person}" if person % 3 == 0 else None for person in people],
            "anonymous_id": [visitor(person) for person in people],
            "occurred_us": at,
            "trust": pa.repeat("client", len(seqs)),
            "properties": pa.repeat("{}", len(seqs)),
            "facts": [[("category", category), ("path", '"/"')] for category in categories],
            "amounts": [
                [("revenue", amount)] if kind == ORDERED else []
                for kind, amount in zip(kinds, amounts, strict=True)
            ],
        },
        schema=SCHEMAS[EVENTS],
    )


def visitor(number: int) -> str:
    """Return the anonymous id of one person."""
    return f"{int(number) * 0x9E3779B97F4A7C15 % 2**64:016x}-0000-4000-8000-000000000000"


def look_ups(membership: Membership, n_people: int) -> tuple[float, float]:
    """Return nanoseconds for one who is known and for a stranger."""
    rng = random.Random(7)
    known = [f"a:{visitor(rng.randrange(n_people))}" for _ in range(20_000)]
    strangers = [f"a:{i:032x}" for i in range(20_000)]
    return min(rounds(membership, known)), min(rounds(membership, strangers))


def rounds(membership: Membership, people: list[str]) -> Iterator[float]:
    """Yield the CPU time of each of several rounds, per person."""
    for _ in range(9):
        started = time.process_time_ns()
        for person in people:
            membership.bits(person)
        yield (time.process_time_ns() - started) / len(people)


if __name__ == "__main__":
    main()
