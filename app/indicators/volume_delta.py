"""Cumulative volume delta: what aggressors bought less what they sold, in the base asset, by the time of the trade.

On Binance's trades ``m`` says that the buyer was the maker: the aggressor sold. A closed candle tells the same of its minute
(2 × taker purchases − volume), so a minute is *settled* by its candle, which stands for its trades from then on: that
warms up from history, and mends what a lost connection missed. The windows roll by the second; where only a minute's
candle is known its delta is spread evenly over its seconds.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MINUTE_MS, DAY_MS = 60_000, 86_400_000
WINDOW_S = 900  # the longest window
TYPICAL_OVER, TYPICAL_FROM = 60, 30  # minutes


@dataclass(frozen=True, slots=True)
class Flow:
    """Base asset; ``typical_1m`` is the mean size of a settled minute's delta, None while fewer than 30 are known."""

    cvd: float
    delta_1m: float
    delta_3m: float
    delta_15m: float
    session_cvd: float
    typical_1m: float | None
    time_ms: int


class VolumeDelta:
    """One symbol's. ``settle`` takes closed minutes in their order, ``trade`` single trades as they come; both O(1)."""

    def __init__(self) -> None:
        self._seconds: npt.NDArray[np.float64] = np.zeros(WINDOW_S)  # a ring, by the second modulo its length
        self._newest_s = 0
        self._settled_until_ms: int | None = None
        self._cvd = self._session_cvd = 0.0  # of settled minutes
        self._day = 0
        self._open: dict[int, float] = {}  # minutes that only trades have told of
        self._sizes: deque[float] = deque(maxlen=TYPICAL_OVER)
        self._last_id: int | None = None
        self._hole_ms = 0  # trades before this may be missing
        self._trade_ms = 0

    @property
    def cvd(self) -> float:
        return self._cvd + sum(self._open.values())

    def trade(self, trade_id: int, time_ms: int, quantity: float, *, is_sell: bool) -> None:
        """One (aggregate) trade; ids run on by one. A known id is passed over, a gap makes readings wait for the candle."""
        if self._last_id is not None and trade_id <= self._last_id:
            return
        if self._last_id is None or trade_id > self._last_id + 1:
            self._hole_ms = time_ms
        self._last_id = trade_id
        self._trade_ms = max(self._trade_ms, time_ms)
        if self._settled_until_ms is not None and time_ms < self._settled_until_ms:
            return
        delta = -quantity if is_sell else quantity
        minute_ms = time_ms - time_ms % MINUTE_MS
        self._open[minute_ms] = self._open.get(minute_ms, 0.0) + delta
        self._add(time_ms // 1000, 1, delta)

    def settle(self, open_ms: int, delta: float) -> None:
        """A closed minute as its candle has it, in place of what its trades said. Known minutes are passed over."""
        if self._settled_until_ms is not None and open_ms < self._settled_until_ms:
            return
        self._settled_until_ms = open_ms + MINUTE_MS
        if open_ms // DAY_MS != self._day:
            self._day, self._session_cvd = open_ms // DAY_MS, 0.0
        self._cvd += delta
        self._session_cvd += delta
        self._sizes.append(abs(delta))
        self._add(open_ms // 1000, 60, (delta - self._open.pop(open_ms, 0.0)) / 60)
        self._open = {minute: known for minute, known in self._open.items() if minute > open_ms}

    def window(self, seconds: int) -> float:
        """The delta of the last so many seconds, at most 900, up to the newest one known."""
        return float(self._seconds[np.arange(self._newest_s - seconds + 1, self._newest_s + 1) % WINDOW_S].sum())

    def reading(self) -> Flow | None:
        """None until warmed up, and while trades may be missing that no candle has made good yet."""
        if self._settled_until_ms is None or not self._trade_ms or self._hole_ms >= self._settled_until_ms:
            return None
        day = self._trade_ms // DAY_MS
        session = self._session_cvd if day == self._day else 0.0
        session += sum(delta for minute, delta in self._open.items() if minute // DAY_MS == day)
        typical = sum(self._sizes) / len(self._sizes) if len(self._sizes) >= TYPICAL_FROM else None
        windows = self.window(60), self.window(180), self.window(900)
        return Flow(self.cvd, *windows, session, typical, self._trade_ms)

    def _add(self, first_s: int, seconds: int, each: float) -> None:
        """So much to each of these seconds, those too old for the ring left out."""
        self._advance(first_s + seconds - 1)
        kept_from = max(first_s, self._newest_s - WINDOW_S + 1)
        if seconds == 1 and kept_from == first_s:
            self._seconds[first_s % WINDOW_S] += each
        elif kept_from < first_s + seconds:
            self._seconds[np.arange(kept_from, first_s + seconds) % WINDOW_S] += each

    def _advance(self, second: int) -> None:
        passed = second - self._newest_s
        if passed <= 0:
            return
        if passed == 1:
            self._seconds[second % WINDOW_S] = 0.0
        else:
            self._seconds[np.arange(max(self._newest_s, second - WINDOW_S) + 1, second + 1) % WINDOW_S] = 0.0
        self._newest_s = second
