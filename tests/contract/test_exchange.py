"""What every adapter of the exchange port promises, proved on both."""

from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal

import pytest
from exchange_worlds import START_MS, MemoryWorld, SocketWorld, World

from app.domain.instrument import Side
from app.domain.orders import (
    AccountUpdate,
    Fill,
    LimitOrder,
    MarginType,
    MarketOrder,
    OrderKind,
    OrderState,
    OrderStatus,
    StopOrder,
    StreamUp,
    TimeInForce,
    Trigger,
)
from app.domain.plan import OrderName, Purpose
from app.exchange.errors import (
    BadOrder,
    InsufficientMargin,
    NoPositionYet,
    OrderRefused,
    PostOnlyWouldTake,
    ReduceOnlyRefused,
    StopAlreadyThere,
    UnknownSymbol,
    WouldTriggerNow,
)

BTC = "BTCUSDT"
D = Decimal


def cid(purpose: Purpose, attempt: int = 0) -> str:
    return OrderName("abcdefghij", 0, purpose, attempt).client_id


ENTRY = MarketOrder(cid(Purpose.TAKER), BTC, Side.BUY, D("0.100"))
STOP = StopOrder(cid(Purpose.STOP), BTC, Side.SELL, D("84600.0"), D("0.100"))
BACKSTOP = StopOrder(cid(Purpose.BACKSTOP), BTC, Side.SELL, D("84000.0"), None, Trigger.MARK)
BID = LimitOrder(cid(Purpose.MAKER), BTC, Side.BUY, D("0.100"), D("84900.0"), TimeInForce.GTX)
TARGET = LimitOrder(cid(Purpose.TARGET_1), BTC, Side.SELL, D("0.030"), D("85400.0"), TimeInForce.GTC, reduce_only=True)


@pytest.fixture(params=["in_memory", "binance", "binance with its order socket"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    over_socket = request.param == "binance with its order socket"
    made = MemoryWorld() if request.param == "in_memory" else SocketWorld(order_socket=over_socket)
    await made.open()
    yield made
    await made.close()


def about(client_id: str, status: OrderStatus) -> object:
    return lambda state: state.client_id == client_id and state.status is status


async def test_a_rehearsed_order_is_not_sent(world: World) -> None:
    world.exchange.rehearse(ENTRY)
    assert (await world.exchange.place(BID)).status is OrderStatus.OPEN
    found = await world.exchange.orders_since(BTC, START_MS)
    assert [state.client_id for state in found] == [BID.client_id]


async def test_a_rehearsed_order_can_be_placed_as_any_other(world: World) -> None:
    world.exchange.rehearse(ENTRY)
    assert (await world.exchange.place(ENTRY)).status is OrderStatus.FILLED
    assert world.venue.position(BTC).quantity == ENTRY.quantity


# -- connecting ---------------------------------------------------------------------------------------------------------


async def test_the_first_event_says_the_stream_is_up(world: World) -> None:
    await world.log.until(StreamUp)
    assert world.log.all == [StreamUp()]


async def test_instruments_carry_the_exchanges_filters(world: World) -> None:
    assert world.exchange.instrument(BTC) == world.venue.instrument(BTC)


async def test_an_unlisted_symbol_is_named(world: World) -> None:
    with pytest.raises(UnknownSymbol):
        world.exchange.instrument("DOGEUSDT")
    with pytest.raises(UnknownSymbol):
        await world.exchange.place(replace(ENTRY, symbol="DOGEUSDT"))


async def test_events_end_when_it_is_closed(world: World) -> None:
    await world.exchange.close()
    await world.log.ended()


# -- plain orders -------------------------------------------------------------------------------------------------------


async def test_a_market_order_is_filled_reported_and_read_back(world: World) -> None:
    state = await world.exchange.place(ENTRY)
    assert (state.status, state.executed, state.kind, state.side) == (OrderStatus.FILLED, D("0.100"), OrderKind.PLAIN, Side.BUY)

    [fill] = await world.log.until(Fill)
    assert (fill.client_id, fill.quantity, fill.price, fill.is_maker) == (ENTRY.client_id, D("0.100"), D("85000.1"), False)
    assert fill.fee == D("0.100") * D("85000.1") * D("0.0005")
    assert fill.fee_asset == "USDT"
    [told] = await world.log.until(OrderState, about(ENTRY.client_id, OrderStatus.FILLED))
    assert told.average_price == D("85000.1")
    [update] = await world.log.until(AccountUpdate)
    assert update.reason == "ORDER"
    assert update.wallet_balance == 10_000 - fill.fee
    assert [(p.symbol, p.quantity, p.entry_price) for p in update.positions] == [(BTC, D("0.100"), D("85000.1"))]

    assert await world.exchange.fills_since(BTC, START_MS) == [fill]
    [read] = await world.exchange.orders_since(BTC, START_MS)
    assert (read.client_id, read.status, read.executed, read.average_price) == (
        ENTRY.client_id,
        OrderStatus.FILLED,
        D("0.100"),
        D("85000.1"),
    )


async def test_a_fill_is_told_before_the_state_it_leads_to(world: World) -> None:
    await world.exchange.place(ENTRY)
    await world.log.until(OrderState, about(ENTRY.client_id, OrderStatus.FILLED))
    kinds = [type(event) for event in world.log.all if getattr(event, "client_id", "") == ENTRY.client_id]
    assert kinds[-2:] == [Fill, OrderState]


async def test_a_limit_order_rests_fills_in_parts_and_is_cancelled_with_what_it_executed(world: World) -> None:
    placed = await world.exchange.place(BID)
    assert (placed.status, placed.executed, placed.price) == (OrderStatus.OPEN, D(0), D("84900.0"))

    await world.move(BTC, BID.price, volume=D("0.2"))  # trades at the price only: a share of the volume is ours
    [fill] = await world.log.until(Fill)
    assert fill.is_maker
    assert 0 < fill.quantity < BID.quantity
    [resting] = await world.exchange.open_orders(BTC)
    assert (resting.client_id, resting.status, resting.executed) == (BID.client_id, OrderStatus.OPEN, fill.quantity)

    cancelled = await world.exchange.cancel(BTC, BID.client_id, OrderKind.PLAIN)
    assert cancelled is not None
    assert (cancelled.status, cancelled.executed) == (OrderStatus.CANCELED, fill.quantity)
    assert await world.exchange.open_orders(BTC) == []
    await world.log.until(OrderState, about(BID.client_id, OrderStatus.CANCELED))


async def test_a_limit_order_that_is_traded_through_is_filled_as_maker(world: World) -> None:
    await world.exchange.place(BID)
    await world.move(BTC, D("84890.0"))
    [told] = await world.log.until(OrderState, about(BID.client_id, OrderStatus.FILLED))
    assert told.executed == BID.quantity
    found = await world.exchange.find(BTC, BID.client_id, OrderKind.PLAIN)
    assert found is not None
    assert (found.status, found.average_price) == (OrderStatus.FILLED, BID.price)


async def test_a_post_only_order_that_would_take_is_refused(world: World) -> None:
    with pytest.raises(PostOnlyWouldTake):
        await world.exchange.place(replace(BID, price=D("85000.1")))
    assert await world.exchange.open_orders(BTC) == []
    assert await world.exchange.fills_since(BTC, START_MS) == []


async def test_an_ioc_order_takes_what_its_price_allows_and_drops_the_rest(world: World) -> None:
    best = (await world.exchange.quote(BTC)).ask_quantity
    order = LimitOrder(cid(Purpose.TAKER), BTC, Side.BUY, best + D("0.010"), D("85000.1"), TimeInForce.IOC)
    world.venue.set_leverage(BTC, 100)
    await world.touch()
    state = await world.exchange.place(order)
    assert (state.status, state.executed) == (OrderStatus.EXPIRED, best)
    [fill] = await world.log.until(Fill)
    assert fill.quantity == best
    await world.log.until(OrderState, about(order.client_id, OrderStatus.EXPIRED))


# -- stops --------------------------------------------------------------------------------------------------------------


async def test_a_stop_is_acknowledged_found_and_cancelled(world: World) -> None:
    await world.exchange.place(ENTRY)
    placed = await world.exchange.place(STOP)
    assert (placed.kind, placed.status, placed.price) == (OrderKind.ALGO, OrderStatus.OPEN, D("84600.0"))
    assert (placed.quantity, placed.reduce_only, placed.executed) == (D("0.100"), True, D(0))
    await world.log.until(OrderState, about(STOP.client_id, OrderStatus.OPEN))
    assert await world.exchange.find(BTC, STOP.client_id, OrderKind.ALGO) == placed
    assert await world.exchange.find(BTC, STOP.client_id, OrderKind.PLAIN) is None

    cancelled = await world.exchange.cancel(BTC, STOP.client_id, OrderKind.ALGO)
    assert cancelled is not None
    assert (cancelled.status, cancelled.executed) == (OrderStatus.CANCELED, D(0))
    await world.log.until(OrderState, about(STOP.client_id, OrderStatus.CANCELED))


async def test_open_orders_are_of_both_kinds(world: World) -> None:
    await world.exchange.place(ENTRY)
    for order in (STOP, BACKSTOP, TARGET):
        await world.exchange.place(order)
    found = {(state.client_id, state.kind) for state in await world.exchange.open_orders(BTC)}
    assert found == {(order.client_id, order.kind) for order in (STOP, BACKSTOP, TARGET)}
    assert await world.exchange.open_orders("ETHUSDT") == []


async def test_a_triggered_stops_execution_bears_the_stops_name(world: World) -> None:
    await world.exchange.place(ENTRY)
    await world.exchange.place(STOP)
    await world.move(BTC, D("84500.0"))

    [fill] = await world.log.until(Fill, lambda fill: fill.side is Side.SELL)
    assert (fill.client_id, fill.quantity) == (STOP.client_id, D("0.100"))
    assert fill.realized_pnl < 0
    told = await world.log.until(OrderState, about(STOP.client_id, OrderStatus.FILLED))
    assert (told[-1].kind, told[-1].executed, told[-1].price) == (OrderKind.ALGO, D("0.100"), STOP.trigger)
    story = [e.status for e in world.log.all if isinstance(e, OrderState) and e.client_id == STOP.client_id]
    assert story[:2] == [OrderStatus.OPEN, OrderStatus.TRIGGERING]
    assert all(not status.is_final for status in story[: story.index(OrderStatus.FILLED)])
    assert {e.kind for e in world.log.all if isinstance(e, OrderState) and e.client_id == STOP.client_id} == {OrderKind.ALGO}

    found = await world.exchange.find(BTC, STOP.client_id, OrderKind.ALGO)
    assert found is not None
    assert (found.status, found.executed, found.kind) == (OrderStatus.FILLED, D("0.100"), OrderKind.ALGO)
    assert [f.client_id for f in await world.exchange.fills_since(BTC, START_MS)] == [ENTRY.client_id, STOP.client_id]
    assert (await world.exchange.account()).positions == ()


async def test_closing_the_whole_position_needs_one_and_is_allowed_once(world: World) -> None:
    with pytest.raises(NoPositionYet):
        await world.exchange.place(BACKSTOP)
    await world.exchange.place(ENTRY)
    placed = await world.exchange.place(BACKSTOP)
    assert (placed.quantity, placed.reduce_only, placed.status) == (D(0), True, OrderStatus.OPEN)
    with pytest.raises(StopAlreadyThere):
        await world.exchange.place(replace(BACKSTOP, client_id=cid(Purpose.BACKSTOP, 1)))


async def test_a_close_position_stop_expires_with_its_position(world: World) -> None:
    await world.exchange.place(ENTRY)
    await world.exchange.place(BACKSTOP)
    await world.exchange.place(MarketOrder(cid(Purpose.EXIT), BTC, Side.SELL, D("0.100"), reduce_only=True))
    [told] = await world.log.until(OrderState, about(BACKSTOP.client_id, OrderStatus.EXPIRED))
    assert told.executed == 0
    gone = await world.exchange.cancel(BTC, BACKSTOP.client_id, OrderKind.ALGO)
    assert gone is not None
    assert gone.status is OrderStatus.EXPIRED


async def test_a_close_position_stop_closes_all(world: World) -> None:
    await world.exchange.place(ENTRY)
    await world.exchange.place(BACKSTOP)
    await world.move(BTC, D("83900.0"))
    [told, *_] = await world.log.until(OrderState, about(BACKSTOP.client_id, OrderStatus.FILLED))
    assert told.executed == D("0.100")


async def test_a_stop_already_crossed_is_refused(world: World) -> None:
    await world.exchange.place(ENTRY)
    with pytest.raises(WouldTriggerNow):
        await world.exchange.place(replace(STOP, trigger=D("85100.0")))


# -- refusals -----------------------------------------------------------------------------------------------------------


async def test_reduce_only_without_a_position_is_refused(world: World) -> None:
    with pytest.raises(ReduceOnlyRefused):
        await world.exchange.place(MarketOrder(cid(Purpose.EXIT), BTC, Side.SELL, D("0.100"), reduce_only=True))


async def test_resting_reduce_only_orders_beyond_the_position_are_refused(world: World) -> None:
    await world.exchange.place(ENTRY)
    await world.exchange.place(TARGET)
    with pytest.raises(ReduceOnlyRefused):
        await world.exchange.place(replace(TARGET, client_id=cid(Purpose.TARGET_2), quantity=D("0.080")))


async def test_more_than_the_margin_allows_is_refused(world: World) -> None:
    with pytest.raises(InsufficientMargin):
        await world.exchange.place(replace(ENTRY, quantity=D("5")))


@pytest.mark.parametrize(
    "order",
    [
        pytest.param(replace(BID, price=D("84900.05")), id="off the tick"),
        pytest.param(replace(BID, quantity=D("0.1005")), id="off the step"),
        pytest.param(replace(BID, price=D("40000.0"), quantity=D("0.001")), id="under the minimum notional"),
    ],
)
async def test_an_order_that_breaks_a_filter_is_refused(world: World, order: LimitOrder) -> None:
    with pytest.raises(BadOrder):
        await world.exchange.place(order)
    assert await world.exchange.orders_since(BTC, START_MS) == []


# -- one order, once ----------------------------------------------------------------------------------------------------


async def test_a_client_id_executes_once(world: World) -> None:
    first = await world.exchange.place(ENTRY)
    again = await world.exchange.place(ENTRY)
    assert (again.status, again.executed) == (first.status, first.executed)
    assert (await world.exchange.account()).positions[0].quantity == D("0.100")


@pytest.mark.parametrize("order", [BID, STOP], ids=["limit", "stop"])
async def test_a_resting_orders_client_id_returns_that_order(world: World, order: LimitOrder | StopOrder) -> None:
    await world.exchange.place(ENTRY)
    await world.exchange.place(order)
    again = await world.exchange.place(order)
    assert (again.client_id, again.status) == (order.client_id, OrderStatus.OPEN)
    assert len(await world.exchange.open_orders(BTC)) == 1


async def test_cancelling_a_final_order_tells_how_it_ended(world: World) -> None:
    await world.exchange.place(ENTRY)
    state = await world.exchange.cancel(BTC, ENTRY.client_id, OrderKind.PLAIN)
    assert state is not None
    assert (state.status, state.executed) == (OrderStatus.FILLED, ENTRY.quantity)

    await world.exchange.place(STOP)
    await world.move(BTC, D("84500.0"))
    stop = await world.exchange.cancel(BTC, STOP.client_id, OrderKind.ALGO)
    assert stop is not None
    assert (stop.status, stop.executed) == (OrderStatus.FILLED, STOP.quantity)


@pytest.mark.parametrize("kind", OrderKind)
async def test_an_order_that_never_was_is_none(world: World, kind: OrderKind) -> None:
    assert await world.exchange.find(BTC, cid(Purpose.EXIT, 9), kind) is None
    assert await world.exchange.cancel(BTC, cid(Purpose.EXIT, 9), kind) is None


async def test_a_countdown_cancels_the_plain_orders_unless_called_off(world: World) -> None:
    await world.exchange.place(ENTRY)
    await world.exchange.place(STOP)
    await world.exchange.place(BID)
    await world.exchange.arm_countdown(BTC, 3_000)
    await world.pass_time(2_000)
    await world.exchange.arm_countdown(BTC, 3_000)  # anew
    await world.pass_time(2_000)
    await world.exchange.arm_countdown(BTC, 0)
    await world.pass_time(60_000)
    assert {state.client_id for state in await world.exchange.open_orders(BTC)} == {BID.client_id, STOP.client_id}

    await world.exchange.arm_countdown(BTC, 3_000)
    await world.pass_time(2_999)
    assert BID.client_id in {state.client_id for state in await world.exchange.open_orders(BTC)}
    await world.pass_time(1)
    [told] = await world.log.until(OrderState, about(BID.client_id, OrderStatus.CANCELED))
    assert told.executed == 0
    assert [state.client_id for state in await world.exchange.open_orders(BTC)] == [STOP.client_id]


# -- reading back -------------------------------------------------------------------------------------------------------


async def test_after_everything_orders_and_fills_read_back_as_ours(world: World) -> None:
    await world.exchange.place(ENTRY)
    await world.exchange.place(STOP)
    await world.exchange.place(BACKSTOP)
    await world.exchange.place(TARGET)
    await world.move(BTC, D("85500.0"))  # the target fills
    smaller = replace(STOP, client_id=cid(Purpose.STOP, 1), quantity=D("0.070"))
    await world.exchange.place(smaller)
    await world.exchange.cancel(BTC, STOP.client_id, OrderKind.ALGO)
    await world.move(BTC, D("84500.0"))  # the smaller stop fires, the backstop expires
    await world.log.until(OrderState, about(BACKSTOP.client_id, OrderStatus.EXPIRED))
    await world.log.until(Fill, count=3)

    orders = {state.client_id: state for state in await world.exchange.orders_since(BTC, START_MS)}
    assert {who: (state.status, state.executed, state.kind) for who, state in orders.items()} == {
        ENTRY.client_id: (OrderStatus.FILLED, D("0.100"), OrderKind.PLAIN),
        TARGET.client_id: (OrderStatus.FILLED, D("0.030"), OrderKind.PLAIN),
        STOP.client_id: (OrderStatus.CANCELED, D(0), OrderKind.ALGO),
        smaller.client_id: (OrderStatus.FILLED, D("0.070"), OrderKind.ALGO),
        BACKSTOP.client_id: (OrderStatus.EXPIRED, D(0), OrderKind.ALGO),
    }
    fills = await world.exchange.fills_since(BTC, START_MS)
    assert [fill.client_id for fill in fills] == [ENTRY.client_id, TARGET.client_id, smaller.client_id]
    assert fills == [event for event in world.log.all if isinstance(event, Fill)]


async def test_reading_back_begins_where_it_is_told(world: World) -> None:
    await world.exchange.place(ENTRY)
    await world.pass_time(60_000)
    since = world.venue.now_ms
    await world.exchange.place(MarketOrder(cid(Purpose.EXIT), BTC, Side.SELL, D("0.040"), reduce_only=True))
    assert [fill.client_id for fill in await world.exchange.fills_since(BTC, since)] == [cid(Purpose.EXIT)]
    assert [state.client_id for state in await world.exchange.orders_since(BTC, since)] == [cid(Purpose.EXIT)]


async def test_what_was_done_from_outside_is_told_under_its_own_name(world: World) -> None:
    await world.exchange.place(ENTRY)
    await world.exchange.place(STOP)  # its child might be the stranger: the adapter must find out
    by_hand = world.venue.trade_by_hand(BTC, Side.SELL, D("0.050"))
    await world.touch()
    [fill] = await world.log.until(Fill, lambda fill: fill.side is Side.SELL)
    assert fill.client_id == by_hand.client_id


# -- account and market -------------------------------------------------------------------------------------------------


async def test_account_and_equity(world: World) -> None:
    empty = await world.exchange.account()
    assert (empty.wallet_balance, empty.available_balance, empty.equity, empty.positions) == (10_000, 10_000, 10_000, ())
    await world.exchange.place(ENTRY)
    await world.move(BTC, D("85500.0"))
    account = await world.exchange.account()
    [position] = account.positions
    assert (position.symbol, position.quantity, position.entry_price) == (BTC, D("0.100"), D("85000.1"))
    assert account.unrealized_pnl == position.unrealized_pnl == D("0.100") * (D("85500.0") - D("85000.1"))
    assert account.equity == account.wallet_balance + account.unrealized_pnl
    assert account.available_balance < account.wallet_balance


async def test_quote_mark_and_fees(world: World) -> None:
    quote = await world.exchange.quote(BTC)
    assert (quote.symbol, quote.bid, quote.ask) == (BTC, D("85000"), D("85000.1"))
    assert quote.bid_quantity > 0
    mark = await world.exchange.mark_price(BTC)
    assert (mark.mark, mark.funding_rate, mark.next_funding_ms) == (85_000, D("0.0001"), world.venue.next_funding_ms)
    rates = await world.exchange.commission_rates(BTC)
    assert (rates.maker, rates.taker) == (D("0.0002"), D("0.0005"))


async def test_contract_terms_are_the_exchanges_own(world: World) -> None:
    terms = await world.exchange.contract_terms(BTC)
    assert terms.funding_interval_h == 8
    rates = [terms.maintenance_rate(D(notional)) for notional in (1, 300_000, 300_001, 3_000_000, 10_000_000_000)]
    assert rates == [D("0.004"), D("0.004"), D("0.005"), D("0.0065"), D("0.5")]
    assert (await world.exchange.contract_terms("SOLUSDT")).maintenance_rate(D(1)) == D("0.005")


async def test_a_probe_executes_nothing(world: World) -> None:
    await world.exchange.probe(BTC)
    assert await world.exchange.orders_since(BTC, START_MS) == []
    assert (await world.exchange.account()).positions == ()
    with pytest.raises(UnknownSymbol):
        await world.exchange.probe("DOGEUSDT")


async def test_transfers_are_told_as_such_and_read_back(world: World) -> None:
    [opening] = await world.exchange.transfers_since(0)
    assert opening.amount == 10_000
    await world.pass_time(60_000)
    at_ms = world.venue.now_ms
    for amount in ("250", "-100.5"):
        world.venue.transfer(D(amount))
        await world.touch()
    updates = await world.log.until(AccountUpdate, lambda update: update.is_transfer, 2)
    assert [update.balance_change for update in updates] == [D(250), D("-100.5")]
    await world.exchange.place(ENTRY)  # what trading does to the wallet is no transfer
    moved = await world.exchange.transfers_since(at_ms)
    assert [(each.amount, each.time_ms) for each in moved] == [(D(250), at_ms), (D("-100.5"), at_ms)]
    assert len({each.transfer_id for each in (opening, *moved)}) == 3


@pytest.mark.parametrize("margin_type", MarginType)
async def test_leverage_and_margin_type_may_be_set_twice(world: World, margin_type: MarginType) -> None:
    for _ in range(2):
        await world.exchange.set_leverage(BTC, 10)
        await world.exchange.set_margin_type(BTC, margin_type)
    position = world.venue.position(BTC)
    assert (position.leverage, position.margin_type.value) == (10, margin_type.value)


async def test_the_margin_type_stays_while_there_is_a_position(world: World) -> None:
    await world.exchange.set_margin_type(BTC, MarginType.CROSSED)
    await world.exchange.place(ENTRY)
    with pytest.raises(OrderRefused) as refused:
        await world.exchange.set_margin_type(BTC, MarginType.ISOLATED)
    assert (refused.value.code, refused.value.words) == (-4048, "Margin type cannot be changed if there exists position.")


async def test_orders_bear_the_exchanges_own_number(world: World) -> None:
    placed = [await world.exchange.place(order) for order in (ENTRY, STOP, BID)]
    assert len({state.order_id for state in placed}) == 3
    assert all(state.order_id > 0 for state in placed)
    for state in placed:
        found = await world.exchange.find(BTC, state.client_id, state.kind)
        assert found is not None
        assert found.order_id == state.order_id
    [told] = await world.log.until(OrderState, about(ENTRY.client_id, OrderStatus.FILLED))
    assert told.order_id == placed[0].order_id


async def test_leverage_beyond_the_brackets_is_refused(world: World) -> None:
    with pytest.raises(BadOrder):
        await world.exchange.set_leverage(BTC, 500)


async def test_funding_is_told_and_read_back(world: World) -> None:
    await world.exchange.place(ENTRY)
    settles_at = world.venue.next_funding_ms
    await world.pass_time(settles_at - world.venue.now_ms)
    [update] = await world.log.until(AccountUpdate, lambda update: update.reason == "FUNDING_FEE")
    paid = D("0.100") * 85_000 * D("0.0001")
    assert update.balance_change == -paid
    assert await world.exchange.funding_paid_since(BTC, START_MS) == [(settles_at, paid)]
    assert await world.exchange.funding_paid_since("ETHUSDT", START_MS) == []
