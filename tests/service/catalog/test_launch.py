"""Two applies at once: what goes live was reviewed against what was live."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from service.settings import load as load_settings
from service.storage.migrate import migrate
from service.storage.ports import RevisionMovedError
from service.storage.sql import SqlStore
from service.use_cases.launch import BlockedError, apply

NOW = datetime(2027, 1, 10, tzinfo=UTC)
METRICS = "metrics:\n  purchase: {kind: conversion, event: Order Completed, window: 7d}\n"
BANNER = 'experiment: banner\nvariants: {control: "", b: Free}\nmetrics: {primary: purchase}\n'
FLAGS = "flag: dark\nallocation: {}%\n"


class Overtaken(SqlStore):
    """A store in which others apply, right before each of our first writes."""

    others: list[Mapping[str, str]]

    def add_revision(
        self, files: Mapping[str, str], digest: str, *, by: str, now: datetime, expected: int | None = None
    ) -> int:
        if self.others:
            super().add_revision(self.others.pop(0), f"{len(self.others)}", by="other", now=now)
        return super().add_revision(files, digest, by=by, now=now, expected=expected)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Overtaken]:
    settings = load_settings({"OPPORTUNE_HOME": str(tmp_path)})
    migrate(settings.database_url)
    made = Overtaken(tmp_path / "opportune.db")
    made.others = []
    yield made
    made.close()


def test_a_harmless_apply_that_is_overtaken_is_reviewed_again(store: Overtaken) -> None:
    store.others = [{"f.yaml": FLAGS.format(10)}]

    assert apply(store, {"f.yaml": FLAGS.format(20)}, by="us", now=NOW).revision == 2


def test_an_experiment_that_went_live_meanwhile_is_not_removed(store: Overtaken) -> None:
    store.others = [{"e.yaml": BANNER, "m.yaml": METRICS}]

    with pytest.raises(BlockedError, match="stop it before"):
        apply(store, {"f.yaml": FLAGS.format(20)}, by="us", now=NOW)

    assert store.live_state().revision == 1


def test_who_is_overtaken_twice_is_told(store: Overtaken) -> None:
    store.others = [{"f.yaml": FLAGS.format(10)}, {"f.yaml": FLAGS.format(30)}]

    with pytest.raises(RevisionMovedError):
        apply(store, {"f.yaml": FLAGS.format(20)}, by="us", now=NOW)
