"""The payload for GrowthBook's SDKs: they decide as the engine does, and learn nothing they must not."""

import json
import logging
import math
import re
from datetime import timedelta
from typing import Any

import pytest
from growthbook import GrowthBook

from experiments.assignment import Assignment, CompiledCatalog, compile_catalog
from experiments.definitions import Catalog, Flag
from experiments.gates import Prerequisite
from experiments.growthbook.payload import IDENTIFIER, default_value, hidden, payload
from experiments.identifiers import is_identifier
from experiments.lifecycle import RampStep, Schedule, Status
from experiments.targeting import Leaf, parse_condition
from service.catalog.loader import load
from tests.differential import DAY, NOW, files, people
from tests.experiments.builders import experiment


@pytest.fixture(autouse=True)
def quiet() -> Any:
    """The SDK logs a warning for each prerequisite that leads nowhere."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def sdk(features: dict[str, Any], attributes: dict[str, Any]) -> Any:
    """Return the real Python SDK on a payload that went over the wire."""
    sent = json.loads(json.dumps(features))
    return GrowthBook(attributes=attributes, features=sent["features"], savedGroups=sent["savedGroups"])


def of_engine(catalog: Catalog, key: str, assigned: Assignment | None) -> tuple[Any, str | None]:
    """Return the value, and the variant that an exposure would name."""
    if assigned is None:
        return default_value(catalog.experiments.get(key) or catalog.flags[key]), None
    return assigned.value, assigned.variant_key if assigned.enrolled and key in catalog.experiments else None


def of_sdk(found: Any) -> tuple[Any, str | None]:
    return found.value, found.experimentResult.key if found.experimentResult else None


def differences(catalog: Catalog, compiled: CompiledCatalog, who: dict[str, Any], sent: Any) -> list[Any]:
    client = sdk(sent, who)
    return [
        (key, ours, theirs)
        for key, assigned in zip(compiled.keys, compiled.assign_all(who, now=NOW), strict=True)
        if (ours := of_engine(catalog, key, assigned)) != (theirs := of_sdk(client.eval_feature(key)))
    ]


@pytest.mark.parametrize("seed", range(40))
def test_the_python_sdk_decides_as_the_engine_does(seed: int) -> None:
    catalog = load(files(seed)).catalog
    compiled, sent = compile_catalog(catalog), payload(catalog, now=NOW)

    assert [hidden(catalog, key) for key in compiled.keys] == [""] * len(compiled.keys)
    for who in people(seed, 25):
        assert differences(catalog, compiled, who, sent) == []


def test_every_way_to_be_decided_happens_among_the_random_people() -> None:
    seen: set[str] = set()
    for seed in range(40):
        compiled = compile_catalog(load(files(seed)).catalog)
        for who in people(seed, 25):
            seen |= {one.decision if one else "missing" for one in compiled.assign_all(who, now=NOW)}

    assert seen >= {
        "enrolled", "in_allocation", "not_in_allocation", "override", "not_running", "prerequisite",
        "not_in_audience", "no_unit", "missing", "holdout", "not_in_layer", "static", "targeting_match",
    }  # fmt: skip


# --- what nobody may learn


def features_of(*definitions: Any, **kwargs: Any) -> dict[str, Any]:
    catalog = Catalog(
        experiments={one.key: one for one in definitions if not isinstance(one, Flag)},
        flags={one.key: one for one in definitions if isinstance(one, Flag)},
    )
    found: dict[str, Any] = payload(catalog, now=NOW, **kwargs)["features"]
    return found


def test_a_draft_is_not_named_at_all() -> None:
    draft = experiment(key="secret", status=Status.DRAFT)

    assert features_of(draft) == {}


def test_a_flag_that_needs_a_draft_does_not_name_it() -> None:
    draft = Flag(key="secret", status=Status.DRAFT)
    needs = [
        Flag(key=f"needs-{v}", prerequisites=(Prerequisite("secret", Leaf("value", "eq", v)),))
        for v in (True, False)
    ]

    found = features_of(draft, *needs)

    assert "secret" not in json.dumps(found)
    assert found["needs-True"] == {"defaultValue": False}
    assert found["needs-False"]["rules"] == [{"force": True}]


@pytest.mark.parametrize(
    "later",
    [
        {"schedule": Schedule(start_at=NOW + DAY)},
        {"ramp": (RampStep(NOW + DAY, 10_000),)},
        {"status": Status.SCHEDULED, "schedule": Schedule(start_at=NOW + timedelta(seconds=1))},
    ],
    ids=["schedule", "ramp", "scheduled"],
)
def test_what_starts_later_shows_only_its_default(later: Any) -> None:
    one = experiment(key="soon", overrides={"b": ("qa-maria",)}, **later)

    assert features_of(one) == {"soon": {"defaultValue": one.control.value}}


@pytest.mark.parametrize(
    "waiting",
    [
        {"schedule": Schedule(start_at=NOW + DAY)},
        {"ramp": (RampStep(NOW + DAY, 10_000),)},
        {"status": Status.PAUSED},
        {"prerequisites": (Prerequisite("first", Leaf("value", "eq", True)),)},
    ],
    ids=["schedule", "ramp", "paused", "through another"],
)
def test_what_waits_for_something_that_has_not_started_shows_only_its_default(waiting: Any) -> None:
    first = Flag(key="first", schedule=Schedule(start_at=NOW + DAY))
    parent = Flag(key="parent", value="secret-launch", otherwise="old", **waiting)
    child = experiment(key="e", prerequisites=(Prerequisite("parent", Leaf("value", "eq", "secret-launch")),))

    found = features_of(first, parent, child)

    assert found["e"] == {"defaultValue": child.control.value}
    assert "secret-launch" not in json.dumps(found)


def test_what_fits_the_default_of_something_that_has_not_started_is_shown() -> None:
    parent = Flag(key="parent", schedule=Schedule(start_at=NOW + DAY))
    child = Flag(key="child", prerequisites=(Prerequisite("parent", Leaf("value", "eq", False)),))

    rule = features_of(parent, child)["child"]["rules"][0]

    assert rule["parentConditions"] == [{"id": "parent", "condition": {"value": {"$eq": False}}}]


@pytest.mark.parametrize("killed", [frozenset({"e"}), frozenset({"*"})])
def test_what_is_killed_shows_only_its_default(killed: frozenset[str]) -> None:
    one = experiment(key="e", overrides={"b": ("qa-maria",)})

    assert features_of(one, killed=killed) == {"e": {"defaultValue": one.control.value}}


@pytest.mark.parametrize("status", [Status.PAUSED, Status.STOPPED])
def test_what_is_paused_or_stopped_shows_only_its_default(status: Status) -> None:
    one = experiment(key="e", overrides={"b": ("qa-maria",)}, status=status)

    assert features_of(one) == {"e": {"defaultValue": one.control.value}}


def test_an_override_names_nobody_and_is_no_exposure() -> None:
    one = experiment(key="e", overrides={"b": ("qa-maria",)}, allocation_bp=0)
    sent = payload(Catalog(experiments={"e": one}), now=NOW)

    found = sdk(sent, {"anonymous_id": "qa-maria"}).eval_feature("e")

    assert "maria" not in json.dumps(sent)
    assert (found.value, found.source, found.experimentResult) == (one.variants[1].value, "force", None)
    strangers = [sdk(sent, {"anonymous_id": f"v-{i}"}).eval_feature("e").source for i in range(2_000)]
    assert set(strangers) == {"defaultValue"}


@pytest.mark.parametrize(
    ("n", "rules", "filters"), [(1, 1, 3), (10, 1, 4), (100, 1, 6), (101, 2, 6), (1_000, 10, 6)]
)
def test_many_overrides_share_rules_that_no_stranger_passes(n: int, rules: int, filters: int) -> None:
    units = [f"qa-{i}" for i in range(n)]
    one = experiment(key="e", overrides={"b": tuple(units)}, allocation_bp=0)

    sent = payload(Catalog(experiments={"e": one}), now=NOW)

    found = sent["features"]["e"]["rules"]
    assert (len(found), len(found[0]["filters"])) == (rules, filters)
    for rule in found:
        odds = [sum(end - start for start, end in door["ranges"]) for door in rule["filters"]]
        assert math.prod(odds) < 1.02e-12
    assert len(json.dumps(sent)) < 1_500 + 120 * n
    assert {sdk(sent, {"anonymous_id": unit}).get_feature_value("e", None) for unit in units[-20:]} == {"B"}


def test_a_list_is_sent_as_hashes_in_no_telling_order() -> None:
    flag = Flag(key="vip", audience=parse_condition({"member": {"in_list": "vips"}}))
    lists = {"vips": ("maria", "li"), "unused": ("kofi",)}

    groups = payload(Catalog(flags={"vip": flag}, lists=lists), now=NOW)["savedGroups"]

    assert list(groups) == ["vips"]
    assert groups["vips"] == sorted(groups["vips"])
    assert all(len(member) == 64 for member in groups["vips"])


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        ({"user_id": {"in": ["u1"]}}, "ids"),
        ({"mail": {"eq": "li@shop.example"}}, "e-mail"),
        ({"request.device": "mobile"}, "request"),
        ({"behaviour": {"event": "Product Viewed", "count": {"gte": 3}}}, "Product Viewed"),
        ({"name": {"regex": "(?i)li"}}, "flag"),
        ({"tags.0": "tea"}, "list"),
        ({"constructor": {"exists": True}}, "constructor"),
    ],
)
def test_what_a_browser_cannot_or_must_not_decide_has_no_rule(condition: Any, reason: str) -> None:
    one = Flag(key="one", audience=parse_condition(condition))
    other = Flag(key="other", prerequisites=(Prerequisite("one", Leaf("value", "eq", True)),))
    catalog = Catalog(flags={"one": one, "other": other})

    assert reason in hidden(catalog, "one")
    assert "'one'" in hidden(catalog, "other")
    assert features_of(one, other) == {key: {"defaultValue": False} for key in ("one", "other")}


@pytest.mark.parametrize(
    "text", ["a", "😀" * 128, "😀" * 129, "", "a\tb", "\u200b", "x" * 129, "é\u0301", "\ufeff", "\n"]
)
def test_sdks_take_for_an_id_what_the_service_takes(text: str) -> None:
    assert bool(re.search(IDENTIFIER, text)) is is_identifier(text)
