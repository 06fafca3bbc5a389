"""Closed minutes in, what kind of market each symbol is in out."""

from dataclasses import asdict

from app.domain.market import MINUTE_MS, Bar, RegimeReading
from app.indicators.regime import CLOSES_KEPT, RegimeWindow

MINUTES_WANTED = CLOSES_KEPT
FRESH_MS = 90_000


class RegimeBook:
    """The last day's closes of every symbol. A reading is worked out when it is asked for, not when a minute is taken."""

    def __init__(self, symbols: tuple[str, ...]) -> None:
        self._windows = {symbol: RegimeWindow() for symbol in symbols}
        self._newest_ms = dict.fromkeys(symbols, 0)  # opening time of the newest minute
        self._said_ms = dict.fromkeys(symbols, 0)

    def add(self, minute: Bar) -> None:
        """Minutes come in order; those known already are passed over."""
        if minute.open_ms > self._newest_ms[minute.symbol]:
            self._newest_ms[minute.symbol] = minute.open_ms
            self._windows[minute.symbol].add(minute.close)

    def newest(self, now_ms: int) -> list[RegimeReading]:
        """A reading for each symbol whose newest minute closed under 90 s before ``now_ms``; each once."""
        readings = []
        for symbol, open_ms in self._newest_ms.items():
            close_ms = open_ms + MINUTE_MS
            if open_ms > self._said_ms[symbol] and now_ms - close_ms < FRESH_MS:
                self._said_ms[symbol] = open_ms
                readings.append(RegimeReading(symbol, **asdict(self._windows[symbol].reading()), close_ms=close_ms))
        return readings
