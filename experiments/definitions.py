"""What a catalog defines about experiments: frozen values whose invariants hold from construction."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, StrEnum
from types import MappingProxyType
from typing import TypeAlias

from experiments.decision_rules import ROLLBACK_WHEN, SHIP_WHEN, Rule
from experiments.errors import InvalidDefinitionError
from experiments.gates import ANONYMOUS_UNIT, Holdout, Layer, LayerSlot, Prerequisite, check_overrides
from experiments.lifecycle import TOTAL_BP, RampStep, Schedule, Status, check_ramp, share_at, unlocked
from experiments.metric_kinds import MetricKind as MetricKind  # noqa: PLC0414 - for importers of this module
from experiments.metric_kinds import Test as Test  # noqa: PLC0414 - likewise
from experiments.rule_faults import refuse_faulty
from experiments.states import Role
from experiments.targeting import Condition
from experiments.targeting.operators import Scalar

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"

NO_OVERRIDES: Mapping[str, tuple[str, ...]] = MappingProxyType({})
MIN_VARIANTS = 2
MAX_ALPHA = 0.5
RESERVED_VARIANTS = frozenset({"default", "on", "off"})
FLAG_VARIANTS = ("on", "off")


class ControlValue(Enum):
    """Stands for «what the control serves»."""

    CONTROL = "control"


_OF_A_PROPERTY = frozenset(
    {
        MetricKind.MEAN,
        MetricKind.QUANTILE,
        MetricKind.NPS,
        MetricKind.CSAT,
        MetricKind.CES,
        MetricKind.LIFETIME_VALUE,
    }
)


class Direction(StrEnum):
    """Which way a metric is better."""

    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One treatment: its key, the value it serves and its share in basis points."""

    key: str
    value: JsonValue
    weight_bp: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Guardrail:
    """A metric that must not get worse than `margin` (a fraction when relative, else the metric's unit)."""

    metric: str
    margin: float
    relative: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricPlan:
    """Which metrics judge an experiment; each in one role, and with one margin."""

    primary: str
    secondary: tuple[str, ...] = ()
    guardrails: tuple[Guardrail, ...] = ()

    def __post_init__(self) -> None:
        named = [self.primary, *self.secondary, *(g.metric for g in self.guardrails)]
        twice = next((key for key in named if named.count(key) > 1), None)
        if twice is not None:
            raise InvalidDefinitionError(
                f"the metric '{twice}' plays two roles",
                path=("metrics",),
                code="E317",
                hint="name it once, in its most important role",
            )

    def keys(self) -> tuple[str, ...]:
        """Return every metric key once, primary first."""
        return tuple(dict.fromkeys((self.primary, *self.secondary, *(g.metric for g in self.guardrails))))

    def roles(self) -> dict[str, Role]:
        """Return what each metric is for, primary first."""
        minor = dict.fromkeys(self.secondary, Role.SECONDARY)
        return {
            key: Role.PRIMARY if key == self.primary else minor.get(key, Role.GUARDRAIL)
            for key in self.keys()
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisPlan:
    """How the experiment is judged; fixed before launch. Shares in (0, 1); `mde` is relative to control.

    `alpha` is below 0.5: a bound that misses in half of all runs is none.
    """

    alpha: float = 0.05
    power: float = 0.8
    mde: float = 0.1
    baseline: float = 0.05

    def __post_init__(self) -> None:
        if not 0 < self.alpha < MAX_ALPHA:
            raise InvalidDefinitionError(
                f"alpha must be above 0% and below {MAX_ALPHA:.0%}, not {self.alpha:.4g}",
                path=("analysis", "alpha"),
                code="E308",
                hint="5% is usual",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionPlan:
    """When a verdict may speak; `min_runtime_s` in seconds since the first exposure.

    `ship_when` and `rollback_when` are asked of each treatment; where both hold, it is rolled back.
    """

    min_runtime_s: int = 7 * 86_400
    at_end_otherwise: str = "keep_control"
    ship_when: Rule = SHIP_WHEN
    rollback_when: Rule = ROLLBACK_WHEN


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """One question with variants and a plan. `variants[0]` is the control.

    Attributes
    ----------
    unit : str
        The attribute of the context that is randomized: ``anonymous_id`` (default), ``user_id``, ...
    allocation_bp : int
        Share of all buckets that is enrolled, 0..10000, at the end of its ramp if it has one; only ever
        extended while running.
    ramp : tuple of RampStep
        Times at which the share grows; nobody is enrolled before the first. Empty: all at once.
    otherwise : JsonValue or ControlValue
        What units see that are not enrolled.
    overrides : mapping of variant key to unit ids
        QA only, never analysed.
    seed : str
        Salt of the first phase, taken over from another system with its experiment; empty for our own.
    shipped : str
        The variant that everybody gets; empty: as assigned. No catalog says it, see `experiments.steering`.
    ramp_limit : int or None
        How many steps of the ramp may open (likewise); None: those before the first gated one.
    """

    key: str
    variants: tuple[Variant, ...]
    metrics: MetricPlan
    owner: str = ""
    statement: str = ""
    status: Status = Status.RUNNING
    schedule: Schedule = field(default_factory=Schedule)
    unit: str = ANONYMOUS_UNIT
    phase: int = 1
    seed: str = ""
    layer: LayerSlot | None = None
    holdout: Holdout | None = None
    prerequisites: tuple[Prerequisite, ...] = ()
    audience: Condition | None = None
    allocation_bp: int = TOTAL_BP
    ramp: tuple[RampStep, ...] = ()
    otherwise: "JsonValue | ControlValue" = ControlValue.CONTROL
    overrides: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: NO_OVERRIDES)
    analysis: AnalysisPlan = field(default_factory=AnalysisPlan)
    decide: DecisionPlan = field(default_factory=DecisionPlan)
    shipped: str = ""
    ramp_limit: int | None = None

    def __post_init__(self) -> None:
        if len(self.variants) < MIN_VARIANTS:
            raise InvalidDefinitionError(
                "an experiment needs a control and at least one more variant", path=("variants",), code="E311"
            )
        total = sum(v.weight_bp for v in self.variants)
        if total != TOTAL_BP:
            shares = ", ".join(f"{v.key} {v.weight_bp / 100:g}" for v in self.variants)
            raise InvalidDefinitionError(
                f"weights add up to {total / 100:g}, they must add up to 100 ({shares})",
                path=("variants",),
                code="E310",
            )
        reserved = [v.key for v in self.variants if v.key in RESERVED_VARIANTS]
        if reserved:
            raise InvalidDefinitionError(
                f"the variant name {reserved[0]!r} is reserved", path=("variants", reserved[0]), code="E312"
            )
        if len({type_name(v.value) for v in self.variants}) > 1:
            raise InvalidDefinitionError(
                "all variants of an experiment must serve the same type of value",
                path=("variants",),
                code="E313",
            )
        _check_same_type(self.default_value, self.control.value, "otherwise and the variants")
        check_overrides(self.overrides, [v.key for v in self.variants])
        check_ramp(self.ramp, self.allocation_bp, guarded=bool(self.metrics.guardrails))
        refuse_faulty(self.decide.ship_when, self.decide.rollback_when, self.metrics.roles())

    @property
    def salt(self) -> str:
        """What is hashed with the unit id; a new phase is a new salt."""
        return self.seed if self.seed and self.phase == 1 else f"{self.key}#{self.phase}"

    @property
    def control(self) -> Variant:
        """The variant the others are compared with: the first one."""
        return self.variants[0]

    @property
    def default_value(self) -> JsonValue:
        """What units see that are not enrolled."""
        return self.control.value if isinstance(self.otherwise, ControlValue) else self.otherwise

    def share_at(self, now: datetime) -> int:
        """Return the basis points of all units that are enrolled at `now`; schedule and gates aside."""
        return share_at(self.ramp, self.allocation_bp, now, limit=self.ramp_limit)

    @property
    def timed_steps(self) -> tuple[RampStep, ...]:
        """The steps of its ramp that open by time alone."""
        return tuple(unlocked(self.ramp, self.ramp_limit))


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """A switch without a question: `value` for the eligible share, `otherwise` for the rest."""

    key: str
    value: JsonValue = True
    otherwise: JsonValue = False
    owner: str = ""
    status: Status = Status.RUNNING
    schedule: Schedule = field(default_factory=Schedule)
    unit: str = ANONYMOUS_UNIT
    seed: str = ""
    layer: LayerSlot | None = None
    holdout: Holdout | None = None
    prerequisites: tuple[Prerequisite, ...] = ()
    audience: Condition | None = None
    allocation_bp: int = TOTAL_BP
    ramp: tuple[RampStep, ...] = ()
    overrides: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: NO_OVERRIDES)

    def __post_init__(self) -> None:
        _check_same_type(self.otherwise, self.value, "value and otherwise")
        check_overrides(self.overrides, FLAG_VARIANTS)
        check_ramp(self.ramp, self.allocation_bp)

    @property
    def salt(self) -> str:
        """What is hashed with the unit id."""
        return self.seed or f"{self.key}#1"

    def share_at(self, now: datetime) -> int:
        """Return the basis points of all units that it is on for at `now`; schedule and gates aside."""
        return share_at(self.ramp, self.allocation_bp, now)

    @property
    def timed_steps(self) -> tuple[RampStep, ...]:
        """The steps of its ramp that open by time alone."""
        return self.ramp


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One number per unit, from its events inside `window_s` seconds after its first exposure.

    Attributes
    ----------
    value : str
        Property that is summed (of a survey: the score; of a ratio: empty to count events).
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
        What one unit of value is worth, in a lifetime value.
    lookback_s : int
        The same number from this many seconds before the first exposure is a covariate; 0 for none.
    where : mapping of property to value
        Only events whose properties equal all of these count.
    cap : float or None
        Winsorizing limit of the unit's value, in the metric's unit; fixed before launch.
    """

    key: str
    kind: MetricKind
    event: str
    window_s: int
    value: str = ""
    per: str = ""
    per_value: str = ""
    then: str = ""
    after_s: int = 0
    quantile: float = 0.5
    scale: tuple[int, int] | None = None
    factor: float = 1.0
    lookback_s: int = 0
    where: Mapping[str, JsonValue] = field(default_factory=dict)
    currency: str = ""
    cap: float | None = None
    direction: Direction = Direction.UP
    label: str = ""

    def __post_init__(self) -> None:
        if self.kind in _OF_A_PROPERTY and not self.value:
            wanted = f"'{self.kind.value}' needs 'value': the property that holds its number"
            raise InvalidDefinitionError(wanted, path=("value",), code="E330")
        if self.window_s <= 0:
            raise InvalidDefinitionError(
                "the window must be longer than nothing", path=("window",), code="E331"
            )
        if self.cap is not None and self.cap <= 0:
            raise InvalidDefinitionError("the cap must be above zero", path=("cap",), code="E332")
        if not 0 <= self.after_s < self.window_s:
            raise InvalidDefinitionError(
                "'after' must be shorter than the window: nothing is left of it", path=("after",), code="E335"
            )

    @property
    def test(self) -> Test:
        """Which test judges it: that of its kind, but a count with a covariate is judged as a mean."""
        if self.kind.test is Test.COUNT and self.lookback_s:
            return Test.MEAN
        return self.kind.test

    def sums(self) -> tuple[tuple[str, str], ...]:
        """Return the types of events and their properties whose numbers it reads."""
        pairs = ((self.event, self.value), (self.per, self.per_value))
        return tuple((event, name) for event, name in pairs if event and name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """All definitions of one revision about experiments; keys are unique across flags and experiments."""

    experiments: Mapping[str, Experiment] = field(default_factory=dict)
    flags: Mapping[str, Flag] = field(default_factory=dict)
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    audiences: Mapping[str, Condition] = field(default_factory=dict)
    layers: Mapping[str, Layer] = field(default_factory=dict)
    holdouts: Mapping[str, Holdout] = field(default_factory=dict)
    lists: Mapping[str, tuple[Scalar, ...]] = field(default_factory=dict)


def _check_same_type(value: JsonValue, other: JsonValue, which: str) -> None:
    if type_name(value) != type_name(other):
        raise InvalidDefinitionError(f"{which} must have the same type", path=("otherwise",), code="E313")


def type_name(value: JsonValue) -> str:
    """Return OpenFeature's name for the type of `value`; whole and broken numbers are both ``number``."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "null" if value is None else "object"
