"""Hedge legs in dollars. β is Cov(alt, BTC) / Var(BTC): alt notional × β is what the leg weighs in BTC (its BTC-equivalent)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal

from app.domain.instrument import Instrument, Side

_RATIO_GRAIN = Decimal("1e-12")


@dataclass(frozen=True, slots=True)
class HedgeNotionals:
    """USDT per leg. ``scale`` is what the cap left of the rule's own numbers."""

    legs: Mapping[str, Decimal]
    scale: Decimal


def capped_notionals(btc_notional: Decimal, betas: Mapping[str, Decimal], factor: Decimal, cap: Decimal) -> HedgeNotionals:
    """The seed rule β × factor × BTC notional per leg, all legs scaled so that their BTC-equivalent is at most ``cap`` × BTC.

    The cap is our addition: with realistic betas the bare rule hedges more than the position and makes the book wilder.
    """
    legs = {symbol: beta * factor * btc_notional for symbol, beta in betas.items()}
    equivalent = sum((legs[symbol] * betas[symbol] for symbol in legs), Decimal(0))
    scale = min(Decimal(1), cap * btc_notional / equivalent) if equivalent > 0 else Decimal(1)
    return HedgeNotionals({symbol: notional * scale for symbol, notional in legs.items()}, scale)


def beta_neutral_notionals(
    btc_notional: Decimal, betas: Mapping[str, Decimal], weights: Mapping[str, Decimal], factor: Decimal
) -> dict[str, Decimal]:
    """Each leg offsets its weight of the BTC exposure: N × w × factor / β."""
    return {symbol: btc_notional * weights[symbol] * factor / beta for symbol, beta in betas.items()}


def min_variance_notionals(
    btc_notional: Decimal, btc_covariances: Sequence[Decimal], covariances: Sequence[Sequence[Decimal]]
) -> tuple[Decimal, ...]:
    """Short notionals of least variance for the whole book: the solution w of C w = N c.

    ``btc_covariances`` holds c, each leg's covariance with BTC; ``covariances`` is C among the legs, symmetric.
    Raises ValueError when C is not positive definite (two legs that are one, a leg without variance).
    """
    rows = [[*row, btc_notional * c] for row, c in zip(covariances, btc_covariances, strict=True)]
    size = len(rows)
    for i in range(size):
        if rows[i][i] <= 0:
            raise ValueError("the legs' covariance matrix is not positive definite")
        for j in range(i + 1, size):
            lead = rows[j][i] / rows[i][i]
            rows[j] = [below - lead * above for below, above in zip(rows[j], rows[i], strict=True)]
    solved = [Decimal(0)] * size
    for i in reversed(range(size)):
        known = sum((rows[i][j] * solved[j] for j in range(i + 1, size)), Decimal(0))
        solved[i] = (rows[i][size] - known) / rows[i][i]
    return tuple(solved)


def quantity_ratio(notional: Decimal, btc_notional: Decimal, btc_price: Decimal, price: Decimal) -> Decimal:
    """Hedge quantity per unit of BTC quantity, rounded down so that rounding never adds hedge."""
    return (notional / btc_notional * btc_price / price).quantize(_RATIO_GRAIN, rounding=ROUND_FLOOR)


def hedge_quantity(btc_filled: Decimal, ratio: Decimal, max_quantity: Decimal, instrument: Instrument) -> Decimal:
    """What the leg should hold for so much filled BTC, on the step; 0 when that is under the minimum quantity."""
    quantity = min(instrument.floor_quantity(btc_filled * ratio), max_quantity)
    return quantity if quantity >= instrument.min_quantity else Decimal(0)


def hedge_stop(side: Side, level: Decimal, atr: Decimal, multiple: Decimal, instrument: Instrument) -> Decimal:
    """``multiple`` × ATR14 beyond ``level`` (the structure's edge when known, else the reference price), on the tick; at least
    one tick, however still the market is."""
    beyond = max(multiple * atr, instrument.tick)
    return max(instrument.stop_price(side, level - side.sign * beyond), instrument.tick)
