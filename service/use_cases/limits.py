"""How many evaluations one address may ask for: a token bucket each, in the memory of this worker."""

import ipaddress
import math
import re
import threading
from collections.abc import Callable, Sequence
from time import monotonic

from service.errors import ProblemError
from service.variables import Network

MOST_ADDRESSES = 50_000
V6_NETWORK_BITS = 64
MOST_HOPS = 32
MOST_CHARACTERS = 64
_WITH_PORT = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9]+(?:\.[0-9]+){3}))(?::[0-9]{1,5})?", re.ASCII)


class RateLimit:
    """At most `rate` requests a second from one address, and as many at once; 0 limits nothing.

    Memory is bounded: of more than `most` addresses the ones not heard of for longest are forgotten.
    """

    def __init__(
        self, rate: int, *, most: int = MOST_ADDRESSES, clock: Callable[[], float] = monotonic
    ) -> None:
        self.rate = rate
        self._most = most
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}
        # Behind the hot lane the event loop alone takes it; elsewhere the threads of the pool share it.
        self._lock = threading.Lock()

    def wait_s(self, address: str) -> int:
        """Take one token; return 0, or in how many whole seconds there will be one."""
        if not self.rate:
            return 0
        with self._lock:
            now = self._clock()
            tokens, seen = self._buckets.pop(address, (float(self.rate), now))
            tokens = min(float(self.rate), tokens + (now - seen) * self.rate)
            allowed = tokens >= 1
            # Put in again, so that the order of the table is the order of the last request.
            self._buckets[address] = (tokens - 1 if allowed else tokens, now)
            if len(self._buckets) > self._most:
                self._buckets.pop(next(iter(self._buckets)), None)
        return 0 if allowed else math.ceil((1 - tokens) / self.rate)


def check_rate(limit: RateLimit, address: str) -> None:
    """Count one evaluation; without an address nothing is limited.

    Raises
    ------
    ProblemError
        429, with the seconds to wait.
    """
    if address and (wait_s := limit.wait_s(address)):
        detail = f"too many evaluations from this address; again in {wait_s} s"
        raise ProblemError(429, "too_many_requests", detail, headers={"Retry-After": str(wait_s)})


def client_address(peer: str, forwarded_for: str, proxies: Sequence[Network]) -> str:
    """Return who asks: the peer, or behind our own proxies the last address that is none of them.

    An IPv6 client has a whole /64 to itself and counts as one. Proxies may name a port too, of which a client
    has many: it does not count.

    Examples
    --------
    >>> client_address("10.0.0.7", "6.6.6.6, 203.0.113.9", [ipaddress.ip_network("10.0.0.0/8")])
    '203.0.113.9'
    >>> client_address("203.0.113.9", "6.6.6.6", [])
    '203.0.113.9'
    """
    address = peer
    hops = [_without_port(hop.strip()) for hop in forwarded_for.rsplit(",", MOST_HOPS)] if proxies else []
    while hops and _is_one_of(address, proxies):
        address = hops.pop() or address
    return _network_of(address)


def _without_port(hop: str) -> str:
    found = _WITH_PORT.fullmatch(hop)
    return found[1] or found[2] if found else hop


def _is_one_of(address: str, proxies: Sequence[Network]) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(found in network for network in proxies)


def _network_of(address: str) -> str:
    if ":" not in address:
        return address[:MOST_CHARACTERS]
    try:
        found = ipaddress.IPv6Address(address)
    except ValueError:
        return address[:MOST_CHARACTERS]
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Network((found, V6_NETWORK_BITS), strict=False))
