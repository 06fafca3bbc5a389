"""Pivots: a bar whose high (low) no bar of the next ``length`` reaches, where the leg before went the other way."""

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pivot:
    is_high: bool
    price: float
    open_ms: int


class PivotFinder:
    """Finds a pivot ``length`` bars after its own bar, from the bars that follow it alone.

    A leg down starts with a pivot high, a leg up with a pivot low. The first leg counts as down: the first pivot is a low.
    Where one bar could be both, the high wins.
    """

    def __init__(self, length: int) -> None:
        self._length = length
        self._highs: deque[float] = deque()
        self._lows: deque[float] = deque()
        self._opened: deque[int] = deque()
        self._leg_is_up = False

    def update(self, open_ms: int, high: float, low: float) -> Pivot | None:
        """The pivot this bar confirms, if it does."""
        self._highs.append(high)
        self._lows.append(low)
        self._opened.append(open_ms)
        if len(self._highs) <= self._length:
            return None
        candidate_high, candidate_low = self._highs.popleft(), self._lows.popleft()
        candidate_open_ms = self._opened.popleft()
        if candidate_high > max(self._highs):
            return self._turn(False, candidate_high, candidate_open_ms)
        if candidate_low < min(self._lows):
            return self._turn(True, candidate_low, candidate_open_ms)
        return None

    def _turn(self, leg_is_up: bool, price: float, open_ms: int) -> Pivot | None:
        if leg_is_up == self._leg_is_up:
            return None
        self._leg_is_up = leg_is_up
        return Pivot(is_high=not leg_is_up, price=price, open_ms=open_ms)
