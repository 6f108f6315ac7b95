"""Bytes on a socket: for requests that no decent client library would send."""

import socket

from tests.server import Server


def exchange(server: Server, *parts: bytes) -> tuple[int, bytes]:
    """Send `parts`, then read one answer; return its status (0: closed without one) and all that came."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        try:
            for part in parts:
                connection.sendall(part)
        except (BrokenPipeError, ConnectionResetError):
            pass
        return read_answer(connection)


def read_answer(connection: socket.socket) -> tuple[int, bytes]:
    """Read one answer with a Content-Length, or until the end."""
    data = b""
    while not _complete(data):
        try:
            part = connection.recv(65_536)
        except ConnectionResetError:
            break
        if not part:
            break
        data += part
    status = int(data.split(b" ", 2)[1]) if data.startswith(b"HTTP/") else 0
    return status, data


def _complete(data: bytes) -> bool:
    head, found, body = data.partition(b"\r\n\r\n")
    if not found:
        return False
    lengths = [
        int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
    ]
    return bool(lengths) and len(body) >= lengths[0]


def post_head(server: Server, path: str, *headers: str) -> bytes:
    """Return the head of a POST with the client key."""
    lines = [
        f"POST {path} HTTP/1.1",
        f"Host: 127.0.0.1:{server.port}",
        f"Authorization: Bearer {server.client_key}",
        "Content-Type: application/json",
        *headers,
        "",
        "",
    ]
    return "\r\n".join(lines).encode()


def chunked(*parts: bytes) -> bytes:
    """Return `parts` in chunked encoding, with the last chunk."""
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
