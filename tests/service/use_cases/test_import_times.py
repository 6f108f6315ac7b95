"""Times of files: read as they are meant, or refused with what to say."""

import re
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.use_cases.import_times import Times

MADRID = ZoneInfo("Europe/Madrid")
SPANISH = "%d/%m/%Y %H:%M"
FIRST, LAST = (datetime(year, 1, 1) for year in (2020, 2030))  # noqa: DTZ001 - Hypothesis adds the zone


@pytest.mark.parametrize(
    ("times", "text", "moment"),
    [
        (Times(), "2026-11-03T09:15:00Z", "2026-11-03T09:15:00"),
        (Times(), "2026-11-03 09:15:00 +0100", "2026-11-03T08:15:00"),
        (Times(), "2026-11-03T09:15:00.123456+01:00", "2026-11-03T08:15:00.123456"),
        (Times(zone=MADRID), "2026-11-03 09:15", "2026-11-03T08:15:00"),
        (Times(zone=MADRID), "2026-07-03T09:15:00", "2026-07-03T07:15:00"),
        (Times(zone=MADRID), "2026-07-03T09:15:00Z", "2026-07-03T09:15:00"),
        (Times(zone=MADRID), "2026-10-25 02:30", "2026-10-25T00:30:00"),
        (Times(zone=MADRID, of_day=time(18)), "2026-11-03", "2026-11-03T17:00:00"),
        (Times(zone=MADRID, pattern=SPANISH), "03/11/2026 09:15", "2026-11-03T08:15:00"),
        (Times(zone=MADRID, pattern="%d.%m.%y", of_day=time(12)), "03.11.26", "2026-11-03T11:00:00"),
        (Times(pattern="%d/%m/%Y %H:%M %z"), "03/11/2026 09:15 +0100", "2026-11-03T08:15:00"),
    ],
)
def test_a_time_is_the_moment_it_names(times: Times, text: str, moment: str) -> None:
    assert times.read(text) == datetime.fromisoformat(moment).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("times", "text", "why"),
    [
        (Times(), "2026-11-03 09:15", "names no offset; say where it was that time, such as --zone"),
        (Times(zone=MADRID), "2026-11-03", "is a day; outcomes count only after their exposure"),
        (Times(zone=MADRID), "03/11/2026 09:15", "--time-format '%d/%m/%Y %H:%M'"),
        (Times(zone=MADRID), "1760000000", "is no time such as"),
        (Times(zone=MADRID), "2026-02-30 09:15", "there is no such time"),
        (Times(zone=MADRID), "2026-03-29 02:30", "did not exist in Europe/Madrid"),
        (Times(zone=MADRID), "1999-01-01 00:00", "the year must lie between"),
        (Times(zone=MADRID, pattern=SPANISH), "2026-11-03 09:15", "does not have the form --time-format"),
        (Times(zone=MADRID, pattern="%d/%m/%Y"), "03/11/2026", "is a day"),
    ],
)
def test_what_could_mean_several_moments_is_refused(times: Times, text: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        times.read(text)


@given(st.datetimes(FIRST, LAST, timezones=st.just(MADRID), allow_imaginary=False))
def test_what_a_clock_showed_is_read_back(shown: datetime) -> None:
    text = shown.replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")

    moment = Times(zone=MADRID).read(text)

    assert moment == shown.replace(fold=0).astimezone(UTC)
    assert moment.utcoffset() == timedelta(0)
