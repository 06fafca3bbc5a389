"""Orders and trades as Binance's REST and WebSocket API show them. Decimals are strings without exponent."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

from app.domain.instrument import Side
from app.simulator.venue_types import ZERO, AlgoOrder, AlgoStatus, PlainOrder, Status, Trade

Json = dict[str, Any]
POSITION_SIDE = "BOTH"  # one-way mode
STP_MODE = "EXPIRE_MAKER"


def plain(value: Decimal) -> str:
    return format(value, "f")


def rounded(value: Decimal, places: int = 8) -> str:
    return format(value, f".{places}f")


def placement_json(order: PlainOrder) -> Json:
    """What placing, amending and cancelling answer: without average price and executed value, as since July 2026."""
    return {
        "symbol": order.symbol,
        "orderId": order.order_id,
        "clientOrderId": order.client_id,
        "status": order.status.value,
        "price": plain(order.price),
        "origQty": plain(order.quantity),
        "executedQty": plain(order.executed),
        "cumQty": plain(order.executed),
        "timeInForce": order.time_in_force.value,
        "type": order.type.value,
        "origType": order.original_type.value,
        "reduceOnly": order.reduce_only,
        "closePosition": order.close_position,
        "side": order.side.value,
        "positionSide": POSITION_SIDE,
        "stopPrice": plain(order.trigger_price),
        "workingType": order.working_type.value,
        "priceProtect": False,
        "priceMatch": order.price_match.value,
        "selfTradePreventionMode": STP_MODE,
        "goodTillDate": order.good_till_date,
        "updateTime": order.updated_ms,
    }


def acknowledged(order: PlainOrder) -> PlainOrder:
    """The order as it was accepted: what newOrderRespType=ACK shows."""
    return replace(order, status=Status.NEW, executed=ZERO)


def order_json(order: PlainOrder) -> Json:
    """What queries answer."""
    return placement_json(order) | {
        "avgPrice": rounded(order.average_price),
        "cumQuote": plain(order.quote),
        "cumBase": plain(order.executed),
        "pair": order.symbol,
        "time": order.created_ms,
    }


def trade_json(trade: Trade) -> Json:
    return {
        "symbol": trade.symbol,
        "id": trade.trade_id,
        "orderId": trade.order_id,
        "side": trade.side.value,
        "positionSide": POSITION_SIDE,
        "price": plain(trade.price),
        "qty": plain(trade.quantity),
        "quoteQty": plain(trade.price * trade.quantity),
        "realizedPnl": plain(trade.realized_pnl),
        "commission": plain(trade.fee),
        "commissionAsset": "USDT",
        "marginAsset": "USDT",
        "time": trade.time_ms,
        "buyer": trade.side is Side.BUY,
        "maker": trade.is_maker,
    }


def _optional(value: Decimal | None, otherwise: str) -> str:
    return otherwise if value is None else plain(value)


def algo_json(algo: AlgoOrder) -> Json:
    return {
        "algoId": algo.algo_id,
        "clientAlgoId": algo.client_id,
        "algoType": "CONDITIONAL",
        "orderType": algo.type.value,
        "symbol": algo.symbol,
        "side": algo.side.value,
        "positionSide": POSITION_SIDE,
        "timeInForce": algo.time_in_force.value,
        "quantity": plain(algo.quantity),
        "algoStatus": algo.status.value,
        "triggerPrice": plain(algo.trigger_price),
        "price": _optional(algo.price, "0.00"),
        "icebergQuantity": None,
        "selfTradePreventionMode": STP_MODE,
        "workingType": algo.working_type.value,
        "priceMatch": algo.price_match.value,
        "closePosition": algo.close_position,
        "priceProtect": algo.price_protect,
        "reduceOnly": algo.reduce_only,
        "activatePrice": _optional(algo.activate_price, ""),
        "callbackRate": _optional(algo.callback_rate, ""),
        "createTime": algo.created_ms,
        "updateTime": algo.updated_ms,
        "triggerTime": algo.triggered_ms,
        "goodTillDate": 0,
    }


def algo_query_json(algo: AlgoOrder) -> Json:
    """With what became of it: the child's id, price and quantity."""
    child = algo.actual_order_id
    return algo_json(algo) | {
        "actualOrderId": "" if child is None else str(child),
        "actualPrice": rounded(algo.actual_price),
        "actualType": "" if child is None else algo.child.type.value,
        "actualQty": plain(algo.actual_quantity),
        "rejectReason": algo.reject_reason,
    }


def algo_cancel_json(algo: AlgoOrder) -> Json:
    return {"algoId": algo.algo_id, "clientAlgoId": algo.client_id, "code": "200", "msg": "success"}


def algo_event_fields(algo: AlgoOrder) -> Json:
    """The ``o`` of ALGO_UPDATE; ap, aq and act appear once the child is in the engine."""
    fields: Json = {
        "caid": algo.client_id,
        "aid": algo.algo_id,
        "at": "CONDITIONAL",
        "o": algo.type.value,
        "s": algo.symbol,
        "S": algo.side.value,
        "ps": POSITION_SIDE,
        "f": algo.time_in_force.value,
        "q": plain(algo.quantity),
        "X": algo.status.value,
        "ai": "" if algo.actual_order_id is None else str(algo.actual_order_id),
        "tp": plain(algo.trigger_price),
        "p": _optional(algo.price, "0"),
        "V": STP_MODE,
        "wt": algo.working_type.value,
        "pm": algo.price_match.value,
        "cp": algo.close_position,
        "pP": algo.price_protect,
        "R": algo.reduce_only,
        "tt": algo.triggered_ms,
        "gtd": 0,
        "rm": algo.reject_reason,
        "ia": algo.is_active,
    }
    if algo.status in (AlgoStatus.TRIGGERED, AlgoStatus.FINISHED):
        fields |= {"ap": rounded(algo.actual_price), "aq": plain(algo.actual_quantity), "act": algo.child.type.value}
    return fields
