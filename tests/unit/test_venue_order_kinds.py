"""FOK, GTD, price match, market price bands and the countdown at the simulated venue, by example."""

from dataclasses import replace
from decimal import Decimal

import pytest
from simulated import BTC, BUY, SELL, d, limit, make_venue, market, move, refused, story

from app.domain.instrument import Side
from app.simulator.venue import Venue
from app.simulator.venue_market import BookShape
from app.simulator.venue_types import OrderRequest, OrderType, PriceMatch, Status, Tif, WorkingType

MINUTE_MS = 60_000
A_BUY = OrderRequest(BTC, BUY, OrderType.LIMIT, d("0.01"), "mine", d("84000"))


def matched(venue: Venue, side: Side, match: PriceMatch, tif: Tif = Tif.GTC) -> Decimal:
    order = venue.place(replace(A_BUY, side=side, price=None, price_match=match, time_in_force=tif))
    return order.price


def test_fok_fills_whole_or_is_never_recorded() -> None:
    venue = make_venue(balance="10000000")
    at_best = venue.depth(BTC, 1)[1][0][1]

    filled = venue.place(replace(A_BUY, price=d("85000.1"), quantity=at_best, time_in_force=Tif.FOK))
    assert (filled.status, filled.executed) == (Status.FILLED, at_best)
    venue.drain_events()
    with refused(-5021):
        venue.place(replace(A_BUY, price=d("85000.1"), quantity=at_best + d("0.001"), time_in_force=Tif.FOK))
    with refused(-5021):
        limit(venue, BUY, "0.01", "84999", Tif.FOK)
    assert venue.drain_events() == []


def test_a_reduce_only_fok_needs_room_for_all_of_it() -> None:
    venue = make_venue()
    market(venue, BUY, "0.1")

    with refused(-5021):
        limit(venue, SELL, "0.2", "85000", Tif.FOK, reduce_only=True)
    assert limit(venue, SELL, "0.1", "85000", Tif.FOK, reduce_only=True).status is Status.FILLED


def test_gtd_expires_at_its_time() -> None:
    venue = make_venue()
    order = venue.place(replace(A_BUY, time_in_force=Tif.GTD, lives_ms=11 * MINUTE_MS, good_till_date=1))
    placed_ms = venue.now_ms
    venue.drain_events()

    venue.advance(placed_ms + 11 * MINUTE_MS - 1)
    assert venue.order(BTC, order_id=order.order_id).status is Status.NEW
    venue.advance(placed_ms + 20 * MINUTE_MS)

    gone = venue.order(BTC, order_id=order.order_id)
    assert (gone.status, gone.updated_ms) == (Status.EXPIRED, placed_ms + 11 * MINUTE_MS)
    assert story(venue.drain_events()) == [("mine", "EXPIRED", "EXPIRED")]


def test_gtd_lives_at_least_ten_minutes_and_a_filled_one_does_not_expire() -> None:
    venue = make_venue()

    with refused(-5040):
        venue.place(replace(A_BUY, time_in_force=Tif.GTD, lives_ms=10 * MINUTE_MS))
    venue.place(replace(A_BUY, price=d("84900"), time_in_force=Tif.GTD, lives_ms=11 * MINUTE_MS))
    move(venue, "84800")
    venue.advance(venue.now_ms + 12 * MINUTE_MS)

    assert venue.order(BTC, client_id="mine").status is Status.FILLED


@pytest.mark.parametrize("number", [1, 5, 10, 20])
def test_price_match_takes_the_nth_price_of_either_side(number: int) -> None:
    suffix = "" if number == 1 else f"_{number}"
    bids, asks = make_venue().depth(BTC, 20)
    ask, bid = asks[number - 1][0], bids[number - 1][0]

    assert matched(make_venue(), BUY, PriceMatch(f"OPPONENT{suffix}")) == ask
    assert matched(make_venue(), SELL, PriceMatch(f"OPPONENT{suffix}")) == bid
    assert matched(make_venue(), BUY, PriceMatch(f"QUEUE{suffix}"), Tif.GTX) == bid
    assert matched(make_venue(), SELL, PriceMatch(f"QUEUE{suffix}"), Tif.GTX) == ask


def test_price_match_has_its_refusals() -> None:
    venue = make_venue()

    with refused(-1106):
        venue.place(replace(A_BUY, price_match=PriceMatch.QUEUE))
    with refused(-5038):
        venue.place(replace(A_BUY, type=OrderType.MARKET, price=None, price_match=PriceMatch.QUEUE))
    with refused(-5022):
        matched(venue, BUY, PriceMatch.OPPONENT, Tif.GTX)
    with refused(-5041):
        matched(make_venue(book=BookShape(endless=True)), BUY, PriceMatch.OPPONENT_20)


def test_a_market_order_is_refused_where_the_best_price_is_too_far_from_the_mark() -> None:
    venue = make_venue()
    venue.set_premium(BTC, d("-0.06"))

    with refused(-4131):
        market(venue, BUY, "0.01")
    assert market(venue, SELL, "0.01").status is Status.FILLED


def test_a_stop_that_meets_no_near_price_is_rejected_at_its_trigger() -> None:
    venue = make_venue()
    market(venue, BUY, "0.1")
    venue.set_premium(BTC, d("0.06"))
    algo = venue.place_algo(BTC, SELL, OrderType.STOP_MARKET, d("84600"), quantity=d("0.1"), reduce_only=True)

    move(venue, "84500")

    assert (venue.algo(algo_id=algo.algo_id).status, venue.position(BTC).quantity) == ("REJECTED", d("0.1"))


def test_an_amendment_is_for_limit_orders_and_not_for_ever() -> None:
    venue = make_venue()
    done = market(venue, BUY, "0.01")
    order = limit(venue, BUY, "0.01", "84000")

    with refused(-2013):
        venue.amend_order(BTC, quantity=d("0.02"), price=d("84000"), order_id=done.order_id)
    for cents in range(1, 10_001):
        venue.amend_order(BTC, quantity=d("0.01"), price=d("84000") + Decimal(cents) / 10, order_id=order.order_id)
    with refused(-5026):
        venue.amend_order(BTC, quantity=d("0.02"), price=d("84000"), order_id=order.order_id)


def test_the_countdown_cancels_plain_orders_unless_set_anew() -> None:
    venue = make_venue()
    limit(venue, BUY, "0.01", "84000", client_id="plain")
    venue.place_algo(BTC, BUY, OrderType.STOP_MARKET, d("86000"), quantity=d("0.01"), client_id="algo")
    begin = venue.now_ms

    venue.set_countdown(BTC, 10_000)
    venue.advance(begin + 9_000)
    venue.set_countdown(BTC, 10_000)
    venue.advance(begin + 18_999)
    assert venue.order(BTC, client_id="plain").status is Status.NEW
    venue.set_countdown(BTC, 0)
    venue.advance(begin + 30_000)
    assert venue.order(BTC, client_id="plain").status is Status.NEW

    venue.set_countdown(BTC, 5_000)
    venue.advance(begin + 35_000)
    assert venue.order(BTC, client_id="plain").status is Status.CANCELED
    assert venue.algo(client_id="algo").status == "NEW"


def test_a_premium_moves_the_mark_price_and_what_works_by_it() -> None:
    venue = make_venue()
    market(venue, BUY, "0.1")
    by_mark = venue.place_algo(
        BTC, SELL, OrderType.STOP_MARKET, d("84000"), quantity=d("0.05"), reduce_only=True, working_type=WorkingType.MARK_PRICE
    )
    by_last = venue.place_algo(BTC, SELL, OrderType.STOP_MARKET, d("84000"), quantity=d("0.05"), reduce_only=True)

    venue.set_premium(BTC, d("-0.01"))
    assert venue.mark_price(BTC) == d("84150")
    move(venue, "84500")

    assert venue.algo(algo_id=by_mark.algo_id).status == "FINISHED"
    assert venue.algo(algo_id=by_last.algo_id).status == "NEW"
    assert venue.trades(BTC)[-1].price == pytest.approx(d("84848.5"), abs=d("0.2"))  # where the mark is 84,000
