"""The measures themselves, over plain numbers. Vectors: ``stats``, ``max_drawdown``."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import accumulate

from app.domain.risk.ramp import profit_factor as ratio_of_won_to_lost

ZERO = Decimal(0)
_NORMAL_95 = 1.959963984540054


def profit_factor(results: Sequence[Decimal]) -> float | None:
    """Won over lost; None without a losing trade (``losses`` beside it says so)."""
    ratio = ratio_of_won_to_lost(results)
    return None if ratio is None or ratio.is_infinite() else float(ratio)


def mean(values: Sequence[Decimal]) -> float | None:
    return float(sum(values, ZERO) / len(values)) if values else None


def variance(values: Sequence[Decimal]) -> float | None:
    """Of a sample (n − 1); None under two values."""
    if len(values) < 2:
        return None
    middle = sum(values, ZERO) / len(values)
    return float(sum(((value - middle) ** 2 for value in values), ZERO) / (len(values) - 1))


def mean_95(values: Sequence[Decimal]) -> tuple[float, float] | None:
    """Between what the true mean lies, 95 % sure, by the normal approximation; None under two values."""
    middle, spread = mean(values), variance(values)
    if middle is None or spread is None:
        return None
    error = _NORMAL_95 * math.sqrt(spread / len(values))
    return middle - error, middle + error


def max_drawdown(worth: Iterable[Decimal]) -> Decimal:
    """Largest fall from a high, as a fraction of that high; values are positive or zero."""
    high, worst = ZERO, ZERO
    for value in worth:
        high = max(high, value)
        if high:
            worst = max(worst, (high - value) / high)
    return worst


def max_drawdown_sum(results: Iterable[Decimal]) -> Decimal:
    """Largest fall of the running sum from its high (0 before the first), in the results' own unit: R."""
    high, worst = ZERO, ZERO
    for total in accumulate(results):
        high = max(high, total)
        worst = max(worst, high - total)
    return worst


def compounded(returns: Iterable[Decimal]) -> list[Decimal]:
    """Worth of one unit before the first and after each return; one that has lost everything stays at 0."""
    worth = [Decimal(1)]
    for gained in returns:
        worth.append(worth[-1] * max(ZERO, 1 + gained))
    return worth


@dataclass(frozen=True, slots=True)
class Streaks:
    """Trades in a row. ``current`` is positive for wins, negative for losses. A flat trade ends both."""

    longest_win: int = 0
    longest_loss: int = 0
    current: int = 0


def streaks(results: Iterable[Decimal]) -> Streaks:
    win = loss = current = 0
    for result in results:
        sign = (result > 0) - (result < 0)
        current = current + sign if current * sign > 0 else sign
        win, loss = max(win, current), max(loss, -current)
    return Streaks(win, loss, current)


@dataclass(frozen=True, slots=True)
class Percentiles:
    """By nearest rank: each is one of the values."""

    count: int
    p50: float
    p95: float
    p99: float
    worst: float


def percentiles(values: Iterable[float]) -> Percentiles | None:
    """None without values."""
    ranked = sorted(values)
    if not ranked:
        return None
    p50, p95, p99 = (ranked[math.ceil(part * len(ranked)) - 1] for part in (0.5, 0.95, 0.99))
    return Percentiles(len(ranked), p50, p95, p99, ranked[-1])
