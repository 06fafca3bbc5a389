"""Bars of a longer interval from closed bars of a shorter one, aligned to the Unix epoch."""

import math
from dataclasses import dataclass

from app.domain.market import Bar


@dataclass(frozen=True, slots=True)
class LongBar:
    bar: Bar
    taker_buy: float  # base asset; NaN when one of its parts did not know it


class HigherTimeframe:
    """Only complete groups make a bar: one missing part, and the group is passed over."""

    def __init__(self, part_ms: int, interval_ms: int) -> None:
        """Raises ValueError unless ``interval_ms`` is a whole number of parts, two at least."""
        if part_ms <= 0 or interval_ms % part_ms or interval_ms <= part_ms:
            raise ValueError(f"higher timeframe: {interval_ms} ms cannot be made of bars of {part_ms} ms")
        self._part_ms, self._interval_ms = part_ms, interval_ms
        self._parts: list[Bar] = []
        self._taker_buys: list[float] = []

    def add(self, part: Bar, taker_buy: float = math.nan) -> LongBar | None:
        """The bar this part completes, if it does. Raises ValueError for a part of another interval."""
        if part.interval_ms != self._part_ms:
            raise ValueError(f"higher timeframe: a bar of {part.interval_ms} ms among parts of {self._part_ms} ms")
        group_ms = part.open_ms - part.open_ms % self._interval_ms
        expected_ms = self._parts[-1].close_ms if self._parts else group_ms
        if part.open_ms != expected_ms or part.open_ms == group_ms:
            self._parts, self._taker_buys = [], []
        if part.open_ms != group_ms and not self._parts:
            return None  # the group's beginning is not known
        self._parts.append(part)
        self._taker_buys.append(taker_buy)
        return self._whole(group_ms) if part.close_ms == group_ms + self._interval_ms else None

    def _whole(self, group_ms: int) -> LongBar:
        parts, taker_buys = self._parts, self._taker_buys
        self._parts, self._taker_buys = [], []
        bar = Bar(
            symbol=parts[0].symbol,
            interval_ms=self._interval_ms,
            open_ms=group_ms,
            open=parts[0].open,
            high=max(part.high for part in parts),
            low=min(part.low for part in parts),
            close=parts[-1].close,
            volume=math.fsum(part.volume for part in parts),
        )
        return LongBar(bar, math.fsum(taker_buys))
