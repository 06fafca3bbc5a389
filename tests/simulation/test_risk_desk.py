"""The trader lives by its risk book: what trips is carried out, said, lasts through kills and days, and lets go as it should."""

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from simulation.world import BLOCKS, World, simulate, with_rules

from app.domain.instrument import Side
from app.domain.plan import Plan
from app.domain.risk.rules import BreakerRules, EventRules, RampRules
from app.storage.codec import load
from app.storage.port import AlertRecord, JournalUnavailable, Meanwhile, TradeClosed
from app.trader.event_calendar import BadCalendarFile

DAY_MS = 86_400_000
D = Decimal(0)
BEFORE_MIDNIGHT = 1_750_032_000_000 - 50 * 60_000  # 23:10 UTC
NO_RAMP = RampRules(on=False)
UNHEDGED = 0.1  # no hedge is opened on alts so little correlated, and a stopped trade costs its whole R


def breakers(**limits: Any) -> dict[str, Any]:
    return {"risk": {"breakers": BreakerRules(**limits), "ramp": NO_RAMP}}


async def enters(world: World, side: Side = Side.BUY) -> str:
    return await world.enters(side, id=f"at {world.clock.monotonic()}")


async def loses(world: World, side: Side = Side.BUY) -> None:
    """One trade, stopped out: some −1.2 R with its costs. The market comes back where it was."""
    trade_id = await enters(world, side)
    await world.go_r(trade_id, -1.3)
    await world.ends_properly(trade_id)
    await world.go(85_000)


async def refused(world: World, side: Side = Side.BUY) -> str:
    """The code with which an alert is refused now."""
    reply = await world.reply(await world.alert(side=side.value, **BLOCKS[side], id=str(world.clock.monotonic())))
    assert reply is not None
    assert reply["success"] is False, reply
    return str(reply["code"])


def said(world: World, kind: str) -> list[str]:
    return [str(note.data["breaker"]) for note in world.notes("", kind)]


def tracker(world: World) -> Mapping[str, Any]:
    assert world.trader is not None
    risk: Mapping[str, Any] = world.trader.status()["risk"]
    return risk


def test_the_days_loss_ends_entries_then_closes_all_and_a_new_day_lets_trade_again() -> None:
    async def story(world: World) -> None:
        await loses(world)
        await loses(world)
        assert said(world, "breaker_tripped") == []
        last = await enters(world)
        await world.go_r(last, -0.2)
        await world.until(lambda: "day_entries" in said(world, "breaker_tripped"))
        assert last in world.trader.desk.trades  # at −2.5 R nothing new is opened; what is open is managed on
        assert -3 < float(tracker(world)["day_r"]["total"]) < -2.5
        await world.restart_trader(2.0)
        assert last in world.trader.desk.trades
        await world.go_r(last, -0.9)
        stored = await world.ends_properly(last)
        assert stored.closed is not None
        assert stored.closed.reason == "breaker_day_halt"
        assert {"day_entries", "day_halt"} <= set(said(world, "breaker_tripped"))
        await world.go(85_000)
        assert await refused(world) == "day_loss_limit"
        assert world.trader.status()["state"] == "HALTED"
        await world.kill_trader()
        await world.clock.sleep(3.0)
        await world.start_trader()
        assert await refused(world, Side.SELL) == "day_loss_limit"

        midnight = (world.start_ms // DAY_MS + 1) * DAY_MS
        await world.clock.sleep((midnight - world.clock.wall_ms()) / 1000 - 2)
        assert await refused(world) == "day_loss_limit"
        await world.clock.sleep(4)
        assert {"day_entries", "day_halt"} <= set(said(world, "breaker_resumed"))
        assert tracker(world)["day_r"]["total"] == "0.000"
        await enters(world)

    simulate(story, correlation=UNHEDGED, start_ms=BEFORE_MIDNIGHT, rules=with_rules(**breakers(rolling_24h_r=50)))


def test_a_day_that_changes_while_the_trader_is_down_is_a_new_day() -> None:
    async def story(world: World) -> None:
        await loses(world)
        await world.until(lambda: said(world, "breaker_tripped") != [])
        midnight = (world.start_ms // DAY_MS + 1) * DAY_MS
        await world.kill_trader()
        await world.clock.sleep((midnight - world.clock.wall_ms()) / 1000 + 60)
        await world.start_trader()
        assert set(said(world, "breaker_resumed")) == {"day_entries", "day_halt"}
        await enters(world)

    simulate(
        story,
        correlation=UNHEDGED,
        start_ms=BEFORE_MIDNIGHT + 40 * 60_000,
        rules=with_rules(**breakers(day_entries_r=1, day_halt_r=1, rolling_24h_r=50)),
    )


def test_a_trade_closed_while_its_result_was_not_yet_counted_counts_once() -> None:
    """Killed between the closing's commit and the book's: the journal's closings are held against the book at the start."""

    async def story(world: World) -> None:
        await loses(world)
        before = tracker(world)["day_r"]["closed"]
        assert Decimal(before) < -1
        assert tracker(world)["sides"]["long"]["trades"] == 1
        world.store.state.pop("risk")
        await world.restart_trader(1.0)
        assert tracker(world)["sides"]["long"]["trades"] == 1
        assert tracker(world)["day_r"]["closed"] == before
        await world.restart_trader(1.0)
        assert tracker(world)["day_r"]["closed"] == before
        assert tracker(world)["ramp"]["trades"] == 1

    simulate(story, correlation=UNHEDGED)


def test_what_was_traded_on_another_exchange_earns_and_forbids_nothing() -> None:
    async def story(world: World) -> None:
        await loses(world)
        await world.until(lambda: "day_halt" in said(world, "breaker_tripped"))
        await world.kill_trader()
        world.exchange_name = "demo"
        for _ in range(2):
            await world.start_trader()
            assert tracker(world)["ramp"]["trades"] == 0
            assert tracker(world)["day_r"]["total"] == "0.000"
            assert tracker(world)["drawdown"]["all_time_high"] == "0.000000"
            await world.kill_trader()
        await world.start_trader()
        assert [note.data["former"] for note in world.notes("", "risk_book_begun_anew")] == ["paper"]
        trade_id = await enters(world)
        await world.operator("flatten")
        await world.ends_properly(trade_id)
        await world.restart_trader(1.0)
        assert tracker(world)["ramp"]["trades"] == 1

    simulate(story, correlation=UNHEDGED, rules=with_rules(**breakers(day_entries_r=1, day_halt_r=1)))


def test_a_book_that_cannot_be_read_keeps_the_trader_from_trading() -> None:
    async def story(world: World) -> None:
        await world.clock.sleep(12)
        await world.kill_trader()
        sound, world.store.state["risk"] = world.store.state["risk"], '{"book": {"trips": "none"}, "transfers": {}}'
        with pytest.raises(ExceptionGroup) as told:
            await world.start_trader()
        assert told.group_contains(JournalUnavailable, match="risk book")
        world.store.state["risk"] = sound
        await world.start_trader()

    simulate(story)


@pytest.mark.parametrize("side", list(Side))
def test_a_sides_loss_pauses_that_side_only(side: Side) -> None:
    async def story(world: World) -> None:
        await loses(world, side)
        assert said(world, "breaker_tripped") == ["long_side" if side is Side.BUY else "short_side"]
        assert await refused(world, side) == "side_loss_limit"
        await world.restart_trader(1.0)
        assert await refused(world, side) == "side_loss_limit"
        assert world.trader.status()["state"] == "ACTIVE"
        await enters(world, side.opposite)

    simulate(story, correlation=UNHEDGED, rules=with_rules(**breakers(side_r=1)))


def test_the_equity_stop_closes_everything_and_only_a_reset_lets_trade_again() -> None:
    async def story(world: World) -> None:
        trade_id = await enters(world)
        await world.go_r(trade_id, -0.9)
        stored = await world.ends_properly(trade_id)
        assert stored.closed is not None
        assert stored.closed.reason == "breaker_ath_stop"
        await world.go(85_000)
        assert await refused(world) == "equity_stop"
        midnight = (world.start_ms // DAY_MS + 1) * DAY_MS
        await world.clock.sleep((midnight - world.clock.wall_ms()) / 1000 + 5)
        await world.restart_trader(1.0)
        assert await refused(world) == "equity_stop"
        again = await world.operator("reset", breaker="high_r")
        assert again is not None
        assert (again["success"], again["code"]) == (False, "breaker_not_tripped")
        done = await world.operator("reset", breaker="ath_stop")
        assert done is not None
        assert done.get("status") == "done", done
        assert "ath_stop" in said(world, "breaker_resumed")
        await world.restart_trader(1.0)
        await enters(world)

    simulate(
        story,
        correlation=UNHEDGED,
        start_ms=BEFORE_MIDNIGHT + 40 * 60_000,
        rules=with_rules(**breakers(ath_stop=Decimal("0.004"), rolling_24h_r=50)),
    )


def test_a_kill_between_a_trip_and_the_exits_closes_everything_after_the_start() -> None:
    async def story(world: World) -> None:
        trade_id = await enters(world)
        assert world.trader is not None
        desk = world.trader.desk
        desk.tell_all = lambda event: None  # type: ignore[method-assign]  # it dies before it can do what it has just written
        await world.go_r(trade_id, -0.9)
        assert "day_halt" in said(world, "breaker_tripped")
        await world.clock.sleep(1.0)
        assert trade_id in desk.trades
        await world.restart_trader(1.0)
        stored = await world.ends_properly(trade_id)
        assert stored.closed is not None
        assert stored.closed.reason == "breaker"

    simulate(story, correlation=UNHEDGED, rules=with_rules(**breakers(day_entries_r="0.5", day_halt_r="0.5")))


def test_slow_orders_halve_the_risk_and_lower_the_leverage_until_they_are_fast_again() -> None:
    async def story(world: World) -> None:
        usual = load(Plan, world.store.plans[await enters(world)])
        await world.operator("flatten")
        await world.until(lambda: not world.trader.desk.trades)
        world.faults.latency_s = 0.6
        await world.until(lambda: "latency" in said(world, "breaker_tripped"), 1_200)
        await world.until(lambda: world.venue.position("BTCUSDT").leverage == 5, 30)
        world.faults.latency_s = 0.008
        trade_id = await enters(world)
        slow = load(Plan, world.store.plans[trade_id])
        assert slow.leverage == 5
        assert slow.risk_usdt / slow.equity == pytest.approx(usual.risk_usdt / usual.equity / 2, rel=Decimal("0.02"))
        await world.until(lambda: "latency" in said(world, "breaker_resumed"), 1_200)
        assert world.venue.position("BTCUSDT").leverage == 5  # not while something is open
        await world.operator("flatten")
        await world.until(lambda: world.venue.position("BTCUSDT").leverage == 20, 30)

    simulate(story, correlation=UNHEDGED, rules=with_rules(risk={"ramp": NO_RAMP}))


def test_transfers_change_neither_the_high_nor_the_drawdown() -> None:
    async def story(world: World) -> None:
        await world.clock.sleep(10)
        assert tracker(world)["unit_value"] is not None
        first = Decimal(tracker(world)["unit_value"])
        await loses(world)
        await world.clock.sleep(10)
        lost = {name: tracker(world)[name] for name in ("unit_value", "drawdown", "breakers")}
        assert Decimal(lost["unit_value"]) < first
        for amount in (Decimal(5_000), Decimal(-9_000)):
            world.venue.transfer(amount)
            await world.clock.sleep(15)
            told = tracker(world)
            assert Decimal(told["unit_value"]) == pytest.approx(Decimal(lost["unit_value"]), abs=Decimal("1e-6"))
            assert (told["drawdown"], told["breakers"]) == (lost["drawdown"], lost["breakers"])
        await world.kill_trader()
        world.venue.transfer(Decimal(-2_000))
        await world.clock.sleep(20)
        await world.start_trader()
        await world.clock.sleep(15)
        assert tracker(world)["drawdown"] == lost["drawdown"]
        assert [Decimal(note.data["amount"]) for note in world.notes("", "transferred")] == [5_000, -9_000, -2_000]
        assert said(world, "breaker_tripped") == []

    simulate(story)


def test_a_transfer_that_is_listed_late_is_no_profit_meanwhile() -> None:
    async def story(world: World) -> None:
        await world.clock.sleep(10)
        first = Decimal(tracker(world)["unit_value"])
        listed = world.venue.income
        world.venue.income = lambda since_ms=0, symbol=None: []  # type: ignore[method-assign, assignment, misc]
        world.venue.transfer(Decimal(1_000))
        await world.clock.sleep(30)
        assert Decimal(tracker(world)["unit_value"]) == first
        world.venue.income = listed  # type: ignore[method-assign]
        await world.clock.sleep(15)
        assert Decimal(tracker(world)["unit_value"]) == first
        assert tracker(world)["drawdown"]["all_time_high"] == "0.000000"

    simulate(story)


def test_one_trade_is_closed_by_its_id() -> None:
    async def story(world: World) -> None:
        trade_id = await enters(world)
        unknown = await world.operator("close", trade_id="nosuchone")
        assert unknown is not None
        assert (unknown["success"], unknown["code"]) == (False, "trade_not_live")
        done = await world.operator("close", trade_id=trade_id)
        assert done is not None
        assert (done.get("status"), done.get("command")) == ("done", "close"), done
        stored = await world.ends_properly(trade_id)
        assert stored.closed is not None
        assert stored.closed.reason == "operator"
        strange = await world.operator("sell everything")
        assert strange is not None
        assert strange["code"] == "unknown_command"

    simulate(story)


def test_the_tracker_tells_how_things_stand() -> None:
    async def story(world: World) -> None:
        trade_id = await enters(world)
        await world.go_r(trade_id, 0.6)
        await world.clock.sleep(3)
        told = tracker(world)
        assert 0.1 < float(told["open_r"]) < 0.6
        assert told["day_r"] == {"total": told["open_r"], "long": told["open_r"], "short": "0.000", "closed": "0.000"}
        assert told["positions_usdt"].keys() == {"BTCUSDT", "ETHUSDT", "SOLUSDT"}
        btc = float(told["positions_usdt"]["BTCUSDT"])
        assert 0 < told["net_exposure_usdt"] < btc
        assert told["ramp"]["in_force"] == {"BTCUSDT": 5, "ETHUSDT": 5, "SOLUSDT": 5}
        assert (told["ramp"]["stage"], told["throttle"]) == (0, "1.0000")
        assert [b["breaker"] for b in told["breakers"] if b["tripped"]] == []
        assert all(b["resumes"] for b in told["breakers"])
        assert "no calendar" in told["calendar"]["problem"]

    simulate(story, follow=0.0)


def test_a_breaker_that_trips_while_a_plan_is_written_keeps_its_entry_back() -> None:
    async def story(world: World) -> None:
        opens = world.journal.open_trade

        async def opens_slowly(alert: AlertRecord, plan: Plan, meanwhile: Meanwhile) -> None:
            await opens(alert, plan, meanwhile)
            desk = world.trader.risk
            desk.closed(TradeClosed("other", world.clock.wall_ms(), "stop", D, D, D, Decimal(1), Decimal(-3), {"side": "BUY"}))

        world.journal.open_trade = opens_slowly  # type: ignore[method-assign]
        trade_id = await world.alert(**BLOCKS[Side.BUY])
        stored = await world.ends_properly(trade_id)
        assert "day_halt" in said(world, "breaker_tripped")
        assert stored.fills == ()
        assert stored.orders == ()

    simulate(story)


def test_a_calendar_that_broke_while_a_trade_was_open_pauses_and_manages_it_on(tmp_path: Path) -> None:
    file = tmp_path / "events.csv"
    file.write_text("time,title\n2030-12-10T14:00:00-05:00,FOMC\n")

    async def story(world: World) -> None:
        trade_id = await world.enters()
        await world.kill_trader()
        file.write_text("time,title\nsoon,FOMC\n")
        await world.start_trader()
        assert trade_id in world.trader.desk.trades
        await world.until(lambda: world.trader.status()["paused"] == "calendar_unreadable")
        assert "soon" in tracker(world)["calendar"]["problem"]
        await world.operator("flatten")
        await world.ends_properly(trade_id)
        await world.kill_trader()
        with pytest.raises(ExceptionGroup) as told:
            await world.start_trader()
        assert told.group_contains(BadCalendarFile, match="soon")
        file.write_text("time,title\n2030-12-10T14:00:00-05:00,FOMC\n")
        await world.start_trader()

    simulate(story, rules=with_rules(risk={"events": EventRules(calendar=str(file))}))
