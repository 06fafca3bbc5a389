"""A closed trade as statistics see it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from app.domain.instrument import Side

ZERO = Decimal(0)
ADVANCED_MODE = "advanced"  # of what the advanced webhook opened; the strategy's own trades bear its mode's name


@dataclass(frozen=True, slots=True)
class LegResult:
    """One leg, funding left out. ``turnover``: USDT traded, in and out. A share is None where nothing, or nothing known, was
    traded."""

    symbol: str
    side: Side
    turnover: Decimal
    gross: Decimal
    fees: Decimal
    maker_share: Decimal | None = None  # of the quantity, in and out
    entry_maker_share: Decimal | None = None

    @property
    def net(self) -> Decimal:
        return self.gross - self.fees


@dataclass(frozen=True, slots=True)
class ClosedTrade:
    """Money in USDT, fees and funding positive when paid; ``legs`` begin with the main one. ``average_entry`` is None when
    nothing was filled. ``stages_ms``: from the alert's receipt to each milestone's first time."""

    trade_id: str
    symbol: str
    side: Side
    mode: str
    opened_ms: int
    closed_ms: int
    reason: str
    gross: Decimal
    fees: Decimal
    funding: Decimal
    r_unit: Decimal
    net_r: Decimal
    equity: Decimal  # when it was planned
    p0: Decimal
    average_entry: Decimal | None
    entered: Decimal
    legs: tuple[LegResult, ...] = ()
    naked_ms: tuple[float, ...] = ()
    stages_ms: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_filled(self) -> bool:
        return self.average_entry is not None

    @property
    def is_of_the_strategy(self) -> bool:
        return self.mode != ADVANCED_MODE

    @property
    def net(self) -> Decimal:
        return self.gross - self.fees - self.funding

    @property
    def gross_r(self) -> Decimal:
        return self._in_r(self.gross)

    @property
    def fee_r(self) -> Decimal:
        return self._in_r(self.fees)

    @property
    def net_return(self) -> Decimal:
        """Net result over the equity it was planned with, so that deposits and withdrawals count for nothing."""
        return self.net / self.equity if self.equity > 0 else ZERO

    @property
    def slippage(self) -> Decimal | None:
        """Average entry against P0, as a fraction of P0; positive when it was worse."""
        if self.average_entry is None or not self.p0:
            return None
        return (self.average_entry - self.p0) * self.side.sign / self.p0

    @property
    def slippage_r(self) -> Decimal | None:
        slippage = self.slippage
        return None if slippage is None else self._in_r(slippage * self.p0 * self.entered)

    @property
    def main_r(self) -> Decimal:
        """The main leg alone, after its fees: what the trade would have made without its hedges."""
        return self._in_r(self.legs[0].net) if self.legs else ZERO

    @property
    def hedge_r(self) -> Decimal:
        return self._in_r(sum((leg.net for leg in self.legs[1:]), ZERO))

    @property
    def hedge_fee_r(self) -> Decimal:
        return self._in_r(sum((leg.fees for leg in self.legs[1:]), ZERO))

    @property
    def is_hedged(self) -> bool:
        """At least one hedge leg traded."""
        return any(leg.turnover for leg in self.legs[1:])

    def _in_r(self, usdt: Decimal) -> Decimal:
        return usdt / self.r_unit if self.r_unit else ZERO
