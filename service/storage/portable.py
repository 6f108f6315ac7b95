"""Column types that mean the same on every database; tables and migrations share them."""

from sqlalchemy import BigInteger, Integer, String, Text
from sqlalchemy.dialects import postgresql

# Compared and sorted byte by byte, as SQLite does: a locale sorts differently on each server, and an index
# made under one version of a locale is wrong under the next.
NAME = String().with_variant(postgresql.VARCHAR(collation="C"), "postgresql")
LONG_TEXT = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")

# SQLite gives a row its number only for the exact type INTEGER.
OFFSET = BigInteger().with_variant(Integer(), "sqlite")
