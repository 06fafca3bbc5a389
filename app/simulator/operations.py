"""What a signed request does, by Binance's parameter names: shared by REST and the WebSocket API."""

from collections.abc import Callable
from typing import Any

from app.domain.instrument import Side
from app.simulator.params import Params
from app.simulator.venue import Venue
from app.simulator.venue_types import MarginType, OrderRequest, OrderType, PriceMatch, Tif, VenueError
from app.simulator.wire import (
    POSITION_SIDE,
    Json,
    acknowledged,
    order_json,
    placement_json,
    plain,
    trade_json,
)
from app.simulator.wire_account import (
    account_config_json,
    account_json,
    adl_mark,
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
ALL_CANCELLED = {"code": 200, "msg": "The operation of cancel all open order is done."}
_SUCCESS = {"code": 200, "msg": "success"}


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


# -- account --------------------------------------------------------------------------------------------------------------


def account(venue: Venue, params: Params) -> Json:
    return account_json(venue.account())


def balances(venue: Venue, params: Params) -> list[Json]:
    return balances_json(venue.account())


def position_risk(venue: Venue, params: Params) -> list[Json]:
    symbol = symbol_or_none(params)
    symbols = venue.symbols if symbol is None else (symbol,)
    return position_risk_json([venue.position(each) for each in symbols])


def all_positions(venue: Venue, params: Params) -> list[Json]:
    """The older form of positionRisk: every symbol, with leverage and margin type."""
    symbol = symbol_or_none(params)
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
    leverage = params.required_integer("leverage")
    position = venue.set_leverage(params.symbol, leverage)
    most = plain(venue.contract(position.symbol).max_notional(leverage))
    return {"symbol": position.symbol, "leverage": leverage, "maxNotionalValue": most}


def leverage_brackets(venue: Venue, params: Params) -> list[Json]:
    symbol = symbol_or_none(params)
    return [brackets_json(venue.contract(each)) for each in (venue.symbols if symbol is None else (symbol,))]


def set_margin_type(venue: Venue, params: Params) -> Json:
    margin_type = params.choice("marginType", MarginType, -1130, "Data sent for parameter 'marginType' is not valid.")
    venue.set_margin_type(params.symbol, margin_type)
    return _SUCCESS


def adjust_margin(venue: Venue, params: Params) -> Json:
    amount, direction = params.required_decimal("amount"), params.required_integer("type")
    if amount <= 0:
        raise VenueError(-4055, "Amount must be positive.")
    if direction not in (1, 2):
        raise VenueError(-4056, "Margin type must be 1 (add) or 2 (reduce).")
    venue.adjust_margin(params.symbol, amount if direction == 1 else -amount)
    return {"amount": plain(amount), "code": 200, "msg": "Successfully modify position margin.", "type": direction}


def adl_quantile(venue: Venue, params: Params) -> list[Json]:
    symbol = symbol_or_none(params)
    positions = [venue.position(each) for each in (venue.symbols if symbol is None else (symbol,))]
    return [{"symbol": p.symbol, "adlQuantile": {"LONG": 0, "SHORT": 0, "BOTH": adl_mark(p)}} for p in positions if p.quantity]


def forced_orders(venue: Venue, params: Params) -> list[Json]:
    """Liquidations and auto-deleveraging."""
    prefixes = {"LIQUIDATION": ("autoclose-",), "ADL": ("adl_autoclose",)}
    kinds = prefixes.get(params.text("autoCloseType") or "", ("autoclose-", "adl_autoclose"))
    symbol = symbol_or_none(params)
    orders = [o for each in (venue.symbols if symbol is None else (symbol,)) for o in venue.all_orders(each)]
    forced = [order_json(o) for o in orders if o.client_id.startswith(kinds)]
    return forced[-params.limit(50, 100) :]


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
    symbol = symbol_or_none(params)
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
    entries = venue.income(params.integer("startTime") or 0, symbol_or_none(params))
    found = [i for i in entries if kind in (None, i.type.value) and (end is None or i.time_ms <= end)]
    limit = params.limit(100, 1000)
    chosen = found[:limit] if params.integer("startTime") is not None else found[-limit:]
    return [income_json(entry) for entry in chosen]
