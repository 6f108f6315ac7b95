"""What a verdict's numbers and sentences become for people, and what is never read from broken data."""

import csv
from pathlib import Path
from typing import Any

import pytest

from experiments.definitions import MetricKind
from service.settings import REPOSITORY
from service.use_cases.verdict_exports import COLUMNS, to_csv, to_markdown
from service.use_cases.verdict_words import difference, estimate, headline, label, limit, parts, share

TEXTS = sorted((REPOSITORY / "tests" / "golden" / "verdicts").glob("*.txt"))
PAGE = (REPOSITORY / "docs" / "verdicts.md").read_text("utf-8")


def metric(kind: str = "conversion", **changes: Any) -> dict[str, Any]:
    return {"kind": kind, "label": "", "currency": "", "direction": "down", **changes}


def reading(**changes: Any) -> dict[str, Any]:
    return {
        "metric": "refund",
        "role": "guardrail",
        "variant": "banner",
        "n": 2541,
        "estimate": 0.0201,
        "lift": {"estimate": 0.768, "lower": -0.151, "upper": 3.058},
        "effect": {"estimate": 0.0087, "lower": -0.0025, "upper": 0.0191},
        "adjusted": None,
        "margin": {"value": 0.02, "relative": False},
        "level": 0.05,
        "test": "conversion",
        "state": "safe",
        **changes,
    }


def verdict(decision: str = "ship", **changes: Any) -> dict[str, Any]:
    return {
        "experiment": "=free|shipping",
        "phase": 1,
        "revision": 3,
        "log_offset": 9,
        "decision": decision,
        "rule": "srm",
        "as_of": "2027-01-31T00:00:00Z",
        "text": "Ship `banner`: switch it on for everybody. Why: it is better. All 17 checks passed.",
        "metrics": [reading(state="control", lift=None, effect=None, level=None), reading()],
        "record": {"metrics": {"refund": metric(label="refund rate")}},
        "exposure": {"events": 9, "repeats": 0, "quarantined": {}, "exposed_units": {}, "excluded": {}}
        | {"analysed": {}},
        "checks": [
            {"check": "srm", "state": "alarm", "detail": "The split is not as planned."},
            {"check": "srm_days", "state": "alarm", "detail": "On one day."},
            {"check": "bots", "state": "not_yet_known", "detail": "Wait."},
        ],
        "warnings": [],
        **changes,
    }


def rows(body: dict[str, Any]) -> list[dict[str, str]]:
    return list(csv.DictReader(to_csv(body).splitlines()))


# --- numbers --------------------------------------------------------------------------------------


def test_a_guardrail_is_told_in_the_terms_of_its_limit() -> None:
    record = {"metrics": {"refund": metric()}}
    relative = reading(margin={"value": 0.2, "relative": True})

    absolute = difference(record, reading())

    assert (absolute.estimate, absolute.interval) == ("+0.87 points", "-0.25 to +1.91 points")
    assert limit(record, reading()) == "+2.00 points"
    assert difference(record, relative).interval == "-15.1 % to +305.8 %"
    assert limit(record, relative) == "+20 %"


@pytest.mark.parametrize(
    ("told", "value", "words"),
    [
        (metric("mean", currency="EUR", direction="up"), 1.5, ("+1.50 EUR", "-1.50 EUR")),
        (metric("nps", direction="up"), 5.0, ("+5 points", "-5 points")),
        (metric("count"), 0.25, ("+0.25", "+0.25")),
    ],
)
def test_money_and_scores_keep_their_unit(told: dict[str, Any], value: float, words: tuple[str, str]) -> None:
    row = reading(effect={"estimate": value}, margin={"value": value, "relative": False})

    assert (
        difference({"metrics": {"refund": told}}, row).estimate,
        limit({"metrics": {"refund": told}}, row),
    ) == (words)


def test_a_score_and_what_control_does_not_have_are_told_without_a_lift() -> None:
    seen = {"estimate": -9.8, "lower": -20.0, "upper": 3.0}
    nothing = reading(margin=None, lift={"estimate": None}, effect={"estimate": 0.01})

    score = difference({"metrics": {"refund": metric("nps")}}, reading(margin=None, effect=seen))

    assert (score.estimate, score.interval) == ("-9.8 points", "-20 to +3 points")
    assert difference({"metrics": {"refund": metric()}}, nothing).estimate == "+1.00 points"


def test_an_adjusted_difference_stands_beside_the_unadjusted_one() -> None:
    adjusted = {"unadjusted_lift": {"estimate": 0.07}, "unadjusted_effect": {"estimate": 0.01}}
    record = {"metrics": {"refund": metric()}}

    assert difference(record, reading()).unadjusted == ""
    assert difference(record, reading(adjusted=adjusted)).unadjusted == "+1.00 points"
    assert difference(record, reading(adjusted=adjusted, margin=None)).unadjusted == "+7.0 %"


@pytest.mark.parametrize(
    ("kind", "currency", "words"),
    [
        (MetricKind.CONVERSION, "", "12.50 %"),
        (MetricKind.FUNNEL, "", "12.50 %"),
        (MetricKind.MEAN, "EUR", "0.12 EUR"),
        (MetricKind.RATIO, "", "0.125"),
    ],
)
def test_an_estimate_is_told_in_its_unit(kind: MetricKind, currency: str, words: str) -> None:
    assert estimate({"kind": kind.value, "currency": currency}, 0.125) == words
    assert estimate({"kind": kind.value, "currency": currency}, None) == "n/a"


def test_shares_have_thousands_and_no_minus_before_zero() -> None:
    assert (share(-0.0001), share(12.345), share(None)) == ("+0.0 %", "+1,234.5 %", "n/a")


def test_a_quantile_says_which_one() -> None:
    record = {"metrics": {"t": metric("quantile", quantile=0.9), "m": metric("quantile", quantile=0.5)}}

    assert (label(record, "t"), label(record, "m")) == ("t (90 % quantile)", "m (median)")


# --- sentences ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.stem)
def test_the_parts_of_a_text_are_the_text(path: Path) -> None:
    text = path.read_text("utf-8").strip()

    found = parts(text)

    assert " ".join(part.text for part in found) == text
    assert len(found[0].text) < 100
    assert ["why", "alarms"][text.startswith("Do not act")] == found[1].about
    assert headline(text).startswith(found[0].text)


def test_a_text_of_words_not_known_here_stays_whole() -> None:
    text = "Ship it. Something new was said. It was `x. Why: y`."

    assert parts(text)[0].text.startswith("Ship it. Something new was said.")
    assert " ".join(part.text for part in parts(text)) == text
    assert list(parts("")) == [parts("")[0]]


# --- exports --------------------------------------------------------------------------------------


def test_a_row_of_csv_says_whether_it_may_be_read() -> None:
    control, banner = rows(verdict("untrustworthy"))

    assert (control["state"], banner["state"]) == ("control", "not_read")
    assert (banner["decision"], banner["rule"], banner["alarms"]) == ("untrustworthy", "srm", "srm srm_days")
    assert rows(verdict("ship", checks=[]))[1]["state"] == "safe"
    assert rows(verdict("ship", checks=[]))[1]["alarms"] == ""


def test_a_row_of_csv_has_its_test_level_and_limit() -> None:
    banner = rows(verdict())[1]
    up = rows(verdict(record={"metrics": {"refund": metric(direction="up")}}))[1]
    free = rows(verdict(metrics=[reading(margin=None)]))[0]

    assert [banner[name] for name in ("test", "level", "margin", "margin_relative", "limit")] == [
        "conversion",
        "0.05",
        "0.02",
        "false",
        "0.02",
    ]
    assert up["limit"] == "-0.02"
    assert (free["margin"], free["margin_relative"], free["limit"]) == ("", "", "")


def test_columns_of_the_csv_only_grow_and_are_explained() -> None:
    assert COLUMNS[:3] == ("experiment", "phase", "metric")
    assert COLUMNS[15:18] == ("state", "contaminated_units", "decision")
    assert [name for name in COLUMNS if f"`{name}`" not in PAGE] == []


def test_markdown_speaks_in_words() -> None:
    text = to_markdown(verdict("keep_running"))

    assert text.startswith(
        "# =free\\|shipping: keep running\n\nShip `banner`: switch it on for everybody.\n\n"
        "Why: it is better.\n\nAll 17 checks passed.\n"
    )
    assert (
        "| refund rate (`refund`) | guardrail | `banner` | 2,541 | 2.01 % | +0.87 points "
        "| -0.25 to +1.91 points | 95 % | +2.00 points | within its limit |"
    ) in text
    assert "* check bots: not yet known. Wait.\n" in text
    assert "\n\nOf conversions and counts, each day is compared with itself: the difference is not" in text


def test_a_mean_differs_by_what_is_shown_and_needs_no_note() -> None:
    assert "compared with itself" not in to_markdown(verdict(metrics=[reading(test="mean")]))


@pytest.mark.parametrize(("test", "said"), [("conversion", "n/a"), ("mean", "from -100.0 %")])
def test_an_interval_that_rules_nothing_out_is_none(test: str, said: str) -> None:
    open_end = reading(
        test=test,
        margin={"value": 0.2, "relative": True},
        lift={"estimate": None, "lower": -1.0, "upper": None},
    )

    assert difference({"metrics": {"refund": metric()}}, open_end).interval == said


def test_markdown_reads_no_result_from_data_that_cannot_be_trusted() -> None:
    text = to_markdown(verdict("untrustworthy"))

    assert "must not be read as a result" in text
    assert "| not read |" in text
    assert "within its limit" not in text
