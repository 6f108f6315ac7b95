"""Messages on their way to other systems: written with their cause, taken by one sender at a time."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Update,
    case,
    delete,
    exists,
    func,
    or_,
    select,
    update,
)

from service.clock import from_micros, to_micros
from service.storage import schema
from service.storage.analysis_records import OutboxMessage
from service.storage.control import Connections
from service.storage.dialects import upsert
from service.storage.paging import PAGE_ROWS

GONE = "gone: the endpoint answered 410"
"""The problem of messages to an endpoint that wants no more; new ones to it are not sent while one has it."""


class SqlOutbox:
    """The Outbox port."""

    def put_messages(self: Connections, messages: Sequence[OutboxMessage]) -> None:
        """Put messages by themselves; an id that is there for the same endpoint stays as it is."""
        with self.writing() as connection:
            write_messages(connection, self.tenant, messages)

    def take_messages(
        self: Connections, *, now: datetime, until: datetime, limit: int
    ) -> Sequence[OutboxMessage]:
        """Return messages that are due, oldest first, and keep them from other senders until `until`."""
        table = schema.outbox
        due = (
            select(table)
            .where(table.c.tenant == self.tenant, table.c.next_us <= to_micros(now))
            .order_by(table.c.next_us, table.c.created_us, table.c.message_id)
            .limit(limit)
        )
        with self.reading() as connection:
            if connection.execute(due.limit(1)).first() is None:
                return []
        with self.writing() as connection:
            taken = [_message(row) for row in connection.execute(due)]
            for message in taken:
                connection.execute(_of(self.tenant, message).values(next_us=to_micros(until)))
        return taken

    def settle_message(self: Connections, message: OutboxMessage) -> None:
        """Write down what came of an attempt; what was delivered stays delivered."""
        table = schema.outbox
        with self.writing() as connection:
            connection.execute(
                _of(self.tenant, message)
                .where(table.c.delivered_us.is_(None))
                .values(
                    attempts=message.attempts,
                    next_us=_micros(message.next_at),
                    delivered_us=_micros(message.delivered_at),
                    problem=message.problem,
                )
            )

    def disable_endpoint(self: Connections, endpoint: str) -> int:
        """Give up every message that waits for an endpoint which is gone; return how many those were."""
        table = schema.outbox
        waiting = (table.c.tenant == self.tenant, table.c.endpoint == endpoint, table.c.next_us.is_not(None))
        with self.writing() as connection:
            return connection.execute(
                update(table).where(*waiting).values(next_us=None, problem=GONE)
            ).rowcount

    def enable_endpoint(self: Connections, endpoint: str, *, now: datetime) -> int:
        """Send to an endpoint again, beginning with what was held back; return how many those were."""
        table = schema.outbox
        with self.writing() as connection:
            return connection.execute(
                update(table)
                .where(*_gone(self.tenant), table.c.endpoint == endpoint)
                .values(next_us=to_micros(now), problem="", attempts=0)
            ).rowcount

    def retry_message(self: Connections, message_id: str, *, now: datetime) -> int:
        """Make a message due now that was not delivered, to each of its endpoints; return how many."""
        table = schema.outbox
        with self.writing() as connection:
            return connection.execute(
                update(table)
                .where(
                    table.c.tenant == self.tenant,
                    table.c.message_id == message_id,
                    table.c.delivered_us.is_(None),
                )
                .values(next_us=to_micros(now), attempts=0)
            ).rowcount

    def messages(self: Connections, *, endpoint: str = "", limit: int = 100) -> Sequence[OutboxMessage]:
        """Return up to `limit` newest messages, newest first."""
        table = schema.outbox
        query = select(table).where(table.c.tenant == self.tenant)
        if endpoint:
            query = query.where(table.c.endpoint == endpoint)
        newest = (table.c.created_us.desc(), table.c.message_id, table.c.endpoint)
        with self.reading() as connection:
            return [_message(row) for row in connection.execute(query.order_by(*newest).limit(limit))]

    def outbox_counts(self: Connections) -> Mapping[str, int]:
        """Return how many messages were ``delivered``, are ``waiting``, and were ``given_up``."""
        table = schema.outbox
        state = case(
            (table.c.delivered_us.is_not(None), "delivered"),
            (table.c.next_us.is_not(None), "waiting"),
            else_="given_up",
        )
        query = select(state, func.count()).where(table.c.tenant == self.tenant).group_by(state)
        with self.reading() as connection:
            found = {name: int(n) for name, n in connection.execute(query)}
        return {name: found.get(name, 0) for name in ("delivered", "waiting", "given_up")}


def write_messages(connection: Connection, tenant: str, messages: Sequence[OutboxMessage]) -> None:
    """Do `put_messages` inside the caller's write; to an endpoint that is gone they are held back."""
    table = schema.outbox
    query = select(table.c.endpoint).where(*_gone(tenant)).distinct()
    gone = set(connection.execute(query).scalars()) if messages else set()
    for message in messages:
        is_gone = message.endpoint in gone
        connection.execute(
            upsert(connection, table)
            .values(
                tenant=tenant,
                message_id=message.message_id,
                endpoint=message.endpoint,
                payload=message.payload,
                created_us=to_micros(message.created_at),
                attempts=message.attempts,
                next_us=None if is_gone else _micros(message.next_at),
                delivered_us=_micros(message.delivered_at),
                problem=GONE if is_gone else message.problem,
            )
            .on_conflict_do_nothing()
        )


def prune_messages(store: Connections, *, before_us: int) -> int:
    """Delete messages of before that moment that wait for nothing; return how many.

    The newest that an endpoint which is gone was not sent stays: by it is known that the endpoint is gone.
    """
    table, newer = schema.outbox, schema.outbox.alias()
    is_known_gone = exists().where(
        newer.c.tenant == table.c.tenant,
        newer.c.endpoint == table.c.endpoint,
        newer.c.delivered_us.is_(None),
        newer.c.next_us.is_(None),
        newer.c.problem == GONE,
        newer.c.created_us > table.c.created_us,
    )
    old = (
        table.c.tenant == store.tenant,
        table.c.created_us < before_us,
        table.c.next_us.is_(None),
        or_(table.c.delivered_us.is_not(None), table.c.problem != GONE, is_known_gone),
    )
    names = select(table.c.message_id).where(*old).distinct().limit(PAGE_ROWS)
    deleted = 0
    while True:
        with store.writing() as connection:
            page = connection.execute(names).scalars().all()
            if not page:
                return deleted
            deleted += connection.execute(delete(table).where(*old, table.c.message_id.in_(page))).rowcount


def _gone(tenant: str) -> tuple[ColumnElement[bool], ...]:
    table = schema.outbox
    return (
        table.c.tenant == tenant,
        table.c.delivered_us.is_(None),
        table.c.next_us.is_(None),
        table.c.problem == GONE,
    )


def _of(tenant: str, message: OutboxMessage) -> Update:
    table = schema.outbox
    return update(table).where(
        table.c.tenant == tenant,
        table.c.message_id == message.message_id,
        table.c.endpoint == message.endpoint,
    )


def _micros(moment: datetime | None) -> int | None:
    return None if moment is None else to_micros(moment)


def _moment(micros: int | None) -> datetime | None:
    return None if micros is None else from_micros(micros)


def _message(row: Row[tuple[object, ...]]) -> OutboxMessage:
    return OutboxMessage(
        message_id=row.message_id,
        endpoint=row.endpoint,
        payload=row.payload,
        created_at=from_micros(row.created_us),
        attempts=row.attempts,
        next_at=_moment(row.next_us),
        delivered_at=_moment(row.delivered_us),
        problem=row.problem,
    )
