"""The kinds of metrics, and which statistical test judges each."""

from enum import StrEnum


class Test(StrEnum):
    """The statistical tests; every kind of metric is judged by one of them."""

    __test__ = False  # pytest would take it for a class of its own tests

    CONVERSION = "conversion"
    COUNT = "count"
    MEAN = "mean"
    RATIO = "ratio"
    QUANTILE = "quantile"


class MetricKind(StrEnum):
    """How a metric turns a unit's events into numbers; `experiments.kinds` says it exactly."""

    CONVERSION = "conversion"
    COUNT = "count"
    MEAN = "mean"
    RATIO = "ratio"
    QUANTILE = "quantile"
    NPS = "nps"
    CSAT = "csat"
    CES = "ces"
    RETENTION = "retention"
    CHURN = "churn"
    REPEAT_PURCHASE = "repeat_purchase"
    CART_ABANDONMENT = "cart_abandonment"
    LIFETIME_VALUE = "lifetime_value"
    FUNNEL = "funnel"
    MARGIN = "margin"

    @property
    def test(self) -> Test:
        """Which test judges it without a covariate; see `Metric.test`."""
        return _TESTS.get(self, Test.RATIO)

    @property
    def is_share(self) -> bool:
        """Whether its mean is a share of units or of answers: between 0 and 1, told in per cent."""
        return self in _SHARES

    @property
    def in_points(self) -> bool:
        """Whether a change of it is told in points: no lift over a score that may be negative."""
        return self is MetricKind.NPS


_TESTS = {
    MetricKind.CONVERSION: Test.CONVERSION,
    MetricKind.RETENTION: Test.CONVERSION,
    MetricKind.CHURN: Test.CONVERSION,
    MetricKind.COUNT: Test.COUNT,
    MetricKind.MEAN: Test.MEAN,
    MetricKind.LIFETIME_VALUE: Test.MEAN,
    MetricKind.MARGIN: Test.MEAN,
    MetricKind.QUANTILE: Test.QUANTILE,
}
_SHARES = frozenset(
    {
        MetricKind.CONVERSION,
        MetricKind.CSAT,
        MetricKind.RETENTION,
        MetricKind.CHURN,
        MetricKind.REPEAT_PURCHASE,
        MetricKind.CART_ABANDONMENT,
        MetricKind.FUNNEL,
    }
)
