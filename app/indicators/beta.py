"""Rolling β, correlation and least-variance hedge ratio of one market against another, on closed 1-minute candles.

With S the sums of squared and crossed deviations of the two markets' returns over a window (x base, y other):
β = Sxy/Sxx, correlation = Sxy/√(Sxx·Syy), hedge ratio of least variance = Sxy/Syy: how much of y, per unit of x, leaves the
least variance. Degrees of freedom cancel. There is no value while one of the two does not move.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

MINUTE_MS = 60_000

# Sums of squares of returns below this are rounding, not movement (returns of 1e-11 over a window).
_NO_MOVEMENT = 1e-20


@dataclass(frozen=True, slots=True)
class Slopes:
    """Arrays of one shape: one value per window, NaN where there is none."""

    beta: Floats
    correlation: Floats
    hedge_ratio_min_variance: Floats


def slopes(base_returns: Floats, returns: Floats) -> Slopes:
    """The three slopes over the last axis; every other axis is a window of its own."""
    x = base_returns - base_returns.mean(axis=-1, keepdims=True)
    y = returns - returns.mean(axis=-1, keepdims=True)
    sxx, syy, sxy = (x * x).sum(axis=-1), (y * y).sum(axis=-1), (x * y).sum(axis=-1)
    moving = (sxx > _NO_MOVEMENT) & (syy > _NO_MOVEMENT)
    sxx, syy = np.where(moving, sxx, np.nan), np.where(moving, syy, np.nan)
    return Slopes(beta=sxy / sxx, correlation=sxy / np.sqrt(sxx * syy), hedge_ratio_min_variance=sxy / syy)


def log_returns(closes: Floats) -> Floats:
    return np.diff(np.log(closes))


def simple_returns(closes: Floats) -> Floats:
    return np.diff(closes) / closes[:-1]


def rolling_slopes(base_returns: Floats, returns: Floats, window: int) -> Slopes:
    """The slopes over every ``window`` successive returns: ``len(returns) - window + 1`` values, oldest first."""
    if window < 2 or base_returns.shape != returns.shape or returns.size < window:
        raise ValueError(f"rolling β: {window} returns wanted of {base_returns.size} and {returns.size}")
    view = np.lib.stride_tricks.sliding_window_view
    return slopes(view(base_returns, window), view(returns, window))


@dataclass(frozen=True, slots=True)
class LiveSlopes:
    """One reading; ``returns`` is how many minutes it rests on, ``close_ms`` the end of the newest."""

    beta: float
    correlation: float
    hedge_ratio_min_variance: float
    returns: int
    close_ms: int


def live_slopes(
    base_closes: Mapping[int, float], closes: Mapping[int, float], newest_open_ms: int, window: int, share: float = 0.9
) -> LiveSlopes | None:
    """The slopes over the ``window`` minutes up to the candle that opened at ``newest_open_ms``.

    ``base_closes`` and ``closes`` give the close of a minute by its opening time; they may have holes. A return counts when both
    markets have this minute and the one before. None when fewer than ``share`` of the minutes count, the newest is missing,
    or one market did not move.
    """
    pairs = []
    for open_ms in range(newest_open_ms - (window - 1) * MINUTE_MS, newest_open_ms + 1, MINUTE_MS):
        before = open_ms - MINUTE_MS
        if all(minute in book for book in (base_closes, closes) for minute in (before, open_ms)):
            base_return = math.log(base_closes[open_ms]) - math.log(base_closes[before])
            pairs.append((base_return, math.log(closes[open_ms]) - math.log(closes[before])))
    newest_known = newest_open_ms in base_closes and newest_open_ms in closes
    if not newest_known or len(pairs) < max(2, math.ceil(share * window)):
        return None
    base_returns, returns = np.array(pairs).T
    found = slopes(base_returns, returns)
    if np.isnan(found.beta):
        return None
    return LiveSlopes(
        beta=float(found.beta),
        correlation=float(found.correlation),
        hedge_ratio_min_variance=float(found.hedge_ratio_min_variance),
        returns=len(pairs),
        close_ms=newest_open_ms + MINUTE_MS,
    )
