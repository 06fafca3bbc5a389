"""How much a request of the advanced webhook buys, and how bold that is."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from app.domain.instrument import Instrument
from app.domain.sizing import percentage_size


class RiskLevel(StrEnum):
    CONSERVATIVE = "conservative"
    MODERATE = "moderate"
    AGGRESSIVE = "aggressive"
    VERY_AGGRESSIVE = "very aggressive"


_LEVELS = tuple(RiskLevel)
_BALANCE_LEVELS = (Decimal("0.10"), Decimal("0.25"), Decimal("0.50"))  # up to which each level but the last reaches
_LEVERAGE_LEVELS = (5, 10, 20)


def risk_level(balance_percentage: Decimal, leverage: int) -> RiskLevel:
    """The higher of what the two say, by the user's own table (document 004, "Balance Percentage Recommendations")."""
    by_balance = sum(1 for limit in _BALANCE_LEVELS if balance_percentage > limit)
    by_leverage = sum(1 for limit in _LEVERAGE_LEVELS if leverage > limit)
    return _LEVELS[max(by_balance, by_leverage)]


@dataclass(frozen=True, slots=True)
class PositionSize:
    """Money in USDT. ``wanted`` is before all filters; ``quantity`` is on the step, 0 when it is under the symbol's minimums."""

    balance: Decimal
    balance_percentage: Decimal
    leverage: int
    price: Decimal
    value: Decimal
    wanted: Decimal
    quantity: Decimal
    was_capped: bool  # by the largest market order


def calculate_position_quantity(
    balance: Decimal, balance_percentage: Decimal, leverage: int, price: Decimal, instrument: Instrument
) -> PositionSize:
    """balance × percentage × leverage / price, floored to the step and kept within the symbol's minimum and maximum quantities.

    Source: document 004, "Position Size Calculation". The largest *market* order counts: it must be closable at once.
    """
    value = balance * balance_percentage * leverage
    wanted = percentage_size(balance, balance_percentage, leverage, price)
    largest = min(instrument.max_quantity, instrument.market_max_quantity)
    quantity = instrument.floor_quantity(min(wanted, largest))
    if quantity < instrument.min_quantity or quantity * price < instrument.min_notional:
        quantity = Decimal(0)
    return PositionSize(balance, balance_percentage, leverage, price, value, wanted, quantity, was_capped=wanted > largest)
