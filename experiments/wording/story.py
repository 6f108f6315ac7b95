"""What every part of a verdict's paragraph is told from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from experiments.decision import Case, Outcome
from experiments.money import Money
from experiments.wording.language import Language


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What is told, and in which language. `variant` is the treatment that it is about."""

    language: Language
    case: Case
    outcome: Outcome
    forecast: Mapping[str, Any]
    money: Money | None
    final: bool
    variant: str

    @property
    def control(self) -> str:
        """The key of the control."""
        return self.case.experiment.control.key

    def mde(self) -> str:
        """Return the smallest effect of interest."""
        return self.language.short_share(self.case.experiment.analysis.mde)

    def power(self) -> str:
        """Return the planned power."""
        return self.language.short_share(self.case.experiment.analysis.power)


def quoted(key: str) -> str:
    """Return a key as code."""
    return f"`{key}`"
