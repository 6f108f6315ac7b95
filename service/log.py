"""One JSON object a line on stderr; the request id comes along by itself."""

import functools
import io
import itertools
import logging
import os
import re
import secrets
import sys
from contextlib import suppress
from typing import TextIO, cast

import structlog

Logger = structlog.stdlib.BoundLogger


class _StandardError(io.TextIOBase):
    """Where the lines go. A full disk may refuse them, and no request may fail for that."""

    def write(self, text: str) -> int:
        """Write what can be written."""
        with suppress(OSError):
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        """Send it on."""
        with suppress(OSError):
            sys.stderr.flush()


def configure(level: str = "INFO") -> None:
    """Set up logging for this process; calling it again changes the level only."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(ensure_ascii=True),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, _StandardError())),
        cache_logger_on_first_use=False,
    )


def logger() -> Logger:
    """Return the logger; events are names (``catalog_launched``), facts keywords, never a person's data."""
    return cast(Logger, structlog.get_logger())


def bind_request(request_id: str) -> None:
    """Name the request in every line of this thread until the next call."""
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=request_id)


_ACCEPTABLE = re.compile(r"[A-Za-z0-9._-]{8,64}")
_serial = itertools.count(1)


def request_id(incoming: str) -> str:
    """Return the caller's own id of this request if it has a decent form, else a new one."""
    if incoming and _ACCEPTABLE.fullmatch(incoming):
        return incoming
    return f"{_process_tag()}-{next(_serial):x}"


@functools.cache
def _process_tag() -> str:
    """Return a random tag of this process."""
    return f"{os.getpid():x}{secrets.token_hex(5)}"


os.register_at_fork(after_in_child=_process_tag.cache_clear)
