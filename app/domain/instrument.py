"""What may be traded and in which grains: prices on the tick, quantities on the step."""

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal
from enum import StrEnum


class Side(StrEnum):
    BUY = "BUY"
    SELL = "SELL"

    @property
    def opposite(self) -> "Side":
        return Side.SELL if self is Side.BUY else Side.BUY

    @property
    def sign(self) -> int:
        """+1 for a buy, −1 for a sell: what a position gains when the price rises by one."""
        return 1 if self is Side.BUY else -1


def _to_grid(value: Decimal, grain: Decimal, rounding: str) -> Decimal:
    return (value / grain).quantize(Decimal(1), rounding=rounding) * grain


def floor_step(quantity: Decimal, step: Decimal) -> Decimal:
    """The largest multiple of ``step`` that is at most ``quantity``."""
    return _to_grid(quantity, step, ROUND_FLOOR)


def round_tick(price: Decimal, tick: Decimal) -> Decimal:
    """The nearest multiple of ``tick``, halves away from zero: for targets."""
    return _to_grid(price, tick, ROUND_HALF_UP)


def floor_tick(price: Decimal, tick: Decimal) -> Decimal:
    return _to_grid(price, tick, ROUND_FLOOR)


def ceil_tick(price: Decimal, tick: Decimal) -> Decimal:
    return _to_grid(price, tick, ROUND_CEILING)


@dataclass(frozen=True, slots=True)
class Instrument:
    """One perpetual's filters, as exchangeInfo gives them (LOT_SIZE, MARKET_LOT_SIZE, PRICE_FILTER, MIN_NOTIONAL)."""

    symbol: str
    tick: Decimal
    step: Decimal
    min_quantity: Decimal
    max_quantity: Decimal
    market_max_quantity: Decimal
    min_notional: Decimal

    def __post_init__(self) -> None:
        if self.tick <= 0 or self.step <= 0 or self.min_quantity <= 0:
            raise ValueError(f"{self.symbol}: tick, step and minimum quantity must be positive")

    def floor_quantity(self, quantity: Decimal) -> Decimal:
        return floor_step(quantity, self.step)

    def round_price(self, price: Decimal) -> Decimal:
        """To the nearest tick, for targets."""
        return round_tick(price, self.tick)

    def passive_price(self, side: Side, price: Decimal) -> Decimal:
        """To the tick that never pays more than ``price``: down for a buy, up for a sell."""
        return floor_tick(price, self.tick) if side is Side.BUY else ceil_tick(price, self.tick)

    def stop_price(self, position: Side, price: Decimal) -> Decimal:
        """To the tick away from harm: a long's stop down, a short's stop up."""
        return floor_tick(price, self.tick) if position is Side.BUY else ceil_tick(price, self.tick)
