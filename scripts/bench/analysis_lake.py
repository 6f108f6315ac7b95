"""A lake of a busy shop, written in the real format a part of a day at a time: exposures and orders.

Visitors are equally active and all signed in, one in ten on a second device of somebody else. Half of the
experiments are about users, half about visitors. A quarter of the orders come before the experiments begin:
there is a past to adjust for. One event in a hundred is late, by two days at most.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from scripts.bench.analysis_texts import joined, maps, numbered, prices, repeated, uuids
from service.clock import to_micros
from service.lake.manifest import (
    EVENTS,
    EXPOSURES,
    SCHEMAS,
    Manifest,
    commit,
    next_generation,
    read_manifest,
    write_table,
)

Whole = npt.NDArray[np.int64]

START = datetime(2027, 1, 1, tzinfo=UTC)
DAYS = 28
PAST_DAYS = 7
BY_USER = tuple(f"by-user-{number}" for number in range(5))
BY_VISITOR = tuple(f"by-visitor-{number}" for number in range(5))
EXPERIMENTS = BY_USER + BY_VISITOR
UNITS = ("user_id",) * len(BY_USER) + ("anonymous_id",) * len(BY_VISITOR)
VARIANTS = ("control", "treatment")
ORDERED, VIEWED = "Order Completed", "Experiment Viewed"
PART = 500_000
DAY_US = 86_400_000_000
LATE = 0.01
LATEST_US = 2 * DAY_US
CONFLICTING = 0.001
SHARED = 10
MICRO_PER_CENT = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """How much is made up: a third of the events are exposures, the others orders."""

    n_events: int
    n_units: int

    @classmethod
    def of(cls, n_events: int) -> "Shop":
        """Return the shop with thirty events for each visitor."""
        return cls(n_events=n_events, n_units=max(100, n_events // 30))


@dataclass(frozen=True, slots=True)
class _Rows:
    """Some events of one kind, in log order."""

    seqs: Whole
    units: Whole
    received_us: Whole


class Maker:
    """Makes events up, the same ones for the same shop."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._rng = np.random.default_rng(7)
        self._visitors = uuids(self._rng, shop.n_units)
        numbers = np.arange(shop.n_units)
        self._people = numbers - (numbers % SHARED == 1)
        self._users = numbered("user-", self._people)
        self._tilt = self._rng.integers(0, 2, (len(EXPERIMENTS), shop.n_units), dtype=np.int8)

    def fill(self, lake: Path) -> Manifest:
        """Write the whole lake."""
        lake.mkdir(parents=True, exist_ok=True)
        manifest = Manifest()
        for day in range(DAYS):
            for n_exposures, n_orders in self._parts(day):
                manifest = self._added(lake, manifest, day, n_exposures, n_orders)
        manifest = next_generation(manifest)
        commit(lake, manifest)
        return manifest

    def add(self, lake: Path, n: int) -> Manifest:
        """Append `n` new events to the last day, as an export would."""
        before = read_manifest(lake)
        manifest = next_generation(self._added(lake, before, DAYS - 1, n // 3, n - n // 3))
        commit(lake, manifest)
        return manifest

    def _parts(self, day: int) -> Iterator[tuple[int, int]]:
        n_exposures = self._shop.n_events // 3
        exposed = _share(n_exposures, day - PAST_DAYS, DAYS - PAST_DAYS) if day >= PAST_DAYS else 0
        orders = _share(self._shop.n_events - n_exposures, day, DAYS)
        n_parts = -(-(exposed + orders) // PART)
        for part in range(n_parts):
            yield _share(exposed, part, n_parts), _share(orders, part, n_parts)

    def _added(self, lake: Path, before: Manifest, day: int, n_exposures: int, n_orders: int) -> Manifest:
        rng, n = self._rng, n_exposures + n_orders
        seqs = before.offset + 1 + np.arange(n)
        received = to_micros(START) + day * DAY_US + np.sort(rng.integers(0, DAY_US, n))
        units = rng.integers(0, self._shop.n_units, n)
        is_exposure = np.zeros(n, bool)
        is_exposure[rng.permutation(n)[:n_exposures]] = True
        name, date = f"{seqs[0]:010d}", (START + timedelta(days=day)).date().isoformat()
        event_ids = uuids(rng, n)
        seen = _Rows(*(column[is_exposure] for column in (seqs, units, received)))
        ordered = _Rows(*(column[~is_exposure] for column in (seqs, units, received)))
        exposures, looks = self._exposures(seen, event_ids.filter(pa.array(is_exposure)))
        orders = self._orders(ordered, event_ids.filter(pa.array(~is_exposure)))
        files = [write_table(lake, EVENTS, date, name, pa.concat_tables([looks, orders]))]
        if n_exposures:
            files.append(write_table(lake, EXPOSURES, date, name, exposures))
        return replace(
            before,
            offset=int(seqs[-1]),
            anchor_seq=int(seqs[-1]),
            anchor_id=event_ids[-1].as_py(),
            files=(*before.files, *files),
        )

    def _occurred(self, rows: _Rows) -> Whole:
        n = len(rows.seqs)
        lag = self._rng.integers(0, 5_000_000, n)
        late = self._rng.random(n) < LATE
        lag[late] = self._rng.integers(0, LATEST_US, int(late.sum()))
        return rows.received_us - lag

    def _exposures(self, rows: _Rows, event_ids: pa.StringArray) -> tuple[pa.Table, pa.Table]:
        n, rng = len(rows.seqs), self._rng
        chosen = rng.integers(0, len(EXPERIMENTS), n)
        conflicts = rng.random(n) < CONFLICTING
        of_user = chosen < len(BY_USER)
        sides = self._tilt[chosen, np.where(of_user, self._people[rows.units], rows.units)] ^ conflicts
        keys, variants = (
            pa.array(names).take(pa.array(i)) for names, i in ((EXPERIMENTS, chosen), (VARIANTS, sides))
        )
        places, occurred = pa.array(rows.units), self._occurred(rows)
        unit_ids = pc.if_else(pa.array(of_user), self._users.take(places), self._visitors.take(places))
        unit_types = pa.array(UNITS).take(pa.array(chosen))
        told = {
            "experiment_key": _quoted(keys),
            "phase": repeated("1", n),
            "revision": repeated("1", n),
            "unit_id": _quoted(unit_ids),
            "unit_type": _quoted(unit_types),
            "variant_key": _quoted(variants),
        }
        amounts = {name: repeated(1_000_000, n) for name in ("phase", "revision")}
        columns = {
            "seq": rows.seqs,
            "experiment_key": keys,
            "phase": repeated(1, n),
            "variant_key": variants,
            "unit_type": unit_types,
            "unit_id": unit_ids,
            "occurred_us": occurred,
            "revision": repeated(1, n),
            "source": repeated("events", n),
        }
        exposures = pa.table(columns).cast(SCHEMAS[EXPOSURES])
        return exposures, self._events(VIEWED, rows, event_ids, occurred, (told, amounts))

    def _orders(self, rows: _Rows, event_ids: pa.StringArray) -> pa.Table:
        n = len(rows.seqs)
        cents = np.clip(np.exp(self._rng.normal(8.2, 0.7, n)), 100, 500_000).astype(np.int64)
        told = {
            "currency": repeated('"EUR"', n),
            "order_id": _quoted(numbered("order-", rows.seqs)),
            "revenue": prices(cents),
        }
        amounts = {"revenue": pa.array(cents * MICRO_PER_CENT)}
        return self._events(ORDERED, rows, event_ids, self._occurred(rows), (told, amounts))

    def _events(
        self,
        kind: str,
        rows: _Rows,
        event_ids: pa.StringArray,
        occurred: Whole,
        told: tuple[Mapping[str, pa.Array], Mapping[str, pa.Array]],
    ) -> pa.Table:
        n, (facts, amounts) = len(rows.seqs), told
        units = pa.array(rows.units)
        columns = {
            "seq": rows.seqs,
            "event_id": event_ids,
            "type": repeated(kind, n),
            "user_id": self._users.take(units),
            "anonymous_id": self._visitors.take(units),
            "occurred_us": occurred,
            "trust": repeated("server", n),
            "properties": _object(facts),
            "facts": maps(n, facts),
            "amounts": maps(n, amounts),
        }
        return pa.table(columns).cast(SCHEMAS[EVENTS])


def _share(n: int, part: int, n_parts: int) -> int:
    return n * (part + 1) // n_parts - n * part // n_parts


def _quoted(texts: pa.StringArray) -> pa.StringArray:
    return joined('"', texts, '"')


def _object(facts: Mapping[str, pa.Array]) -> pa.StringArray:
    members: Sequence[pa.StringArray | str] = [
        part for name, values in facts.items() for part in (f',"{name}":', values)
    ]
    first, *rest = members
    return joined(str(first).replace(",", "{", 1), *rest, "}")
