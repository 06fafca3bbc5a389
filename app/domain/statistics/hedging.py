"""Whether hedging did what it is for: the spread of results with the hedge legs and without them.

Over the trades that were hedged, in R after each leg's own fees; funding is booked a trade, not a leg, and left out of both.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from app.domain.statistics.closed_trade import ClosedTrade
from app.domain.statistics.measures import ZERO, mean, variance


@dataclass(frozen=True, slots=True)
class HedgeEffect:
    """``reduction``: 1 − variance with hedges / variance without; negative when they widened the spread. ``correlation`` of the
    hedge legs' results with the main leg's: a hedge that works is near −1. None: fewer than two hedged trades, or no spread."""

    trades: int
    variance_without: float | None
    variance_with: float | None
    reduction: float | None
    correlation: float | None
    average_r_without: float | None
    average_r_with: float | None
    hedge_r: float  # what the hedge legs made in all
    hedge_fee_r: float  # what they cost in fees, already in the above


def hedge_effect(trades: Sequence[ClosedTrade]) -> HedgeEffect:
    hedged = [trade for trade in trades if trade.is_filled and trade.is_hedged]
    alone, legs = [trade.main_r for trade in hedged], [trade.hedge_r for trade in hedged]
    together = [main + hedge for main, hedge in zip(alone, legs, strict=True)]
    without, with_hedge = variance(alone), variance(together)
    return HedgeEffect(
        trades=len(hedged),
        variance_without=without,
        variance_with=with_hedge,
        reduction=1 - with_hedge / without if without and with_hedge is not None else None,
        correlation=_correlation(alone, legs),
        average_r_without=mean(alone),
        average_r_with=mean(together),
        hedge_r=float(sum(legs, ZERO)),
        hedge_fee_r=float(sum((trade.hedge_fee_r for trade in hedged), ZERO)),
    )


def _correlation(left: Sequence[Decimal], right: Sequence[Decimal]) -> float | None:
    """Pearson's, held to −1 … 1 against rounding."""
    left_mean, right_mean, left_spread, right_spread = mean(left), mean(right), variance(left), variance(right)
    if left_mean is None or right_mean is None or not left_spread or not right_spread:
        return None
    products = ((float(a) - left_mean) * (float(b) - right_mean) for a, b in zip(left, right, strict=True))
    covariance = math.fsum(products) / (len(left) - 1)
    return max(-1.0, min(1.0, covariance / math.sqrt(left_spread) / math.sqrt(right_spread)))
