"""The words for what a metric is for, and for what is known of it."""

from enum import StrEnum


class Role(StrEnum):
    """What a metric is for."""

    PRIMARY = "primary"
    SECONDARY = "secondary"
    GUARDRAIL = "guardrail"


class MetricState(StrEnum):
    """What is known of a metric; `safe` is for guardrails, `no_effect` for the primary."""

    CONTROL = "control"
    BURN_IN = "burn_in"
    NOT_YET_KNOWN = "not_yet_known"
    BETTER = "better"
    WORSE = "worse"
    NO_EFFECT = "no_effect"
    SAFE = "safe"


NOTHING_KNOWN = frozenset({MetricState.BURN_IN, MetricState.NOT_YET_KNOWN})
DECIDED = frozenset({MetricState.BETTER, MetricState.WORSE, MetricState.NO_EFFECT})
POSSIBLE = {
    Role.PRIMARY: NOTHING_KNOWN | {MetricState.BETTER, MetricState.WORSE, MetricState.NO_EFFECT},
    Role.SECONDARY: NOTHING_KNOWN | {MetricState.BETTER, MetricState.WORSE},
    Role.GUARDRAIL: NOTHING_KNOWN | {MetricState.WORSE, MetricState.SAFE},
}
"""Which states a treatment can have in a metric of each role."""
