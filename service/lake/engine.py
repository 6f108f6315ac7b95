"""What an analysis asks of a database: the log up to one offset, and answers to questions about it."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any, Protocol

import ibis.expr.types as ir
import pyarrow as pa

from service.lake.columns import Wanted
from service.settings import SettingsError

ALWAYS = (-(2**63), 2**63 - 1)


class EngineError(SettingsError):
    """The engine that was chosen cannot be used here; the message says what it needs."""


class Engine(Protocol):
    """Tables of the log up to `offset`, all of it and nothing after, and whoever computes with them.

    Texts are ordered by their bytes in UTF-8; no sum of amounts overflows.
    """

    @property
    def name(self) -> str:
        """What OPPORTUNE_ENGINE calls it."""
        ...

    @property
    def offset(self) -> int:
        """The newest offset that it sees."""
        ...

    def exposures(self) -> ir.Table:
        """Return seq, experiment_key, phase, variant_key, unit_type, unit_id, occurred_us and source."""
        ...

    def events(self, wanted: Wanted, *, first_us: int = ALWAYS[0], last_us: int = ALWAYS[1]) -> ir.Table:
        """Return the events of the wanted types that occurred between two moments, both included.

        Columns: seq, type, user_id, anonymous_id, occurred_us; `wanted.fact(name)`, canonical JSON text, and
        `wanted.amount(name)`, micro-units; null where the event has none. An amount is an int64, or a
        decimal(19,0) where the engine's sums of int64 are no wider.
        """
        ...

    def links(self) -> ir.Table:
        """Return what events say about who is who: seq, type, user_id, anonymous_id, previous, occurred_us.

        Only rows that name a user, and beside the user a visitor or the id it had before.
        """
        ...

    def people(self) -> ir.Table:
        """Return one row per visitor who is known to be a user: anonymous_id and person. Computed once."""
        ...

    def rows(self, expression: ir.Table) -> list[dict[str, Any]]:
        """Return an answer that is small."""
        ...

    def batches(self, expression: ir.Table) -> Iterable[pa.RecordBatch]:
        """Return an answer that is too large to become Python objects all at once."""
        ...

    def kept(self, expression: ir.Table) -> AbstractContextManager[ir.Table]:
        """Compute a table once, for several questions about it; forget it at the end of the block."""
        ...
