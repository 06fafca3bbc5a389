"""What a trade of the advanced webhook came to, read from its own records."""

from app.domain.advanced_answers import ClosedPosition, Executed, api_refusal
from app.domain.orders import OrderStatus
from app.domain.plan import Purpose
from app.domain.refusals import ended_unfilled, refuse
from app.domain.verdict import Refusal
from app.trader.live_trade import LiveTrade

_PRICE_MOVED = frozenset({"price_ran", "price_through_stop", "stale_price"})
_CANCELLED = (OrderStatus.CANCELED, OrderStatus.EXPIRED)


def outcome_of(live: LiveTrade) -> Executed | Refusal:
    """Of an opening that is protected, or over before it was."""
    trade = live.trade
    if not live.protected.is_set():
        return _why_not(live)
    entries = [record for record in trade.records(trade.main, Purpose.TAKER) if record.executed]
    stops = [record for record in trade.records(trade.main, Purpose.STOP) if record.acked_at is not None]
    return Executed(
        quantity=trade.entered(trade.main),
        average_price=trade.average_entry or trade.plan.p0,
        order_id=entries[-1].order_id if entries else 0,
        stop=trade.stop,
        stop_order_id=stops[-1].order_id if stops else 0,
    )


def _why_not(live: LiveTrade) -> Refusal:
    reason = live.trade.exit_reason
    if live.trade.fills:
        return refuse("closed_again", reason=reason, id=live.trade_id)
    failure = live.milestones.get("order_failed")
    if reason == "entry_refused" and failure is not None:
        return api_refusal(int(failure["code"]), str(failure["words"] or failure["message"]))
    why = ended_unfilled(reason)
    return refuse("market_price_moved", detail=why.message) if reason in _PRICE_MOVED else why


def closed_positions(live: LiveTrade) -> list[ClosedPosition]:
    """The market exits of every leg that was still open when its end was asked for."""
    trade = live.trade
    return [
        ClosedPosition(leg.symbol, record.executed, record.order_id, record.order.side)
        for leg in trade.legs
        for record in trade.records(leg, Purpose.EXIT)
        if record.executed
    ]


def cancelled_orders(live: LiveTrade) -> list[int]:
    """Plain and algo orders that ended unexecuted with the position."""
    records = live.trade.orders.values()
    return [r.order_id for r in records if r.status in _CANCELLED and not r.name.purpose.is_entry and r.order_id]
