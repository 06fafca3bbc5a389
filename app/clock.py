"""The two clocks, injected everywhere (architecture rule 4).

*Monotonic* time rules waits, timeouts and latency. *Exchange* time, the event times of the streams, rules bars, hold limits,
funding and days. Only the composition root builds ``SystemClock``.
"""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    def monotonic(self) -> float:
        """Seconds, from an arbitrary start; never goes back."""

    def wall_ms(self) -> int:
        """Unix milliseconds of this host: for log stamps and signed requests only, never for a trading decision."""

    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    def monotonic(self) -> float:
        return time.monotonic()

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class ExchangeClock:
    """Exchange time: the newest event time seen, carried on by the monotonic clock between events; never goes back."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen_ms: int | None = None
        self._seen_at = 0.0

    def observe(self, event_ms: int) -> None:
        if self._seen_ms is None or event_ms >= self.now_ms():
            self._seen_ms, self._seen_at = event_ms, self._clock.monotonic()

    @property
    def is_set(self) -> bool:
        return self._seen_ms is not None

    def now_ms(self) -> int:
        """Unix milliseconds; 0 before the first event."""
        if self._seen_ms is None:
            return 0
        return self._seen_ms + int((self._clock.monotonic() - self._seen_at) * 1000)
