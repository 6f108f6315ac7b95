"""A TCP proxy in front of a server, for tests of what a bad network does to those behind it."""

import contextlib
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Proxy:
    """Passes bytes on, late by `delay_s`, or keeps them while `silent`."""

    def __init__(self, port: int) -> None:
        self.delay_s = 0.0
        self.silent = False
        self._target = port
        self._ended = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = [self._listener]
        self._threads = [threading.Thread(target=self._listen, daemon=True)]
        self._threads[0].start()

    @property
    def port(self) -> int:
        """Return the port to connect to."""
        return int(self._listener.getsockname()[1])

    def cut(self) -> None:
        """Cut every connection that there is; new ones are taken."""
        for one in self._sockets[1:]:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Cut every connection and take no more."""
        self._ended = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self.cut()
        for thread in self._threads:
            thread.join()
        for one in self._sockets:
            one.close()

    def _listen(self) -> None:
        while not self._ended:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                client.close()
                continue
            self._sockets += [client, server]
            for pair in ((client, server), (server, client)):
                thread = threading.Thread(target=self._pass_on, args=pair, daemon=True)
                self._threads.append(thread)
                thread.start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while not self._ended:
                if not select.select([source], [], [], 0.05)[0]:
                    continue
                data = source.recv(65_536)
                if not data:
                    break
                time.sleep(self.delay_s)
                while self.silent and not self._ended:
                    time.sleep(0.01)
                target.sendall(data)
        # Also after a reset: who is behind learns that the other end is gone.
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)


@contextmanager
def in_front_of(port: int) -> Iterator[Proxy]:
    """Start a proxy to `port` of this machine."""
    proxy = Proxy(port)
    try:
        yield proxy
    finally:
        proxy.close()
