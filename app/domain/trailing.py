"""The runner's stop follows SuperTrend AI on closed bars, only ever in the trade's favour."""

from dataclasses import dataclass
from decimal import Decimal

from app.domain.instrument import Instrument, Side
from app.domain.market import BarIndicators
from app.domain.numbers import to_decimal


@dataclass(frozen=True, slots=True)
class TrailStep:
    """What one closed bar changes. ``agreed``: the indicator has pointed our way at least once since trailing began."""

    stop: Decimal
    agreed: bool
    flipped: bool  # it agreed before and now points against the position


def trailed_stop(
    position: Side, stop: Decimal, line: Decimal | None, line_is_long: bool | None, instrument: Instrument
) -> Decimal:
    """The better of stop and line for the position while the indicator points its way; else the stop as it is.

    The line is rounded away from harm (a long's down, a short's up), so the stop moves by whole ticks or not at all.
    """
    if line is None or line <= 0 or line_is_long is None or line_is_long is not (position is Side.BUY):
        return stop
    rounded = instrument.stop_price(position, line)
    return max(stop, rounded) if position is Side.BUY else min(stop, rounded)


def trail(position: Side, stop: Decimal, bar: BarIndicators, agreed: bool, instrument: Instrument) -> TrailStep:
    """One closed bar: the new stop, and whether the indicator has flipped against the position after having agreed."""
    if bar.supertrend_is_long is None:
        return TrailStep(stop, agreed, flipped=False)
    agrees = bar.supertrend_is_long is (position is Side.BUY)
    moved = trailed_stop(position, stop, to_decimal(bar.supertrend_stop), bar.supertrend_is_long, instrument)
    return TrailStep(moved, agreed or agrees, flipped=agreed and not agrees)
