"""The checks that read the exposure account."""

import pytest

from experiments.checks import (
    accounting,
    bots,
    contamination,
    crossover,
    quarantine,
    stale,
    traffic,
    unassigned,
)
from experiments.checks.finding import Check, CheckState, Finding
from experiments.evidence import ExposureAccount
from service.use_cases.quarantine_reasons import REASONS
from tests.experiments.builders import METRICS, conversions, evidence, experiment

E = experiment()


def asked(check: Check, account: ExposureAccount) -> Finding:
    return check(E, METRICS, evidence({}, arrivals=[], account=account))


def test_accounts_that_add_up_are_fine() -> None:
    account = ExposureAccount(
        events=12,
        first=7,
        repeats=3,
        quarantined={"override": 2},
        exposed_units={"a": 4, "b": 3},
        excluded={"immature": 1},
        analysed={"a": 3, "b": 3},
    )

    assert asked(accounting.check, account).state is CheckState.OK


@pytest.mark.parametrize(
    ("account", "words"),
    [
        (ExposureAccount(events=3, first=1), "3 exposure events, but 1 accounted for"),
        (ExposureAccount(exposed_units={"a": 2}), "2 exposed units, but 0 analysed or excluded"),
        (ExposureAccount(analysed={"z": 0}), "unknown variants: z"),
    ],
)
def test_accounts_that_do_not_add_up_alarm(account: ExposureAccount, words: str) -> None:
    finding = asked(accounting.check, account)

    assert finding.state is CheckState.ALARM
    assert words in finding.detail
    assert "report it" in finding.advice


def test_units_of_unknown_variants_alarm() -> None:
    strange = evidence({("buy", "c"): conversions(10, 1)}, arrivals=[1, 1, 1, 1])

    assert "unknown variants: c, d" in accounting.check(E, METRICS, strange).detail


@pytest.mark.parametrize(
    ("several", "state"),
    [
        (5, CheckState.OK),
        (6, CheckState.WARNING),
        (100, CheckState.WARNING),
        (101, CheckState.ALARM),
    ],
)
def test_units_in_several_variants_are_a_warning_and_at_last_an_alarm(
    several: int, state: CheckState
) -> None:
    account = ExposureAccount(exposed_units={"a": 1_000}, excluded={"multiple_variants": several})

    assert asked(crossover.check, account).state is state


@pytest.mark.parametrize(("n", "state"), [(10, CheckState.OK), (11, CheckState.WARNING)])
def test_too_many_units_of_people_with_several_ids_are_a_warning(n: int, state: CheckState) -> None:
    account = ExposureAccount(exposed_units={"a": 1_000}, contaminated_units=n)

    assert asked(contamination.check, account).state is state


@pytest.mark.parametrize(
    ("quarantined", "state"),
    [
        ({"variant_mismatch": 10, "override": 900}, CheckState.OK),
        ({"variant_mismatch": 4, "not_enrolled": 4, "unit_mismatch": 3}, CheckState.WARNING),
        ({"not_enrolled": 500, "unit_mismatch": 300, "variant_mismatch": 100}, CheckState.WARNING),
        ({"variant_mismatch": 101}, CheckState.ALARM),
    ],
)
def test_exposures_nobody_assigned_are_a_warning_and_other_variants_at_last_an_alarm(
    quarantined: dict[str, int], state: CheckState
) -> None:
    finding = asked(unassigned.check, ExposureAccount(events=1_000, quarantined=quarantined))

    assert finding.state is state
    assert bool(finding.advice) is (state is not CheckState.OK)
    assert finding.facts["reasons"] == {r: n for r, n in quarantined.items() if r != "override"}


@pytest.mark.parametrize(
    ("quarantined", "state"),
    [
        ({"stale_revision": 10}, CheckState.OK),
        ({"stale_revision": 6, "unknown_revision": 5}, CheckState.WARNING),
    ],
)
def test_exposures_by_an_old_catalog_are_a_warning(quarantined: dict[str, int], state: CheckState) -> None:
    finding = asked(stale.check, ExposureAccount(events=1_000, quarantined=quarantined))

    assert finding.state is state


@pytest.mark.parametrize(("n", "state"), [(100, CheckState.OK), (101, CheckState.WARNING)])
def test_many_crawlers_are_a_warning(n: int, state: CheckState) -> None:
    finding = asked(bots.check, ExposureAccount(events=1_000, quarantined={"bot": n}))

    assert finding.state is state
    assert f"{n} exposure events" in finding.detail


def test_exposures_set_aside_for_other_reasons_are_counted_by_reason() -> None:
    quarantined = {"too_old": 3, "malformed": 8, "variant_mismatch": 50, "override": 50, "bot": 50}

    finding = asked(quarantine.check, ExposureAccount(events=1_000, quarantined=quarantined))

    assert finding.state is CheckState.WARNING
    assert (
        finding.detail
        == "11 exposure events (1.1 %) are in quarantine for other reasons (`malformed` 8, `too_old` 3)."
    )


def test_few_exposures_set_aside_are_quiet() -> None:
    account = ExposureAccount(events=1_000, quarantined={"too_old": 10, "variant_mismatch": 900})

    assert asked(quarantine.check, account).state is CheckState.OK


def test_every_reason_that_a_check_looks_for_exists() -> None:
    assert set(REASONS) >= quarantine.ELSEWHERE | quarantine.HARMLESS


@pytest.mark.parametrize(("repeats", "state"), [(1_000, CheckState.OK), (1_001, CheckState.WARNING)])
def test_units_that_are_exposed_again_and_again_are_a_warning(repeats: int, state: CheckState) -> None:
    account = ExposureAccount(repeats=repeats, exposed_units={"a": 10}, excluded={"immature": 4})

    finding = asked(traffic.check, account)

    assert finding.state is state
    assert (
        finding.detail
        == "10 units, exposed again 100.0 times on average; 40.0 % of them have an open window."
        if repeats == 1_000
        else "100.1 times" in finding.detail
    )
