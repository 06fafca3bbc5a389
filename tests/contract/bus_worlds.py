"""The two worlds the bus contract is proved in: a real Redis server, and the in-process one."""

import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from manual_clock import ManualClock

from app.bus.connection import connect
from app.bus.embedded import EmbeddedRedis
from app.bus.in_memory import InMemoryInbox, InMemoryLease, InMemoryMarketBus, InMemoryServer
from app.bus.lease import RedisLease
from app.bus.redis import RedisInbox, RedisMarketBus
from app.clock import SystemClock

_Port = TypeVar("_Port", RedisInbox, RedisMarketBus, RedisLease)


@dataclass
class MemoryWorld:
    """Each port object stands for one process."""

    clock: ManualClock
    server: InMemoryServer

    def inbox(self) -> InMemoryInbox:
        return InMemoryInbox(self.server)

    def market(self, history: int = 100) -> InMemoryMarketBus:
        return InMemoryMarketBus(self.server, history=history)

    def lease(self, owner: str) -> InMemoryLease:
        return InMemoryLease(self.server, "trader", owner)

    async def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)

    async def cut(self) -> None:
        self.server.cut()

    async def restore(self) -> None:
        self.server.restore()

    async def close(self) -> None: ...


class RedisWorld:
    def __init__(self, directory: Path) -> None:
        self.redis = EmbeddedRedis(directory, SystemClock())
        self.hints = directory.with_name("hints")
        self._closers: list[Callable[[], Awaitable[Any]]] = []

    def _kept(self, port: _Port) -> _Port:
        self._closers.append(port.close)
        return port

    def inbox(self) -> RedisInbox:
        return self._kept(RedisInbox(self.redis.url, hints=self.hints))

    def market(self, history: int = 100) -> RedisMarketBus:
        return self._kept(RedisMarketBus(self.redis.url, history=history))

    def lease(self, owner: str) -> RedisLease:
        return self._kept(RedisLease(self.redis.url, "trader", owner))

    async def pass_time(self, seconds: float) -> None:
        """Bring every expiry nearer by ``seconds``: what Redis does to its keys then is its own."""
        client = connect(self.redis.url)
        for key in await client.keys("*"):
            left_ms = await client.pttl(key)
            if left_ms >= 0:
                await client.pexpire(key, left_ms - int(seconds * 1000))
        await client.aclose()

    async def cut(self) -> None:
        """kill -9."""
        assert self.redis.pid is not None
        os.kill(self.redis.pid, signal.SIGKILL)

    async def restore(self) -> None:
        await self.redis.start()

    async def close(self) -> None:
        for close in self._closers:
            await close()
        await self.redis.stop()


BusWorld = MemoryWorld | RedisWorld
