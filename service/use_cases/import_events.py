"""Bring in events and items from files, under the rules of ingest, in batches that may be repeated."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from marshmallow import Schema, ValidationError, fields

from service.catalog.rules import DataRules
from service.clock import Clock
from service.storage.ports import Store
from service.storage.records import Item
from service.use_cases.exposures import ExposureBook, describe
from service.use_cases.import_files import ImportFileError, Progress, Row, read_rows
from service.use_cases.ingest import MAX_EVENTS, take_in
from service.use_cases.launch import live_catalog
from service.use_cases.terms import IMPORT, SERVER, Terms
from service.use_cases.wishes import Wishes
from service.wire import Identifier, Object, Truth

EXAMPLES = 5
CATEGORY_SEPARATOR = "|"


@dataclass(slots=True)
class ImportReport:
    """What an import did; `examples` says of the first few quarantined events what was wrong.

    `refused` are events of people who do not agree to it: nothing of them is stored.
    """

    accepted: int = 0
    duplicate: int = 0
    quarantined: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Return the number of events read."""
        return self.accepted + self.duplicate + self.refused + self.quarantined.total()


def import_events(
    store: Store, path: Path, *, separator: str = ",", clock: Clock, progress: Progress
) -> ImportReport:
    """Store the events of one file with the trust of a server key; repeating it after a stop is harmless.

    Raises
    ------
    ImportFileError
        If the file cannot be read to its end; the whole batches before that are stored.
    StoreUnavailableError
        If the store gives up; repeating the import goes on.
    """
    return store_rows(store, read_rows(path, separator=separator, progress=progress), clock=clock)


def store_rows(store: Store, events: Iterable[Row], *, clock: Clock) -> ImportReport:
    """Store events in batches, with the trust of a server key; return what became of them."""
    book, wishes = ExposureBook(), Wishes()
    report = ImportReport()
    live = live_catalog(store)
    rules = live.data if live else DataRules()
    try:
        for batch in _batches(events, MAX_EVENTS):
            terms = Terms(trust=SERVER, source=IMPORT, now=clock(), rules=rules)
            for result in take_in(store, book, batch, terms=terms, wishes=wishes):
                _count(report, result)
    except ImportFileError as error:
        raise ImportFileError(f"{str(error).strip().rstrip('.')}. {_before(report)}") from error
    return report


def _before(report: ImportReport) -> str:
    """Return what a file gave until it could not be read on."""
    if not report.total:
        return "Nothing was stored."
    refused = f", {report.refused} refused" if report.refused else ""
    return (
        f"The first {report.total} events were taken in: {report.accepted} accepted, "
        f"{report.duplicate} duplicate, {report.quarantined.total()} quarantined{refused}. "
        "Mend the file and import it again: what is stored is not stored twice."
    )


def import_items(store: Store, path: Path, *, separator: str = ",", progress: Progress) -> int:
    """Insert or replace the items of one file; return how many.

    Raises
    ------
    ImportFileError
        If a row is no item; the whole batches before it are stored.
    """
    written = 0
    for batch in _batches(
        read_rows(path, nested="fields", separator=separator, progress=progress), MAX_EVENTS
    ):
        written += store.put_items(
            [_item(row, f"{path}: item {written + n}") for n, row in enumerate(batch, 1)]
        )
    return written


class ItemSchema(Schema):
    """One item as a row of a file."""

    item_id = Identifier(required=True)
    categories = fields.List(Identifier(), load_default=list)
    active = Truth(load_default=True)
    fields_ = Object(data_key="fields", attribute="fields", load_default=dict)


_ITEM = ItemSchema()


def _item(row: Row, where: str) -> Item:
    cells = dict(row)
    if isinstance(cells.get("categories"), str):
        cells["categories"] = [c for c in cells["categories"].split(CATEGORY_SEPARATOR) if c]
    if isinstance(cells.get("active"), str):
        cells["active"] = {"true": True, "false": False}.get(cells["active"].lower(), cells["active"])
    try:
        loaded = _ITEM.load(cells)
    except ValidationError as error:
        raise ImportFileError(f"{where}: {describe(error)}") from error
    return Item(
        item_id=loaded["item_id"],
        fields=loaded["fields"],
        categories=tuple(loaded["categories"]),
        active=loaded["active"],
    )


def _count(report: ImportReport, result: dict[str, Any]) -> None:
    if result["status"] == "accepted":
        report.accepted += 1
    elif result["status"] == "duplicate":
        report.duplicate += 1
    elif result["status"] == "refused":
        report.refused += 1
    else:
        report.quarantined[result["reason"]] += 1
        if len(report.examples) < EXAMPLES:
            report.examples.append(
                f"{result['event_id'] or '(no id)'}: {result['reason']}: {result['detail']}"
            )


def _batches(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    rest = iter(rows)
    while batch := list(islice(rest, size)):
        yield batch
