import json
from pathlib import Path
from typing import Any

import pytest

from experiments.errors import InvalidDefinitionError
from experiments.growthbook.reading import from_mongo
from experiments.membership import Membership, build_membership
from experiments.targeting import (
    All,
    Behaviour,
    Condition,
    Leaf,
    Lists,
    audience_refs,
    behaviours,
    compile_condition,
    hashed_member,
    list_refs,
    needs_server,
    parse_condition,
    reads_request,
)

GOLDEN = json.loads(Path("tests/golden/growthbook_cases.json").read_text())["evalCondition"]


@pytest.mark.parametrize("case", [pytest.param(case, id=f"{i} {case[0]}") for i, case in enumerate(GOLDEN)])
def test_conditions_mean_what_they_mean_in_growthbook(case: list[Any]) -> None:
    _name, condition, attributes, expected, *rest = case
    groups = rest[0] if rest else {}
    ours = parse_condition(from_mongo(condition, groups=groups))

    assert compile_condition(ours, {}, lists=groups)(attributes) is expected


def test_every_published_case_is_there() -> None:
    assert len(GOLDEN) == 248


def holds(condition: Any, attributes: dict[str, Any]) -> bool:
    return compile_condition(parse_condition(condition), {})(attributes)


@pytest.mark.parametrize(
    ("condition", "yes", "no"),
    [
        ({"mail": {"ends_with": "@shop.example"}}, "li@shop.example", "li@other.example"),
        ({"mail": {"starts_with": "li@"}}, "li@shop.example", 5),
        ({"mail": {"contains": "shop"}}, "li@shop.example", "li@other.example"),
        ({"tags": {"contains": "tea"}}, ["tea", "milk"], ["milk"]),
        ({"tags": {"contains": 1}}, [1.0], [True]),
        ({"n": {"gt": 1, "lt": 5}}, 3, 5),
        ({"n": 1}, 1.0, True),
        ({"n": True}, True, 1),
        ({"n": {"in": [1, "a", None]}}, None, True),
        ({"n": {"not_in": ["a"]}}, {"a": 1}, "a"),
        ({"n": {"gte": "b"}}, "c", "a"),
        ({"n": {"gt": 5}}, " 8 ", "1_000"),
        ({"n": {"lt": 5}}, "", [1]),
        ({"n": {"exists": False}}, None, 0),
        ({"n": {"regex": "^a+$"}}, "aaa", 3),
        ({"none": [{"n": 1}, {"n": 2}]}, 3, 2),
        ({"any": [{"n": 1}, {"n": 2}]}, 2, 3),
        ({"any": [{"n": 1}]}, 1, 3),
        ({"v": {"semver_gte": "5.2.0"}}, "5.10.0", "5.1.9"),
        ({"v": {"semver_ne": "5.2.0"}}, "5.2.1", "v5.2.0+7"),
        ({"n": {"not_regex": "^a+$"}}, 3, "aaa"),
        ({"n": {"regex_any_case": "tea|milk"}}, "Iced MILK", "wine"),
        ({"n": {"not_regex_any_case": "tea|milk"}}, None, "TEA"),
        ({"n": {"in_any_case": ["ES", 5]}}, ["fr", "es"], ["5"]),
        ({"n": {"in_any_case": ["ΣΟΦΟΣ"]}}, "σοφος", "σοφ"),
        ({"n": {"not_in_any_case": ["ES"]}}, "fr", "eS"),
        ({"tags": {"has_all": ["tea", 1]}}, ["tea", 1.0, {}], ["tea", True]),
        ({"tags": {"has_all": ["tea"]}}, ["tea"], "tea"),
        ({"tags": {"has_all_any_case": ["Tea", "MILK"]}}, ["TEA", "milk"], ["tea"]),
        ({"tags": {"size": 2}}, [None, {}], "ab"),
        ({"tags": {"size": {"gte": 1, "not": {"gt": 2}}}}, ["a"], []),
        ({"tags": {"any_element": {"gt": 3, "lt": 7}}}, [1, 5, 9], [1, 9]),
        ({"tags": {"any_element": {"not": "tea"}}}, ["tea", "milk"], ["tea"]),
        (
            {"tags": {"any_element": {"name": "tea", "price.eur": {"gt": 5}}}},
            [{"name": "tea", "price": {"eur": 6}}],
            [{"name": "tea"}, {"price": {"eur": 6}}],
        ),
        (
            {"tags": {"any_element": {"any": [{"name": "tea"}, {"none": [{"name": {"exists": True}}]}]}}},
            [{"name": "milk"}, {}],
            [{"name": "milk"}],
        ),
        ({"tags": {"any_element": {"all": [{"type": "green"}]}}}, [{"type": "green"}], [{"type": "string"}]),
        ({"tags": {"any_element": {"any_element": {"eq": 1}}}}, [[2], [1]], [1]),
        ({"tags": {"any_element": {"tags": {"size": 1}}}}, [{"tags": [7]}], [7]),
        ({"n": {"not": {"gt": 5}}}, "no number", 6),
        ({"n": {"not": 5}}, "5", 5.0),
        ({"n": {"type": "number"}}, 1.5, True),
        ({"n": {"type": None}}, None, 0),
        ({"n": {"type": "array"}}, [], {}),
        ({"n": {"type": "object"}}, {}, []),
        ({"n": {"eq": {"a": [1]}}}, {"a": [1.0]}, {"a": [True]}),
        ({"n": {"eq": ["a"]}}, ["a"], ["a", "b"]),
        ({"n": {"ne": 1}}, True, 1),
        ({"n": {"gt": 5}}, "Infinity", "infinity"),
        ({"n": {"before": "2027-01-07T09:00+01:00"}}, "2027-01-07T07:59:59Z", "2027-01-07T08:00:00Z"),
        ({"n": {"before": "2027-01-07"}}, "2027-01-06", "2027-01-07"),
        ({"n": {"after": "2027-01-07"}}, "2027-01-08", "2027-01-07T23:59:59Z"),
        ({"n": {"after": "2027-01-07"}}, "2027-01-08T00:00:00Z", 1_900_000_000),
        ({"a": 1, "b": 2, "n": {"exists": True}}, {}, None),
    ],
)
def test_each_operator_tells_yes_from_no(condition: dict[str, Any], yes: Any, no: Any) -> None:
    name = next((key for key in ("mail", "tags", "v") if key in condition), "n")

    assert holds(condition, {"a": 1, "b": 2, name: yes})
    assert not holds(condition, {"a": 1, "b": 2, name: no})


def test_a_regular_expression_on_half_a_character_is_just_false() -> None:
    assert not holds({"n": {"regex": "a"}}, {"n": "a\ud800"})


def test_audiences_are_found_by_name_and_may_build_on_each_other() -> None:
    audiences = {
        "loyal": parse_condition({"orders": {"gte": 3}}),
        "loyal_spain": parse_condition({"all": [{"audience": "loyal"}, {"country": "ES"}]}),
    }
    test = compile_condition(parse_condition({"not": {"audience": "loyal_spain"}}), audiences)

    assert not test({"orders": 3, "country": "ES"})
    assert test({"orders": 2, "country": "ES"})


@pytest.mark.parametrize(
    ("audiences", "code", "hint"),
    [
        ({"a": {"audience": "b"}, "b": {"audience": "a"}}, "E208", ""),
        ({"loyals": {"n": 1}}, "E207", ""),
        ({"aa": {"n": 1}}, "E207", "'aa'"),
    ],
)
def test_unknown_audiences_and_circles_are_refused(audiences: Any, code: str, hint: str) -> None:
    named = {name: parse_condition(node) for name, node in audiences.items()}

    with pytest.raises(InvalidDefinitionError) as caught:
        compile_condition(parse_condition({"audience": "a"}), named)

    assert caught.value.code == code
    assert hint in caught.value.hint


def test_names_of_audiences_are_collected_from_every_branch() -> None:
    node = {
        "all": [{"audience": "a"}, {"not": {"audience": "b"}}],
        "any": [{"audience": "c"}, {"country": "ES"}],
    }

    assert audience_refs(parse_condition(node)) == {"a", "b", "c"}


def test_equal_text_gives_equal_conditions() -> None:
    node = {"country": {"in": ["ES"]}, "age": 3}

    assert parse_condition(node) == All((Leaf("country", "in", ("ES",)), Leaf("age", "eq", 3)))


def test_a_list_is_asked_by_value_and_by_salted_hash() -> None:
    lists: Lists = {"vips": ["maria", 7, True], "staff": ["maria"]}
    vip = compile_condition(parse_condition({"user_id": {"in_list": "vips"}}), {}, lists=lists)
    stranger = compile_condition(parse_condition({"user_id": {"not_in_list": "vips"}}), {}, lists=lists)

    hashes = [hashed_member("vips", "maria"), hashed_member("vips", 7)]
    wrong = [hashed_member("staff", "maria"), hashes[0].upper()]
    on_it: list[object] = ["maria", 7, 7.0, True, ["li", "maria"], *hashes]
    not_on_it: list[object] = ["li", "7", 1, None, [], *wrong]

    assert all(vip({"user_id": value}) and not stranger({"user_id": value}) for value in on_it)
    assert all(stranger({"user_id": value}) and not vip({"user_id": value}) for value in not_on_it)


def test_lists_of_equal_members_of_other_types_are_not_confused() -> None:
    condition = parse_condition({"n": {"in_list": "l"}})

    assert compile_condition(condition, {}, lists={"l": [1]})({"n": 1})
    assert not compile_condition(condition, {}, lists={"l": [True]})({"n": 1})


@pytest.mark.parametrize(
    ("node", "path", "hint"),
    [
        ({"user_id": {"in_list": "vip"}}, ("user_id", "in_list"), "'vips'"),
        ({"tags": {"any_element": {"in_list": "zzz"}}}, ("in_list",), "lists:"),
    ],
)
def test_an_unknown_list_is_refused(node: Any, path: Any, hint: str) -> None:
    with pytest.raises(InvalidDefinitionError) as caught:
        compile_condition(parse_condition(node), {}, lists={"vips": []})

    assert (caught.value.code, caught.value.path) == ("E409", path)
    assert hint in caught.value.hint


def test_too_many_audiences_that_build_on_one_another_are_refused() -> None:
    audiences: dict[str, Condition] = {f"a{i}": parse_condition({"audience": f"a{i + 1}"}) for i in range(40)}

    with pytest.raises(InvalidDefinitionError) as caught:
        compile_condition(parse_condition({"audience": "a0"}), audiences)

    assert caught.value.code == "E209"


def test_a_chain_is_too_long_whichever_way_its_audiences_are_met() -> None:
    audiences: dict[str, Condition] = {f"a{i}": parse_condition({"audience": f"a{i + 1}"}) for i in range(40)}
    audiences["a40"] = parse_condition({"n": 1})
    both = parse_condition({"any": [{"audience": "a20"}, {"audience": "a0"}]})

    with pytest.raises(InvalidDefinitionError) as caught:
        compile_condition(both, audiences)

    assert caught.value.code == "E209"


def test_audiences_that_name_others_twice_are_refused_before_they_are_written_out() -> None:
    audiences: dict[str, Condition] = {
        f"a{i}": parse_condition({"any": [{"audience": f"a{i + 1}"}, {"audience": f"a{i + 1}"}]})
        for i in range(30)
    }
    audiences["a30"] = parse_condition({"n": 1})

    with pytest.raises(InvalidDefinitionError) as caught:
        compile_condition(parse_condition({"audience": "a0"}), audiences)

    assert (caught.value.code, caught.value.path) == ("E209", ("audience",))
    assert compile_condition(parse_condition({"audience": "a20"}), audiences)({"n": 1})


def test_an_audience_means_the_same_wherever_it_is_named() -> None:
    audiences = {
        "new": parse_condition({"not": {"behaviour": {"event": "Order Completed", "count": {"gte": 1}}}})
    }
    both = parse_condition({"all": [{"audience": "new"}, {"not": {"audience": "new"}}]})
    kept = compile_condition(both, audiences, frozen=True)

    assert kept({"anonymous_id": "v-1"})


VIEWED = Behaviour(event="Product Viewed", at_least=3)
BOUGHT = Behaviour(event="Order Completed")
VIEWED_ONLY = {
    "all": [
        {"behaviour": {"event": "Product Viewed", "count": {"gte": 3}}},
        {"not": {"behaviour": {"event": "Order Completed"}}},
    ]
}


def known() -> Membership:
    names = [VIEWED.key, BOUGHT.key]
    return Membership(build_membership(names, {"a:v-1": 1, "u:maria": 3, "a:v-2": 2, "u:7": 1}))


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        ({"anonymous_id": "v-1"}, True),
        ({"targetingKey": "v-1"}, True),
        ({"anonymous_id": "stranger", "user_id": 7}, True),
        ({"anonymous_id": "v-1", "user_id": "maria"}, False),
        ({"anonymous_id": "v-2"}, False),
        ({"anonymous_id": "stranger"}, False),
        ({"user_id": ["v-1"]}, False),
        ({}, False),
    ],
)
def test_a_fact_holds_for_the_visitor_or_the_person(context: dict[str, Any], expected: bool) -> None:
    test = compile_condition(parse_condition(VIEWED_ONLY), {}, membership=known())

    assert test(context) is expected


def test_a_fact_that_the_membership_does_not_know_is_false() -> None:
    seen_once = {"behaviour": {"event": "Product Viewed"}}

    assert not compile_condition(parse_condition(seen_once), {}, membership=known())({"anonymous_id": "v-1"})
    assert not compile_condition(parse_condition(seen_once), {})({"anonymous_id": "v-1"})


def test_for_who_is_in_already_behaviour_counts_in_favour() -> None:
    audiences = {"buyers": parse_condition({"behaviour": {"event": "Order Completed"}})}
    condition = parse_condition(
        {**VIEWED_ONLY, "country": "ES", "none": [{"audience": "buyers"}, {"not": {"audience": "buyers"}}]}
    )
    test = compile_condition(condition, audiences, membership=known(), frozen=True)

    assert test({"country": "ES"})
    assert test({"country": "ES", "anonymous_id": "v-2"})
    assert not test({"country": "PT", "anonymous_id": "v-1"})


def test_what_a_condition_needs_is_told_through_its_audiences() -> None:
    audiences = {
        "fans": parse_condition(VIEWED_ONLY),
        "evening": parse_condition({"request.hour": {"gte": 18}, "audience": "evening"}),
    }
    condition = parse_condition(
        {"any": [{"audience": "fans"}, {"audience": "evening"}, {"audience": "gone"}]}
    )

    assert behaviours(condition, audiences) == {VIEWED, BOUGHT}
    assert reads_request(condition, audiences)
    assert not reads_request(parse_condition({"audience": "fans", "requested": True}), audiences)
    assert list_refs(
        parse_condition({"a": {"any_element": {"in_list": "x"}}, "not": {"b": {"not_in_list": "y"}}})
    ) == {
        "x",
        "y",
    }


@pytest.mark.parametrize(
    ("node", "word"),
    [
        ({"country": {"in": ["ES"]}, "user_id": {"exists": True}}, ""),
        ({"user_id": {"in_list": "vips"}}, ""),
        ({"mail": {"ends_with": "@shop.example"}}, ""),
        ({"contact": {"ends_with": "@shop.example"}}, ""),
        ({"user_ids": {"size": 3}, "phone": {"exists": True}, "email": {"type": "string"}}, ""),
        ({"user_id": {"ne": None}}, ""),
        ({"identity": "x", "video": "y", "user.plan": "z", "tips": 3, "email.domain": "shop.example"}, ""),
        ({"user_id": {"starts_with": "test-"}}, "'user_id'"),
        ({"mail": {"regex": ".@shop[.]example$"}}, "e-mail"),
        ({"audience": "fans"}, "Product Viewed"),
        ({"not": {"request": {"exists": True}}}, "request"),
        ({"any": [{"request.device": "bot"}]}, "request"),
        ({"user_id": "maria"}, "'user_id'"),
        ({"who.anonymous_id": {"not_in": ["v-1"]}}, "'who.anonymous_id'"),
        ({"targetingKey": {"regex": "^(v-1|v-2)$"}}, "'targetingKey'"),
        ({"user_id": {"any_element": {"eq": "maria"}}}, "'user_id'"),
        ({"mail": {"in": ["li@shop.example"]}}, "e-mail"),
        ({"mail": {"regex": "^li@shop\\.example$"}}, "e-mail"),
        ({"mail": {"eq": {"li@shop.example": 1}}}, "e-mail"),
        ({"mails": {"any_element": {"eq": "li@shop.example"}}}, "'mails'"),
        ({"contacts": {"any_element": {"eq": "li@shop.example"}}}, "e-mail"),
        ({"contact": {"starts_with": "maria.lopez@"}}, "e-mail"),
        ({"contact": {"eq": "maria-@shop.example"}}, "e-mail"),
        ({"contact": {"eq": "maria@localhost"}}, "e-mail"),
        ({"contact": {"regex": "^maria[.]lopez[@]shop[.]example$"}}, "e-mail"),
        ({"contact": {"regex": "^maria\\@shop"}}, "e-mail"),
        ({"contact": {"ends_with": "lopez@shop.example"}}, "e-mail"),
        ({"id": {"in": ["maria"]}}, "'id'"),
        ({"userId": {"in": ["maria"]}}, "'userId'"),
        ({"user.id": {"in": ["maria"]}}, "'user.id'"),
        ({"customer_id": 778123}, "'customer_id'"),
        ({"user_ids": {"contains": "maria"}}, "'user_ids'"),
        ({"user_ids": {"any_element": {"starts_with": "maria"}}}, "'user_ids'"),
        ({"user_id": {"gte": "maria", "lte": "maria"}}, "'user_id'"),
        ({"user_id": {"semver_eq": "1.2"}}, "'user_id'"),
        ({"phone": {"starts_with": "+34600"}}, "'phone'"),
        ({"ip": {"eq": "81.2.3.4"}}, "'ip'"),
        ({"ip-addresses": {"contains": "81.2.3.4"}}, "'ip-addresses'"),
        ({"email": {"starts_with": "maria"}}, "'email'"),
        ({"email": {"ends_with": "lopez"}}, "'email'"),
        ({"who": {"eq": {"userId": "maria"}}}, "'userId'"),
        ({"shop": {"eq": "s-1"}}, ""),
    ],
)
def test_what_a_browser_must_not_decide_is_told(node: Any, word: str) -> None:
    reason = needs_server(parse_condition(node), {"fans": parse_condition(VIEWED_ONLY)})

    assert word in reason
    assert bool(reason) is bool(word)


def test_a_unit_of_the_catalog_names_somebody_too() -> None:
    shop, shops = parse_condition({"my.shop": "s-1"}), parse_condition({"shops": {"contains": "s-1"}})

    assert [needs_server(one, {}) for one in (shop, shops)] == ["", ""]
    assert all(needs_server(one, {}, units=frozenset({"shop"})) for one in (shop, shops))
