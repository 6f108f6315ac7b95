"""The payload of a moment: SDKs drop one whose date they know, so each has a date of its own."""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest

from service.storage.migrate import migrate
from service.storage.sql import SqlStore
from service.use_cases.growthbook import current_features
from service.use_cases.snapshot import SnapshotHolder

NOW = datetime(2027, 1, 1, tzinfo=UTC)


def payloads(home: Path, flag: str, moments: Sequence[str]) -> list[dict[str, Any]]:
    """Return what a worker that begins anew sends at each moment."""
    migrate(f"sqlite:///{home / 'opportune.db'}")
    store = SqlStore(home / "opportune.db")
    store.add_revision({"flags/dark.yaml": f"flag: dark\n{flag}"}, digest="1", by="test", now=NOW)
    found: list[dict[str, Any]] = []
    for moment in moments:
        holder = SnapshotHolder(store)
        holder.refresh()
        features = current_features(holder.current, datetime.fromisoformat(moment))
        found.append(orjson.loads(features.body))
    store.close()
    return found


@pytest.mark.parametrize(
    ("flag", "moments"),
    [
        (
            "ramp: [{at: 2027-02-01T00:00:00.1Z, share: 10%}, {at: 2027-02-01T00:00:00.6Z, share: 50%}]\n",
            ["2027-02-01T00:00:00Z", "2027-02-01T00:00:00.200000Z", "2027-02-01T00:00:00.700000Z"],
        ),
        (
            "schedule: {start: 2027-02-01T00:00Z, end: 2027-02-12T13:46:40Z}\n",
            ["2027-01-31T00:00:00Z", "2027-02-02T00:00:00Z", "2027-02-13T00:00:00Z"],
        ),
    ],
    ids=["steps within a second", "a million seconds apart"],
)
def test_each_stretch_of_time_has_a_later_date(tmp_path: Path, flag: str, moments: list[str]) -> None:
    found = payloads(tmp_path, flag, moments)

    dates = [one["dateUpdated"] for one in found]
    assert dates == sorted(set(dates))
    assert all(one["features"] != other["features"] for one, other in pairwise(found))


def test_workers_agree_on_the_date_within_a_stretch(tmp_path: Path) -> None:
    schedule = "schedule: {start: 2027-02-01T00:00Z}\n"

    one, other = payloads(tmp_path, schedule, ["2027-02-01T00:00:00Z", "2027-03-01T00:00:00Z"])

    assert one == other
