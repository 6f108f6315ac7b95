"""Files become events and items under the rules of ingest, from the command line too."""

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from service.cli.main import cli
from service.settings import Settings, load
from service.storage.migrate import migrate
from service.storage.records import Item
from service.storage.sql import SqlStore, open_store
from service.use_cases.import_events import ImportReport, import_events, import_items
from service.use_cases.import_files import ImportFileError

SHOPPING = ("Order Completed", "Order Refunded", "Product Added", "Product Viewed")

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
ORDER = {
    "event_id": "o1",
    "type": "Order Completed",
    "occurred_at": "2026-03-01T10:00:00+01:00",
    "user_id": "u1",
    "properties": {"revenue": 12.5, "products": [{"item_id": "tea", "quantity": 2}]},
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load({"OPPORTUNE_HOME": str(tmp_path / "home")})


@pytest.fixture
def store(settings: Settings) -> Iterator[SqlStore]:
    migrate(settings.database_url)
    opened = open_store(settings)
    yield opened
    opened.close()


def bring_in(store: SqlStore, path: Path) -> ImportReport:
    return import_events(store, path, clock=lambda: NOW, progress=lambda _done, _total: None)


def test_a_file_of_lines_is_imported_once_however_often_it_is_run(store: SqlStore, tmp_path: Path) -> None:
    path = tmp_path / "orders.ndjson.gz"
    lines = [json.dumps(ORDER | {"event_id": f"o{n}"}) for n in range(1_200)] + [""]
    path.write_bytes(gzip.compress("\n".join(lines).encode()))

    first, second = bring_in(store, path), bring_in(store, path)

    assert (first.accepted, first.duplicate, first.total) == (1_200, 0, 1_200)
    assert (second.accepted, second.duplicate) == (0, 1_200)
    received = store.read(0, 1)[0].received
    assert (received.trust, received.source) == ("server", "import")
    assert store.recent_of_types("u:u1", SHOPPING, 1)[0].quantity == 2.0


def test_refused_events_are_counted_by_reason_with_examples(store: SqlStore, tmp_path: Path) -> None:
    path = tmp_path / "orders.ndjson"
    bad = [ORDER | {"event_id": f"b{n}", "occurred_at": "2020-01-01T00:00:00Z"} for n in range(7)]
    path.write_text("\n".join(json.dumps(e) for e in [ORDER, *bad, {"event_id": "odd"}]))

    report = bring_in(store, path)

    assert report.accepted == 1
    assert report.quarantined == {"too_old": 7, "invalid_event": 1}
    assert len(report.examples) == 5
    assert report.examples[0].startswith("b0: too_old: ")


def test_cells_of_a_csv_file_are_text_unless_the_column_says_otherwise(
    store: SqlStore, tmp_path: Path
) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(
        "\ufeffevent_id,type,occurred_at,user_id,anonymous_id,properties.item_id,properties.quantity:number,"
        "properties.products:json,properties\n"
        'e1,Product Viewed,2026-11-01T10:00:00Z,u1,,0085123,2,,"{""colour"": ""red""}"\n'
        'e2,Order Completed,2026-11-01T11:00:00Z,u1,a1,,,"[{""item_id"": ""tea""}]",\n',
        encoding="utf-8",
    )

    assert bring_in(store, path).accepted == 2
    one, two = (row.received.event for row in store.read(0, 9))
    assert one.properties == {"colour": "red", "item_id": "0085123", "quantity": 2}
    assert (one.user_id, one.anonymous_id) == ("u1", None)
    assert two.properties == {"products": [{"item_id": "tea"}]}


def test_a_parquet_file_keeps_its_types(store: SqlStore, tmp_path: Path) -> None:
    path = tmp_path / "orders.parquet"
    at = datetime(2026, 11, 1, 10, tzinfo=UTC)
    columns = {
        "event_id": ["e1", "e2", "e3"],
        "type": ["Order Completed"] * 3,
        "occurred_at": pa.array([at, at + timedelta(seconds=1), at], pa.timestamp("us", tz="Europe/Madrid")),
        "user_id": ["u1", None, "u3"],
        "anonymous_id": [None, "a2", None],
        "properties.revenue": pa.array([1.5, float("nan"), 3.0]),
        "properties": [{"products": [{"item_id": "tea", "quantity": 2}]}, None, {"products": None}],
    }
    pq.write_table(pa.table(columns), path)

    assert bring_in(store, path).accepted == 3
    events = [row.received.event for row in store.read(0, 9)]
    assert events[0].occurred_at == at
    assert events[0].properties == {"revenue": 1.5, "products": [{"item_id": "tea", "quantity": 2}]}
    assert [dict(e.properties) for e in events[1:]] == [{}, {"revenue": 3.0}]


def test_a_time_without_a_zone_is_not_guessed(store: SqlStore, tmp_path: Path) -> None:
    path = tmp_path / "orders.parquet"
    at = pa.array([datetime(2026, 11, 1, 10)], pa.timestamp("us"))  # noqa: DTZ001 - that is the point
    pq.write_table(pa.table({"event_id": ["e1"], "type": ["x"], "occurred_at": at, "user_id": ["u"]}), path)

    assert bring_in(store, path).quarantined == {"invalid_event": 1}


UNREADABLE = {
    "x.txt": (b"", "expected a name ending in"),
    "x.parquet.gz": (b"", "expected a name ending in"),
    "x.ndjson": (b'{"a": 1}\n{"a": NaN}\n', "x.ndjson:2: "),
    "y.ndjson": (b"[1]\n", "y.ndjson:1: expected one JSON object a line"),
    "z.ndjson.gz": (gzip.compress(b"{}\n" * 999)[:-9], "cannot be read"),
    "w.ndjson.gz": (b"no gzip", "cannot be read"),
    "x.csv": (b"a,b\n1,2,3\n", "x.csv:2: more cells"),
    "y.csv": (b"event_id,properties.n:number\ne1,many\n", "column properties.n:number"),
    "z.csv": (b"event_id,properties\ne1,{broken\n", "column properties"),
    "w.csv": (b"event_id\n\xff\xfe\n", "cannot be read"),
    "v.csv": (b'event_id\n"open\n', "v.csv:"),
    "u.csv": (b"event_id\na\x00b\n", "u.csv"),
    "x.parquet": (b"PAR1 not really PAR1", "x.parquet"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_an_unreadable_file_is_one_clear_line(store: SqlStore, tmp_path: Path, name: str) -> None:
    content, message = UNREADABLE[name]
    (tmp_path / name).write_bytes(content)

    with pytest.raises(ImportFileError) as refused:
        bring_in(store, tmp_path / name)

    assert message in str(refused.value)
    assert "\n" not in str(refused.value).strip()
    assert str(refused.value).endswith(". Nothing was stored.")


def test_a_file_that_breaks_off_says_what_was_taken_in_and_may_be_run_again(
    store: SqlStore, tmp_path: Path
) -> None:
    path = tmp_path / "orders.ndjson"
    lines = [json.dumps(ORDER | {"event_id": f"o{n}"}) for n in range(1_200)]
    path.write_text("\n".join([*lines[:700], "{", *lines[700:]]))

    with pytest.raises(ImportFileError) as refused:
        bring_in(store, path)

    assert "orders.ndjson:701: " in str(refused.value)
    assert "The first 500 events were taken in: 500 accepted, 0 duplicate, 0 quarantined." in str(
        refused.value
    )
    assert "import it again" in str(refused.value)
    path.write_text("\n".join(lines))
    again = bring_in(store, path)
    assert (again.accepted, again.duplicate) == (700, 500)


def test_items_come_from_lines_and_tables(store: SqlStore, tmp_path: Path) -> None:
    lines, table = tmp_path / "items.ndjson", tmp_path / "items.csv"
    lines.write_text('{"item_id":"tea","fields":{"title":"Tea"},"categories":["hot"],"active":false}\n')
    table.write_text(
        "item_id,categories,active,fields.title,fields.price:number\ncup,hot|cold,true,Cup,2.5\n"
    )

    for path in (lines, table):
        assert import_items(store, path, progress=lambda _done, _total: None) == 1

    assert store.all_items() == [
        Item(item_id="cup", fields={"title": "Cup", "price": 2.5}, categories=("hot", "cold")),
        Item(item_id="tea", fields={"title": "Tea"}, categories=("hot",), active=False),
    ]
    table.write_text("item_id,colour\ncup,red\n")
    with pytest.raises(ImportFileError, match="item 1: colour: Unknown field"):
        import_items(store, table, progress=lambda _done, _total: None)


def test_the_commands_work_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPPORTUNE_HOME", str(tmp_path / "home"))
    recent = ORDER | {"occurred_at": datetime.now(UTC).isoformat()}
    (tmp_path / "orders.ndjson").write_text(json.dumps(recent) + '\n{"event_id":"bad"}\n')
    (tmp_path / "items.ndjson").write_text('{"item_id":"tea"}\n')
    run = CliRunner()

    def opportune(*arguments: str) -> str:
        result = run.invoke(cli, arguments, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    assert "up to date" in opportune("migrate")
    told = opportune("import", str(tmp_path / "orders.ndjson"), "--items", str(tmp_path / "items.ndjson"))
    assert "1 item\n" in told
    assert "1 accepted, 0 duplicate, 1 quarantined" in told
    assert "keys.env" in opportune("backup", str(tmp_path / "b.tar.gz"))
    assert "event 1, interaction 1" in opportune("delete-person", "--user-id", "u1", "--yes")
    refused = run.invoke(cli, ["restore", str(tmp_path / "b.tar.gz")])
    assert refused.exit_code == 1
    assert "--replace" in refused.output
    assert "log offset 1" in opportune("restore", str(tmp_path / "b.tar.gz"), "--replace")
    assert "0 accepted, 1 duplicate" in opportune("import", str(tmp_path / "orders.ndjson"))
