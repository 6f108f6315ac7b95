"""Whose turn it is to write: a fair kernel lock that dies with its holder and can be waited for in vain."""

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.storage.ports import StoreUnavailableError


class WriterLock:
    """The kernel lock in front of the single writer; also excludes the threads of this process.

    Each turn opens the file anew, so that threads queue in the kernel like processes do, and so that a wait
    that was given up is ended by closing its own descriptor. The file is never removed: a second file of the
    same name would be a second lock.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._abandoned: _Queued | None = None
        os.close(self._descriptor())

    @contextmanager
    def held(self, *, within_s: float | None = None) -> Iterator[None]:
        """Wait for the turn of this thread, keep it for the length of the block.

        Raises
        ------
        StoreUnavailableError
            If the turn did not come within `within_s` seconds; without it the wait has no end.
        """
        descriptor = self._descriptor()
        if within_s is None:
            _wait(descriptor)
        else:
            self._wait_within(descriptor, within_s)
        try:
            yield
        finally:
            _release(descriptor)

    def _descriptor(self) -> int:
        return os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)

    def _wait_within(self, descriptor: int, seconds: float) -> None:
        """Take the lock if it is free, else let a thread queue for it in the kernel and wait for that thread.

        Trying again and again instead would never get in between writers that queue. A thread whose caller
        has gone gives the lock back as soon as it gets it; while there is one, later callers wait for its end
        instead of queueing behind the same stuck holder, so that threads and descriptors stay few.
        """
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        else:
            return
        if self._abandoned is not None and not self._abandoned.ends_within(seconds):
            os.close(descriptor)
            raise StoreUnavailableError(_held_for(seconds))
        queue = _Queued(descriptor)
        try:
            queue.wait(seconds)
        except StoreUnavailableError:
            self._abandoned = queue
            raise


def _wait(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except BaseException:
        os.close(descriptor)
        raise


def _release(descriptor: int) -> None:
    # Closing alone would not do: a child that was forked during the turn has the descriptor, too.
    try:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


def _held_for(seconds: float) -> str:
    return f"another writer has held the database for {seconds:g} s; nothing was changed"


class _Queued:
    """One wait for the lock in a thread of its own, which its caller may give up."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._ended = threading.Event()
        self._deciding = threading.Lock()
        self._given_up = False
        self._error: OSError | None = None
        try:
            threading.Thread(target=self._run, name="turn", daemon=True).start()
        except BaseException:
            os.close(descriptor)
            raise

    def ends_within(self, seconds: float) -> bool:
        """Wait for the kernel's answer; return whether it came."""
        return self._ended.wait(seconds)

    def wait(self, seconds: float) -> None:
        """Return with the lock held, or raise; an interrupted wait is given up, too."""
        try:
            self._ended.wait(seconds)
        except BaseException:
            self._give_up(keep_if_held=False)
            raise
        if self._give_up(keep_if_held=True):
            raise StoreUnavailableError(_held_for(seconds))
        if self._error is not None:
            raise self._error

    def _give_up(self, *, keep_if_held: bool) -> bool:
        """Leave the lock to the thread unless it has it already; return whether the wait was given up."""
        with self._deciding:
            self._given_up = not self._ended.is_set()
            if not self._given_up and not keep_if_held and self._error is None:
                _release(self._descriptor)
        return self._given_up

    def _run(self) -> None:
        try:
            _wait(self._descriptor)
        except OSError as error:
            self._error = error
        with self._deciding:
            self._ended.set()
            if self._given_up and self._error is None:
                _release(self._descriptor)
