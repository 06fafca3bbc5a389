"""The book as a whole: its value at risk, its net exposure in BTC's terms, and bets that are one bet twice.

Value at risk is z(level) × √(wᵀΣw × horizon): what the book loses at most in that many periods of Σ, with that probability, if
returns were normal. Σ is float; quantities come back as money, rounded towards less.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from statistics import NormalDist

from app.domain.instrument import Side

_GRAIN = Decimal("1e-12")


def variance(left: Sequence[float], right: Sequence[float], covariance: Sequence[Sequence[float]]) -> float:
    """leftᵀ Σ right."""
    return math.fsum(x * sigma * y for x, row in zip(left, covariance, strict=True) for sigma, y in zip(row, right, strict=True))


def value_at_risk(notionals: Sequence[float], covariance: Sequence[Sequence[float]], level: float, horizon: float = 1) -> float:
    """USDT, positive. ``notionals`` are signed, ``horizon`` is in the periods of ``covariance``."""
    return NormalDist().inv_cdf(level) * math.sqrt(max(0.0, variance(notionals, notionals, covariance) * horizon))


def largest_in_var(
    held: Sequence[float],
    unit: Sequence[float],
    covariance: Sequence[Sequence[float]],
    limit: float,
    level: float,
    horizon: float,
) -> float:
    """How many units may be added to what is held, the whole staying within ``limit`` USDT at risk; 0 when it is over already.

    With nothing held it is ``limit / VaR(unit)``, the usual scaling; beside a book it is the larger root of
    (h + q u)ᵀ Σ (h + q u) = (limit / z√horizon)².
    """
    allowed = (limit / (NormalDist().inv_cdf(level) * math.sqrt(horizon))) ** 2
    a, b = variance(unit, unit, covariance), variance(held, unit, covariance)
    room = allowed - variance(held, held, covariance)
    if room < 0:
        return 0.0
    if a <= 0:
        return math.inf
    root = math.sqrt(b * b + a * room)
    return room / (b + root) if b > 0 else (root - b) / a


def covariance_matrix(
    volatilities: Sequence[float], signs: Sequence[int], symbols: Sequence[str], correlations: Mapping[frozenset[str], float]
) -> list[list[float]]:
    """Σ of the symbols. A pair whose correlation is not known has the one that harms this book most: ±1 by its signs."""

    def correlation(i: int, j: int) -> float:
        if i == j:
            return 1.0
        worst = 1.0 if signs[i] * signs[j] >= 0 else -1.0
        return correlations.get(frozenset((symbols[i], symbols[j])), worst)

    size = range(len(symbols))
    return [[volatilities[i] * volatilities[j] * correlation(i, j) for j in size] for i in size]


@dataclass(frozen=True, slots=True)
class Line:
    """One symbol of the book. ``held`` is what is open, ``unit`` what one unit of the planned trade adds: signed USDT.

    ``volatility`` is the standard deviation of its 1-minute returns, ``beta`` its β against BTC.
    """

    symbol: str
    held: Decimal
    unit: Decimal
    volatility: float
    beta: Decimal


def largest_in_net(lines: Sequence[Line], limit: Decimal) -> Decimal:
    """How many units may be added, the net BTC-equivalent staying within ±``limit`` USDT; 0 when it is over already."""
    held = sum((line.held * line.beta for line in lines), Decimal(0))
    unit = sum((line.unit * line.beta for line in lines), Decimal(0))
    if abs(held) > limit:
        return Decimal(0)
    if not unit:
        return Decimal("Infinity")
    return (limit - held * (1 if unit > 0 else -1)) / abs(unit)


def as_quantity(units: float) -> Decimal:
    """Rounded down; infinite stays infinite."""
    return Decimal(units) if math.isinf(units) else Decimal(units).quantize(_GRAIN, rounding=ROUND_FLOOR)


def is_same_bet(side: Side | None, other: Side | None, correlation: Decimal, limit: Decimal) -> bool:
    """Two positions on one side of markets that move together. A side that is not known counts as the other's."""
    return correlation > limit and (side is None or other is None or side is other)
