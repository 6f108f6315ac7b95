"""Who is named in what nobody can read is found, however it is written."""

import pytest

from service.storage.naming import named_in, named_in_text, without


@pytest.mark.parametrize(
    ("text", "users", "devices"),
    [
        ('{"userId":"ana","n":NaN}', ("ana",), ()),
        ('{"user\\u0049d" : "a\\u006ea","n":NaN}', ("ana",), ()),
        ('{"userId":"ana\\u0000"}', ("ana",), ()),
        ('{"userId":"ana","userId":"maria"}', ("ana", "maria"), ()),
        ('{"userId":9007199254740993}', ("9007199254740993",), ()),
        ('{"context_json":{"anonymous_id":"a1"},"device_id":"a2","n":NaN}', (), ("a1", "a2")),
        ('{"said":"\\"userId\\":\\"nobody\\"","userId":{"userId":null}}', (), ()),
        ('{"userId":"\udcff"}', (), ()),
    ],
)
def test_a_text_is_searched_at_any_depth(text: str, users: tuple[str, ...], devices: tuple[str, ...]) -> None:
    assert named_in_text(text) == (users, devices)


def test_a_value_is_searched_in_the_words_of_all_doors() -> None:
    value = {"userId": 42, "device_id": "d1", "context_json": {"anonymous_id": "a1", "user_id": True}}

    assert named_in(value) == (("42",), ("a1", "d1"))
    assert named_in(["userId"]) == ((), ())


def test_members_are_taken_out_and_all_else_stays_as_it_was() -> None:
    text = '{ "a" : NaN,"context":{"ip" : {"ip":["10.1.2.3"]},"\\u0069p":"10.9.9.9", "b":"ip"},"ip":1 }'

    assert (
        without(text, ["ip"]) == '{ "a" : NaN,"context":{"ip" : null,"\\u0069p":null, "b":"ip"},"ip":null }'
    )
    with pytest.raises(ValueError, match="Expecting"):
        without('{"ip": oops', ["ip"])
