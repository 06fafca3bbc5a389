"""Flow and structure in a trade under way: a hurried entry, and the exit when the character of the market changes."""

import pytest
from simulation.world import BLOCKS, World, simulate, with_rules

from app.domain.instrument import Side
from app.domain.market import ChangeOfCharacter, FlowReading, StructureReading
from app.domain.orders import LimitOrder
from app.domain.plan import OrderName, Purpose
from app.domain.structure_rules import ChochExit
from app.storage.port import StoredTrade

NEAR_BLOCK = {"ob_top": 85_060, "ob_bottom": 84_900}  # the maker order rests in its middle, at 84 980


def flow(world: World, delta: float) -> FlowReading:
    return FlowReading("BTCUSDT", 0.0, delta, delta, delta, 0.0, 10.0, world.clock.wall_ms())


def structure(world: World, choch: ChangeOfCharacter | None, *, swing: bool = False) -> StructureReading:
    """After the bar that has just closed."""
    interval = world.rules.timeframe_ms
    open_ms = world.clock.wall_ms() // interval * interval - interval
    internal, of_swing = (None, choch) if swing else (choch, None)
    return StructureReading("BTCUSDT", interval, open_ms, 85_000.0, 0, 0, None, None, (), internal, of_swing)


def against(world: World, side: Side) -> ChangeOfCharacter:
    return ChangeOfCharacter(-side.sign, world.clock.wall_ms())


def purposes(world: World) -> list[Purpose]:
    names = [OrderName.parse(order.client_id) for order in world.placed if isinstance(order, LimitOrder)]
    return [name.purpose for name in names if name is not None and name.leg == 0 and name.purpose.is_entry]


async def ended(world: World, trade_id: str) -> StoredTrade:
    await world.operator("flatten")
    return await world.ends_properly(trade_id)


@pytest.mark.parametrize("side", list(Side))
def test_strong_flow_at_the_alert_takes_at_once(side: Side) -> None:
    async def story(world: World) -> None:
        await world.tell(flow(world, side.sign * 25.0))
        trade_id = await world.enters(side)
        assert purposes(world) == [Purpose.TAKER]
        stored = await ended(world, trade_id)
        assert stored.plan.hurried

    simulate(story)


def test_without_the_setting_the_maker_waits() -> None:
    async def story(world: World) -> None:
        await world.tell(flow(world, 25.0))
        trade_id = await world.enters(block=False, **NEAR_BLOCK)
        assert purposes(world) == [Purpose.MAKER, Purpose.TAKER]
        assert not (await ended(world, trade_id)).plan.hurried

    simulate(story, rules=with_rules(flow={"hurries_entry": False}))


@pytest.mark.parametrize(("delta", "shortened"), [(25.0, True), (15.0, False), (-25.0, False)])
def test_flow_that_grows_strong_while_the_maker_rests_ends_its_wait(delta: float, shortened: bool) -> None:
    async def story(world: World) -> None:
        trade_id = await world.alert(**NEAR_BLOCK)
        await world.clock.sleep(0.25)
        assert purposes(world) == [Purpose.MAKER]
        await world.tell(flow(world, delta))
        await world.until_said(trade_id, "protected")
        assert purposes(world) == [Purpose.MAKER, Purpose.TAKER]
        entered = world.notes(trade_id, "entry_closed")[0].data["since_alert_ms"]
        assert (entered < 500) is shortened
        assert bool(world.notes(trade_id, "entry_hurried")) is shortened
        await ended(world, trade_id)

    simulate(story)


@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize("layer", [ChochExit.INTERNAL, ChochExit.SWING])
def test_an_opposite_change_of_character_closes_trade_and_hedges(side: Side, layer: ChochExit) -> None:
    async def story(world: World) -> None:
        trade_id = await world.enters(side)
        await world.until_said(trade_id, "covered", leg=1)
        await world.clock.sleep(30)
        assert world.position("ETHUSDT") != 0
        other = layer is ChochExit.INTERNAL
        await world.tell(structure(world, against(world, side), swing=other))  # of the layer not asked for
        await world.tell(structure(world, ChangeOfCharacter(side.sign, world.clock.wall_ms()), swing=not other))  # our way
        await world.clock.sleep(1)
        assert trade_id not in world.store.closings
        await world.tell(structure(world, against(world, side), swing=not other))
        stored = await world.ends_properly(trade_id)
        assert stored.closed is not None
        assert stored.closed.reason == "choch"
        assert all(world.position(symbol) == 0 for symbol in ("BTCUSDT", "ETHUSDT", "SOLUSDT"))

    simulate(story, rules=with_rules(structure={"choch_exit": layer}))


def test_a_change_from_before_the_trade_or_with_the_exit_off_is_none() -> None:
    async def old(world: World) -> None:
        before = structure(world, against(world, Side.BUY))
        await world.clock.sleep(5)
        trade_id = await world.enters()
        await world.tell(before)
        await world.clock.sleep(2)
        assert (await ended(world, trade_id)).closed is not None
        assert world.notes(trade_id, "exit")[0].data["reason"] == "operator"

    async def off(world: World) -> None:
        trade_id = await world.enters()
        await world.tell(structure(world, against(world, Side.BUY)))
        await world.clock.sleep(2)
        await ended(world, trade_id)
        assert world.notes(trade_id, "exit")[0].data["reason"] == "operator"

    simulate(old)
    simulate(off, rules=with_rules(structure={"choch_exit": ChochExit.OFF}))


def test_a_change_while_the_trader_was_down_counts_with_the_next_bar() -> None:
    async def story(world: World) -> None:
        trade_id = await world.enters()
        await world.clock.sleep(10)
        turned = against(world, Side.BUY)
        await world.kill_trader()
        await world.tell(structure(world, turned))
        await world.clock.sleep(2)
        await world.start_trader()
        await world.clock.sleep(180)
        await world.tell(structure(world, turned))
        stored = await world.ends_properly(trade_id)
        assert stored.closed is not None
        assert stored.closed.reason == "choch"

    simulate(story)


def test_a_change_before_the_entry_has_filled_buys_nothing_more() -> None:
    async def story(world: World) -> None:
        trade_id = await world.alert(**BLOCKS[Side.BUY])
        await world.clock.sleep(0.2)
        await world.tell(structure(world, against(world, Side.BUY)))
        stored = await world.ends_properly(trade_id)
        assert stored.closed is not None
        assert stored.closed.reason == "choch"
        assert not stored.fills

    simulate(story)
