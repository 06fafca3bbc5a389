"""Never a position without a stop (rules 4.4): working stop, backstop, escalation, for the main leg and the hedges.

The working stop of the main leg is a reduce-only STOP_MARKET for the whole open quantity; a hedge's closes its whole position.
One working stop at a time: a better one is placed and acknowledged first, then the older is cancelled.
"""

from app.domain.orders import OrderStatus, StopOrder, Trigger
from app.domain.plan import Purpose
from app.domain.trade.messages import Failure
from app.domain.trade.state import Leg, OrderRecord, Work, is_beyond, matches

SECOND_STOP_S = 1.0
GIVE_UP_S = 2.5
STUCK_TRIGGER_S = 2.0
WHOLE_POSITION_S = 0.5  # so long the algo service may be blind to a position that was just opened
RETRY_S = (0.05, 0.1, 0.2, 0.4)
BACKSTOP_RETRY_S = (0.1, 0.2, 0.4, 0.8, 1.6, 3.0)


def drive_protection(work: Work, leg: Leg) -> None:
    trade = work.trade
    open_quantity = trade.open_quantity(leg)
    stops = trade.records(leg, Purpose.STOP)
    if open_quantity == 0:
        if leg.uncovered_since is not None:
            work.say("closed_uncovered", leg=leg.index, symbol=leg.symbol, naked_ms=_naked_ms(work, leg.uncovered_since))
        leg.uncovered_since, leg.escalated = None, False
        return
    _measure_cover(work, leg, stops)
    if any(stop.is_triggering for stop in stops):
        _watch_trigger(work, leg, stops)
        return
    if _needs_exit(work, leg, stops):
        return
    _keep_stop(work, leg, stops)
    if leg.index == 0 and not trade.exiting:
        _keep_backstop(work, leg)


def _measure_cover(work: Work, leg: Leg, stops: list[OrderRecord]) -> None:
    """Naked time runs from the fill that is not covered to the acknowledgement of the stop that covers it."""
    open_quantity = work.trade.open_quantity(leg)
    covered = any(
        stop.is_resting and stop.cancel_sent_at is None and (stop.order.quantity is None or stop.order.quantity >= open_quantity)
        for stop in stops
    ) or any(stop.is_triggering for stop in stops)
    if not covered:
        if leg.uncovered_since is None:
            leg.uncovered_since = work.now.monotonic
        return
    if leg.uncovered_since is not None:
        naked_ms = _naked_ms(work, leg.uncovered_since)
        work.say("covered", leg=leg.index, symbol=leg.symbol, naked_ms=naked_ms, quantity=open_quantity)
        leg.uncovered_since, leg.escalated = None, False


def _naked_ms(work: Work, since: float) -> float:
    return round((work.now.monotonic - since) * 1000, 3)


def _watch_trigger(work: Work, leg: Leg, stops: list[OrderRecord]) -> None:
    """A stop handed to the matching engine must come back within 2 s."""
    for stop in stops:
        if stop.is_triggering and work.due(stop.status_at + STUCK_TRIGGER_S):
            work.exit_leg(leg, "stop_stuck")


def _needs_exit(work: Work, leg: Leg, stops: list[OrderRecord]) -> bool:
    """The cases in which no stop can help any more and the position is closed at market."""
    newest = stops[-1] if stops else None
    if newest is not None and newest.failure in (Failure.WOULD_TRIGGER, Failure.INVALID, Failure.MARGIN):
        work.exit_leg(leg, "stop_crossed" if newest.failure is Failure.WOULD_TRIGGER else "stop_refused")
        return True
    if any(stop.status is OrderStatus.REJECTED for stop in stops):
        work.exit_leg(leg, "stop_rejected")
        return True
    if any(stop.is_over and stop.executed > 0 for stop in stops):
        work.exit_leg(leg, "stop_fell_short")  # it has run, and something is still open
        return True
    if leg.uncovered_since is not None:
        if _price_beyond(work, leg):
            work.exit_leg(leg, "price_beyond_stop")
            return True
        if work.due(leg.uncovered_since + GIVE_UP_S):
            work.exit_leg(leg, "not_protected")
            return True
    return False


def _price_beyond(work: Work, leg: Leg) -> bool:
    seen = work.trade.quotes.get(leg.symbol)
    return seen is not None and is_beyond(leg.side, seen[0].opposite(leg.side.opposite), work.trade.stop_trigger(leg))


def _keep_stop(work: Work, leg: Leg, stops: list[OrderRecord]) -> None:
    trade = work.trade
    if trade.exiting_leg(leg):
        return  # the market exit is under way; what rests keeps resting until flat
    trigger, quantity = trade.stop_trigger(leg), trade.open_quantity(leg)
    live = [stop for stop in stops if not stop.is_over and stop.cancel_sent_at is None]
    in_flight = [stop for stop in live if stop.is_in_flight]
    resting = [stop for stop in live if stop.is_resting]
    escalates = _escalates(work, leg)
    if in_flight:
        for record in in_flight if escalates else ():
            work.ask(record)
    elif resting and matches(resting[-1], trigger, quantity):
        for older in resting[:-1]:
            work.cancel(older)
        return
    if escalates or (not in_flight and _may_retry(work, leg, stops)):
        _place_stop(work, leg)


def _may_retry(work: Work, leg: Leg, stops: list[OrderRecord]) -> bool:
    failed = [stop for stop in stops if stop.failure is not None and stop.failure is not Failure.UNKNOWN]
    if not stops or stops[-1] not in failed:
        return True
    in_a_row = 0
    for stop in reversed(stops):
        if stop not in failed:
            break
        in_a_row += 1
    if failed[-1].failure is Failure.REDUCE_ONLY and in_a_row == 2:
        work.repair(leg.symbol)
    return work.due(failed[-1].retry_at(RETRY_S[min(in_a_row, len(RETRY_S)) - 1]))


def _place_stop(work: Work, leg: Leg) -> None:
    """A hedge's stop closes the position; where the algo service does not see one in time, a quantity stop stands in."""
    trade = work.trade
    name = work.name(leg, Purpose.STOP)
    uncovered_s = work.now.monotonic - leg.uncovered_since if leg.uncovered_since is not None else 0.0
    refused = any(s.failure is Failure.STOP_EXISTS for s in trade.records(leg, Purpose.STOP))
    whole_position = leg.index > 0 and uncovered_s < WHOLE_POSITION_S and not refused
    quantity = None if whole_position else trade.open_quantity(leg)
    work.send(name, StopOrder(name.client_id, leg.symbol, leg.side.opposite, trade.stop_trigger(leg), quantity))


def _escalates(work: Work, leg: Leg) -> bool:
    """Once, 1 s after a fill no acknowledged stop covers: another one under a new id at once, and the unanswered is asked for."""
    if leg.uncovered_since is None or leg.escalated or not work.due(leg.uncovered_since + SECOND_STOP_S):
        return False
    leg.escalated = True
    work.say("stop_escalated", leg=leg.index, symbol=leg.symbol)
    return True


def _keep_backstop(work: Work, leg: Leg) -> None:
    """The second layer: closePosition on the mark price, half an R beyond the initial stop, never moved."""
    plan, records = work.trade.plan, work.trade.records(leg, Purpose.BACKSTOP)
    if leg.uncovered_since is not None or "backstop_given_up" in work.trade.said:
        return
    last = records[-1] if records else None
    if last is not None:
        if not last.is_over or (last.failure is None and last.status is not OrderStatus.CANCELED):
            return  # cancelled by a hand, it is put back
        if last.failure not in (None, Failure.NO_POSITION, Failure.NOT_EXECUTED):
            work.say_once("backstop_given_up", failure=last.failure.value)
            return
        if last.failure and not work.due(last.retry_at(BACKSTOP_RETRY_S[min(len(records), len(BACKSTOP_RETRY_S)) - 1])):
            return
    name = work.name(leg, Purpose.BACKSTOP)
    order = StopOrder(name.client_id, leg.symbol, leg.side.opposite, plan.backstop, None, Trigger.MARK)
    work.send(name, order)
