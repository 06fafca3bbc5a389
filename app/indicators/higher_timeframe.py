"""Bars of a longer interval from closed bars of a shorter one, aligned to the Unix epoch."""

import math

from app.domain.market import Bar


class HigherTimeframe:
    """Only complete groups make a bar: one missing part, and the group is passed over."""

    def __init__(self, interval_ms: int) -> None:
        if interval_ms < 1:
            raise ValueError(f"higher timeframe: the interval must be positive, not {interval_ms} ms")
        self._interval_ms = interval_ms
        self._parts: list[Bar] = []

    def add(self, part: Bar) -> Bar | None:
        """The bar this part completes, if it does. Raises ValueError unless a whole number of such parts make the interval."""
        if self._interval_ms % part.interval_ms:
            raise ValueError(f"higher timeframe: {self._interval_ms} ms cannot be made of bars of {part.interval_ms} ms")
        group_ms = part.open_ms - part.open_ms % self._interval_ms
        follows = bool(self._parts) and part.open_ms == self._parts[-1].close_ms
        if part.open_ms == group_ms:
            self._parts = [part]
        elif follows:
            self._parts.append(part)
        else:
            self._parts = []  # the group's beginning is not known
        if not self._parts or part.close_ms < group_ms + self._interval_ms:
            return None
        parts, self._parts = self._parts, []
        return _joined(parts, self._interval_ms)


def _joined(parts: list[Bar], interval_ms: int) -> Bar:
    bought = [part.taker_buy for part in parts if part.taker_buy is not None]
    return Bar(
        symbol=parts[0].symbol,
        interval_ms=interval_ms,
        open_ms=parts[0].open_ms,
        open=parts[0].open,
        high=max(part.high for part in parts),
        low=min(part.low for part in parts),
        close=parts[-1].close,
        volume=math.fsum(part.volume for part in parts),
        taker_buy=math.fsum(bought) if len(bought) == len(parts) else None,
    )
