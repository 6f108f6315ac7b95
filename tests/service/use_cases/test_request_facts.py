"""What the server knows of a request."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from service.use_cases.request_facts import MOST_KNOWN, device_class, with_facts

WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0"


@pytest.mark.parametrize(
    ("user_agent", "device"),
    [
        (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {WEBKIT} Safari/537.36", "desktop"),
        (f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {WEBKIT} Safari/537.36", "desktop"),
        (f"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) {WEBKIT} Safari/537.36", "desktop"),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "desktop"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) Mobile/15E148 Safari/604.1", "mobile"),
        ("Mozilla/5.0 (iPad; CPU OS 15_5 like Mac OS X) Mobile/15E148 Safari/604.1", "tablet"),
        (f"Mozilla/5.0 (Linux; Android 14; Pixel 8) {WEBKIT} Mobile Safari/537.36", "mobile"),
        (f"Mozilla/5.0 (Linux; Android 13; SM-X700) {WEBKIT} Safari/537.36", "tablet"),
        ("Dalvik/2.1.0 (Linux; U; Android 13; SM-S901B)", "mobile"),
        ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "bot"),
        (f"Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X) {WEBKIT} Mobile (compatible; Googlebot/2.1)", "bot"),
        ("python-requests/2.32", "unknown"),
        ("", "unknown"),
        ("\u202e\x00" * 9, "unknown"),
    ],
)
def test_the_class_of_a_device(user_agent: str, device: str) -> None:
    assert device_class(user_agent) == device


def test_the_facts_replace_what_the_client_says_and_leave_its_context_alone() -> None:
    sent = {"request": {"device": "bot"}, "country": "ES"}
    now = datetime(2027, 1, 6, 23, 30, 5, 999_999, tzinfo=UTC)

    seen = with_facts(sent, now=now, user_agent="curl/8.5", zone=ZoneInfo("Europe/Madrid"))

    assert seen == {
        "country": "ES",
        "request": {"time": "2027-01-06T23:30:05Z", "weekday": "thu", "hour": 0, "device": "unknown"},
    }
    assert sent["request"] == {"device": "bot"}


def test_what_is_remembered_of_user_agents_is_bounded() -> None:
    assert device_class.cache_info().maxsize == MOST_KNOWN
