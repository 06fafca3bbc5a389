"""A trader that cannot prepare its symbols yet, limits used up by others say: it obeys and closes, and opens nothing."""

import pytest
from simulation.world import World, simulate

from app.bus.in_memory import InMemoryInbox
from app.exchange.errors import OrderRefused, RateLimited

NOT_YET = RateLimited("x-mbx-used-weight-1m is at 2391 of 2400", retry_after=30.0)


async def restarts_unprepared(world: World) -> None:
    await world.kill_trader()
    world.faults.terms = NOT_YET
    await world.start_trader()


async def says_prepared(world: World) -> bool:
    beat = await InMemoryInbox(world.server).last_beat("trader")
    assert beat is not None
    return bool(beat["prepared"])


def test_a_flatten_is_obeyed_before_the_symbols_are_prepared() -> None:
    async def story(world: World) -> None:
        trade_id = await world.alert()
        await world.until_said(trade_id, "protected")
        await restarts_unprepared(world)
        reply = await world.operator("flatten")
        assert reply is not None
        assert reply["status"] == "done"
        await world.ends_properly(trade_id, timeout_s=10)

    simulate(story)


def test_a_close_is_carried_out_before_the_symbols_are_prepared() -> None:
    async def story(world: World) -> None:
        opened = await world.asks("buy")
        await world.clock.sleep(1.0)
        await restarts_unprepared(world)
        reply = await world.reply(await world.ask("close"))
        assert reply is not None
        assert reply["success"]
        await world.ends_properly(opened["id"], timeout_s=10)

    simulate(story)


def test_what_opens_waits_and_is_as_old_as_it_is() -> None:
    async def story(world: World) -> None:
        await restarts_unprepared(world)
        old = await world.alert(id="old")
        await world.clock.sleep(8.0)
        young = await world.alert(id="young")
        await world.clock.sleep(3.0)
        assert not world.placed
        world.faults.terms = None
        refused = await world.reply(old)
        assert refused is not None
        assert refused["code"] == "stale_alert"
        await world.until_said(young, "protected")
        await world.operator("flatten")
        await world.ends_properly(young)

    simulate(story)


def test_a_close_does_not_overtake_the_opening_before_it() -> None:
    async def story(world: World) -> None:
        await restarts_unprepared(world)
        opened = await world.ask("buy")
        closed = await world.ask("close")
        await world.clock.sleep(3.0)
        assert not world.placed
        world.faults.terms = None
        reply = await world.reply(closed)
        assert reply is not None
        assert [part["position_type"] for part in reply["closed_positions"]] == ["long"]
        await world.ends_properly(opened)

    simulate(story)


def test_the_heartbeat_says_that_it_is_not_prepared() -> None:
    async def story(world: World) -> None:
        await restarts_unprepared(world)
        assert await says_prepared(world) is False
        world.faults.terms = None
        await world.clock.sleep(3.0)
        assert await says_prepared(world) is True

    simulate(story)


def test_a_leverage_the_exchange_refuses_leaves_no_open_trade_unmanaged() -> None:
    async def story(world: World) -> None:
        trade_id = await world.enters()
        await world.kill_trader()
        world.faults.leverage = OrderRefused("SOLUSDT at leverage 125: not valid; see rules.sizing.leverage", -4028)
        await world.start_trader()
        await world.clock.sleep(1.0)
        beat = await InMemoryInbox(world.server).last_beat("trader")
        assert beat is not None
        assert (beat["paused"], beat["prepared"], beat["trades"]) == ("setting_refused", False, [trade_id])
        await world.go_r(trade_id, 1.2)  # its stop follows to break-even
        await world.until(lambda: any(stop.trigger_price > 84_900 for stop in world.venue.open_algos("BTCUSDT")), 10)
        await world.operator("flatten")
        await world.ends_properly(trade_id)

    simulate(story, betas={})


def test_without_open_trades_a_leverage_the_exchange_refuses_ends_the_start() -> None:
    async def story(world: World) -> None:
        await world.kill_trader()
        world.faults.leverage = OrderRefused("SOLUSDT at leverage 125: not valid; see rules.sizing.leverage", -4028)
        await world.start_trader()
        await world.clock.sleep(1.0)

    with pytest.raises(ExceptionGroup) as ended:
        simulate(story)
    assert ended.group_contains(OrderRefused, match=r"rules\.sizing\.leverage")
