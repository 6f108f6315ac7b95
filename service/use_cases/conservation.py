"""What came in is what came out: an event is accepted, duplicate, quarantined, refused or counted.

Events count as received when they are at hand and again when it is known what became of them; between the
two they are in flight. A body that cannot be read is one event, refused: nobody can say how many it held.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime

from service.use_cases.meters import CounterKey, Meters, in_minute

STATUSES = ("accepted", "duplicate", "quarantined", "refused", "counted")
REFUSED = "refused"
RECEIVED = "received"
TOTAL_RECEIVED = "events_received"
BY_STATUS = "events"


class Tally:
    """Counts the events of one request, once, under the minute in which they came."""

    def __init__(self, meters: Meters, at: datetime) -> None:
        self._meters = meters
        self._minute = minute_of(at)
        self._received = 0
        self._settled = False

    def receive(self, n: int) -> None:
        """Count `n` events as received."""
        self._received = n
        if n:
            self._meters.count(TOTAL_RECEIVED, by=n)
            self._meters.count_in(self._minute, RECEIVED, by=n)

    def settle(self, statuses: Iterable[str]) -> None:
        """Count what became of each of them."""
        if self._settled:
            return
        self._settled = True
        for status, n in Counter(statuses).items():
            self._meters.count(BY_STATUS, status, by=n)
            self._meters.count_in(self._minute, status, by=n)

    def refuse(self) -> None:
        """Count them all as refused; what could not be read is one event."""
        if not self._received:
            self.receive(1)
        self.settle([REFUSED] * self._received)


def count_refused(meters: Meters, at: datetime) -> None:
    """Count a request that was refused before its body was read."""
    Tally(meters, at).refuse()


def minute_of(at: datetime) -> int:
    """Return the minute as a number since 1970."""
    return int(at.timestamp()) // 60


def last_full_minute(totals: Mapping[CounterKey, int], now: datetime) -> dict[str, int]:
    """Return received and every status of the events that came in the last full minute."""
    counted = in_minute(totals, minute_of(now) - 1)
    return {name: counted[name] for name in (RECEIVED, *STATUSES)}


def imbalance(counts: Mapping[str, int]) -> int:
    """Return received less what became of them: what is in flight, and 0 when nothing is."""
    return counts[RECEIVED] - sum(counts[status] for status in STATUSES)
