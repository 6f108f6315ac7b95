from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.service.cli.test_verdict import invoke
from tests.service.use_cases.shops import FILES, KEY, a_store, a_week, launched, put

EXPERIMENT = "experiments/free-shipping.yaml"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    with a_store(home) as store:
        launched(store)
        put(store, *a_week(per_day=20))
    return home


def test_kept_rows_are_compared_and_made_again_where_they_differ(home: Path) -> None:
    first = invoke(home, "verify-moments", KEY)
    (base,) = (home / "partials" / f"{KEY}.1").glob("*-base.parquet")
    rows = pq.read_table(base)
    nobody = pa.array([0] * rows.num_rows)
    pq.write_table(rows.set_column(rows.column_names.index("m0_now_n"), "m0_now_n", nobody), base)

    wrong = invoke(home, "verify-moments", "--all")
    repaired = invoke(home, "verify-moments", KEY, "--repair")
    again = invoke(home, "verify-moments", KEY)

    assert first == (0, f"{KEY}.1: 140 units, kept and whole are equal\n", "")
    assert wrong[0] == 1
    assert "of its numbers differ\n  moments purchase banner 2026-03-0" in wrong[1]
    assert repaired[0] == 0
    assert repaired[1].endswith(f"made again:\n{KEY}.1: 140 units, kept and whole are equal\n")
    assert again == first


@pytest.mark.parametrize("files", [{}, {**FILES, EXPERIMENT: f"{FILES[EXPERIMENT]}status: draft\n"}])
def test_without_anything_to_verify_there_is_one_clear_line(tmp_path: Path, files: dict[str, str]) -> None:
    with a_store(tmp_path / "bare") as store:
        if files:
            launched(store, files)

    assert invoke(tmp_path / "bare", "verify-moments", "--all") == (0, "no experiment is judged yet\n", "")


def test_what_to_verify_must_be_said(home: Path) -> None:
    assert invoke(home, "verify-moments")[0] == 2
    assert invoke(home, "verify-moments", KEY, "--all")[0] == 2
    code, _, problem = invoke(home, "verify-moments", "free-shiping")
    assert (code, problem) == (
        1,
        "opportune: no experiment 'free-shiping' is live; did you mean 'free-shipping'?\n",
    )
