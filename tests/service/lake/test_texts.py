"""A text among the facts is read back as it was told, whatever signs it has."""

import ibis
from hypothesis import example, given, settings
from hypothesis import strategies as st

from service.lake.rows import canonical_json
from service.lake.texts import text_of

DUCKDB = ibis.duckdb.connect()
SIGNS = "".join(map(chr, range(1, 128)))
ODD = st.sampled_from('\\"-ubn01\n\x01é😀')
WRITTEN = st.text(ODD | st.characters(exclude_characters="\0", codec="utf-8"))


def read_back(*facts: str | None) -> list[str | None]:
    table = ibis.memtable({"fact": facts}, schema={"fact": "string"})
    found: list[str | None] = DUCKDB.to_pyarrow(text_of(table.fact)).to_pylist()
    return found


@settings(max_examples=30, deadline=None)
@given(texts=st.lists(WRITTEN, min_size=1))
@example([SIGNS, SIGNS[::-1], "\\", '\\"', '"\\', "\\\\-", "\\-", "\\n", "\\\n", "\\u0001", '"', '""'])
def test_a_text_is_read_back_as_it_was_told(texts: list[str]) -> None:
    assert read_back(*map(canonical_json, texts)) == [text or None for text in texts]


def test_only_a_text_is_one() -> None:
    assert read_back("5", "true", "null", '""', None) == [None] * 5
