"""Keys, person tokens, unguessable ids and origins: pure rules."""

import base64
import json
import secrets
import string
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.storage.records import KeyClass
from service.use_cases.access import (
    Caller,
    find_caller,
    hash_key,
    origin_allowed,
    presented_key,
    sign_person_token,
    verify_person_token,
    visible_person_ids,
)
from service.use_cases.unguessable import is_unguessable

NOW = datetime(2027, 1, 7, 12, tzinfo=UTC)
SECRET = "s" * 32
CLIENT = Caller(KeyClass.CLIENT, "ck:1", "")
SERVER = Caller(KeyClass.SERVER, "sk:1", "")
BASE36 = string.ascii_lowercase + string.digits


def a_token(subject: str, *, secret: str = SECRET, ttl: timedelta = timedelta(hours=1)) -> str:
    return sign_person_token(secret, subject=subject, expires_at=NOW + ttl)


def test_a_key_is_found_by_its_digest_and_named_without_it() -> None:
    found = find_caller({hash_key("ck_abc"): KeyClass.CLIENT}, "ck_abc", origin="http://localhost")

    assert found is not None
    assert found.key_class is KeyClass.CLIENT
    assert found.origin == "http://localhost"
    assert "abc" not in found.key_id


@pytest.mark.parametrize("key", ["", "ck_ABC", "ck_ab", "ключ", "\ud800", "x" * 100_000])
def test_any_other_key_is_nobody(key: str) -> None:
    assert find_caller({hash_key("ck_abc"): KeyClass.CLIENT}, key, origin="") is None


@pytest.mark.parametrize(
    ("authorization", "x_api_key", "key"),
    [
        ("Bearer ck_1", "", "ck_1"),
        ("bearer   ck_1 ", "ck_2", "ck_1"),
        ("Basic " + base64.b64encode(b"ck_1:").decode(), "", "ck_1"),
        ("Basic " + base64.b64encode(b"ck_1").decode(), "", "ck_1"),
        ("Basic ???", "", ""),
        ("Basic ä", "", ""),
        ("", " ck_2 ", "ck_2"),
        ("Digest a", "ck_2", "ck_2"),
        ("", "", ""),
    ],
)
def test_a_key_may_come_in_three_ways(authorization: str, x_api_key: str, key: str) -> None:
    assert presented_key(authorization, x_api_key) == key


def test_a_token_names_its_person_until_it_expires() -> None:
    token = a_token("u:maria")

    assert verify_person_token(SECRET, token, now=NOW) == "u:maria"
    assert verify_person_token(SECRET, token, now=NOW + timedelta(minutes=59)) == "u:maria"
    assert verify_person_token(SECRET, token, now=NOW + timedelta(hours=1)) is None


def test_a_token_of_another_secret_or_of_none_is_worthless() -> None:
    assert verify_person_token(SECRET, a_token("u:maria", secret="other"), now=NOW) is None
    assert verify_person_token("", a_token("u:maria", secret=""), now=NOW) is None


@given(st.text(max_size=200))
def test_no_text_makes_the_check_fail_with_an_error(text: str) -> None:
    assert verify_person_token(SECRET, text, now=NOW) is None


@given(st.integers(min_value=0, max_value=10_000), st.integers(min_value=1, max_value=255))
def test_no_changed_byte_survives(position: int, change: int) -> None:
    token = a_token("u:maria").encode()
    place = position % len(token)
    forged = token[:place] + bytes([token[place] ^ change]) + token[place + 1 :]

    named = verify_person_token(SECRET, forged.decode("latin-1"), now=NOW)

    # The last character of base64 has bits that mean nothing; the person can never differ.
    assert named in (None, "u:maria")


@pytest.mark.parametrize(
    "claims", [{}, [], {"sub": 1, "exp": 9e9}, {"sub": "u:m", "exp": "soon"}, {"sub": "u:m"}]
)
def test_claims_of_another_form_are_refused(claims: object) -> None:
    honest = a_token("u:maria")
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()

    assert verify_person_token(SECRET, f"{payload}.{honest.partition('.')[2]}", now=NOW) is None


def test_a_random_uuid_passes_in_either_form() -> None:
    made = [str(uuid.uuid4()) for _ in range(500)]

    assert sum(map(is_unguessable, made)) >= 498
    assert sum(is_unguessable(one.upper()) for one in made) >= 498


def test_random_hex_digits_pass() -> None:
    assert sum(is_unguessable(secrets.token_hex(16)) for _ in range(500)) >= 498


def test_random_url_safe_ids_nearly_always_pass() -> None:
    made = [secrets.token_urlsafe(16) for _ in range(2_000)]
    cuids = ["".join(secrets.choice(BASE36) for _ in range(24)) for _ in range(2_000)]

    assert sum(map(is_unguessable, made)) >= 1_990
    assert sum(map(is_unguessable, cuids)) >= 1_960


@pytest.mark.parametrize(
    "guessable",
    [
        "",
        "maria",
        "42",
        "12345678901234567890123456789012",
        "0" * 32,
        "a" * 40,
        "customer-1234567890123456",
        "customer-2026-11-21-000123",
        "user_maria_garcia_campaign_2027",
        "maria.garcia.of.barcelona@shop.example",
        "00000000-0000-1000-8000-00805f9b34fb",
        "018f3f7e-7b7a-7cc0-8f3f-7e7b7a7cc08f",
        secrets.token_hex(8),
        "visitor-20261122T012746Z-42",
        "507f1f77bcf86cd799439011",
        "01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "01arz3ndektsv4rrffq69g5fav",
        "cust2024Q1store07EU-000123",
        "Store7-Till3-Customer00001234",
        "user-A1-B2-C3-0000000000042",
        "Order2026W47-Shop12-Client0001",
        "f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
        "maria2Garcia1985x07x21ES",
        "0123456789abcdef0123456789abcdef",
        "00000000000000000000abcdef012345",
        "deadbeefcafe4242deadbeefcafe4242",
        "00000000-0000-4000-8000-000000000042",
        "mariagarciafrombarcelonaspain",
        "iPhone12Safari17LondonShop3",
        "ABC123DEF456GHI789JKL012",
        "a1b2c3d4e5f6g7h8i9j0k1l2",
        "qwertyuiopasdfghjklzxcvbnm",
        "x" * 200,
    ],
)
def test_ids_that_can_be_guessed_do_not_pass(guessable: str) -> None:
    assert not is_unguessable(guessable)


def visible(caller: Caller, token: str = "", **ids: str | None) -> tuple[str, ...]:
    named = {"user_id": None, "anonymous_id": None, **ids}
    return visible_person_ids(caller, **named, token=token, secret=SECRET, now=NOW)


def test_a_secret_key_may_use_anybodys_history() -> None:
    assert visible(SERVER, user_id="maria", anonymous_id="m") == ("u:maria", "a:m")
    assert visible(SERVER) == ()


def test_a_public_key_sees_a_known_person_only_with_a_token_of_that_person() -> None:
    assert visible(CLIENT, user_id="maria") == ()
    assert visible(CLIENT, a_token("u:li"), user_id="maria") == ()
    assert visible(CLIENT, a_token("a:maria"), user_id="maria") == ()
    assert visible(CLIENT, a_token("u:maria"), user_id="maria") == ("u:maria",)


def test_a_public_key_sees_an_id_that_cannot_be_guessed_and_nothing_beside_it() -> None:
    own = "3f0c9a52-8a1e-4e0b-b1c7-5d2e9f6a7b80"

    assert visible(CLIENT, user_id="maria", anonymous_id=own) == (f"a:{own}",)
    assert visible(CLIENT, anonymous_id="maria") == ()


def test_the_word_localhost_stands_for_any_local_port() -> None:
    allowed = ("localhost", "https://shop.example")

    assert origin_allowed("http://localhost:5173", allowed, host="")
    assert origin_allowed("http://127.0.0.1", allowed, host="")
    assert origin_allowed("https://shop.example", allowed, host="")
    assert origin_allowed("https://any.example", (), host="any.example")
    assert not origin_allowed("http://localhost:5173", ("https://shop.example",), host="")
    assert not origin_allowed("http://[::1", allowed, host="")
    assert not origin_allowed("null", allowed, host="null")
