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
