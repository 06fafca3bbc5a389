"""What Binance's Algo Service refuses before a conditional order waits for its trigger."""

from collections.abc import Iterable
from decimal import Decimal

from app.domain.instrument import Side
from app.simulator.venue_checks import check_client_id, check_notional, check_price, check_quantity, check_trigger
from app.simulator.venue_market import Market
from app.simulator.venue_types import (
    ALGO_TYPES,
    CLOSING_ALGO_TYPES,
    LIMIT_ALGO_TYPES,
    ZERO,
    AlgoOrder,
    AlgoRequest,
    OrderType,
    PriceMatch,
    Tif,
    VenueError,
)

_CALLBACK_RANGE = Decimal("0.1"), Decimal(20)  # percent


def check_form(request: AlgoRequest, market: Market) -> None:
    if request.type not in ALGO_TYPES:
        raise VenueError(-1116, "Invalid orderType.")
    check_client_id(request.client_id)
    if request.type is OrderType.TRAILING_STOP_MARKET:
        _check_trailing(request, market)
    else:
        check_trigger(market.contract, request.trigger_price)
    if request.type in LIMIT_ALGO_TYPES:
        _check_limit(request, market)
    elif request.price is not None or request.price_match is not PriceMatch.NONE:
        name = "price" if request.price is not None else "priceMatch"
        raise VenueError(-1106, f"Parameter '{name}' sent when not required.")


def _check_trailing(request: AlgoRequest, market: Market) -> None:
    if request.trigger_price is not None:
        raise VenueError(-1106, "Parameter 'triggerPrice' sent when not required.")
    if request.callback_rate is None:
        raise VenueError(-1102, "Mandatory parameter 'callbackRate' was not sent, was empty/null, or malformed.")
    lowest, highest = _CALLBACK_RANGE
    if not lowest <= request.callback_rate <= highest or request.callback_rate % Decimal("0.1"):
        raise VenueError(-2007, f"Invalid callBack rate. It is a percentage from {lowest} to {highest} in steps of 0.1.")
    if request.activate_price is None:
        return
    check_trigger(market.contract, request.activate_price)
    if (market.working(request.working_type) - request.activate_price) * request.side.sign <= 0:
        raise VenueError(-2021, "Order would immediately trigger.")


def _check_limit(request: AlgoRequest, market: Market) -> None:
    if request.price_match is PriceMatch.NONE:
        if request.price is None:
            raise VenueError(-1102, "Mandatory parameter 'price' was not sent, was empty/null, or malformed.")
        check_price(market.contract, request.price)
    elif request.price is not None:
        raise VenueError(-1106, "Parameter 'price' sent when not required.")
    if request.time_in_force is Tif.GTD:
        raise VenueError(-1115, "Invalid timeInForce.")


def check_quantity_of(request: AlgoRequest, market: Market) -> None:
    quantity = request.quantity or ZERO
    check_quantity(market.contract, quantity, is_market=request.type not in LIMIT_ALGO_TYPES)
    if not request.reduce_only:
        reference = request.price or request.trigger_price or request.activate_price or market.last
        check_notional(market.contract, quantity * reference)


def check_close_position(request: AlgoRequest, closing_side: Side | None, waiting: Iterable[AlgoOrder]) -> None:
    """``waiting``: the symbol's conditional orders; ``closing_side`` None when there is no position."""
    if request.type not in CLOSING_ALGO_TYPES:
        raise VenueError(-4136, f"Target strategy invalid for orderType {request.type},closePosition true.")
    if request.quantity:
        raise VenueError(-4137, "Quantity must be zero with closePosition equals true.")
    if request.reduce_only:
        raise VenueError(-1106, "Parameter 'reduceonly' sent when not required.")
    if closing_side is not request.side:
        raise VenueError(
            -4509, "Time in Force (TIF) GTE can only be used with open positions. Please ensure that positions are available."
        )
    if any(a.close_position and a.side is request.side and a.type is request.type for a in waiting):
        raise VenueError(-4130, "An open stop or take profit order with GTE and closePosition in the direction is existing.")
