"""What an open trade is worth now, in R: as if all of it were closed at the best opposite quotes."""

from decimal import Decimal

from app.domain.results import ZERO, average_price, fee_of, r_unit
from app.domain.trade.state import Leg, Trade


def current_r(trade: Trade) -> Decimal:
    """Net R with the cost of the exit, funding aside; 0 before the first fill.

    A leg without a quote counts as closed at what it was entered at. Source: the trading rules' "current R at exit cost".
    """
    entries = [f for f in trade.fills.values() if f.symbol == trade.main.symbol and f.side is trade.main.side]
    quantity = sum((fill.quantity for fill in entries), ZERO)
    unit = r_unit(quantity, average_price(entries), trade.plan.stop)
    return sum((_worth(trade, leg) for leg in trade.legs), ZERO) / unit if unit else ZERO


def _worth(trade: Trade, leg: Leg) -> Decimal:
    """USDT won by this leg after fees, the open part at its exit price and taker fee."""
    fills = [fill for fill in trade.fills.values() if fill.symbol == leg.symbol]
    cash = sum((-fill.side.sign * fill.quantity * fill.price for fill in fills), ZERO)
    fees = sum((fee_of(fill, trade.plan.commission) for fill in fills), ZERO)
    held = sum((fill.side.sign * fill.quantity for fill in fills), ZERO)
    seen = trade.quotes.get(leg.symbol)
    price = average_price(f for f in fills if f.side is leg.side) if seen is None else seen[0].opposite(leg.side.opposite)
    return cash + held * price - fees - abs(held) * price * trade.plan.taker_fee
