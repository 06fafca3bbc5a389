"""Each invariant is seen to break where it breaks, and only there."""

from dataclasses import replace
from decimal import Decimal

import pytest
from manual_clock import ManualClock
from storage_samples import a_closing, a_plan

from app.domain.instrument import Side
from app.domain.orders import LimitOrder, MarketOrder, StopOrder, TimeInForce
from app.domain.plan import OrderName, Plan, Purpose, trade_id_for
from app.exchange.in_memory import InMemoryExchange
from app.replay.invariants import Invariants
from app.simulator.venue import Venue
from app.storage.port import FillNote, Note
from app.trader.desk import WRITE_AFTER_S

PRICE = Decimal(85_000)
QUANTITY = Decimal("0.018")


def plan_for(key: str = "key1") -> Plan:
    plan = replace(a_plan(), alert_key=key, trade_id=trade_id_for(key), hedges=(), risk_usdt=Decimal("7.6"))
    return replace(plan, alert_id=plan.trade_id)


class Desk:
    """A trader in the hands of the test: what it writes, sends and hears is told to the invariants."""

    def __init__(self, **watch: float) -> None:
        self.clock = ManualClock()
        self.venue = Venue({"BTCUSDT": PRICE, "ETHUSDT": Decimal(3_000)}, 1_765_000_000_000)
        self.watch = Invariants(self.venue, self.clock, **watch)
        self.exchange = InMemoryExchange(self.venue)
        self.plan = plan_for()
        self.watch.plan_written(self.plan)

    def client_id(self, purpose: Purpose, attempt: int = 0, plan: Plan | None = None) -> str:
        return OrderName((plan or self.plan).trade_id, 0, purpose, attempt).client_id

    async def enter(self, quantity: Decimal = QUANTITY) -> None:
        await self.send(
            LimitOrder(self.client_id(Purpose.TAKER), "BTCUSDT", Side.BUY, quantity, PRICE + 50, TimeInForce.IOC), is_written=True
        )

    async def stop(self, trigger: int = 84_600, attempt: int = 0, quantity: Decimal = QUANTITY) -> None:
        await self.send(
            StopOrder(self.client_id(Purpose.STOP, attempt), "BTCUSDT", Side.SELL, Decimal(trigger), quantity), is_written=True
        )

    async def send(self, order: LimitOrder | MarketOrder | StopOrder, *, is_written: bool) -> None:
        known = {trade.trade_id for trade in self.venue.trades()}
        self.watch.order_sent(order)
        await self.exchange.place(order)
        fills = [f for f in await self.exchange.fills_since(order.symbol, 0) if f.venue_trade_id not in known]
        for fill in fills if is_written else []:
            self.watch.entry_written(FillNote(self.plan.trade_id, fill))
        state = await self.exchange.find(order.symbol, order.client_id, order.kind)
        assert state is not None
        self.watch.exchange_said(state)

    def on_the_wire(self, purpose: Purpose, attempt: int = 0) -> None:
        """It has left, and has not arrived."""
        name = self.client_id(purpose, attempt)
        if purpose is Purpose.EXIT:
            self.watch.order_sent(MarketOrder(name, "BTCUSDT", Side.SELL, QUANTITY, reduce_only=True))
        else:
            self.watch.order_sent(StopOrder(name, "BTCUSDT", Side.SELL, Decimal(84_600), QUANTITY))

    async def passes(self, seconds: float) -> None:
        self.watch.time_passes()
        self.clock.advance(seconds)
        self.watch.time_passes()

    @property
    def broken(self) -> list[str]:
        return [broken.breach.invariant for broken in self.watch.broken]


async def test_a_proper_trade_breaks_nothing_and_is_looked_at_all_along() -> None:
    desk = Desk()
    await desk.enter()
    await desk.passes(0.9)
    await desk.stop()
    await desk.passes(60)
    await desk.stop(85_000 - 200, attempt=1)
    await desk.exchange.cancel("BTCUSDT", desk.client_id(Purpose.STOP), StopOrder.kind)
    exit_id = desk.client_id(Purpose.EXIT)
    await desk.send(MarketOrder(exit_id, "BTCUSDT", Side.SELL, QUANTITY, reduce_only=True), is_written=True)
    await desk.exchange.cancel("BTCUSDT", desk.client_id(Purpose.STOP, 1), StopOrder.kind)
    desk.watch.entry_written(replace(a_closing(), trade_id=desk.plan.trade_id))
    await desk.passes(1)
    assert desk.broken == []
    assert all(count > 0 for count in desk.watch.checks.values())


async def test_i1_a_position_without_a_stop_for_more_than_a_second_and_said_once() -> None:
    desk = Desk()
    await desk.enter()
    await desk.passes(1.0)
    assert desk.broken == []
    await desk.passes(0.001)
    await desk.passes(5)
    assert desk.broken == ["I1"]


async def test_i1_what_the_journal_says_covers_nothing() -> None:
    desk = Desk()
    await desk.enter()
    await desk.passes(1.0)
    for kind in ("stop_escalated", "exit", "covered"):
        desk.watch.entry_written(Note(desk.plan.trade_id, kind, 0, 0, {"leg": 0, "reason": "operator"}))
    await desk.passes(0.001)
    assert desk.broken == ["I1"]


async def test_i1_a_stop_sent_again_within_the_second_is_no_escalation() -> None:
    desk = Desk()
    await desk.enter()
    for attempt, after_s in enumerate((0.05, 0.1, 0.2, 0.4)):
        await desk.passes(after_s)
        desk.on_the_wire(Purpose.STOP, attempt)
    await desk.passes(0.251)
    assert desk.broken == ["I1"]


async def test_i1_a_market_exit_has_a_second_more_than_the_escalation() -> None:
    desk = Desk()
    await desk.enter()
    await desk.passes(1.0)
    desk.on_the_wire(Purpose.STOP, 1)
    await desk.passes(1.5)
    desk.on_the_wire(Purpose.EXIT)
    await desk.passes(1.0)
    assert desk.broken == []
    await desk.passes(0.001)
    assert desk.broken == ["I1"]


async def test_i1_a_stop_for_less_than_the_position_does_not_cover_it() -> None:
    desk = Desk()
    await desk.enter()
    await desk.stop(quantity=QUANTITY / 2)
    await desk.passes(1.5)
    assert desk.broken == ["I1"]


async def test_i1_an_escalation_has_until_two_and_a_half_seconds() -> None:
    desk = Desk()
    await desk.enter()
    await desk.passes(1.0)
    desk.on_the_wire(Purpose.STOP, 1)
    await desk.passes(1.5)
    assert desk.broken == []
    await desk.passes(0.001)
    assert desk.broken == ["I1"]


async def test_i1_time_in_which_the_trader_is_dead_does_not_count() -> None:
    desk = Desk()
    await desk.enter()
    await desk.passes(0.5)
    desk.watch.absent()
    await desk.passes(60)
    desk.watch.back()
    await desk.passes(0.9)
    await desk.stop()
    await desk.passes(5)
    assert desk.broken == []


async def test_what_the_host_keeps_from_everybody_does_not_count_nor_bring_a_dead_trader_back() -> None:
    desk = Desk(stall_s=0.3)
    await desk.enter()
    for _ in range(3):
        await desk.passes(0.29)
    await desk.passes(0.31)
    for _ in range(3):
        await desk.passes(0.29)
    assert desk.broken == []
    assert desk.watch.stalls == 1
    desk.watch.absent()
    await desk.passes(60)
    await desk.passes(0.2)
    assert desk.broken == []
    desk.watch.back()
    for _ in range(5):
        await desk.passes(0.21)
    assert desk.broken == ["I1"]


def test_i2_an_alert_makes_one_trade() -> None:
    desk = Desk()
    desk.watch.plan_written(desk.plan)
    assert desk.broken == ["I2"]


def test_i2_a_trade_is_named_by_its_alert() -> None:
    desk = Desk()
    desk.watch.plan_written(replace(plan_for("key2"), alert_key="key3"))
    assert desk.broken == ["I2"]


async def test_i3_a_fill_the_journal_does_not_have() -> None:
    desk = Desk()
    order = LimitOrder(desk.client_id(Purpose.TAKER), "BTCUSDT", Side.BUY, QUANTITY, PRICE + 50, TimeInForce.IOC)
    await desk.send(order, is_written=False)
    await desk.stop()
    assert desk.broken == []  # not yet: it may be on its way
    await desk.passes(WRITE_AFTER_S + 0.001)
    assert desk.broken == ["I3"]


async def test_i4_a_closed_trade_leaves_neither_position_nor_order() -> None:
    desk = Desk()
    await desk.enter()
    await desk.stop()
    desk.watch.entry_written(replace(a_closing(), trade_id=desk.plan.trade_id))
    assert {*desk.broken} == {"I3", "I4"}
    assert any("is still open" in broken.breach.what for broken in desk.watch.broken)


async def test_i5_a_stop_that_loosens() -> None:
    desk = Desk()
    await desk.enter()
    await desk.stop(84_600)
    await desk.stop(84_700, attempt=1)
    await desk.stop(84_700, attempt=2)
    assert desk.broken == []
    await desk.stop(84_699, attempt=3)
    assert desk.broken == ["I5"]


async def test_i6_more_at_risk_than_allowed() -> None:
    desk = Desk()
    desk.watch.plan_written(replace(plan_for("key2"), risk_usdt=Decimal("3.0")))
    plan = plan_for("key2")
    order = LimitOrder(desk.client_id(Purpose.TAKER, plan=plan), "BTCUSDT", Side.BUY, QUANTITY, PRICE + 50, TimeInForce.IOC)
    await desk.exchange.place(order)
    (fill,) = await desk.exchange.fills_since("BTCUSDT", 0)
    desk.watch.entry_written(FillNote(plan.trade_id, fill))
    assert "I6" in desk.broken


@pytest.mark.parametrize("resumed", [False, True])
def test_i6_no_trade_is_planned_while_paused(resumed: bool) -> None:
    desk = Desk()
    desk.watch.entry_written(Note("", "paused", 0, 0, {"reason": "reconciliation_mismatch"}))
    if resumed:
        desk.watch.entry_written(Note("", "operator_resume", 0, 0, {}))
    desk.watch.plan_written(plan_for("key2"))
    assert desk.broken == ([] if resumed else ["I6"])


def test_i6_the_worst_case_is_bounded() -> None:
    desk = Desk()
    desk.watch.plan_written(replace(plan_for("key2"), worst_case_r=Decimal("2.51")))
    assert desk.broken == ["I6"]


@pytest.mark.parametrize(
    "order",
    [
        MarketOrder("web_1", "BTCUSDT", Side.BUY, QUANTITY),
        MarketOrder(OrderName("aaaaaaaaaa", 0, Purpose.EXIT, 0).client_id, "BTCUSDT", Side.SELL, QUANTITY),
        MarketOrder(OrderName(trade_id_for("key1"), 1, Purpose.EXIT, 0).client_id, "ETHUSDT", Side.SELL, QUANTITY),
        MarketOrder(OrderName(trade_id_for("key1"), 0, Purpose.EXIT, 0).client_id, "ETHUSDT", Side.SELL, QUANTITY),
        MarketOrder(OrderName(trade_id_for("key1"), 0, Purpose.EXIT, 0).client_id, "BTCUSDT", Side.BUY, QUANTITY),
        MarketOrder(OrderName(trade_id_for("key1"), 0, Purpose.EXIT, 0).client_id, "BTCUSDT", Side.SELL, 2 * QUANTITY),
    ],
    ids=["not ours", "no such trade", "no such leg", "another symbol", "the wrong side", "more than planned"],
)
def test_i7_an_order_that_follows_from_no_plan(order: MarketOrder) -> None:
    desk = Desk()
    desk.watch.order_sent(order)
    assert desk.broken == ["I7"]


def test_i7_a_client_id_used_twice() -> None:
    desk = Desk()
    order = MarketOrder(desk.client_id(Purpose.EXIT), "BTCUSDT", Side.SELL, QUANTITY)
    desk.watch.order_sent(order)
    assert desk.broken == []
    desk.watch.order_sent(order)
    assert desk.broken == ["I7"]
