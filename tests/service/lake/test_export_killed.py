"""Fifty kills of a real exporter: in the end the lake has every row of the log, once, and no other file."""

import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from service.lake import read_manifest
from service.lake.manifest import EVENTS, EXPOSURES, INTERACTIONS, read_files
from service.lake.rows import rows_of
from service.settings import REPOSITORY, child_environment
from service.storage.migrate import migrate
from service.storage.places import place_of
from service.storage.sql import SqlStore
from tests.service.lake.killed_exporter import PEOPLE, fill

SEED = 20_261_122
MOST_STEPS, MOST_S = 150, 0.2
# Compaction, an erasure and the replacement of the manifest must be among the points; the others are any.
TARGETS = ("-c", "-e", "manifest.json.tmp") * 3
KILLS_BY_STEP, KILLS_BY_TIME = 29, 12
PER_FILL = 100
DATASETS = (EVENTS, EXPOSURES, INTERACTIONS)
Run = Callable[[str, str, list[str]], str]


@contextmanager
def exporter(url: str, lake: Path) -> Iterator[Run]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.service.lake.killed_exporter", url, str(lake)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
        env=child_environment(),
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        stdin, stdout = server.stdin, server.stdout
        stdout.readline()

        def run(how: str, when: str, gone: list[str]) -> str:
            stdin.write(" ".join([how, when, *gone]) + "\n")
            stdin.flush()
            return stdout.readline().strip()

        yield run


def points(rng: random.Random) -> list[tuple[str, str]]:
    steps = [("step", str(rng.randrange(1, MOST_STEPS))) for _ in range(KILLS_BY_STEP)]
    times = [("delay", f"{rng.uniform(0, MOST_S):.3f}") for _ in range(KILLS_BY_TIME)]
    plan = [*steps, *times, *(("at", name) for name in TARGETS)]
    rng.shuffle(plan)
    return plan


def kill_again_and_again(store: SqlStore, url: str, lake: Path) -> int:
    """Kill the exporter at fifty points, let it finish then; return how many events were stored."""
    rng = random.Random(SEED)
    print(f"seed {SEED}")
    gone: list[str] = []
    n = PER_FILL
    fill(store, 0, PER_FILL)
    plan = points(rng)
    assert len(plan) == 50
    with exporter(url, lake) as run:
        while plan:
            told = run(*plan[-1], gone)
            assert told.startswith(("killed", "finished")), told
            if told.startswith("killed"):
                print(*plan.pop(), told)
                continue
            # It came to the end before: more for it to do.
            gone = [f"v{rng.randrange(PEOPLE)}"]
            fill(store, n, PER_FILL)
            n += PER_FILL
        assert run("step", "0", gone) == "finished"
    return n


def test_killed_at_fifty_points_the_exporter_loses_and_repeats_nothing(tmp_path: Path) -> None:
    url, lake = f"sqlite:///{tmp_path / 'shop.db'}", tmp_path / "lake"
    migrate(url)
    store = SqlStore(place_of(url))

    n = kill_again_and_again(store, url, lake)

    expected = rows_of(store.read(0, n))
    manifest = read_manifest(lake)
    store.close()
    assert sum(map(len, expected.values())) > 2 * PER_FILL
    for dataset in DATASETS:
        rows = read_files(lake, dataset, manifest.of(dataset)).to_pylist()
        wanted = [row for (name, _), some in expected.items() if name == dataset for row in some]
        assert sorted(map(repr, rows)) == sorted(map(repr, wanted))
    assert {p.relative_to(lake).as_posix() for p in lake.glob("*/*/*")} == {f.path for f in manifest.files}
    assert {p.name for p in lake.iterdir() if p.is_file()} == {"manifest.json", ".lock"}
