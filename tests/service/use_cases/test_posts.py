"""One attempt to deliver: to which host it goes, and that nothing but a whole answer in time counts."""

import base64
import shutil
import socket
import ssl
import subprocess
import threading
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from service.catalog.webhooks import Webhook
from service.use_cases.endpoints import Endpoint, Limits, Post, endpoint_of
from tests.hooks import SECRET, receiver

NOW = datetime.now(UTC)
HOOK = Webhook(key="growth", url_env="HOOK_URL", secret_env="HOOK_SECRET")
LATE = (0, "no answer in time")
ENDLESS = Limits(silence_s=600.0, whole_s=600.0)


def endpoint(host: str, port: int, *, is_secure: bool = False) -> Endpoint:
    secret = base64.b64decode(SECRET.removeprefix("whsec_"))
    return Endpoint(name="growth", host=host, port=port, target="/", secret=secret, is_secure=is_secure)


def cut_after(sent: bytes, *, is_secure: bool = False) -> tuple[int, str]:
    """Return what an attempt says that is cut when a part of the request and of the answer came through."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        post = Post(endpoint("127.0.0.1", listening.getsockname()[1], is_secure=is_secure), limits=ENDLESS)

        def serve() -> None:
            connection, _address = listening.accept()
            with connection:
                connection.recv(9_999)
                connection.sendall(sent)
                post.cut()
                while connection.recv(9_999):
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        answer = post.send("msg_1", "{}", now=NOW)
        thread.join()
    return answer


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"HTTP/1.1 20",
        b"HTTP/1.1 200 OK\r\nA: ",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n",
    ],
)
def test_an_answer_that_was_cut_is_none(sent: bytes) -> None:
    assert cut_after(sent) == LATE


def test_a_handshake_that_does_not_end_is_cut() -> None:
    assert cut_after(b"\x16\x03\x03", is_secure=True) == LATE


def test_an_attempt_whose_time_ran_out_while_its_host_was_looked_up_sends_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = socket.getaddrinfo
    with receiver() as told:
        post = Post(endpoint("127.0.0.1", int(told.url.rpartition(":")[2])), limits=ENDLESS)

        def slow(*args: Any, **named: Any) -> Any:
            post.cut()
            return real(*args, **named)

        monkeypatch.setattr(socket, "getaddrinfo", slow)
        assert post.send("msg_1", "{}", now=NOW) == LATE

    assert told.received == []


def test_the_next_address_of_a_host_is_tried_when_one_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        refusing = closed.getsockname()
    real = socket.getaddrinfo
    with receiver() as told:
        port = int(told.url.rpartition(":")[2])

        def two(*args: Any, **named: Any) -> Any:
            (found,) = real(*args, **named)
            return [(*found[:4], refusing), found]

        monkeypatch.setattr(socket, "getaddrinfo", two)
        assert Post(endpoint("127.0.0.1", port), limits=ENDLESS).send("msg_1", "{}", now=NOW) == (204, "")


@pytest.mark.parametrize("host", ["hooks..example", "a" * 64 + ".example"])
def test_a_host_that_no_library_takes_is_a_failure_in_our_words(host: str) -> None:
    answer = Post(endpoint(host, 443), limits=ENDLESS).send("msg_1", "{}", now=NOW)

    assert answer == (0, "the name of the host cannot be resolved")


def read_whole(connection: socket.socket) -> bytes:
    """Read a request whose body is ``{}``: what is left unread when a connection closes resets it."""
    received = b""
    while not received.endswith(b"\r\n\r\n{}"):
        received += connection.recv(9_999)
    return received


def test_an_address_of_ipv6_is_reached_and_named_in_its_brackets() -> None:
    heard: list[bytes] = []
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listening:
        port = listening.getsockname()[1]

        def serve() -> None:
            connection, _address = listening.accept()
            with connection:
                heard.append(read_whole(connection))
                connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        environment = {"HOOK_URL": f"http://[::1]:{port}/hook", "HOOK_SECRET": SECRET}
        leads_to = endpoint_of(HOOK, environment.__getitem__, insecure=False)
        answer = Post(leads_to, limits=Limits()).send("msg_1", "{}", now=NOW)
        thread.join()

    assert answer == (204, "")
    assert f"\r\nHost: [::1]:{port}\r\n".encode() in heard[0]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")
def test_a_host_with_a_certificate_is_believed_under_its_own_name_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = f"req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout {key} -out {certificate}"
    named = ["-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(["openssl", *made.split(), *named], check=True, capture_output=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            for _ in range(2):
                plain, _address = listening.accept()
                with suppress(ssl.SSLError), context.wrap_socket(plain, server_side=True) as connection:
                    read_whole(connection)
                    connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        answers = [
            Post(endpoint(host, listening.getsockname()[1], is_secure=True), limits=Limits()).send(
                "msg_1", "{}", now=NOW
            )
            for host in ("localhost", "127.0.0.1")
        ]
        thread.join()

    assert answers == [(204, ""), (0, "its certificate is not valid")]
