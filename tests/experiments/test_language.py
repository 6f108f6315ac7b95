"""A language is one file: it has every message that is used, and nothing else knows an order of words."""

import re
from pathlib import Path
from string import Formatter

import pytest

from experiments import wording
from experiments.decision import Decision, Rule
from experiments.errors import InvalidParameterError
from experiments.estimates import Scarce
from experiments.states import MetricState
from experiments.wording.en import ENGLISH, MESSAGES
from experiments.wording.paragraph import LEFT_OUT

SOURCES = [
    path.read_text("utf-8")
    for path in Path(wording.__file__).parent.glob("*.py")
    if path.name not in ("en.py", "language.py")
]


def used() -> set[str]:
    """Return the ids that the sources name, those with a part filled in written out."""
    ids = {found for text in SOURCES for found in re.findall(r"say\(\s*\"([a-z_.]+)\"", text)}
    ids |= {
        found
        for text in SOURCES
        for found in re.findall(r"\"((?:next|interval|missing|secondary|money)\.[a-z_]+)\"", text)
    }
    ids |= {"secondary"}
    ids |= {f"headline.{word.value}" for word in Decision}
    ids |= {f"why.{word.value}" for word in Rule}
    ids |= {"why.primary_better.guarded", "why.guardrails_worse", "otherwise.keep_control"}
    ids |= {f"account.{reason}" for reason in LEFT_OUT}
    units = ("days", "hours", "minutes", "seconds")
    ids |= {f"{passed}{unit}" for unit in units for passed in ("", "passed.")}
    known = [state.value for state in MetricState if state is not MetricState.CONTROL]
    ids |= {f"word.{state}" for state in known}
    ids |= {f"state.{state}" for state in known if state != "safe"}
    ids |= {f"guardrail.{state}" for state in known if state not in ("better", "no_effect")}
    ids |= {f"burn_in.{of.name.lower()}" for of in Scarce}
    return ids


def test_every_message_that_is_used_exists_and_every_other_is_gone() -> None:
    assert used() == set(MESSAGES)


def test_all_forms_of_a_message_fill_the_same_gaps() -> None:
    for message_id, forms in MESSAGES.items():
        if isinstance(forms, str):
            continue
        gaps = [{name for _, name, _, _ in Formatter().parse(form) if name} for form in forms.values()]
        assert set(forms) == {"one", "other"}, message_id
        assert gaps[0] - {"n"} == gaps[1] - {"n"}, message_id


def test_a_name_with_braces_is_no_gap() -> None:
    said = ENGLISH.say("headline.ship", variant="`{n}`")

    assert said == "Ship `{n}`: switch it on for everybody."


@pytest.mark.parametrize("n", [None, 0])
def test_a_message_that_is_missing_or_needs_a_number_is_a_mistake_of_the_caller(n: int | None) -> None:
    with pytest.raises(InvalidParameterError, match="en has no message"):
        ENGLISH.say("units" if n is None else "unheard of", n=n)


def test_english_counts_and_joins() -> None:
    assert [ENGLISH.say("days", n=n) for n in (0, 1, 2, 1_000)] == ["0 days", "1 day", "2 days", "1,000 days"]
    assert [ENGLISH.joined(parts) for parts in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]
    assert ENGLISH.either(["a", "b", "c"]) == "a, b or c"
