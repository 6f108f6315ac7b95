"""What goes live was reviewed against what was live, also long ago or a moment ago, and can be compiled."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from service.catalog import CatalogError
from service.catalog.compiling import check_compiles, load_to_serve
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


SCHEDULED = BANNER + "schedule: {start: 2027-02-01T00:00Z}\n"
OTHERS = {"m.yaml": METRICS, "f.yaml": FLAGS.format(10)}


@pytest.mark.parametrize(
    "waiting",
    [SCHEDULED, SCHEDULED + "status: scheduled\n", BANNER + "ramp: [{at: 2027-02-01T00:00Z, share: 5%}]\n"],
)
def test_a_key_that_was_withdrawn_before_it_began_is_free(store: Overtaken, waiting: str) -> None:
    apply(store, {**OTHERS, "e.yaml": waiting}, by="us", now=NOW)
    apply(store, OTHERS, by="us", now=NOW)

    another = BANNER.replace("Free", "Gratis") + "unit: user_id\n"
    assert apply(store, {**OTHERS, "e.yaml": another}, by="us", now=NOW + timedelta(days=90)).changed


def test_a_key_that_had_begun_when_it_was_withdrawn_is_taken(store: Overtaken) -> None:
    late = datetime(2027, 2, 2, tzinfo=UTC)
    apply(store, {**OTHERS, "e.yaml": SCHEDULED}, by="us", now=NOW)
    apply(store, {**OTHERS, "e.yaml": SCHEDULED + "status: stopped\n"}, by="us", now=late)
    apply(store, OTHERS, by="us", now=late)

    with pytest.raises(BlockedError, match="never used again"):
        apply(store, {**OTHERS, "e.yaml": BANNER}, by="us", now=late)


def test_what_no_worker_can_compile_is_told_where_it_is() -> None:
    flags = "flags:\n  far: {audience: {audience: near}}\n  needs: {prerequisites: {far: true}}\n"
    files = {"a.yaml": flags + "audiences: {near: {country: ES}}\n"}
    loaded = load_to_serve(files)

    with pytest.raises(CatalogError) as caught:
        check_compiles(files, replace(loaded.catalog, audiences={}))

    assert [(f.path, f.line, f.code, f.message) for f in caught.value.findings] == [
        ("a.yaml", 2, "E207", "far: there is no audience 'near'")
    ]
