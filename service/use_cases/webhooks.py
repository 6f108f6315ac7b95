"""The outbox to the world: due messages are signed, posted, marked, and tried again with growing pauses."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from service.catalog.webhooks import Webhook
from service.clock import Clock
from service.log import logger
from service.storage.analysis_records import OutboxMessage
from service.storage.outbox import GONE
from service.storage.ports import Store, StoreUnavailableError
from service.storage.rows import to_json
from service.use_cases.endpoints import Endpoint, EndpointError, Environment, Limits, Post, endpoint_of

MINUTE_S, HOUR_S = 60.0, 3_600.0
PAUSES_S = (
    5.0,
    5 * MINUTE_S,
    30 * MINUTE_S,
    2 * HOUR_S,
    5 * HOUR_S,
    10 * HOUR_S,
    14 * HOUR_S,
    20 * HOUR_S,
    24 * HOUR_S,
)
"""Seconds from each failed attempt to the next, as Standard Webhooks advises; then it is given up."""
STATUS_GONE = 410
LOOK_EVERY_S = 1.0
TEST = "webhook.test"

Random = Callable[[], float]
"""Returns a number in [0, 1)."""
Webhooks = Callable[[str], Webhook | None]
"""Returns a webhook of the live catalog by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How attempts are made and spread.

    `jitter` is the largest share by which a pause is made longer or shorter; for `quiet_s` after a failure
    nothing else is sent to the same endpoint; a message of a sender that died is free again after `hold_s`.
    """

    limits: Limits = field(default_factory=Limits)
    pauses_s: tuple[float, ...] = PAUSES_S
    jitter: float = 0.2
    quiet_s: float = 30.0
    hold_s: float = 60.0


class Sender:
    """Delivers one message after the other; `run` returns when `stop` was called."""

    def __init__(
        self,
        store: Store,
        find: Callable[[str], Endpoint],
        *,
        clock: Clock,
        random: Random,
        patience: Patience | None = None,
    ) -> None:
        self._store = store
        self._find = find
        self._clock = clock
        self._random = random
        self._patience = patience or Patience()
        self._stopping = threading.Event()
        self._post: Post | None = None
        self._quiet_until: dict[str, datetime] = {}

    def run(self) -> None:
        """Send what is due about once a second until told to stop."""
        while not self._stopping.wait(LOOK_EVERY_S):
            try:
                self.send_due()
            except StoreUnavailableError as error:
                logger().warning("outbox_unavailable", error=str(error))
            except Exception:  # noqa: BLE001 - whatever it was, the next look may do better
                logger().exception("outbox_failed")

    def stop(self) -> None:
        """End the attempt under way, which is not counted, and send nothing more."""
        self._stopping.set()
        if self._post is not None:
            self._post.cut()

    def send_due(self) -> int:
        """Try every message that is due now, each once; return how many were delivered."""
        delivered = 0
        while not self._stopping.is_set():
            now = self._clock()
            until = now + timedelta(seconds=self._patience.hold_s)
            taken = self._store.take_messages(now=now, until=until, limit=1)
            if not taken:
                break
            delivered += self._send(taken[0], now)
        return delivered

    def _send(self, message: OutboxMessage, now: datetime) -> int:
        quiet_until = self._quiet_until.get(message.endpoint, now)
        if now < quiet_until:
            self._store.settle_message(replace(message, next_at=self._after(quiet_until, 1.0)))
            return 0
        try:
            self._post = Post(self._find(message.endpoint), limits=self._patience.limits)
            status, problem = self._post.send(message.message_id, message.payload, now=now)
        except EndpointError as error:
            status, problem = 0, str(error)
        self._post = None
        done = self._clock()
        if problem and self._stopping.is_set():
            self._store.settle_message(replace(message, next_at=done))
            return 0
        tried = replace(message, attempts=message.attempts + 1, problem=problem)
        if not problem:
            self._store.settle_message(replace(tried, next_at=None, delivered_at=done))
            self._quiet_until.pop(message.endpoint, None)
            _log("webhook_delivered", tried)
            return 1
        self._fail(tried, is_gone=status == STATUS_GONE, now=done)
        return 0

    def _fail(self, tried: OutboxMessage, *, is_gone: bool, now: datetime) -> None:
        if is_gone:
            self._store.settle_message(replace(tried, next_at=None, problem=GONE))
            self._store.disable_endpoint(tried.endpoint)
            _log("webhook_disabled", tried)
            return
        self._quiet_until[tried.endpoint] = now + timedelta(seconds=self._patience.quiet_s)
        pauses = self._patience.pauses_s
        is_last = tried.attempts > len(pauses)
        next_at = None if is_last else self._after(now, pauses[tried.attempts - 1])
        self._store.settle_message(replace(tried, next_at=next_at))
        _log("webhook_given_up" if is_last else "webhook_failed", tried)

    def _after(self, moment: datetime, pause_s: float) -> datetime:
        spread = 1 + self._patience.jitter * (2 * self._random() - 1)
        return moment + timedelta(seconds=pause_s * spread)


def finder(webhooks: Webhooks, environment: Environment, *, insecure: bool) -> Callable[[str], Endpoint]:
    """Return what finds an endpoint by the name of its webhook; it raises EndpointError."""

    def find(name: str) -> Endpoint:
        webhook = webhooks(name)
        if webhook is None:
            raise EndpointError("the live catalog has no webhook of this name")
        return endpoint_of(webhook, environment, insecure=insecure)

    return find


def try_endpoint(endpoint: Endpoint, *, message_id: str, now: datetime, limits: Limits | None = None) -> str:
    """Post a test message, once and past the outbox; return what went wrong, empty when it was taken."""
    data = {"endpoint": endpoint.name, "text": "A test: nothing was decided."}
    payload = to_json({"type": TEST, "timestamp": now.astimezone(UTC).isoformat(), "data": data})
    return Post(endpoint, limits=limits or Limits()).send(message_id, payload, now=now)[1]


def _log(event: str, message: OutboxMessage) -> None:
    facts = {
        "endpoint": message.endpoint,
        "message_id": message.message_id,
        "attempts": message.attempts,
        "problem": message.problem,
    }
    if event == "webhook_delivered":
        logger().info(event, **facts)
    else:
        logger().error(event, **facts)
