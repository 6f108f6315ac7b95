"""Keep the number of files small: ten of one order of magnitude become one."""

from collections import defaultdict

from service.lake.manifest import LakeFile, read_files, write_table
from service.lake.places import Writable

MANY = 10
# A merge is done in memory inside one export step; larger files are left as they are.
MAX_ROWS = 1_000_000
MAX_BYTES = 64 * 2**20


def compacted(lake: Writable, files: tuple[LakeFile, ...], generation: int) -> tuple[LakeFile, ...]:
    """Return `files` with groups merged: same dataset, same day, same number of digits in their row count.

    Every row is thus rewritten at most once for each order of magnitude of its day.
    """
    groups: dict[tuple[str, str, int], list[LakeFile]] = defaultdict(list)
    for file in files:
        groups[file.dataset, file.day, len(str(file.rows))].append(file)
    result = []
    for (_, _, digits), group in sorted(groups.items()):
        result.extend(_merged(lake, group, f"{generation:08d}-c{digits}") if _worth(group) else group)
    return tuple(sorted(result, key=lambda f: f.path))


def _worth(group: list[LakeFile]) -> bool:
    return (
        len(group) >= MANY
        and sum(f.rows for f in group) <= MAX_ROWS
        and sum(f.size for f in group) <= MAX_BYTES
    )


def _merged(lake: Writable, group: list[LakeFile], name: str) -> list[LakeFile]:
    first = group[0]
    table = read_files(lake, first.dataset, tuple(group))
    return [write_table(lake, first.dataset, first.day, name, table)]
