"""How a market moves: Hurst exponent and volatility of its 1-minute log returns, over a bounded window of closes."""

from collections import deque
from dataclasses import dataclass

import numpy as np

from app.indicators.hurst import RETURNS, hurst, regime_of

VOLATILITY_OVER = 60  # returns
MEDIAN_OVER, MEDIAN_FROM = 1440, 360  # minutes
CLOSES_KEPT = MEDIAN_OVER + VOLATILITY_OVER
_NO_MOVEMENT = 1e-10  # a standard deviation below this is rounding


@dataclass(frozen=True, slots=True)
class Regime:
    """Each None while too few minutes are known, or where nothing moves.

    ``volatility`` is the standard deviation (of a sample) of the last 60 returns, ``volatility_ratio`` that over the median of
    the same over the last 24 hours, from 6 hours of them on.
    """

    hurst: float | None
    regime: str | None
    volatility: float | None
    volatility_ratio: float | None


class RegimeWindow:
    """``add`` a closed minute's close in O(1); ``reading`` works over the window, O(its length)."""

    def __init__(self) -> None:
        self._closes: deque[float] = deque(maxlen=CLOSES_KEPT)

    def add(self, close: float) -> None:
        self._closes.append(close)

    def reading(self) -> Regime:
        returns = np.diff(np.log(np.array(self._closes, dtype=np.float64)))
        exponent = hurst(returns[-RETURNS:]) if returns.size >= RETURNS else None
        regime = None if exponent is None else regime_of(exponent)
        if returns.size < VOLATILITY_OVER:
            return Regime(exponent, regime, None, None)
        deviations = np.lib.stride_tricks.sliding_window_view(returns, VOLATILITY_OVER).std(axis=-1, ddof=1)
        volatility, median = float(deviations[-1]), float(np.median(deviations))
        has_ratio = deviations.size >= MEDIAN_FROM and median > _NO_MOVEMENT
        return Regime(exponent, regime, volatility, volatility / median if has_ratio else None)
