"""Where stop, backstop, targets and break-even lie. Everything is mirrored for shorts; stops are rounded away from harm."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from app.domain.instrument import Instrument, Side
from app.domain.rules import BreakEven, StopRules


class StopSource(StrEnum):
    """Which level the stop came from, in the order they are believed."""

    ORDER_BLOCK = "order_block"
    ALERT = "alert"
    STRUCTURE = "structure"  # a block the server itself sees
    ATR = "atr"


@dataclass(frozen=True, slots=True)
class OrderBlock:
    bottom: Decimal
    top: Decimal

    def __post_init__(self) -> None:
        if not 0 < self.bottom <= self.top:
            raise ValueError("an order block needs 0 < bottom <= top")

    @property
    def height(self) -> Decimal:
        return self.top - self.bottom

    @property
    def middle(self) -> Decimal:
        return (self.top + self.bottom) / 2

    def far_edge(self, position: Side) -> Decimal:
        """The edge the price must break to prove the position wrong: the bottom for a long."""
        return self.bottom if position is Side.BUY else self.top


@dataclass(frozen=True, slots=True)
class ChosenStop:
    price: Decimal  # on the tick
    source: StopSource


def on_losing_side(position: Side, stop: Decimal, price: Decimal) -> bool:
    return 0 < stop < price if position is Side.BUY else stop > price


def block_stop(position: Side, block: OrderBlock, atr: Decimal, rules: StopRules) -> Decimal:
    """Far edge ∓ m × ATR14; m is the thin multiple for a block thinner than ``thin_block_atr`` × ATR14 (strictly)."""
    thin = block.height < rules.thin_block_atr * atr
    multiple = rules.atr_multiple_thin if thin else rules.atr_multiple
    return block.far_edge(position) - position.sign * multiple * atr


def is_believable(position: Side, stop: Decimal, p0: Decimal, rules: StopRules) -> bool:
    """On the losing side of P0, and neither too near nor too far."""
    distance = abs(p0 - stop) / p0
    return on_losing_side(position, stop, p0) and rules.alert_min_distance <= distance <= rules.alert_max_distance


def atr_stop(position: Side, p0: Decimal, atr: Decimal, fees: Decimal, rules: StopRules) -> Decimal:
    """P0 ∓ the larger of 0.75 ATR14 and the distance at which the round trip's fees cost ``fallback_fee_floor_r`` R.

    ``fees`` is the sum of the entry's and the exit's commission rate. A floor of 0 turns the fee part off.
    """
    floor = p0 * fees / rules.fallback_fee_floor_r if rules.fallback_fee_floor_r else Decimal(0)
    return p0 - position.sign * max(rules.atr_multiple * atr, floor)


def choose_stop(
    position: Side,
    p0: Decimal,
    atr: Decimal,
    fees: Decimal,
    block: OrderBlock | None,
    alert_stop: Decimal | None,
    instrument: Instrument,
    rules: StopRules,
    own_block: OrderBlock | None = None,
) -> ChosenStop | None:
    """The first level that can be believed: the alert's order block, its own stop, the server's own block, ATR.

    None when not even the last is a price. Of the server's block no more is believed than of the alert's stop: neither one so
    near that fees eat the trade, nor one so far that it has nothing to do with it.
    """
    if block is not None:
        stop = instrument.stop_price(position, block_stop(position, block, atr, rules))
        if on_losing_side(position, stop, p0):
            return ChosenStop(stop, StopSource.ORDER_BLOCK)
    if alert_stop is not None and is_believable(position, alert_stop, p0, rules):
        return ChosenStop(instrument.stop_price(position, alert_stop), StopSource.ALERT)
    if own_block is not None:
        stop = instrument.stop_price(position, block_stop(position, own_block, atr, rules))
        if is_believable(position, stop, p0, rules):
            return ChosenStop(stop, StopSource.STRUCTURE)
    stop = instrument.stop_price(position, atr_stop(position, p0, atr, fees, rules))
    return ChosenStop(stop, StopSource.ATR) if on_losing_side(position, stop, p0) else None


def backstop_price(position: Side, p0: Decimal, stop: Decimal, instrument: Instrument, rules: StopRules) -> Decimal:
    """The second stop's trigger on the mark price, ``backstop_r`` × R beyond the initial stop, but always a price."""
    beyond = instrument.stop_price(position, stop - position.sign * rules.backstop_r * abs(p0 - stop))
    return max(beyond, instrument.tick)


def target_prices(position: Side, entry: Decimal, stop: Decimal, r_multiples: Sequence[Decimal]) -> tuple[Decimal, ...]:
    """Entry ± multiples of R, before rounding to the tick (``Instrument.round_price``)."""
    r = abs(entry - stop)
    return tuple(entry + position.sign * multiple * r for multiple in r_multiples)


def split_quantity(quantity: Decimal, parts: Sequence[Decimal], instrument: Instrument) -> tuple[Decimal, ...]:
    """One quantity per part, floored to the step, then the runner with all the rest.

    A part under the minimum quantity is 0 and goes with the runner (reduce-only orders have no minimum notional).
    """
    floored = (instrument.floor_quantity(quantity * part) for part in parts)
    split = tuple(part if part >= instrument.min_quantity else Decimal(0) for part in floored)
    return (*split, quantity - sum(split))


def break_even(position: Side, entry: Decimal, fee_in: Decimal, fee_out: Decimal, rule: BreakEven) -> Decimal:
    """The entry itself, or the price at which closing pays both fees; before rounding to the tick."""
    if rule is BreakEven.ENTRY:
        return entry
    sign = position.sign
    return entry * (1 + sign * fee_in) / (1 - sign * fee_out)
