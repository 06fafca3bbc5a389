"""Ending: market exits, cancelling what rests, and the last look that nothing of the trade is left (rules 4.4.4, I4)."""

from dataclasses import replace

from app.domain.orders import MarketOrder, OrderStatus, StopOrder
from app.domain.plan import Purpose
from app.domain.trade.messages import Failure, Finish, Pause, Sweep
from app.domain.trade.protection import STUCK_TRIGGER_S
from app.domain.trade.state import REPAIR_EVERY_S, Leg, OrderRecord, Window, Work

RETRY_S = 0.2
SLOW_RETRY_S = 1.0
STUCK_FOR_GOOD_S = 30.0
FILLS_GIVEN_UP_S = 60.0
HELD_ALARM_S = 3.0


def drive_natural_end(work: Work) -> None:
    """The main leg is flat by its own orders, or never filled: everything else ends with it."""
    trade = work.trade
    if trade.exiting or trade.main.window is not Window.CLOSED or trade.open_quantity(trade.main) > 0:
        return
    unfilled = trade.entry_code or "not_filled"
    work.exit(unfilled if trade.entered(trade.main) == 0 else _what_closed(work))


def _what_closed(work: Work) -> str:
    trade = work.trade
    fills = [f for f in trade.fills.values() if f.symbol == trade.main.symbol and f.side is trade.main.side.opposite]
    record = trade.orders.get(max(fills, key=lambda f: f.time_ms).client_id) if fills else None
    executed = [r for r in trade.records(trade.main) if not r.name.purpose.is_entry and r.executed > 0]
    record = record or (executed[-1] if executed else None)
    purpose = record.name.purpose if record else Purpose.STOP
    if purpose.is_target:
        return "targets"
    if purpose is Purpose.BACKSTOP:
        return "backstop"
    return "stop" if trade.stop == trade.plan.stop else ("trailing_stop" if trade.trailed else "break_even")


def drive_exit(work: Work, leg: Leg) -> None:
    """Reduce-only market for all that is open; where resting targets stand in its way they go first, then again."""
    trade = work.trade
    if not trade.exiting_leg(leg) or trade.open_quantity(leg) == 0:
        return
    exits = trade.records(leg, Purpose.EXIT)
    last = exits[-1] if exits else None
    if last is not None and not last.is_over:
        return
    stops = trade.records(leg, Purpose.STOP, Purpose.BACKSTOP)
    if last is None and any(s.is_triggering and not work.due(s.status_at + STUCK_TRIGGER_S) for s in stops):
        return  # a stop is just closing it
    if last is not None:
        if not _obstacles_gone(work, leg):
            return
        if last.failure is not None and not work.due(last.retry_at(_pause(exits))):
            return
        if last.failure is Failure.REDUCE_ONLY:
            work.repair(leg.symbol)
    name = work.name(leg, Purpose.EXIT)
    quantity = min(trade.open_quantity(leg), leg.instrument.market_max_quantity)
    work.send(name, MarketOrder(name.client_id, leg.symbol, leg.side.opposite, quantity, reduce_only=True))


def _pause(exits: list[OrderRecord]) -> float:
    failures = sum(1 for record in exits if record.failure is not None)
    return 0.0 if failures == 1 and exits[-1].failure is Failure.REDUCE_ONLY else RETRY_S if failures < 5 else SLOW_RETRY_S


def _obstacles_gone(work: Work, leg: Leg) -> bool:
    """Resting reduce-only targets use up the position a market exit wants to close."""
    targets = [r for r in work.trade.records(leg) if r.name.purpose.is_target and not r.is_over]
    for record in targets:
        work.cancel(record)
    return not targets


def drive_closing(work: Work) -> None:
    """Flat everywhere: cancel what rests, ask the exchange whether anything is left, then account for the trade.

    Stops go last, and only when the exchange has confirmed that there is nothing for them to protect.
    """
    trade = work.trade
    if trade.closed:
        return
    for leg in trade.legs:
        _clear_retired(work, leg)
    if not trade.exiting:
        return
    _give_up_stuck(work)
    if any(trade.open_quantity(leg) > 0 for leg in trade.legs):
        trade.flat = trade.clean = False
        return
    if any(leg.window not in (Window.CLOSED, Window.WAITING) for leg in trade.legs):
        return
    alive = [record for record in trade.orders.values() if not record.is_over]
    for record in alive:
        if trade.flat or not isinstance(record.order, StopOrder):
            work.cancel(record)
    if not trade.flat:
        _sweep(work)
        return
    if alive or not work.due(trade.finish_from) or not _fills_are_here(work):
        trade.clean = False
        return
    if not trade.clean:
        _sweep(work)
        return
    trade.closed = True
    work.commands.append(Finish(trade.exit_reason))


def _sweep(work: Work) -> None:
    trade = work.trade
    if trade.held_since is not None and work.due(trade.held_since + HELD_ALARM_S):
        _alarm_held(work)
    if not trade.sweep_pending and work.due(trade.sweep_from):
        trade.sweep_pending = True
        work.commands.append(Sweep(trade.plan.symbols))


def _alarm_held(work: Work) -> None:
    """The exchange holds a position in our direction that no fill explains: its stops stay, and the operator has to look."""
    if "position_unexplained" not in work.trade.said:
        work.say_once("position_unexplained", symbols=list(work.trade.plan.symbols))
        work.commands.append(Pause("position_unexplained"))


def _fills_are_here(work: Work) -> bool:
    """The account of a trade needs every fill of what was executed; late ones are read by request."""
    trade = work.trade
    late = {record.order.symbol for record in trade.orders.values() if trade.filled(record) < record.executed}
    if not late:
        return True
    if trade.unaccounted_since is None:
        trade.unaccounted_since = work.now.monotonic
    if work.due(trade.unaccounted_since + FILLS_GIVEN_UP_S):
        work.say_once("fills_missing", symbols=sorted(late))
        return True
    for symbol in late:
        work.repair(symbol)
    work.wake(work.now.monotonic + REPAIR_EVERY_S)
    return False


def _give_up_stuck(work: Work) -> None:
    """A stop that never came back from triggering cannot be cancelled either: the operator has to look."""
    for record in list(work.trade.orders.values()):
        if record.is_triggering and work.due(record.status_at + STUCK_FOR_GOOD_S):
            work.update(replace(record, status=OrderStatus.EXPIRED))
            work.say("order_stuck", client_id=record.name.client_id)
            work.commands.append(Pause("order_stuck"))


def _clear_retired(work: Work, leg: Leg) -> None:
    """A hedge that is flat for good leaves no order behind."""
    trade = work.trade
    if leg.index == 0 or not leg.retired or trade.open_quantity(leg) > 0:
        return
    for record in trade.records(leg):
        work.cancel(record)
