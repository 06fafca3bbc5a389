"""Entering: post-only first, then the rest at once but never too dear, whatever the exchange answers and whenever."""

from decimal import Decimal

import pytest
from simulation.faulty_ports import hangs, refuses
from simulation.world import BLOCKS, World, simulate, with_rules

from app.domain.instrument import Side
from app.domain.orders import LimitOrder, TimeInForce
from app.domain.plan import OrderName, Purpose
from app.domain.rules import EntryStyle
from app.exchange.errors import InsufficientMargin, NotExecuted, OutcomeUnknown, PostOnlyWouldTake
from app.storage.port import StoredTrade

NEAR_BLOCK = {"ob_top": 85_060, "ob_bottom": 84_900}  # the maker order rests in its middle, at 84 980
ENTRIES = (Purpose.MAKER, Purpose.TAKER)


def entries(world: World) -> list[LimitOrder]:
    found = []
    for order in world.placed:
        name = OrderName.parse(order.client_id)
        if isinstance(order, LimitOrder) and name is not None and name.leg == 0 and name.purpose in ENTRIES:
            found.append(order)
    return found


def styles(world: World) -> list[TimeInForce]:
    return [order.time_in_force for order in entries(world)]


async def flattened(world: World, trade_id: str) -> StoredTrade:
    await world.operator("flatten")
    return await world.ends_properly(trade_id)


@pytest.mark.parametrize("side", list(Side))
def test_all_of_it_is_filled_as_maker(side: Side) -> None:
    async def story(world: World) -> None:
        trade_id = await world.alert(side=side.value, **BLOCKS[side])
        await world.clock.sleep(0.2)
        await world.go(85_000 - side.sign * 250, 0.3)
        await world.until_said(trade_id, "protected")
        assert styles(world) == [TimeInForce.GTX]
        entered = world.notes(trade_id, "entered")[0].data
        assert Decimal(entered["maker_share"]) == 1
        await flattened(world, trade_id)

    simulate(story, volume=Decimal(500))


def test_a_part_is_filled_as_maker_and_the_rest_is_taken() -> None:
    async def story(world: World) -> None:
        trade_id = await world.alert(**NEAR_BLOCK)
        await world.clock.sleep(0.2)
        await world.go(84_979, 0.2)
        await world.until_said(trade_id, "protected")
        assert styles(world) == [TimeInForce.GTX, TimeInForce.IOC]
        first = next(iter(world.notes(trade_id, "fill"))).data
        assert first["maker"]
        assert 0 < Decimal(first["quantity"]) < entries(world)[0].quantity
        assert world.position() == entries(world)[0].quantity
        stops = [note for note in world.notes(trade_id, "order_sent") if "-0-s-" in note.data["client_id"]]
        assert len(stops) >= 2  # one for the first part, a larger one for all
        await flattened(world, trade_id)

    simulate(story, volume=Decimal("0.02"))


def test_refused_as_taker_it_is_quoted_once_more_and_then_taken() -> None:
    async def story(world: World) -> None:
        refusal = PostOnlyWouldTake("would take", -5022)
        world.faults.before[Purpose.MAKER] = [refuses(refusal), refuses(refusal)]
        trade_id = await world.enters()
        sent = [n.data["client_id"] for n in world.notes(trade_id, "order_sent") if "-0-m-" in n.data["client_id"]]
        assert len(sent) == 2
        assert styles(world) == [TimeInForce.IOC]
        await flattened(world, trade_id)

    simulate(story)


def test_what_the_ioc_does_not_get_is_dropped() -> None:
    async def story(world: World) -> None:
        await world.enters()
        bought = world.position()
        assert 0 < bought < entries(world)[0].quantity
        await world.clock.sleep(5)
        assert world.position() == bought
        assert styles(world) == [TimeInForce.GTX, TimeInForce.IOC]
        (trade_id,) = world.store.plans
        await flattened(world, trade_id)

    # so large a position that the best price alone does not hold it
    simulate(story, balance=Decimal(20_000_000), rules=with_rules(entry={"slippage_cap": Decimal(0)}))


def test_taken_at_once_where_the_style_says_so() -> None:
    async def story(world: World) -> None:
        trade_id = await world.enters()
        assert styles(world) == [TimeInForce.IOC]
        assert world.notes(trade_id, "protected")[0].data["since_alert_ms"] < 100
        await flattened(world, trade_id)

    simulate(story, rules=with_rules(entry={"style": EntryStyle.IOC}))


@pytest.mark.parametrize("side", list(Side))
def test_nothing_is_bought_once_the_price_ran(side: Side) -> None:
    async def story(world: World) -> None:
        trade_id = await world.alert(side=side.value, **BLOCKS[side])
        await world.go(85_000 + side.sign * 150, 0.5)  # 0.25 R is 100
        stored = await world.ends_properly(trade_id)
        assert stored.closed is not None
        assert stored.closed.reason == "price_ran"
        assert not stored.fills
        reply = await world.reply(trade_id)
        assert reply is not None
        assert (reply["code"], reply["guard"]) == ("price_ran", "price_ran")
        assert reply["reason"]
        assert [verdict["passed"] for verdict in reply["verdicts"]].count(False) == 0

    simulate(story)


@pytest.mark.parametrize("side", list(Side))
def test_no_trade_once_the_price_is_through_the_stop(side: Side) -> None:
    async def story(world: World) -> None:
        trade_id = await world.alert(side=side.value, **BLOCKS[side])
        await world.clock.sleep(0.1)
        price = Decimal(85_000 - side.sign * 450)
        world.path = [(0, price)]
        world.move_to(price, world.venue.now_ms, jump=True)
        stored = await world.ends_properly(trade_id)
        assert stored.closed is not None
        assert stored.closed.reason in ("price_through_stop", "price_beyond_stop", "stop_crossed")
        assert styles(world) == [TimeInForce.GTX]

    simulate(story)


def test_stopped_out_by_a_spike_while_still_entering_buys_nothing_more() -> None:
    """Down through the stop and back between two quotes: the rest of the entry must not go in again."""

    async def story(world: World) -> None:
        trade_id = await world.alert(**NEAR_BLOCK)
        await world.clock.sleep(0.2)
        await world.go(84_979, 0.2)
        await world.until(lambda: world.position() > 0)
        await world.clock.sleep(0.02)
        now_ms = world.venue.now_ms
        world.volume = Decimal("0.0001")
        for price in (84_500, 85_000):
            world.move_to(Decimal(price), now_ms)
        world.path = [(0, Decimal(85_000))]
        stored = await world.ends_properly(trade_id)
        assert stored.closed is not None
        assert stored.closed.reason == "stop"
        assert stored.closed.r_unit > 0
        assert styles(world) == [TimeInForce.GTX]

    simulate(story, volume=Decimal("0.02"), rules=with_rules(entry={"maker_wait_ms": 5_000}))


def test_without_a_fresh_quote_nothing_is_taken() -> None:
    async def story(world: World) -> None:
        trade_id = await world.alert(**BLOCKS[Side.BUY])
        await world.until_said(trade_id, "order_acknowledged")
        world.market_server.cut()
        world.exchange.quote = unreadable  # type: ignore[method-assign]
        stored = await world.ends_properly(trade_id)
        assert stored.closed is not None
        assert stored.closed.reason == "stale_price"

    async def unreadable(symbol: str) -> None:
        raise NotExecuted("overloaded", -1008)

    simulate(story, rules=with_rules(entry={"maker_wait_ms": 3_000}))


def test_a_lost_market_bus_is_replaced_by_one_read() -> None:
    async def story(world: World) -> None:
        trade_id = await world.alert(**BLOCKS[Side.BUY])
        await world.until_said(trade_id, "order_acknowledged")
        world.market_server.cut()
        await world.until_said(trade_id, "protected")
        world.market_server.restore()
        await flattened(world, trade_id)

    simulate(story, rules=with_rules(entry={"maker_wait_ms": 3_000}))


@pytest.mark.parametrize("error", [OutcomeUnknown("no answer"), NotExecuted("overloaded", -1008)])
def test_the_rest_waits_until_the_cancel_is_settled(error: OutcomeUnknown | NotExecuted) -> None:
    async def story(world: World) -> None:
        world.faults.cancels = [error, error]
        world.faults.silent = True  # else the stream settles it at once
        trade_id = await world.enters()
        assert styles(world) == [TimeInForce.GTX, TimeInForce.IOC]
        taken = next(n for n in world.notes(trade_id, "order_sent") if "-0-i-" in n.data["client_id"])
        assert taken.data["since_alert_ms"] > 1_200
        await flattened(world, trade_id)

    simulate(story)


@pytest.mark.parametrize("purpose", ENTRIES)
def test_an_order_of_unknown_outcome_that_is_there_is_found_and_not_sent_again(purpose: Purpose) -> None:
    async def story(world: World) -> None:
        world.faults.after[purpose] = [refuses(OutcomeUnknown("no answer"))]
        trade_id = await world.enters()
        assert sum(1 for order in entries(world) if f"-{purpose}-" in order.client_id) == 1
        await flattened(world, trade_id)

    simulate(story)


@pytest.mark.parametrize("purpose", ENTRIES)
def test_an_order_of_unknown_outcome_is_not_replaced_before_it_can_no_longer_arrive(purpose: Purpose) -> None:
    """No answer, not found when asked for, and yet it arrives 4 s later: never bought twice."""

    async def story(world: World) -> None:
        async def arrives_late(order: LimitOrder) -> None:
            async def later() -> None:
                await world.clock.sleep(4.0)
                world.placed.append(order)
                await super(type(world.exchange), world.exchange).place(order)

            late.append(world.loop.create_task(later()))
            raise OutcomeUnknown("no answer")

        late: list[object] = []
        world.faults.before[purpose] = [arrives_late]  # type: ignore[list-item]
        trade_id = await world.alert(**BLOCKS[Side.BUY])
        await world.until_said(trade_id, "protected")
        assert world.position() <= entries(world)[0].quantity
        await flattened(world, trade_id)

    simulate(story)


def test_no_margin_for_it_no_trade() -> None:
    async def story(world: World) -> None:
        world.faults.before[Purpose.MAKER] = [refuses(InsufficientMargin("margin is insufficient", -2019))]
        trade_id = await world.alert(**BLOCKS[Side.BUY])
        stored = await world.ends_properly(trade_id)
        assert stored.closed is not None
        assert stored.closed.reason == "entry_refused"

    simulate(story)


@pytest.mark.parametrize("delay", [0.0, 0.03, 0.4])
def test_the_answer_may_come_before_the_fills(delay: float) -> None:
    async def story(world: World) -> None:
        world.faults.stream_delay_s = delay
        trade_id = await world.enters()
        await world.go_r(trade_id, -1.2)
        await world.ends_properly(trade_id)

    simulate(story, watched=delay < 0.4)  # the hedges' fills come later than a second


def test_the_fills_may_come_long_before_the_answer() -> None:
    async def story(world: World) -> None:
        world.faults.after[Purpose.TAKER] = [hangs(world.clock, 0.6)]
        trade_id = await world.alert(**BLOCKS[Side.BUY])
        await world.until(lambda: world.position() > 0)
        await world.clock.sleep(0.05)
        assert world.covered()
        await world.until_said(trade_id, "protected")
        await flattened(world, trade_id)

    simulate(story)


def test_a_silent_stream_is_made_up_for_by_requests() -> None:
    async def story(world: World) -> None:
        world.faults.silent = True
        trade_id = await world.enters()
        await world.until_said(trade_id, "covered", leg=1)
        assert world.covered("ETHUSDT")
        await world.go_r(trade_id, 1.1)
        await world.until_said(trade_id, "break_even", timeout_s=20)
        await world.go_r(trade_id, -0.3)
        stored = await world.ends_properly(trade_id)
        assert stored.closed is not None
        assert stored.closed.reason == "break_even"
        assert stored.closed.gross != 0

    simulate(story, follow=0.0, watched=False)  # the journal learns of fills by request, later


def test_a_maker_fill_the_stream_did_not_tell_is_protected_when_the_wait_ends() -> None:
    async def story(world: World) -> None:
        world.faults.silent = True
        trade_id = await world.alert(**NEAR_BLOCK)
        await world.clock.sleep(0.1)
        await world.go(84_979, 0.2)
        await world.until_said(trade_id, "protected")
        assert world.covered()
        await world.go_r(trade_id, -1.2)
        await world.ends_properly(trade_id)

    simulate(story, volume=Decimal("0.02"), watched=False)  # the journal learns of fills by request, later


def test_the_venue_tells_of_every_execution_once() -> None:
    """The double the other tests lean on: what the journal sums up is what the venue executed."""

    async def story(world: World) -> None:
        trade_id = await world.enters()
        stored = await flattened(world, trade_id)
        told = {(t.symbol, t.trade_id) for symbol in stored.plan.symbols for t in world.venue.trades(symbol)}
        assert told == {(fill.symbol, fill.venue_trade_id) for fill in stored.fills}

    simulate(story)
