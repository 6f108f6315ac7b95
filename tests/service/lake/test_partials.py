import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.definitions import Experiment, Metric, MetricKind
from service.clock import to_micros
from service.lake import erase, export, forget
from service.lake import partials as partials_module
from service.lake import partials_tiers as tiers
from service.lake.moments import Facts, LakeReader, open_lake
from service.lake.partials import KeptReader, discard_kept, folder_of, open_kept, sweep_kept
from service.lake.partials_folder import LOCK, STATE, PartialsBusyError, locked
from service.storage.records import Event
from tests.service.lake.logs import START, ListLog, an_event, an_exposure, days, received
from tests.service.lake.test_moments import BANNER, CONTROL, DAY_S, EXPERIMENT, PURCHASE, REVENUE

ADJUSTED = Metric(
    key="adjusted",
    kind=MetricKind.MEAN,
    event="Order Completed",
    value="revenue",
    window_s=2 * DAY_S,
    lookback_s=3 * DAY_S,
)
PER_ORDER = Metric(
    key="per-order",
    kind=MetricKind.RATIO,
    event="Order Completed",
    value="revenue",
    per="Order Completed",
    window_s=2 * DAY_S,
    lookback_s=DAY_S,
)
FUNNEL = Metric(
    key="step", kind=MetricKind.FUNNEL, event="Product Viewed", then="Order Completed", window_s=2 * DAY_S
)
METRICS = (PURCHASE, REVENUE, ADJUSTED, PER_ORDER, FUNNEL)
VISITORS = tuple(f"v{i}" for i in range(8))
ENDED_US = to_micros(START + days(60))


class Shop:
    """A log, its lake, and what is kept of it."""

    def __init__(self, home: Path, seed: int = 0) -> None:
        self.lake, self.partials = home / "lake", home / "partials"
        self.log, self.rng = ListLog(), random.Random(seed)
        self.day = 0

    def live(self, n: int) -> None:
        """Let some things happen, on another day of receipt, and export them."""
        start = self.log.last_seq()
        events = (self._happening(start + i) for i in range(n))
        self.log.append(received(*events, at=START + days(self.day)))
        self.day += 1
        export(self.log, self.lake)

    def erased(self, visitor: str) -> None:
        """Let a person be forgotten by log and lake."""
        kept = [one for one in self.log.logged if one.received.event.anonymous_id != visitor]
        self.log.logged = kept
        erase(self.lake, user_ids=[], anonymous_ids=[visitor])

    def kept(self, metrics: Sequence[Metric] = METRICS, experiment: Experiment = EXPERIMENT) -> Facts:
        """Return the facts from kept rows, without falling back on the lake."""
        with open_kept(self.lake, self.partials) as reader:
            return reader.kept_facts(experiment, metrics, until_us=ENDED_US)

    def whole(self, metrics: Sequence[Metric] = METRICS, experiment: Experiment = EXPERIMENT) -> Facts:
        """Return the facts from the lake."""
        with open_lake(self.lake) as reader:
            return reader.facts(experiment, metrics, until_us=ENDED_US)

    @property
    def folder(self) -> Path:
        return self.partials / folder_of(EXPERIMENT)

    def state(self) -> dict[str, object]:
        told: dict[str, object] = json.loads((self.folder / STATE).read_text())
        return told

    def _happening(self, number: int) -> Event:
        rng = self.rng
        unit, at = rng.choice(VISITORS), START + timedelta(hours=rng.randrange(240))
        name = f"e{number}-{self.day}" if rng.random() < 0.95 else f"e{rng.randrange(number + 1)}-0"
        what, user = rng.random(), f"u{rng.randrange(3)}" if rng.random() < 0.2 else None
        if what < 0.3:
            return an_exposure(name, unit, BANNER if rng.random() < 0.1 else CONTROL, at=at)
        if what < 0.35:
            return an_event(name, "User Aliased", at=at, anonymous_id=None, user_id="u1", previous_id=unit)
        if what < 0.6:
            return an_event(name, "Product Viewed", at=at, anonymous_id=unit, user_id=user)
        money = rng.choice([0.1, 19.99, -5, 70, 1e12])
        return an_event(name, "Order Completed", at=at, anonymous_id=unit, user_id=user, revenue=money)


STEPS: dict[str, Callable[[Shop], object]] = {
    "little": lambda shop: shop.live(1),
    "some": lambda shop: shop.live(10),
    "much": lambda shop: shop.live(60),
    "nothing": lambda shop: shop.live(0),
    "erasure": lambda shop: shop.erased(shop.rng.choice(VISITORS)),
    "retention": lambda shop: forget(
        shop.lake, events_before=(START + days(shop.day // 2)).date(), interactions_before=date.max
    ),
}


@settings(max_examples=5, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    steps=st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=5),
    chosen=st.lists(st.sampled_from(range(len(METRICS))), min_size=1, max_size=3, unique=True),
)
def test_whatever_happens_the_facts_from_kept_rows_are_those_of_the_whole_log(
    seed: int, steps: list[str], chosen: list[int]
) -> None:
    metrics = [METRICS[i] for i in chosen]
    with TemporaryDirectory() as home:
        shop = Shop(Path(home), seed)
        shop.live(40)
        for step in (*steps, "some"):
            assert shop.kept(metrics) == shop.whole(metrics)
            STEPS[step](shop)
        assert shop.kept(metrics) == shop.whole(metrics)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    shop = Shop(tmp_path)
    shop.live(200)
    shop.kept()
    return shop


def test_new_events_are_added_to_kept_rows_and_old_files_stay(shop: Shop) -> None:
    before = shop.state()
    shop.live(20)

    assert shop.kept() == shop.whole()

    after = shop.state()
    assert after["base"] == before["base"]
    assert after["delta"] is not None
    assert after["generation"] == 2


def test_a_delta_that_has_grown_becomes_part_of_the_base(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiers, "DELTA_ROWS", 0)
    shop.live(20)

    assert shop.kept() == shop.whole()

    assert shop.state()["delta"] is None
    assert {path.name for path in shop.folder.iterdir()} == {STATE, ".lock", "00000002-base.parquet"}


def test_an_earlier_exposure_that_comes_late_moves_a_units_window(shop: Shop) -> None:
    late = an_exposure("late", "v1", CONTROL, at=START - days(30))
    order = an_event("long-ago", "Order Completed", anonymous_id="v1", at=START - days(31), revenue=7)
    shop.log.append(received(order))
    export(shop.log, shop.lake)
    shop.kept()
    shop.log.append(received(late))
    export(shop.log, shop.lake)

    kept = shop.kept([ADJUSTED])

    assert kept == shop.whole([ADJUSTED])
    assert shop.state()["generation"] == 1


def test_another_definition_of_a_metric_makes_rows_of_its_own(shop: Shop) -> None:
    longer = replace(REVENUE, window_s=5 * DAY_S)

    assert shop.kept([longer]) == shop.whole([longer]) != shop.kept([REVENUE])


def test_a_lake_made_again_from_a_log_that_has_lost_events_is_noticed(shop: Shop) -> None:
    kept = [one for one in shop.log.logged if one.received.event.anonymous_id != "v2"]
    shop.log.logged = kept
    for path in sorted(shop.lake.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    export(shop.log, shop.lake)

    assert shop.kept() == shop.whole()


def test_a_broken_file_costs_time_and_changes_no_number(shop: Shop) -> None:
    for damage in (b"", b"not a file of rows"):
        (base,) = shop.folder.glob("*-base.parquet")
        base.write_bytes(damage)
        assert shop.kept() == shop.whole()
    (shop.folder / STATE).write_text("{")
    assert shop.kept() == shop.whole()


def test_rows_that_another_process_uses_are_done_without(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partials_module, "WORTH_KEEPING", 0)
    shop.live(10)
    with locked(shop.folder), open_kept(shop.lake, shop.partials) as reader:
        with pytest.raises(PartialsBusyError):
            reader.kept_facts(EXPERIMENT, METRICS, until_us=ENDED_US)
        facts = reader.facts(EXPERIMENT, METRICS, until_us=ENDED_US)

    assert facts == shop.whole()
    assert shop.state()["generation"] == 1


def test_a_small_lake_is_not_worth_keeping_rows_of(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.live(50)

    with open_kept(shop.lake, shop.partials) as reader:
        assert reader.facts(EXPERIMENT, METRICS, until_us=ENDED_US) == shop.whole()

    assert not shop.partials.exists()


def test_what_is_kept_leaves_with_its_experiment_and_with_an_erasure(shop: Shop) -> None:
    sweep_kept(shop.partials, [EXPERIMENT], erased=0)
    assert {path.name for path in shop.partials.iterdir()} == {"people", "free-shipping.1"}

    sweep_kept(shop.partials, [replace(EXPERIMENT, phase=2)], erased=0)
    assert {path.name for path in shop.partials.iterdir()} == {"people"}

    discard_kept(shop.partials)
    assert list(shop.partials.iterdir()) == []


def test_what_was_kept_before_an_erasure_elsewhere_leaves(shop: Shop) -> None:
    sweep_kept(shop.partials, [EXPERIMENT], erased=1)

    assert list(shop.partials.iterdir()) == []


def test_who_waits_for_a_folder_that_is_removed_does_not_hold_it(tmp_path: Path) -> None:
    folder = tmp_path / "free-shipping.1"

    def held() -> str:
        try:
            with locked(folder, wait=True):
                return "held"
        except PartialsBusyError as error:
            return str(error)

    with ThreadPoolExecutor(1) as pool:
        with locked(folder):
            waits = pool.submit(held)
            while not waiting_for(folder / LOCK):
                time.sleep(0.01)
            shutil.rmtree(folder)
        assert waits.result() == f"{folder} was removed"


def waiting_for(path: Path) -> bool:
    """Say whether this process has the file open twice: by who holds the lock, and by who waits for it."""
    return sum(os.path.realpath(one) == str(path) for one in Path("/proc/self/fd").iterdir()) > 1


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.service.lake.test_partials import KilledShop
KilledShop(Path(sys.argv[1])).refresh(die_at=int(sys.argv[2]))
"""


class KilledShop:
    """A process that refreshes and is killed at one of the calls that change the disk."""

    def __init__(self, home: Path) -> None:
        self.lake, self.partials = home / "lake", home / "partials"

    def refresh(self, *, die_at: int) -> None:
        """Count the calls, and end without a word at the one."""
        calls = 0

        def hook(event: str, _args: object) -> None:
            nonlocal calls
            if event in {"os.rename", "os.remove", "open"} and str(self.partials) in str(_args):
                calls += 1
                if calls == die_at:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        with open_kept(self.lake, self.partials) as reader:
            reader.kept_facts(EXPERIMENT, METRICS, until_us=ENDED_US)


def test_a_refresh_that_is_killed_leaves_what_can_be_used(tmp_path: Path) -> None:
    killed = 0
    for die_at in (2, 9, 14, 17):
        home = tmp_path / str(die_at)
        shop = Shop(home)
        shop.live(60)
        shop.kept()
        shop.live(10)

        ended = subprocess.run([sys.executable, "-c", KILLED, str(home), str(die_at)], check=False)

        killed += ended.returncode == -signal.SIGKILL
        assert shop.kept() == shop.whole()
    assert killed > 1


def test_kept_facts_are_a_readers_facts(shop: Shop) -> None:
    with open_kept(shop.lake, shop.partials) as reader:
        assert isinstance(reader, LakeReader)
        assert isinstance(reader, KeptReader)
        assert reader.whole_facts(EXPERIMENT, METRICS, until_us=ENDED_US) == shop.kept()


@pytest.mark.parametrize("n", [1, 10, 70, 500])
def test_the_newest_events_are_found_by_the_files_that_may_hold_them(tmp_path: Path, n: int) -> None:
    shop = Shop(tmp_path)
    for _ in range(4):
        shop.live(40)
    shop.log.append(received(an_event("newest", at=START + days(30))))
    export(shop.log, shop.lake)

    with open_kept(shop.lake, shop.partials) as reader:
        found = reader.last_occurred_us(n)

    with open_lake(shop.lake) as reader:
        assert found == reader.last_occurred_us(n)
