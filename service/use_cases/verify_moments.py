"""Whether the rows that are kept of units give what the whole log gives, to the last digit."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from experiments.definitions import Catalog, Experiment
from service.lake.moments import Facts
from service.lake.partials import open_kept
from service.lake.places import Where

# Later than any window ends: the numbers of all units are compared, also of those still inside theirs.
ENDED_US = 2**62


@dataclass(frozen=True, slots=True)
class Difference:
    """A number that is not the same: whose it is, from kept rows, and from the whole log."""

    place: str
    kept: str
    whole: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What was found of one experiment."""

    experiment: str
    phase: int
    n_units: int
    differences: tuple[Difference, ...]


def verify(lake: Where, partials: Path, catalog: Catalog, experiment: Experiment) -> Verified:
    """Compute the facts of one experiment from kept rows, brought up to date, and from the whole lake.

    Raises
    ------
    PartialsBusyError
        If another process uses the rows just now.
    """
    metrics = tuple(catalog.metrics[key] for key in experiment.metric_keys())
    with open_kept(lake, partials) as reader:
        # First the whole: afterwards the reader knows people from what is kept.
        whole = reader.whole_facts(experiment, metrics, until_us=ENDED_US)
        kept = reader.kept_facts(experiment, metrics, until_us=ENDED_US)
    return Verified(
        experiment=experiment.key,
        phase=experiment.phase,
        n_units=sum(units.exposed for units in whole.units.values()),
        differences=tuple(differences(kept, whole)),
    )


def differences(kept: Facts, whole: Facts) -> Iterable[Difference]:
    """Return where two facts differ, in the order of their places."""
    ours, theirs = _numbers(kept), _numbers(whole)
    for place in sorted(ours.keys() | theirs.keys()):
        if ours.get(place) != theirs.get(place):
            yield Difference(" ".join(place), _told(ours.get(place)), _told(theirs.get(place)))


Numbers = Mapping[str, object]


def _numbers(facts: Facts) -> dict[tuple[str, ...], Numbers]:
    found: dict[tuple[str, ...], Numbers] = {
        ("exposures",): {"events": facts.n_events, "first_us": facts.first_us},
        ("contaminated",): {"n": facts.contaminated},
    }
    for variant, units in facts.units.items():
        found["units", variant] = {"exposed": units.exposed, "several": units.multiple_variants}
    for arrival in facts.arrivals:
        found["arrivals", arrival.variant, str(arrival.period), arrival.source] = {"n": arrival.n}
    for metric, n in facts.absent.items():
        found["absent", metric] = {"n": n}
    for row in facts.periods:
        one = row.moments
        found["moments", row.metric, row.variant, str(row.period)] = {
            "n": one.n,
            "total": one.total,
            "total_sq": one.total_sq,
            "others": one.others,
            "products": one.products,
            "bins": one.bins,
        }
    return found


def _told(numbers: Numbers | None) -> str:
    if numbers is None:
        return "nothing"
    return ", ".join(f"{name}={value}" for name, value in numbers.items() if value != ())
