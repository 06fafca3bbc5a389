"""Execution scenarios ES-01 to ES-12: entering, filling in parts, and what Binance refuses on the way in.

Each is a row of docs/execution-scenarios.md.
"""

from decimal import Decimal
from pathlib import Path

import pytest
from scenario_market import purpose_of
from scenario_world import POLICIES, ScenarioWorld, scenario
from simulation.world import BLOCKS, with_rules

from app.domain.instrument import Side
from app.domain.orders import LimitOrder, TimeInForce
from app.domain.plan import OrderName, Purpose
from app.domain.rules import EntryStyle
from app.simulator.venue_types import OrderType, ReduceOnlyPolicy, Tif
from app.storage.port import StoredTrade

NEAR_BLOCK = {"ob_top": 85_060, "ob_bottom": 84_900}  # the maker order rests in its middle, at 84 980
PATIENT = with_rules(entry={"maker_wait_ms": 400})
IOC = with_rules(entry={"style": EntryStyle.IOC, "maker_wait_ms": 400})
STOPPED = {  # how a trade ends whose stop triggers beside resting targets
    ReduceOnlyPolicy.PRIORITY: "break_even",
    ReduceOnlyPolicy.REJECT: "stop_rejected",
    ReduceOnlyPolicy.SHRINK: "stop_fell_short",
}


def filled(stored: StoredTrade, purpose: Purpose, leg: int = 0) -> Decimal:
    names = [(OrderName.parse(fill.client_id), fill) for fill in stored.fills]
    ours = (fill.quantity for name, fill in names if name and name.leg == leg and name.purpose is purpose)
    return sum(ours, Decimal(0))


def styles(world: ScenarioWorld) -> list[TimeInForce]:
    """Of the main leg's entry orders, in their sequence."""
    orders = (order for order in world.sent if isinstance(order, LimitOrder) and order.symbol == "BTCUSDT")
    return [order.time_in_force for order in orders if not order.reduce_only]


def planned(world: ScenarioWorld, trade_id: str) -> Decimal:
    return world.plans[trade_id].quantity


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("side", list(Side))
async def test_es01_happy_path(tmp_path: Path, side: Side, policy: ReduceOnlyPolicy) -> None:
    async with scenario(tmp_path, policy) as world:
        trade_id = await world.enters(side)
        assert world.all_covered()
        assert {"BTCUSDT", "ETHUSDT", "SOLUSDT"} == world.positions().keys()
        await world.go_r(trade_id, 1.1)
        await world.until_said(trade_id, "break_even")
        await world.go_r(trade_id, 1.6)
        await world.until_said(trade_id, "fill", purpose="t2")
        await world.next_bar(world.level(trade_id, 1.2), side)
        await world.until_said(trade_id, "trailed")
        await world.until("the trailed stop alone", lambda: len(world.stops()) == 1)
        await world.go_r(trade_id, 1.0)
        stored = await world.ends_properly(trade_id, "trailing_stop")
        assert stored.closed is not None
        assert stored.closed.gross > 0
        assert filled(stored, Purpose.TARGET_1) + filled(stored, Purpose.TARGET_2) + filled(stored, Purpose.STOP) == planned(
            world, trade_id
        )
        assert (await world.reply(trade_id))["status"] == "trade placed"


async def test_es02_maker_order_filled_in_part(tmp_path: Path) -> None:
    async with scenario(tmp_path, rules=PATIENT, volume=Decimal("0.02")) as world:
        trade_id = await world.alert(**NEAR_BLOCK)
        await world.until_said(trade_id, "order_acknowledged", purpose="m")
        await world.go(84_979)
        await world.until("cover of the first part", lambda: 0 < world.position() < planned(world, trade_id) and world.covered())
        await world.until_said(trade_id, "protected")
        assert styles(world) == [TimeInForce.GTX, TimeInForce.IOC]
        assert world.position() == planned(world, trade_id)
        assert len(world.sent_ids(trade_id, Purpose.STOP)) >= 2
        await world.until("one stop for the whole", lambda: [s.quantity for s in world.stops()] == [world.position()])
        stored = await world.flattened(trade_id)
        assert filled(stored, Purpose.MAKER) > 0
        assert filled(stored, Purpose.TAKER) > 0


async def test_es03_ioc_filled_in_part(tmp_path: Path) -> None:
    rules = with_rules(entry={"slippage_cap": Decimal(0), "maker_wait_ms": 60})
    async with scenario(tmp_path, balance=Decimal(20_000_000), rules=rules) as world:
        trade_id = await world.alert(**BLOCKS[Side.BUY])
        await world.until_said(trade_id, "protected")
        bought = world.position()
        assert 0 < bought < planned(world, trade_id)
        assert styles(world) == [TimeInForce.GTX, TimeInForce.IOC]
        assert [stop.quantity for stop in world.stops()] == [bought]
        stored = await world.flattened(trade_id)
        assert filled(stored, Purpose.TAKER) == bought, "what the IOC did not get is dropped"


@pytest.mark.parametrize("policy", POLICIES)
async def test_es04_first_target_filled_in_part(tmp_path: Path, policy: ReduceOnlyPolicy) -> None:
    async with scenario(tmp_path, policy, volume=Decimal("0.02"), follow=0.0) as world:
        trade_id = await world.enters()
        (target,) = (order for order in world.venue.open_orders("BTCUSDT") if purpose_of(order.client_id) is Purpose.TARGET_1)
        await world.go(target.price)
        await world.until("a part of the target", lambda: world.venue.order("BTCUSDT", order_id=target.order_id).executed > 0)
        await world.until("the smaller stop", lambda: [s.quantity for s in world.stops()] == [world.position()])
        assert world.venue.order("BTCUSDT", order_id=target.order_id).remaining > 0
        assert not world.notes(trade_id, "break_even")
        world.volume = Decimal(5)
        await world.go_r(trade_id, 1.1)
        await world.until_said(trade_id, "break_even")
        await world.until("the stop at break-even", lambda: [s.quantity for s in world.stops()] == [world.position()])
        await world.go_r(trade_id, -0.2)
        stored = await world.ends_properly(trade_id, STOPPED[policy])
        assert filled(stored, Purpose.TARGET_1) == target.quantity


@pytest.mark.parametrize("policy", POLICIES)
async def test_es05_second_target_filled_in_part(tmp_path: Path, policy: ReduceOnlyPolicy) -> None:
    async with scenario(tmp_path, policy, volume=Decimal("0.02"), follow=0.0) as world:
        trade_id = await world.enters()
        world.volume = Decimal(5)
        await world.go_r(trade_id, 1.1)
        await world.until_said(trade_id, "break_even")
        world.volume = Decimal("0.02")
        (target,) = (order for order in world.venue.open_orders("BTCUSDT") if purpose_of(order.client_id) is Purpose.TARGET_2)
        await world.go(target.price)
        await world.until("a part of the target", lambda: world.venue.order("BTCUSDT", order_id=target.order_id).executed > 0)
        await world.until("the smaller stop", lambda: [s.quantity for s in world.stops()] == [world.position()])
        assert world.venue.order("BTCUSDT", order_id=target.order_id).remaining > 0
        await world.go_r(trade_id, -0.2)
        stored = await world.ends_properly(trade_id, STOPPED[policy])
        assert 0 < filled(stored, Purpose.TARGET_2) < target.quantity


@pytest.mark.parametrize("policy", POLICIES)
async def test_es06_market_exit_beside_resting_targets(tmp_path: Path, policy: ReduceOnlyPolicy) -> None:
    """Filled whole, refused, or filled in part: the targets make way, the rest goes at once."""
    async with scenario(tmp_path, policy) as world:
        trade_id = await world.enters()
        assert len(world.venue.open_orders("BTCUSDT")) == 2
        stored = await world.flattened(trade_id)
        exits = [order for order in stored.orders if purpose_of(order.client_id) is Purpose.EXIT and order.symbol == "BTCUSDT"]
        match policy:
            case ReduceOnlyPolicy.PRIORITY:
                assert [order.executed for order in exits] == [planned(world, trade_id)]
            case ReduceOnlyPolicy.REJECT:
                assert world.notes(trade_id, "order_failed", failure="reduce_only")
            case ReduceOnlyPolicy.SHRINK:
                first, second = sorted(exits, key=lambda order: order.client_id)
                assert 0 < first.executed < planned(world, trade_id)
                assert first.executed + second.executed == planned(world, trade_id)


async def test_es07_hedge_filled_in_part_as_maker(tmp_path: Path) -> None:
    async with scenario(tmp_path, rules=IOC, volume=Decimal("0.001")) as world:
        trade_id = await world.alert(**BLOCKS[Side.BUY])
        await world.until_said(trade_id, "order_acknowledged", purpose="m", leg=1)
        await world.go(85_010)
        await world.until("both parts", lambda: bool(world.notes(trade_id, "fill", leg=1, purpose="i")))
        await world.until("cover for the whole", lambda: world.covered("ETHUSDT"))
        hedge = world.plans[trade_id].hedges[0]
        wanted = hedge.instrument.floor_quantity(min(planned(world, trade_id) * hedge.ratio, hedge.max_quantity))
        assert abs(world.position("ETHUSDT")) == wanted
        stored = await world.flattened(trade_id)
        assert filled(stored, Purpose.MAKER, leg=1) > 0
        assert filled(stored, Purpose.TAKER, leg=1) > 0


async def test_es08_post_only_refused_once(tmp_path: Path) -> None:
    """-5022: the price has fallen below the limit while it was on its way, of which the trader has heard. It is quoted again at
    the best bid, once."""
    late = {"kind": "request-delay", "client_id": "-0-m-0$", "ms": 600}
    without_hurry = with_rules(entry={"maker_wait_ms": 10_000})
    async with scenario(tmp_path, rules=without_hurry, faults=[late]) as world:
        trade_id = await world.alert(**NEAR_BLOCK)
        await world.until("the order on its way", lambda: bool(world.sent))
        world.move(Decimal(84_960))
        await world.until_said(trade_id, "order_failed", failure="post_only")
        await world.until_said(trade_id, "order_acknowledged", purpose="m")
        # it may be filled by now: the market goes on trading at that very price
        prices = [order.price for order in world.sent if isinstance(order, LimitOrder) and "-0-m-" in order.client_id]
        assert prices == [84_980, 84_960]
        await world.go(84_955)
        await world.until_said(trade_id, "protected")
        assert styles(world) == [TimeInForce.GTX, TimeInForce.GTX]
        await world.flattened(trade_id)


async def test_es09_post_only_refused_twice(tmp_path: Path) -> None:
    refusal = {"kind": "refuse", "code": -5022, "msg": "Post Only order will be rejected.", "client_id": "-0-m-"}
    async with scenario(tmp_path, faults=[refusal]) as world:
        trade_id = await world.enters()
        assert styles(world) == [TimeInForce.GTX, TimeInForce.GTX, TimeInForce.IOC]
        assert await world.struck() == [2]
        await world.flattened(trade_id)


async def test_es10_client_id_already_in_use(tmp_path: Path) -> None:
    """-4116: the very same order is there already, as after a doubled request. It is found, and nothing is bought twice."""
    late = {"kind": "request-delay", "client_id": "-0-m-0$", "ms": 150}
    async with scenario(tmp_path, rules=PATIENT, faults=[late]) as world:
        trade_id = await world.alert(**NEAR_BLOCK)
        await world.until("the order on its way", lambda: bool(world.sent))
        order = world.sent[0]
        assert isinstance(order, LimitOrder)
        world.venue.place_order(
            *(order.symbol, order.side, OrderType.LIMIT, order.quantity),
            price=order.price,
            time_in_force=Tif.GTX,
            client_id=order.client_id,
        )
        await world.until_said(trade_id, "order_acknowledged", purpose="m")
        assert await world.struck() == [1], "its own request came second"
        await world.go(84_979)
        await world.until_said(trade_id, "protected")
        assert world.position() == planned(world, trade_id)
        assert styles(world) == [TimeInForce.GTX]
        await world.flattened(trade_id)


async def test_es11_no_margin_for_the_entry(tmp_path: Path) -> None:
    refusal = {"kind": "refuse", "code": -2019, "msg": "Margin is insufficient.", "client_id": "-0-m-"}
    async with scenario(tmp_path, faults=[refusal]) as world:
        trade_id = await world.alert(**BLOCKS[Side.BUY])
        stored = await world.ends_properly(trade_id, "entry_refused")
        assert not stored.fills
        assert (await world.reply(trade_id))["success"] is False


async def test_es12_nothing_is_bought_once_the_price_ran(tmp_path: Path) -> None:
    async with scenario(tmp_path, rules=PATIENT) as world:
        trade_id = await world.alert(**BLOCKS[Side.BUY])
        await world.until_said(trade_id, "order_acknowledged", purpose="m")
        await world.go(85_150)  # 0.25 R is 100
        stored = await world.ends_properly(trade_id, "price_ran")
        assert not stored.fills
        assert (await world.reply(trade_id))["code"] == "price_ran"
