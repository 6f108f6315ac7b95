"""What a check says."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from experiments.definitions import Experiment
from experiments.evidence import Evidence


class CheckState(StrEnum):
    """An alarm makes the verdict untrustworthy; a warning is shown beside it."""

    OK = "ok"
    WARNING = "warning"
    ALARM = "alarm"
    NOT_YET_KNOWN = "not_yet_known"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of one check; `detail` is one plain sentence, `facts` are its numbers."""

    check: str
    state: CheckState
    detail: str
    facts: Mapping[str, object] = field(default_factory=dict)

    def members(self) -> dict[str, object]:
        """Return one entry of a verdict's ``checks``."""
        return {"check": self.check, "state": self.state.value, "detail": self.detail, **self.facts}


Check: TypeAlias = Callable[[Experiment, Evidence], Finding]


def warn_above(
    limit: float, *, check: str, n: int, of: int, words: Callable[[str], str], fact: str
) -> Finding:
    """Return a warning when the share `n` / `of` exceeds `limit`; `words` puts the share into a sentence."""
    share = n / of if of else 0.0
    state = CheckState.WARNING if share > limit else CheckState.OK
    return Finding(check=check, state=state, detail=words(f"{100 * share:.1f} %"), facts={fact: n})


def counted(n: int, noun: str) -> str:
    """Return a number with its noun.

    Parameters
    ----------
    n : int
        How many.
    noun : str
        One of them; the plural takes an s.

    Returns
    -------
    str

    Examples
    --------
    >>> counted(1, "unit"), counted(1200, "unit")
    ('1 unit', '1,200 units')
    """
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"
