"""What holds at the simulated venue whatever a client does, under every reduce-only policy."""

from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st
from simulated import BTC, limit, make_venue, market, move, stop

from app.domain.instrument import Side
from app.simulator.venue import Tick, Venue
from app.simulator.venue_types import (
    AlgoRequest,
    AlgoStatus,
    OrderRequest,
    OrderType,
    OrderUpdate,
    PriceMatch,
    ReduceOnlyPolicy,
    Tif,
    Trade,
    VenueError,
    VenueEvent,
)

Action = Callable[[Venue], object]

sides = st.sampled_from(Side)
quantities = st.integers(1, 60).map(lambda milli: str(Decimal(milli) / 1000))
offsets = st.integers(-120, 120)  # in steps of a dollar from the last price
tifs = st.sampled_from([Tif.GTC, Tif.IOC, Tif.GTX, Tif.FOK])


def at(venue: Venue, dollars: int) -> str:
    return str(venue.last_price(BTC) + dollars)


def closing(venue: Venue) -> Side:
    """The side that reduces the position; a flat one is taken for long."""
    return Side.BUY if venue.position(BTC).quantity < 0 else Side.SELL


def place_target(venue: Venue, quantity: str, dollars: int) -> object:
    side = closing(venue)
    return limit(venue, side, quantity, at(venue, -side.sign * abs(dollars)), reduce_only=True)


def place_stop(venue: Venue, quantity: str | None, dollars: int) -> object:
    side = closing(venue)
    return stop(venue, side, at(venue, side.sign * (1 + abs(dollars))), quantity)


def place_stop_limit(venue: Venue, quantity: str, dollars: int, tif: Tif) -> object:
    side, away = closing(venue), 1 + abs(dollars)
    trigger = venue.last_price(BTC) + side.sign * away
    price = trigger + dollars
    return venue.place_conditional(
        AlgoRequest(
            BTC,
            side,
            OrderType.STOP,
            "",
            trigger,
            Decimal(quantity),
            reduce_only=dollars % 2 == 0,
            price=price,
            time_in_force=tif,
        )
    )


def place_trailing(venue: Venue, quantity: str, tenths: int) -> object:
    side = closing(venue)
    return venue.place_conditional(
        AlgoRequest(
            BTC,
            side,
            OrderType.TRAILING_STOP_MARKET,
            "",
            quantity=Decimal(quantity),
            reduce_only=True,
            callback_rate=Decimal(tenths) / 10,
        )
    )


def place_matched(venue: Venue, side: Side, quantity: str, match: PriceMatch) -> object:
    return venue.place(
        OrderRequest(
            BTC, side, OrderType.LIMIT, Decimal(quantity), "", time_in_force=Tif.GTD, price_match=match, lives_ms=700_000
        )
    )


actions = st.one_of(
    st.builds(lambda s, q: lambda v: market(v, s, q), sides, quantities),
    st.builds(lambda q: lambda v: market(v, closing(v), q, reduce_only=True), quantities),
    st.builds(lambda s, q, n, t: lambda v: limit(v, s, q, at(v, n), t), sides, quantities, offsets, tifs),
    st.builds(lambda q, n: lambda v: place_target(v, q, n), quantities, offsets),
    st.builds(lambda q, n: lambda v: place_stop(v, q, n), st.none() | quantities, offsets),
    st.builds(lambda q, n, t: lambda v: place_stop_limit(v, q, n, t), quantities, offsets, tifs),
    st.builds(lambda q, n: lambda v: place_trailing(v, q, n), quantities, st.integers(1, 3)),
    st.builds(lambda s, q, m: lambda v: place_matched(v, s, q, m), sides, quantities, st.sampled_from(PriceMatch)),
    st.builds(lambda n: lambda v: v.set_premium(BTC, Decimal(n) / 10_000), st.integers(-20, 20)),
    st.just(lambda v: v.set_countdown(BTC, 60_000)),
    st.builds(lambda n, w: lambda v: move(v, at(v, n), volume=str(w)), offsets, st.integers(0, 3)),
    st.builds(lambda n: lambda v: move(v, at(v, 10 * n), jump=True), offsets),
    st.just(lambda v: v.cancel_all_orders(BTC)),
    st.just(lambda v: v.advance(v.next_funding_ms)),
    st.builds(lambda q: lambda v: v.auto_deleverage(BTC, Decimal(q)), quantities),
)
scripts = st.lists(actions, min_size=10, max_size=40)
policies = st.sampled_from(ReduceOnlyPolicy)
leverages = st.sampled_from([20, 150])  # at the higher one a dollar's way liquidates


def run(script: list[Action], policy: ReduceOnlyPolicy, leverage: int, check: Callable[[Venue], None]) -> Venue:
    venue = make_venue(policy, "3000")
    venue.set_leverage(BTC, leverage)
    market(venue, Side.BUY, "0.05")
    place_target(venue, "0.02", 50)
    for action in script:
        with suppress(VenueError):
            action(venue)
        check(venue)
    return venue


@given(scripts, policies, leverages)
@settings(max_examples=150, deadline=None)
def test_the_wallet_is_the_sum_of_income_and_never_negative(
    script: list[Action], policy: ReduceOnlyPolicy, leverage: int
) -> None:
    def check(venue: Venue) -> None:
        account = venue.account()
        assert all(p.quantity or not p.isolated_wallet for p in account.positions)
        assert account.wallet_balance == sum(income.amount for income in venue.income())
        assert account.wallet_balance >= 0
        assert account.wallet_balance == account.cross_wallet + sum(p.isolated_wallet for p in account.positions)

    run(script, policy, leverage, check)


@given(scripts, policies, leverages)
@settings(max_examples=150, deadline=None)
def test_the_position_is_the_sum_of_fills(script: list[Action], policy: ReduceOnlyPolicy, leverage: int) -> None:
    def check(venue: Venue) -> None:
        assert venue.position(BTC).quantity == sum(t.quantity * t.side.sign for t in venue.trades(BTC))
        for order in venue.all_orders(BTC):
            assert order.executed == sum(t.quantity for t in venue.trades(BTC, order_id=order.order_id))

    run(script, policy, leverage, check)


@given(scripts, policies, leverages)
@settings(max_examples=150, deadline=None)
def test_reduce_only_never_opens_or_flips(script: list[Action], policy: ReduceOnlyPolicy, leverage: int) -> None:
    events: list[VenueEvent] = []

    def check(venue: Venue) -> None:
        events.extend(venue.drain_events())
        position = venue.position(BTC).quantity
        for side in Side:
            resting = sum(o.remaining for o in venue.open_orders(BTC) if o.reduce_only and o.side is side)
            assert resting <= max(Decimal(0), -position * side.sign)

    run(script, policy, leverage, check)
    held = Decimal(0)
    for event in events:
        if isinstance(event, OrderUpdate) and isinstance(event.trade, Trade):
            after = held + event.trade.quantity * event.trade.side.sign
            if event.order.reduce_only:
                assert abs(after) < abs(held)
                assert after * held >= 0
            held = after


@given(scripts, policies, leverages)
@settings(max_examples=80, deadline=None)
def test_no_close_position_order_outlives_its_position(script: list[Action], policy: ReduceOnlyPolicy, leverage: int) -> None:
    def check(venue: Venue) -> None:
        position = venue.position(BTC).quantity
        for algo in venue.open_algos(BTC):
            assert not algo.close_position or position * algo.side.sign < 0

    run(script, policy, leverage, check)


@given(scripts, policies, leverages)
@settings(max_examples=80, deadline=None)
def test_the_same_inputs_give_the_same_events(script: list[Action], policy: ReduceOnlyPolicy, leverage: int) -> None:
    first, second = (run(script, policy, leverage, lambda _venue: None) for _ in range(2))

    assert first.drain_events() == second.drain_events()
    assert first.account() == second.account()


@given(scripts, policies, leverages)
@settings(max_examples=80, deadline=None)
def test_a_conditional_order_is_finished_when_its_child_is(script: list[Action], policy: ReduceOnlyPolicy, leverage: int) -> None:
    def check(venue: Venue) -> None:
        for algo in venue.all_algos(BTC):
            if algo.actual_order_id is None:
                assert algo.status not in (AlgoStatus.TRIGGERING, AlgoStatus.TRIGGERED, AlgoStatus.FINISHED)
                continue
            child = venue.order(BTC, order_id=algo.actual_order_id)
            assert (algo.status is AlgoStatus.TRIGGERED) == child.status.is_open
            if algo.status is AlgoStatus.FINISHED:
                assert algo.actual_quantity == child.executed

    run(script, policy, leverage, check)


@given(scripts, policies, leverages)
@settings(max_examples=80, deadline=None)
def test_fok_is_whole_and_nothing_rests_past_its_time(script: list[Action], policy: ReduceOnlyPolicy, leverage: int) -> None:
    venue = run(script, policy, leverage, lambda _venue: None)
    venue.advance(venue.now_ms + 700_001)

    for order in venue.all_orders(BTC):
        assert order.time_in_force is not Tif.FOK or order.executed == order.quantity
        assert order.time_in_force is not Tif.GTD or not order.status.is_open


prices = st.integers(-6_000, 6_000).map(lambda ticks: str(Decimal(85_000) + Decimal(ticks) / 10))


@given(st.lists(prices, min_size=2, max_size=6), st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_stops_fill_alike_however_the_way_is_cut(course: list[str], cuts: int) -> None:
    """A straight move in one step or in several triggers the same stops at the same prices."""

    def played(pieces: int) -> list[tuple[str, Decimal, Decimal]]:
        venue = make_venue()
        market(venue, Side.BUY, "0.05", "entry")
        stop(venue, Side.SELL, "84900", "0.05", "stop")
        for goal in course:
            start = venue.last_price(BTC)
            for piece in range(1, pieces + 1):
                way = start + (Decimal(goal) - start) * piece / pieces
                price = venue.instrument(BTC).round_price(way)
                venue.apply([Tick(BTC, price, Decimal(1))], venue.now_ms + 60)
        return [(t.client_id, t.price, t.quantity) for t in venue.trades(BTC)]

    assert played(1) == played(cuts)
