"""Catalog revisions, kill switches, keys and sessions in SQL."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

from sqlalchemy import Connection, Row, Table, insert, or_, select, update

from service.clock import from_micros, to_micros
from service.storage import schema
from service.storage.dialects import upsert
from service.storage.live import bump, live_state_of, write_killed
from service.storage.ports import RevisionMovedError
from service.storage.records import KeyClass, LiveState, StoredKey, StoredRevision
from service.storage.rows import from_json, to_json
from service.storage.writers import Writer


class Connections(Protocol):
    """Where the mixins below get their connections from."""

    tenant: str
    swept: dict[str, tuple[int, str]]
    """By table, the part and person up to whom old rows were swept out; the next sweep goes on there."""

    @property
    def writer(self) -> Writer:
        """Return what rows are written with."""
        ...

    def reading(self) -> AbstractContextManager[Connection]:
        """Give a short read transaction."""
        ...

    def writing(self) -> AbstractContextManager[Connection]:
        """Give the writer's turn."""
        ...


class SqlControl:
    """The Control port; every change of what workers serve bumps `live_state.version`."""

    def live_state(self: Connections) -> LiveState:
        """Return the pointer that workers poll: one row read."""
        table = schema.live_state
        with self.reading() as connection:
            row = connection.execute(select(table).where(table.c.tenant == self.tenant)).first()
        return live_state_of(row)

    def add_revision(
        self: Connections,
        files: Mapping[str, str],
        digest: str,
        *,
        by: str,
        now: datetime,
        expected: int | None = None,
    ) -> int:
        """Store a new immutable revision and make it live; the live digest again changes nothing."""
        table = schema.catalog_revision
        with self.writing() as connection:
            live = connection.execute(
                select(table.c.revision, table.c.digest)
                .where(table.c.tenant == self.tenant)
                .order_by(table.c.revision.desc())
                .limit(1)
            ).first()
            if live is not None and live.digest == digest:
                return int(live.revision)
            newest = 0 if live is None else int(live.revision)
            if expected is not None and expected != newest:
                raise RevisionMovedError(expected=expected, live=newest)
            number = newest + 1
            connection.execute(
                update(table)
                .where(table.c.tenant == self.tenant, table.c.superseded_us.is_(None))
                .values(superseded_us=to_micros(now))
            )
            connection.execute(
                insert(table).values(
                    tenant=self.tenant,
                    revision=number,
                    digest=digest,
                    files=to_json(files),
                    applied_us=to_micros(now),
                    applied_by=by,
                )
            )
            bump(connection, self.tenant, revision=number)
        return number

    def revision(self: Connections, number: int) -> StoredRevision | None:
        """Return one revision, or None."""
        table = schema.catalog_revision
        query = select(table).where(table.c.tenant == self.tenant, table.c.revision == number)
        with self.reading() as connection:
            row = connection.execute(query).first()
        return None if row is None else _revision(row)

    def revisions_since(self: Connections, moment: datetime) -> Sequence[StoredRevision]:
        """Return the revisions that were live at any time since `moment`, newest first."""
        table = schema.catalog_revision
        query = (
            select(table)
            .where(
                table.c.tenant == self.tenant,
                or_(table.c.superseded_us.is_(None), table.c.superseded_us > to_micros(moment)),
            )
            .order_by(table.c.revision.desc())
        )
        with self.reading() as connection:
            return [_revision(row) for row in connection.execute(query)]

    def set_killed(self: Connections, key: str, *, killed: bool, by: str, now: datetime) -> None:
        """Kill or revive one flag or experiment; ``*`` is all of them."""
        with self.writing() as connection:
            write_killed(connection, self.tenant, key, killed=killed, by=by, now=now)

    def set_live_model(self: Connections, version: str, *, now: datetime) -> None:
        """Name the model directory that serves."""
        with self.writing() as connection:
            bump(connection, self.tenant, model=version, model_since_us=to_micros(now))

    def set_keys(self: Connections, label: str, valid: Mapping[str, KeyClass], *, now: datetime) -> None:
        """Make `valid` (hash -> class) the only keys that carry `label`; the others are revoked."""
        table = schema.api_key
        mine = (table.c.tenant == self.tenant, table.c.label == label)
        with self.writing() as connection:
            live = set(
                connection.execute(
                    select(table.c.sha256).where(*mine, table.c.revoked_us.is_(None))
                ).scalars()
            )
            if live == set(valid):
                return
            gone = sorted(live - set(valid))
            connection.execute(
                update(table).where(*mine, table.c.sha256.in_(gone)).values(revoked_us=to_micros(now))
            )
            for sha256, key_class in valid.items():
                row = {"key_class": key_class.value, "label": label, "revoked_us": None}
                connection.execute(
                    upsert(connection, table)
                    .values(tenant=self.tenant, sha256=sha256, created_us=to_micros(now), **row)
                    .on_conflict_do_update(index_elements=["tenant", "sha256"], set_=row)
                )
            bump(connection, self.tenant)

    def keys(self: Connections) -> Sequence[StoredKey]:
        """Return all keys that are valid."""
        table = schema.api_key
        query = select(table).where(table.c.tenant == self.tenant, table.c.revoked_us.is_(None))
        with self.reading() as connection:
            rows = connection.execute(query.order_by(table.c.created_us, table.c.sha256)).all()
        return [
            StoredKey(
                sha256=row.sha256,
                key_class=KeyClass(row.key_class),
                label=row.label,
                created_at=from_micros(row.created_us),
            )
            for row in rows
        ]

    def put_sign_in(self: Connections, sha256: str, key_class: KeyClass, *, expires_at: datetime) -> None:
        """Store the hash of a one-time sign-in token."""
        with self.writing() as connection:
            _put_secret(connection, schema.sign_in, self.tenant, (sha256, key_class, expires_at))

    def use_sign_in(self: Connections, sha256: str, *, now: datetime) -> KeyClass | None:
        """Spend a one-time token: its class the first time before it expires, None ever after."""
        table = schema.sign_in
        mine = (table.c.tenant == self.tenant, table.c.sha256 == sha256)
        moment = to_micros(now)
        with self.writing() as connection:
            spent = connection.execute(
                update(table)
                .where(*mine, table.c.used_us.is_(None), table.c.expires_us > moment)
                .values(used_us=moment)
            ).rowcount
            row = connection.execute(select(table.c.key_class).where(*mine)).first() if spent else None
        return None if row is None else KeyClass(row.key_class)

    def put_session(self: Connections, sha256: str, key_class: KeyClass, *, expires_at: datetime) -> None:
        """Store the hash of a session cookie."""
        with self.writing() as connection:
            _put_secret(connection, schema.session, self.tenant, (sha256, key_class, expires_at))

    def session(self: Connections, sha256: str, *, now: datetime) -> KeyClass | None:
        """Return the class of a live session, or None."""
        table = schema.session
        query = select(table.c.key_class).where(
            table.c.tenant == self.tenant, table.c.sha256 == sha256, table.c.expires_us > to_micros(now)
        )
        with self.reading() as connection:
            row = connection.execute(query).first()
        return None if row is None else KeyClass(row.key_class)


def _put_secret(
    connection: Connection, table: Table, tenant: str, secret: tuple[str, KeyClass, datetime]
) -> None:
    sha256, key_class, expires_at = secret
    connection.execute(
        upsert(connection, table)
        .values(tenant=tenant, sha256=sha256, key_class=key_class.value, expires_us=to_micros(expires_at))
        .on_conflict_do_nothing()
    )


def _revision(row: Row[tuple[object, ...]]) -> StoredRevision:
    return StoredRevision(
        revision=row.revision,
        digest=row.digest,
        files=from_json(row.files),
        applied_at=from_micros(row.applied_us),
        applied_by=row.applied_by,
    )
