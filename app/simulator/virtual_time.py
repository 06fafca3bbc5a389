"""An event loop whose time jumps to the next timer instead of waiting for it: hours in milliseconds, exactly repeatable."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _JumpingSelector(selectors.DefaultSelector):
    """Where a real loop would sleep, the clock is moved on."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("nothing will ever happen again: every task waits for another")
        if not ready and timeout:
            self.now += timeout
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


class VirtualClock:
    """``app.clock.Clock`` on a VirtualTimeLoop. Wall time starts at ``start_ms``."""

    def __init__(self, loop: VirtualTimeLoop, start_ms: int) -> None:
        self._loop = loop
        self._start_ms = start_ms

    def monotonic(self) -> float:
        return self._loop.time()

    def wall_ms(self) -> int:
        return self._start_ms + round(self._loop.time() * 1000)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def run_virtual(work: Coroutine[Any, Any, T], loop: VirtualTimeLoop) -> T:
    """Run to the end on ``loop`` and close it."""
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(work)
