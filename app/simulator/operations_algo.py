"""What a signed request about conditional orders does, by Binance's parameter names."""

from typing import Any

from app.simulator.operations import ALL_CANCELLED, check_position_side, page, price_match, side_of, symbol_or_none
from app.simulator.params import Params
from app.simulator.venue import Venue
from app.simulator.venue_types import LIMIT_ALGO_TYPES, AlgoRequest, OrderType, Tif, VenueError, WorkingType
from app.simulator.wire import Json, algo_cancel_json, algo_json, algo_query_json


def place_algo(venue: Venue, params: Params) -> Json:
    check_position_side(params)
    if params.required("algoType").upper() != "CONDITIONAL":
        raise VenueError(-1130, "Data sent for parameter 'algoType' is not valid.")
    order_type = params.choice("type", OrderType, -1116, "Invalid orderType.")
    is_trailing, close_position = order_type is OrderType.TRAILING_STOP_MARKET, params.flag("closePosition")
    request = AlgoRequest(
        symbol=params.symbol,
        side=side_of(params),
        type=order_type,
        client_id=params.text("clientAlgoId") or "",
        trigger_price=params.decimal("triggerPrice") if is_trailing else params.required_decimal("triggerPrice"),
        quantity=params.decimal("quantity") if close_position else params.required_decimal("quantity"),
        close_position=close_position,
        reduce_only=params.flag("reduceOnly"),
        working_type=_working_type(params),
        price_protect=params.flag("priceProtect"),
        price=params.decimal("price"),
        price_match=price_match(params),
        time_in_force=_time_in_force(params, order_type),
        activate_price=params.decimal("activatePrice") or params.decimal("activationPrice"),
        callback_rate=params.decimal("callbackRate"),
    )
    return algo_json(venue.place_conditional(request))


def _working_type(params: Params) -> WorkingType:
    if not params.text("workingType"):
        return WorkingType.CONTRACT_PRICE
    return params.choice("workingType", WorkingType, -4031, "Invalid workingType.")


def _time_in_force(params: Params, order_type: OrderType) -> Tif:
    """Only the limit kinds look at it."""
    if order_type not in LIMIT_ALGO_TYPES or not params.text("timeInForce"):
        return Tif.GTC
    tif = params.choice("timeInForce", Tif, -1115, "Invalid timeInForce.")
    if tif is Tif.GTE_GTC:
        raise VenueError(-1115, "Invalid timeInForce.")
    return tif


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
    return ALL_CANCELLED


def open_algos(venue: Venue, params: Params) -> list[Json]:
    return [algo_query_json(algo) for algo in venue.open_algos(symbol_or_none(params))]


def all_algos(venue: Venue, params: Params) -> list[Json]:
    algos = venue.all_algos(params.symbol, params.integer("startTime") or 0)
    first_id, end = params.integer("algoId") or 0, params.integer("endTime")
    found = [a for a in algos if a.algo_id >= first_id and (end is None or a.created_ms <= end)]
    return [algo_query_json(algo) for algo in page(found, params, first_id)]
