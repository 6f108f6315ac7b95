"""A backup has one form on every database, so it comes back in the same kind or in the other."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from service.lake import export_all, read_manifest
from service.settings import Settings, load
from service.storage import schema
from service.storage.analysis_records import (
    Change,
    GoalValue,
    OutboxMessage,
    RecordedDecision,
)
from service.storage.migrate import migrate
from service.storage.ports import IngestBatch
from service.storage.records import Consent, IdentityLink, Item, KeyClass, Purpose, VerdictSnapshot
from service.storage.sql import SqlStore, open_store
from service.use_cases.archive import BackupError, check_restored
from service.use_cases.backup import back_up, restore
from tests.postgres import Cluster
from tests.service.storage.facts import a_bad_event, a_batch, a_slate, an_event

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
KINDS = ["sqlite", "postgresql"]


def settings_in(home: Path, kind: str, cluster: Cluster) -> Settings:
    url = {"OPPORTUNE_DATABASE_URL": cluster.new_database()} if kind == "postgresql" else {}
    return load({"OPPORTUNE_HOME": str(home), **url})


def fill(store: SqlStore) -> None:
    """Write something into every table, and erase the newest event."""
    store.append(
        IngestBatch(
            events=[an_event(f"e{n}") for n in range(20)],
            interactions=a_batch(*(an_event(f"e{n}") for n in range(20))).interactions,
            active=[("u:u1", "a:a1")] * 20,
            links=[[IdentityLink(from_id="a:a1", user_id="u1", linked_at=NOW, trust="server")]] * 20,
            quarantined=[a_bad_event('{"user_id":"ü\\u0000"}')],
            slates=[a_slate("s1", "u:u1")],
        )
    )
    store.append(a_batch(an_event("gone", user_id="gone", anonymous_id=None)))
    store.delete_person(["u:gone"], user_ids=[], anonymous_ids=[])
    store.put_items([Item(item_id="tea", fields={"title": "Tëa\t\n\\N"}, categories=("tea",))])
    store.add_revision({"a.yaml": "1"}, "d1", by="maria", now=NOW)
    store.set_killed("hero", killed=True, by="maria", now=NOW)
    store.set_live_model("m1", now=NOW)
    store.set_keys("web", {"aa": KeyClass.CLIENT}, now=NOW)
    store.put_sign_in("bb", KeyClass.ANALYST, expires_at=NOW)
    store.put_session("cc", KeyClass.ANALYST, expires_at=NOW)
    store.put_consents(
        [
            Consent(
                consent_id="c1",
                person_id="u:u1",
                purpose=Purpose.PERSONALIZATION,
                status="denied",
                decided_at=NOW,
                received_at=NOW,
                text_version="1",
                source="api",
                trust="server",
                proof="",
            )
        ]
    )
    store.put_verdict(
        VerdictSnapshot(
            experiment="x",
            phase=1,
            revision=1,
            log_offset=20,
            as_of=NOW,
            computed_at=NOW,
            digest="d",
            body='{"decision":"ship"}',
        )
    )
    decision = RecordedDecision(
        experiment="hero",
        phase=1,
        number=1,
        verdict=1,
        revision=1,
        decision="ship",
        variant="banner",
        rule="ship_when",
        action="ship",
        reason="Décidé",
        decided_at=NOW,
    )
    message = OutboxMessage(
        message_id="m1", endpoint="team", payload="{}", created_at=NOW, next_at=NOW, problem="away"
    )
    store.record_decision(Change(decision=decision, messages=(message,), ships="banner", ramp_steps=2))
    store.put_goal_values([GoalValue(goal="g", day="2026-11-21", digest="d", sums="[1]")])
    assert store.acquire_lease("export", holder="w1", ttl=timedelta(hours=1))


@pytest.fixture(params=KINDS)
def shop(request: pytest.FixtureRequest, tmp_path: Path, cluster: Cluster) -> Settings:
    """Give a home with something in every table and in the lake."""
    settings = settings_in(tmp_path / "shop", request.param, cluster)
    migrate(settings.database_url)
    store = open_store(settings)
    fill(store)
    export_all(store, settings.home / "lake")
    store.close()
    return settings


def rows_of(settings: Settings) -> dict[str, list[tuple[object, ...]]]:
    store = open_store(settings)
    with store.reading() as connection:
        rows = {
            table.name: sorted((tuple(row) for row in connection.execute(select(table))), key=repr)
            for table in schema.metadata.sorted_tables
        }
    store.close()
    return rows


@pytest.mark.parametrize("kind", KINDS)
def test_a_backup_comes_back_whole_in_either_kind_of_database(
    shop: Settings, tmp_path: Path, cluster: Cluster, kind: str
) -> None:
    made = back_up(shop, tmp_path / "b.tar.gz", now=NOW)
    other = settings_in(tmp_path / "other", kind, cluster)

    restored = restore(other, tmp_path / "b.tar.gz", now=NOW + timedelta(days=1))

    before = rows_of(shop)
    assert all(before.values()), [name for name, rows in before.items() if not rows]
    assert rows_of(other) == before
    assert made.log_offset == restored.log_offset == read_manifest(other.lake).offset == 20
    store = open_store(other)
    assert store.live_state().steering["hero", 1].shipped == "banner", "workers are told of it"
    store.append(a_batch(an_event("new")))
    assert store.last_seq() > 21, "the offset of an erased event is not used again"
    store.close()


def test_rows_are_only_replaced_when_told_and_then_kept(
    tmp_path: Path, cluster: Cluster, shop: Settings
) -> None:
    back_up(shop, tmp_path / "b.tar.gz", now=NOW)
    other = settings_in(tmp_path / "other", "postgresql", cluster)
    store = open_store(other)
    store.append(a_batch(an_event("mine")))

    with pytest.raises(BackupError, match="in use"):
        restore(other, tmp_path / "b.tar.gz", now=NOW, replace=True)
    store.close()
    with pytest.raises(BackupError, match=r"there is data already \(the database test_\d+ on 127\.0\.0\.1\)"):
        restore(other, tmp_path / "b.tar.gz", now=NOW)
    assert [row[2] for row in rows_of(other)["event"]] == ["mine"]
    restore(other, tmp_path / "b.tar.gz", now=NOW, replace=True)

    assert rows_of(other) == rows_of(shop)
    (aside,) = other.home.glob("before-restore-*")
    assert [row[2] for row in rows_of(load({"OPPORTUNE_HOME": str(aside)}))["event"]] == ["mine"]


KILLED = """
import os, shutil, sys
from datetime import UTC, datetime
from pathlib import Path
from service.settings import load
from service.use_cases import backup
left, true_move = int(sys.argv[4]), shutil.move
def move(*names):
    global left
    if left == 0:
        os.kill(os.getpid(), 9)
    left -= 1
    return true_move(*names)
backup.shutil.move = move
settings = load({"OPPORTUNE_HOME": sys.argv[1], "OPPORTUNE_DATABASE_URL": sys.argv[2]})
backup.restore(settings, Path(sys.argv[3]), now=datetime.now(UTC), replace=True)
"""


@pytest.mark.parametrize("moves", [0, 1])
def test_a_killed_restore_into_postgresql_is_finished_by_another_one(
    tmp_path: Path, cluster: Cluster, moves: int
) -> None:
    shop, other = (settings_in(tmp_path / name, "postgresql", cluster) for name in ("shop", "other"))
    for settings, event_id in ((shop, "theirs"), (other, "mine")):
        store = open_store(settings)
        store.append(a_batch(an_event(event_id)))
        export_all(store, settings.home / "lake")
        store.close()
    back_up(shop, tmp_path / "b.tar.gz", now=NOW)
    words = [str(other.home), other.database_url, str(tmp_path / "b.tar.gz"), str(moves)]
    assert subprocess.run([sys.executable, "-c", KILLED, *words], check=False).returncode == -9

    with pytest.raises(BackupError, match="interrupted"):
        check_restored(other.home)
    restore(other, tmp_path / "b.tar.gz", now=NOW)

    assert rows_of(other) == rows_of(shop)
    (aside,) = other.home.glob("before-restore-*")
    assert [row[2] for row in rows_of(load({"OPPORTUNE_HOME": str(aside)}))["event"]] == ["mine"]
