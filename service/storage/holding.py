"""Hold a lease for as long as a duty takes: a thread renews it, and who cannot renew it stops in time."""

import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from types import TracebackType

from service.storage.analysis_ports import Leases
from service.storage.analysis_records import Lease
from service.storage.leases import LeaseLostError
from service.storage.ports import StoreUnavailableError

TTL_S = 15.0
# Renewed when a third of it is over; given up when a fifth is left, before anybody else may have it.
RENEW_SHARE, LEAVE_SHARE = 1 / 3, 1 / 5
RETRY_S = 0.5
LOOK_S = 0.25


class LeaseKeeper:
    """One lease of this process, by its own clock that never goes back; any thread may ask for it.

    Who names itself as `holder` has it back at once after it was killed, and must be one process at a time.
    """

    def __init__(self, leases: Leases, name: str, *, holder: str = "", ttl_s: float = TTL_S) -> None:
        self._leases = leases
        self._name = name
        self._ttl_s = ttl_s
        self._holder = holder or f"{socket.gethostname()}:{secrets.token_hex(8)}"
        self._lease: Lease | None = None
        self._until = 0.0
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def lease(self) -> Lease | None:
        """The lease while it is surely ours, else None."""
        return self._lease if time.monotonic() < self._until else None

    def seek(self) -> Lease | None:
        """Return the lease, ours already or taken now; None while somebody else holds it.

        Raises
        ------
        StoreUnavailableError
            If the store cannot be asked.
        """
        held = self.lease
        if held is not None:
            return held
        self._stop_renewing()
        started = time.monotonic()
        lease = self._leases.acquire_lease(self._name, self._holder, ttl=timedelta(seconds=self._ttl_s))
        if lease is None:
            return None
        self._set(lease, started)
        self._closing = threading.Event()
        self._thread = threading.Thread(
            target=self._renew, args=(self._closing,), name=f"lease {self._name}", daemon=True
        )
        self._thread.start()
        return self.lease

    def check(self) -> Lease:
        """Return the lease while it is surely ours.

        Raises
        ------
        LeaseLostError
            If it is not.
        """
        lease = self.lease
        if lease is None:
            raise LeaseLostError(f"the lease {self._name!r} could not be renewed in time")
        return lease

    def close(self) -> None:
        """Let the next one have it at once, if it is still ours; without a store it expires by itself."""
        self._stop_renewing()
        lease, self._lease = self._lease, None
        if lease is not None:
            with suppress(StoreUnavailableError, LeaseLostError):
                self._leases.release_lease(lease)

    def __enter__(self) -> "LeaseKeeper":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _set(self, lease: Lease, asked: float) -> None:
        self._lease = lease
        self._until = asked + self._ttl_s * (1 - LEAVE_SHARE)

    def _stop_renewing(self) -> None:
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
        self._thread = None

    def _renew(self, closing: threading.Event) -> None:
        pause = self._ttl_s * RENEW_SHARE
        while not closing.wait(pause):
            lease = self.lease
            if lease is None:
                return
            started = time.monotonic()
            try:
                renewed = self._leases.renew_lease(lease, ttl=timedelta(seconds=self._ttl_s))
            except StoreUnavailableError:
                pause = min(RETRY_S, self._ttl_s * RENEW_SHARE)
                continue
            if renewed is None:
                self._until = 0.0
                return
            self._set(renewed, started)
            pause = self._ttl_s * RENEW_SHARE


@contextmanager
def holding(
    leases: Leases, name: str, *, within_s: float, ttl_s: float = TTL_S
) -> Iterator[LeaseKeeper | None]:
    """Hold a lease for the block; give None if somebody else had it for all of `within_s` seconds."""
    end = time.monotonic() + within_s
    with LeaseKeeper(leases, name, ttl_s=ttl_s) as keeper:
        while keeper.seek() is None:
            if time.monotonic() >= end:
                yield None
                return
            time.sleep(LOOK_S)
        yield keeper
