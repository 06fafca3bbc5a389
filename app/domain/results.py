"""What a trade made: gross, fees, funding and net, in USDT and in R, from its fills alone."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from app.domain.orders import CommissionRates, Fill

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class TradeResult:
    """Money in USDT. ``r_unit`` is what one R of this trade was worth as taken; ``net_r`` is 0 when nothing was filled.

    ``fees`` and ``funding`` are positive when paid. ``fees_in`` names what was taken in other assets than USDT.
    """

    gross: Decimal
    fees: Decimal
    funding: Decimal
    r_unit: Decimal
    fees_in: Mapping[str, Decimal] = field(default_factory=dict)

    @property
    def net(self) -> Decimal:
        return self.gross - self.fees - self.funding

    @property
    def net_r(self) -> Decimal:
        return self.net / self.r_unit if self.r_unit else ZERO


def r_unit(filled: Decimal, average_entry: Decimal, initial_stop: Decimal) -> Decimal:
    """One R of a trade as taken, in USDT: filled quantity × |average entry − initial stop|."""
    return filled * abs(average_entry - initial_stop)


def average_price(fills: Iterable[Fill]) -> Decimal:
    """Quantity-weighted; 0 without fills."""
    taken = list(fills)
    quantity = sum((fill.quantity for fill in taken), ZERO)
    return sum((fill.quantity * fill.price for fill in taken), ZERO) / quantity if quantity else ZERO


def fee_of(fill: Fill, rates: CommissionRates) -> Decimal:
    """Commission in USDT. One taken in another asset (BNB) counts as what the account's own rates make of the fill: at the fill's
    price, and up to a tenth more than was paid, which is Binance's discount for BNB."""
    if fill.fee_asset == "USDT":
        return fill.fee
    return fill.quantity * fill.price * (rates.maker if fill.is_maker else rates.taker)


def trade_result(fills: Iterable[Fill], funding_paid: Decimal, unit: Decimal, rates: CommissionRates) -> TradeResult:
    """The account of a closed trade, all legs together.

    ``fills`` are every leg's entries and exits: flat, the sum of their cash flows is the gross result.
    """
    gross, fees, fees_in = ZERO, ZERO, dict[str, Decimal]()
    for fill in fills:
        gross -= fill.side.sign * fill.quantity * fill.price
        fees += fee_of(fill, rates)
        if fill.fee_asset != "USDT":
            fees_in[fill.fee_asset] = fees_in.get(fill.fee_asset, ZERO) + fill.fee
    return TradeResult(gross, fees, funding_paid, unit, fees_in)


def outcome_r(exits: Sequence[Decimal], parts: Sequence[Decimal]) -> Decimal:
    """Gross R of a trade whose parts left at these multiples of R."""
    return sum((part * r for r, part in zip(exits, parts, strict=True)), ZERO)
