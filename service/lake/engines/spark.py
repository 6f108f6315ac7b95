"""Spark over the Parquet files of the lake: a session of this machine, or the cluster that it is pointed at.

Whole numbers of Spark are 64 bits wide in sums, too: amounts are decimals here, whose sums have room.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ibis
import ibis.expr.types as ir
import pyarrow as pa

from service.lake.columns import Wanted
from service.lake.contamination import people_of
from service.lake.engine import ALWAYS, EngineError
from service.lake.engines.files import Columns, Files, with_columns
from service.lake.engines.links import links_of
from service.lake.manifest import EXPOSURES, SCHEMAS, LakeFile, Manifest, reading
from service.lake.places import Where, at

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

NAME = "spark"
CONNECT = "sc://"
BATCH_ROWS = 100_000
AMOUNT = "decimal(19, 0)"
TYPES: Mapping[str, str] = {"string": "string", "int64": "bigint", "float64": "double"}
LOG4J = Path(__file__).with_name("log4j2.properties")
HERE: Mapping[str, str] = {
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.extraJavaOptions": f"-Dlog4j2.configurationFile={LOG4J}",
    "spark.sql.shuffle.partitions": "8",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}
"""Of a session on this machine: no pages, few messages, and no port that another machine could reach."""


class SparkEngine:
    """The lake at one offset, asked in a session of Spark; made by `open_spark`."""

    name = NAME

    def __init__(self, session: "SparkSession", lake: Where, manifest: Manifest, *, upto: int | None) -> None:
        self.offset = manifest.offset if upto is None else min(upto, manifest.offset)
        self._session = session
        self._backend = _connected(session)
        self._lake = lake
        self._files = Files(manifest=manifest, read=self._read, upto=self.offset)
        self._numbers = count()
        self._kept: list[tuple[str, DataFrame]] = []
        self._people: ir.Table | None = None

    def exposures(self) -> ir.Table:
        """Return all exposures."""
        return self._files.table(EXPOSURES)

    def events(self, wanted: Wanted, *, first_us: int = ALWAYS[0], last_us: int = ALWAYS[1]) -> ir.Table:
        """Return the events between two moments with the wanted properties."""
        table = self._files.events(wanted, first_us=first_us, last_us=last_us)
        columns = (wanted.amount(name) for name in wanted.amounts)
        return table.mutate({column: table[column].cast(AMOUNT) for column in columns})

    def links(self) -> ir.Table:
        """Return what events say about who is who."""
        return links_of(self)

    def people(self) -> ir.Table:
        """Return who is known to be which user."""
        if self._people is None:
            self._people = self._keep(people_of(self.links()))
        return self._people

    def rows(self, expression: ir.Table) -> list[dict[str, Any]]:
        """Return a small answer."""
        rows: list[dict[str, Any]] = self._answer(expression).toArrow().to_pylist()
        return rows

    def batches(self, expression: ir.Table) -> list[pa.RecordBatch]:
        """Return a large answer."""
        batches: list[pa.RecordBatch] = self._answer(expression).toArrow().to_batches(BATCH_ROWS)
        return batches

    @contextmanager
    def kept(self, expression: ir.Table) -> Iterator[ir.Table]:
        """Compute a table once, for the length of the block."""
        table = self._keep(expression)
        try:
            yield table
        finally:
            self._forget(*self._kept.pop())

    def close(self) -> None:
        """Leave nothing of this reader in the session."""
        while self._kept:
            self._forget(*self._kept.pop())

    def _answer(self, expression: ir.Table) -> "DataFrame":
        return self._session.sql(self._backend.compile(expression))

    def _keep(self, expression: ir.Table) -> ir.Table:
        # Not `cache`: every question would then plan the whole way to it once more.
        frame = self._answer(expression).localCheckpoint()
        self._kept.append((self._view(frame), frame))
        return self._backend.table(self._kept[-1][0])

    def _forget(self, name: str, frame: "DataFrame") -> None:
        frame.unpersist()
        self._session.catalog.dropTempView(name)

    def _view(self, frame: "DataFrame") -> str:
        name = f"opportune_{id(self):x}_{next(self._numbers)}"
        frame.createOrReplaceTempView(name)
        return name

    def _read(self, dataset: str, files: Sequence[LakeFile], more: Columns) -> ir.Table:
        whole = ibis.Schema.from_pyarrow(with_columns(SCHEMAS[dataset], more))
        schema = ", ".join(f"`{name}` {_ddl(kind)}" for name, kind in whole.items())
        paths = [at(self._lake).location(file.path) for file in files]
        # With a schema given, a file that lacks a column has nulls there, and no file is opened to find out.
        empty = self._session.createDataFrame([], schema)
        frame = self._session.read.schema(schema).parquet(*paths) if paths else empty
        return self._backend.table(self._view(frame))


def _ddl(kind: Any) -> str:  # noqa: ANN401 - a type of Ibis
    if kind.is_map():
        return f"map<string, {_ddl(kind.value_type)}>"
    return TYPES[str(kind)]


def start_session(master: str, **more: str) -> "SparkSession":
    """Start a session of `master`, or return the one of this process; whoever starts it stops it.

    `master` is local[...], spark://... or another name that Spark knows, or sc://... for Spark Connect; empty
    for what Spark's own configuration says.

    Raises
    ------
    EngineError
        If PySpark is not installed.
    """
    builder = _builder().appName("opportune").config("spark.sql.session.timeZone", "UTC")
    if master.startswith(CONNECT):
        builder = builder.remote(master)
    elif master:
        builder = builder.master(master)
    for name, value in ({**HERE, **more} if master.startswith("local") else more).items():
        builder = builder.config(name, value)
    with _unwarned_of_pandas():
        session: SparkSession = builder.getOrCreate()
    return session


@contextmanager
def open_spark(session: "SparkSession", lake: Where, *, upto: int | None = None) -> Iterator[SparkEngine]:
    """Open the lake for reading, of it only what is not newer than `upto`; no file disappears meanwhile."""
    with reading(lake) as manifest:
        engine = SparkEngine(session, lake, manifest, upto=upto)
        try:
            yield engine
        finally:
            engine.close()


def _builder() -> Any:  # noqa: ANN401 - PySpark is an extra
    try:
        from pyspark.sql import SparkSession  # noqa: PLC0415 - as above
    except ImportError as error:
        told = "the engine spark needs PySpark and Java 17: pip install 'opportune[spark]'"
        raise EngineError(f"{told} ({error})") from error
    return SparkSession.builder


def _connected(session: "SparkSession") -> Any:  # noqa: ANN401 - a backend of Ibis
    with _unwarned_of_pandas():
        return ibis.pyspark.connect(session)


@contextmanager
def _unwarned_of_pandas() -> Iterator[None]:
    """Leave out that Spark does not know this pandas yet: nothing here goes through pandas."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield
