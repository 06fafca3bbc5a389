"""Closed 1-minute candles in their order, and the longer bars made of them."""

import math
from collections.abc import Iterable

from app.domain.market import Bar


def candle_fault(bar: Bar) -> str | None:
    """What is wrong with a candle's numbers, or None."""
    prices = (bar.open, bar.high, bar.low, bar.close)
    if not all(math.isfinite(price) and price > 0 for price in prices):
        return "a price is not a positive number"
    if bar.high < max(prices) or bar.low > min(prices):
        return "high and low do not enclose open and close"
    if not (math.isfinite(bar.volume) and bar.volume >= 0):
        return "the volume is not a number from 0 up"
    if bar.taker_buy is not None and not 0 <= bar.taker_buy <= bar.volume:
        return "takers bought less than nothing or more than the volume"
    if bar.open_ms % bar.interval_ms:
        return "the opening time is not on the interval"
    return None


class MinuteSeries:
    """One symbol's closed minutes, handed on once each and in order. What comes too early waits for what is missing."""

    def __init__(self) -> None:
        self._expects_ms: int | None = None
        self._early: dict[int, Bar] = {}

    @property
    def expects_ms(self) -> int | None:
        """The opening time of the next minute to hand on; None before ``start``."""
        return self._expects_ms

    def start(self, expects_ms: int) -> list[Bar]:
        """Begin (again) at ``expects_ms``; the waiting minutes that now follow."""
        self._expects_ms = expects_ms
        return self._in_order()

    def offer(self, minute: Bar) -> list[Bar]:
        """Take one closed minute; those that can be handed on now. Known ones are ignored."""
        if self._expects_ms is None or minute.open_ms >= self._expects_ms:
            self._early.setdefault(minute.open_ms, minute)
        return self._in_order()

    def repair(self, minutes: Iterable[Bar]) -> list[Bar]:
        """Take what the exchange's history knows from ``expects_ms`` on, oldest first. A minute it skips never was."""
        repaired: list[Bar] = []
        for minute in minutes:
            if self._expects_ms is not None and minute.open_ms >= self._expects_ms:
                repaired.append(minute)
                self._expects_ms = minute.close_ms
        return repaired + self._in_order()

    def _in_order(self) -> list[Bar]:
        ready: list[Bar] = []
        if self._expects_ms is None:
            return ready
        while (minute := self._early.pop(self._expects_ms, None)) is not None:
            ready.append(minute)
            self._expects_ms = minute.close_ms
        self._early = {open_ms: minute for open_ms, minute in self._early.items() if open_ms > self._expects_ms}
        return ready


class BarBuilder:
    """Bars of a longer interval, aligned to the Unix epoch, from shorter ones in order. Only complete groups make a bar."""

    def __init__(self, interval_ms: int) -> None:
        self._interval_ms = interval_ms
        self._group: list[Bar] = []

    def add(self, bar: Bar) -> Bar | None:
        """The longer bar this one completes, if it does."""
        group_ms = bar.open_ms - bar.open_ms % self._interval_ms
        self._group = [known for known in self._group if known.open_ms >= group_ms]
        self._group.append(bar)
        if bar.close_ms < group_ms + self._interval_ms or len(self._group) * bar.interval_ms < self._interval_ms:
            return None
        bought = [known.taker_buy for known in self._group if known.taker_buy is not None]
        return Bar(
            symbol=bar.symbol,
            interval_ms=self._interval_ms,
            open_ms=group_ms,
            open=self._group[0].open,
            high=max(known.high for known in self._group),
            low=min(known.low for known in self._group),
            close=bar.close,
            volume=math.fsum(known.volume for known in self._group),
            taker_buy=math.fsum(bought) if len(bought) == len(self._group) else None,
        )
