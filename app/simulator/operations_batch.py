"""Batches of orders: each element succeeds or is refused by itself. And the countdown that cancels all."""

from collections.abc import Callable

from app.simulator.operations import amend_order, cancel_order, place_order
from app.simulator.params import Params, as_text
from app.simulator.venue import Venue
from app.simulator.venue_types import VenueError
from app.simulator.wire import Json

_MOST_PLACED, _MOST_CANCELLED = 5, 10
_KEY_LISTS = {
    "orderIdList": "orderId",
    "orderidlist": "orderId",  # as some clients write it
    "origClientOrderIdList": "origClientOrderId",
    "origclientorderidlist": "origClientOrderId",
}
_WRONG_SIZE = -4082, "Invalid number of batch place orders."


def _each(venue: Venue, elements: list[Params], one: Callable[[Venue, Params], Json]) -> list[Json]:
    answers: list[Json] = []
    for element in elements:
        try:
            answers.append(one(venue, element))
        except VenueError as error:
            answers.append({"code": error.code, "msg": error.msg})
    return answers


def _elements(params: Params) -> list[Params]:
    """The orders of ``batchOrders``, with the request's own time stamp."""
    rows = params.array("batchOrders", *_WRONG_SIZE, most=_MOST_PLACED)
    if not all(isinstance(row, dict) for row in rows):
        raise VenueError(-1130, "Data sent for parameter 'batchOrders' is not valid.")
    common = {"timestamp": params.text("timestamp") or ""}
    return [Params(common | {name: as_text(value) for name, value in row.items()}) for row in rows]


def place_batch(venue: Venue, params: Params) -> list[Json]:
    return _each(venue, _elements(params), place_order)


def amend_batch(venue: Venue, params: Params) -> list[Json]:
    return _each(venue, _elements(params), amend_order)


def cancel_batch(venue: Venue, params: Params) -> list[Json]:
    field = next(filter(params.text, _KEY_LISTS), None)
    if field is None:
        raise VenueError(-1102, "Param 'origClientOrderIdList' or 'orderIdList' must be sent, but both were empty/null!")
    keys = params.array(field, -1130, f"Data sent for parameter '{field}' is not valid.", most=_MOST_CANCELLED)
    name = _KEY_LISTS[field]
    elements = [Params({"symbol": params.symbol, name: as_text(key)}) for key in keys]
    return _each(venue, elements, cancel_order)


def countdown_cancel_all(venue: Venue, params: Params) -> Json:
    countdown_ms = params.required_integer("countdownTime")
    if countdown_ms < 0:
        raise VenueError(-1130, "Data sent for parameter 'countdownTime' is not valid.")
    venue.set_countdown(params.symbol, countdown_ms)
    return {"symbol": params.symbol, "countdownTime": str(countdown_ms)}
