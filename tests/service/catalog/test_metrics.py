"""Every kind of metric as YAML: what it becomes, and what is told of keys that it lacks or does not use."""

import pytest

from experiments.definitions import Direction, Metric, MetricKind
from service.catalog import CatalogError, load
from service.catalog.diff import diff
from service.catalog.metric_schema import BY_KIND, KEYS, LONG, SHOWN, MetricSchema

DAY_S = 86_400
GIVEN = {
    "value": "score",
    "currency": "EUR",
    "cap": "500",
    "lookback": "14d",
    "per": "Visit",
    "per_value": "pages",
    "quantile": "90%",
    "scale": "1-7",
    "after": "1d",
    "then": "Order Completed",
    "factor": "30%",
    "aggregate": "max",
    "unit": "s",
    "minus": "discount",
}


def one(text: str) -> Metric:
    return load({"m.yaml": f"metrics:\n  m: {text}\n"}).catalog.metrics["m"]


def told(text: str) -> list[tuple[str, int, str]]:
    """Return code, column and hint of what is wrong with a metric whose text begins in column 6."""
    with pytest.raises(CatalogError) as caught:
        one(text)
    return [(f.code, f.column, f.hint) for f in caught.value.findings]


def written(kind: MetricKind, keys: tuple[str, ...]) -> str:
    pairs = "".join(f", {key}: {GIVEN[key]}" for key in keys)
    return f"{{kind: {kind.value}, event: Happened, window: 7d{pairs}}}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "{kind: ratio, event: Order Completed, value: revenue, currency: EUR, per: Visit, window: 7d}",
            {"value": "revenue", "currency": "EUR", "per": "Visit", "per_value": ""},
        ),
        (
            "{kind: quantile, event: Page Loaded, value: ms, quantile: 90%, window: 1d, direction: down}",
            {"value": "ms", "quantile": 0.9, "direction": Direction.DOWN},
        ),
        ("{kind: nps, event: Survey Answered, value: score, window: 30d}", {"scale": (0, 10)}),
        ("{kind: csat, event: Survey Answered, value: score, window: 30d}", {"scale": (1, 5)}),
        ("{kind: csat, event: Survey Answered, value: score, window: 30d, scale: 1 - 4}", {"scale": (1, 4)}),
        (
            "{kind: ces, event: Survey Answered, value: score, window: 30d}",
            {"scale": (1, 7), "direction": Direction.UP},
        ),
        ("{kind: retention, event: Page Viewed, after: 7d, window: 14d}", {"after_s": 7 * DAY_S}),
        (
            "{kind: churn, event: Page Viewed, after: 7d, window: 14d}",
            {"after_s": 7 * DAY_S, "direction": Direction.DOWN},
        ),
        ("{kind: repeat_purchase, event: Order Completed, window: 60d}", {"window_s": 60 * DAY_S}),
        (
            "{kind: cart_abandonment, event: Product Added, then: Order Completed, window: 3d}",
            {"then": "Order Completed", "direction": Direction.DOWN},
        ),
        (
            "{kind: funnel, event: Checkout Started, then: Order Completed, window: 1d}",
            {"then": "Order Completed", "direction": Direction.UP},
        ),
        (
            "{kind: lifetime_value, event: Order Completed, value: revenue, factor: 30%, window: 7d, cap: 9}",
            {"factor": 0.3, "cap": 9.0},
        ),
        (
            "{kind: lifetime_value, event: Order Completed, value: revenue, factor: 2.5, window: 30d}",
            {"factor": 2.5, "cap": None},
        ),
        (
            "{kind: mean, event: Order Completed, value: revenue, window: 7d, lookback: 14d}",
            {"lookback_s": 14 * DAY_S},
        ),
        ("{kind: churn, event: x, after: 1d, window: 2d, direction: up}", {"direction": Direction.UP}),
    ],
)
def test_a_metric_becomes_what_its_line_says(text: str, expected: dict[str, object]) -> None:
    metric = one(text)

    assert {name: getattr(metric, name) for name in expected} == expected


@pytest.mark.parametrize("kind", MetricKind)
def test_each_kind_takes_what_it_needs_and_may_have_and_nothing_else(kind: MetricKind) -> None:
    keys = KEYS[kind]
    known = (*keys.needs, *keys.may)
    strange = [key for key in BY_KIND if key not in known]

    for shown in SHOWN:
        fitting = tuple(key for key in known if key in keys.needs or key not in SHOWN or key == shown)
        assert one(written(kind, fitting)).kind is kind
    wrong = told(written(kind, (*known, *strange)))
    assert [code for code, _column, _hint in wrong] == ["E333"] * len(wrong)
    assert len(strange) <= len(wrong) <= len(strange) + ({*SHOWN} <= {*known})
    assert all(hint.startswith("remove it") for _code, _column, hint in wrong)
    if keys.needs:
        codes = {"E330" if key == "value" else "E334" for key in keys.needs}
        assert {code for code, _column, _hint in told(written(kind, keys.may))} == codes


def test_every_key_of_the_schema_is_common_or_belongs_to_a_kind() -> None:
    common = {"key", "kind", "event", "where", "window", "direction", "label", "owner", "template", *LONG}

    assert set(MetricSchema().fields) == common | set(BY_KIND)
    assert {key for keys in KEYS.values() for key in (*keys.needs, *keys.may)} == set(BY_KIND)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{kind: nps, event: x, value: s, window: 7d, scale: 1-5}", ("E333", 50)),
        ("{kind: csat, event: x, value: s, window: 7d, scale: 5}", ("E336", 58)),
        ("{kind: csat, event: x, value: s, window: 7d, scale: 1-2}", ("E336", 58)),
        ("{kind: csat, event: x, value: s, window: 7d, scale: 1-101}", ("E336", 58)),
        ("{kind: churn, event: x, after: 7d, window: 7d}", ("E335", 37)),
        ("{kind: lifetime_value, event: x, value: v, window: 7d, factor: 0}", ("E308", 69)),
        ("{kind: lifetime_value, event: x, value: v, window: 7d, factor: 0.1234567}", ("E308", 69)),
        ("{kind: lifetime_value, event: x, value: v, window: 7d, factor: 100000001%}", ("E308", 69)),
        ("{kind: lifetime_value, event: x, value: v, window: 7d, factor: true}", ("E308", 69)),
        ("{kind: margin, event: x, value: v, currency: EUR, window: 7d, factor: 35}", ("E308", 76)),
        ("{kind: margin, event: x, value: v, currency: EUR, window: 7d, factor: 101%}", ("E308", 76)),
        ("{kind: quantile, event: x, value: v, window: 7d, quantile: 100%}", ("E305", 65)),
        ("{kind: ratio, event: x, per: y, window: 7d, currency: EUR}", ("E333", 50)),
        ("{kind: median, event: x, window: 7d}", ("E303", 13)),
    ],
)
def test_a_wrong_value_is_told_at_its_place(text: str, expected: tuple[str, int]) -> None:
    assert [(code, column) for code, column, _hint in told(text)] == [expected]


def test_what_lacks_and_what_is_too_much_are_told_together_with_a_way_out() -> None:
    assert told("{kind: funnel, event: x, window: 7d, value: y}") == [
        ("E334", 3, "for example 'then: Order Completed', the event that should follow"),
        (
            "E333",
            43,
            "remove it: it is for mean, ratio, quantile, nps, csat, ces, lifetime_value, margin",
        ),
    ]


def test_a_plan_shows_every_part_of_a_metric() -> None:
    old = load({"m.yaml": "metrics:\n  m: {kind: retention, event: x, after: 7d, window: 14d}\n"})
    new = load(
        {
            "m.yaml": "metrics:\n"
            "  m: {kind: retention, event: x, after: 6d, window: 14d}\n"
            "  load: {kind: quantile, event: x, value: ms, quantile: 99.9%, window: 1d}\n"
            "  csat: {kind: csat, event: x, value: s, window: 1d}\n"
            "  ltv: {kind: lifetime_value, event: x, value: s, factor: 30%, window: 1d, lookback: 14d}\n"
            "  step: {kind: funnel, event: x, then: y, window: 1d}\n"
            "  aov: {kind: ratio, event: x, value: v, per: y, per_value: w, window: 1d}\n"
        }
    )

    found = {d.key: {detail.name: detail.after for detail in d.details} for d in diff(old, new)}

    assert found["m"] == {"after": "6d"}
    assert found["load"]["quantile"] == "99.9%"
    assert found["csat"]["scale"] == "1-5"
    assert (found["ltv"]["factor"], found["ltv"]["lookback"]) == ("0.3", "14d")
    assert found["step"]["then"] == "y"
    assert (found["aov"]["per"], found["aov"]["per_value"]) == ("y", "w")
    assert not {"quantile", "factor", "scale", "after", "lookback"} & found["aov"].keys()


def test_events_are_kept_as_long_as_window_and_lookback_reach() -> None:
    metric = "metrics:\n  m: {kind: count, event: x, window: 20d, lookback: 20d}\n"

    with pytest.raises(CatalogError) as caught:
        load({"m.yaml": metric, "data.yaml": "data: {keep: {events: 39d}}\n"})

    assert [(f.code, f.hint) for f in caught.value.findings] == [("E415", "keep them for 40d or more")]
    assert load({"m.yaml": metric, "data.yaml": "data: {keep: {events: 40d}}\n"}).catalog.metrics


@pytest.mark.parametrize("kind", [k for k in MetricKind if k.is_share])
def test_a_margin_of_a_share_is_below_one(kind: MetricKind) -> None:
    guarded = (
        "experiment: e\nvariants: {control: 1, b: 2}\n"
        "metrics: {primary: p, guardrails: [{metric: m, margin: 1 absolute}]}\n"
    )
    metrics = f"metrics:\n  p: {written(MetricKind.CONVERSION, ())}\n  m: {written(kind, KEYS[kind].needs)}\n"

    with pytest.raises(CatalogError) as caught:
        load({"e.yaml": guarded, "m.yaml": metrics})

    assert [f.code for f in caught.value.findings] == ["E406"]
