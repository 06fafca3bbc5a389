"""Limit and trailing conditional orders, price protection and margin calls at the simulated venue, by example."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated import BTC, BUY, SELL, d, make_venue, market, move, refused, story

from app.domain.instrument import Side
from app.simulator.venue import Venue
from app.simulator.venue_types import (
    AlgoRequest,
    AlgoStatus,
    AlgoUpdate,
    LeverageChanged,
    MarginCalled,
    OrderType,
    PriceMatch,
    Status,
    Tif,
)

STOP = AlgoRequest(BTC, SELL, OrderType.STOP, "stop", d("84600"), d("0.1"), price=d("84590"), reduce_only=True)
TRAILING = AlgoRequest(
    BTC, SELL, OrderType.TRAILING_STOP_MARKET, "trail", quantity=d("0.1"), reduce_only=True, callback_rate=d("1")
)


def long_position() -> Venue:
    venue = make_venue()
    market(venue, BUY, "0.1", "entry")
    venue.drain_events()
    return venue


def test_a_stop_limit_fills_at_its_limit_or_better() -> None:
    venue = long_position()
    algo = venue.place_conditional(STOP)

    move(venue, "84500")

    done = venue.algo(algo_id=algo.algo_id)
    child = venue.order(BTC, order_id=done.actual_order_id)
    assert (done.status, child.type, child.original_type) == (AlgoStatus.FINISHED, OrderType.LIMIT, OrderType.STOP)
    assert (child.status, done.actual_price) == (Status.FILLED, d("84600"))


def test_a_stop_limit_that_the_market_jumps_rests_until_it_is_met_or_cancelled() -> None:
    venue = long_position()
    algo = venue.place_conditional(STOP)

    move(venue, "84000", jump=True)
    triggered = venue.algo(algo_id=algo.algo_id)
    child = venue.order(BTC, order_id=triggered.actual_order_id)
    assert (triggered.status, child.status) == (AlgoStatus.TRIGGERED, Status.NEW)
    assert venue.open_orders(BTC) == [child]

    venue.drain_events()
    move(venue, "84700")
    assert venue.algo(algo_id=algo.algo_id).status is AlgoStatus.FINISHED
    assert [each for each in story(venue.drain_events()) if each[0] == "stop"] == [
        ("stop", "TRADE", "FILLED"),
        ("stop", "FINISHED"),
    ]


def test_a_cancelled_child_finishes_its_conditional_order() -> None:
    venue = long_position()
    algo = venue.place_conditional(STOP)
    move(venue, "84000", jump=True)

    venue.cancel_order(BTC, order_id=venue.algo(algo_id=algo.algo_id).actual_order_id)

    done = venue.algo(algo_id=algo.algo_id)
    assert (done.status, done.actual_quantity) == (AlgoStatus.FINISHED, 0)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"time_in_force": Tif.FOK}, "FOK order has been rejected"),
        ({"time_in_force": Tif.GTX, "price": d("83000")}, "Post Only order will be rejected"),
        ({"price": d("79000")}, "Limit price can't be lower"),
    ],
)
def test_what_the_engine_refuses_is_rejected_with_its_words(change: dict[str, object], reason: str) -> None:
    venue = long_position()
    algo = venue.place_conditional(replace(STOP, **change))  # type: ignore[arg-type]

    move(venue, "84000", jump=True)

    done = venue.algo(algo_id=algo.algo_id)
    assert done.status is AlgoStatus.REJECTED
    assert reason in done.reject_reason


def test_an_ioc_stop_limit_keeps_what_it_gets() -> None:
    venue = long_position()
    algo = venue.place_conditional(replace(STOP, price=d("84000"), time_in_force=Tif.IOC))

    move(venue, "84000", jump=True)

    assert venue.order(BTC, order_id=venue.algo(algo_id=algo.algo_id).actual_order_id).status is Status.FILLED


def test_a_take_profit_limit_with_price_match_follows_the_book_of_the_moment() -> None:
    venue = long_position()
    target = replace(
        STOP, type=OrderType.TAKE_PROFIT, trigger_price=d("85400"), price=None, price_match=PriceMatch.OPPONENT_5, client_id="tp"
    )
    algo = venue.place_conditional(target)

    move(venue, "85500")

    child = venue.order(BTC, order_id=venue.algo(algo_id=algo.algo_id).actual_order_id)
    assert (child.status, child.price_match) == (Status.FILLED, PriceMatch.OPPONENT_5)
    assert d("85390") < child.price < d("85400")


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (replace(STOP, price=None), -1102),
        (replace(STOP, price=d("84590.05")), -4014),
        (replace(STOP, price_match=PriceMatch.QUEUE), -1106),
        (replace(STOP, time_in_force=Tif.GTD), -1115),
        (replace(STOP, type=OrderType.STOP_MARKET), -1106),
        (replace(STOP, trigger_price=d("5000000")), -4007),
        (replace(STOP, trigger_price=d("0")), -4006),
        (replace(STOP, trigger_price=None), -1102),
        (replace(STOP, trigger_price=d("85000")), -2021),
        (replace(STOP, close_position=True, quantity=None, reduce_only=False), -4136),
        (replace(TRAILING, callback_rate=None), -1102),
        (replace(TRAILING, callback_rate=d("0.05")), -2007),
        (replace(TRAILING, callback_rate=d("20.1")), -2007),
        (replace(TRAILING, callback_rate=d("0.15")), -2007),
        (replace(TRAILING, trigger_price=d("84000")), -1106),
        (replace(TRAILING, activate_price=d("84000")), -2021),
        (replace(TRAILING, side=BUY, activate_price=d("86000")), -2021),
        (replace(TRAILING, close_position=True, quantity=None, reduce_only=False), -4136),
    ],
)
def test_conditional_orders_have_their_refusals(request_: AlgoRequest, code: int) -> None:
    venue = long_position()

    with refused(code):
        venue.place_conditional(request_)
    assert venue.open_algos() == []


def test_a_trailing_stop_follows_up_and_triggers_on_the_way_down() -> None:
    venue = long_position()
    algo = venue.place_conditional(TRAILING)
    assert algo.is_active

    for price in ("85500", "85200", "86000", "85200"):
        move(venue, price)
    assert venue.algo(client_id="trail").status is AlgoStatus.NEW
    move(venue, "85000")

    assert venue.algo(client_id="trail").status is AlgoStatus.FINISHED
    assert venue.trades(BTC)[-1].price == d("85140")  # 1 % under 86,000


def test_a_trailing_stop_waits_for_its_activation_and_tells_of_it() -> None:
    venue = long_position()
    venue.place_conditional(replace(TRAILING, activate_price=d("85500")))
    move(venue, "84000")
    assert venue.algo(client_id="trail").status is AlgoStatus.NEW

    move(venue, "85600")
    move(venue, "84700")

    told = [(e.algo.status, e.algo.is_active) for e in venue.drain_events() if isinstance(e, AlgoUpdate)]
    assert told == [("NEW", False), ("NEW", True), ("TRIGGERING", True), ("TRIGGERED", True), ("FINISHED", True)]
    assert venue.trades(BTC)[-1].price == d("84744")


def test_a_trailing_buy_follows_down() -> None:
    venue = make_venue()
    market(venue, SELL, "0.1")
    venue.place_conditional(replace(TRAILING, side=BUY))

    for price in ("84000", "84500", "85000"):
        move(venue, price)

    assert venue.trades(BTC)[-1].price == d("84840.1")  # 1 % over 84,000, at the ask
    assert venue.position(BTC).quantity == 0


courses = st.lists(st.integers(-15_000, 15_000).map(lambda ticks: Decimal(85_000) + Decimal(ticks) / 10), min_size=1, max_size=12)


@given(courses, st.sampled_from(Side), st.sampled_from(["0.5", "1", "2.5"]), st.integers(1, 4))
@settings(max_examples=120, deadline=None)
def test_a_trailing_stop_triggers_where_the_running_extreme_says(course: list[Decimal], side: Side, rate: str, cuts: int) -> None:
    """Against a plain loop over the prices, however the way between them is cut."""
    venue = make_venue()
    market(venue, side.opposite, "0.1")
    venue.place_conditional(replace(TRAILING, side=side, callback_rate=d(rate)))
    extreme, expected = d("85000"), None
    for goal in course:
        trigger = extreme * (1 + side.sign * d(rate) / 100)
        if (goal - trigger) * side.sign >= 0:
            expected = trigger
            break
        extreme = min(extreme, goal) if side is BUY else max(extreme, goal)

    for goal in course:
        start = venue.last_price(BTC)
        for piece in range(1, cuts + 1):
            move(venue, str(venue.instrument(BTC).round_price(start + (goal - start) * piece / cuts)))

    algo = venue.algo(client_id="trail")
    assert algo.status is (AlgoStatus.NEW if expected is None else AlgoStatus.FINISHED)
    if expected is not None:
        assert abs(algo.actual_price - expected) <= d("0.2")


def test_price_protection_rejects_what_triggers_far_from_the_mark() -> None:
    venue = make_venue()
    venue.set_leverage(BTC, 5)
    market(venue, BUY, "0.1")
    for protected in (True, False):
        venue.place_algo(
            BTC, SELL, OrderType.STOP_MARKET, d("84600"), quantity=d("0.05"), reduce_only=True, price_protect=protected,
            client_id=f"protected-{protected}",
        )  # fmt: skip
    venue.set_premium(BTC, d("-0.06"))

    move(venue, "84500")

    assert venue.algo(client_id="protected-True").status is AlgoStatus.REJECTED
    assert venue.algo(client_id="protected-False").status is AlgoStatus.FINISHED


def test_margin_is_called_once_before_a_liquidation() -> None:
    venue = make_venue()
    venue.set_leverage(BTC, 50)
    market(venue, BUY, "0.5")

    for price in ("84500", "83800", "83790", "83500", "83000"):
        move(venue, price)

    events = venue.drain_events()
    assert [e.symbol for e in events if isinstance(e, LeverageChanged)] == [BTC]
    calls = [e for e in events if isinstance(e, MarginCalled)]
    assert len(calls) == 1
    assert calls[0].position.quantity == d("0.5")
    assert venue.position(BTC).quantity == 0


def test_isolated_margin_can_be_added_and_taken_back() -> None:
    venue = make_venue()
    market(venue, BUY, "0.1")
    before = venue.position(BTC)

    venue.adjust_margin(BTC, d("100"))
    more = venue.position(BTC)
    assert more.isolated_wallet == before.isolated_wallet + 100
    assert more.liquidation_price < before.liquidation_price
    venue.adjust_margin(BTC, d("-99"))  # but for the present loss
    assert venue.position(BTC).isolated_wallet == before.isolated_wallet + 1
    with refused(-4051):
        venue.adjust_margin(BTC, d("-100"))
    with refused(-4050):
        venue.adjust_margin(BTC, d("10000"))
    with refused(-4054):
        venue.adjust_margin("ETHUSDT", d("1"))
