"""The advanced webhook's requests, from the inbox to the exchange and back: flows, protection, ownership, kills."""

import asyncio
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from simulation.faulty_ports import refuses
from simulation.world import World, simulate

from app.domain.advanced_rules import AdvancedRules
from app.domain.instrument import Side
from app.domain.orders import LimitOrder, MarginType, MarketOrder, Order, StopOrder
from app.domain.plan import OrderName, Owner, Plan, Purpose
from app.exchange.errors import BadOrder, NotExecuted, OutcomeUnknown
from app.simulator.venue_types import MarginType as VenueMarginType
from app.simulator.venue_types import OrderType, ReduceOnlyPolicy
from app.storage.port import AlertRecord, TradeClosed

D = Decimal
ON_BTC = AdvancedRules(trade_strategy_symbol=True)


def expect_error(answer: Mapping[str, Any], code: str) -> Mapping[str, Any]:
    assert answer["success"] is False, answer
    assert answer["code"] == code, answer
    assert answer["suggestions"]
    return answer


# --- flows --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bid", "price", "quantity"), [(49_999.9, 50_000.0, 0.05), (50_123.4, 50_123.5, 0.049)])
def test_the_worked_sizes(bid: float, price: float, quantity: float) -> None:
    async def story(world: World) -> None:
        answer = await world.asks("buy", "BTCUSDT", entry=50_000)
        assert answer["message"] == f"Advanced trading order executed: buy {quantity:.3f} BTCUSDT"
        trade, details = answer["trade"], answer["calculation_details"]
        assert details == {
            "account_balance_usdt": 1000.0,
            "balance_percentage": 0.25,
            "leverage": 10,
            "position_value_usdt": 2500.0,
            "current_price": price,
            "quantity": quantity,
        }
        assert (trade["quantity"], trade["current_price"], trade["entry_price"]) == (quantity, price, 50_000.0)
        assert (trade["mode"], trade["opposite_position_closed"]) == ("auto_quantity", "No opposite position")
        assert world.position("BTCUSDT") == D(str(quantity))
        assert world.covered("BTCUSDT")
        await world.asks("close", "BTCUSDT")

    simulate(story, ((0, bid),), balance=D(1_000), advanced=ON_BTC)


def test_a_buy_closes_the_short_sets_leverage_and_margin_type_then_buys_at_market() -> None:
    async def story(world: World) -> None:
        short = await world.asks("sell", leverage=5, margin_type="CROSSED")
        assert world.position("ETHUSDT") == -D(str(short["trade"]["quantity"]))
        assert world.venue.position("ETHUSDT").margin_type is VenueMarginType.CROSSED
        calls = watch_calls(world, "ETHUSDT")

        long = await world.asks("buy", leverage=10)
        assert long["trade"]["opposite_position_closed"] == "Closed short position"
        assert world.position("ETHUSDT") == D(str(long["trade"]["quantity"])) > 0
        assert calls[:4] == ["MARKET BUY reduce-only", "leverage 10", "margin ISOLATED", "MARKET BUY"]
        held = world.venue.position("ETHUSDT")
        assert (held.leverage, held.margin_type) == (10, VenueMarginType.ISOLATED)

        again = await world.asks("sell")
        assert again["trade"]["opposite_position_closed"] == "Closed long position"
        await world.asks("close")
        for answer in (short, long, again):
            await world.ends_properly(answer["id"])

    simulate(story)


async def settled(world: World) -> None:
    """The strategy's symbols have their leverage and margin type."""
    await world.clock.sleep(1.0)


def watch_calls(world: World, symbol: str) -> list[str]:
    """What the trader asks of the exchange on that symbol from now on, reads aside."""
    calls: list[str] = []
    exchange = world.exchange
    place, leverage, margin = exchange.place, exchange.set_leverage, exchange.set_margin_type

    async def placed(order: Order) -> Any:
        if order.symbol == symbol and isinstance(order, MarketOrder):
            calls.append(f"MARKET {order.side}" + (" reduce-only" if order.reduce_only else ""))
        return await place(order)

    async def set_leverage(name: str, value: int) -> None:
        calls.append(f"leverage {value}")
        await leverage(name, value)

    async def set_margin_type(name: str, value: MarginType) -> None:
        calls.append(f"margin {value}")
        await margin(name, value)

    exchange.place, exchange.set_leverage, exchange.set_margin_type = placed, set_leverage, set_margin_type  # type: ignore[method-assign]
    return calls


def test_a_close_closes_and_leaves_no_plain_or_algo_order() -> None:
    async def story(world: World) -> None:
        opened = await world.asks("sell", sl=1_850)
        assert opened["trade"]["stop_loss"] == 1_850.0
        await world.until_said(opened["id"], "covered")
        await world.clock.sleep(0.5)
        resting = {algo.algo_id for algo in world.venue.open_algos("ETHUSDT")}
        assert len(resting) == 2
        answer = await world.asks("close")
        [closed] = answer["closed_positions"]
        assert (closed["quantity"], closed["side"], closed["position_type"]) == (opened["trade"]["quantity"], "BUY", "short")
        assert closed["order_id"] > 0
        assert set(answer["cancelled_orders"]) == resting
        assert answer["message"] == "All positions closed for ETHUSDT"
        assert not world.open_ids()
        await world.ends_properly(opened["id"])
        empty = await world.asks("close", id="again")
        assert (empty["success"], empty["closed_positions"], empty["cancelled_orders"]) == (True, [], [])

    simulate(story)


def test_both_directions_on_different_symbols_at_once() -> None:
    async def story(world: World) -> None:
        eth, sol = await asyncio.gather(world.asks("buy", "ETHUSDT"), world.asks("sell", "SOLUSDT"))
        assert (eth["success"], sol["success"]) == (True, True)
        assert world.position("ETHUSDT") > 0 > world.position("SOLUSDT")
        await asyncio.gather(world.asks("close", "ETHUSDT"), world.asks("close", "SOLUSDT"))
        for answer in (eth, sol):
            await world.ends_properly(answer["id"])

    simulate(story)


def test_it_has_no_time_limit_and_ends_by_its_stop() -> None:
    async def story(world: World) -> None:
        opened = await world.asks("buy")
        await world.clock.sleep(3_000)
        assert world.position("ETHUSDT") > 0
        assert world.covered("ETHUSDT")
        await world.go(82_000, 60)
        stored = await world.ends_properly(opened["id"])
        assert stored.closed is not None
        assert stored.closed.reason == "stop"

    simulate(story)


def test_leverage_is_capped_and_the_reply_says_so() -> None:
    async def story(world: World) -> None:
        answer = await world.asks("buy", leverage=50, balance_percentage=0.1)
        assert (answer["trade"]["leverage"], answer["risk_level"]) == (20, "aggressive")
        assert any("lowered to 20" in warning for warning in answer["warnings"])
        assert world.venue.position("ETHUSDT").leverage == 20
        await world.asks("close")

    simulate(story)


# --- what is refused ----------------------------------------------------------------------------------------------------


def test_the_exchanges_own_refusal_comes_with_its_number_and_words() -> None:
    async def story(world: World) -> None:
        answer = expect_error(await world.asks("buy", balance_percentage=1.0, leverage=20), "binance_error")
        assert answer["error"] == "Binance API error (Code -2019): Margin is insufficient."
        assert "increase your account balance" in answer["suggestions"][0]
        assert answer["webhook_data"]["balance_percentage"] == 1.0
        assert world.position("ETHUSDT") == 0
        await world.ends_properly(answer["id"])

    simulate(story)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"symbol": "DOGEUSDT"}, "invalid_symbol"),
        ({"balance_percentage": 0.01, "leverage": 1, "symbol": "BTCUSDT"}, "insufficient_balance"),
        ({"sl": 1_900}, "invalid_stop"),
        ({"sl": 1_799}, "invalid_stop"),
        ({"sl": 1_650, "leverage": 20}, "stop_beyond_liquidation"),
    ],
)
def test_what_cannot_be_is_refused_by_name_and_changes_nothing(fields: dict[str, Any], code: str) -> None:
    async def story(world: World) -> None:
        await settled(world)
        calls = watch_calls(world, "ETHUSDT")
        answer = expect_error(await world.asks("buy", **fields), code)
        assert answer["webhook_data"]["action"] == "buy"
        assert not world.placed
        assert not calls

    simulate(story, balance=D(1_000), advanced=ON_BTC)


def test_a_price_that_moves_before_the_order_is_not_chased() -> None:
    async def story(world: World) -> None:
        await settled(world)
        set_leverage = world.exchange.set_leverage

        async def moves(symbol: str, leverage: int) -> None:
            await set_leverage(symbol, leverage)
            await world.go(85_800, 0.3)
            await world.clock.sleep(1.0)

        world.exchange.set_leverage = moves  # type: ignore[method-assign]
        answer = expect_error(await world.asks("buy"), "market_price_moved")
        assert answer["error"].startswith("Market price moved")
        assert answer["suggestions"] == ["retry the request"]
        await world.ends_properly(answer["id"])

    simulate(story)


def test_the_same_side_twice_is_one_position() -> None:
    async def story(world: World) -> None:
        first = await world.asks("buy", id="one")
        held = world.position("ETHUSDT")
        expect_error(await world.asks("buy", id="two"), "position_open")
        assert world.position("ETHUSDT") == held
        await world.asks("close")
        await world.ends_properly(first["id"])

    simulate(story)


def test_paused_it_opens_nothing_and_closes_all_the_same() -> None:
    async def story(world: World) -> None:
        opened = await world.asks("buy")
        await world.operator("pause")
        expect_error(await world.asks("sell", "SOLUSDT"), "paused")
        assert (await world.asks("close"))["closed_positions"]
        await world.ends_properly(opened["id"])

    simulate(story)


def test_switched_off_it_opens_nothing_and_closes_all_the_same() -> None:
    async def story(world: World) -> None:
        expect_error(await world.asks("buy"), "advanced_disabled")
        assert (await world.asks("close"))["success"] is True

    simulate(story, advanced=AdvancedRules(enabled=False))


def test_without_a_default_stop_a_request_must_bring_one() -> None:
    async def story(world: World) -> None:
        expect_error(await world.asks("buy"), "stop_missing")
        opened = await world.asks("buy", sl=1_770)
        assert opened["success"] is True
        await world.asks("close")

    simulate(story, advanced=AdvancedRules(default_stop_pct=D(0)))


# --- ownership ----------------------------------------------------------------------------------------------------------


def test_the_strategys_symbol_is_left_to_it_unless_the_setting_says_otherwise() -> None:
    async def story(world: World) -> None:
        expect_error(await world.asks("buy", "BTCUSDT"), "strategy_symbol")

    simulate(story)


def test_a_managed_symbol_is_refused_and_closed_only_by_take_over() -> None:
    async def story(world: World) -> None:
        managed = await world.enters()
        expect_error(await world.asks("sell", "BTCUSDT"), "symbol_owned")
        expect_error(await world.asks("buy", "ETHUSDT"), "symbol_owned")  # its hedge
        refused = expect_error(await world.asks("close", "BTCUSDT"), "not_ours_to_close")
        assert f"managed:{managed}" in refused["error"]
        assert "advanced.take_over" in refused["suggestions"][0]
        assert managed in world.trader.desk.trades  # type: ignore[union-attr]

    simulate(story, advanced=ON_BTC)


def test_with_take_over_a_close_ends_the_managed_trade_hedges_and_all() -> None:
    async def story(world: World) -> None:
        managed = await world.enters()
        await world.clock.sleep(5)  # the hedges are in
        answer = await world.asks("close", "BTCUSDT")
        assert answer["closed_positions"][0]["position_type"] == "long"
        assert {closed.get("symbol", "BTCUSDT") for closed in answer["closed_positions"]} == {"BTCUSDT", "ETHUSDT", "SOLUSDT"}
        stored = await world.ends_properly(managed)
        assert stored.closed is not None
        assert stored.closed.reason == "close_signal"

    simulate(story, advanced=AdvancedRules(take_over=True))


def test_the_strategy_finds_owned_what_this_webhook_holds() -> None:
    async def story(world: World) -> None:
        await world.asks("buy", "BTCUSDT")
        trade_id = await world.alert(ob_top=84_900, ob_bottom=84_720)
        refused = await world.reply(trade_id)
        assert refused is not None
        assert (refused["code"], "advanced" in refused["error"]) == ("symbol_owned", True)
        await world.asks("close", "BTCUSDT")
        await world.asks("sell", "ETHUSDT")
        managed = await world.enters(id="second")
        stored = await world.stored(managed)
        assert [hedge.instrument.symbol for hedge in stored.plan.hedges] == ["SOLUSDT"]
        assert world.position("ETHUSDT") < 0

    simulate(story, advanced=ON_BTC)


def test_the_strategy_gets_its_leverage_and_margin_type_back() -> None:
    async def story(world: World) -> None:
        await settled(world)
        before = world.venue.position("ETHUSDT")
        await world.asks("buy", leverage=3, margin_type="CROSSED")
        await world.asks("close")
        await world.clock.sleep(5)
        after = world.venue.position("ETHUSDT")
        assert (after.leverage, after.margin_type) == (before.leverage, before.margin_type)
        assert after.margin_type is VenueMarginType.ISOLATED

    simulate(story)


@pytest.mark.parametrize("policy", ReduceOnlyPolicy)
def test_a_foreign_position_is_closed_only_where_that_is_allowed(policy: ReduceOnlyPolicy) -> None:
    async def story(world: World) -> None:
        hand_opens(world)
        await world.clock.sleep(3)
        if not world.advanced.close_foreign:
            refused = expect_error(await world.asks("close"), "not_ours_to_close")
            assert "advanced.close_foreign" in refused["suggestions"][0]
            expect_error(await world.asks("buy"), "symbol_owned")
            return
        answer = await world.asks("close")
        assert [(p["quantity"], p["position_type"]) for p in answer["closed_positions"]] == [(2.0, "long")]
        assert world.position("ETHUSDT") == 0
        assert not world.open_ids()

    for allowed in (False, True):
        simulate(story, policy=policy, watched=False, advanced=AdvancedRules(close_foreign=allowed))


def hand_opens(world: World) -> None:
    """Two ETH, a target and a stop, as a person would leave them."""
    venue = world.venue
    venue.place_order("ETHUSDT", Side.BUY, OrderType.MARKET, D(2))
    venue.place_order("ETHUSDT", Side.SELL, OrderType.LIMIT, D(2), price=D(1_900), reduce_only=True, client_id="by-hand-1")
    stop = {"quantity": D(2), "reduce_only": True, "client_id": "by-hand-2"}
    venue.place_algo("ETHUSDT", Side.SELL, OrderType.STOP_MARKET, D(1_700), **stop)
    world.exchange.pump()


# --- never without a stop -------------------------------------------------------------------------------------------------


def test_a_stop_that_is_refused_closes_the_position_at_market() -> None:
    async def story(world: World) -> None:
        world.faults.before[Purpose.STOP] = [refuses(BadOrder("Filter failure", -4014))]
        answer = expect_error(await world.asks("buy"), "closed_again")
        assert "stop_refused" in answer["error"]
        assert world.position("ETHUSDT") == 0
        await world.ends_properly(answer["id"])

    simulate(story)


def test_a_stop_that_is_not_acknowledged_is_sent_again() -> None:
    async def story(world: World) -> None:
        world.faults.before[Purpose.STOP] = [refuses(NotExecuted("overloaded", -1008))]
        answer = await world.asks("buy")
        assert answer["success"] is True
        assert world.covered("ETHUSDT")
        await world.asks("close")
        await world.ends_properly(answer["id"])

    simulate(story)


def test_an_entry_whose_answer_is_lost_is_found_and_protected() -> None:
    async def story(world: World) -> None:
        world.faults.after[Purpose.TAKER] = [refuses(OutcomeUnknown("no answer", -1007))]
        answer = await world.asks("buy")
        assert answer["success"] is True
        assert world.covered("ETHUSDT")
        await world.asks("close")
        await world.ends_properly(answer["id"])

    simulate(story)


# --- kills ----------------------------------------------------------------------------------------------------------------


def test_killed_between_fill_and_stop_it_is_protected_within_two_seconds_of_the_start() -> None:
    async def story(world: World) -> None:
        died = asyncio.Event()

        async def dies(order: Order) -> None:
            died.set()
            await asyncio.Event().wait()  # what it was about to send never leaves

        world.faults.before[Purpose.STOP] = [dies]
        trade_id = await world.ask("buy")
        await died.wait()
        assert world.position("ETHUSDT") > 0
        assert not world.covered("ETHUSDT")
        started_at = world.clock.monotonic()
        await world.restart_trader(1.0)
        await world.until(lambda: world.covered("ETHUSDT"), 5)
        assert world.clock.monotonic() - started_at - 1.0 < 2.0
        held = world.position("ETHUSDT")
        await world.clock.sleep(20)
        assert world.position("ETHUSDT") == held
        answer = await world.asks("close")
        assert answer["closed_positions"]
        await world.ends_properly(trade_id)

    simulate(story)


def test_a_breaker_that_trips_while_a_plan_is_written_keeps_its_order_back() -> None:
    async def story(world: World) -> None:
        opens = world.journal.open_trade

        async def opens_slowly(alert: AlertRecord, plan: Plan) -> None:
            await opens(alert, plan)
            assert world.trader is not None
            lost = TradeClosed("other", world.clock.wall_ms(), "stop", D(0), D(0), D(0), D(1), D(-3), {"side": "BUY"})
            world.trader.risk.closed(lost)

        world.journal.open_trade = opens_slowly  # type: ignore[method-assign]
        answer = await world.asks("buy")
        assert answer["success"] is False, answer
        stored = await world.ends_properly(answer["id"])
        assert (stored.orders, stored.fills) == ((), ())
        assert world.position("ETHUSDT") == 0

    simulate(story)


def test_every_guards_verdict_is_in_its_journal_and_in_its_answer() -> None:
    async def story(world: World) -> None:
        opened = await world.asks("buy")
        again = await world.asks("buy", id="again")
        expect_error(again, "position_open")
        for answer in (opened, again):
            record = await world.journal.alert(answer["id"])
            assert record is not None
            told = [(verdict["guard"], verdict["passed"], verdict["reason"]) for verdict in answer["verdicts"]]
            assert told == [(verdict.guard, verdict.passed, verdict.reason) for verdict in record.verdicts]
            assert {"equity_stop", "trading_state"} <= {guard for guard, _, _ in told}
        await world.asks("close")

    simulate(story)


def test_what_it_asks_before_it_orders_does_not_look_like_a_slow_exchange() -> None:
    async def story(world: World) -> None:
        assert world.trader is not None
        before = world.trader.risk.book.delays.samples
        await world.asks("buy")
        assert world.trader.risk.book.delays.samples == before
        await world.asks("close")
        await world.enters()
        assert len(world.trader.risk.book.delays.samples) == len(before) + 1
        await world.operator("flatten")

    simulate(story)


def test_its_trades_count_against_the_breakers_and_earn_no_leverage() -> None:
    async def story(world: World) -> None:
        opened = await world.asks("buy")
        await world.asks("close")
        await world.ends_properly(opened["id"])
        assert world.trader is not None
        book = world.trader.risk.book
        assert book.days.total_r < 0
        assert book.record.trades == 0

    simulate(story)


KILLS = ["planned", "order_sent", "fill", "entered", "covered", "protected"]


@pytest.mark.parametrize("kind", KILLS)
@pytest.mark.parametrize("action", ["buy", "sell"])
def test_killed_anywhere_in_an_opening_one_request_makes_one_protected_position(kind: str, action: str) -> None:
    async def story(world: World) -> None:
        trade_id = await world.ask(action)
        await world.until_said(trade_id, kind)
        await world.restart_trader(0.5)
        await world.clock.sleep(8)
        entries = [order for order in world.placed if OrderName.parse(order.client_id).purpose.is_entry]  # type: ignore[union-attr]
        assert len(entries) <= 1
        assert world.covered("ETHUSDT")
        await world.asks("close")
        await world.ends_properly(trade_id)
        assert (await world.stored(trade_id)).plan.owner is Owner.ADVANCED

    simulate(story)


@pytest.mark.parametrize("kind", ["exit", "order_sent"])
def test_killed_in_a_reversal_the_old_is_closed_and_at_most_one_new_opened(kind: str) -> None:
    async def story(world: World) -> None:
        short = await world.asks("sell")
        sent = len(world.notes(short["id"], "order_sent"))
        long_id = await world.ask("buy")
        await world.until(lambda: bool(world.notes(short["id"], "exit")))
        if kind == "order_sent":
            await world.until(lambda: len(world.notes(short["id"], "order_sent")) > sent)
        await world.restart_trader(0.5)
        await world.until_closed(short["id"])
        await world.clock.sleep(8)
        entries = [o for o in world.placed if o.client_id.startswith(f"qc-{long_id}-0-i")]
        assert len(entries) <= 1
        assert world.position("ETHUSDT") >= 0
        assert world.covered("ETHUSDT")
        await world.asks("close")
        await world.clock.sleep(5)
        assert world.position("ETHUSDT") == 0

    simulate(story)


def test_killed_in_a_close_it_closes_that_position_and_nothing_newer() -> None:
    async def story(world: World) -> None:
        opened = await world.asks("buy")
        close_id = await world.ask("close")
        await world.until_said(opened["id"], "exit")
        await world.restart_trader(0.5)
        await world.ends_properly(opened["id"])
        answer = await world.reply(close_id)
        assert answer is not None
        assert answer["status"] == "duplicate"
        newer = await world.asks("buy", id="newer")
        await world.clock.sleep(10)
        assert world.position("ETHUSDT") == D(str(newer["trade"]["quantity"]))
        await world.asks("close", id="end")

    simulate(story)


def test_delivered_four_times_by_two_routes_it_is_one_trade() -> None:
    async def story(world: World) -> None:
        ids = [await world.ask("buy", id="one") for _ in range(4)]
        await world.until_said(ids[0], "protected")
        await world.clock.sleep(5)
        assert len({*ids}) == 1
        entries = [order for order in world.placed if isinstance(order, MarketOrder) and not order.reduce_only]
        assert len(entries) == 1
        await world.asks("close")

    simulate(story)


def test_a_request_that_waited_too_long_opens_nothing_and_a_late_close_closes() -> None:
    async def story(world: World) -> None:
        opened = await world.asks("buy", "SOLUSDT")
        await world.kill_trader()
        late, close = await world.ask("buy"), await world.ask("close", "SOLUSDT")
        await world.clock.sleep(30)
        await world.start_trader()
        refused, closed = await world.reply(late), await world.reply(close)
        assert refused is not None
        expect_error(refused, "stale_alert")
        assert closed is not None
        assert closed["closed_positions"]
        await world.ends_properly(opened["id"])

    simulate(story)


# --- the strategy goes on beside it -----------------------------------------------------------------------------------------


def test_the_strategys_alert_does_not_wait_for_a_slow_request() -> None:
    async def story(world: World) -> None:
        await settled(world)
        set_leverage = world.exchange.set_leverage

        async def slow(symbol: str, leverage: int) -> None:
            await world.clock.sleep(3)
            await set_leverage(symbol, leverage)

        world.exchange.set_leverage = slow  # type: ignore[method-assign]
        request_id = await world.ask("buy", "SOLUSDT")
        await world.clock.sleep(0.2)
        began = world.clock.monotonic()
        managed = await world.enters()
        assert world.clock.monotonic() - began < 1.5
        assert [hedge.instrument.symbol for hedge in (await world.stored(managed)).plan.hedges] == ["ETHUSDT"]
        await world.until_said(request_id, "protected")

    simulate(story)


def test_the_entry_is_a_market_order_and_its_stop_reduce_only() -> None:
    async def story(world: World) -> None:
        await world.asks("buy")
        entry, stop = world.placed[0], next(order for order in world.placed if isinstance(order, StopOrder))
        assert isinstance(entry, MarketOrder)
        assert not entry.reduce_only
        assert (stop.quantity, stop.closes_position) == (entry.quantity, False)
        assert not any(isinstance(order, LimitOrder) for order in world.placed)
        await world.asks("close")

    simulate(story)
