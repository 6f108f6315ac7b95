"""Every decision in words, as it was read aloud: a change of a sentence must be seen."""

import pytest

from experiments.verdict import Decision, Verdict
from tests.experiments.verdict_scenes import FOLDER, scenes

SCENES = scenes()


@pytest.mark.parametrize("name", SCENES)
def test_a_verdict_reads_as_it_was_read_aloud(name: str) -> None:
    assert SCENES[name].text == (FOLDER / f"{name}.txt").read_text("utf-8").strip()


def test_every_decision_has_a_text_and_every_text_a_scene() -> None:
    assert {verdict.decision for verdict in SCENES.values()} == set(Decision)
    assert {path.stem for path in FOLDER.glob("*.txt")} == set(SCENES)


@pytest.mark.parametrize("verdict", SCENES.values(), ids=SCENES)
def test_what_a_rule_looked_at_is_told_with_it(verdict: Verdict) -> None:
    told = [one.members() for one in verdict.rule_inputs]

    assert told
    if verdict.decision in (Decision.SHIP, Decision.ROLLBACK):
        rules = {"ship_when", "min_runtime"} if verdict.decision is Decision.SHIP else {"rollback_when"}
        assert {one["rule"] for one in told} == rules
        assert {one["variant"] for one in told} - {None} == {verdict.variant}
    for one in verdict.rule_inputs:
        if one.rule in ("ship_when", "rollback_when"):
            fits = [value in one.wanted for value in one.values.values()]
            assert one.holds == (all(fits) if one.subject == "every_guardrail" else any(fits))
