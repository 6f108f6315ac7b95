"""The one row that every worker polls: what it says, and how a change of what is served moves its version."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from types import MappingProxyType

from sqlalchemy import Connection, Row, select

from service.clock import from_micros, to_micros
from service.storage import schema
from service.storage.analysis_records import Steering
from service.storage.dialects import upsert
from service.storage.records import LiveState
from service.storage.rows import from_json, to_json


def live_state_of(row: Row[tuple[object, ...]] | None) -> LiveState:
    """Return what the row says; None is a store in which nothing was ever served."""
    if row is None:
        return LiveState(version=0, revision=0, killed=frozenset(), model="")
    return LiveState(
        version=row.version,
        revision=row.revision,
        killed=frozenset(from_json(row.killed)),
        model=row.model,
        steering=steering_in(row.steering or "[]"),
    )


def bump(connection: Connection, tenant: str, **changes: int | str) -> None:
    """Change the live pointer of a tenant and let its version grow; the caller is inside a write."""
    table = schema.live_state
    first = {"revision": 0, "model": "", "killed": "[]", **changes}
    connection.execute(
        upsert(connection, table)
        .values(tenant=tenant, version=1, **first)
        .on_conflict_do_update(index_elements=["tenant"], set_={"version": table.c.version + 1, **changes})
    )


def write_killed(
    connection: Connection, tenant: str, key: str, *, killed: bool, by: str, now: datetime
) -> None:
    """Kill or revive one flag or experiment; the caller is inside a write."""
    table = schema.kill_switch
    changes = {"killed": int(killed), "changed_by": by, "changed_us": to_micros(now)}
    connection.execute(
        upsert(connection, table)
        .values(tenant=tenant, key=key, **changes)
        .on_conflict_do_update(index_elements=["tenant", "key"], set_=changes)
    )
    on = select(table.c.key).where(table.c.tenant == tenant, table.c.killed == 1).order_by(table.c.key)
    bump(connection, tenant, killed=to_json(list(connection.execute(on).scalars())))


def steering_text(steerings: Iterable[Steering]) -> str:
    """Return what is decided about phases as JSON: a list for each, in the order of its attributes."""
    return to_json(
        [
            [
                one.experiment,
                one.phase,
                one.shipped,
                one.ramp_steps,
                one.ramp_share_bp,
                _micros(one.shipped_since),
                _micros(one.shipped_until),
                one.changed_by,
                _micros(one.changed_at),
            ]
            for one in steerings
        ]
    )


def steering_in(text: str) -> Mapping[tuple[str, int], Steering]:
    """Return the phases of `steering_text`, by experiment and phase."""
    found = {}
    for one in from_json(text):
        experiment, phase, shipped, steps, share_bp, since_us, until_us, changed_by, changed_us = one
        found[experiment, phase] = Steering(
            experiment=experiment,
            phase=phase,
            shipped=shipped,
            ramp_steps=steps,
            ramp_share_bp=share_bp,
            shipped_since=_moment(since_us),
            shipped_until=_moment(until_us),
            changed_by=changed_by,
            changed_at=_moment(changed_us),
        )
    return MappingProxyType(found)


def _micros(moment: datetime | None) -> int | None:
    return None if moment is None else to_micros(moment)


def _moment(micros: int | None) -> datetime | None:
    return None if micros is None else from_micros(micros)
