"""Filters of events in the lake: the same events count as `experiments.event_filters` says one by one."""

from itertools import product
from typing import Any

import ibis
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ibis.backends.duckdb import Backend

from experiments.event_filters import amounts_asked, facts_asked, matches, parse_filter
from experiments.micro_units import micro_of
from experiments.targeting import Any_, Leaf
from experiments.values import is_plain
from service.lake.columns import Wanted
from service.lake.filters import matching
from service.lake.rows import canonical_json

ABSENT = object()
VALUES = (ABSENT, None, True, False, 0, 1, 1.0, -2, 0.1, 0.10000004, 1e300, "", "1", "null", 'say "é"\n', [1])
EVENTS: list[dict[str, Any]] = [
    {name: value for name, value in zip("pq", pair, strict=True) if value is not ABSENT}
    for pair in product(VALUES, repeat=2)
]
WANTED = Wanted(facts=("p", "q"), amounts=("p", "q"))
TABLE = ibis.memtable(
    pa.table(
        {
            "i": range(len(EVENTS)),
            **{
                WANTED.fact(name): [
                    canonical_json(e[name]) if name in e and is_plain(e[name]) else None for e in EVENTS
                ]
                for name in WANTED.facts
            },
            **{WANTED.amount(name): [micro_of(e.get(name)) for e in EVENTS] for name in WANTED.amounts},
        }
    )
)

plain = st.sampled_from([v for v in VALUES if v is not ABSENT and not isinstance(v, list)])
numbers = st.sampled_from([-2, 0, 0.1, 1, 5.5])
operators = st.one_of(
    st.builds(lambda op, x: {op: x}, st.sampled_from(["gt", "gte", "lt", "lte"]), numbers),
    st.builds(lambda op, x: {op: x}, st.sampled_from(["eq", "ne"]), plain),
    st.builds(
        lambda op, x: {op: x}, st.sampled_from(["in", "not_in"]), st.lists(plain, min_size=1, max_size=3)
    ),
    st.builds(lambda x: {"exists": x}, st.booleans()),
)
members = st.dictionaries(st.sampled_from(["p", "q"]), plain | operators, max_size=2)
filters = st.recursive(
    members,
    lambda inner: st.one_of(
        st.builds(lambda part: {"not": part}, inner),
        st.builds(
            lambda word, parts: {word: parts},
            st.sampled_from(["all", "any", "none"]),
            st.lists(inner, min_size=1, max_size=3),
        ),
    ),
    max_leaves=4,
)


@pytest.fixture(scope="module")
def duckdb() -> Backend:
    return ibis.duckdb.connect()


@given(node=filters)
def test_the_lake_counts_the_events_that_the_definition_counts(duckdb: Backend, node: dict[str, Any]) -> None:
    condition = parse_filter(node)

    counted = TABLE.select("i", counts=matching(TABLE, WANTED, condition))

    found = {row["i"]: row["counts"] for row in duckdb.to_pyarrow(counted).to_pylist()}
    assert found == {i: matches(condition, event) for i, event in enumerate(EVENTS)}


@given(node=filters)
def test_only_the_columns_that_are_asked_are_read(node: dict[str, Any]) -> None:
    condition = parse_filter(node)
    asked = Wanted(tuple(sorted(facts_asked(condition))), tuple(sorted(amounts_asked(condition))))
    narrow = ibis.table(
        {"i": "int64"}
        | {asked.fact(n): "string" for n in asked.facts}
        | {asked.amount(n): "int64" for n in asked.amounts},
        name="events",
    )

    assert matching(narrow, asked, condition).type().is_boolean()


@pytest.mark.parametrize("dialect", ["duckdb", "pyspark", "postgres"])
def test_every_operator_compiles_for_every_engine(dialect: str) -> None:
    node = {
        "p": {"ne": 1, "in": ["x", None], "exists": True, "gte": 0.5},
        "none": [{"q": {"lt": 2}}, {"q": True}],
    }

    text = ibis.to_sql(TABLE.filter(matching(TABLE, WANTED, parse_filter(node))), dialect=dialect)

    assert all(word in text for word in ("fact_0", "amount_0", "500000", "fact_1", "amount_1"))


def test_a_filter_of_many_parts_compiles_and_counts(duckdb: Backend) -> None:
    condition = Any_(tuple(Leaf("p", "eq", i) for i in range(2_000)))

    counted = TABLE.select("i", counts=matching(TABLE, WANTED, condition))

    found = {row["i"]: row["counts"] for row in duckdb.to_pyarrow(counted).to_pylist()}
    assert found == {i: matches(condition, event) for i, event in enumerate(EVENTS)}
