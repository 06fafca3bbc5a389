"""Conditional orders at the simulated venue: lifecycle, refusals and the reduce-only policies, by example."""

import pytest
from simulated import BTC, BUY, SELL, d, limit, make_venue, market, move, refused, stop, story

from app.simulator.venue import Venue
from app.simulator.venue_types import AlgoStatus, OrderType, ReduceOnlyPolicy, Status, WorkingType


def long_position(policy: ReduceOnlyPolicy = ReduceOnlyPolicy.PRIORITY) -> Venue:
    venue = make_venue(policy)
    market(venue, BUY, "0.1", "entry")
    venue.drain_events()
    return venue


def test_a_stop_lives_through_its_states_in_order() -> None:
    venue = long_position()
    placed = stop(venue, SELL, "84600", "0.1", "stop")
    move(venue, "84500")

    assert story(venue.drain_events()) == [
        ("stop", "NEW"),
        ("stop", "TRIGGERING"),
        ("stop", "TRIGGERED"),
        ("stop", "NEW", "NEW"),
        ("stop", "TRADE", "FILLED"),
        ("account", "ORDER"),
        ("stop", "FINISHED"),
    ]
    done = venue.algo(algo_id=placed.algo_id)
    child = venue.order(BTC, order_id=done.actual_order_id)
    assert (done.actual_quantity, done.actual_price) == (d("0.1"), d("84600"))
    assert (child.type, child.original_type, child.executed) == (OrderType.MARKET, OrderType.STOP_MARKET, d("0.1"))
    assert placed.algo_id != child.order_id


def test_a_stop_triggers_at_its_price_however_coarse_the_step() -> None:
    venue = long_position()
    begin = venue.now_ms
    stop(venue, SELL, "84600", "0.1")

    move(venue, "84200")

    trade = venue.trades(BTC)[-1]
    assert (trade.price, trade.time_ms) == (d("84600"), begin + 500)


def test_a_gap_fills_the_stop_beyond_its_price() -> None:
    venue = long_position()
    stop(venue, SELL, "84600", "0.1")

    move(venue, "84200", jump=True)

    assert venue.trades(BTC)[-1].price == d("84200")


@pytest.mark.parametrize(
    ("order_type", "side", "trigger"),
    [
        (OrderType.STOP_MARKET, SELL, "85000"),
        (OrderType.STOP_MARKET, BUY, "85000"),
        (OrderType.TAKE_PROFIT_MARKET, SELL, "84900"),
        (OrderType.TAKE_PROFIT_MARKET, BUY, "85100"),
    ],
)
def test_what_would_trigger_at_once_is_refused(order_type: OrderType, side: object, trigger: str) -> None:
    venue = make_venue()

    with refused(-2021):
        venue.place_algo(BTC, side, order_type, d(trigger), quantity=d("0.1"))  # type: ignore[arg-type]


def test_close_position_needs_a_position_on_the_other_side() -> None:
    venue = make_venue()

    with refused(-4509):
        stop(venue, SELL, "84600", None)
    market(venue, BUY, "0.1")
    with refused(-4509):
        stop(venue, BUY, "85500", None)
    assert stop(venue, SELL, "84600", None).status is AlgoStatus.NEW


def test_one_close_position_order_per_direction_and_kind() -> None:
    venue = long_position()
    stop(venue, SELL, "84600", None)

    with refused(-4130):
        stop(venue, SELL, "84700", None)
    target = venue.place_algo(BTC, SELL, OrderType.TAKE_PROFIT_MARKET, d("85500"), close_position=True)
    assert (target.status, target.time_in_force) == (AlgoStatus.NEW, "GTE_GTC")


def test_close_position_excludes_quantity_and_reduce_only() -> None:
    venue = long_position()

    with refused(-4137):
        venue.place_algo(BTC, SELL, OrderType.STOP_MARKET, d("84600"), quantity=d("0.1"), close_position=True)
    with refused(-1106):
        venue.place_algo(BTC, SELL, OrderType.STOP_MARKET, d("84600"), close_position=True, reduce_only=True)


def test_close_position_expires_when_flat_and_quantity_stops_stay() -> None:
    venue = long_position()
    stop(venue, SELL, "84600", None, "backstop")
    stop(venue, SELL, "84700", "0.1", "working")

    market(venue, SELL, "0.1", reduce_only=True)

    assert venue.algo(client_id="backstop").status is AlgoStatus.EXPIRED
    assert venue.algo(client_id="working").status is AlgoStatus.NEW
    move(venue, "84600")
    orphan = venue.algo(client_id="working")
    assert (orphan.status, orphan.reject_reason) == (AlgoStatus.REJECTED, "ReduceOnly Order is rejected.")
    assert venue.position(BTC).quantity == 0


def test_close_position_expires_when_the_position_turns() -> None:
    venue = long_position()
    stop(venue, SELL, "84600", None, "backstop")

    market(venue, SELL, "0.2")

    assert venue.position(BTC).quantity == d("-0.1")
    assert venue.algo(client_id="backstop").status is AlgoStatus.EXPIRED


def test_close_position_takes_the_whole_position_of_the_moment() -> None:
    for policy in ReduceOnlyPolicy:
        venue = long_position(policy)
        stop(venue, SELL, "84600", None, "backstop")
        market(venue, BUY, "0.05")
        limit(venue, SELL, "0.03", "85500", reduce_only=True)

        move(venue, "84500")

        assert venue.position(BTC).quantity == 0
        assert venue.algo(client_id="backstop").actual_quantity == d("0.15")
        assert venue.open_orders(BTC) == []


def test_an_opening_stop_without_reduce_only_opens() -> None:
    venue = make_venue()
    venue.place_algo(BTC, BUY, OrderType.STOP_MARKET, d("85100"), quantity=d("0.1"))

    move(venue, "85200")

    assert venue.position(BTC).quantity == d("0.1")


def test_a_child_without_margin_is_rejected() -> None:
    venue = make_venue(balance="100")
    algo = venue.place_algo(BTC, BUY, OrderType.STOP_MARKET, d("85100"), quantity=d("1"))

    move(venue, "85200")

    done = venue.algo(algo_id=algo.algo_id)
    assert (done.status, done.reject_reason) == (AlgoStatus.REJECTED, "Margin is insufficient.")


@pytest.mark.parametrize(
    ("policy", "status", "left", "target"),
    [
        (ReduceOnlyPolicy.PRIORITY, AlgoStatus.FINISHED, "0", Status.EXPIRED),
        (ReduceOnlyPolicy.SHRINK, AlgoStatus.FINISHED, "0.03", Status.NEW),
        (ReduceOnlyPolicy.REJECT, AlgoStatus.REJECTED, "0.1", Status.NEW),
    ],
)
def test_a_full_stop_beside_a_resting_target(policy: ReduceOnlyPolicy, status: AlgoStatus, left: str, target: Status) -> None:
    venue = long_position(policy)
    limit(venue, SELL, "0.03", "85400", reduce_only=True, client_id="target")
    stop(venue, SELL, "84600", "0.1", "stop")

    move(venue, "84500")

    algo = venue.algo(client_id="stop")
    assert algo.status is status
    assert venue.position(BTC).quantity == d(left)
    assert venue.order(BTC, client_id="target").status is target
    if policy is ReduceOnlyPolicy.SHRINK:
        child = venue.order(BTC, order_id=algo.actual_order_id)
        assert (child.status, child.executed) == (Status.EXPIRED, d("0.07"))
    if policy is ReduceOnlyPolicy.REJECT:
        assert algo.reject_reason == "ReduceOnly Order is rejected."
        assert algo.actual_order_id is None


def test_two_stops_over_the_same_position_close_it_once() -> None:
    venue = long_position()
    stop(venue, SELL, "84700", "0.1", "old")
    stop(venue, SELL, "84600", "0.1", "new")

    move(venue, "84500")

    assert venue.algo(client_id="old").status is AlgoStatus.FINISHED
    assert venue.algo(client_id="new").status is AlgoStatus.REJECTED
    assert venue.position(BTC).quantity == 0


def test_cancelling_and_asking_by_either_id() -> None:
    venue = long_position()
    algo = stop(venue, SELL, "84600", "0.1", "stop")

    with refused(-4116):
        stop(venue, SELL, "84500", "0.1", "stop")
    with refused(-2011):
        venue.cancel_order(BTC, client_id="stop")  # a plain order it is not
    assert venue.cancel_algo(client_id="stop").status is AlgoStatus.CANCELED
    assert venue.algo(algo_id=algo.algo_id).status is AlgoStatus.CANCELED
    with refused(-2011):
        venue.cancel_algo(algo_id=algo.algo_id)
    with refused(-2013):
        venue.algo(client_id="never")
    assert stop(venue, SELL, "84500", "0.1", "stop").algo_id > algo.algo_id


def test_more_refusals() -> None:
    venue = make_venue(max_algo_orders=1)

    with refused(-1116):
        venue.place_algo(BTC, SELL, OrderType.LIMIT, d("84000"), quantity=d("0.1"))
    with refused(-4006):
        venue.place_algo(BTC, SELL, OrderType.STOP_MARKET, d("0"), quantity=d("0.1"))
    with refused(-4003):
        venue.place_algo(BTC, SELL, OrderType.STOP_MARKET, d("84000"))
    with refused(-4164):
        venue.place_algo(BTC, SELL, OrderType.STOP_MARKET, d("40000"), quantity=d("0.001"))
    with refused(-1121):
        venue.place_algo("XRPUSDT", SELL, OrderType.STOP_MARKET, d("1"), quantity=d("1"))
    venue.place_algo(BTC, SELL, OrderType.STOP_MARKET, d("84000"), quantity=d("0.1"))
    with refused(-4045):
        venue.place_algo(BTC, SELL, OrderType.STOP_MARKET, d("84000"), quantity=d("0.1"))


def test_a_trigger_between_ticks_fires_at_the_first_tick_beyond() -> None:
    venue = long_position()
    venue.place_algo(
        BTC,
        SELL,
        OrderType.STOP_MARKET,
        d("84600.05"),
        quantity=d("0.1"),
        reduce_only=True,
        working_type=WorkingType.MARK_PRICE,
    )

    move(venue, "84600.1")
    assert venue.position(BTC).quantity == d("0.1")
    move(venue, "84500")
    assert venue.trades(BTC)[-1].price == d("84600")
