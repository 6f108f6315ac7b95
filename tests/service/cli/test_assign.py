import csv
import io
from pathlib import Path

import pytest
from click.testing import CliRunner

from service.cli.main import cli
from tests.server import CATALOG, write_catalog

FILES = {
    **CATALOG,
    "experiments/shops.yaml": """\
experiment: shops
unit: store_id
audience: {all: [{size: {gt: 100}}, {address.country: ES}]}
variants: {control: {sign: "old, worn"}, fresh: {sign: new}}
metrics: {primary: purchase}
""",
}
HEADER = "unit,experiment,variant,value,decision,phase,revision"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("assign")
    write_catalog(home / "catalog", FILES)
    assert invoke(home, "apply")[0] == 0
    return home


def invoke(home: Path, *arguments: str, stdin: bytes | str = b"") -> tuple[int, str, str]:
    environment = {"OPPORTUNE_HOME": str(home / "home"), "OPPORTUNE_CATALOG": str(home / "catalog")}
    done = CliRunner().invoke(cli, arguments, env=environment, input=stdin)
    return done.exit_code, done.stdout, done.stderr


def assign(home: Path, text: bytes | str, *keys: str) -> tuple[int, list[str], str]:
    code, out, err = invoke(home, "assign", *keys, "--units", "-", stdin=text)
    return code, out.splitlines(), err


def test_each_unit_gets_a_row_for_each_key_in_the_order_asked(home: Path) -> None:
    code, out, err = assign(home, "anonymous_id\nv-1\nv-2\n", "price", "button")

    assert code == 0
    assert out[0] == HEADER
    assert [line.split(",")[:2] for line in out[1:]] == [
        ["v-1", "price"],
        ["v-1", "button"],
        ["v-2", "price"],
        ["v-2", "button"],
    ]
    assert out == assign(home, "anonymous_id\nv-1\nv-2\n", "price", "button")[1]
    assert err.startswith("2 units: 4 rows written, ")
    assert "opportune import FILE --as exposures" in err


def test_values_are_text_or_json_and_cells_may_have_types(home: Path) -> None:
    text = "store_id,size:number,address.country\n7,120,ES\n8,90,ES\n9,120,PT\n10,,\n"

    code, out, _ = assign(home, text, "shops")

    rows = list(csv.DictReader(io.StringIO("\n".join(out))))
    assert code == 0
    assert [row["unit"] for row in rows] == ["7", "8", "9", "10"]
    assert [row["decision"] for row in rows] == ["enrolled", *["not_in_audience"] * 3]
    assert rows[0]["value"] in ('{"sign":"old, worn"}', '{"sign":"new"}')
    assert [rows[0]["phase"], rows[0]["revision"]] == ["1", "1"]


def test_rows_that_cannot_be_used_are_named_and_left_out(home: Path) -> None:
    text = (
        b'store_id,size:number\n1,120\n2,big\n,120\n4\n5,120,x\n"6"x,1\n7,3\n' + b"8" * 129 + b",3\n\xff,1\n"
    )

    code, out, err = assign(home, text, "shops")

    assert code == 1
    assert [line.split(",")[0] for line in out[1:]] == ["1", "7"]
    told = err.splitlines()
    assert [line.split(":")[0].split(",")[0] for line in told[:7]] == [
        f"line {n}" for n in (3, 4, 5, 6, 7, 9, 10)
    ]
    assert "column size:number" in told[0]
    assert "no usable store_id" in told[1]
    assert "1 cells, the header has 2 columns" in told[2]
    assert "not UTF-8" in told[6]
    assert "7 rows of the list left out" in err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "line 1: expected a header"),
        (b"email\na@b.example\n", "no column 'anonymous_id', which is what is randomized; there is: email"),
        (b"id,age\nv-1,3\n", "rename the column of the ids to anonymous_id"),
        (b"anonymous_id;age\nv;3\n", "save the file with commas"),
        (b"anonymous_id,,x\n", "column 2 has no name"),
        (b"anonymous_id,x,x\n", "the column 'x' is there twice"),
        (b"anonymous_id,request.hour\n", "'request' is what a server knows"),
        (b"anonymous_id,\xff\n", "not UTF-8"),
        (b"anonymous_id,user,x,user.plan\n", "'user' and 'user.plan' both say what 'user' is"),
        (b"anonymous_id,a.b.c,a.b:json\n", "'a.b:json' and 'a.b.c' both say what 'a.b' is"),
        (b"anonymous_id,age,age:number\n", "'age' and 'age:number' both"),
        (b"anonymous_id,anonymous_id:json\n", "'anonymous_id' and 'anonymous_id:json' both"),
        (b'anonymous_id,x\nv-1,a\nv-2,"b\nv-3,c\n', "everything from line 3 on is unread"),
        (b'anonymous_id,x\nv-1,"a"b,"c\nv-2,"\n', "everything from line 2 on is unread"),
        (b'anonymous_id,x\nv-1,"a\nb"c\nv-2,d\n', "everything from line 2 on is unread"),
        (b'anonymous_id,x\nv-1,"' + b"a,\nv-2,b\n" * 200_000 + b'"\n', "everything from line 2 on is unread"),
    ],
)
def test_a_list_that_cannot_be_used_is_one_clear_line_and_leaves_no_file(
    home: Path, tmp_path: Path, text: bytes, said: str
) -> None:
    (tmp_path / "list.csv").write_bytes(text)
    out = tmp_path / "out.csv"

    code, _, err = invoke(home, "assign", "button", "--units", str(tmp_path / "list.csv"), "--out", str(out))

    assert code == 1
    assert said in err
    assert err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["list.csv"]


def test_spreadsheets_byte_order_marks_and_windows_line_ends_are_forgiven(home: Path) -> None:
    plain = assign(home, "anonymous_id\nv-1\nv-2\n", "button")

    assert assign(home, b"\xef\xbb\xbfanonymous_id\r\nv-1\r\n\r\nv-2\r\n", "button") == plain


def test_a_long_cell_is_read_whole(home: Path) -> None:
    text = 'anonymous_id,note\nv-1,"' + "a,\nv-2,b\n" * 50_000 + '"\nv-3,\n'

    code, out, _ = assign(home, text, "button")

    assert code == 0
    assert [line.split(",")[0] for line in out[1:]] == ["v-1", "v-3"]


def test_columns_of_like_names_lead_into_one_object(home: Path) -> None:
    text = "store_id,size:number,address.country,address.city,addressee\n7,120,ES,Vigo,Li\n"

    [row] = csv.DictReader(assign(home, text, "shops")[1])
    assert row["decision"] == "enrolled"


def test_the_file_asked_for_holds_what_standard_output_would(home: Path, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("anonymous_id\nné-😀\n", "utf-8")
    arguments = ("assign", "button", "--units", str(tmp_path / "list.csv"))

    code, out, _ = invoke(home, *arguments, "--out", str(tmp_path / "out.csv"))

    assert (code, out) == (0, "")
    assert (tmp_path / "out.csv").read_text("utf-8") == invoke(home, *arguments)[1]


@pytest.mark.parametrize(("key", "said"), [("buton", "did you mean 'button'?"), ("unborn", "nothing live")])
def test_an_unknown_key_is_told_before_anything_is_read(home: Path, key: str, said: str) -> None:
    code, out, err = assign(home, "anonymous_id\nv-1\n", key)

    assert (code, out) == (1, [])
    assert said in err
