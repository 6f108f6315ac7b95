"""GrowthBook's own cases through the importer: a row passes, or it is named with the reason why it cannot.

The reasons are in tests/golden/growthbook_not_ours.json: section -> reason -> rows, "*" for a whole section.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from experiments.assignment import Assignment, MissingUnitError, compile_catalog
from experiments.errors import UnknownFlagError
from experiments.growthbook.importing import usable_name
from service.catalog.findings import CatalogError
from service.catalog.loader import load
from service.use_cases.growthbook_import import convert

GOLDEN = json.loads(Path("tests/golden/growthbook_cases.json").read_text())
NOT_OURS = json.loads(Path("tests/golden/growthbook_not_ours.json").read_text())
IMPORTED = ("feature", "run", "contextualBandit")
ELSEWHERE = {
    "evalCondition": "tests/experiments/test_targeting.py",
    **dict.fromkeys(
        ("hash", "getBucketRange", "chooseVariation", "inNamespace", "getEqualWeights"),
        "tests/experiments/test_hash_golden.py",
    ),
}
NOW = datetime(2027, 3, 1, tzinfo=UTC)


class Outcome(NamedTuple):
    """What an imported feature says, or why there is none."""

    assigned: Assignment | None
    reason: str = ""


def listed(section: str) -> dict[str, str]:
    """Return the rows of a section that are not ours, with their reasons."""
    return {name: reason for reason, names in NOT_OURS.get(section, {}).items() for name in names}


def rows(section: str, *, ours: bool) -> list[Any]:
    return [
        pytest.param(row, id=row[0]) for row in GOLDEN[section] if (row[0] not in listed(section)) is ours
    ]


def evaluated(context: Mapping[str, Any], feature: str) -> Outcome:
    """Import a row's features, load and compile them, and ask for one."""
    try:
        found = convert({"features": {}, **context}, {})
    except CatalogError as error:
        return Outcome(None, str(error))
    if feature in found.told.refused:
        return Outcome(None, found.told.refused[feature])
    compiled = compile_catalog(load(found.files).catalog)
    key = usable_name(feature)
    forced = context.get("forcedVariations", {})
    if forced:
        (place,) = forced.values()
        return Outcome(compiled.preview(key, str(place)))
    try:
        return Outcome(compiled.assign(key, context.get("attributes", {}), now=NOW))
    except UnknownFlagError:
        return Outcome(None, "unknownFeature")
    except MissingUnitError:
        return Outcome(None, "no unit")


def as_feature(context: Mapping[str, Any], inline: Mapping[str, Any]) -> dict[str, Any]:
    """Return an experiment that code runs itself as a feature of the same key."""
    feature = {"defaultValue": inline["variations"][0], "rules": [dict(inline)]}
    return {**context, "features": {**context.get("features", {}), inline["key"]: feature}}


@pytest.mark.parametrize("row", [*rows("feature", ours=True), *rows("contextualBandit", ours=True)])
def test_an_imported_feature_answers_as_it_did(row: Any) -> None:
    _name, context, feature, expected = row

    assigned, reason = evaluated(context, feature)

    if expected["source"] == "unknownFeature":
        assert reason == expected["source"]
        return
    assert assigned is not None, reason
    if expected["source"] == "prerequisite":
        assert assigned.decision == "prerequisite"
        return
    assert assigned.value == expected["value"]
    said = expected.get("experimentResult")
    if said and not json.dumps(context).count("passthrough"):
        assert assigned.variant_key == said["key"]
        assert assigned.enrolled is said["hashUsed"]


@pytest.mark.parametrize("row", rows("run", ours=True))
def test_an_imported_experiment_splits_as_it_did(row: Any) -> None:
    _name, context, inline, value, in_experiment, hashed = row

    assigned, reason = evaluated(as_feature(context, inline), inline["key"])

    assert assigned is not None, reason
    assert (assigned.value, assigned.enrolled) == (value, in_experiment and hashed)


@pytest.mark.parametrize("row", [*rows("feature", ours=False), *rows("contextualBandit", ours=False)])
def test_what_is_named_as_not_ours_is_refused_with_that_reason(row: Any) -> None:
    name, context, feature, *_ = row
    reason = {**listed("feature"), **listed("contextualBandit")}[name]

    assert reason in evaluated(context, feature).reason


def test_every_row_with_hash_version_2_is_ours() -> None:
    for section in ("feature", "run"):
        versioned = {row[0] for row in GOLDEN[section] if '"hashVersion": 2' in json.dumps(row)}

        assert not versioned & listed(section).keys()


def test_all_517_rows_are_accounted_for() -> None:
    accounted = 0
    for section, cases in GOLDEN.items():
        if section == "specVersion":
            continue
        whole = any(names == "*" for names in NOT_OURS.get(section, {}).values())
        assert (section in ELSEWHERE) + (section in IMPORTED) + whole == 1
        if section in IMPORTED:
            assert listed(section).keys() <= {row[0] for row in cases}
        accounted += len(cases)

    assert accounted == 517
