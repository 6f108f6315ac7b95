"""Applications that only a benchmark serves: an answer that costs nothing, and a route that is slow."""

import json
import os
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from flask import Flask

from service.asgi import Application

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

BYTES = "BENCH_BYTES"
HEADERS = "BENCH_HEADERS"
SLOW = "/bench/slow"
SLOW_S = 0.02


class Fixed:
    """Reads the body and answers with as many bytes as a bulk evaluation has: the limit of the server.

    With HEADERS (a JSON object) it sends these too: each costs the server some time.
    """

    def __init__(self) -> None:
        self._body = b"x" * int(os.environ.get(BYTES, "0"))
        named = {"content-type": "application/json", **json.loads(os.environ.get(HEADERS, "{}"))}
        named["content-length"] = str(len(self._body))
        self._headers = [(name.encode(), value.encode()) for name, value in named.items()]

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one scope."""
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": self._headers})
        await send({"type": "http.response.body", "body": self._body})


class WithSlowRoute(Application):
    """The service with one more Flask route, which takes 20 ms as a query of a busy database does."""

    def _start(self) -> None:
        super()._start()
        if isinstance(self._flask, Flask):
            self._flask.add_url_rule(SLOW, "slow", _slow)


def _slow() -> str:
    time.sleep(SLOW_S)
    return "slow"


fixed = Fixed()
slow = WithSlowRoute()
