"""What a signed request about plain orders does, by Binance's parameter names: shared by REST and the WebSocket API."""

from collections.abc import Callable
from typing import Any

from app.domain.instrument import Side
from app.simulator.params import Params
from app.simulator.venue import Venue
from app.simulator.venue_types import OrderRequest, OrderType, PriceMatch, Tif, VenueError
from app.simulator.wire import (
    POSITION_SIDE,
    Json,
    acknowledged,
    order_json,
    placement_json,
    trade_json,
)

Operation = Callable[[Venue, Params], Any]


def operation_name(operation: Operation) -> str:
    """What fault plans call it."""
    return str(getattr(operation, "__name__", ""))


_CONDITIONAL = ("STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET")
ALL_CANCELLED = {"code": 200, "msg": "The operation of cancel all open order is done."}


def side_of(params: Params) -> Side:
    return params.choice("side", Side, -1117, "Invalid side.")


def check_position_side(params: Params) -> None:
    if params.text("positionSide") not in (None, POSITION_SIDE):
        raise VenueError(-4061, "Order's position side does not match user's setting.")


def _plain_type(params: Params) -> OrderType:
    name = params.required("type").upper()
    if name in _CONDITIONAL:
        raise VenueError(-4120, "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead.")
    return params.choice("type", OrderType, -1116, "Invalid orderType.")


def _time_in_force(params: Params) -> Tif:
    tif = params.choice("timeInForce", Tif, -1115, "Invalid timeInForce.")
    if tif is Tif.GTE_GTC:
        raise VenueError(-1115, "Invalid timeInForce.")
    return tif


def price_match(params: Params) -> PriceMatch:
    if not params.text("priceMatch"):
        return PriceMatch.NONE
    return params.choice("priceMatch", PriceMatch, -5037, "Invalid price match.")


def order_request(params: Params) -> OrderRequest:
    check_position_side(params)
    if params.flag("closePosition"):
        raise VenueError(-4136, "Target strategy invalid for this orderType, closePosition true.")
    order_type, match = _plain_type(params), price_match(params)
    is_limit = order_type is OrderType.LIMIT
    tif = _time_in_force(params) if is_limit else Tif.GTC
    until = params.required_integer("goodTillDate") if tif is Tif.GTD else 0
    price = params.decimal("price")
    if is_limit and match is PriceMatch.NONE:
        price = params.required_decimal("price")
    return OrderRequest(
        symbol=params.symbol,
        side=side_of(params),
        type=order_type,
        quantity=params.required_decimal("quantity"),
        client_id=params.text("newClientOrderId") or "",
        price=price if is_limit else None,
        time_in_force=tif,
        reduce_only=params.flag("reduceOnly"),
        price_match=match,
        good_till_date=until,
        lives_ms=until - params.required_integer("timestamp") if until else 0,
    )


def place_order(venue: Venue, params: Params) -> Json:
    order = venue.place(order_request(params))
    wants_result = (params.text("newOrderRespType") or "ACK").upper() == "RESULT"
    return placement_json(order if wants_result else acknowledged(order))


def test_order(venue: Venue, params: Params) -> Json:
    venue.check(order_request(params))
    return {}


def order_key(params: Params) -> dict[str, Any]:
    order_id, client_id = params.integer("orderId"), params.text("origClientOrderId")
    if order_id is None and client_id is None:
        raise VenueError(-1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")
    return {"order_id": order_id, "client_id": client_id}


def amend_order(venue: Venue, params: Params) -> Json:
    price, match = params.decimal("price"), price_match(params)
    if match is PriceMatch.NONE:
        price = params.required_decimal("price")
    elif price is None:
        price = venue.matched_price(params.symbol, side_of(params), match)
    else:
        raise VenueError(-1106, "Parameter 'price' sent when not required.")
    if params.flag("reduceOnly") and not venue.order(params.symbol, **order_key(params)).reduce_only:
        raise VenueError(-5047, "The order is not reduceOnly.")
    order = venue.amend_order(
        params.symbol,
        quantity=params.required_decimal("quantity"),
        price=price,
        side=side_of(params),
        **order_key(params),
    )
    return placement_json(order)


def cancel_order(venue: Venue, params: Params) -> Json:
    return placement_json(venue.cancel_order(params.symbol, **order_key(params)))


def query_order(venue: Venue, params: Params) -> Json:
    return order_json(venue.order(params.symbol, **order_key(params)))


def query_open_order(venue: Venue, params: Params) -> Json:
    order = venue.order(params.symbol, **order_key(params))
    if not order.status.is_open:
        raise VenueError(-2013, "Order does not exist.")
    return order_json(order)


def cancel_all_orders(venue: Venue, params: Params) -> Json:
    venue.cancel_all_orders(params.symbol)
    return ALL_CANCELLED


def open_orders(venue: Venue, params: Params) -> list[Json]:
    return [order_json(order) for order in venue.open_orders(symbol_or_none(params))]


def all_orders(venue: Venue, params: Params) -> list[Json]:
    orders = venue.all_orders(params.symbol, params.integer("startTime") or 0)
    first_id, end = params.integer("orderId") or 0, params.integer("endTime")
    found = [o for o in orders if o.order_id >= first_id and (end is None or o.created_ms <= end)]
    return [order_json(order) for order in page(found, params, first_id)]


def user_trades(venue: Venue, params: Params) -> list[Json]:
    trades = venue.trades(params.symbol, params.integer("startTime") or 0, params.integer("orderId"))
    first_id, end = params.integer("fromId") or 0, params.integer("endTime")
    found = [t for t in trades if t.trade_id >= first_id and (end is None or t.time_ms <= end)]
    return [trade_json(trade) for trade in page(found, params, first_id)]


def page(found: list[Any], params: Params, first_id: int = 0) -> list[Any]:
    """The oldest of a range when its start is given, else the newest."""
    limit = params.limit(500, 1000)
    begins = first_id or params.integer("startTime") is not None
    return found[:limit] if begins else found[-limit:]


def symbol_or_none(params: Params) -> str | None:
    return params.symbol if params.text("symbol") else None
