"""What a verdict is computed from: additive facts per closed day; order and lateness change nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from experiments.errors import InvalidParameterError
from experiments.moments import NOTHING, Moments


@dataclass(frozen=True, slots=True)
class PeriodMoments:
    """One metric of one variant for the units whose window closed on the UTC day `period`."""

    metric: str
    variant: str
    period: date
    moments: Moments


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Units first exposed to `variant` on the UTC day `period`, without those that saw several variants.

    `source` is what sent the first exposure (a door of the service, an import); empty where it is not known.
    """

    period: date
    variant: str
    n: int
    source: str = ""


@dataclass(frozen=True, slots=True)
class Enrolled:
    """The share of all units that was enrolled from the UTC day `since` on; None: not known."""

    since: date
    share: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExposureAccount:
    """Where every exposure event and every exposed unit went.

    Attributes
    ----------
    events, first, repeats : int
        ``events == first + repeats + sum(quarantined)``.
    quarantined : mapping of reason to events
    exposed_units : mapping of variant to units
        ``sum(exposed_units) == sum(excluded) + sum(analysed)``.
    excluded : mapping of reason to units
        ``multiple_variants``, ``immature`` (the primary metric's window is still open), and where the primary
        is about units with an event only, ``without_event``.
    analysed : mapping of variant to units
        In the primary metric.
    contaminated_units : int
        Exposed units, not excluded for it, whose person saw another variant under another unit.
    """

    events: int = 0
    first: int = 0
    repeats: int = 0
    quarantined: Mapping[str, int] = field(default_factory=dict)
    exposed_units: Mapping[str, int] = field(default_factory=dict)
    excluded: Mapping[str, int] = field(default_factory=dict)
    analysed: Mapping[str, int] = field(default_factory=dict)
    contaminated_units: int = 0

    @property
    def n_exposed(self) -> int:
        """Exposed units of all variants."""
        return sum(self.exposed_units.values())

    def members(self) -> dict[str, object]:
        """Return the ``exposure`` member of a verdict."""
        return {
            "events": self.events,
            "first": self.first,
            "repeats": self.repeats,
            "quarantined": dict(sorted(self.quarantined.items())),
            "exposed_units": dict(sorted(self.exposed_units.items())),
            "excluded": dict(sorted(self.excluded.items())),
            "analysed": dict(sorted(self.analysed.items())),
            "contaminated_units": self.contaminated_units,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything that is known about one phase of an experiment at one look.

    Attributes
    ----------
    periods : sequence of PeriodMoments
        Periods that are not closed at `as_of` are left out by `closed_periods`.
    arrivals : sequence of Arrivals
    account : ExposureAccount
    as_of : datetime
        Aware: up to when the log is complete.
    first_exposure_at : datetime or None
        Aware; None before the first exposure.
    windows_open : bool
        Whether a unit is still inside the window of some metric, or of the day in which that ends.
    exploratory : frozenset of str
        Metrics that were not planned when the phase was begun, and the primary if another one was primary.
    changed : mapping of metric to revision
        Planned metrics that are measured in another way since that revision.
    enrolled : sequence of Enrolled
        By day, oldest first; the first also holds for the days before. Empty: as the experiment is now.
    """

    periods: Sequence[PeriodMoments]
    arrivals: Sequence[Arrivals]
    account: ExposureAccount
    as_of: datetime
    first_exposure_at: datetime | None
    windows_open: bool = True
    exploratory: frozenset[str] = frozenset()
    changed: Mapping[str, int] = field(default_factory=dict)
    enrolled: Sequence[Enrolled] = ()

    def __post_init__(self) -> None:
        if self.as_of.tzinfo is None:
            raise InvalidParameterError(f"as_of has no zone: {self.as_of}")

    def closed_periods(self) -> tuple[PeriodMoments, ...]:
        """Return the periods that ended before `as_of`, oldest first."""
        today = self.as_of.astimezone(UTC).date()
        return tuple(sorted((p for p in self.periods if p.period < today), key=lambda p: p.period))

    def closed_arrivals(self) -> tuple[Arrivals, ...]:
        """Return the arrivals of days that ended before `as_of`, oldest first."""
        today = self.as_of.astimezone(UTC).date()
        return tuple(sorted((a for a in self.arrivals if a.period < today), key=lambda a: a.period))


def cumulate(periods: Sequence[PeriodMoments]) -> Mapping[tuple[str, str], Moments]:
    """Add up moments over periods.

    Parameters
    ----------
    periods : sequence of PeriodMoments
        In any order.

    Returns
    -------
    mapping of (metric, variant) to Moments

    Examples
    --------
    >>> day = PeriodMoments("buy", "a", date(2027, 1, 1), Moments.of([0, 1_000_000]))
    >>> cumulate([day, day])["buy", "a"].n
    4
    """
    sums: dict[tuple[str, str], Moments] = {}
    for row in periods:
        key = (row.metric, row.variant)
        sums[key] = sums.get(key, NOTHING) + row.moments
    return sums
