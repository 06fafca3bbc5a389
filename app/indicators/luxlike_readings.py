"""What the open LuxAlgo-like generator says after a closed bar: eight flags a side, and a signal where six of them agree.

An open stand-in, not LuxAlgo: whatever is made with it carries ``LABEL``.
"""

from dataclasses import dataclass

from app.indicators.market_structure.readings import Bias, OrderBlock

LABEL = "open stand-in, not LuxAlgo"


@dataclass(frozen=True, slots=True)
class SideFlags:
    """One side's conditions. The first six decide; ``zone`` and ``money_flow`` do when the parameters ask for them."""

    higher_timeframe: bool  # HTF_BULL / HTF_BEAR: internal bias of the last closed bar of the higher timeframe
    block_hit: bool  # OB_DEMAND_HIT / OB_SUPPLY_HIT: a strong, dominant block tapped a few bars ago at most
    hyperwave_cross: bool  # HW_CROSS_UP below 50 / HW_CROSS_DOWN above 50, a few bars ago at most
    no_overflow: bool
    confirmation: bool  # BUY_CONF / SELL_CONF
    trail: bool  # TRAIL_BULL / TRAIL_BEAR
    zone: bool  # discount for longs, premium for shorts
    money_flow: bool

    def decisive(self) -> tuple[bool, ...]:
        return (
            self.higher_timeframe,
            self.block_hit,
            self.hyperwave_cross,
            self.no_overflow,
            self.confirmation,
            self.trail,
        )


@dataclass(frozen=True, slots=True)
class LuxLikeReading:
    """``signal`` is NEUTRAL but on the bar that fires; ``stop`` and ``block`` are there with a signal only."""

    open_ms: int
    close: float
    long: SideFlags
    short: SideFlags
    signal: Bias
    stop: float | None
    block: OrderBlock | None
