"""What holds at the simulated venue whatever a client does, under every reduce-only policy."""

from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st
from simulated import BTC, limit, make_venue, market, move, stop

from app.domain.instrument import Side
from app.simulator.venue import Tick, Venue
from app.simulator.venue_types import OrderUpdate, ReduceOnlyPolicy, Tif, Trade, VenueError, VenueEvent

Action = Callable[[Venue], object]

sides = st.sampled_from(Side)
quantities = st.integers(1, 60).map(lambda milli: str(Decimal(milli) / 1000))
offsets = st.integers(-120, 120)  # in steps of a dollar from the last price
tifs = st.sampled_from([Tif.GTC, Tif.IOC, Tif.GTX])


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


actions = st.one_of(
    st.builds(lambda s, q: lambda v: market(v, s, q), sides, quantities),
    st.builds(lambda q: lambda v: market(v, closing(v), q, reduce_only=True), quantities),
    st.builds(lambda s, q, n, t: lambda v: limit(v, s, q, at(v, n), t), sides, quantities, offsets, tifs),
    st.builds(lambda q, n: lambda v: place_target(v, q, n), quantities, offsets),
    st.builds(lambda q, n: lambda v: place_stop(v, q, n), st.none() | quantities, offsets),
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
