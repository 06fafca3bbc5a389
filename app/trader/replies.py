"""What the alert's sender is told, in the words of the first webhook's contract."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from app.domain.orders import Order
from app.domain.plan import Purpose
from app.domain.refusals import ended_unfilled
from app.domain.trade.state import OrderRecord
from app.domain.verdict import Refusal, Verdict
from app.trader.live_trade import LiveTrade

Reply = Mapping[str, Any]

_PRICE_STEP = Decimal("1e-8")


def refusal_reply(alert_id: str, refusal: Refusal, verdicts: Sequence[Verdict] = ()) -> Reply:
    """``verdicts``: every guard that was asked, in their order."""
    return {
        "http_status": 422,
        "success": False,
        "id": alert_id,
        "error": refusal.message,
        "code": refusal.code,
        "guard": refusal.guard,
        "reason": refusal.reason or refusal.message,
        "suggestions": list(refusal.suggestions),
        "verdicts": said(verdicts),
    }


def said(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """What every guard said, for people."""
    return [{"guard": verdict.guard, "passed": verdict.passed, "reason": verdict.reason} for verdict in verdicts]


def placed_reply(live: LiveTrade) -> Mapping[str, Any]:
    trade = live.trade
    entries = trade.records(trade.main, Purpose.MAKER, Purpose.TAKER)
    return {
        "status": "trade placed",
        "id": live.trade_id,
        "details": {
            "entry_order": _order(_last(entries))  # the last of them; quantity and fills of all
            | {
                "quantity": str(trade.plan.quantity),
                "average_price": _readable(trade.average_entry),
                "filled": str(trade.entered(trade.main)),
            },
            "sl_order": _order(_last(trade.records(trade.main, Purpose.STOP))),
            "tp1_order": _order(_last(trade.records(trade.main, Purpose.TARGET_1))),
        },
        "hedges": [hedge.instrument.symbol for hedge in trade.plan.hedges],
        "warnings": list(trade.plan.warnings),
        "verdicts": said(live.verdicts),
    }


def unfilled_reply(live: LiveTrade, reason: str) -> Mapping[str, Any]:
    """The trade ended before it was protected: not filled, or closed again at once."""
    closed = f"the trade was closed again: {reason}"
    refusal = Refusal(reason, closed, "entry", reason=closed) if live.trade.fills else ended_unfilled(reason)
    return refusal_reply(live.trade_id, refusal, live.verdicts)


def _readable(price: Decimal | None) -> str | None:
    """An average of several fills, without the digits that nobody traded at."""
    if price is None:
        return None
    return f"{price.quantize(_PRICE_STEP):f}" if price != price.quantize(_PRICE_STEP) else f"{price:f}"


def _last(records: list[OrderRecord]) -> OrderRecord | None:
    return records[-1] if records else None


def _order(record: OrderRecord | None) -> dict[str, Any]:
    if record is None:
        return {}
    order: Order = record.order
    price = getattr(order, "price", None) or getattr(order, "trigger", None)
    return {
        "client_id": order.client_id,
        "symbol": order.symbol,
        "side": order.side.value,
        "quantity": None if order.quantity is None else str(order.quantity),
        "price": None if price is None else str(price),
        "status": record.status.value if record.status else "SENT",
    }
