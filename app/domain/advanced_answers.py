"""What the advanced webhook answers, in the shapes of its contract. Numbers are JSON numbers, times ISO 8601 in UTC.

Beside the contract's fields every answer bears the request's ``id``, which names its trade (GET /trades/ID).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from app.domain.advanced import Opening
from app.domain.advanced_refusals import ADVICE_BY_CODE
from app.domain.instrument import Side
from app.domain.refusals import refuse
from app.domain.requests import AdvancedRequest
from app.domain.verdict import Refusal

Answer = Mapping[str, Any]

MODE = "auto_quantity"
NOTE = "Quantity auto-calculated based on account balance percentage"
NONE_CLOSED = "No opposite position"
_REFUSED = 422


def timestamp(wall_ms: int) -> str:
    return datetime.fromtimestamp(wall_ms / 1000, UTC).isoformat(timespec="microseconds")


def api_refusal(code: int, words: str) -> Refusal:
    """The exchange's own refusal or failure. ``code`` 0: it gave no number, because it did not answer or was not asked."""
    if not code:
        return Refusal("binance_error", f"Binance API error: {words}", "", ("check the connection, then retry the request",))
    refusal = refuse("binance_error", number=code, words=words)
    advice = ADVICE_BY_CODE.get(code)
    return refusal if advice is None else Refusal(refusal.code, refusal.message, "", (advice,))


@dataclass(frozen=True, slots=True)
class Executed:
    """What came of an opening. ``stop_order_id`` is the working stop's, of the exchange's algo orders."""

    quantity: Decimal
    average_price: Decimal
    order_id: int
    stop: Decimal
    stop_order_id: int


def opened(alert_id: str, request: AdvancedRequest, opening: Opening, done: Executed, opposite: str, wall_ms: int) -> Answer:
    size, plan = opening.size, opening.plan
    return {
        "success": True,
        "message": f"Advanced trading order executed: {request.action} {done.quantity} {request.symbol}",
        "trade": {
            "symbol": request.symbol,
            "action": request.action.value,
            "quantity": float(done.quantity),
            "leverage": size.leverage,
            "entry_price": None if request.entry is None else float(request.entry),
            "current_price": float(size.price),
            "main_order_id": done.order_id,
            "opposite_position_closed": opposite,
            "mode": MODE,
            "note": NOTE,
            "average_price": float(done.average_price),
            "margin_type": opening.margin_type.value,
            "stop_loss": float(done.stop),
            "stop_order_id": done.stop_order_id,
        },
        "calculation_details": {
            "account_balance_usdt": float(size.balance),
            "balance_percentage": float(size.balance_percentage),
            "leverage": size.leverage,
            "position_value_usdt": float(size.value),
            "current_price": float(size.price),
            "quantity": float(size.quantity),
        },
        "risk_level": opening.level.value,
        "warnings": list(plan.warnings),
        "id": alert_id,
        "timestamp": timestamp(wall_ms),
    }


@dataclass(frozen=True, slots=True)
class ClosedPosition:
    """``side`` is the closing order's."""

    symbol: str
    quantity: Decimal
    order_id: int
    side: Side

    @property
    def position_type(self) -> str:
        return position_type(self.side.opposite)


def position_type(side: Side) -> str:
    return "long" if side is Side.BUY else "short"


def closed(
    alert_id: str, symbol: str, positions: Sequence[ClosedPosition], cancelled: Sequence[int], notes: Sequence[str], wall_ms: int
) -> Answer:
    """``notes``: what was left as it is, and why."""
    return {
        "success": True,
        "message": f"All positions closed for {symbol}" if positions else f"No open positions for {symbol}",
        "symbol": symbol,
        "action": "close",
        "closed_positions": [
            {
                "quantity": float(each.quantity),
                "order_id": each.order_id,
                "side": each.side.value,
                "position_type": each.position_type,
                **({} if each.symbol == symbol else {"symbol": each.symbol}),
            }
            for each in positions
        ],
        "cancelled_orders": list(cancelled),
        "warnings": list(notes),
        "id": alert_id,
        "timestamp": timestamp(wall_ms),
    }


def refused(
    alert_id: str, refusal: Refusal, webhook_data: Mapping[str, Any], wall_ms: int, *, opposite: str = NONE_CLOSED
) -> Answer:
    """``opposite`` says so where an opposite position was closed before the rest failed."""
    answer: dict[str, Any] = {
        "http_status": _REFUSED,
        "success": False,
        "error": refusal.message,
        "suggestions": list(refusal.suggestions),
        "webhook_data": dict(webhook_data),
        "code": refusal.code,
        "guard": refusal.guard,
        "reason": refusal.reason or refusal.message,
        "id": alert_id,
        "timestamp": timestamp(wall_ms),
    }
    if opposite != NONE_CLOSED:
        answer["opposite_position_closed"] = opposite
    return answer


def repeated(first_id: str, wall_ms: int) -> Answer:
    message = f"This request was taken before: nothing more is done; GET /trades/{first_id} tells what came of it"
    return {"success": True, "status": "duplicate", "message": message, "id": first_id, "timestamp": timestamp(wall_ms)}


def accepted(alert_id: str, wall_ms: int) -> Answer:
    """Durable, and not yet done when the answer was due."""
    message = f"Request accepted: it is being carried out, see GET /trades/{alert_id}"
    return {"success": True, "status": "accepted", "message": message, "id": alert_id, "timestamp": timestamp(wall_ms)}
