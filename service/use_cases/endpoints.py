"""Where webhooks lead: the address and the secret that the environment holds, and one signed POST to it."""

import base64
import binascii
import hashlib
import hmac
import http.client
import re
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv6Address
from urllib.parse import urlsplit

from service.catalog.webhooks import Webhook

LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
PREFIX = "whsec_"
SECRET_BYTES = range(24, 65)
AGENT = "opportune"
HOST = re.compile(r"([a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?")
"""The form of a host's name: no label is empty or longer than the name service takes."""
PORTS = {"http": 80, "https": 443}
LATE = "no answer in time"
NOT_FOUND = "the name of the host cannot be resolved"
READ_BYTES = 65_536

Environment = Callable[[str], str]
"""Returns the value of a variable, empty when it is not set."""


class EndpointError(Exception):
    """The environment does not hold what a webhook needs; the message names variables, never their values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a webhook leads; `secret` signs. Neither may be shown."""

    name: str
    host: str = field(repr=False)
    port: int = field(repr=False)
    target: str = field(repr=False)
    secret: bytes = field(repr=False)
    is_secure: bool = True


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds that the receiver may be silent, and that one attempt may take altogether."""

    silence_s: float = 10.0
    whole_s: float = 15.0


def endpoint_of(
    webhook: Webhook, environment: Environment, *, insecure: bool, whose: str = "the worker"
) -> Endpoint:
    """Return where a webhook leads; `insecure` allows http to any host, `whose` is named in an error.

    Raises
    ------
    EndpointError
        If a variable is not set or its value is of no use.
    """
    address, secret = (_value(name, environment, whose) for name in (webhook.url_env, webhook.secret_env))
    try:
        parts = urlsplit(address)
        host, port = _host(parts.hostname or ""), PORTS[parts.scheme] if parts.port is None else parts.port
        printable = address.isascii() and address.isprintable() and " " not in address
    except (ValueError, KeyError):
        host, port, printable = "", 0, False
    if not (host and port and printable) or parts.username is not None:
        raise EndpointError(f"{webhook.url_env} is no address such as https://hooks.example.com/path")
    is_secure = parts.scheme == "https"
    if not (is_secure or insecure or host in LOCAL):
        raise EndpointError(
            f"{webhook.url_env} must be an https address; "
            "http goes to localhost only, or anywhere with OPPORTUNE_INSECURE_WEBHOOKS=1"
        )
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Endpoint(
        name=webhook.key,
        host=host,
        port=port,
        target=target,
        secret=_secret(webhook.secret_env, secret),
        is_secure=is_secure,
    )


def signature(secret: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """Return the signature of Standard Webhooks, version 1, of one attempt."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()


class Post:
    """One attempt to deliver; `cut` ends it from another thread."""

    def __init__(self, endpoint: Endpoint, *, limits: Limits) -> None:
        self._endpoint = endpoint
        self._limits = limits
        self._context = ssl.create_default_context() if endpoint.is_secure else None
        self._socket: socket.socket | None = None
        self._is_cut = threading.Event()

    def send(self, message_id: str, payload: str, *, now: datetime) -> tuple[int, str]:
        """Post a body; return the status (0: no whole answer) and what went wrong, empty for a 2xx.

        The words name neither address nor secret. Redirects are not followed.
        """
        body, timestamp = payload.encode(), int(now.timestamp())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": AGENT,
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature(self._endpoint.secret, message_id, timestamp, body),
        }
        timer = threading.Timer(self._limits.whole_s, self.cut)
        timer.daemon = True
        timer.start()
        try:
            status = self._exchange(body, headers)
        except (OSError, http.client.HTTPException, ValueError) as error:
            return 0, LATE if self._is_cut.is_set() else _problem(error)
        finally:
            timer.cancel()
            if self._socket is not None:
                self._socket.close()
        return status, _refusal(status)

    def cut(self) -> None:
        """End the attempt now: an answer that is not whole yet is none."""
        self._is_cut.set()
        if self._socket is not None:
            # A TLS socket's own `shutdown` would take the cipher away from the thread that reads.
            with suppress(OSError):
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def _exchange(self, body: bytes, headers: dict[str, str]) -> int:
        kind = http.client.HTTPSConnection if self._endpoint.is_secure else http.client.HTTPConnection
        connection = kind(self._endpoint.host, self._endpoint.port)
        try:
            connection.sock = self._connected()
            connection.request("POST", self._endpoint.target, body, headers)
            answer = connection.getresponse()
            answer.read(READ_BYTES)
        finally:
            connection.close()
        self._go_on()
        return answer.status

    def _connected(self) -> socket.socket:
        """Return a connection to the first address that takes one; at every step `cut` finds its socket."""
        host, port = self._endpoint.host, self._endpoint.port
        problem = OSError()
        for family, kind, protocol, _name, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            plain = self._hold(socket.socket(family, kind, protocol))
            try:
                plain.connect(address)
            except OSError as error:
                plain.close()
                problem = error
                continue
            self._go_on()
            if self._context is None:
                return plain
            tls = self._context.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)
            self._hold(tls)
            tls.do_handshake()
            return tls
        raise problem

    def _hold(self, found: socket.socket) -> socket.socket:
        """Let `cut` find a socket, and give it its limit of silence."""
        self._socket = found
        found.settimeout(self._limits.silence_s)
        self._go_on()
        return found

    def _go_on(self) -> None:
        """Raise TimeoutError if the attempt was cut."""
        if self._is_cut.is_set():
            raise TimeoutError


def _host(name: str) -> str:
    """Return the host, in which IPv6 has no brackets; ValueError if it is none."""
    if ":" in name:
        IPv6Address(name)
    elif not HOST.fullmatch(name):
        raise ValueError
    return name


def _value(name: str, environment: Environment, whose: str) -> str:
    value = environment(name).strip()
    if not value:
        raise EndpointError(f"{name} is not set in the environment of {whose}")
    return value


def _secret(name: str, text: str) -> bytes:
    hint = f"{name} must be {PREFIX} and the base64 of {SECRET_BYTES[0]} to {SECRET_BYTES[-1]} random bytes"
    if not text.startswith(PREFIX):
        raise EndpointError(hint)
    try:
        secret = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise EndpointError(hint) from None
    if len(secret) not in SECRET_BYTES:
        raise EndpointError(hint)
    return secret


def _refusal(status: int) -> str:
    if 200 <= status < 300:  # noqa: PLR2004 - what success is in HTTP
        return ""
    if 300 <= status < 400:  # noqa: PLR2004 - a redirect
        return f"answered {status}: redirects are not followed"
    return f"answered {status}"


def _problem(error: Exception) -> str:
    """Return what went wrong in our own words: those of the libraries may hold the address."""
    known = (
        (TimeoutError, LATE),
        (ssl.SSLCertVerificationError, "its certificate is not valid"),
        (ssl.SSLError, "no secure connection"),
        (socket.gaierror, NOT_FOUND),
        (ConnectionRefusedError, "the connection was refused"),
        (http.client.RemoteDisconnected, "the connection was closed without an answer"),
        (ConnectionError, "the connection broke"),
        (http.client.HTTPException, "the answer is not HTTP"),
        (OSError, "the network refused"),
    )
    return next((words for kind, words in known if isinstance(error, kind)), NOT_FOUND)
