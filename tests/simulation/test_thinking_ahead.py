"""An alert planned while it is being made durable: the plan is used if it still holds, and alone it does nothing."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from decimal import Decimal

import pytest
from simulation.world import World, simulate, with_rules

from app.bus.codec import encode_envelope
from app.bus.envelopes import envelope_for
from app.bus.in_memory import InMemoryInbox
from app.bus.port import AlertEnvelope
from app.domain.risk.calendar import Calendar, HighImpactEvent
from app.domain.signal import Alert, parse_alert
from app.storage.port import StoredTrade
from app.trader.planner import GATHERED_HOLDS_S, HOLDS_S

MOVED = Decimal("85020.0")


async def an_alert(world: World, side: str = "BUY") -> AlertEnvelope:
    """To a trader that is prepared."""
    await world.until(lambda: world.server.thinking_ahead is not None)
    body = json.dumps({"symbol": "BTCUSDT", "side": side, "id": f"{side}-{world.clock.monotonic()}"}).encode()
    alert = parse_alert(body)
    assert isinstance(alert, Alert)
    return envelope_for(alert, body, world.clock.wall_ms(), world.clock.monotonic())


def hinted(world: World, envelope: AlertEnvelope) -> None:
    assert world.server.thinking_ahead is not None
    world.server.thinking_ahead(encode_envelope(envelope))


async def put_without_hint(world: World, envelope: AlertEnvelope) -> None:
    hear, world.server.thinking_ahead = world.server.thinking_ahead, None
    world.busy()
    await InMemoryInbox(world.server).put(envelope)
    world.server.thinking_ahead = hear


async def quoted(world: World, price: Decimal) -> None:
    """The trader has seen the market at this price."""
    world.path = [(0.0, price), (10_000.0, price)]
    world.busy()
    await world.until(lambda: world.venue.quote("BTCUSDT").ask >= price)
    await world.clock.sleep(0.01)


async def flattened(world: World, trade_id: str) -> StoredTrade:
    await world.until_said(trade_id, "protected")
    await world.operator("flatten")
    return await world.ends_properly(trade_id)


def test_the_plan_made_ahead_is_the_one_traded() -> None:
    async def story(world: World) -> None:
        envelope = await an_alert(world)
        before = world.venue.quote("BTCUSDT").ask
        hinted(world, envelope)
        await quoted(world, MOVED)
        await put_without_hint(world, envelope)
        stored = await flattened(world, envelope.alert_id)
        assert stored.plan.p0 == before

    simulate(story)


def test_after_a_while_it_is_planned_anew() -> None:
    async def story(world: World) -> None:
        envelope = await an_alert(world)
        hinted(world, envelope)
        await quoted(world, MOVED)
        await world.clock.sleep(HOLDS_S * 1.5)
        await put_without_hint(world, envelope)
        stored = await flattened(world, envelope.alert_id)
        assert stored.plan.p0 == world.venue.quote("BTCUSDT").ask

    simulate(story)


async def paused(world: World) -> None:
    await world.operator("pause")


async def owned(world: World) -> None:
    assert world.trader is not None
    world.trader.desk.claims["BTCUSDT"] = "another"


async def an_event_is_near(world: World) -> None:
    assert world.trader is not None
    world.trader.risk.calendar.current = Calendar((HighImpactEvent(world.clock.wall_ms(), "rates"),))


@pytest.mark.parametrize(
    ("happens", "code"), [(paused, "paused"), (owned, "symbol_owned"), (an_event_is_near, "high_impact_event")]
)
def test_what_has_happened_since_is_not_overlooked(happens: Callable[[World], Awaitable[None]], code: str) -> None:
    async def story(world: World) -> None:
        envelope = await an_alert(world)
        hinted(world, envelope)
        await happens(world)
        await put_without_hint(world, envelope)
        reply = await world.reply(envelope.alert_id)
        assert reply is not None
        assert reply["code"] == code
        assert world.placed == []

    simulate(story)


def test_it_is_planned_with_the_leverage_then_in_force() -> None:
    async def story(world: World) -> None:
        envelope = await an_alert(world)
        hinted(world, envelope)
        assert world.trader is not None
        world.trader._preparation.leverages["BTCUSDT"] = 3
        await put_without_hint(world, envelope)
        assert (await flattened(world, envelope.alert_id)).plan.leverage == 3

    simulate(story)


def test_a_hint_heard_late_does_not_make_its_alert_young() -> None:
    async def story(world: World) -> None:
        envelope = await an_alert(world)
        await put_without_hint(world, envelope)
        world.server.cut()
        await world.clock.sleep(2.0)
        world.server.restore()
        reply = None
        while reply is None:
            hinted(world, envelope)
            reply = await world.reply(envelope.alert_id, HOLDS_S / 5)
        assert reply["code"] == "stale_alert"
        assert world.placed == []

    simulate(story, rules=with_rules(freshness={"alert_ms": 1_000}))


def test_while_a_plan_is_written_its_first_order_is_rehearsed_and_not_sent() -> None:
    async def story(world: World) -> None:
        rehearsed: list[object] = []
        world.exchange.rehearse = lambda order: rehearsed.append((order, list(world.placed)))  # type: ignore[method-assign]
        envelope = await an_alert(world)
        await put_without_hint(world, envelope)
        stored = await flattened(world, envelope.alert_id)
        assert rehearsed == [(world.placed[0], [])]
        assert [note.kind for note in stored.notes].count("order_sent") == len(world.placed)

    simulate(story)


def announced(world: World) -> None:
    InMemoryInbox(world.server).announce()


@pytest.mark.parametrize(("pause_s", "is_old"), [(GATHERED_HOLDS_S / 2, True), (GATHERED_HOLDS_S * 2, False)])
def test_it_is_planned_from_what_was_gathered_at_its_announcement(pause_s: float, is_old: bool) -> None:
    async def story(world: World) -> None:
        envelope = await an_alert(world)
        assert world.trader is not None
        market, before = world.trader._market, world.venue.quote("BTCUSDT")
        announced(world)
        market.quotes["BTCUSDT"] = replace(before, bid=before.bid + 10, ask=before.ask + 10)
        await world.clock.sleep(pause_s)
        hinted(world, envelope)
        await put_without_hint(world, envelope)
        stored = await flattened(world, envelope.alert_id)
        assert stored.plan.p0 == before.ask + (0 if is_old else 10)

    simulate(story)


def test_what_has_happened_since_its_announcement_is_not_overlooked() -> None:
    async def story(world: World) -> None:
        envelope = await an_alert(world)
        announced(world)
        await owned(world)
        hinted(world, envelope)
        await put_without_hint(world, envelope)
        reply = await world.reply(envelope.alert_id)
        assert reply is not None
        assert reply["code"] == "symbol_owned"

    simulate(story)


def test_nothing_is_gathered_while_a_hedges_quote_is_old() -> None:
    """Else a fresh one a moment later would let the alert pass, and the trade go without that hedge."""

    async def story(world: World) -> None:
        envelope = await an_alert(world)
        assert world.trader is not None
        market = world.trader._market
        fresh = market.quotes["ETHUSDT"]
        market.quotes["ETHUSDT"] = replace(fresh, time_ms=fresh.time_ms - 10_000)
        market.quote_seen_at["ETHUSDT"] -= 10
        announced(world)
        market.quotes["ETHUSDT"], market.quote_seen_at["ETHUSDT"] = fresh, world.clock.monotonic()
        hinted(world, envelope)
        await put_without_hint(world, envelope)
        stored = await flattened(world, envelope.alert_id)
        assert "ETHUSDT" in {hedge.instrument.symbol for hedge in stored.plan.hedges}

    simulate(story)


def test_what_was_gathered_is_for_one_alert_alone() -> None:
    async def story(world: World) -> None:
        first, second = await an_alert(world, "SELL"), await an_alert(world, "BUY")
        assert world.trader is not None
        market, before = world.trader._market, world.venue.quote("BTCUSDT")
        announced(world)
        hinted(world, first)
        market.quotes["BTCUSDT"] = replace(before, bid=before.bid + 10, ask=before.ask + 10)
        hinted(world, second)
        await put_without_hint(world, second)
        assert (await flattened(world, second.alert_id)).plan.p0 == before.ask + 10

    simulate(story)


def test_a_hint_that_is_no_alert_is_passed_over() -> None:
    async def story(world: World) -> None:
        envelope = await an_alert(world)
        hinted(world, replace(envelope, body={}))
        await put_without_hint(world, envelope)
        await flattened(world, envelope.alert_id)

    simulate(story)


def test_a_hint_alone_opens_nothing() -> None:
    async def story(world: World) -> None:
        envelope = await an_alert(world)
        for _ in range(3):
            hinted(world, envelope)
        await world.clock.sleep(2.0)
        assert world.placed == []
        assert await world.journal.alert(envelope.alert_id) is None

    simulate(story)


def test_the_hint_of_one_alert_is_no_plan_for_another() -> None:
    async def story(world: World) -> None:
        hinted(world, await an_alert(world, "SELL"))
        envelope = await an_alert(world, "BUY")
        await put_without_hint(world, envelope)
        assert (await flattened(world, envelope.alert_id)).plan.side == "BUY"

    simulate(story)
