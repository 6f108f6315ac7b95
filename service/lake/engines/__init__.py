"""The databases that can compute the analysis, chosen by name; see docs/engines.md."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

from service.engine_names import ENGINES
from service.lake.engine import Engine, EngineError
from service.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@contextmanager
def open_engine(settings: Settings, *, name: str = "", upto: int | None = None) -> Iterator[Engine]:
    """Open the engine `name`, else the one that the settings choose, on the log up to an offset.

    Of DuckDB and Spark the log ends where the lake does, of PostgreSQL with its newest complete event.

    Raises
    ------
    EngineError
        If there is no such engine, or it lacks what it needs: the message says what.
    """
    chosen = name or settings.engine
    if chosen not in _OPENERS:
        raise EngineError(f"OPPORTUNE_ENGINE={chosen!r}: expected one of {', '.join(_OPENERS)}")
    with _OPENERS[chosen](settings, upto) as engine:
        yield engine


@contextmanager
def _duckdb(settings: Settings, upto: int | None) -> Iterator[Engine]:
    from service.lake.engines.duckdb import open_duckdb  # noqa: PLC0415 - each engine loads its own driver

    with open_duckdb(settings.lake, upto=upto) as engine:
        yield engine


@contextmanager
def _postgresql(settings: Settings, upto: int | None) -> Iterator[Engine]:
    from sqlalchemy import URL  # noqa: PLC0415 - as above

    from service.lake.engines.postgresql import open_postgresql  # noqa: PLC0415 - as above
    from service.storage.places import place_of  # noqa: PLC0415 - as above

    place = place_of(settings.database_url)
    if not isinstance(place, URL):
        told = "the store is SQLite. Let OPPORTUNE_DATABASE_URL name a PostgreSQL database, or take another"
        raise EngineError(f"the engine postgresql computes where the events are, and {told} engine")
    with open_postgresql(place, upto=upto) as engine:
        yield engine


@contextmanager
def _spark(settings: Settings, upto: int | None) -> Iterator[Engine]:
    from service.lake.engines.spark import open_spark  # noqa: PLC0415 - as above

    with open_spark(_session(settings.spark_master), settings.lake, upto=upto) as engine:
        yield engine


@lru_cache(maxsize=1)
def _session(master: str) -> "SparkSession":
    """Return the session of this process: starting one takes seconds."""
    from service.lake.engines.spark import start_session  # noqa: PLC0415 - as above

    return start_session(master)


_OPENERS: Mapping[str, Callable[[Settings, int | None], AbstractContextManager[Engine]]] = dict(
    zip(ENGINES, (_duckdb, _postgresql, _spark), strict=True)
)
