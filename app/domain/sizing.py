"""How much to trade: the quantity that loses no more than the allowed risk, within the exchange's filters and the leverage."""

from dataclasses import dataclass
from decimal import Decimal

from app.domain.instrument import Instrument

ZERO = Decimal(0)


def position_size(equity: Decimal, risk: Decimal, entry: Decimal, stop: Decimal) -> Decimal:
    """Quantity (base asset, not yet on the step) that loses ``equity × risk`` USDT between entry and stop.

    Planning calls it with the *worst allowed* entry, so that no fill within the plan's limits can lose more. Raises ValueError
    when entry and stop are one. Source: the strategy's position sizing, ``equity × risk / |entry − stop|``.
    """
    return _size(equity * risk, abs(entry - stop))


def position_size_with_fees(
    equity: Decimal, risk: Decimal, entry: Decimal, stop: Decimal, fee_in: Decimal, fee_out: Decimal
) -> Decimal:
    """As ``position_size``, with the fees of entry and stop (fractions of notional) inside the allowed risk."""
    return _size(equity * risk, abs(entry - stop) + entry * fee_in + stop * fee_out)


def percentage_size(balance: Decimal, fraction: Decimal, leverage: int, price: Decimal) -> Decimal:
    """Quantity whose notional is a fraction of the balance times the leverage, not yet on the step."""
    return balance * fraction * leverage / price


def _size(risk_usdt: Decimal, loss_per_unit: Decimal) -> Decimal:
    if loss_per_unit <= 0:
        raise ValueError("entry and stop must differ")
    return risk_usdt / loss_per_unit


@dataclass(frozen=True, slots=True)
class Filtered:
    """A quantity on the step, 0 when nothing may be traded. ``reason`` names the filter that cut or refused it."""

    quantity: Decimal
    reason: str = ""


def apply_filters(quantity: Decimal, price: Decimal, instrument: Instrument, equity: Decimal, leverage: int) -> Filtered:
    """Floor to the step, cap by leverage and by the largest single order, then refuse what is under the minimums.

    The cap includes the largest *market* order: a position must always be closable at once.
    Source: exchangeInfo LOT_SIZE, MARKET_LOT_SIZE, MIN_NOTIONAL.
    """
    largest = min(instrument.max_quantity, instrument.market_max_quantity)
    caps = (("leverage_cap", equity * leverage / price), ("max_quantity", largest))
    reason = ""
    for name, cap in caps:
        if quantity > cap:
            quantity, reason = cap, name
    quantity = instrument.floor_quantity(quantity)
    if quantity < instrument.min_quantity:
        return Filtered(ZERO, "below_min_qty")
    if quantity * price < instrument.min_notional:
        return Filtered(ZERO, "below_min_notional")
    return Filtered(quantity, reason)


def fee_in_r(entry: Decimal, stop: Decimal, fee_in: Decimal, fee_out: Decimal, slippage: Decimal = ZERO) -> Decimal:
    """Round-trip cost as a multiple of R: ``(fee_in + fee_out + 2 × slippage) × entry / |entry − stop|``."""
    return (fee_in + fee_out + 2 * slippage) * entry / abs(entry - stop)


def funding_8h(rate: Decimal, interval_h: int) -> Decimal:
    """A funding rate per 8 hours, whatever the contract's interval."""
    return rate * 8 / interval_h


def funding_cost(sign: int, notional: Decimal, rate: Decimal) -> Decimal:
    """USDT paid at one settlement (negative: received) by a long (+1) or a short (−1)."""
    return sign * notional * rate


def largest_scale(limit: Decimal, amount: Decimal) -> Decimal:
    """The largest factor up to 1 by which ``amount`` must be multiplied to stay within ``limit``."""
    if amount <= limit:
        return Decimal(1)
    return max(limit, ZERO) / amount
