"""Which properties of the events an analysis reads: each becomes a column, as engines disagree on maps."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from experiments.definitions import Metric
from experiments.event_filters import amounts_asked, facts_asked
from experiments.kinds import WITH_CURRENCY

OWN_COLUMNS = frozenset({"user_id", "anonymous_id"})
CURRENCY = "currency"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Names of properties, sorted, each once: `facts` to compare as they are, `amounts` to add up or compare.

    `types` are the types of the events that are read; empty for all events.
    """

    facts: tuple[str, ...] = ()
    amounts: tuple[str, ...] = ()
    types: tuple[str, ...] = ()

    @classmethod
    def of(cls, metrics: Sequence[Metric], unit: str) -> "Wanted":
        """Return what `metrics` read, and where a unit that is a property has its id."""
        filters = [told for metric in metrics for told in (metric.counts, metric.per_counts)]
        facts = {name for told in filters for name in facts_asked(told)}
        if any(metric.currency and metric.kind in WITH_CURRENCY for metric in metrics):
            facts.add(CURRENCY)
        if unit not in OWN_COLUMNS:
            facts.add(unit)
        return cls(
            _sorted(facts),
            _sorted(
                {name for told in filters for name in amounts_asked(told)}.union(
                    *((metric.value, metric.minus, metric.per_value) for metric in metrics)
                )
            ),
            _sorted(name for metric in metrics for name in (metric.event, metric.per, metric.then)),
        )

    def fact(self, name: str) -> str:
        """Return the column of a property's canonical JSON text."""
        return f"fact_{self.facts.index(name)}"

    def amount(self, name: str) -> str:
        """Return the column of a property's micro-units."""
        return f"amount_{self.amounts.index(name)}"


def _sorted(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(names) - {""}))
