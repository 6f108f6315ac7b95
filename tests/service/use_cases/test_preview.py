"""Preview tokens: signed, expiring, for one purpose."""

from datetime import UTC, datetime, timedelta

import pytest

from service.use_cases.access import sign_person_token, verify_person_token
from service.use_cases.preview import PreviewError, make_preview, presented_token, read_preview

NOW = datetime(2027, 1, 7, 8, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
SECRET = "a secret of some length"


def test_a_token_gives_back_what_it_was_made_for() -> None:
    token = make_preview(SECRET, {"button": "loud", "dark-mode": "on"}, expires_at=LATER)

    assert read_preview(SECRET, token, now=NOW) == {"button": "loud", "dark-mode": "on"}
    assert token.isascii()


@pytest.mark.parametrize("broken", ["", ".", "a.b", "é.é", "x" * 5_000])
def test_what_is_no_token_is_ignored(broken: str) -> None:
    assert read_preview(SECRET, broken, now=NOW) is None


def test_a_token_that_was_touched_or_is_old_or_of_another_secret_is_ignored() -> None:
    token = make_preview(SECRET, {"button": "loud"}, expires_at=LATER)
    payload, _, signature = token.partition(".")

    assert read_preview(SECRET, f"{payload}A.{signature}", now=NOW) is None
    assert read_preview(SECRET, f"{payload}.{signature[:-1]}", now=NOW) is None
    assert read_preview("another secret", token, now=NOW) is None
    assert read_preview("", token, now=NOW) is None
    assert read_preview(SECRET, token, now=LATER) is None


def test_person_tokens_and_previews_do_not_pass_for_each_other() -> None:
    person = sign_person_token(SECRET, subject="u:maria", expires_at=LATER)
    preview = make_preview(SECRET, {"sub": "u:maria"}, expires_at=LATER)

    assert read_preview(SECRET, person, now=NOW) is None
    assert verify_person_token(SECRET, preview, now=NOW) is None


def test_a_token_needs_a_secret_and_has_a_size() -> None:
    with pytest.raises(PreviewError, match="OPPORTUNE_SIGNING_SECRET"):
        make_preview("", {"button": "loud"}, expires_at=LATER)
    with pytest.raises(PreviewError, match="1 to 50"):
        make_preview(SECRET, {}, expires_at=LATER)
    with pytest.raises(PreviewError, match="4096"):
        make_preview(SECRET, {f"{'k' * 100}{i}": "v" * 20 for i in range(40)}, expires_at=LATER)


@pytest.mark.parametrize(
    ("attribute", "header", "cookies", "token"),
    [
        ("a", "b", "opportune_preview=c", "a"),
        (None, "b", "opportune_preview=c", "b"),
        (None, "", "x=1; opportune_preview=c; y=2", "c"),
        (7, "", "", ""),
        (None, "", "x=opportune_preview", ""),
        (None, "", "opportune_preview", ""),
        (None, "", 'x={"a":1}; opportune_preview=c', "c"),
        (None, "", "a[b]=1;opportune_preview=c", "c"),
        (None, "", "foo; a=b c; ;=; opportune_preview=c", "c"),
        (None, "", 'a="x; opportune_preview="c"; not_opportune_preview=d', "c"),
    ],
)
def test_where_a_token_may_be(attribute: object, header: str, cookies: str, token: str) -> None:
    assert presented_token(attribute, header, cookies) == token
