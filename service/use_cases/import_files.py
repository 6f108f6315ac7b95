"""Rows of NDJSON, CSV and Parquet files as the raw objects that the HTTP routes take."""

import csv
import gzip
import io
import math
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, cast

import orjson

from service.errors import ProblemError
from service.wire import read_json

MAX_LINE = 1024 * 1024
PARQUET_ROWS = 2_000
NESTED = "properties"
KINDS = ("ndjson", "jsonl", "csv", "parquet")
TYPED = (":number", ":json")
SEPARATORS = {";": (";", "semicolons"), "tab": ("\t", "tabs"), "|": ("|", "bars")}
"""Marks that may stand between the cells of a CSV file instead of a comma: as said, as written, in words."""

Progress = Callable[[int, int], None]
"""Called with what was read of a file and how much it has, in bytes or rows."""

Row = dict[str, Any]


class ImportFileError(Exception):
    """A file cannot be imported; the message names file, line or column, and what is expected."""


def read_rows(path: Path, *, nested: str = NESTED, separator: str = ",", progress: Progress) -> Iterator[Row]:
    """Yield the rows of a file by its name: .ndjson, .jsonl or .csv (also .gz), .parquet.

    Columns ``<nested>.<name>`` become members of the object `nested`; a column `nested` holds JSON. CSV cells
    are text and empty cells are absent; a column named ``...:number`` or ``...:json`` says otherwise.
    `separator` stands between the cells of a CSV file.

    Raises
    ------
    ImportFileError
        At the first row that is not readable at all; a readable row with wrong content is left to ingest.
    """
    kind = _kind(path)
    try:
        if kind == "parquet":
            yield from _parquet(path, nested, progress)
        elif kind == "csv":
            yield from _csv(path, nested, separator, progress)
        else:
            yield from _ndjson(path, progress)
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise ImportFileError(f"{path}: cannot be read: {error}") from error


def columns_of(path: Path, *, separator: str = ",") -> list[str] | None:
    """Return the names of a file's columns as its rows will have them; None for lines of JSON.

    Raises
    ------
    ImportFileError
        If the file cannot be read.
    """
    kind = _kind(path)
    try:
        if kind == "parquet":
            import pyarrow.parquet as pq  # noqa: PLC0415 - as below

            return list(pq.read_schema(path).names)
        if kind != "csv":
            return None
        with _opened(path) as (stream, _), io.TextIOWrapper(stream, "utf-8-sig", newline="") as text:
            header = next(csv.reader(text, strict=True, delimiter=separator), [])
    except (OSError, EOFError, ValueError, zlib.error, csv.Error) as error:
        raise ImportFileError(f"{path}: cannot be read: {error}") from error
    return [name.rpartition(":")[0] if name.endswith(TYPED) else name for name in header]


def separator_hint(path: Path) -> str:
    """Return what to do when the header of a CSV file looks separated by something else than commas."""
    if _kind(path) != "csv":
        return ""
    with _opened(path) as (stream, _told):
        header = stream.readline(MAX_LINE).decode("utf-8-sig", "replace")
    for mark, (character, name) in SEPARATORS.items():
        if header.count(character) > header.count(","):
            return f" Its columns are separated by {name}: say --separator '{mark}'."
    return " A CSV file needs a header of column names, separated by commas (docs/events.md)."


def _kind(path: Path) -> str:
    suffixes = [s.lstrip(".").lower() for s in path.suffixes]
    kind = suffixes[-2] if len(suffixes) > 1 and suffixes[-1] == "gz" else (suffixes or [""])[-1]
    if kind not in KINDS or (kind == "parquet" and suffixes[-1] == "gz"):
        raise ImportFileError(
            f"{path}: expected a name ending in .ndjson, .csv (or either with .gz) or .parquet"
        )
    return kind


@contextmanager
def _opened(path: Path) -> Iterator[tuple[IO[bytes], Callable[[], int]]]:
    """Open a plain or compressed file; the second value tells how far the file on disk has been read."""
    with path.open("rb") as raw:
        if path.suffix.lower() == ".gz":
            with gzip.GzipFile(fileobj=raw) as unzipped, io.BufferedReader(unzipped) as stream:
                yield stream, raw.tell
        else:
            yield raw, raw.tell


def _ndjson(path: Path, progress: Progress) -> Iterator[Row]:
    total = path.stat().st_size
    with _opened(path) as (stream, told):
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            try:
                value = read_json(line, limit=MAX_LINE)
            except ProblemError as error:
                raise ImportFileError(f"{path}:{number}: {error.detail}") from error
            if not isinstance(value, dict):
                raise ImportFileError(f"{path}:{number}: expected one JSON object a line")
            yield value
            progress(told(), total)


def _csv(path: Path, nested: str, separator: str, progress: Progress) -> Iterator[Row]:
    total = path.stat().st_size
    with _opened(path) as (stream, told), io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as text:
        reader = csv.DictReader(text, strict=True, delimiter=separator)
        try:
            for cells in reader:
                where = f"{path}:{reader.line_num}"
                if None in cells:
                    raise ImportFileError(f"{where}: more cells than the header has columns")
                yield _shape({k: v for k, v in cells.items() if v not in (None, "")}, nested, where)
                progress(told(), total)
        except csv.Error as error:
            raise ImportFileError(f"{path}:{reader.line_num}: {error}") from error


def _parquet(path: Path, nested: str, progress: Progress) -> Iterator[Row]:
    # Loaded only when asked for: Arrow takes longer to import than a small file to read.
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        with pq.ParquetFile(path) as file:
            total, done = file.metadata.num_rows, 0
            for batch in file.iter_batches(batch_size=PARQUET_ROWS):
                for cells in batch.to_pylist():
                    done += 1
                    filled = {name: plain(cell) for name, cell in cells.items() if not _absent(cell)}
                    yield _shape(filled, nested, f"{path}: row {done}")
                    progress(done, total)
    except (pa.ArrowException, ValueError) as error:
        raise ImportFileError(f"{path}: {error}") from error


def _absent(cell: object) -> bool:
    """Return whether a cell is empty; pandas writes an empty number as NaN."""
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def plain(value: object) -> Any:  # noqa: ANN401 - JSON is any value
    """Return a cell as JSON; a time becomes RFC 3339 text, a naive one without the offset ingest wants."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if isinstance(value, Mapping):
        return {str(name): plain(inner) for name, inner in value.items() if not _absent(inner)}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return value


def _shape(cells: Mapping[str, Any], nested: str, where: str) -> Row:
    """Return one row with typed columns read and ``<nested>.<name>`` columns gathered."""
    row: Row = {}
    inner: Row = {}
    for column, cell in cells.items():
        name, value = typed_cell(column, cell, nested, where)
        if name == nested and isinstance(value, Mapping):
            inner = {**value, **inner}
        elif name.startswith(nested + "."):
            inner[name.removeprefix(nested + ".")] = value
        else:
            row[name] = value
    if inner:
        row[nested] = inner
    try:
        # Files are held to the rules of the wire: no NUL, no endless numbers, nothing that is not JSON.
        checked = read_json(orjson.dumps(row), limit=MAX_LINE)
    except (ProblemError, TypeError) as error:
        raise ImportFileError(
            f"{where}: {error.detail if isinstance(error, ProblemError) else error}"
        ) from error
    return cast(Row, checked)


def typed_cell(column: str, cell: Any, nested: str, where: str) -> tuple[str, Any]:  # noqa: ANN401 - any cell
    """Return the name and value of a cell; a column named ``...:number`` or ``...:json`` is read as such."""
    name, _, type_name = column.rpartition(":")
    as_json = (column == nested or type_name in ("json", "number")) and isinstance(cell, str)
    if not as_json:
        return column, cell
    name = name or column
    try:
        value = read_json(cell.encode("utf-8", "surrogatepass"), limit=MAX_LINE)
    except ProblemError as error:
        raise ImportFileError(f"{where}, column {column}: {error.detail}") from error
    if type_name == "number" and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise ImportFileError(f"{where}, column {column}: {cell[:40]!r} is no number")
    return name, value
