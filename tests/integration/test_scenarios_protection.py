"""Execution scenarios ES-13 to ES-32: stops, targets and exits that are refused, unanswered, rejected, stuck or orphaned.

Each is a row of docs/execution-scenarios.md.
"""

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from scenario_market import purpose_of
from scenario_world import POLICIES, ScenarioWorld, scenario, under_every_policy
from simulation.world import BLOCKS, with_rules

from app.domain.instrument import Side
from app.domain.orders import StopOrder
from app.domain.plan import Purpose
from app.domain.rules import EntryStyle
from app.simulator.venue_types import AlgoStatus, OrderType, ReduceOnlyPolicy

STOPPED = {  # how a trade ends whose initial stop triggers beside resting targets
    ReduceOnlyPolicy.PRIORITY: "stop",
    ReduceOnlyPolicy.REJECT: "stop_rejected",
    ReduceOnlyPolicy.SHRINK: "stop_fell_short",
}
IOC = with_rules(entry={"style": EntryStyle.IOC, "maker_wait_ms": 60})


def refuse(client_id: str, code: int, **more: Any) -> dict[str, Any]:
    return {"kind": "refuse", "client_id": client_id, "operation": more.pop("operation", "place_order"), "code": code, **more}


def main_algos(world: ScenarioWorld, purpose: Purpose) -> list[Any]:
    """Every conditional order of this purpose the exchange ever took on BTC."""
    return [algo for algo in world.venue.all_algos("BTCUSDT") if purpose_of(algo.client_id) is purpose]


async def flat_within(world: ScenarioWorld, seconds: float) -> None:
    await world.until("a flat position", lambda: world.position() == 0, seconds)


# -- refused ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", POLICIES)
async def test_es13_stop_already_crossed(tmp_path: Path, policy: ReduceOnlyPolicy) -> None:
    """-2021: no stop can help any more."""
    fault = refuse("-0-s-", -2021, operation="place_algo", nth=1)
    async with scenario(tmp_path, policy, faults=[fault]) as world:
        trade_id = await world.alert(**BLOCKS[Side.BUY])
        await world.until("a position", lambda: world.position() > 0)
        await flat_within(world, 1.0)
        await world.ends_properly(trade_id, "stop_crossed")


@pytest.mark.parametrize("policy", POLICIES)
async def test_es14_market_exit_refused_as_reduce_only(tmp_path: Path, policy: ReduceOnlyPolicy) -> None:
    """-2022: the targets make way, and it is sent again."""
    async with scenario(tmp_path, policy) as world:
        trade_id = await world.enters()
        await world.break_with(refuse("-0-x-", -2022, nth=1))
        stored = await world.flattened(trade_id)
        assert await world.struck() == [1]
        targets = [order for order in stored.orders if (p := purpose_of(order.client_id)) and p.is_target]
        assert {order.executed for order in targets} == {Decimal(0)}
        assert len(world.sent_ids(trade_id, Purpose.EXIT)) >= 2


@pytest.mark.parametrize("policy", POLICIES)
async def test_es15_market_exit_refused_beside_targets(tmp_path: Path, policy: ReduceOnlyPolicy) -> None:
    """-4118: the same."""
    async with scenario(tmp_path, policy) as world:
        trade_id = await world.enters()
        await world.break_with(refuse("-0-x-", -4118, nth=[1, 2]))
        await world.flattened(trade_id)
        assert await world.struck() == [2]


@pytest.mark.parametrize("policy", POLICIES)
async def test_es16_target_refused_while_a_hand_uses_up_the_position(tmp_path: Path, policy: ReduceOnlyPolicy) -> None:
    """-4118 from the exchange itself: a reduce-only order of somebody else is in the way, and later gone."""
    late = {"kind": "request-delay", "client_id": "-0-t", "ms": 120}
    async with scenario(tmp_path, policy, faults=[late], follow=0.0) as world:
        trade_id = await world.alert(**BLOCKS[Side.BUY])
        await world.until("a position", lambda: world.position() > 0)
        by_hand = world.venue.place_order(
            "BTCUSDT", Side.SELL, OrderType.LIMIT, world.position(), price=Decimal(86_500), reduce_only=True, client_id="web_1"
        )
        await world.until_said(trade_id, "order_failed", failure="reduce_only")
        world.venue.cancel_order("BTCUSDT", order_id=by_hand.order_id)
        targets = (Purpose.TARGET_1, Purpose.TARGET_2)
        await world.until(
            "both targets", lambda: {purpose_of(o.client_id) for o in world.venue.open_orders("BTCUSDT")} == {*targets}
        )
        assert world.covered()
        await world.go_r(trade_id, 1.1)
        await world.until_said(trade_id, "break_even")
        await world.flattened(trade_id)


async def test_es17_backstop_there_already(tmp_path: Path) -> None:
    """-4130: a hand has placed a closePosition stop of its own. The working stop stands alone; hedges are covered by quantity."""
    late = {"kind": "request-delay", "client_id": "-0-b-|-1-s-", "ms": 120}
    async with scenario(tmp_path, rules=IOC, faults=[late], follow=0.0) as world:
        trade_id = await world.alert(**BLOCKS[Side.BUY])
        for symbol, side, trigger in (("BTCUSDT", Side.SELL, 84_000), ("ETHUSDT", Side.BUY, 1_900)):
            await world.until(f"a position in {symbol}", lambda symbol=symbol: world.position(symbol) != 0)  # type: ignore[misc]
            world.venue.place_algo(
                symbol, side, OrderType.STOP_MARKET, Decimal(trigger), close_position=True, client_id=f"web_{symbol}"
            )
        await world.until_said(trade_id, "backstop_given_up")
        await world.until_said(trade_id, "covered", leg=1)
        assert world.all_covered()
        assert [stop.close_position for stop in world.stops("ETHUSDT")] == [False]
        assert not world.has_backstop()
        await world.go_r(trade_id, -1.2)
        await world.ends_properly(trade_id, "stop")


async def test_es18_position_not_seen_by_the_algo_service(tmp_path: Path) -> None:
    """-4509 for 700 ms after each fill: the backstop comes later, a hedge is covered by quantity meanwhile."""
    late = {"kind": "late-4509", "ms": 700}
    async with scenario(tmp_path, rules=IOC, faults=[late], follow=0.0) as world:
        trade_id = await world.enters()
        assert (await world.struck())[0] > 1
        assert world.has_backstop()
        assert world.all_covered()
        assert {stop.close_position for symbol in ("ETHUSDT", "SOLUSDT") for stop in world.stops(symbol)} == {False}
        await world.flattened(trade_id)


# -- unanswered ------------------------------------------------------------------------------------------------------

PURPOSES = (("m",), ("i",), ("s", "t1", "t2", "b", "x"))


async def through_unclear_answers(directory: Path, kind: str, *, executed: bool) -> None:
    """Side by side: the maker order, the IOC, and the first order of each later purpose."""
    async with asyncio.TaskGroup() as group:
        for purposes in PURPOSES:
            group.create_task(unclear(directory / purposes[0], kind, purposes, executed=executed))


async def unclear(directory: Path, kind: str, purposes: Sequence[str], *, executed: bool) -> None:
    """The first order of each of these purposes gets no clear answer; nothing is bought twice, nothing stays open."""
    faults = [{"kind": kind, "operation": operation_of(p), "client_id": f"-0-{p}-", "nth": 1} for p in purposes]
    # an escalation begins at one second sharp, and a look at the position may fall between: the journal's figures decide
    async with scenario(directory, faults=faults, watched=False, follow=0.0) as world:
        trade_id = await world.alert(**BLOCKS[Side.BUY])
        await world.until_said(trade_id, "protected")
        await world.until("the backstop", world.has_backstop)
        assert world.position() == world.plans[trade_id].quantity
        assert world.covered()
        await world.go_r(trade_id, 1.1)
        await world.until_said(trade_id, "break_even")
        await world.flattened(trade_id)
        assert await world.struck() == [1] * len(faults)
        for purpose in purposes if executed else ():
            placed = [name for name in world.taken() if f"-0-{purpose}-" in name]
            assert len(placed) == 1 or purpose == "s", placed  # the stop is moved after the target


def operation_of(purpose: str) -> str:
    return "place_algo" if purpose in ("s", "b") else "place_order"


async def test_es19_timeout_not_executed(tmp_path: Path) -> None:
    await through_unclear_answers(tmp_path, "1007-timeout", executed=False)


async def test_es20_timeout_executed(tmp_path: Path) -> None:
    await through_unclear_answers(tmp_path, "1007-timeout-executed", executed=True)


async def test_es21_503_not_executed(tmp_path: Path) -> None:
    await through_unclear_answers(tmp_path, "503-unknown", executed=False)


async def test_es22_503_executed(tmp_path: Path) -> None:
    await through_unclear_answers(tmp_path, "503-unknown-executed", executed=True)


async def test_es23_503_unavailable(tmp_path: Path) -> None:
    await through_unclear_answers(tmp_path, "503-unavailable", executed=False)


async def test_es24_no_stop_taken_at_all(tmp_path: Path) -> None:
    """By two and a half seconds it is closed at market."""
    fault = {"kind": "503-unavailable", "client_id": "-0-[sb]-", "operation": "place_algo"}

    async def story(directory: Path, policy: ReduceOnlyPolicy) -> None:
        async with scenario(directory, policy, faults=[fault], watched=False, follow=0.0) as world:
            trade_id = await world.alert(**BLOCKS[Side.BUY])
            await world.until("a position", lambda: world.position() > 0)
            await flat_within(world, 3.0)
            await world.ends_properly(trade_id, "not_protected")

    await under_every_policy(tmp_path, story)


# -- at the trigger --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("side", list(Side))
async def test_es25_stop_triggers_beside_targets(tmp_path: Path, side: Side, policy: ReduceOnlyPolicy) -> None:
    async with scenario(tmp_path, policy) as world:
        trade_id = await world.enters(side)
        await world.go_r(trade_id, -1.05)
        await flat_within(world, 2.0)
        stored = await world.ends_properly(trade_id, STOPPED[policy])
        assert stored.closed is not None
        assert stored.closed.net_r < 0


@pytest.mark.parametrize("policy", POLICIES)
async def test_es26_stop_rejected_at_the_trigger(tmp_path: Path, policy: ReduceOnlyPolicy) -> None:
    async with scenario(tmp_path, policy) as world:
        trade_id = await world.enters()
        await world.break_with({"kind": "algo-reject", "client_id": "-0-s-"})
        await world.go_r(trade_id, -1.05)
        await flat_within(world, 1.0)
        await world.ends_properly(trade_id, "stop_rejected")
        assert [algo.status for algo in main_algos(world, Purpose.STOP)] == [AlgoStatus.REJECTED]


async def test_es27_stop_stuck_in_triggering(tmp_path: Path) -> None:
    """Two seconds are its due; then the market exit does its work. Later the stuck one finds nothing to close."""

    async def story(directory: Path, policy: ReduceOnlyPolicy) -> None:
        async with scenario(directory, policy, watched=False, follow=0.0) as world:
            trade_id = await world.enters()
            await world.break_with({"kind": "algo-stuck", "client_id": "-0-s-", "ms": 4_000})
            await world.go_r(trade_id, -1.05)
            assert world.position() > 0
            await flat_within(world, 3.0)
            stored = await world.ends_properly(trade_id, "stop_stuck")
            (stop,) = (order for order in stored.orders if "-0-s-" in order.client_id)
            assert stop.executed == 0

    await under_every_policy(tmp_path, story)


async def test_es28_backstop_closes_where_the_stop_is_stuck(tmp_path: Path) -> None:
    async with scenario(tmp_path, watched=False) as world:
        trade_id = await world.enters()
        await world.break_with({"kind": "algo-stuck", "client_id": "-0-s-", "ms": 1_500})
        world.move(world.level(trade_id, -2.0))
        assert world.position() == 0
        stored = await world.ends_properly(trade_id)
        assert any(purpose_of(fill.client_id) is Purpose.BACKSTOP for fill in stored.fills)


# -- orphans ---------------------------------------------------------------------------------------------------------


async def test_es29_stop_arrives_after_the_position_is_gone(tmp_path: Path) -> None:
    late = {"kind": "request-delay", "client_id": "-0-s-", "operation": "place_algo", "nth": 1, "ms": 800}
    async with scenario(tmp_path, rules=IOC, faults=[late], follow=0.0) as world:
        trade_id = await world.alert(**BLOCKS[Side.BUY])
        await world.until("a position", lambda: world.position() > 0)
        await world.flattened(trade_id)
        (orphan,) = main_algos(world, Purpose.STOP)
        assert orphan.status is AlgoStatus.CANCELED


@pytest.mark.parametrize("policy", POLICIES)
async def test_es30_orders_left_by_a_position_that_is_gone(tmp_path: Path, policy: ReduceOnlyPolicy) -> None:
    """A quantity stop and targets do not go away by themselves when a hand closes the position."""
    async with scenario(tmp_path, policy) as world:
        trade_id = await world.enters()
        await world.by_hand("BTCUSDT", Side.SELL, world.position())
        assert world.stops()
        await world.ends_properly(trade_id, "closed_externally")
        assert not world.open_ids()


async def test_es31_order_placed_but_unknown_to_queries(tmp_path: Path) -> None:
    """The first stop works but is not listed, and its answer is lost: one stop too many for a while, none in the end."""
    faults = [
        {"kind": "algo-lag", "client_id": "-0-s-", "operation": "place_algo", "nth": 1, "ms": 900},
        {"kind": "503-unknown-executed", "client_id": "-0-s-", "operation": "place_algo", "nth": 1},
        {"kind": "event-drop", "event": "ALGO_UPDATE", "client_id": "-0-s-", "nth": 1},
    ]
    async with scenario(tmp_path, rules=IOC, faults=faults, watched=False, follow=0.0) as world:
        trade_id = await world.enters()
        await world.until("one stop alone", lambda: len(world.stops()) == 1 and world.covered())
        await world.flattened(trade_id)
        assert (await world.struck())[:2] == [1, 1]


async def test_es32_stop_cancelled_by_a_hand(tmp_path: Path) -> None:
    async with scenario(tmp_path) as world:
        trade_id = await world.enters()
        world.venue.cancel_all_algos("BTCUSDT")
        world.simulator.runtime.publish()
        await world.until("the stop put back", world.covered, 1.0)
        await world.until("the backstop put back", world.has_backstop, 1.0)
        await world.flattened(trade_id)
        assert all(isinstance(order, StopOrder) for order in world.sent if purpose_of(order.client_id) is Purpose.STOP)
