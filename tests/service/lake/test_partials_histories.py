"""Kept rows that grow, against plain Python over the histories that every engine is held against."""

from pathlib import Path

import pytest

from service.clock import to_micros
from service.lake import erase, export_all
from service.lake import partials_tiers as tiers
from service.lake.partials import open_kept
from service.storage.ports import Store
from tests.service.lake.histories import UNTIL, History, history, told, told_by_hand
from tests.service.lake.logs import START, days, received
from tests.service.lake.test_engines import N_HISTORIES, SOURCE
from tests.service.lake.test_kinds import EXPERIMENT
from tests.service.use_cases.shops import a_store


def test_rows_that_grow_give_the_integers_of_plain_python_for_fifty_histories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Else a batch would be too large a part of so short a log, and all rows made again.
    monkeypatch.setattr(tiers, "NEW_SHARE", 1)
    for seed in range(N_HISTORIES):
        home, of = tmp_path / str(seed), history(seed)
        with a_store(home) as store:
            found = grown(of, store, home)

        assert found == told_by_hand(of.left(), of.metrics, source=SOURCE), seed


def grown(of: History, store: Store, home: Path) -> dict[str, object]:
    """Return the facts at the end of a history that was exported and judged in three parts."""
    end = len(of.events)
    for first, last in ((0, end // 2), (end // 2, of.erased_after), (of.erased_after, end)):
        if first == of.erased_after and of.erased:
            store.delete_person((), user_ids=(), anonymous_ids=of.erased)
            erase(home / "lake", user_ids=(), anonymous_ids=of.erased)
        for place in range(first, last, 50):
            batch = of.events[place : min(place + 50, last)]
            store.append(received(*batch, at=START + days(place % 3), source=SOURCE))
        export_all(store, home / "lake")
        with open_kept(home / "lake", home / "partials") as reader:
            facts = reader.kept_facts(EXPERIMENT, of.metrics, until_us=to_micros(UNTIL))
    return told(facts)
