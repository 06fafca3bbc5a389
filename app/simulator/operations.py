"""What a signed request does, by Binance's parameter names: shared by REST and the WebSocket API."""

from collections.abc import Callable
from typing import Any

from app.domain.instrument import Side
from app.simulator.params import Params
from app.simulator.venue import Venue
from app.simulator.venue_types import MarginType, OrderType, Tif, VenueError, WorkingType
from app.simulator.wire import (
    POSITION_SIDE,
    Json,
    acknowledged,
    algo_cancel_json,
    algo_json,
    algo_query_json,
    order_json,
    placement_json,
    plain,
    trade_json,
)
from app.simulator.wire_account import (
    account_config_json,
    account_json,
    balances_json,
    brackets_json,
    income_json,
    position_risk_json,
    symbol_config_json,
)

Operation = Callable[[Venue, Params], Any]


def operation_name(operation: Operation) -> str:
    """What fault plans call it."""
    return str(getattr(operation, "__name__", ""))


_CONDITIONAL = ("STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET")
_ALL_CANCELLED = {"code": 200, "msg": "The operation of cancel all open order is done."}
_SUCCESS = {"code": 200, "msg": "success"}


def _side(params: Params) -> Side:
    return params.choice("side", Side, -1117, "Invalid side.")


def _check_position_side(params: Params) -> None:
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


def _plain_arguments(params: Params) -> dict[str, Any]:
    _check_position_side(params)
    if params.text("priceMatch") not in (None, "NONE"):
        raise VenueError(-1106, "Parameter 'priceMatch' sent when not required.")
    if params.flag("closePosition"):
        raise VenueError(-4136, "Target strategy invalid for this orderType, closePosition true.")
    order_type = _plain_type(params)
    is_limit = order_type is OrderType.LIMIT
    return {
        "symbol": params.symbol,
        "side": _side(params),
        "order_type": order_type,
        "quantity": params.required_decimal("quantity"),
        "price": params.required_decimal("price") if is_limit else None,
        "time_in_force": _time_in_force(params) if is_limit else Tif.GTC,
        "reduce_only": params.flag("reduceOnly"),
        "client_id": params.text("newClientOrderId"),
    }


def place_order(venue: Venue, params: Params) -> Json:
    order = venue.place_order(**_plain_arguments(params))
    wants_result = (params.text("newOrderRespType") or "ACK").upper() == "RESULT"
    return placement_json(order if wants_result else acknowledged(order))


def test_order(venue: Venue, params: Params) -> Json:
    venue.test_order(**_plain_arguments(params))
    return {}


def _order_key(params: Params) -> dict[str, Any]:
    order_id, client_id = params.integer("orderId"), params.text("origClientOrderId")
    if order_id is None and client_id is None:
        raise VenueError(-1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")
    return {"order_id": order_id, "client_id": client_id}


def amend_order(venue: Venue, params: Params) -> Json:
    order = venue.amend_order(
        params.symbol,
        quantity=params.required_decimal("quantity"),
        price=params.required_decimal("price"),
        side=_side(params),
        **_order_key(params),
    )
    return placement_json(order)


def cancel_order(venue: Venue, params: Params) -> Json:
    return placement_json(venue.cancel_order(params.symbol, **_order_key(params)))


def query_order(venue: Venue, params: Params) -> Json:
    return order_json(venue.order(params.symbol, **_order_key(params)))


def query_open_order(venue: Venue, params: Params) -> Json:
    order = venue.order(params.symbol, **_order_key(params))
    if not order.status.is_open:
        raise VenueError(-2013, "Order does not exist.")
    return order_json(order)


def cancel_all_orders(venue: Venue, params: Params) -> Json:
    venue.cancel_all_orders(params.symbol)
    return _ALL_CANCELLED


def open_orders(venue: Venue, params: Params) -> list[Json]:
    return [order_json(order) for order in venue.open_orders(_symbol_or_none(params))]


def all_orders(venue: Venue, params: Params) -> list[Json]:
    orders = venue.all_orders(params.symbol, params.integer("startTime") or 0)
    first_id, end = params.integer("orderId") or 0, params.integer("endTime")
    found = [o for o in orders if o.order_id >= first_id and (end is None or o.created_ms <= end)]
    return [order_json(order) for order in _page(found, params, first_id)]


def user_trades(venue: Venue, params: Params) -> list[Json]:
    trades = venue.trades(params.symbol, params.integer("startTime") or 0, params.integer("orderId"))
    first_id, end = params.integer("fromId") or 0, params.integer("endTime")
    found = [t for t in trades if t.trade_id >= first_id and (end is None or t.time_ms <= end)]
    return [trade_json(trade) for trade in _page(found, params, first_id)]


def _page(found: list[Any], params: Params, first_id: int = 0) -> list[Any]:
    """The oldest of a range when its start is given, else the newest."""
    limit = params.limit(500, 1000)
    begins = first_id or params.integer("startTime") is not None
    return found[:limit] if begins else found[-limit:]


def _symbol_or_none(params: Params) -> str | None:
    return params.symbol if params.text("symbol") else None


# -- conditional orders ---------------------------------------------------------------------------------------------------


def place_algo(venue: Venue, params: Params) -> Json:
    _check_position_side(params)
    if params.required("algoType").upper() != "CONDITIONAL":
        raise VenueError(-1130, "Data sent for parameter 'algoType' is not valid.")
    working_type = WorkingType.CONTRACT_PRICE
    if params.text("workingType"):
        working_type = params.choice("workingType", WorkingType, -4031, "Invalid workingType.")
    close_position = params.flag("closePosition")
    algo = venue.place_algo(
        params.symbol,
        _side(params),
        params.choice("type", OrderType, -1116, "Invalid orderType."),
        params.required_decimal("triggerPrice"),
        quantity=params.decimal("quantity") if close_position else params.required_decimal("quantity"),
        close_position=close_position,
        reduce_only=params.flag("reduceOnly"),
        working_type=working_type,
        price_protect=params.flag("priceProtect"),
        client_id=params.text("clientAlgoId"),
    )
    return algo_json(algo)


def _algo_key(params: Params) -> dict[str, Any]:
    algo_id, client_id = params.integer("algoId"), params.text("clientAlgoId")
    if algo_id is None and client_id is None:
        raise VenueError(-1102, "Param 'clientAlgoId' or 'algoId' must be sent, but both were empty/null!")
    return {"algo_id": algo_id, "client_id": client_id}


def cancel_algo(venue: Venue, params: Params) -> Json:
    return algo_cancel_json(venue.cancel_algo(**_algo_key(params)))


def query_algo(venue: Venue, params: Params) -> Json:
    return algo_query_json(venue.algo(**_algo_key(params)))


def cancel_all_algos(venue: Venue, params: Params) -> Json:
    venue.cancel_all_algos(params.symbol)
    return _ALL_CANCELLED


def open_algos(venue: Venue, params: Params) -> list[Json]:
    return [algo_query_json(algo) for algo in venue.open_algos(_symbol_or_none(params))]


def all_algos(venue: Venue, params: Params) -> list[Json]:
    algos = venue.all_algos(params.symbol, params.integer("startTime") or 0)
    first_id, end = params.integer("algoId") or 0, params.integer("endTime")
    found = [a for a in algos if a.algo_id >= first_id and (end is None or a.created_ms <= end)]
    return [algo_query_json(algo) for algo in _page(found, params, first_id)]


# -- account --------------------------------------------------------------------------------------------------------------


def account(venue: Venue, params: Params) -> Json:
    return account_json(venue.account())


def balances(venue: Venue, params: Params) -> list[Json]:
    return balances_json(venue.account())


def position_risk(venue: Venue, params: Params) -> list[Json]:
    symbol = _symbol_or_none(params)
    symbols = venue.symbols if symbol is None else (symbol,)
    return position_risk_json([venue.position(each) for each in symbols])


def all_positions(venue: Venue, params: Params) -> list[Json]:
    """The older form of positionRisk: every symbol, with leverage and margin type."""
    symbol = _symbol_or_none(params)
    positions = [venue.position(each) for each in (venue.symbols if symbol is None else (symbol,))]
    rows = position_risk_json(positions, flat_too=True)
    for position, row in zip(positions, rows, strict=True):
        isolated = position.margin_type is MarginType.ISOLATED
        row |= {
            "leverage": str(position.leverage),
            "marginType": "isolated" if isolated else "cross",
            "isAutoAddMargin": "false",
            "maxNotionalValue": plain(venue.contract(position.symbol).max_notional(position.leverage)),
        }
    return rows


def set_leverage(venue: Venue, params: Params) -> Json:
    leverage = params.integer("leverage")
    if leverage is None:
        raise VenueError(-1102, "Mandatory parameter 'leverage' was not sent, was empty/null, or malformed.")
    position = venue.set_leverage(params.symbol, leverage)
    most = plain(venue.contract(position.symbol).max_notional(leverage))
    return {"symbol": position.symbol, "leverage": leverage, "maxNotionalValue": most}


def leverage_brackets(venue: Venue, params: Params) -> list[Json]:
    symbol = _symbol_or_none(params)
    return [brackets_json(venue.contract(each)) for each in (venue.symbols if symbol is None else (symbol,))]


def set_margin_type(venue: Venue, params: Params) -> Json:
    margin_type = params.choice("marginType", MarginType, -1130, "Data sent for parameter 'marginType' is not valid.")
    venue.set_margin_type(params.symbol, margin_type)
    return _SUCCESS


def position_mode(venue: Venue, params: Params) -> Json:
    return {"dualSidePosition": venue.config.hedge_mode}


def set_position_mode(venue: Venue, params: Params) -> Json:
    params.required("dualSidePosition")
    venue.set_hedge_mode(params.flag("dualSidePosition"))
    return _SUCCESS


def multi_assets(venue: Venue, params: Params) -> Json:
    return {"multiAssetsMargin": venue.config.multi_assets}


def set_multi_assets(venue: Venue, params: Params) -> Json:
    params.required("multiAssetsMargin")
    if params.flag("multiAssetsMargin"):
        raise VenueError(-1130, "Multi-assets mode is not offered by this venue. Keep multiAssetsMargin=false.")
    raise VenueError(-4171, "No need to change multi-assets mode.")


def symbol_config(venue: Venue, params: Params) -> list[Json]:
    symbol = _symbol_or_none(params)
    symbols = venue.symbols if symbol is None else (symbol,)
    return [symbol_config_json(venue.position(each), venue.contract(each)) for each in symbols]


def account_config(venue: Venue, params: Params) -> Json:
    return account_config_json(venue.config, venue.now_ms)


def commission_rate(venue: Venue, params: Params) -> Json:
    symbol = venue.contract(params.symbol).symbol
    maker, taker = plain(venue.config.maker_fee), plain(venue.config.taker_fee)
    return {"symbol": symbol, "makerCommissionRate": maker, "takerCommissionRate": taker}


def income(venue: Venue, params: Params) -> list[Json]:
    kind, end = params.text("incomeType"), params.integer("endTime")
    entries = venue.income(params.integer("startTime") or 0, _symbol_or_none(params))
    found = [i for i in entries if kind in (None, i.type.value) and (end is None or i.time_ms <= end)]
    limit = params.limit(100, 1000)
    chosen = found[:limit] if params.integer("startTime") is not None else found[-limit:]
    return [income_json(entry) for entry in chosen]
