"""A clock that moves only when a test says so."""

import asyncio
import heapq
import itertools
from collections.abc import Callable


class ManualClock:
    """``sleep`` ends when ``advance`` has brought the clock far enough."""

    def __init__(self, wall_ms: int = 1_765_000_000_000) -> None:
        self._now = 0.0
        self._wall_ms = wall_ms
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def monotonic(self) -> float:
        return self._now

    def wall_ms(self) -> int:
        return self._wall_ms + int(self._now * 1000)

    async def sleep(self, seconds: float) -> None:
        done = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._order), done))
        await done

    def advance(self, seconds: float) -> None:
        self._now += seconds
        while self._sleepers and self._sleepers[0][0] <= self._now:
            done = heapq.heappop(self._sleepers)[2]
            if not done.done():
                done.set_result(None)


class InstantClock:
    """Waiting costs nothing, moves its time, and lets something happen."""

    def __init__(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.now, self._meanwhile = 0.0, meanwhile

    def monotonic(self) -> float:
        return self.now

    def wall_ms(self) -> int:
        return int(self.now * 1000)

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        self._meanwhile()
        await asyncio.sleep(0)
