"""What an open trade is worth: as its account would be, were all of it closed at the quotes of this moment."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from storage_samples import a_fill, a_plan

from app.domain.instrument import Side
from app.domain.market import Quote
from app.domain.orders import Fill
from app.domain.results import average_price, r_unit, trade_result
from app.domain.trade import new_trade
from app.domain.trade.state import Trade
from app.domain.trade.worth import current_r

TAKER = a_plan().taker_fee


def quote(symbol: str, bid: Decimal) -> Quote:
    return Quote(symbol, bid, Decimal(5), bid + Decimal("0.1"), Decimal(5), 0)


def holding(fills: list[Fill], **bids: Decimal) -> Trade:
    trade = new_trade(a_plan())
    trade.fills.update({(fill.symbol, fill.venue_trade_id): fill for fill in fills})
    trade.quotes.update({symbol: (quote(symbol, bid), 0.0) for symbol, bid in bids.items()})
    return trade


def fill(number: int, side: Side, price: Decimal, quantity: Decimal, symbol: str = "BTCUSDT") -> Fill:
    return replace(a_fill(number, side, symbol, str(quantity)), price=price, fee=price * quantity * TAKER, fee_asset="USDT")


def test_before_the_first_fill_it_is_nothing() -> None:
    assert current_r(holding([], BTCUSDT=Decimal(80_000))) == 0


def test_a_long_is_worth_what_the_bid_pays_less_both_fees() -> None:
    bought = fill(1, Side.BUY, Decimal(85_000), Decimal("0.010"))
    # one R is 400 USDT a coin; the fees are 0.05 % of 85 000 and of 84 800
    assert current_r(holding([bought], BTCUSDT=Decimal(84_800))) == pytest.approx(
        Decimal(-200 - Decimal("42.5") - Decimal("42.4")) / 400
    )


def test_a_fee_taken_in_another_asset_costs_no_less() -> None:
    bought = replace(fill(1, Side.BUY, Decimal(85_000), Decimal("0.010")), is_maker=False)
    in_bnb = replace(bought, fee=Decimal("0.0005"), fee_asset="BNB")
    assert current_r(holding([in_bnb], BTCUSDT=Decimal(84_800))) == current_r(holding([bought], BTCUSDT=Decimal(84_800)))


def test_without_a_quote_it_is_at_its_entry() -> None:
    bought = fill(1, Side.BUY, Decimal(85_000), Decimal("0.010"))
    assert current_r(holding([bought])) == pytest.approx(-2 * Decimal("42.5") / 400)


prices = st.decimals(80_000, 90_000, places=1)
quantities = st.integers(1, 18).map(lambda steps: Decimal(steps) / 1000)


@given(entry=prices, bid=prices, taken=prices, quantity=quantities, part=st.integers(0, 18), hedge=st.integers(1, 400))
def test_it_is_what_the_account_would_say(
    entry: Decimal, bid: Decimal, taken: Decimal, quantity: Decimal, part: int, hedge: int
) -> None:
    closed, sold = min(quantity, Decimal(part) / 1000), Decimal(hedge) / 1000
    fills = [fill(1, Side.BUY, entry, quantity), fill(2, Side.SELL, Decimal(3_000), sold, "ETHUSDT")]
    fills += [fill(3, Side.SELL, taken, closed)] if closed else []
    rest = [fill(4, Side.SELL, bid, quantity - closed)] if quantity > closed else []
    rest += [fill(5, Side.BUY, Decimal("3010.1"), sold, "ETHUSDT")]
    unit = r_unit(quantity, average_price(fills[:1]), a_plan().stop)
    if unit:
        result = trade_result([*fills, *rest], Decimal(0), unit, a_plan().commission)
        assert current_r(holding(fills, BTCUSDT=bid, ETHUSDT=Decimal(3_010))) == pytest.approx(result.net_r)
