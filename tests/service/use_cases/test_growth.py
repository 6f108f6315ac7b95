"""How large, how fast, how long until the disk is full."""

import math
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.settings import Settings
from service.use_cases.growth import (
    DAY,
    EVERY,
    LOOK_BACK,
    Sample,
    daily_growth,
    days_until_full,
    free_bytes,
    note_growth,
    pace,
    sizes,
)
from tests.service.use_cases.shops import START, a_store, settings_in

HOUR = timedelta(hours=1)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_in(tmp_path)


def grown(settings: Settings, hours: int, *, each: int = 1_000) -> None:
    for hour in range(hours):
        note_growth(settings, {"database": each * hour, "lake": each * hour}, now=START + hour * HOUR)


def test_the_parts_of_the_data_are_weighed(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with a_store(tmp_path) as store:
        (settings.home / "lake" / "events" / "day=2026-03-02").mkdir(parents=True)
        (settings.home / "lake" / "events" / "day=2026-03-02" / "1.parquet").write_bytes(b"x" * 1_234)

        parts = sizes(store, settings)

    assert set(parts) == {"database", "write_ahead_log", "lake", "models"}
    assert (parts["lake"], parts["models"]) == (1_234, 0)
    assert parts["database"] == (tmp_path / "opportune.db").stat().st_size
    assert free_bytes(settings) > 0


def test_no_pace_is_named_before_six_hours_were_seen(settings: Settings) -> None:
    grown(settings, 6)
    assert daily_growth(settings) is None

    grown(settings, 7)
    assert daily_growth(settings) == pytest.approx(2 * 24_000)


def test_one_import_does_not_move_the_pace(settings: Settings) -> None:
    grown(settings, 48)

    note_growth(settings, {"database": 10**12, "lake": 0}, now=START + 48 * HOUR)

    assert daily_growth(settings) == pytest.approx(48_000)


def test_within_the_hour_nothing_is_noted_and_after_a_week_it_is_forgotten(settings: Settings) -> None:
    grown(settings, 24)
    before = daily_growth(settings)

    note_growth(settings, {"database": 10**12, "lake": 0}, now=START + 23 * HOUR + EVERY / 2)
    assert daily_growth(settings) == before
    note_growth(settings, {"database": 5, "lake": 5}, now=START + LOOK_BACK + DAY)
    assert daily_growth(settings) is None


def test_a_clock_that_was_put_back_forgets_the_future(settings: Settings) -> None:
    grown(settings, 48)

    note_growth(settings, {"database": 8_000, "lake": 0}, now=START + 8 * HOUR)

    assert daily_growth(settings) == pytest.approx(48_000)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"samples": [[1, 2]], "bytes_per_day": "x"}'])
def test_a_damaged_file_holds_nothing_and_is_replaced(settings: Settings, text: str) -> None:
    file = settings.home / "run" / "growth.json"
    file.parent.mkdir(parents=True)
    file.write_text(text, "utf-8")

    assert daily_growth(settings) is None
    grown(settings, 7)
    assert daily_growth(settings) == pytest.approx(48_000)


def test_a_database_on_another_machine_does_not_fill_this_disk(settings: Settings) -> None:
    elsewhere = replace(settings, database_url="postgresql+psycopg://db.example/shop")
    for hour in range(7):
        note_growth(elsewhere, {"database": hour * 10**9, "lake": hour}, now=START + hour * HOUR)

    assert daily_growth(elsewhere) == pytest.approx(24)


def test_what_does_not_grow_never_fills_the_disk() -> None:
    assert days_until_full(1_000, 250.0) == 4
    assert days_until_full(1_000, 0.0) == math.inf
    assert days_until_full(1_000, -5.0) == math.inf


@given(slope=st.integers(-(10**6), 10**6), hours=st.integers(7, 30), start=st.integers(0, 10**9))
def test_the_pace_of_a_straight_line_is_its_slope(slope: int, hours: int, start: int) -> None:
    line = [Sample(START + hour * HOUR, start + slope * hour) for hour in range(hours)]

    assert pace(line) == pytest.approx(24 * slope)
