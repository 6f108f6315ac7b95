"""How batches that come together become one commit, and that nobody waits for company that does not come."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing

import pytest
from sqlalchemy import Connection

from service.storage.commit import GROUP_ROWS, LINGER_FROM, EncodedBatch, GroupCommitter, Linger
from service.storage.engine import T
from service.storage.ports import IngestBatch
from service.storage.records import AppendStatus
from service.storage.rows import encode
from service.storage.sql import SqlStore
from service.storage.sqlite import SqliteDatabase
from service.storage.writers import SqliteWriter
from tests.service.storage.facts import an_event, file_of

FOR_EVER_S = 600.0


class Counting(SqliteDatabase):
    """A database that counts its commits."""

    commits = 0

    def write(self, work: Callable[[Connection], T]) -> T:
        self.commits += 1
        return super().write(work)


@pytest.fixture
def database(sqlite_store: SqlStore) -> Iterator[Counting]:
    with closing(Counting(file_of(sqlite_store))) as database:
        yield database


def committer(database: Counting, *, quiet_s: float, most_s: float = FOR_EVER_S) -> GroupCommitter:
    return GroupCommitter(database, SqliteWriter(), linger=Linger(most_s=most_s, quiet_s=quiet_s))


def one(name: str) -> EncodedBatch:
    return encode(IngestBatch(events=[an_event(name)]), tenant="default")


def a_group(
    of: GroupCommitter, database: Counting, names: Sequence[str]
) -> list["Future[Sequence[AppendStatus]]"]:
    """Submit batches while another writer has the turn, so that they are one group."""
    with database.lock.held():
        return [of.submit(one(name)) for name in names]


def test_a_group_waits_for_as_many_as_were_in_flight(database: Counting) -> None:
    with closing(committer(database, quiet_s=FOR_EVER_S)) as writer:
        for future in a_group(writer, database, "abcd"):
            future.result()
        before = database.commits

        together = [writer.submit(one(name)) for name in "efgh"]

        assert [future.result() for future in together] == [[AppendStatus.ACCEPTED]] * LINGER_FROM
        assert database.commits - before == 1


def test_with_few_in_flight_nobody_waits(database: Counting) -> None:
    with closing(committer(database, quiet_s=FOR_EVER_S)) as writer:
        for future in a_group(writer, database, "abc"):
            future.result()

        assert writer.append(one("d")) == [AppendStatus.ACCEPTED]


@pytest.mark.parametrize(("quiet_s", "most_s"), [(0.001, FOR_EVER_S), (FOR_EVER_S, 0.001)])
def test_nobody_waits_for_company_that_does_not_come(
    database: Counting, quiet_s: float, most_s: float
) -> None:
    with closing(committer(database, quiet_s=quiet_s, most_s=most_s)) as writer:
        for future in a_group(writer, database, "abcdef"):
            future.result()

        assert writer.append(one("g")) == [AppendStatus.ACCEPTED]


def test_nobody_waits_for_what_would_not_fit_into_the_group(database: Counting) -> None:
    with closing(committer(database, quiet_s=FOR_EVER_S)) as writer:
        for future in a_group(writer, database, "abcdef"):
            future.result()
        half = encode(
            IngestBatch(events=[an_event(f"h{n}") for n in range(GROUP_ROWS // 2)]), tenant="default"
        )

        assert set(writer.append(half)) == {AppendStatus.ACCEPTED}


def test_closing_ends_the_wait(database: Counting) -> None:
    writer = committer(database, quiet_s=FOR_EVER_S)
    for future in a_group(writer, database, "abcdef"):
        future.result()
    alone = writer.submit(one("g"))

    assert writer.close()

    assert alone.result() == [AppendStatus.ACCEPTED]
