"""Execution scenarios ES-50 to ES-54: the trader dies between any two steps and comes back.

Each is a row of docs/execution-scenarios.md. Death here is sudden and exact: as it is about to write the named note, with all
it had not yet written lost and what was on the wire arriving.
"""

import asyncio
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from scenario_market import purpose_of
from scenario_world import ScenarioWorld, Story, scenario, under_every_policy
from simulation.world import BLOCKS

from app.domain.instrument import Side
from app.domain.plan import Purpose
from app.simulator.venue_types import ReduceOnlyPolicy, Status

NEAR_BLOCK = {"ob_top": 85_060, "ob_bottom": 84_900}  # the maker order rests in its middle, at 84 980
COVER_S = 2.0
DEAD_S = 2.0
TRAIL = Decimal(85_450)
Step = tuple[str, Mapping[str, Any]]
STEPS: Mapping[str, tuple[Step, ...]] = {  # the notes before which it dies
    "planned": (("planned", {}), ("order_sent", {})),
    "filled": (("order_acknowledged", {"purpose": "i"}), ("fill", {"purpose": "i", "leg": 0})),
    "entered": (("entered", {}), ("order_acknowledged", {"purpose": "s"})),
    "covered": (("covered", {"leg": 0}), ("protected", {})),
    "hedging": (("order_acknowledged", {"purpose": "b"}), ("order_acknowledged", {"purpose": "m", "leg": 1})),
    "hedged": (("fill", {"leg": 1}), ("covered", {"leg": 1})),
    "first target": (("fill", {"purpose": "t1"}), ("break_even", {})),
    "second target": (("order_acknowledged", {"purpose": "r"}), ("fill", {"purpose": "t2"})),
    "runner": (("trailed", {}), ("exit", {})),
}
ENDS = {"planned": "not_filled", "order_sent": "not_filled"}  # every other runs through both targets to the trailed stop


async def the_markets_course(world: ScenarioWorld, trade_id: str) -> None:
    """Through both targets, a bar that trails the stop, and back through everything. While the trader is dead the market
    finishes its stride and waits: what is left of its course is for the next life."""
    await world.until("the hedges or an end", lambda: len(world.positions()) == 3 or not world.is_up)
    await goes(world, 85_250, 85_450, 85_700)
    await world.until("a trader", lambda: world.is_up)
    await world.next_bar(TRAIL, Side.BUY)
    await world.until("the trail or an end", lambda: {*triggers(world)} == {TRAIL} or world.is_closed(trade_id))
    await goes(world, 85_650, 84_000)


def triggers(world: ScenarioWorld) -> list[Decimal]:
    """Where the exchange has working stops."""
    return [stop.trigger_price for stop in world.stops()]


async def goes(world: ScenarioWorld, *prices: int) -> None:
    for price in prices:
        await world.until("a trader", lambda: world.is_up)
        await world.go(price)


async def restarts(world: ScenarioWorld) -> None:
    """Within two seconds everything that is open is covered, and nothing is bought on."""
    bought = world.entries()
    await world.start_trader()
    await world.until("cover for everything", world.all_covered, COVER_S)
    assert world.entries() == bought


def dying_at(kind: str, facts: Mapping[str, Any]) -> Story:
    async def story(directory: Path, policy: ReduceOnlyPolicy) -> None:
        async with scenario(directory, policy, follow=0.0) as world:
            world.dies_at(kind, facts)
            trade_id = await world.alert(**BLOCKS[Side.BUY])
            course = asyncio.create_task(the_markets_course(world, trade_id))
            try:
                await world.dead()
                await world.pass_time(DEAD_S)
                bought, held = world.entries(), world.position()
                await restarts(world)
                assert world.position() == held, "the next life manages on what the last one left"
                await course
                await world.ends_properly(trade_id, ENDS.get(kind, "trailing_stop"))
                assert world.entries() == bought
                assert world.notes(trade_id, "recovered")
            finally:
                course.cancel()

    return story


@pytest.mark.parametrize("phase", STEPS)
async def test_es50_restart_between_any_two_steps(tmp_path: Path, phase: str) -> None:
    """Most of the time is the new life's patience with what may still arrive."""
    await under_every_policy(tmp_path, *(dying_at(kind, facts) for kind, facts in STEPS[phase]))


async def test_es51_entry_on_the_wire_when_it_died(tmp_path: Path) -> None:
    """It reaches the exchange after the next life has looked; it is found in the book and removed."""
    late = {"kind": "request-delay", "client_id": "-0-m-", "ms": 3_000}
    async with scenario(tmp_path, recv_window_ms=4_000, faults=[late]) as world:
        trade_id = await world.alert(**NEAR_BLOCK)
        await world.until("the order on its way", lambda: bool(world.sent))
        await world.until("its request at the exchange", lambda: world.simulator.runtime.in_flight > 0)
        await world.kill_trader(drain=False)
        await world.start_trader()
        assert not world.entries()
        await world.until("its arrival", lambda: bool(world.entries()))
        stored = await world.ends_properly(trade_id)
        assert not stored.fills
        (order,) = world.venue.all_orders("BTCUSDT")
        assert order.status is Status.CANCELED


async def test_es52_closed_by_a_hand_while_it_was_dead(tmp_path: Path) -> None:
    async def story(directory: Path, policy: ReduceOnlyPolicy) -> None:
        async with scenario(directory, policy) as world:
            trade_id = await world.enters()
            await world.kill_trader()
            await world.by_hand("BTCUSDT", Side.SELL, world.position())
            await world.pass_time(DEAD_S)
            await restarts(world)
            await world.ends_properly(trade_id, "closed_externally")

    await under_every_policy(tmp_path, story)


async def test_es53_stop_triggered_while_it_was_dead(tmp_path: Path) -> None:
    """Closed by the stop, or by the backstop where resting targets stand in the stop's way."""

    async def story(directory: Path, policy: ReduceOnlyPolicy) -> None:
        async with scenario(directory, policy) as world:
            trade_id = await world.enters()
            price = world.level(trade_id, -1.6)
            await world.kill_trader()
            await world.go(price)
            assert world.position() == 0
            await world.pass_time(DEAD_S)
            await restarts(world)
            stored = await world.ends_properly(trade_id)
            assert stored.closed is not None
            assert stored.closed.net_r < 0
            closing = (fill for fill in stored.fills if fill.symbol == "BTCUSDT" and fill.side is Side.SELL)
            by_backstop = Purpose.BACKSTOP in {purpose_of(fill.client_id) for fill in closing}
            assert by_backstop is (policy is not ReduceOnlyPolicy.PRIORITY)

    await under_every_policy(tmp_path, story)


async def test_es54_past_its_time_when_it_comes_back(tmp_path: Path) -> None:
    async with scenario(tmp_path) as world:
        trade_id = await world.enters()
        await world.kill_trader()
        await world.pass_time(1_900)
        await restarts(world)
        await world.ends_properly(trade_id, "time_limit")
