"""PostgreSQL in place: the events are read where they were written, without a lake.

Every statement sees the log as it was when the engine was opened, up to the offset below which nothing can
appear any more. Properties are JSON text there: functions of the session turn one of them into the very text
and the very number of micro-units that an export would have written.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any

import ibis
import ibis.expr.types as ir
import psycopg
import pyarrow as pa
from ibis.backends.postgres import Backend
from psycopg import sql
from psycopg.rows import dict_row
from sqlalchemy import URL

from experiments.kinds import MAX_AMOUNT
from experiments.moments import SCALE
from service.lake.columns import Wanted
from service.lake.contamination import people_of
from service.lake.engine import ALWAYS
from service.lake.engines.links import links_of
from service.storage.interactions import EXPOSURE_EVENT
from service.storage.postgres import PostgresDatabase
from service.storage.records import DEFAULT_TENANT

NAME = "postgresql"
BATCH_ROWS = 100_000
EVENT_COLUMNS = ("seq", "type", "user_id", "anonymous_id", "occurred_us")

# Python's `int(value)` has all digits of a float beyond 2^53, PostgreSQL's cast 15 of them; Python writes
# 1234567890123456.5, PostgreSQL writes it with an exponent; both write the fewest digits that tell the float.
FUNCTIONS = f"""
CREATE FUNCTION pg_temp.written(float8) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE
    WHEN $1 <> trunc($1) AND abs($1) < 1e-4 THEN $1::text
    WHEN $1 <> trunc($1) THEN $1::text::numeric::text
    WHEN abs($1) < 9007199254740992 THEN $1::bigint::text
    ELSE (
      SELECT (($1 / power(2::float8, n))::bigint * round(power(2::numeric, n)))::text
      FROM (SELECT floor(ln(abs($1)) / ln(2::float8))::int - 53 AS n) AS exponent
    ) END $$;
CREATE FUNCTION pg_temp.fact(json) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE json_typeof($1)
    WHEN 'string' THEN to_json($1 #>> '{{}}')::text
    WHEN 'number' THEN CASE
      WHEN $1::text ~ '[.eE]' THEN pg_temp.written($1::text::float8)
      ELSE $1::text::numeric::text END
    WHEN 'boolean' THEN $1::text
    WHEN 'null' THEN 'null' END $$;
CREATE FUNCTION pg_temp.half_even(numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS $$
  SELECT floor($1) + CASE
    WHEN $1 - floor($1) < 0.5 THEN 0
    WHEN $1 - floor($1) > 0.5 THEN 1
    ELSE mod(abs(floor($1)), 2) END $$;
CREATE FUNCTION pg_temp.amount(json) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN json_typeof($1) = 'number' THEN greatest(-{MAX_AMOUNT}, least({MAX_AMOUNT},
    pg_temp.half_even({SCALE} * CASE
      WHEN $1::text ~ '[.eE]' THEN $1::text::float8::text::numeric
      ELSE $1::text::numeric END)))::bigint END $$;
"""  # noqa: S608 - all of it is ours


class PostgreSQLEngine:
    """The log of one tenant at one offset; made by `open_postgresql`."""

    name = NAME

    def __init__(self, connection: psycopg.Connection[Any], *, tenant: str, offset: int) -> None:
        self.offset = offset
        self._driver = connection
        self._tenant = tenant
        self._backend: Backend = ibis.postgres.from_connection(connection)
        self._numbers = count()
        self._people: ir.Table | None = None
        self._driver.execute(FUNCTIONS)

    def exposures(self) -> ir.Table:
        """Return all exposures."""
        texts = [
            sql.SQL("""coalesce({} ->> {}, '') COLLATE "C" AS {}""").format(_JSON, name, sql.Identifier(name))
            for name in ("experiment_key", "variant_key", "unit_type", "unit_id")
        ]
        phase = sql.SQL(
            "CASE WHEN {json} -> 'phase' IS NULL THEN 1"
            " WHEN pg_temp.fact({json} -> 'phase') ~ '^-?[0-9]{{1,18}}$'"
            " THEN pg_temp.fact({json} -> 'phase')::bigint END AS phase"
        ).format(json=_JSON)
        own = [sql.Identifier(name) for name in ("seq", "occurred_us", "source")]
        return self._view([*own, *texts, phase], types=(EXPOSURE_EVENT,))

    def events(self, wanted: Wanted, *, first_us: int = ALWAYS[0], last_us: int = ALWAYS[1]) -> ir.Table:
        """Return the events between two moments with the wanted properties."""
        asked = [("fact", name, wanted.fact(name)) for name in wanted.facts]
        asked += [("amount", name, wanted.amount(name)) for name in wanted.amounts]
        properties = [
            sql.SQL("pg_temp.{}({} -> {}) AS {}").format(
                sql.Identifier(function), _JSON, sql.Literal(name), sql.Identifier(column)
            )
            for function, name, column in asked
        ]
        own = [sql.Identifier(name) for name in EVENT_COLUMNS]
        occurred = sql.SQL("occurred_us BETWEEN {} AND {}").format(first_us, last_us)
        always = (first_us, last_us) == ALWAYS
        return self._view([*own, *properties], types=wanted.types, where=[] if always else [occurred])

    def links(self) -> ir.Table:
        """Return what events say about who is who."""
        return links_of(self)

    def people(self) -> ir.Table:
        """Return who is known to be which user."""
        if self._people is None:
            self._people = self._backend.table(self._made("TABLE", self._compiled(people_of(self.links()))))
        return self._people

    def rows(self, expression: ir.Table) -> list[dict[str, Any]]:
        """Return a small answer."""
        with self._driver.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(self._compiled(expression)).fetchall()

    def batches(self, expression: ir.Table) -> Iterator[pa.RecordBatch]:
        """Return a large answer."""
        schema = expression.schema().to_pyarrow()
        with self._driver.cursor("batches", row_factory=dict_row) as cursor:
            cursor.execute(self._compiled(expression))
            while rows := cursor.fetchmany(BATCH_ROWS):
                yield pa.RecordBatch.from_pylist(rows, schema=schema)

    @contextmanager
    def kept(self, expression: ir.Table) -> Iterator[ir.Table]:
        """Compute a table once, for the length of the block."""
        name = self._made("TABLE", self._compiled(expression))
        yield self._backend.table(name)
        self._driver.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(name)))

    def _view(
        self, columns: Sequence[sql.Composable], *, types: Sequence[str], where: Sequence[sql.Composable] = ()
    ) -> ir.Table:
        mine = sql.SQL("tenant = {} AND seq <= {}").format(self._tenant, self.offset)
        of_types = [sql.SQL("type = ANY({})").format(sql.Literal(list(types)))] if types else []
        query = sql.SQL("SELECT {} FROM event WHERE {}").format(
            sql.SQL(", ").join(columns), sql.SQL(" AND ").join([mine, *of_types, *where])
        )
        return self._backend.table(self._made("VIEW", query))

    def _compiled(self, expression: ir.Table) -> sql.SQL:
        return sql.SQL(self._backend.compile(expression))

    def _made(self, kind: str, query: sql.Composable) -> str:
        name = f"opportune_{next(self._numbers)}"
        made = sql.SQL("CREATE TEMP {} {} AS {}").format(sql.SQL(kind), sql.Identifier(name), query)
        self._driver.execute(made)
        if kind == "TABLE":
            self._driver.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(name)))
        return name


_JSON = sql.SQL("properties::json")


@contextmanager
def open_postgresql(
    url: URL, *, upto: int | None = None, tenant: str = DEFAULT_TENANT
) -> Iterator[PostgreSQLEngine]:
    """Open the log of the database at `url`, of it only what is not newer than `upto`.

    Needs the right to make temporary tables there; nothing is left behind.
    """
    database = PostgresDatabase(url)
    try:
        horizon = database.horizon()
        with database.snapshot(scratch=True) as connection:
            driver: Any = connection.connection.driver_connection
            offset = horizon if upto is None else min(horizon, upto)
            yield PostgreSQLEngine(driver, tenant=tenant, offset=offset)
            connection.rollback()
    finally:
        database.close()
