"""One kept connection to the server, on which any bytes may be sent; and what came back."""

import http.client
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

TIMEOUT_S = 60
STREAM = "text/event-stream"
CHUNK = 7


class Ask(NamedTuple):
    """One request, as bytes wherever a client may write what it likes; `door` is the route it aims at.

    Keys and tokens stand in it by name (`@CK@`), so that a seed gives the same requests to any server.
    """

    door: str
    method: str
    target: bytes
    headers: tuple[tuple[str, bytes], ...] = ()
    body: bytes = b""
    chunked: bool = False

    def named(self, secrets: Mapping[bytes, bytes]) -> "Ask":
        """Return the request with what the names stand for."""

        def told(text: bytes) -> bytes:
            if b"@" in text:
                for name, secret in secrets.items():
                    text = text.replace(name, secret)
            return text

        headers = tuple((name, told(value)) for name, value in self.headers)
        return self._replace(target=told(self.target), headers=headers, body=told(self.body))

    def text(self, host: bytes) -> bytes:
        """Return the request as it is sent."""
        lines = [b"%s %s HTTP/1.1" % (self.method.encode(), self.target), b"Host: " + host]
        lines += [name.encode() + b": " + value for name, value in self.headers]
        if self.chunked:
            lines.append(b"Transfer-Encoding: chunked")
            parts = (self.body[i : i + CHUNK] for i in range(0, min(len(self.body), 10 * CHUNK), CHUNK))
            body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
        else:
            lines.append(b"Content-Length: %d" % len(self.body))
            body = self.body
        return b"\r\n".join((*lines, b"", b"")) + body


class Answer(NamedTuple):
    """What came back; status 0 is a connection that was closed without an answer."""

    status: int
    headers: dict[str, str]
    body: bytes


class Line:
    """Sends one request after another and connects again where that is needed."""

    def __init__(self, port: int, secrets: Mapping[bytes, bytes]) -> None:
        self._port = port
        self._secrets = secrets
        self._host = f"127.0.0.1:{port}".encode()
        self._socket: socket.socket | None = None

    def send(self, ask: Ask) -> Answer:
        """Return the answer to one request; a kept connection may have been closed meanwhile."""
        ask = ask.named(self._secrets)
        if self._socket is not None:
            answer = self._exchange(self._socket, ask)
            if answer.status:
                return answer
        self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=TIMEOUT_S)
        return self._exchange(self._socket, ask)

    def close(self) -> None:
        """Hang up."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _exchange(self, connection: socket.socket, ask: Ask) -> Answer:
        response = http.client.HTTPResponse(connection, method=ask.method)
        try:
            # A refusal may come, and the connection end, before everything is written.
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(ask.text(self._host))
            response.begin()
            headers = {name.lower(): value for name, value in response.getheaders()}
            is_stream = headers.get("content-type", "").startswith(STREAM)
            body = b"" if is_stream else response.read()
        except (http.client.HTTPException, ConnectionError):
            self.close()
            return Answer(0, {}, b"")
        finally:
            response.close()
        if is_stream or response.will_close:
            self.close()
        return Answer(response.status, headers, body)
