"""triple_alpha under virtual time: several trades at once, each its own, through restarts and opposite alerts."""

from decimal import Decimal
from typing import Any

import pytest
from simulation.world import PRICES, World, simulate

from app.domain.rules import TradingMode, TradingRules

TRIPLE = TradingRules(mode=TradingMode.TRIPLE_ALPHA)
SIDES = {"BTCUSDT": "BUY", "ETHUSDT": "SELL", "SOLUSDT": "BUY"}


async def opens(world: World, symbol: str, side: str, **fields: Any) -> str:
    trade_id = await world.alert(symbol=symbol, side=side, **fields)
    await world.until_said(trade_id, "protected")
    return trade_id


async def opens_all(world: World) -> dict[str, str]:
    """At one moment, as three charts do whose bars close together."""
    ids = {symbol: await world.alert(symbol=symbol, side=side) for symbol, side in SIDES.items()}
    for trade_id in ids.values():
        await world.until_said(trade_id, "protected")
    await world.clock.sleep(1.0)
    return ids


async def holds(world: World, symbol: str, trade_id: str) -> bool:
    """The exchange's position is the sum of the trade's journalled fills (I3), and a stop covers all of it."""
    journalled = await world.journal.net_quantities([trade_id])
    return world.position(symbol) != 0 and journalled == {symbol: world.position(symbol)} and world.covered(symbol)


def test_three_trades_live_at_once_and_each_ends_by_its_own_rules() -> None:
    async def story(world: World) -> None:
        ids = await opens_all(world)
        assert all([await holds(world, symbol, trade_id) for symbol, trade_id in ids.items()])
        assert [world.position(symbol) > 0 for symbol in SIDES] == [True, False, True]
        for trade_id in ids.values():
            assert (await world.stored(trade_id)).plan.hedges == ()
        for trade_id in ids.values():
            assert (await world.until_closed(trade_id)).closed is not None
        for trade_id in ids.values():
            await world.ends_properly(trade_id)

    simulate(story, rules=TRIPLE, correlation=0.5)


@pytest.mark.parametrize("after_s", [0.2, 3.0, 90.0])
def test_killed_with_three_trades_open_all_are_taken_up_and_covered(after_s: float) -> None:
    async def story(world: World) -> None:
        ids = await opens_all(world)
        held = {symbol: world.position(symbol) for symbol in PRICES}
        await world.restart_trader(after_s)
        await world.clock.sleep(2.0)
        assert {symbol: world.position(symbol) for symbol in PRICES} == held
        assert all([await holds(world, symbol, trade_id) for symbol, trade_id in ids.items()])
        again = await world.alert(symbol="ETHUSDT", side="SELL", id="again")
        reply = await world.reply(again)
        assert reply is not None
        assert reply["code"] == "already_in_trade"
        for trade_id in ids.values():
            await world.until_closed(trade_id)
        for trade_id in ids.values():
            await world.ends_properly(trade_id)

    simulate(story, rules=TRIPLE, correlation=0.5)


@pytest.mark.parametrize("step", ["planned", "order_sent", "fill", "entered"])
def test_killed_while_three_are_being_opened(step: str) -> None:
    async def story(world: World) -> None:
        ids = {symbol: await world.alert(symbol=symbol, side=side) for symbol, side in SIDES.items()}
        await world.until_said(ids["ETHUSDT"], step)
        await world.restart_trader(0.5)
        await world.clock.sleep(2.0)
        assert all(world.covered(symbol) for symbol in PRICES)
        await world.operator("flatten")
        for trade_id in ids.values():
            if trade_id in world.store.plans:
                await world.ends_properly(trade_id)

    simulate(story, rules=TRIPLE, correlation=0.5)


def test_an_opposite_alert_ends_the_trade_on_its_own_symbol_only() -> None:
    async def story(world: World) -> None:
        ids = await opens_all(world)
        closing = await world.alert(symbol="ETHUSDT", side="BUY")
        reply = await world.reply(closing)
        assert reply is not None
        assert (reply["status"], reply["closes"]) == ("closing opposite trade", ids["ETHUSDT"])
        await world.until_closed(ids["ETHUSDT"])
        assert world.position("ETHUSDT") == 0
        assert await holds(world, "BTCUSDT", ids["BTCUSDT"])
        assert await holds(world, "SOLUSDT", ids["SOLUSDT"])
        await world.operator("flatten")
        for trade_id in ids.values():
            await world.ends_properly(trade_id)

    simulate(story, rules=TRIPLE, correlation=0.5)


def test_what_moves_together_is_not_opened_twice() -> None:
    async def story(world: World) -> None:
        first = await opens(world, "ETHUSDT", "BUY")
        replies = [await world.reply(await world.alert(symbol=s, side="BUY")) for s in ("SOLUSDT", "BTCUSDT")]
        assert [reply and reply["code"] for reply in replies] == ["correlated_position"] * 2
        await world.operator("flatten")
        await world.ends_properly(first)
        second = await opens(world, "BTCUSDT", "SELL", id="later")
        await world.operator("flatten")
        await world.ends_properly(second)

    simulate(story, rules=TRIPLE, correlation=0.9)


def test_trades_of_one_moment_do_not_spend_the_same_margin() -> None:
    """At leverage 1 the first takes most of the balance; its margin counts although the last reading does not show it yet."""

    async def story(world: World) -> None:
        ids = {symbol: await world.alert(symbol=symbol, side=side) for symbol, side in SIDES.items()}
        await world.until_said(ids["BTCUSDT"], "protected")
        await world.clock.sleep(2.0)
        plans = [(await world.stored(trade_id)).plan for trade_id in ids.values() if trade_id in world.store.plans]
        assert sum((plan.margin for plan in plans), Decimal(0)) <= Decimal(10_000)
        assert not any(world.notes(plan.trade_id, "not_entered") for plan in plans)
        await world.operator("flatten")
        for plan in plans:
            await world.ends_properly(plan.trade_id)

    sizing = TRIPLE.sizing.model_copy(update={"leverage": 1})
    simulate(story, rules=TRIPLE.model_copy(update={"sizing": sizing}), correlation=0.5)
