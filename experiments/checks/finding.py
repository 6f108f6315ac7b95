"""What a check says, and how: one sentence of fact, one of advice, and numbers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, TypeAlias

from experiments.definitions import Experiment, Metric
from experiments.evidence import Evidence

MOST_NAMED = 3


class CheckState(StrEnum):
    """An alarm makes the verdict untrustworthy; a warning is shown beside it."""

    OK = "ok"
    WARNING = "warning"
    ALARM = "alarm"
    NOT_YET_KNOWN = "not_yet_known"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of one check; `detail` is one plain sentence, `advice` what to do, `facts` its numbers."""

    check: str
    state: CheckState
    detail: str
    advice: str = ""
    facts: Mapping[str, object] = field(default_factory=dict)

    def members(self) -> dict[str, object]:
        """Return one entry of a verdict's ``checks``."""
        words = {"check": self.check, "state": self.state.value, "detail": self.detail, "advice": self.advice}
        return {**words, **self.facts}


Check: TypeAlias = Callable[[Experiment, Mapping[str, Metric], Evidence], Finding]


class Share(NamedTuple):
    """A number of things among a larger number of them."""

    n: int
    of: int

    @property
    def value(self) -> float:
        """A fraction; 0 of nothing."""
        return self.n / self.of if self.of else 0.0

    @property
    def text(self) -> str:
        """In per cent, for people."""
        return f"{100 * self.value:.1f} %"

    def grade(self, *, warning: float, alarm: float = 1.0) -> CheckState:
        """Return the state of a share that is best small: above `warning`, above `alarm`, or fine.

        Examples
        --------
        >>> Share(2, 100).grade(warning=0.01).value, Share(2, 100).grade(warning=0.02).value
        ('warning', 'ok')
        """
        if self.value > alarm:
            return CheckState.ALARM
        return CheckState.WARNING if self.value > warning else CheckState.OK


def advised(finding: Finding) -> Finding:
    """Return a finding whose advice is only there when something is to be done.

    Parameters
    ----------
    finding : Finding
        Of any state.

    Returns
    -------
    Finding

    Examples
    --------
    >>> advised(Finding(check="x", state=CheckState.OK, detail="Fine.", advice="Mend it.")).advice
    ''
    """
    if finding.state in (CheckState.WARNING, CheckState.ALARM):
        return finding
    return Finding(check=finding.check, state=finding.state, detail=finding.detail, facts=finding.facts)


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


def listed(names: Sequence[str]) -> str:
    """Return the first few names and how many more there are.

    Parameters
    ----------
    names : sequence of str
        In the order in which they are told.

    Returns
    -------
    str

    Examples
    --------
    >>> listed(["a", "b"]), listed(["a", "b", "c", "d", "e"])
    ('a, b', 'a, b, c and 2 more')
    """
    shown = ", ".join(names[:MOST_NAMED])
    return f"{shown} and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else shown


def defined(experiment: Experiment, metrics: Mapping[str, Metric]) -> tuple[Metric, ...]:
    """Return the metrics of a plan that have a definition, primary first.

    Parameters
    ----------
    experiment : Experiment
        Its plan names them.
    metrics : mapping of str to Metric
        Definitions.

    Returns
    -------
    tuple of Metric
        Each once.

    Examples
    --------
    >>> from experiments.definitions import MetricPlan, Variant
    >>> arms = (Variant(key="a", value=1, weight_bp=5000), Variant(key="b", value=2, weight_bp=5000))
    >>> defined(Experiment(key="x", variants=arms, metrics=MetricPlan(primary="m")), {})
    ()
    """
    keys = experiment.metrics.keys()
    return tuple(metrics[key] for key in keys if key in metrics)


def titled(metric: Metric) -> str:
    """Return what people call a metric.

    Parameters
    ----------
    metric : Metric
        Any.

    Returns
    -------
    str
        Its label, or its key.

    Examples
    --------
    >>> from experiments.definitions import MetricKind
    >>> titled(Metric(key="buy", kind=MetricKind.CONVERSION, event="Order", window_s=1))
    'buy'
    """
    return metric.label or metric.key
