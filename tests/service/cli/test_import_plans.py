"""`opportune import --as`: files of shops, e-mail tools and call centres from the command line."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from service.catalog.loader import read_folder
from service.cli.main import cli
from service.clock import utc_now
from service.settings import load
from service.storage.migrate import migrate
from service.storage.records import ReceivedEvent
from service.storage.sql import SqlStore, open_store
from service.use_cases.launch import apply
from tests.server import write_catalog

YESTERDAY = f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%d}"
CALLS = f"""\
Customer no.;Name;Called;Result;Amount
007;Maria;{YESTERDAY} 10:15;Sale;34.50
008;Ana;{YESTERDAY} 11:00;No;
007;Maria;{YESTERDAY} 10:15;Sale;34.50
"""
AS_OUTCOMES = (
    "--as", "outcomes", "--separator", ";", "--zone", "Europe/Madrid", "--map", "Customer no.=user_id",
    "--map", "Called=occurred_at", "--map", "Result=type", "--map", "Amount=revenue:number",
)  # fmt: skip


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OPPORTUNE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OPPORTUNE_CATALOG", str(write_catalog(tmp_path / "catalog")))
    return tmp_path / "home"


@pytest.fixture
def store(home: Path, tmp_path: Path) -> Iterator[SqlStore]:
    """A store with a live catalog."""
    settings = load({"OPPORTUNE_HOME": str(home)})
    migrate(settings.database_url)
    opened = open_store(settings)
    apply(opened, read_folder(tmp_path / "catalog"), by="test", now=utc_now())
    yield opened
    opened.close()


def run(*args: str) -> Result:
    return CliRunner().invoke(cli, args)


def written(path: Path, text: str) -> str:
    path.write_text(text, "utf-8")
    return str(path)


def stored(store: SqlStore) -> list[ReceivedEvent]:
    return [logged.received for logged in store.read(0, 100)]


def test_outcomes_of_a_call_centre_are_stored_once(store: SqlStore, tmp_path: Path) -> None:
    calls = written(tmp_path / "calls.csv", CALLS)

    first, again = run("import", calls, *AS_OUTCOMES), run("import", calls, *AS_OUTCOMES)

    assert first.exit_code == 0, first.output
    assert "columns not taken: Name" in first.output
    assert "3 accepted, 0 duplicate, 0 quarantined" in first.output
    assert "0 accepted, 3 duplicate, 0 quarantined" in again.output
    events = [one.event for one in stored(store)]
    assert [(e.type, e.user_id, dict(e.properties)) for e in events] == [
        ("Sale", "007", {"revenue": 34.5}),
        ("No", "008", {}),
        ("Sale", "007", {"revenue": 34.5}),
    ]
    assert {(one.source, one.trust) for one in stored(store)} == {("import", "server")}


def test_a_dry_run_shows_events_and_stores_nothing(store: SqlStore, tmp_path: Path) -> None:
    done = run("import", written(tmp_path / "calls.csv", CALLS), *AS_OUTCOMES, "--dry-run")

    assert done.exit_code == 0, done.output
    assert "3 events would be sent, such as" in done.output
    shown = next(json.loads(line) for line in done.output.splitlines() if line.startswith("  {"))
    assert (shown["type"], shown["properties"]) == ("Sale", {"revenue": 34.5})
    assert stored(store) == []


def test_one_cell_that_cannot_be_read_keeps_everything_out_and_is_named(
    store: SqlStore, tmp_path: Path
) -> None:
    calls = written(tmp_path / "calls.csv", CALLS + f"009;Eva;{YESTERDAY} 12:00;Sale;34,50\n")

    done = run("import", calls, *AS_OUTCOMES)

    assert done.exit_code == 1
    assert "1 row cannot be read, nothing was stored" in done.output
    assert "row 4, column Amount: '34,50' has a comma; write 1234.50" in done.output
    assert stored(store) == []


@pytest.mark.usefixtures("store")
def test_times_without_an_offset_need_a_zone(tmp_path: Path) -> None:
    arguments = [one for one in AS_OUTCOMES if one not in ("--zone", "Europe/Madrid")]

    done = run("import", written(tmp_path / "calls.csv", CALLS), *arguments)

    assert done.exit_code == 1
    assert "3 rows cannot be read" in done.output
    assert "--zone Europe/Madrid" in done.output


@pytest.mark.usefixtures("store")
def test_a_column_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    calls = written(tmp_path / "calls.csv", CALLS)
    arguments = [one for one in AS_OUTCOMES if one not in ("--separator", ";")]

    misspelt = run("import", calls, *AS_OUTCOMES, "--map", "Adviser=agent")
    by_commas = run("import", calls, *arguments)

    assert "no column 'Adviser'; there are: Customer no., Name, Called, Result, Amount" in misspelt.output
    assert "say --separator ';'" in by_commas.output
    assert (misspelt.exit_code, by_commas.exit_code) == (1, 1)


def test_a_list_that_was_assigned_and_sent_becomes_exposures(store: SqlStore, tmp_path: Path) -> None:
    units = written(tmp_path / "units.csv", "anonymous_id\n" + "".join(f"v-{n}\n" for n in range(20)))
    assigned = tmp_path / "assigned.csv"
    assert run("assign", "price", "--units", units, "--out", str(assigned)).exit_code == 0
    sent_at = f"{utc_now():%Y-%m-%dT%H:%M:%SZ}"

    done = run("import", str(assigned), "--as", "exposures", "--set", f"occurred_at={sent_at}")

    assert done.exit_code == 0, done.output
    rows = assigned.read_text("utf-8").splitlines()[1:]
    enrolled = [row.split(",") for row in rows if ",enrolled," in row]
    assert f"{20 - len(enrolled)} rows left out: their decision is not 'enrolled'" in done.output
    assert f"{len(enrolled)} accepted, 0 duplicate, 0 quarantined" in done.output
    exposures = [one.event for one in stored(store)]
    assert [e.anonymous_id for e in exposures] == [row[0] for row in enrolled]
    assert [e.properties["variant_key"] for e in exposures] == [row[2] for row in enrolled]


def test_an_exposure_that_the_tool_decided_itself_is_quarantined(store: SqlStore, tmp_path: Path) -> None:
    mails = "".join(f"v-{n},loud,{utc_now():%Y-%m-%dT%H:%M:%SZ}\n" for n in range(20))
    sent = written(tmp_path / "sent.csv", "Subscriber,Version,Sent\n" + mails)

    done = run(
        "import", sent, "--as", "exposures", "--set", "experiment=button", "--map", "Version=variant",
        "--map", "Subscriber=anonymous_id", "--map", "Sent=occurred_at",
    )  # fmt: skip

    assert done.exit_code == 0, done.output
    assert "variant_mismatch: " in done.output
    assert {e.event.properties["variant_key"] for e in stored(store)} == {"loud"}


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--map", "a=user_id"], "go with --as"),
        (["--dry-run"], "go with --as"),
        (["--as", "outcomes", "--map", "a"], "expected --map COLUMN=MEMBER"),
        (["--as", "outcomes", "--zone", "Madrid"], "'Madrid' is no time zone such as Europe/Madrid"),
        (["--as", "outcomes", "--time", "noon"], "'noon' is no time of day such as 18:00"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(
    home: Path, tmp_path: Path, arguments: list[str], why: str
) -> None:
    done = run("import", written(tmp_path / "calls.csv", CALLS), *arguments)

    assert done.exit_code == 2
    assert why in " ".join(done.output.replace("│", " ").split())
    assert not home.exists()


def test_only_a_header_without_members_of_events_is_doubted(store: SqlStore, tmp_path: Path) -> None:
    old = "e1,Sale,2020-01-01T00:00:00Z,maria\n"
    split = run("import", written(tmp_path / "a.csv", "event_id,type,occurred_at,user_id\n" + old))
    bare = run("import", written(tmp_path / "b.csv", old + old))

    kept = "Nothing of this file was accepted; 1 row is kept in quarantine (opportune quarantine list)."
    assert split.output.endswith(kept + "\n")
    assert "A CSV file needs a header of column names" in bare.output
    assert (split.exit_code, bare.exit_code) == (1, 1)
    assert sum(store.quarantine_counts().values()) == 2


@pytest.mark.parametrize("dry_run", [True, False])
def test_rows_without_type_person_or_time_are_refused_with_the_separator(
    store: SqlStore, tmp_path: Path, dry_run: bool
) -> None:
    calls = written(tmp_path / "calls.csv", f"user_id;type;occurred_at\n007;Sale;{YESTERDAY}T10:15:00Z\n")
    arguments = ["import", calls, "--as", "outcomes", *(["--dry-run"] if dry_run else [])]

    unsplit, split = run(*arguments), run(*arguments, "--separator", ";")

    assert unsplit.exit_code == 1
    assert "row 1, it has no type, no user_id or anonymous_id, no occurred_at" in unsplit.output
    assert "Its columns are separated by semicolons: say --separator ';'." in unsplit.output
    assert split.exit_code == 0, split.output
    assert len(stored(store)) == (not dry_run)


@pytest.mark.usefixtures("store")
def test_a_row_without_a_person_is_named_without_doubting_the_separator(tmp_path: Path) -> None:
    rows = f"user_id,type,occurred_at\n007,Sale,{YESTERDAY}T10:15:00Z\n,Sale,{YESTERDAY}T10:16:00Z\n"

    done = run("import", written(tmp_path / "calls.csv", rows), "--as", "outcomes", "--dry-run")

    assert done.exit_code == 1
    assert "row 2, it has no user_id or anonymous_id: say what gives it" in done.output
    assert "separat" not in done.output


@pytest.mark.usefixtures("store")
def test_an_empty_file_is_called_empty(tmp_path: Path) -> None:
    done = run("import", written(tmp_path / "empty.csv", ""), *AS_OUTCOMES)

    assert done.exit_code == 1
    assert "empty.csv: the file is empty" in done.output
