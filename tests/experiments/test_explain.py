from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.membership import Membership, build_membership
from experiments.targeting import Behaviour, compile_condition, parse_condition
from experiments.targeting.explain import COUNTS_IN_FAVOUR, explain
from experiments.targeting.phrases import condition_words

AUDIENCES = {
    "spain": parse_condition({"country": {"in": ["ES"]}}),
    "loyal": parse_condition({"orders": {"gte": 3}, "not": {"audience": "spain"}}),
}
LISTS = {"vips": ["maria", "li"]}
VIEWED = Behaviour(event="Viewed", at_least=2, within_s=604_800)
VIEWS = {"behaviour": {"event": "Viewed", "count": {"gte": 2}, "within": "7d"}}
KNOWN = Membership(build_membership([VIEWED.key], {"a:v-1": 1}))


def told(node: Any, attributes: dict[str, Any], *, frozen: bool = False) -> tuple[bool, str, object, str]:
    found = explain(
        parse_condition(node), attributes, AUDIENCES, lists=LISTS, membership=KNOWN, frozen=frozen
    )
    return found.holds, found.leaf, found.seen, found.audience


@pytest.mark.parametrize(
    ("node", "attributes", "expected"),
    [
        ({}, {}, (True, "", None, "")),
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, (False, "b eq 2", 3, "")),
        ({"a": 1, "b": 2}, {"a": 1, "b": 2}, (True, "b eq 2", 2, "")),
        ({"a": 1, "b": 2}, {"a": "x", "b": 3}, (False, "a eq 1", "x", "")),
        ({"any": [{"a": 1}, {"b": 2}]}, {"a": 1}, (True, "a eq 1", 1, "")),
        ({"any": [{"a": 1}, {"b": 2}]}, {}, (False, "b eq 2", None, "")),
        ({"not": {"a.b": {"gt": 5}}}, {"a": {"b": 7}}, (False, "a.b gt 5", 7, "")),
        ({"audience": "loyal"}, {"orders": 3, "country": "ES"}, (False, 'country in ["ES"]', "ES", "spain")),
        ({"user_id": {"in_list": "vips"}}, {"user_id": "zoe"}, (False, "user_id in_list vips", "zoe", "")),
        ({"t": {"any_element": {"gt": 3}}}, {"t": [1]}, (False, "t any_element gt 3", [1], "")),
        (VIEWS, {"anonymous_id": "v-1"}, (True, "did (Viewed at least 2 times within 7d)", True, "")),
        ({"not": VIEWS}, {}, (True, "did (Viewed at least 2 times within 7d)", False, "")),
        ({"all": [{"a": 1}, {}]}, {"a": 1}, (True, "a eq 1", 1, "")),
    ],
)
def test_the_leaf_that_settled_it_is_told(node: Any, attributes: dict[str, Any], expected: Any) -> None:
    assert told(node, attributes) == expected


def test_for_who_is_in_already_the_explanation_says_so() -> None:
    holds, leaf, seen, _audience = told({"not": VIEWS}, {"anonymous_id": "v-1"}, frozen=True)

    assert (holds, seen) == (True, COUNTS_IN_FAVOUR)
    assert leaf.startswith("did (Viewed")


def test_members_of_a_list_are_never_told() -> None:
    condition = parse_condition({"not": {"n": {"any_element": {"not_in_list": "vips"}}}})
    found = explain(condition, {"n": ["zoe"]}, AUDIENCES, lists=LISTS)

    assert "maria" not in f"{found}{condition_words(condition)}"


def test_a_long_operand_is_cut() -> None:
    assert len(condition_words(parse_condition({"n": {"in": ["word"] * 100}}))) < 100


LEAVES = st.sampled_from(
    [
        *({"a": 1}, {"a": {"gt": 1}}, {"b": {"not_in": ["x"]}}, {"a.b": {"exists": True}}, {"not": {"a": 1}}),
        *({"user_id": {"in_list": "vips"}}, {"audience": "spain"}, {"audience": "loyal"}, VIEWS, {}),
        *({"t": {"size": {"gt": 1}}}, {"t": {"any_element": {"not": {"gt": 1}}}}),
    ]
)
NODES = st.recursive(
    LEAVES,
    lambda inner: (
        st.builds(
            lambda word, parts: {word: parts},
            st.sampled_from(["all", "any", "none"]),
            st.lists(inner, min_size=1, max_size=3),
        )
        | st.builds(lambda part: {"not": part}, inner)
    ),
    max_leaves=6,
)
VALUES = st.sampled_from([None, 0, 1, 2, "x", "ES", "maria", [1, 2], {"b": 1}])


@given(
    node=NODES,
    attributes=st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("a", "b", "t", "country", "orders", "user_id"), VALUES)
    ),
    visitor=st.sampled_from(["v-1", "v-2"]),
    frozen=st.booleans(),
)
def test_the_explanation_agrees_with_the_compiled_condition(
    node: Any, attributes: dict[str, Any], visitor: str, frozen: bool
) -> None:
    condition, context = parse_condition(node), {**attributes, "anonymous_id": visitor}
    test = compile_condition(condition, AUDIENCES, lists=LISTS, membership=KNOWN, frozen=frozen)
    found = explain(condition, context, AUDIENCES, lists=LISTS, membership=KNOWN, frozen=frozen)

    assert found.holds is test(context)
