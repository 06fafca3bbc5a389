"""Facts into the trade: what exchange, market and operator said. Nothing is decided here but what a fact itself means."""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

from app.domain.flow import pushes
from app.domain.market import FlowReading
from app.domain.orders import Fill, OrderKind, OrderState, OrderStatus
from app.domain.plan import OrderName, Purpose
from app.domain.risk.funding import funding_gate
from app.domain.trade.messages import (
    Ask,
    BarClosed,
    CancelFailed,
    Event,
    ExitRequested,
    Failure,
    Filled,
    FlowSeen,
    FundingSeen,
    OrderFailed,
    OrderKnown,
    OrderMissing,
    Pause,
    PositionDiffers,
    QuoteSeen,
    StopBuying,
    StructureSeen,
    Swept,
)
from app.domain.trade.recovery import order_from_state
from app.domain.trade.state import HOLD_SHORTENED, REPAIR_EVERY_S, ZERO, OrderRecord, Window, Work, record_of

MISSING_BEFORE_BELIEVED = 3  # the algo service may answer "no such order" for a while after taking one
ABSENCE_SURE_S = 5.0  # within its receive window and some lag an order may still arrive


def absorb(work: Work, event: Event) -> None:
    match event:
        case OrderKnown(state):
            _order_known(work, state.client_id, event)
        case OrderFailed():
            _order_failed(work, event)
        case OrderMissing(client_id):
            _order_missing(work, client_id)
        case CancelFailed(client_id):
            if record := work.trade.orders.get(client_id):
                work.update(replace(record, cancel_sent_at=None))
        case Filled(fill):
            _filled(work, fill)
        case QuoteSeen(quote):
            work.trade.quotes[quote.symbol] = (quote, work.now.monotonic)
        case BarClosed() | StructureSeen():
            pass  # trailing and the structure's exit read it from the event itself
        case FlowSeen(flow):
            _flow_seen(work, flow)
        case FundingSeen(rate_8h):
            _funding_seen(work, rate_8h)
        case ExitRequested(reason):
            work.exit(reason)
        case StopBuying():
            _stop_buying(work)
        case PositionDiffers(symbol, quantity):
            _position_differs(work, symbol, quantity)
        case Swept(leftovers, positions):
            _swept(work, leftovers, positions)


def _stop_buying(work: Work) -> None:
    """Hedges, too: a trade that stays without them says so."""
    trade = work.trade
    trade.buying_stopped = True
    if entering := [leg.symbol for leg in trade.legs if leg.window is not Window.CLOSED]:
        work.say_once("buying_stopped", symbols=entering)


def _flow_seen(work: Work, flow: FlowReading) -> None:
    """Strong flow our way once is enough: the maker order's wait is over."""
    trade = work.trade
    if not trade.hurried and pushes(trade.plan.side, flow, work.now.exchange_ms, trade.plan.rules.flow):
        trade.hurried = True
        work.say("entry_hurried", delta_1m=flow.delta_1m, typical_1m=flow.typical_1m)


def _funding_seen(work: Work, rate_8h: Decimal) -> None:
    """A short at high funding is held for less long, from here to its end: the word survives a restart."""
    plan = work.trade.plan
    gate = funding_gate(plan.side, rate_8h, plan.rules.funding)
    if gate.hold_min is not None and plan.is_managed:
        work.say_once(HOLD_SHORTENED, funding_8h=rate_8h, minutes=gate.hold_min)


def _order_known(work: Work, client_id: str, event: OrderKnown) -> None:
    state, now = event.state, work.now
    record = work.trade.orders.get(client_id)
    if record is None:
        name = OrderName.parse(client_id)
        if name is None or name.trade_id != work.trade.plan.trade_id:
            return
        record = record_of(state, name, order_from_state(state), now)
        work.update(record)
    executed = max(record.executed, state.executed)
    was_over = record.status is not None and record.status.is_final
    status = record.status if was_over or _is_older(record, state.status) else state.status
    update = replace(
        record,
        executed=executed,
        status=status,
        status_at=record.status_at if status is record.status else now.monotonic,
        acked_at=record.acked_at if record.acked_at is not None else now.monotonic,
        failure=None,
        missing=0,
        order_id=state.order_id or record.order_id,
    )
    work.update(update)
    if record.acked_at is None:
        _say_acknowledged(work, update)
    if update.status is OrderStatus.REJECTED and record.status is not OrderStatus.REJECTED:
        work.say("order_rejected", client_id=client_id, reason=state.reason)


_PROGRESS = {OrderStatus.OPEN: 0, OrderStatus.TRIGGERING: 1, OrderStatus.TRIGGERED: 2}


def _is_older(record: OrderRecord, status: OrderStatus) -> bool:
    """Updates of different channels overtake each other: an algo order never goes back to waiting."""
    if record.status is None or status.is_final:
        return False
    return _PROGRESS[status] < _PROGRESS.get(record.status, 0)


def _say_acknowledged(work: Work, record: OrderRecord) -> None:
    waited_ms = round((work.now.monotonic - record.sent_at) * 1000, 3)
    work.say(
        "order_acknowledged",
        client_id=record.name.client_id,
        leg=record.name.leg,
        purpose=record.name.purpose.value,
        symbol=record.order.symbol,
        latency_ms=waited_ms,
    )


def _order_failed(work: Work, failed: OrderFailed) -> None:
    record, failure = work.trade.orders.get(failed.client_id), failed.failure
    if record is None or record.is_over:
        return
    if failure is Failure.UNKNOWN or record.status is not None:  # it is known to exist, whatever its request came to
        failure = Failure.UNKNOWN
        asks = record.unknown_asks + 1
        work.update(replace(record, failure=failure, unknown_asks=asks, asked_at=work.now.monotonic))
    else:
        now = work.now.monotonic
        work.update(replace(record, failure=failure, failed_at=now, held_until=now + failed.retry_after_s))
    words = {"failure": failure.value, "message": failed.message, "code": failed.code, "words": failed.words}
    work.say("order_failed", client_id=failed.client_id, **words)


def _order_missing(work: Work, client_id: str) -> None:
    record = work.trade.orders.get(client_id)
    if record is None or record.is_over:
        return
    now, missing = work.now.monotonic, record.missing + 1
    may_arrive = record.name.purpose.is_entry and now < record.sent_at + ABSENCE_SURE_S
    if missing < MISSING_BEFORE_BELIEVED or may_arrive:
        work.update(replace(record, missing=missing, failure=Failure.UNKNOWN, asked_at=now))
        return
    work.update(replace(record, missing=missing, failure=Failure.NOT_EXECUTED, failed_at=now))
    work.trade.finish_from = max(work.trade.finish_from, record.sent_at + ABSENCE_SURE_S)
    work.say("order_missing", client_id=client_id)


def _filled(work: Work, fill: Fill) -> None:
    trade = work.trade
    key = (fill.symbol, fill.venue_trade_id)
    leg = trade.leg_of(fill.symbol)
    if leg is None or key in trade.fills:
        return
    name = OrderName.parse(fill.client_id)
    if name is None or name.trade_id != trade.plan.trade_id:
        _foreign_fill(work, fill)
        return
    trade.fills[key] = fill
    record = trade.orders.get(fill.client_id)
    if record is None:
        work.commands.append(_ask(fill, name))
        return
    total = sum((f.quantity for f in trade.fills_of({fill.client_id})), ZERO)
    done = record.order.quantity is not None and total >= record.order.quantity
    work.update(
        replace(
            record,
            executed=max(record.executed, total),
            status=OrderStatus.FILLED if done else record.status or OrderStatus.OPEN,
            status_at=work.now.monotonic if done else record.status_at,
            failure=None,
        )
    )
    if record.name.leg == 0 and record.name.purpose.is_entry and trade.first_fill_ms is None:
        trade.first_fill_ms = fill.time_ms
    work.say(
        "fill",
        leg=record.name.leg,
        purpose=record.name.purpose.value,
        symbol=fill.symbol,
        side=fill.side.value,
        quantity=fill.quantity,
        price=fill.price,
        maker=fill.is_maker,
    )


def _ask(fill: Fill, name: OrderName) -> Ask:
    kind = OrderKind.ALGO if name.purpose in (Purpose.STOP, Purpose.BACKSTOP) else OrderKind.PLAIN
    return Ask(fill.symbol, fill.client_id, kind)


def _foreign_fill(work: Work, fill: Fill) -> None:
    """Somebody else (a hand, ADL, a liquidation) traded a symbol this trade owns. In its account is what closed of its own: it
    did not buy what was added, nor sell what was sold beyond it."""
    leg = work.trade.leg_of(fill.symbol)
    if leg is None or work.trade.closed:
        return
    ours = ZERO
    if fill.side is leg.side:
        leg.added += fill.quantity
    else:
        expected = min(leg.unexplained, fill.quantity)  # the position has shown it before
        closed = min(fill.quantity - expected, work.trade.open_quantity(leg))
        leg.unexplained -= expected
        leg.foreign += closed
        ours = expected + closed
    work.trade.fills[(fill.symbol, fill.venue_trade_id)] = _part_of(fill, ours)
    _closed_externally(work, leg.symbol, fill.client_id)


def _part_of(fill: Fill, quantity: Decimal) -> Fill:
    """So much of it, with that much of its fee and result."""
    share = quantity / fill.quantity
    return replace(fill, quantity=quantity, fee=fill.fee * share, realized_pnl=fill.realized_pnl * share)


def _swept(work: Work, leftovers: tuple[OrderState, ...], positions: Mapping[str, Decimal]) -> None:
    trade = work.trade
    trade.sweep_pending = False
    for state in leftovers:
        _order_known(work, state.client_id, OrderKnown(state))
    held = [leg.symbol for leg in trade.legs if positions.get(leg.symbol, ZERO) * leg.side.sign > leg.added]
    trade.flat = not held
    trade.clean = not held and not leftovers
    if not held:
        trade.held_since = None
        return
    trade.held_since = trade.held_since or work.now.monotonic
    trade.sweep_from = work.now.monotonic + REPAIR_EVERY_S
    for symbol in held:
        work.repair(symbol)


def _position_differs(work: Work, symbol: str, quantity: Decimal) -> None:
    trade = work.trade
    leg = trade.leg_of(symbol)
    if leg is None or trade.closed:
        return
    held = max(ZERO, quantity * leg.side.sign)
    missing = trade.open_quantity(leg) - held
    if missing == 0 and quantity * leg.side.sign >= 0:
        return
    leg.foreign += max(ZERO, missing)
    leg.unexplained += max(ZERO, missing)
    _closed_externally(work, symbol, "position")


def _closed_externally(work: Work, symbol: str, who: str) -> None:
    if "closed_externally" not in work.trade.said:
        work.say_once("closed_externally", symbol=symbol, by=who)
        work.commands.append(Pause("closed_externally"))
    work.trade.buying_stopped = True
    work.exit("closed_externally")
