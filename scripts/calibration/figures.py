"""What a simulation found, with the bounds that its number of runs allows, and tables of it."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scipy import stats

from scripts.bench.table import table as markdown

CONFIDENCE = 0.99
ENOUGH_RUNS = 10_000


@dataclass(frozen=True, slots=True)
class Rate:
    """How many of so many runs did something."""

    count: int
    runs: int

    @property
    def share(self) -> float:
        """Return the observed share."""
        return self.count / self.runs

    @property
    def upper(self) -> float:
        """Return the one-sided upper 99 % bound (Clopper & Pearson 1934)."""
        if self.count == self.runs:
            return 1.0
        return float(stats.beta.ppf(CONFIDENCE, self.count + 1, self.runs - self.count))

    @property
    def lower(self) -> float:
        """Return the one-sided lower 99 % bound."""
        return (
            float(stats.beta.ppf(1 - CONFIDENCE, self.count, self.runs - self.count + 1))
            if self.count
            else 0.0
        )

    def keeps(self, level: float, *, limit: float) -> bool:
        """Return whether the rate is shown to be below `limit`; of few runs, whether `level` explains it."""
        return self.upper <= limit if self.runs >= ENOUGH_RUNS else self.lower <= level

    def told(self) -> str:
        """Return the share and its bound as text."""
        return f"{100 * self.share:.2f} % (<= {100 * self.upper:.2f} %)"


@dataclass(slots=True)
class Report:
    """One table: its rows, and what of it missed its goal.

    Attributes
    ----------
    violated : list of str
        Promises that the simulation did not find kept: the script ends with 1.
    missed : list of str
        Goals, of speed or of width, that were not reached.
    """

    key: str
    title: str
    header: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    violated: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)

    def promise(self, name: str, rate: Rate, *, level: float, limit: float) -> None:
        """Note it if the rate is higher than promised."""
        if not rate.keeps(level, limit=limit):
            self.violated.append(f"{name}: {rate.told()} where {100 * limit:g} % is the limit")

    def goal(self, name: str, value: float, *, at_most: float = float("inf"), at_least: float = 0.0) -> None:
        """Note it if the value is outside its goal."""
        if not at_least <= value <= at_most:
            wanted = f"at most {at_most:g}" if value > at_most else f"at least {at_least:g}"
            self.missed.append(f"{name}: {value:.3f}, wanted {wanted}")

    def told(self) -> str:
        """Return the table as Markdown."""
        parts = [f"### {self.title}", markdown(self.header, self.rows), *self.notes]
        parts += [f"VIOLATED: {line}" for line in self.violated] + [
            f"Goal missed: {line}" for line in self.missed
        ]
        return "\n\n".join(parts) + "\n"

    def as_csv(self) -> str:
        """Return the table as CSV."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([self.header, *self.rows])
        return text.getvalue()


def write(reports: Iterable[Report], folder: Path, *, heading: str) -> None:
    """Write each table as CSV and all of them as one page of Markdown."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = [heading]
    for report in reports:
        (folder / f"{report.key}.csv").write_text(report.as_csv(), "utf-8")
        pages.append(report.told())
    (folder / "calibration.md").write_text("\n".join(pages), "utf-8")
