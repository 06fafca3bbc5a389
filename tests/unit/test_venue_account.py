"""Wallet, margin, funding, liquidation and outside changes at the simulated venue, by example."""

from decimal import ROUND_HALF_UP, Decimal, localcontext

import pytest
from simulated import BTC, BUY, ETH, SELL, START_MS, d, limit, make_venue, market, move, refused, stop, story

from app.simulator.venue import Venue
from app.simulator.venue_account import to_money
from app.simulator.venue_state import FUNDING_INTERVAL_MS
from app.simulator.venue_types import AlgoStatus, IncomeType, MarginType, OrderType, Status


def incomes(venue: Venue, kind: IncomeType) -> list[Decimal]:
    return [income.amount for income in venue.income() if income.type is kind]


def test_a_round_trip_books_profit_and_fees() -> None:
    venue = make_venue()
    market(venue, BUY, "0.1")
    move(venue, "85500")
    market(venue, SELL, "0.1", reduce_only=True)

    assert incomes(venue, IncomeType.REALIZED_PNL) == [d("49.99000000")]  # bought at 85,000.1, sold at 85,500
    assert incomes(venue, IncomeType.COMMISSION) == [d("-4.25000500"), d("-4.27500000")]
    assert venue.account().wallet_balance == d("10000") + d("49.99") - d("8.525005")


def test_isolated_margin_leaves_the_available_balance() -> None:
    venue = make_venue()
    venue.set_leverage(BTC, 10)

    market(venue, BUY, "0.5")

    account, position = venue.account(), venue.position(BTC)
    assert position.isolated_wallet == d("0.5") * d("85000.1") / 10
    assert account.available_balance == account.wallet_balance - position.isolated_wallet
    assert account.cross_wallet == account.available_balance
    market(venue, SELL, "0.25", reduce_only=True)
    assert venue.position(BTC).isolated_wallet == position.isolated_wallet / 2


def test_resting_orders_hold_margin_and_reduce_only_ones_do_not() -> None:
    venue = make_venue()
    limit(venue, BUY, "0.2", "84000")
    assert venue.account().open_order_margin == d("0.2") * 84_000 / 20

    with refused(-2019):
        limit(venue, BUY, "2.2", "84000")
    venue.cancel_all_orders(BTC)
    market(venue, BUY, "0.1")
    limit(venue, SELL, "0.1", "86000", reduce_only=True)
    assert venue.account().open_order_margin == 0


def test_a_position_turned_over_starts_anew() -> None:
    venue = make_venue()
    market(venue, BUY, "0.1")
    market(venue, SELL, "0.3")

    position = venue.position(BTC)
    assert (position.quantity, position.entry_price) == (d("-0.2"), d("85000"))
    assert position.isolated_wallet == d("0.2") * 85_000 / 20


def test_funding_is_paid_on_its_marks_by_longs_and_to_shorts() -> None:
    venue = make_venue()
    market(venue, BUY, "0.1")
    venue.place_order(ETH, SELL, OrderType.MARKET, d("2"))
    before = venue.account().wallet_balance
    venue.drain_events()
    mark = venue.next_funding_ms
    assert (mark % FUNDING_INTERVAL_MS, mark > START_MS) == (0, True)

    venue.advance(mark - 1)
    assert venue.drain_events() == []
    venue.advance(mark + FUNDING_INTERVAL_MS - 1)

    assert incomes(venue, IncomeType.FUNDING_FEE) == [d("-0.85"), d("0.36")]
    assert venue.account().wallet_balance == before - d("0.49")
    assert story(venue.drain_events()) == [("account", "FUNDING_FEE"), ("account", "FUNDING_FEE")]
    assert venue.income()[-1].time_ms == mark


def test_time_never_goes_back() -> None:
    venue = make_venue()

    with pytest.raises(ValueError, match="cannot go back"):
        venue.advance(START_MS - 1)


def test_liquidation_closes_at_its_price_and_keeps_the_rest_of_the_wallet() -> None:
    venue = make_venue()
    venue.set_leverage(BTC, 20)
    market(venue, BUY, "0.5")
    limit(venue, BUY, "0.1", "80000", client_id="resting")
    stop(venue, SELL, "80500", None, "too-far")
    position = venue.position(BTC)
    expected = (d("0.5") * position.entry_price - position.isolated_wallet) / (d("0.5") * (1 - d("0.004")))
    assert position.liquidation_price == pytest.approx(expected)
    others = venue.account().cross_wallet
    venue.drain_events()

    move(venue, "80000")

    trade = venue.trades(BTC)[-1]
    assert trade.client_id.startswith("autoclose-")
    assert abs(trade.price - position.liquidation_price) < d("0.2")
    assert venue.position(BTC).quantity == 0
    assert venue.account().wallet_balance == pytest.approx(others, abs=1)
    assert venue.order(BTC, client_id="resting").status is Status.CANCELED
    assert venue.algo(client_id="too-far").status is AlgoStatus.EXPIRED
    assert ("autoclose-" + str(trade.time_ms), "CALCULATED", "FILLED") in story(venue.drain_events())


def test_a_gap_through_the_liquidation_price_costs_the_margin_and_no_more() -> None:
    venue = make_venue()
    market(venue, BUY, "0.5")
    others = venue.account().cross_wallet

    move(venue, "70000", jump=True)

    assert venue.account().wallet_balance == others
    assert venue.account().wallet_balance == sum(income.amount for income in venue.income())


def test_a_crossed_short_is_liquidated_by_the_whole_wallet() -> None:
    venue = Venue({BTC: d(85_000)}, START_MS)
    venue.set_leverage(BTC, 100)
    market(venue, SELL, "1")
    price = venue.position(BTC).liquidation_price
    assert d(94_000) < price < d(95_000)

    move(venue, "96000")

    assert venue.position(BTC).quantity == 0
    assert 0 <= venue.account().wallet_balance < d(1_000)


def test_settings_and_their_refusals() -> None:
    venue = make_venue(balance="1000000")

    with refused(-4046):
        venue.set_margin_type(BTC, MarginType.ISOLATED)
    with refused(-4028):
        venue.set_leverage(BTC, 151)
    with refused(-4059):
        venue.set_hedge_mode(False)
    with refused(-4061):
        venue.set_hedge_mode(True)
    order = limit(venue, BUY, "0.01", "84000")
    with refused(-4047):
        venue.set_margin_type(BTC, MarginType.CROSSED)
    venue.cancel_order(BTC, order_id=order.order_id)
    market(venue, BUY, "1")
    with refused(-4048):
        venue.set_margin_type(BTC, MarginType.CROSSED)
    with refused(-4161):
        venue.set_leverage(BTC, 5)
    market(venue, BUY, "10")
    with refused(-2027):
        venue.set_leverage(BTC, 150)


def test_leverage_bounds_the_position() -> None:
    venue = make_venue(balance="10000000")
    venue.set_leverage(BTC, 150)

    with refused(-2027):
        market(venue, BUY, "4")


def test_a_trade_by_hand_and_auto_deleveraging_show_their_client_ids() -> None:
    venue = make_venue()
    market(venue, BUY, "0.1")
    limit(venue, SELL, "0.1", "86000", reduce_only=True, client_id="target")

    by_hand = venue.trade_by_hand(BTC, SELL, d("0.04"))
    assert by_hand.client_id.startswith("web_")
    assert venue.order(BTC, client_id="target").status is Status.EXPIRED
    venue.drain_events()
    closed = venue.auto_deleverage(BTC, d("1"))
    assert (closed.client_id, closed.executed) == ("adl_autoclose", d("0.06"))
    assert ("adl_autoclose", "CALCULATED", "FILLED") in story(venue.drain_events())
    with refused(-2022):
        venue.auto_deleverage(BTC, d("1"))


def test_money_is_rounded_the_same_whatever_context_a_library_has_set() -> None:
    half = Decimal("1.000000005")
    with localcontext() as context:
        context.rounding = ROUND_HALF_UP
        assert to_money(half) == Decimal("1.00000000")
