"""What the service manager is told: ready, still turning, stopping. Silent where there is none (no ``NOTIFY_SOCKET``).

The protocol is sd_notify(3): datagrams to a Unix socket named in the environment; ``WATCHDOG_USEC`` is how long it waits for a
sign of life before it kills and restarts the process.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from app.clock import Clock


class ServiceManager:
    def __init__(self, address: str | None, watchdog_s: float | None) -> None:
        """``address``: a path, or an abstract name that begins with @. ``watchdog_s``: its patience, None without a watchdog."""
        self._address = address
        self._watchdog_s = watchdog_s

    @classmethod
    def of_environment(cls) -> "ServiceManager":
        patience = os.environ.get("WATCHDOG_USEC", "")
        is_ours = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        watchdog_s = int(patience) / 1_000_000 if patience.isdecimal() and is_ours else None
        return cls(os.environ.get("NOTIFY_SOCKET"), watchdog_s)

    def tell(self, words: str) -> None:
        """A service manager that does not listen is no reason to stop working."""
        if not self._address:
            return
        name = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.connect(name)
            sender.sendall(words.encode())

    async def show_life(self, clock: Clock) -> None:
        """For ever: a stuck event loop does not come back here, and is killed."""
        if self._watchdog_s is None:
            return
        while True:
            self.tell("WATCHDOG=1")
            await clock.sleep(self._watchdog_s / 3)


@asynccontextmanager
async def told_of_life(clock: Clock) -> AsyncIterator[None]:
    """READY=1 on entering, signs of life as long as asked for, STOPPING=1 on leaving."""
    manager = ServiceManager.of_environment()
    manager.tell("READY=1")
    showing = asyncio.create_task(manager.show_life(clock))
    try:
        yield
    finally:
        showing.cancel()
        manager.tell("STOPPING=1")
