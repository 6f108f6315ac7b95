"""Where webhooks lead: what the environment may hold, and signatures that others believe."""

import base64
import re
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook as Reference

from service.catalog.webhooks import Webhook
from service.settings import REPOSITORY
from service.use_cases.endpoints import Endpoint, EndpointError, endpoint_of, signature
from tests.hooks import SECRET

NOW = datetime.now(UTC)


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each test begin now: the reference library refuses what was signed five minutes ago."""
    monkeypatch.setattr(sys.modules[__name__], "NOW", datetime.now(UTC))


HOOK = Webhook(key="growth", url_env="HOOK_URL", secret_env="HOOK_SECRET")


def endpoint(url: str, *, secret: str = SECRET, insecure: bool = False) -> Endpoint:
    return endpoint_of(HOOK, {"HOOK_URL": url, "HOOK_SECRET": secret}.__getitem__, insecure=insecure)


def test_signatures_are_those_of_the_reference_library() -> None:
    secret = base64.b64decode(SECRET.removeprefix("whsec_"))

    ours = signature(secret, "msg_1", int(NOW.timestamp()), b'{"a": "\xc3\xbc"}')

    assert ours == Reference(SECRET).sign(msg_id="msg_1", timestamp=NOW, data='{"a": "ü"}')


def test_the_documented_check_without_a_library_believes_ours_and_nothing_else() -> None:
    page = (REPOSITORY / "docs" / "actions.md").read_text("utf-8")
    (code,) = [
        block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "def is_ours" in block
    ]
    scope: dict[str, Any] = {}
    exec(code, scope)
    body = b'{"a":1}'
    secret = base64.b64decode(SECRET.removeprefix("whsec_"))

    def believed(*, at: datetime = NOW, received: bytes = body, key: str = SECRET) -> bool:
        timestamp = int(at.timestamp())
        headers = {
            "webhook-id": "msg_1",
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature(secret, "msg_1", timestamp, body),
        }
        return bool(scope["is_ours"](key, headers, received))

    assert believed()
    assert not believed(received=b'{"a":2}')
    assert not believed(key=f"whsec_{base64.b64encode(bytes(24)).decode()}")
    assert not believed(at=NOW - timedelta(hours=1))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.example/x",
        "ftp://hooks.example/x",
        "https://",
        "https://hooks.example:port/x",
        "https://user:word@hooks.example/x",
        "https://hooks.example/a b",
        "https://hooks.example/\r\nX: y",
        "http://hooks.example/x",
        "http://localhost.example/x",
        "https://hooks..example/x",
        f"https://{'a' * 64}.example/x",
        "https://hooks%2Eexample/x",
        "https://*/x",
        "https://hooks.example:0/x",
        "https://[2001:db8::zz]/x",
        "https://[2001:db8::1/x",
    ],
)
def test_addresses_that_are_none_or_not_safe_are_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(EndpointError) as caught:
        endpoint(url)

    assert "HOOK_URL" in str(caught.value)
    told = str(caught.value).replace("https://hooks.example.com/path", "")
    assert not url or url not in told


def test_http_goes_to_this_machine_only_unless_a_setting_allows_more() -> None:
    for url in ("http://localhost:1/x", "http://127.0.0.1/x", "http://[::1]:8080/"):
        assert not endpoint(url).is_secure
    assert not endpoint("http://hooks.internal/x", insecure=True).is_secure
    assert endpoint("https://hooks.example").target == "/"


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("http://[::1]/hook", "::1", 80),
        ("https://[2001:db8::5]/hook", "2001:db8::5", 443),
        ("https://[2001:DB8::beef]:8443/hook", "2001:db8::beef", 8443),
        ("https://192.0.2.7/hook", "192.0.2.7", 443),
        ("https://hooks_1.example./hook", "hooks_1.example.", 443),
        (f"https://{'a' * 63}.example:/hook", f"{'a' * 63}.example", 443),
    ],
)
def test_an_address_leads_to_its_host_and_port(url: str, host: str, port: int) -> None:
    leads_to = endpoint(url)

    assert (leads_to.host, leads_to.port) == (host, port)


@pytest.mark.parametrize(
    "secret",
    ["", "abc", "whsec_", "whsec_***", "whsec_c2hvcnQ=", "whsec_" + base64.b64encode(b"x" * 65).decode()],
)
def test_secrets_of_the_wrong_form_are_refused_without_being_repeated(secret: str) -> None:
    with pytest.raises(EndpointError) as caught:
        endpoint("https://hooks.example/x", secret=secret)

    assert "HOOK_SECRET" in str(caught.value)
    assert len(secret) <= len("whsec_") or secret not in str(caught.value)


def test_an_endpoint_shows_neither_its_address_nor_its_secret() -> None:
    shown = repr(endpoint("https://hooks.example/T00/XyZ"))

    assert "XyZ" not in shown
    assert "hooks.example" not in shown
    assert "growth" in shown
