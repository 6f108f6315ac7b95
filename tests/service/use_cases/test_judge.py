import csv
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from service.clock import from_micros, to_micros
from service.lake import export, export_all
from service.storage.ports import Store
from service.use_cases.judge import refresh_verdict, refresh_verdicts
from service.use_cases.verdict_body import canonical
from service.use_cases.verdict_exports import to_csv, to_markdown
from service.use_cases.verdict_words import accounting
from service.use_cases.watermark import as_of_us
from tests.service.use_cases.shops import (
    FILES,
    KEY,
    START,
    a_store,
    a_week,
    exposure,
    launched,
    order,
    put,
    put_in_quarantine,
    shown,
)

NOW = START + timedelta(days=30)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with a_store(tmp_path / "home") as opened:
        launched(opened)
        yield opened


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    return tmp_path / "lake"


def body(store: Store) -> dict[str, Any]:
    snapshot = store.latest_verdict(KEY)
    assert snapshot is not None
    parsed: dict[str, Any] = json.loads(snapshot.body)
    return parsed


def test_a_better_variant_is_shipped_with_every_member_of_the_design(store: Store, lake: Path) -> None:
    shown(store, lake, a_week())

    assert refresh_verdicts(store, lake, now=NOW) == 1

    verdict = body(store)
    assert (verdict["schema"], verdict["experiment"], verdict["phase"]) == ("verdict/1", KEY, 1)
    assert (verdict["decision"], verdict["variant"]) == ("ship", "banner")
    assert verdict["log_offset"] == store.last_seq()
    assert verdict["revision"] == store.live_state().revision
    assert set(verdict["digests"]) == {"catalog", "config", "exposures", "moments"}
    assert [len(line["points"]) for line in verdict["series"]] == [5]
    assert verdict["record"]["owner"] == "maria@shop.example"


def test_the_exposure_account_adds_up_with_each_exclusion_counted(store: Store, lake: Path) -> None:
    put_in_quarantine(store, "q1", "variant_mismatch")
    put_in_quarantine(store, "q2", "variant_mismatch")
    put_in_quarantine(store, "q3", "override")
    events = a_week(per_day=20)
    events.append(exposure("v0-0", "control", START, suffix="-again"))
    events.append(exposure("v0-1", "control", START, suffix="-other"))
    shown(store, lake, events)

    refresh_verdicts(store, lake, now=NOW)

    account = body(store)["exposure"]
    assert account["quarantined"] == {"override": 1, "variant_mismatch": 2}
    assert account["events"] == 140 + 2 + 3
    assert account["events"] == account["first"] + account["repeats"] + sum(account["quarantined"].values())
    exposed = sum(account["exposed_units"].values())
    assert exposed == account["first"] == 140
    assert exposed == sum(account["excluded"].values()) + sum(account["analysed"].values())
    assert account["excluded"]["multiple_variants"] == 1
    assert account["contaminated_units"] == 0
    assert sum(account["analysed"].values()) == sum(
        row["n"] for row in body(store)["metrics"] if row["role"] == "primary"
    )


def test_people_who_saw_several_variants_under_several_ids_are_counted_and_not_left_out(
    store: Store, lake: Path
) -> None:
    events = a_week(per_day=20)
    for unit in ("v0-0", "v0-1", "v0-3"):
        events.append(replace(order(unit, START + timedelta(days=5)), user_id="maria"))
    shown(store, lake, events)

    refresh_verdicts(store, lake, now=NOW)

    verdict = body(store)
    assert verdict["exposure"]["contaminated_units"] == 3
    assert verdict["exposure"]["excluded"]["multiple_variants"] == 0
    assert "contaminated_units" in verdict["warnings"]
    told = "3 units (2.1 %) belong to people who saw another variant under another id"
    assert f"Look at this: {told}, and count all the same." in verdict["text"]
    assert ("contaminated, not left out", 3) in accounting(verdict["exposure"])
    assert "| contaminated, not left out | 3 |" in to_markdown(verdict)
    rows = list(csv.DictReader(to_csv(verdict).splitlines()))
    assert {row["contaminated_units"] for row in rows} == {"3"}


def test_nothing_new_writes_nothing(store: Store, lake: Path) -> None:
    shown(store, lake, a_week(per_day=20))
    refresh_verdicts(store, lake, now=NOW)

    assert refresh_verdicts(store, lake, now=NOW + timedelta(days=1)) == 0
    assert refresh_verdict(store, lake, KEY, now=NOW) is False


def test_a_new_quarantined_exposure_is_news(store: Store, lake: Path) -> None:
    shown(store, lake, a_week(per_day=20))
    refresh_verdicts(store, lake, now=NOW)

    put_in_quarantine(store, "q1", "override")

    assert refresh_verdict(store, lake, KEY, now=NOW) is True
    assert body(store)["exposure"]["quarantined"] == {"override": 1}


def test_a_trickle_of_exposures_is_kept_at_intervals_only(store: Store, lake: Path) -> None:
    shown(store, lake, a_week(per_day=100))
    refresh_verdicts(store, lake, now=NOW)
    shown(store, lake, [exposure("late", "control", START + timedelta(days=6))])

    at_once = refresh_verdicts(store, lake, now=NOW + timedelta(seconds=2))
    later = refresh_verdicts(store, lake, now=NOW + timedelta(minutes=11))

    assert (at_once, later) == (0, 1)


def test_what_nobody_was_exposed_to_is_judged_once_a_day_of_the_log(store: Store, lake: Path) -> None:
    looks = []
    for hours in (0, 12, 25, 26, 50):
        shown(
            store,
            lake,
            [order(f"v{hours}-{i}", START + timedelta(hours=hours, seconds=i)) for i in range(100)],
        )
        looks.append(refresh_verdicts(store, lake, now=NOW + timedelta(hours=hours)))

    assert looks == [1, 0, 1, 0, 1]
    assert body(store)["as_of"].startswith((START + timedelta(hours=49)).date().isoformat())


def test_when_the_log_has_settled_its_last_exposures_are_kept_once(store: Store, lake: Path) -> None:
    shown(store, lake, a_week(per_day=100))
    refresh_verdicts(store, lake, now=NOW)
    shown(store, lake, [exposure("late", "control", START + timedelta(days=6))])

    settled = refresh_verdicts(store, lake, now=NOW + timedelta(seconds=12), settled=True)
    again = refresh_verdicts(store, lake, now=NOW + timedelta(seconds=72), settled=True)

    assert (settled, again) == (1, 0)


def test_the_verdict_has_the_same_bytes_whatever_the_order_and_the_batches(tmp_path: Path) -> None:
    bodies = []
    for name, step in (("forward", 1), ("backward", -1)):
        with a_store(tmp_path / name) as store:
            launched(store)
            last = [order("other", START + timedelta(days=7, seconds=i)) for i in range(100)]
            put(store, *a_week(per_day=50)[::step], *last)
            for limit in (7, 333) if step > 0 else (10_000,):
                export(store, tmp_path / name / "lake", limit=limit)
            export_all(store, tmp_path / name / "lake")
            refresh_verdicts(store, tmp_path / name / "lake", now=NOW + timedelta(days=step))
            bodies.append(store.latest_verdict(KEY))

    assert bodies[0] is not None
    assert bodies[1] is not None
    assert bodies[0].body == bodies[1].body
    assert bodies[0].digest == bodies[1].digest


def test_a_lake_rebuilt_from_the_log_gives_the_same_bytes(store: Store, lake: Path) -> None:
    shown(store, lake, a_week(per_day=50))
    refresh_verdicts(store, lake, now=NOW)
    first = store.latest_verdict(KEY)
    shutil.rmtree(lake)
    export_all(store, lake)

    assert refresh_verdict(store, lake, KEY, now=NOW + timedelta(days=2)) is False

    assert store.latest_verdict(KEY) == first


def test_without_events_there_is_no_verdict(store: Store, lake: Path) -> None:
    assert refresh_verdicts(store, lake, now=NOW) == 0
    assert store.latest_verdict(KEY) is None


def test_events_without_exposures_give_a_verdict_that_says_so(store: Store, lake: Path) -> None:
    shown(store, lake, [order("v1", START)])

    refresh_verdicts(store, lake, now=NOW)

    assert body(store)["decision"] == "keep_running"
    assert body(store)["exposure"]["events"] == 0


def test_drafts_are_not_judged(tmp_path: Path, lake: Path) -> None:
    draft = FILES["experiments/free-shipping.yaml"] + "status: draft\n"
    with a_store(tmp_path / "other") as store:
        launched(store, {**FILES, "experiments/free-shipping.yaml": draft})
        shown(store, lake, [order("v1", START)])

        assert refresh_verdicts(store, lake, now=NOW) == 0


def test_an_unknown_experiment_is_an_error(store: Store, lake: Path) -> None:
    with pytest.raises(KeyError):
        refresh_verdict(store, lake, "nothing", now=NOW)


def test_a_few_strays_do_not_close_a_day() -> None:
    seconds = [to_micros(START) + i for i in range(90)]
    strays = [to_micros(START + timedelta(days=1))] * 10

    assert as_of_us([*seconds, *strays], floor_us=0) == to_micros(START - timedelta(minutes=5)) + 89


def test_clocks_that_run_fast_do_not_close_a_day_however_many_they_are() -> None:
    midnight = START.replace(hour=0) + timedelta(days=1)
    fast = [to_micros(midnight - timedelta(seconds=1) + timedelta(minutes=5))] * 100

    assert from_micros(as_of_us(fast, floor_us=0)).date() == START.date()


def test_the_moment_judged_never_goes_back() -> None:
    assert as_of_us([5, 6, 7], floor_us=100) == 100


def test_late_events_do_not_move_the_moment_back(store: Store, lake: Path) -> None:
    shown(store, lake, a_week(per_day=60))
    refresh_verdicts(store, lake, now=NOW)
    before = body(store)
    shown(store, lake, [order(f"late{i}", START - timedelta(days=3)) for i in range(200)])

    refresh_verdict(store, lake, KEY, now=NOW)

    assert body(store)["as_of"] == before["as_of"]
    assert body(store)["metrics"] == before["metrics"]


def test_json_holds_no_number_that_json_has_not() -> None:
    assert canonical({"b": float("inf"), "a": [float("nan"), 0.1 + 0.2]}) == '{"a":[null,0.3],"b":null}'
