"""Never a position without a stop: refused, unanswered, rejected, stuck, doubled, and moved only in the trade's favour."""

from decimal import Decimal

import pytest
from simulation.faulty_ports import Fault, hangs, refuses
from simulation.world import BLOCKS, World, simulate

from app.domain.instrument import Side
from app.domain.market import BarIndicators
from app.domain.orders import Account, Order, StopOrder
from app.domain.plan import OrderName, Purpose
from app.domain.trade.messages import BarClosed
from app.exchange.errors import (
    BadOrder,
    ExchangeError,
    NoPositionYet,
    NotExecuted,
    OutcomeUnknown,
    RateLimited,
    StopAlreadyThere,
    WouldTriggerNow,
)
from app.exchange.in_memory import InMemoryExchange
from app.simulator.venue_types import ReduceOnlyPolicy
from app.storage.port import StoredTrade

CROSSED = WouldTriggerNow("Order would immediately trigger.", -2021)
OVERLOADED = NotExecuted("overloaded", -1008)
NOT_YET = NoPositionYet("no position", -4509)


async def enters_unprotected(world: World, side: Side = Side.BUY) -> str:
    """An alert, and the moment its trade holds something."""
    trade_id = await world.alert(side=side.value, **BLOCKS[side])
    await world.until(lambda: world.position() != 0)
    return trade_id


async def flattened(world: World, trade_id: str) -> StoredTrade:
    await world.operator("flatten")
    return await world.ends_properly(trade_id)


def stops_sent(world: World, trade_id: str, leg: int = 0) -> list[dict[str, object]]:
    return [dict(n.data) for n in world.notes(trade_id, "order_sent") if f"-{leg}-s-" in n.data["client_id"]]


@pytest.mark.parametrize("side", list(Side))
def test_a_stop_already_crossed_means_a_market_exit(side: Side) -> None:
    async def story(world: World) -> None:
        world.faults.before[Purpose.STOP] = [refuses(CROSSED)]
        trade_id = await enters_unprotected(world, side)
        await world.until(lambda: world.position() == 0, 1.0)
        stored = await world.ends_properly(trade_id)
        assert stored.closed is not None
        assert stored.closed.reason == "stop_crossed"

    simulate(story)


@pytest.mark.parametrize("times", [1, 3])
def test_a_stop_that_surely_was_not_taken_is_sent_again_under_a_new_id(times: int) -> None:
    async def story(world: World) -> None:
        world.faults.before[Purpose.STOP] = [refuses(OVERLOADED)] * times
        trade_id = await enters_unprotected(world)
        await world.until(world.covered, 1.0)
        assert len({sent["client_id"] for sent in stops_sent(world, trade_id)}) >= times + 1
        await flattened(world, trade_id)

    simulate(story)


def test_a_stop_refused_for_used_up_limits_is_not_sent_before_the_time_the_exchange_names() -> None:
    async def story(world: World) -> None:
        world.faults.before[Purpose.STOP] = [refuses(RateLimited("too many orders", -1015, retry_after=0.7))]
        trade_id = await enters_unprotected(world)
        await world.until(world.covered, 1.0)
        refused, taken = [note for note in world.notes(trade_id, "order_sent") if "-0-s-" in note.data["client_id"]][:2]
        assert 700 <= taken.exchange_ms - refused.exchange_ms < 800
        await flattened(world, trade_id)

    simulate(story)


def test_an_exchange_that_takes_no_stop_at_all_means_a_market_exit_by_two_and_a_half_seconds() -> None:
    async def story(world: World) -> None:
        world.faults.before[Purpose.STOP] = [refuses(OVERLOADED)] * 50
        trade_id = await enters_unprotected(world)
        await world.until(lambda: world.position() == 0, 2.6)
        stored = await world.ends_properly(trade_id)
        assert stored.closed is not None
        assert stored.closed.reason == "not_protected"

    simulate(story)


def test_a_stop_with_a_fault_of_its_own_means_a_market_exit() -> None:
    async def story(world: World) -> None:
        world.faults.before[Purpose.STOP] = [refuses(BadOrder("Precision is over the maximum", -1111))]
        trade_id = await enters_unprotected(world)
        await world.until(lambda: world.position() == 0, 1.0)
        await world.ends_properly(trade_id)

    simulate(story)


def test_a_stop_not_answered_gets_a_second_beside_it_after_a_second() -> None:
    async def story(world: World) -> None:
        world.faults.before[Purpose.STOP] = [hangs(world.clock, 8.0)]
        trade_id = await enters_unprotected(world)
        await world.clock.sleep(0.95)
        assert not world.covered()
        await world.until(world.covered, 0.15)
        await world.until_said(trade_id, "stop_escalated")
        await world.clock.sleep(10.0)  # the first arrives after all; one of them is enough
        assert world.covered()
        assert len([a for a in world.venue.open_algos("BTCUSDT") if not a.close_position]) == 1
        await world.go_r(trade_id, -1.2)
        await world.ends_properly(trade_id)

    simulate(story)


def test_no_stop_answered_means_a_market_exit_and_what_arrives_later_is_removed() -> None:
    async def story(world: World) -> None:
        world.faults.before[Purpose.STOP] = [hangs(world.clock, 4.5)] * 4  # just within what the exchange may still take
        trade_id = await enters_unprotected(world)
        await world.until(lambda: world.position() == 0, 2.6)
        stored = await world.ends_properly(trade_id)
        assert stored.closed is not None
        assert stored.closed.reason == "not_protected"
        await world.clock.sleep(20)
        assert world.open_ids() == set()

    simulate(story)


def test_a_stop_of_unknown_outcome_that_is_there_is_found() -> None:
    async def story(world: World) -> None:
        world.faults.after[Purpose.STOP] = [refuses(OutcomeUnknown("no answer"))]
        world.faults.silent = True
        trade_id = await enters_unprotected(world)
        await world.until_said(trade_id, "covered", timeout_s=1.0)
        assert len(stops_sent(world, trade_id)) == 1
        world.faults.silent = False
        await flattened(world, trade_id)

    simulate(story)


@pytest.mark.parametrize("policy", list(ReduceOnlyPolicy))
def test_a_stop_rejected_when_it_triggers_means_a_market_exit(policy: ReduceOnlyPolicy) -> None:
    async def story(world: World) -> None:
        trade_id = await world.enters()
        world.reject_triggers(Purpose.STOP)
        await world.go_r(trade_id, -1.05, 2.0)
        await world.until(lambda: world.position() == 0, 1.0)
        stored = await world.ends_properly(trade_id)
        assert stored.closed is not None
        assert stored.closed.reason == "stop_rejected"

    simulate(story, policy=policy)


@pytest.mark.parametrize("policy", list(ReduceOnlyPolicy))
def test_a_stop_stuck_in_triggering_is_replaced_by_a_market_exit_after_two_seconds(policy: ReduceOnlyPolicy) -> None:
    async def story(world: World) -> None:
        trade_id = await world.enters()
        await world.until_said(trade_id, "covered", leg=1)
        world.stick_triggers(Purpose.STOP)
        await world.go_r(trade_id, -1.05, 2.0)
        assert world.position() != 0
        await world.until(lambda: world.position() == 0, 3.0)
        stored = await world.ends_properly(trade_id)
        assert stored.closed is not None
        assert stored.closed.reason == "stop_stuck"
        assert world.notes(trade_id, "order_stuck")
        refused = await world.reply(await world.alert(id="next", **BLOCKS[Side.BUY]))
        assert refused is not None
        assert refused["code"] == "paused"  # until the operator has looked

    simulate(story, policy=policy, watched=False)  # a stop may be stuck for two seconds


def test_the_backstop_on_the_mark_price_closes_where_the_working_stop_is_stuck() -> None:
    async def story(world: World) -> None:
        trade_id = await world.enters()
        world.stick_triggers(Purpose.STOP)
        price = world.level(trade_id, -2.0)
        world.path = [(0, price)]
        world.move_to(price, world.venue.now_ms)
        assert world.position() == 0
        stored = await world.ends_properly(trade_id)
        assert any(f"-{Purpose.BACKSTOP}-" in fill.client_id for fill in stored.fills)

    simulate(story)


@pytest.mark.parametrize("times", [1, 4])
def test_the_backstop_waits_until_the_exchange_sees_the_position(times: int) -> None:
    async def story(world: World) -> None:
        world.faults.before[Purpose.BACKSTOP] = [refuses(NOT_YET)] * times
        trade_id = await world.enters()
        await world.until(lambda: any(a.close_position for a in world.venue.open_algos("BTCUSDT")), 5.0)
        await flattened(world, trade_id)

    simulate(story)


@pytest.mark.parametrize(("error", "times"), [(NOT_YET, 2), (NOT_YET, 30), (StopAlreadyThere("one is there", -4130), 1)])
def test_a_hedge_whose_stop_is_refused_is_covered_within_the_second(error: ExchangeError, times: int) -> None:
    """closePosition first, for as long as that can help; then by quantity."""

    def refuses_whole(order: Order) -> None:
        if isinstance(order, StopOrder) and order.closes_position:
            raise error

    async def fault(order: Order) -> None:
        refuses_whole(order)

    async def story(world: World) -> None:
        trade_id = await world.enters()
        faults: list[Fault] = [fault] * times
        world.faults.before[Purpose.STOP] = faults
        await world.until(lambda: world.position("ETHUSDT") != 0)
        await world.until(lambda: world.covered("ETHUSDT") and world.covered("SOLUSDT"), 1.5)
        await flattened(world, trade_id)

    simulate(story, follow=0.0)


def test_a_stop_cancelled_by_a_hand_is_put_back() -> None:
    async def story(world: World) -> None:
        trade_id = await world.enters()
        world.venue.cancel_all_algos("BTCUSDT")
        world.exchange.pump()
        assert not world.covered()
        await world.until(world.covered, 0.5)
        await world.until(lambda: any(a.close_position for a in world.venue.open_algos("BTCUSDT")), 0.5)
        await flattened(world, trade_id)

    simulate(story)


def test_the_working_stop_follows_the_quantity_after_each_fill() -> None:
    async def story(world: World) -> None:
        trade_id = await world.enters()
        for target in ("t1", "t2"):
            await world.go_r(trade_id, 1.02 if target == "t1" else 1.55)
            await world.until_said(trade_id, "fill", purpose=target)
            await world.clock.sleep(0.5)
            (stop,) = (a for a in world.venue.open_algos("BTCUSDT") if not a.close_position)
            assert stop.quantity == world.position()
            assert any(a.close_position for a in world.venue.open_algos("BTCUSDT"))
        await world.go_r(trade_id, -0.2)
        await world.ends_properly(trade_id)

    simulate(story)


def test_a_bar_that_comes_late_trails_nothing() -> None:
    """The stream node back from an outage tells of bars long closed: the stop stays where it is until a current one."""

    async def story(world: World) -> None:
        trade_id = await world.enters()
        await world.go_r(trade_id, 1.2)
        await world.until_said(trade_id, "break_even")
        assert world.trader is not None
        interval = world.rules.timeframe_ms
        now_ms = world.venue.now_ms
        current_ms = now_ms - now_ms % interval - interval
        better = float(world.level(trade_id, 0.5))

        def closed(bars_ago: int) -> BarClosed:
            open_ms = current_ms - bars_ago * interval
            return BarClosed(BarIndicators("BTCUSDT", interval, open_ms, 85_400.0, 200.0, better, True, 2.0))

        world.trader.desk.tell(trade_id, closed(2))
        await world.clock.sleep(0.1)
        assert world.notes(trade_id, "trailed") == []
        world.trader.desk.tell(trade_id, closed(0))
        await world.until_said(trade_id, "trailed", timeout_s=0.1)
        await flattened(world, trade_id)

    simulate(story)


@pytest.mark.parametrize("side", list(Side))
def test_trailing_never_loosens_the_stop(side: Side) -> None:
    async def story(world: World) -> None:
        trade_id = await world.enters(side)
        await world.go_r(trade_id, 1.4)
        for level in (0.5, 0.3, 0.8, 0.6):
            world.supertrend = (float(world.level(trade_id, level)), side is Side.BUY)
            await world.clock.sleep(181)
        levels = [Decimal(str(sent["price"])) for sent in stops_sent(world, trade_id)]
        assert levels == sorted(levels, reverse=side is Side.SELL)
        assert world.notes(trade_id, "trailed")[-1].data["stop"] == str(levels[-1])
        assert len(world.notes(trade_id, "trailed")) == 2
        await world.go_r(trade_id, 0.0)
        await world.ends_properly(trade_id)

    simulate(story)


def test_a_better_stop_the_exchange_refuses_leaves_the_old_one_in_place() -> None:
    async def story(world: World) -> None:
        trade_id = await world.enters()
        world.faults.before[Purpose.STOP] = [refuses(OVERLOADED)] * 3
        await world.go_r(trade_id, 1.1)
        await world.until_said(trade_id, "break_even")
        for _ in range(10):
            assert world.covered()
            await world.clock.sleep(0.1)
        await world.go_r(trade_id, -0.2)
        stored = await world.ends_properly(trade_id)
        assert stored.closed is not None
        assert stored.closed.reason == "break_even"

    simulate(story)


@pytest.mark.parametrize("error", [OVERLOADED, OutcomeUnknown("no answer")])
@pytest.mark.parametrize("purpose", [Purpose.TARGET_1, Purpose.TARGET_2, Purpose.BACKSTOP, Purpose.EXIT, Purpose.REDUCE])
def test_any_other_order_the_exchange_loses_is_sent_again(purpose: Purpose, error: ExchangeError) -> None:
    async def story(world: World) -> None:
        world.faults.before[purpose] = [refuses(error), refuses(error)]
        trade_id = await world.enters() if purpose is not Purpose.TARGET_1 else await enters_unprotected(world)
        await world.clock.sleep(4)
        await world.go_r(trade_id, 1.1)
        await world.until_said(trade_id, "break_even")
        await world.clock.sleep(4)
        await flattened(world, trade_id)
        assert any(name and name.purpose is purpose for o in world.placed if (name := OrderName.parse(o.client_id)))

    simulate(story, follow=0.0)


@pytest.mark.parametrize("purpose", [Purpose.STOP, Purpose.EXIT])
def test_an_order_lost_without_a_word_is_asked_for_and_made_up_for(purpose: Purpose) -> None:
    """The request never comes back, not even with an error."""

    async def story(world: World) -> None:
        world.faults.before[purpose] = [hangs(world.clock, 100_000.0)]
        trade_id = await world.enters()
        await world.operator("flatten")
        await world.until(lambda: world.position() == 0, 10.0)
        stored = await world.ends_properly(trade_id, timeout_s=120)
        assert stored.closed is not None

    simulate(story)


def test_a_fill_between_two_readings_is_not_taken_for_a_hand() -> None:
    """Orders are read, a target fills, then the position is read: it differs, and nobody meddled."""

    async def story(world: World) -> None:
        trade_id = await world.enters()
        await world.until_said(trade_id, "covered", leg=1)
        target = world.level(trade_id, 1.05)
        read_account = world.exchange.account

        async def account() -> Account:
            await world.clock.sleep(0.004)
            world.exchange.account = read_account  # type: ignore[method-assign]
            world.path = [(0, target)]
            world.move_to(target, world.venue.now_ms)
            return await InMemoryExchange.account(world.exchange)

        await world.clock.sleep(1.0)  # between two regular checks
        world.exchange.account = account  # type: ignore[method-assign]
        await world.exchange.connect()  # a stream that is up again has everything read
        await world.until_said(trade_id, "break_even")
        await world.clock.sleep(10)
        assert not world.notes(trade_id, "closed_externally")
        await flattened(world, trade_id)

    simulate(story, follow=0.0)


def test_an_exchange_that_is_away_for_a_while_finds_everything_covered_when_it_is_back() -> None:
    async def story(world: World) -> None:
        trade_id = await world.enters()
        await world.until_said(trade_id, "covered", leg=1)
        world.faults.down, world.faults.silent = OVERLOADED, True
        await world.go_r(trade_id, 1.1)
        assert world.covered()
        world.faults.down, world.faults.silent = None, False
        await world.until_said(trade_id, "break_even", timeout_s=20)
        await flattened(world, trade_id)

    simulate(story, follow=0.0, watched=False)  # the exchange is away
