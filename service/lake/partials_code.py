"""What kept rows are made by: the definitions, and the code that computes."""

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import duckdb
import ibis

import experiments
from experiments.definition_digest import TOLD_ONLY, digest_of

ROOMS = (Path(experiments.__file__).parent, Path(__file__).parent)


def digest_by_code(*names: str, definitions: Iterable[object] = ()) -> str:
    """Return a digest of names and definitions that another release does not give again."""
    told = (_code(), *names, digest_of(*definitions, without=TOLD_ONLY))
    return hashlib.sha256("\n".join(told).encode()).hexdigest()


@lru_cache(maxsize=1)
def _code() -> str:
    # Any change of the rooms that compute: to name the modules that matter is to forget one some day.
    digest = hashlib.sha256(f"{ibis.__version__} {duckdb.__version__}".encode())
    for room in ROOMS:
        for path in sorted(room.rglob("*.py")):
            digest.update(path.relative_to(room).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
