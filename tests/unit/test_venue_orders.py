"""Plain orders at the simulated venue: matching, refusals and changes, by example."""

from decimal import Decimal

import pytest
from simulated import BTC, BUY, ETH, SELL, SOL, d, limit, make_venue, market, move, refused, story

from app.simulator.venue import Tick
from app.simulator.venue_market import BookShape
from app.simulator.venue_types import OrderRequest, OrderType, ReduceOnlyPolicy, Status, Tif


def test_a_market_order_pays_the_spread_and_the_taker_fee() -> None:
    venue = make_venue()

    order = market(venue, BUY, "0.1", "m")

    assert (order.status, order.average_price) == (Status.FILLED, d("85000.1"))
    trade = venue.trades(BTC)[0]
    assert (trade.fee, trade.is_maker) == (d("4.25000500"), False)
    assert story(venue.drain_events()) == [("m", "NEW", "NEW"), ("m", "TRADE", "FILLED"), ("account", "ORDER")]


def test_a_large_market_order_walks_the_book() -> None:
    venue = make_venue(balance="10000000")

    order = market(venue, SELL, "10")

    prices = [trade.price for trade in venue.trades(BTC)]
    assert prices == sorted(prices, reverse=True)
    assert len(prices) > 2
    assert order.average_price < d("85000")


def test_the_spread_follows_the_setting() -> None:
    venue = make_venue(book=BookShape(spread_bps=d(1)))

    quote = venue.quote(BTC)

    assert quote.ask - quote.bid == d("8.5")
    assert quote.bid < d("85000") < quote.ask


def test_an_ioc_fills_within_its_limit_and_drops_the_rest() -> None:
    venue = make_venue(balance="10000000")

    order = limit(venue, BUY, "50", "85002", Tif.IOC, "ioc")

    assert order.status is Status.EXPIRED
    assert d(0) < order.executed < d(50)
    assert all(trade.price <= d("85002") for trade in venue.trades(BTC))
    assert venue.open_orders(BTC) == []


def test_an_ioc_below_the_market_expires_untouched() -> None:
    venue = make_venue()

    order = limit(venue, BUY, "0.1", "84990", Tif.IOC)

    assert (order.status, order.executed) == (Status.EXPIRED, d(0))


def test_post_only_rests_or_is_refused() -> None:
    venue = make_venue()

    assert limit(venue, BUY, "0.1", "85000", Tif.GTX).status is Status.NEW
    with refused(-5022):
        limit(venue, BUY, "0.1", "85000.1", Tif.GTX)
    with refused(-5022):
        limit(venue, SELL, "0.1", "85000", Tif.GTX)
    assert len(venue.all_orders(BTC)) == 1


def test_a_resting_order_gets_a_share_of_the_volume_at_its_price() -> None:
    venue = make_venue()
    limit(venue, BUY, "0.5", "85000", client_id="bid")

    move(venue, "85000", volume="1")
    assert venue.order(BTC, client_id="bid").executed == d("0.3")
    move(venue, "85000", volume="10")
    assert venue.order(BTC, client_id="bid").status is Status.FILLED
    assert all(trade.is_maker and trade.price == d("85000") for trade in venue.trades(BTC))


def test_a_resting_order_traded_through_fills_up_to_the_volume() -> None:
    venue = make_venue(balance="1000000")
    limit(venue, BUY, "5", "84990", client_id="bid")

    move(venue, "84980", volume="2")
    assert venue.order(BTC, client_id="bid").executed == d("2")
    move(venue, "84985", volume="2")
    assert venue.order(BTC, client_id="bid").executed == d("4")


def test_one_move_fills_several_orders_at_their_own_price_and_time() -> None:
    venue = make_venue()
    begin = venue.now_ms
    limit(venue, BUY, "0.1", "84900", client_id="near")
    limit(venue, BUY, "0.1", "84500", client_id="far")

    venue.apply([Tick(BTC, d("84000"), d(10))], begin + 10_000)

    assert [(t.client_id, t.price, t.time_ms - begin) for t in venue.trades(BTC)] == [
        ("near", d("84900"), 1_000),
        ("far", d("84500"), 5_000),
    ]


def test_the_volume_is_shared_by_price_and_then_time() -> None:
    venue = make_venue(balance="1000000")
    for name, price in (("second", "84990"), ("third", "84990"), ("first", "84995")):
        limit(venue, BUY, "1", price, client_id=name)

    move(venue, "84980", volume="2")

    assert {name: venue.order(BTC, client_id=name).executed for name in ("first", "second", "third")} == {
        "first": d(1),
        "second": d(1),
        "third": d(0),
    }


@pytest.mark.parametrize(
    ("code", "symbol", "quantity", "price"),
    [
        (-1111, BTC, "0.0015", "85000"),
        (-1111, SOL, "1.005", "140"),
        (-1111, BTC, "0.01", "84999.123"),
        (-4003, BTC, "0", "85000"),
        (-4005, BTC, "1000.001", "85000"),
        (-4014, BTC, "0.01", "84999.95"),
        (-4001, BTC, "0.01", "-1"),
        (-4016, BTC, "0.01", "90000"),
        (-4164, BTC, "0.001", "45000"),
        (-4164, ETH, "0.011", "1800"),
        (-4164, SOL, "0.03", "140"),
        (-2019, BTC, "3", "85000"),
    ],
)
def test_filters_refuse_limit_orders(code: int, symbol: str, quantity: str, price: str) -> None:
    venue = make_venue()

    with refused(code):
        venue.place_order(symbol, BUY, OrderType.LIMIT, d(quantity), price=d(price))
    assert venue.drain_events() == []


def test_more_refusals() -> None:
    venue = make_venue(balance="1000000000")

    with refused(-4024):
        limit(venue, SELL, "0.01", "80000")
    with refused(-4005):  # the market's own maximum is lower
        market(venue, BUY, "120.001")
    with refused(-1121):
        venue.place_order("XRPUSDT", BUY, OrderType.MARKET, d(1))
    with refused(-4120):
        venue.place_order(BTC, SELL, OrderType.STOP_MARKET, d("0.1"))
    with refused(-4015):
        market(venue, BUY, "0.01", "x" * 37)
    with refused(-1100):
        market(venue, BUY, "0.01", "no spaces")
    with refused(-1102):
        venue.place_order(BTC, BUY, OrderType.LIMIT, d("0.1"))


def test_a_client_id_is_unique_among_open_orders_only() -> None:
    venue = make_venue()
    limit(venue, BUY, "0.01", "84000", client_id="same")

    with refused(-4116):
        limit(venue, BUY, "0.01", "84000", client_id="same")
    venue.cancel_order(BTC, client_id="same")
    newer = limit(venue, BUY, "0.02", "84000", client_id="same")
    assert venue.order(BTC, client_id="same") == newer
    assert [market(venue, BUY, "0.01", "twice").status for _ in range(2)] == [Status.FILLED, Status.FILLED]


def test_no_more_than_two_hundred_open_orders() -> None:
    venue = make_venue(balance="1000000")
    for _ in range(200):
        limit(venue, BUY, "0.001", "84000")

    with refused(-2025):
        limit(venue, BUY, "0.001", "84000")


def test_cancelling_and_asking() -> None:
    venue = make_venue()
    order = limit(venue, BUY, "0.01", "84000", client_id="a")
    venue.drain_events()

    assert venue.cancel_order(BTC, order_id=order.order_id).status is Status.CANCELED
    assert story(venue.drain_events()) == [("a", "CANCELED", "CANCELED")]
    with refused(-2011):
        venue.cancel_order(BTC, order_id=order.order_id)
    with refused(-2011):
        venue.cancel_order(BTC, client_id="never")
    with refused(-2013):
        venue.order(BTC, client_id="never")
    with refused(-2013):
        venue.order(ETH, order_id=order.order_id)


def test_cancel_all_spares_other_symbols_and_conditional_orders() -> None:
    venue = make_venue()
    limit(venue, BUY, "0.01", "84000")
    venue.place_order(ETH, BUY, OrderType.LIMIT, d("0.1"), price=d("1700"))
    venue.place_algo(BTC, BUY, OrderType.STOP_MARKET, d("86000"), quantity=d("0.01"))

    venue.cancel_all_orders(BTC)

    assert [order.symbol for order in venue.open_orders()] == [ETH]
    assert len(venue.open_algos()) == 1


def test_an_amended_order_goes_to_the_end_of_the_queue() -> None:
    venue = make_venue(balance="1000000")
    limit(venue, BUY, "1", "84990", client_id="first")
    limit(venue, BUY, "1", "84990", client_id="second")
    venue.drain_events()

    amended = venue.amend_order(BTC, client_id="first", quantity=d("1.5"), price=d("84990"))
    assert (amended.quantity, amended.status) == (d("1.5"), Status.NEW)
    assert story(venue.drain_events()) == [("first", "AMENDMENT", "NEW")]
    move(venue, "84980", volume="1")
    assert venue.order(BTC, client_id="second").status is Status.FILLED


def test_amending_follows_the_exchange() -> None:
    venue = make_venue()
    limit(venue, BUY, "0.5", "85000", client_id="partly")
    limit(venue, BUY, "0.01", "84000", Tif.GTX, client_id="passive")
    move(venue, "85000", volume="1")

    with refused(-5027):
        venue.amend_order(BTC, client_id="passive", quantity=d("0.01"), price=d("84000"))
    with refused(-4014):
        venue.amend_order(BTC, client_id="passive", quantity=d("0.01"), price=d("84000.05"))
    assert venue.order(BTC, client_id="passive").status is Status.NEW
    with refused(-2013):
        venue.amend_order(BTC, client_id="never", quantity=d("0.01"), price=d("84000"))

    less = venue.amend_order(BTC, client_id="partly", quantity=d("0.3"), price=d("85000"))
    taking = venue.amend_order(BTC, client_id="passive", quantity=d("0.01"), price=d("85001"))
    assert (less.status, less.executed) == (Status.CANCELED, d("0.3"))
    assert taking.status is Status.CANCELED


def test_an_amended_limit_that_crosses_takes() -> None:
    venue = make_venue()
    limit(venue, BUY, "0.1", "84000", client_id="a")

    assert venue.amend_order(BTC, client_id="a", quantity=d("0.1"), price=d("85001")).status is Status.FILLED


# -- reduce-only ----------------------------------------------------------------------------------------------------------


def test_reduce_only_needs_something_to_reduce() -> None:
    venue = make_venue()

    for place in (
        lambda: market(venue, SELL, "0.1", reduce_only=True),
        lambda: limit(venue, SELL, "0.1", "85100", reduce_only=True),
    ):
        with refused(-2022):
            place()
    market(venue, BUY, "0.1")
    with refused(-2022):
        market(venue, BUY, "0.1", reduce_only=True)


def test_resting_reduce_only_orders_never_exceed_the_position() -> None:
    venue = make_venue()
    market(venue, BUY, "0.1")
    limit(venue, SELL, "0.06", "85100", reduce_only=True)

    with refused(-4118):
        limit(venue, SELL, "0.05", "85200", reduce_only=True)
    assert limit(venue, SELL, "0.04", "85200", reduce_only=True).status is Status.NEW


def test_reduce_only_is_exempt_from_the_minimum_notional() -> None:
    venue = make_venue()
    venue.place_order(ETH, BUY, OrderType.MARKET, d("0.012"))

    order = venue.place_order(ETH, SELL, OrderType.MARKET, d("0.001"), reduce_only=True)

    assert order.status is Status.FILLED


def test_a_shrinking_position_expires_resting_orders_from_the_back() -> None:
    venue = make_venue()
    market(venue, BUY, "0.1")
    limit(venue, SELL, "0.03", "85100", reduce_only=True, client_id="near")
    limit(venue, SELL, "0.03", "85200", reduce_only=True, client_id="far")

    market(venue, SELL, "0.05")

    assert venue.order(BTC, client_id="near").status is Status.NEW
    assert venue.order(BTC, client_id="far").status is Status.EXPIRED


def test_a_market_close_larger_than_the_position_stops_at_flat() -> None:
    venue = make_venue()
    market(venue, BUY, "0.1")

    order = market(venue, SELL, "0.25", reduce_only=True)

    assert (order.status, order.executed) == (Status.EXPIRED, d("0.1"))
    assert venue.position(BTC).quantity == 0


@pytest.mark.parametrize(
    ("policy", "executed", "target_status"),
    [
        (ReduceOnlyPolicy.PRIORITY, "0.1", Status.EXPIRED),
        (ReduceOnlyPolicy.SHRINK, "0.07", Status.NEW),
        (ReduceOnlyPolicy.REJECT, None, Status.NEW),
    ],
)
def test_a_full_close_beside_a_resting_target(policy: ReduceOnlyPolicy, executed: str | None, target_status: Status) -> None:
    venue = make_venue(policy)
    market(venue, BUY, "0.1")
    limit(venue, SELL, "0.03", "85400", reduce_only=True, client_id="target")

    if executed is None:
        with refused(-2022):
            market(venue, SELL, "0.1", reduce_only=True)
    else:
        assert market(venue, SELL, "0.1", reduce_only=True).executed == d(executed)

    assert venue.order(BTC, client_id="target").status is target_status
    assert venue.position(BTC).quantity == d("0.1") - Decimal(executed or 0)


def test_a_part_close_that_fits_is_welcome_under_every_policy() -> None:
    for policy in ReduceOnlyPolicy:
        venue = make_venue(policy)
        market(venue, BUY, "0.1")
        limit(venue, SELL, "0.03", "85400", reduce_only=True)

        assert market(venue, SELL, "0.07", reduce_only=True).status is Status.FILLED


def test_a_test_order_is_checked_and_not_placed() -> None:
    venue = make_venue()

    venue.check(OrderRequest(BTC, BUY, OrderType.MARKET, d("0.01"), "test"))
    with refused(-4164):
        venue.check(OrderRequest(BTC, BUY, OrderType.LIMIT, d("0.001"), "test", d("45000")))
    assert venue.all_orders(BTC) == []
