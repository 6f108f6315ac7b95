"""What a catalog defines about experiments: frozen values whose invariants hold from construction."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from types import MappingProxyType

from experiments.automatic import Automatic
from experiments.decision_rules import ROLLBACK_WHEN, SHIP_WHEN, Rule
from experiments.errors import InvalidDefinitionError
from experiments.gates import ANONYMOUS_UNIT, Holdout, Layer, LayerSlot, Prerequisite, check_overrides
from experiments.lifecycle import TOTAL_BP, RampStep, Schedule, Status, check_ramp, share_at, unlocked
from experiments.metric_kinds import MetricKind as MetricKind  # noqa: PLC0414 - for importers of this module
from experiments.metric_kinds import Test as Test  # noqa: PLC0414 - likewise
from experiments.metrics import Dimension as Dimension  # noqa: PLC0414 - likewise
from experiments.metrics import Direction as Direction  # noqa: PLC0414 - likewise
from experiments.metrics import Metric as Metric  # noqa: PLC0414 - likewise
from experiments.money_plan import MoneyPlan
from experiments.rule_faults import refuse_faulty
from experiments.states import Role
from experiments.targeting import Condition
from experiments.targeting.operators import Scalar
from experiments.values import JsonValue as JsonValue  # noqa: PLC0414 - likewise
from experiments.values import type_name as type_name  # noqa: PLC0414 - likewise

NO_OVERRIDES: Mapping[str, tuple[str, ...]] = MappingProxyType({})
MIN_VARIANTS = 2
MAX_ALPHA = 0.5
RESERVED_VARIANTS = frozenset({"default", "on", "off"})
FLAG_VARIANTS = ("on", "off")


class ControlValue(Enum):
    """Stands for «what the control serves»."""

    CONTROL = "control"


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
    automatic: Automatic = field(default_factory=Automatic)


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
    notify : tuple of str or None
        Webhooks that are told of decisions; None: those that are told of all experiments.
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
    money: MoneyPlan | None = None
    notify: tuple[str, ...] | None = None
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
        first = self.control
        odd = next((v for v in self.variants if type_name(v.value) != type_name(first.value)), None)
        if odd is not None:
            raise InvalidDefinitionError(
                "all variants of an experiment must serve the same type of value",
                path=("variants",),
                code="E313",
                hint=f"{odd.key} serves {_typed(odd.value)}, {first.key} {_typed(first.value)}",
            )
        _check_same_type(self.default_value, self.control.value, "otherwise and the variants")
        check_overrides(self.overrides, [v.key for v in self.variants])
        check_ramp(self.ramp, self.allocation_bp, guarded=bool(self.metrics.guardrails))
        if self.money is not None:
            self.money.check([v.key for v in self.variants])
        refuse_faulty(self.decide.ship_when, self.decide.rollback_when, self.metrics.roles())

    @property
    def salt(self) -> str:
        """What is hashed with the unit id; a new phase is a new salt."""
        return self.seed if self.seed and self.phase == 1 else f"{self.key}#{self.phase}"

    @property
    def control(self) -> Variant:
        """The variant the others are compared with: the first one."""
        return self.variants[0]

    def metric_keys(self) -> tuple[str, ...]:
        """Return every metric that a verdict needs once, the primary first and that of the money last."""
        money = () if self.money is None else (self.money.metric,)
        return tuple(dict.fromkeys((*self.metrics.keys(), *money)))

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
class Catalog:
    """All definitions of one revision about experiments; keys are unique across flags and experiments."""

    experiments: Mapping[str, Experiment] = field(default_factory=dict)
    flags: Mapping[str, Flag] = field(default_factory=dict)
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    audiences: Mapping[str, Condition] = field(default_factory=dict)
    layers: Mapping[str, Layer] = field(default_factory=dict)
    holdouts: Mapping[str, Holdout] = field(default_factory=dict)
    lists: Mapping[str, tuple[Scalar, ...]] = field(default_factory=dict)
    dimensions: Mapping[str, Dimension] = field(default_factory=dict)


def _check_same_type(value: JsonValue, other: JsonValue, which: str) -> None:
    if type_name(value) != type_name(other):
        hint = f"'otherwise' is {_typed(value)}, not {_typed(other)}"
        raise InvalidDefinitionError(
            f"{which} must have the same type", path=("otherwise",), code="E313", hint=hint
        )


def _typed(value: JsonValue) -> str:
    """Return a type with its article: 'a string', 'an object', 'null'."""
    name = type_name(value)
    return name if value is None else f"an {name}" if name == "object" else f"a {name}"
