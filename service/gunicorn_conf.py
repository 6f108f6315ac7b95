"""Settings of gunicorn; why each has its value is in docs/decisions/0005-server.md."""

import gc
import os
import socket
import sys
from functools import partial
from typing import Any

from service.settings import load
from service.use_cases import meters

_settings = load()

wsgi_app = "service.asgi:application"
worker_class = "asgi"
asgi_loop = "uvloop"
asgi_lifespan = "on"
# The fast parser accepts bare line feeds and folded headers.
http_parser = "python"
bind = f"0.0.0.0:{_settings.port}"
workers = _settings.web_concurrency
# Code is imported once, before the fork; wiring happens in each worker (lifespan), after it.
preload_app = True
timeout = 30
keepalive = 5
# Longer than keepalive, since the worker waits for idle connections when it stops.
graceful_timeout = 15
# Recycling loses about one kept connection a time.
max_requests = 0
# Requests are counted in /metrics; a line for each would halve the throughput.
accesslog = None
# One machine may run several of these; nobody talks to the socket.
control_socket_disable = True
errorlog = "-"
loglevel = _settings.log_level.lower()
# Numerical libraries would start a thread a core in each worker; set before anything imports numpy.
raw_env = [f"{name}_NUM_THREADS=1" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR")]


def on_starting(server: Any) -> None:  # noqa: ANN401, ARG001 - gunicorn's untyped hook
    """Forget the counters of an earlier run: its process ids mean nothing now."""
    meters.clear(_settings.meters)


# A client that takes nothing for so long is cut off by the kernel: a close by us would wait for it.
SILENT_MS = 20_000


def when_ready(server: Any) -> None:  # noqa: ANN401 - gunicorn's untyped hook
    """Prepare what the workers inherit: they do not exist yet.

    Every connection ends whose client takes nothing any more (Linux: others have no such option). The garbage
    collector never again looks at what was imported: each full look would hold up the event loop for 75 ms.
    """
    gc.collect()
    gc.freeze()
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        for listener in server.LISTENERS:
            if listener.sock.family in (socket.AF_INET, socket.AF_INET6):
                listener.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENT_MS)


def post_fork(server: Any, worker: Any) -> None:  # noqa: ANN401, ARG001 - gunicorn's untyped hook
    """Let the event loop get the interpreter back quickly from a pool thread that computes."""
    sys.setswitchinterval(0.0001)


def post_worker_init(worker: Any) -> None:  # noqa: ANN401 - gunicorn's untyped hook
    """Let streams end as soon as the worker is told to: gunicorn itself would wait for them first."""
    if hasattr(worker, "asgi"):
        worker.asgi.is_stopping = partial(_has_to_end, worker)


def _has_to_end(worker: Any) -> bool:  # noqa: ANN401 - gunicorn's untyped worker
    """Tell whether the worker was asked to end, or its master died.

    In the second case gunicorn stops listening by itself, but would serve connections that are kept busy for
    another `graceful_timeout`, in which the next master cannot have them.
    """
    if worker.ppid != os.getppid():
        worker.alive = False
    return not worker.alive


def child_exit(server: Any, worker: Any) -> None:  # noqa: ANN401, ARG001 - gunicorn's untyped hook
    """Keep what an ended worker had counted."""
    meters.retire(_settings.meters, worker.pid)
