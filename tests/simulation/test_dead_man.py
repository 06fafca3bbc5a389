"""The exchange's countdown over a resting entry: no entry outlives the trader, and nothing else is lost to it."""

from decimal import Decimal

import pytest
from simulation.world import World, simulate, with_rules

from app.domain.instrument import Side
from app.domain.orders import StopOrder
from app.domain.plan import OrderName, Purpose
from app.domain.trade import by_urgency
from app.domain.trade.messages import ArmCountdown, Command, Place
from app.exchange.errors import NotExecuted, OutcomeUnknown

BTC = "BTCUSDT"
NEAR_BLOCK = {"ob_top": 85_060, "ob_bottom": 84_900}  # the maker order rests in its middle, at 84 980
ARMED, OFF = (BTC, 3_000), (BTC, 0)


def resting(world: World) -> set[Purpose]:
    names = (OrderName.parse(order.client_id) for order in world.venue.open_orders(BTC))
    return {name.purpose for name in names if name is not None}


async def rests(world: World) -> str:
    trade_id = await world.alert(**NEAR_BLOCK)
    await world.until_said(trade_id, "order_acknowledged", purpose="m")
    return trade_id


@pytest.mark.parametrize("dead_man", [True, False])
def test_an_entry_does_not_outlive_the_trader(dead_man: bool) -> None:
    async def story(world: World) -> None:
        await rests(world)
        await world.clock.sleep(0.2)
        await world.kill_trader()
        await world.clock.sleep(2.0)
        assert resting(world) == {Purpose.MAKER}
        await world.clock.sleep(1.2)
        assert resting(world) == (set() if dead_man else {Purpose.MAKER})
        await world.start_trader()
        await world.clock.sleep(2.0)
        assert resting(world) == set()

    simulate(story, rules=with_rules(entry={"dead_man": dead_man}))


def test_a_long_wait_keeps_its_entry() -> None:
    async def story(world: World) -> None:
        trade_id = await rests(world)
        await world.clock.sleep(4.8)
        assert resting(world) == {Purpose.MAKER}
        await world.until_said(trade_id, "protected")
        assert world.exchange.countdowns == [ARMED] * 5 + [OFF]
        await world.operator("flatten")
        await world.ends_properly(trade_id)

    simulate(story, rules=with_rules(entry={"dead_man": True, "maker_wait_ms": 5_000}))


@pytest.mark.parametrize("refusals", [[], [NotExecuted("lost"), OutcomeUnknown("lost")]], ids=["at once", "at the third try"])
def test_it_is_called_off_at_the_first_fill_and_spares_the_targets(refusals: list[NotExecuted | OutcomeUnknown]) -> None:
    async def story(world: World) -> None:
        trade_id = await rests(world)
        world.faults.countdowns += refusals
        await world.go(84_979, 0.2)
        covered = await world.until_said(trade_id, "covered")
        assert covered["naked_ms"] < 20, "the stop waits for no countdown"
        await world.until_said(trade_id, "protected")
        await world.clock.sleep(10.0)
        assert world.exchange.countdowns == [ARMED, OFF]
        assert {Purpose.TARGET_1, Purpose.TARGET_2} <= resting(world)
        assert world.covered()
        await world.operator("flatten")
        await world.ends_properly(trade_id)

    simulate(story, rules=with_rules(entry={"dead_man": True}), volume=Decimal(500))


def test_filled_while_the_trader_was_dead_its_targets_outlive_the_old_countdown() -> None:
    async def story(world: World) -> None:
        trade_id = await rests(world)
        await world.kill_trader()
        world.path = [(0, Decimal(84_900)), (world.clock.monotonic() + 1_000, Decimal(84_900))]
        await world.clock.sleep(0.5)
        assert world.position() > 0
        await world.start_trader()
        await world.until_said(trade_id, "protected")
        await world.clock.sleep(5.0)
        assert {Purpose.TARGET_1, Purpose.TARGET_2} <= resting(world)
        await world.operator("flatten")
        await world.ends_properly(trade_id)

    simulate(story, rules=with_rules(entry={"dead_man": True}), volume=Decimal(500))


def test_calling_it_off_leaves_before_the_first_stop() -> None:
    stop: Command = Place(StopOrder("s", BTC, Side.SELL, Decimal(84_600), Decimal("0.1")))
    off, armed = ArmCountdown(BTC, 0), ArmCountdown(BTC, 3_000)
    assert by_urgency([armed, stop, off]) == [off, stop, armed]
