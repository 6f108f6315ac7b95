"""`opportune growthbook import`: files that lint accepts, everybody where they were, nothing left unsaid."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from growthbook import GrowthBook

from experiments.assignment import compile_catalog
from service.catalog.loader import load, read_folder
from service.cli.main import cli
from tests.differential import NOW

FEATURES: dict[str, Any] = {
    "new-checkout": {
        "defaultValue": "old",
        "rules": [
            {"force": "b", "condition": {"id": {"$in": ["qa-1", "qa-2"]}}},
            {"force": "old", "condition": {"country": "NO"}},
            {
                "key": "new-checkout",
                "hashVersion": 2,
                "hashAttribute": "id",
                "variations": ["old", "b", "c"],
                "weights": [0.3334, 0.3333, 0.3333],
                "coverage": 0.6,
                "condition": {"country": {"$in": ["ES", "no", "NO"]}},
                "meta": [{"key": "control"}, {"key": "b"}, {"key": "c"}],
                "namespace": ["page", 0.2, 0.9],
            },
        ],
    },
    "thirds": {
        "defaultValue": 0,
        "rules": [{"key": "thirds-exp", "hashVersion": 2, "variations": [0, 1, 2], "hashAttribute": "id"}],
    },
    "rollout": {"defaultValue": False, "rules": [{"force": True, "coverage": 0.25, "hashVersion": 2}]},
    "middle": {"defaultValue": 0, "rules": [{"force": 2, "hashVersion": 2, "range": [0.5, 0.8]}]},
    "vip": {"defaultValue": False, "rules": [{"force": True, "condition": {"id": {"$inGroup": "grp_vips"}}}]},
    "child": {
        "defaultValue": False,
        "rules": [
            {"force": True, "parentConditions": [{"id": "rollout", "condition": {"value": True}}]},
        ],
    },
    "held": {
        "defaultValue": "none",
        "rules": [
            {
                "key": "holdout",
                "hashVersion": 2,
                "variations": ["none", "x"],
                "ranges": [[0, 0.1], [0.1, 1]],
                "meta": [{}, {"passthrough": True}],
            },
            {"key": "held", "hashVersion": 2, "variations": ["none", "y"], "ranges": [[0, 0.5], [0.5, 1]]},
        ],
    },
}
NOT_OURS: dict[str, Any] = {
    "first-hash": {"defaultValue": 0, "rules": [{"variations": [0, 1]}]},
    "three": {
        "defaultValue": 0,
        "rules": [{"force": 1, "condition": {"a": 1}}, {"force": 2, "condition": {"a": 2}}],
    },
    "needs-it": {
        "defaultValue": 0,
        "rules": [{"force": 1, "parentConditions": [{"id": "three", "condition": {"value": 1}}]}],
    },
    "late-ids": {
        "defaultValue": 0,
        "rules": [
            {"force": 0, "condition": {"country": "NO"}},
            {"force": 1, "condition": {"id": "qa-1"}},
            {"hashVersion": 2, "variations": [0, 1]},
        ],
    },
    "two-types": {"defaultValue": 0, "rules": [{"force": "x", "condition": {"a": 1}}]},
    "look-ahead": {"defaultValue": 0, "rules": [{"force": 1, "condition": {"a": {"$regex": "a(?=b)"}}}]},
}
GROUPS = {"grp_vips": ["id-7", "1e3", "on"]}


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "features.json"
    path.write_text(json.dumps({"features": {**FEATURES, **NOT_OURS}, "savedGroups": GROUPS}), "utf-8")
    return path


def test_everybody_keeps_the_variant_they_have(source: Path, tmp_path: Path) -> None:
    logging.disable(logging.WARNING)
    out = tmp_path / "catalog"
    assert run("growthbook", "import", source, "--out", out).exit_code == 0
    compiled = compile_catalog(load(read_folder(out)).catalog)
    people = [{"id": f"id-{i}", "country": "ES" if i % 3 else "NO"} for i in range(1_500)]

    for who in [*people, {"id": "qa-1", "country": "ES"}, {"id": "qa-2", "country": "NO"}, {"id": "1e3"}]:
        there = GrowthBook(attributes=who, features=FEATURES, savedGroups=GROUPS)
        for key in FEATURES:
            assert compiled.assign(key, who, now=NOW).value == there.get_feature_value(key, None), (key, who)
    logging.disable(logging.NOTSET)


def test_the_files_pass_lint(source: Path, tmp_path: Path) -> None:
    run("growthbook", "import", source, "--out", tmp_path / "catalog")

    told = run("lint", tmp_path / "catalog")

    assert told.exit_code == 0, told.output
    assert "no errors" in told.output


def test_what_is_not_taken_over_is_told_with_its_reason(source: Path) -> None:
    told = run("growthbook", "import", source).output

    assert "first-hash: NOT taken over: hash version 1" in told
    assert "three: NOT taken over: its rules serve more than two values" in told
    assert "late-ids: NOT taken over: a rule for ids stands behind another rule" in told
    assert "needs-it: NOT taken over: it needs 'three'" in told
    assert "two-types: NOT taken over: E313" in told
    assert "look-ahead: NOT taken over: $regex" in told
    assert f"{len(FEATURES)} taken over, {len(NOT_OURS)} not; nothing was written" in told


def test_a_key_that_cannot_be_kept_is_told(tmp_path: Path) -> None:
    path = tmp_path / "features.json"
    path.write_text(json.dumps({"features": {"newHome": {"defaultValue": True}}}), "utf-8")

    told = run("growthbook", "import", path, "--out", tmp_path / "catalog").output

    assert "newHome: its key is 'new-home' here" in told
    assert (tmp_path / "catalog" / "flags" / "new-home.yaml").is_file()


def test_nothing_that_is_there_is_overwritten(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "catalog"
    run("growthbook", "import", source, "--out", out)

    told = run("growthbook", "import", source, "--out", out)

    assert told.exit_code == 1
    assert "is there already" in told.output


def test_a_list_that_the_catalog_refuses_takes_only_its_users_with_it(tmp_path: Path) -> None:
    path = tmp_path / "features.json"
    asked = {name: {"force": True, "condition": {"id": {"$inGroup": name}}} for name in ("bad", "good")}
    features = {f"for-{name}": {"defaultValue": False, "rules": [rule]} for name, rule in asked.items()}
    groups = {"bad": ["a\x85b"], "good": ["u1"]}
    path.write_text(json.dumps({"features": features, "savedGroups": groups}), "utf-8")

    told = run("growthbook", "import", path).output

    assert "for-bad: NOT taken over: E107" in told
    assert "1 taken over, 1 not" in told


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"features": 3}', "{}", "[" * 100_000, '{"features": {}, "features": {}}',
     '{"features": {"a": {"defaultValue": NaN}}}', '{"features": {"a": {"defaultValue": 1e999}}}'],
)  # fmt: skip
def test_a_file_that_is_no_payload_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "features.json"
    path.write_text(text, "utf-8")

    told = run("growthbook", "import", path)

    assert told.exit_code == 1
    assert told.output.startswith("opportune: ")
