"""A trade rebuilt after a restart: from its plan and from what the exchange says of its orders and fills (invariant I8).

Nothing is bought on after a restart, by no leg: an entry of ours found in the book is cancelled first, then what has filled is
protected. A request of the last life may still be on its way and arrive later: the trade does not finish before that is over.
"""

from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal

from app.domain.orders import (
    Fill,
    LimitOrder,
    MarketOrder,
    Order,
    OrderKind,
    OrderState,
    OrderStatus,
    StopOrder,
    TimeInForce,
    Trigger,
)
from app.domain.plan import OrderName, Plan, Purpose
from app.domain.trade.messages import Failure, Instant
from app.domain.trade.state import Leg, Trade, Window, new_trade, record_of, tighter

ATTEMPTS_PER_LIFE = 100
SETTLE_S = 5.0  # receive window and lag


def order_from_state(state: OrderState) -> Order:
    """The order as it must have been sent, from what the exchange says of it."""
    if state.kind is OrderKind.ALGO:
        name = OrderName.parse(state.client_id)
        on = Trigger.MARK if name is not None and name.purpose is Purpose.BACKSTOP else Trigger.CONTRACT
        return StopOrder(state.client_id, state.symbol, state.side, state.price, state.quantity or None, on)
    if state.price == 0:
        return MarketOrder(state.client_id, state.symbol, state.side, state.quantity, state.reduce_only)
    return LimitOrder(state.client_id, state.symbol, state.side, state.quantity, state.price, TimeInForce.GTC, state.reduce_only)


def recover(
    plan: Plan,
    orders: Iterable[OrderState],
    remembered: Iterable[OrderState],
    fills: Iterable[Fill],
    said: frozenset[str],
    stop: Decimal | None,
    exit_reason: str,
    lives: int,
    now: Instant,
) -> Trade:
    """The trade as the exchange knows it. ``remembered`` are the journal's order states: one the exchange does not list keeps
    what it executed and is asked for. ``lives`` counts the restarts it has been through, this one included; ``said``,
    ``stop`` (the level last decided) and ``exit_reason`` come from the journal. The caller then steps it with a Tick, and
    everything missing follows."""
    trade = new_trade(plan)
    trade.attempt_base = lives * ATTEMPTS_PER_LIFE
    trade.said, trade.exit_reason = said, exit_reason
    trade.finish_from = now.monotonic + SETTLE_S
    trade.countdown_at = now.monotonic  # the last life's may still run, and would cancel the targets placed now
    for state in orders:
        name = OrderName.parse(state.client_id)
        if name is not None and name.trade_id == plan.trade_id:
            trade.put(record_of(state, name, order_from_state(state), now))
    for state in remembered:
        name = OrderName.parse(state.client_id)
        if name is not None and state.client_id not in trade.orders:
            record = record_of(state, name, order_from_state(state), now)
            is_known = record.is_over
            trade.put(record if is_known else replace(record, status=None, failure=Failure.UNKNOWN))
    _take_fills(trade, fills)
    trade.trailed = "trailed" in said
    trade.stop = tighter(plan.side, trade.stop, stop or trade.stop)
    for record in trade.records(trade.main, Purpose.STOP):
        if isinstance(record.order, StopOrder) and record.status is not OrderStatus.REJECTED:
            _follow_stop(trade, record.order.trigger)
    for leg in trade.legs:
        _reopen_leg(trade, leg)
    return trade


def _follow_stop(trade: Trade, trigger: Decimal) -> None:
    """A stop that left before the word of it was written down, whatever became of it: the next is no looser (I5). After
    break-even, only the trail moves it."""
    stop = tighter(trade.plan.side, trade.stop, trigger)
    if stop != trade.stop:
        trade.stop = stop
        trade.trailed = trade.trailed or "break_even" in trade.said


def _take_fills(trade: Trade, fills: Iterable[Fill]) -> None:
    for fill in fills:
        name = OrderName.parse(fill.client_id)
        leg = trade.leg_of(fill.symbol)
        if leg is None or name is None or name.trade_id != trade.plan.trade_id:
            continue
        trade.fills[(fill.symbol, fill.venue_trade_id)] = fill
        if leg.index == 0 and name.purpose.is_entry:
            trade.first_fill_ms = min(trade.first_fill_ms or fill.time_ms, fill.time_ms)


def _reopen_leg(trade: Trade, leg: Leg) -> None:
    """What it holds is all it gets."""
    entries = trade.records(leg, Purpose.MAKER, Purpose.TAKER)
    leg.goal = trade.entered(leg)
    leg.window = Window.CLOSED if all(record.is_over for record in entries) else Window.MAKER
    leg.retired = leg.corrected = True
