"""From the inbox to the trade and back: duplicates, opposite sides, damage, crashes, lost buses, the lease and the operator."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest
from simulation.faulty_ports import HeardJournal
from simulation.world import BLOCKS, World, simulate, with_rules

from app.bus.in_memory import InMemoryInbox, InMemoryLease
from app.bus.port import AlertEnvelope, InboxItem
from app.domain.instrument import Side
from app.domain.plan import Plan, trade_id_for
from app.domain.signal import alert_key, parse_alert
from app.domain.trade.messages import StopBuying
from app.storage.port import AlertRecord, Meanwhile

LONG, SHORT = {"side": "BUY", **BLOCKS[Side.BUY]}, {"side": "SELL", **BLOCKS[Side.SELL]}


async def reply_of(world: World, alert_id: str) -> Any:
    reply = await world.reply(alert_id)
    assert reply is not None
    return reply


async def flattened(world: World, trade_id: str) -> None:
    await world.operator("flatten")
    await world.ends_properly(trade_id)


async def redeliver(world: World, alert_id: str) -> None:
    """The alert once more in the inbox, as a reader that died before ``done`` would leave it."""
    body = '{"symbol": "BINANCE:BTCUSDT.P", "side": "BUY", "id": "once"}'
    parsed = parse_alert(body)
    key, ttl = alert_key(parsed, body.encode())
    assert trade_id_for(key) == alert_id
    envelope = AlertEnvelope(alert_id, key, ttl, parsed.to_json(), world.clock.wall_ms(), world.clock.monotonic())
    world.server.expiring.pop(f"key:{key}", None)
    await InMemoryInbox(world.server).put(envelope)


def test_four_deliveries_make_one_trade() -> None:
    async def story(world: World) -> None:
        ids = {await world.alert(**LONG, id="bar-1") for _ in range(4)}
        assert len(ids) == 1
        (trade_id,) = ids
        await world.until_said(trade_id, "protected")
        await world.alert(**LONG, id="bar-1")
        await world.clock.sleep(3)
        assert set(world.store.plans) == {trade_id}
        await flattened(world, trade_id)

    simulate(story)


def test_a_delivery_the_inbox_did_not_recognise_is_stopped_by_the_journal() -> None:
    async def story(world: World) -> None:
        trade_id = await world.alert(side="BUY", id="once")
        await world.until_said(trade_id, "protected")
        await flattened(world, trade_id)
        placed = len(world.placed)
        await redeliver(world, trade_id)
        await world.until(lambda: not world.server.entries)
        assert (await reply_of(world, trade_id))["status"] == "duplicate"
        assert len(world.placed) == placed

    simulate(story)


def test_a_duplicate_never_closes_a_trade_of_the_other_side() -> None:
    async def story(world: World) -> None:
        first = await world.alert(side="BUY", id="once")
        await world.until_said(first, "protected")
        await flattened(world, first)
        second = await world.enters(Side.SELL)
        await redeliver(world, first)
        await world.until(lambda: not world.server.entries)
        await world.clock.sleep(2)
        assert world.position() < 0
        await flattened(world, second)

    simulate(story)


def test_a_second_alert_of_the_same_side_is_refused_by_name() -> None:
    async def story(world: World) -> None:
        trade_id = await world.enters()
        position = world.position()
        assert (await reply_of(world, await world.alert(**LONG, id="again")))["code"] == "already_in_trade"
        assert world.position() == position
        await flattened(world, trade_id)

    simulate(story)


def test_every_guards_verdict_is_in_the_journal_and_in_the_reply() -> None:
    async def story(world: World) -> None:
        def spoken(verdicts: Any) -> list[tuple[str, bool, str]]:
            return [(verdict["guard"], verdict["passed"], verdict["reason"]) for verdict in verdicts]

        async def written(alert_id: str) -> list[tuple[str, bool, str]]:
            record = await world.journal.alert(alert_id)
            assert record is not None
            return [(verdict.guard, verdict.passed, verdict.reason) for verdict in record.verdicts]

        traded = await world.enters()
        placed = await reply_of(world, traded)
        assert spoken(placed["verdicts"]) == await written(traded)
        assert {"day_breaker", "event", "volatility", "net_exposure"} <= {guard for guard, _, _ in spoken(placed["verdicts"])}
        again = await world.alert(**LONG, id="again")
        refused = await reply_of(world, again)
        assert spoken(refused["verdicts"]) == await written(again)
        assert next(guard for guard, passed, _ in spoken(refused["verdicts"]) if not passed) == refused["guard"] == "live_trade"
        turned = await world.alert(**SHORT, id="turn")
        assert spoken((await reply_of(world, turned))["verdicts"]) == await written(turned)
        await world.ends_properly(traded)

    simulate(story)


@pytest.mark.parametrize("reverse", [False, True])
def test_the_opposite_side_closes_and_opens_only_where_told_to_reverse(reverse: bool) -> None:
    async def story(world: World) -> None:
        first = await world.enters()
        second = await world.alert(**SHORT, id="turn")
        stored = await world.ends_properly(first) if not reverse else await world.until_closed(first)
        assert stored.closed is not None
        assert stored.closed.reason == "opposite_signal"
        if not reverse:
            assert set(world.store.plans) == {first}
            return
        await world.until_said(second, "protected")
        assert world.position() < 0
        await flattened(world, second)

    simulate(story, rules=with_rules(exits={"reverse_on_opposite": reverse}))


def test_a_reversal_has_the_margin_the_closed_trade_held() -> None:
    async def story(world: World) -> None:
        first = await world.enters()
        await world.clock.sleep(3)  # the account was read while the trade held nearly all of it
        second = await world.alert(**SHORT, id="turn")
        await world.until_said(second, "protected")
        planned = [(await world.stored(trade_id)).plan.quantity for trade_id in (first, second)]
        assert planned[1] > planned[0] / 2
        await flattened(world, second)

    simulate(story, rules=with_rules(exits={"reverse_on_opposite": True}, sizing={"leverage": 2}))


@pytest.mark.parametrize("down_s", [0.5, 20.0])
def test_killed_while_a_reversal_waits_its_alert_is_not_lost(down_s: float) -> None:
    """It is traded, or refused as too old: the journal knows of it either way."""

    async def story(world: World) -> None:
        first = await world.enters()
        second = await world.alert(**SHORT, id="turn")
        await world.until(lambda: bool(world.notes(first, "exit")))
        await world.restart_trader(down_s)
        await world.until_closed(first)
        await world.until(lambda: not world.server.entries)
        record = await world.journal.alert(second)
        assert record is not None
        if down_s > 10:
            assert record.code == "stale_alert"
            return
        await world.until_said(second, "protected")
        assert world.position() < 0
        await flattened(world, second)

    simulate(story, rules=with_rules(exits={"reverse_on_opposite": True}))


def test_a_lease_that_runs_out_while_a_plan_is_written_keeps_its_entry_back() -> None:
    async def story(world: World) -> None:
        opens = world.journal.open_trade

        async def opens_slowly(alert: AlertRecord, plan: Plan, meanwhile: Meanwhile) -> None:
            await opens(alert, plan, meanwhile)
            assert world.trader is not None
            world.trader._switches.lease_until = 0.0

        world.journal.open_trade = opens_slowly  # type: ignore[method-assign]
        stored = await world.ends_properly(await world.alert(**LONG))
        assert stored.orders == ()
        assert stored.fills == ()

    simulate(story)


def test_a_price_that_goes_through_the_stop_while_the_plan_is_written_is_not_bought() -> None:
    async def story(world: World) -> None:
        opens = world.journal.open_trade

        async def opens_slowly(alert: AlertRecord, plan: Plan, meanwhile: Meanwhile) -> None:
            await opens(alert, plan, meanwhile)
            world.path = [(0, plan.stop - 20)]
            world.busy()
            await world.clock.sleep(0.2)

        world.journal.open_trade = opens_slowly  # type: ignore[method-assign]
        stored = await world.ends_properly(await world.alert(**LONG))
        assert stored.orders == ()
        assert stored.fills == ()

    simulate(story)


def test_two_alerts_at_once_make_one_trade() -> None:
    async def story(world: World) -> None:
        await asyncio.gather(world.alert(**LONG, id="a"), world.alert(**LONG, id="b"), world.alert(**LONG, id="c"))
        await world.until(lambda: world.position() > 0)
        await world.clock.sleep(3)
        (trade_id,) = world.store.plans
        await flattened(world, trade_id)

    simulate(story)


def test_a_reversal_and_a_new_alert_in_the_same_moment_make_one_trade(monkeypatch: pytest.MonkeyPatch) -> None:
    opens = HeardJournal.open_trade

    async def story(world: World) -> None:
        async def slow(self: HeardJournal, alert: AlertRecord, plan: Plan, meanwhile: Meanwhile) -> None:
            await world.clock.sleep(0.05)  # a disk
            await opens(self, alert, plan, meanwhile)

        first = await world.enters()
        monkeypatch.setattr(HeardJournal, "open_trade", slow)
        turned = await world.alert(**SHORT, id="turn")
        await world.until(lambda: first in world.store.closings)
        assert turned not in world.store.plans
        await world.alert(**SHORT, id="also")
        await world.clock.sleep(4)
        assert set(world.store.plans) == {first, turned}
        await flattened(world, turned)

    simulate(story, rules=with_rules(exits={"reverse_on_opposite": True}))


@pytest.mark.parametrize("body", [{}, {"symbol": "BTCUSDT"}, {"symbol": "BTCUSDT", "action": "BUY", "ob_top": "x"}])
def test_a_damaged_alert_in_the_inbox_is_refused_and_the_next_one_traded(body: dict[str, Any]) -> None:
    async def story(world: World) -> None:
        envelope = AlertEnvelope("damaged", "damaged", 3_600, body, world.clock.wall_ms(), world.clock.monotonic())
        await InMemoryInbox(world.server).put(envelope)
        assert (await reply_of(world, "damaged"))["success"] is False
        assert not world.server.entries
        trade_id = await world.enters()
        await flattened(world, trade_id)

    simulate(story)


def test_an_unknown_command_is_refused_by_name() -> None:
    async def story(world: World) -> None:
        reply = await world.operator("fly")
        assert reply is not None
        assert reply["code"] == "unknown_command"

    simulate(story)


def test_an_old_alert_is_not_traded() -> None:
    async def story(world: World) -> None:
        await world.kill_trader()
        alert_id = await world.alert(**LONG)
        await world.clock.sleep(11)
        await world.start_trader()
        assert (await reply_of(world, alert_id))["code"] == "stale_alert"

    simulate(story)


@pytest.mark.parametrize("after_s", [0.2, 5.0])
def test_taken_again_after_a_crash_between_plan_and_receipt_it_is_not_traded_again(
    after_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(self: InMemoryInbox, item: InboxItem) -> None:
        await asyncio.Event().wait()

    async def story(world: World) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(InMemoryInbox, "done", never)
            trade_id = await world.alert(**LONG, id="once")
            await world.until_said(trade_id, "planned")
            await world.kill_trader()
        assert world.server.entries
        await world.clock.sleep(after_s)
        await world.start_trader()
        await world.until(lambda: not world.server.entries)
        await world.clock.sleep(8)
        assert set(world.store.plans) == {trade_id}
        if trade_id not in world.store.closings:
            await world.operator("flatten")
        await world.ends_properly(trade_id)

    simulate(story)


def test_an_inbox_that_goes_away_costs_no_trade_its_care() -> None:
    async def story(world: World) -> None:
        trade_id = await world.enters()
        world.server.cut()
        await world.go_r(trade_id, 1.1)
        await world.until_said(trade_id, "break_even")
        assert world.covered()
        world.server.restore()
        await world.clock.sleep(4)
        assert (await reply_of(world, await world.alert(**LONG, id="again")))["code"] == "already_in_trade"
        await flattened(world, trade_id)
        again = await world.enters(id="later")
        await flattened(world, again)

    simulate(story)


def test_an_inbox_lost_while_answering_does_not_lose_the_next_alert(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(world: World) -> None:
        await world.kill_trader()
        await world.alert(side="BUY", symbol="DOGEUSDT", id="one")
        second = await world.alert(**LONG, id="two")
        cut_on_reply = InMemoryInbox.reply
        calls = 0

        async def reply(self: InMemoryInbox, alert_id: str, body: Any) -> None:
            nonlocal calls
            calls += 1
            if calls == 1:
                world.server.reachable = False
                world.loop.call_later(0.3, world.server.restore)
            await cut_on_reply(self, alert_id, body)

        monkeypatch.setattr(InMemoryInbox, "reply", reply)
        await world.start_trader()
        await world.until(lambda: second in world.store.plans, 5.0)
        await world.until(lambda: world.position() > 0)
        await flattened(world, second)

    simulate(story)


@pytest.mark.parametrize("dead_s", [30, 600])
def test_what_a_dead_stream_node_said_last_is_not_fresh_to_a_new_trader(dead_s: float) -> None:
    """Else the clock by which it is judged would be set by it: the alert waits at the door of the trader that starts."""

    async def story(world: World) -> None:
        await world.kill_trader()
        world.publishes = False
        await world.clock.sleep(dead_s)
        alert_id = await world.alert(**LONG)
        await world.start_trader()
        reply = await world.reply(alert_id)
        assert reply is not None
        assert reply["code"] in {"stale_price", "stale_bars"}
        assert world.placed == []

    simulate(story, path=[(0, 85_000), (5, 85_000), (25, 85_100)])


def test_a_quote_from_before_a_gap_of_the_bus_is_read_again_by_request() -> None:
    async def story(world: World) -> None:
        await world.clock.sleep(5)
        world.market_server.cut()
        world.publishes = False
        await world.clock.sleep(3)
        world.market_server.restore()
        await world.clock.sleep(0.7)  # it has asked for what was said last
        trade_id = await world.alert(**LONG)
        await world.until_said(trade_id, "planned")
        plan = (await world.stored(trade_id)).plan
        assert plan.p0 == Decimal("85300.1")
        await flattened(world, trade_id)

    simulate(story, path=[(0, 85_000), (5, 85_000), (6, 85_300)])


def test_without_market_data_an_open_trade_is_managed_on_by_requests() -> None:
    async def story(world: World) -> None:
        trade_id = await world.enters()
        world.market_server.cut()
        await world.go_r(trade_id, 1.1)
        await world.until_said(trade_id, "break_even")
        world.market_server.restore()
        await world.clock.sleep(2)
        world.market_server.cut()
        stored = await world.ends_properly(trade_id)
        assert stored.closed is not None
        assert stored.closed.reason == "time_limit"

    simulate(story)


def test_without_market_data_a_position_too_small_to_split_still_gets_its_break_even() -> None:
    async def story(world: World) -> None:
        trade_id = await world.enters(qty="0.002")
        world.market_server.cut()
        await world.go_r(trade_id, 1.1)
        await world.until_said(trade_id, "break_even", timeout_s=10)
        await flattened(world, trade_id)

    simulate(story)


async def steal_lease(world: World, seconds: float) -> None:
    """Another trader holds it for so long."""
    world.server.expiring.pop("lease:trader", None)
    other = InMemoryLease(world.server, "trader", "site-2", ttl_s=seconds)
    assert await other.acquire()


def test_without_the_lease_nothing_new_is_opened_and_open_trades_are_managed() -> None:
    async def story(world: World) -> None:
        trade_id = await world.enters()
        await steal_lease(world, 90)
        await world.clock.sleep(2.5)
        await world.go_r(trade_id, 1.1)
        await world.until_said(trade_id, "break_even")
        await world.go_r(trade_id, -0.2)
        await world.ends_properly(trade_id)
        waiting = await world.alert(**LONG, id="for the other one")
        await world.clock.sleep(12)
        assert waiting not in world.store.plans
        assert waiting not in world.store.alerts  # it is left to whoever holds the lease
        await world.clock.sleep(60)
        again = await world.enters(Side.SELL)
        await flattened(world, again)

    simulate(story)


def test_an_entry_under_way_stops_when_the_lease_is_lost() -> None:
    async def story(world: World) -> None:
        trade_id = await world.alert(**LONG)
        await world.until_said(trade_id, "order_acknowledged")
        await steal_lease(world, 60)
        stored = await world.ends_properly(trade_id)
        assert not stored.fills

    simulate(story, rules=with_rules(entry={"maker_wait_ms": 5_000}))


def test_paused_nothing_is_opened_until_resumed_and_a_restart_does_not_resume() -> None:
    async def story(world: World) -> None:
        await world.operator("pause")
        assert (await reply_of(world, await world.alert(**LONG, id="1")))["code"] == "paused"
        await world.restart_trader(1)
        assert (await reply_of(world, await world.alert(**LONG, id="2")))["code"] == "paused"
        await world.operator("resume")
        trade_id = await world.enters()
        await flattened(world, trade_id)

    simulate(story)


def test_a_pause_stops_the_entry_under_way_and_leaves_an_open_trade_managed() -> None:
    async def story(world: World) -> None:
        trade_id = await world.alert(**LONG)
        await world.until_said(trade_id, "order_acknowledged")
        await world.operator("pause")
        stored = await world.ends_properly(trade_id)
        assert not stored.fills
        await world.operator("resume")
        second = await world.enters(Side.SELL)
        await world.operator("pause")
        await world.go_r(second, 1.1)
        await world.until_said(second, "break_even")
        await flattened(world, second)

    simulate(story, rules=with_rules(entry={"maker_wait_ms": 3_000}))


def test_real_money_is_traded_only_when_armed_with_that_key() -> None:
    async def story(world: World) -> None:
        assert (await reply_of(world, await world.alert(**LONG, id="1")))["code"] == "not_armed"
        await world.operator("arm")
        await world.restart_trader(1)
        trade_id = await world.enters()
        await flattened(world, trade_id)
        world.key = "another"
        await world.restart_trader(1)
        assert (await reply_of(world, await world.alert(**LONG, id="2")))["code"] == "not_armed"
        world.key = "k"
        await world.restart_trader(1)
        await world.operator("disarm")
        assert (await reply_of(world, await world.alert(**LONG, id="3")))["code"] == "not_armed"

    simulate(story, live=True)


def test_no_order_without_a_journal() -> None:
    async def story(world: World) -> None:
        world.store.writable = False
        reply = await reply_of(world, await world.alert(**LONG, id="1"))
        assert reply["code"] == "journal_unavailable"
        await world.clock.sleep(3)
        assert world.placed == []
        world.store.writable = True
        trade_id = await world.enters()
        await flattened(world, trade_id)

    simulate(story)


def test_an_open_trade_is_managed_on_while_the_journal_cannot_be_written() -> None:
    async def story(world: World) -> None:
        trade_id = await world.enters()
        world.store.writable = False
        await world.go_r(trade_id, 1.1)
        await world.until(lambda: any(stop.trigger_price > 84_900 for stop in world.venue.open_algos("BTCUSDT")), 5)
        assert world.covered()
        await world.go_r(trade_id, -0.2)
        await world.until(lambda: world.position() == 0, 5)
        await world.clock.sleep(5)
        assert trade_id not in world.store.closings
        world.store.writable = True
        await world.ends_properly(trade_id)

    simulate(story)


def test_a_trade_that_stays_without_its_hedges_says_so() -> None:
    async def story(world: World) -> None:
        trade_id = await world.alert(**LONG)
        await world.until_said(trade_id, "order_acknowledged", purpose="m", leg=1)
        assert world.trader is not None
        world.trader.desk.tell_all(StopBuying())
        await world.clock.sleep(2.0)
        [stopped] = list(world.notes(trade_id, "buying_stopped"))
        assert set(stopped.data["symbols"]) == {"ETHUSDT", "SOLUSDT"}
        assert world.position() > 0
        assert world.covered()
        world.trader.desk.tell_all(StopBuying())
        await world.clock.sleep(1.0)
        assert len(list(world.notes(trade_id, "buying_stopped"))) == 1
        await flattened(world, trade_id)

    simulate(story)


def test_the_sender_is_told_of_an_entry_in_two_orders_as_one() -> None:
    async def story(world: World) -> None:
        trade_id = await world.alert(ob_top=85_060, ob_bottom=84_900)
        await world.clock.sleep(0.2)
        await world.go(84_979, 0.2)
        await world.until_said(trade_id, "protected")
        entry = (await reply_of(world, trade_id))["details"]["entry_order"]
        assert entry["client_id"].endswith("-i-0")
        assert entry["quantity"] == entry["filled"] == str(world.position())
        assert len(entry["average_price"].partition(".")[2]) <= 8
        await flattened(world, trade_id)

    simulate(story, volume=Decimal("0.02"))


def test_the_sender_is_told_what_was_placed() -> None:
    async def story(world: World) -> None:
        trade_id = await world.enters()
        reply = await reply_of(world, trade_id)
        assert reply["status"] == "trade placed"
        assert set(reply["details"]) == {"entry_order", "sl_order", "tp1_order"}
        resting = world.open_ids()
        assert reply["details"]["sl_order"]["client_id"] in resting
        assert reply["details"]["tp1_order"]["client_id"] in resting
        await world.restart_trader(1)
        await flattened(world, trade_id)
        assert (await reply_of(world, trade_id))["status"] == "trade placed"  # its end is no second answer

    simulate(story)
