"""What is measured, and by what it may be cut: one number per unit, and groups of units."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from experiments.errors import InvalidDefinitionError
from experiments.event_filters import EVERYTHING, parse_filter
from experiments.metric_kinds import MetricKind, Test
from experiments.micro_units import is_exact
from experiments.targeting.conditions import Condition
from experiments.targeting.operators import Scalar
from experiments.values import JsonValue, is_plain, same_plain

MAX_GROUPS = 20
OTHER, UNKNOWN = "other", "unknown"
OF_A_PROPERTY = frozenset(
    {
        MetricKind.MEAN,
        MetricKind.QUANTILE,
        MetricKind.NPS,
        MetricKind.CSAT,
        MetricKind.CES,
        MetricKind.LIFETIME_VALUE,
        MetricKind.MARGIN,
    }
)
WITH_FACTOR = frozenset({MetricKind.LIFETIME_VALUE, MetricKind.MARGIN})


class Direction(StrEnum):
    """Which way a metric is better."""

    UP = "up"
    DOWN = "down"


class Aggregate(StrEnum):
    """What becomes of the numbers of a unit's events."""

    SUM = "sum"
    MAX = "max"
    MIN = "min"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One number per unit, from its events inside `window_s` seconds after its first exposure.

    Attributes
    ----------
    value : str
        Property that is summed (of a survey: the score; of a ratio: empty to count events).
    aggregate : Aggregate
        Instead of the sum the largest or the smallest `value` of a unit.
    per, per_value : str
        Denominator of a ratio: its event, and the property summed (empty to count events).
    then : str
        Event that a funnel's step leads to, and that an abandoned cart lacks.
    after_s : int
        Retention and churn look at events from this many seconds after the first exposure on.
    quantile : float
        Of a quantile; in (0, 1).
    scale : pair of int or None
        Lowest and highest score of a survey.
    factor : float
        What one unit of value is worth, in a lifetime value and in a margin.
    minus : str
        Of a margin: property that holds what was given away; empty for nothing.
    lookback_s : int
        The same number from this many seconds before the first exposure is a covariate; 0 for none.
    where, per_where : mapping of property to value or operators
        Which events of `event`, and of `per`, count, as written; see `experiments.event_filters`.
    counts, per_counts : Condition
        What `where` and `per_where` mean.
    unit : str
        What people read behind the number: ``s``, ``visits``; amounts of money have a `currency` instead.
    cap : float or None
        Winsorizing limit of the unit's value, in the metric's unit; fixed before launch.
    """

    key: str
    kind: MetricKind
    event: str
    window_s: int
    value: str = ""
    aggregate: Aggregate = Aggregate.SUM
    per: str = ""
    per_value: str = ""
    then: str = ""
    after_s: int = 0
    quantile: float = 0.5
    scale: tuple[int, int] | None = None
    factor: float = 1.0
    minus: str = ""
    lookback_s: int = 0
    where: Mapping[str, JsonValue] = field(default_factory=dict)
    per_where: Mapping[str, JsonValue] = field(default_factory=dict)
    currency: str = ""
    unit: str = ""
    cap: float | None = None
    direction: Direction = Direction.UP
    label: str = ""
    owner: str = ""
    counts: Condition = field(default=EVERYTHING, init=False, repr=False, compare=False)
    per_counts: Condition = field(default=EVERYTHING, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.kind in OF_A_PROPERTY and not self.value:
            wanted = f"'{self.kind.value}' needs 'value': the property that holds its number"
            raise InvalidDefinitionError(wanted, path=("value",), code="E330")
        if self.window_s <= 0:
            raise InvalidDefinitionError(
                "the window must be longer than nothing", path=("window",), code="E331"
            )
        if self.cap is not None and self.cap <= 0:
            raise InvalidDefinitionError("the cap must be above zero", path=("cap",), code="E332")
        if self.cap is not None and not is_exact(self.cap):
            message = f"the cap {self.cap!r} has more than six decimals"
            raise InvalidDefinitionError(message, path=("cap",), code="E308", hint="round it")
        if not 0 <= self.after_s < self.window_s:
            raise InvalidDefinitionError(
                "'after' must be shorter than the window: nothing is left of it", path=("after",), code="E335"
            )
        object.__setattr__(self, "counts", parse_filter(self.where, path=("where",)))
        object.__setattr__(self, "per_counts", parse_filter(self.per_where, path=("per_where",)))

    @property
    def test(self) -> Test:
        """Which test judges it: that of its kind, but a count with a covariate is judged as a mean."""
        if self.kind.test is Test.COUNT and self.lookback_s:
            return Test.MEAN
        return self.kind.test

    def sums(self) -> tuple[tuple[str, str], ...]:
        """Return the types of events and their properties whose numbers it reads."""
        pairs = ((self.event, self.value), (self.event, self.minus), (self.per, self.per_value))
        return tuple((event, name) for event, name in pairs if event and name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimension:
    """A way to cut results: units by a property of their first exposure.

    Attributes
    ----------
    property : str
        Of the event ``Experiment Viewed``, by its own name.
    values : tuple of plain values
        Each is a group, equal as JSON; 1 to 20 of them. What is not listed is in the group `OTHER`, what is
        absent, null, a list or an object in `UNKNOWN`.
    """

    key: str
    property: str
    values: tuple[Scalar, ...]
    label: str = ""

    def __post_init__(self) -> None:
        if not 0 < len(self.values) <= MAX_GROUPS:
            message = f"a dimension has 1 to {MAX_GROUPS} values, not {len(self.values)}"
            hint = "list those that matter: the rest is one group, 'other'"
            raise InvalidDefinitionError(message, path=("values",), code="E342", hint=hint)
        taken = [OTHER, UNKNOWN]
        for i, value in enumerate(self.values):
            name = UNKNOWN if value is None else group_name(value)
            if name in taken:
                message = f"the group '{name}' is there already"
                hint = "remove it: what is not listed is 'other', what is absent 'unknown'"
                raise InvalidDefinitionError(message, path=("values", i), code="E342", hint=hint)
            taken.append(name)

    def groups(self) -> tuple[str, ...]:
        """Return every group, the two that are always there last."""
        return (*map(group_name, self.values), OTHER, UNKNOWN)

    def group_of(self, value: object) -> str:
        """Return the group of a unit whose first exposure has this value; None where it has none."""
        if value is None or not is_plain(value):
            return UNKNOWN
        return next((group_name(one) for one in self.values if same_plain(one, value)), OTHER)


def group_name(value: Scalar) -> str:
    """Return how a group is called: its text, or its value as JSON.

    Parameters
    ----------
    value : plain value
        Of a dimension.

    Returns
    -------
    str

    Examples
    --------
    >>> group_name("mobile"), group_name(True), group_name(3.0)
    ('mobile', 'true', '3')
    """
    if isinstance(value, str):
        return value
    return json.dumps(int(value) if isinstance(value, float) and value.is_integer() else value)
