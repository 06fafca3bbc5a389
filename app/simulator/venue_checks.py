"""What Binance refuses before an order reaches the book: parameters, filters and bands, with its codes and texts."""

import re
from decimal import Decimal

from app.domain.instrument import Side
from app.simulator.contracts import Contract
from app.simulator.venue_types import VenueError

_CLIENT_ID = re.compile(r"[.A-Z:/a-z0-9_-]{1,36}")


def check_client_id(client_id: str) -> None:
    if len(client_id) > 36:
        raise VenueError(-4015, "Client order id length should not be more than 36 chars.")
    if not _CLIENT_ID.fullmatch(client_id):
        raise VenueError(-1100, "Illegal characters found in parameter 'newClientOrderId'.")


def _decimals(value: Decimal) -> int:
    exponent = value.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def check_quantity(contract: Contract, quantity: Decimal, *, is_market: bool) -> None:
    instrument = contract.instrument
    if quantity <= 0:
        raise VenueError(-4003, "Quantity less than or equal to zero.")
    if _decimals(quantity) > contract.quantity_precision:
        raise VenueError(-1111, "Precision is over the maximum defined for this asset.")
    if quantity < instrument.min_quantity:
        raise VenueError(-4004, "Quantity less than min quantity.")
    if quantity > (instrument.market_max_quantity if is_market else instrument.max_quantity):
        raise VenueError(-4005, "Quantity greater than max quantity.")
    if quantity % instrument.step:
        raise VenueError(-4023, "Qty not increased by step size.")


def check_price(contract: Contract, price: Decimal) -> None:
    if price <= 0:
        raise VenueError(-4001, "Price less than 0.")
    if _decimals(price) > contract.price_precision:
        raise VenueError(-1111, "Precision is over the maximum defined for this asset.")
    if price > contract.max_price:
        raise VenueError(-4002, "Price greater than max price.")
    if price < contract.min_price:
        raise VenueError(-4013, "Price less than min price.")
    if price % contract.instrument.tick:
        raise VenueError(-4014, "Price not increased by tick size.")


def check_trigger(contract: Contract, trigger: Decimal | None) -> Decimal:
    if trigger is None:
        raise VenueError(-1102, "Mandatory parameter 'triggerPrice' was not sent, was empty/null, or malformed.")
    if trigger <= 0:
        raise VenueError(-4006, "Stop price less than zero.")
    if trigger > contract.max_price:
        raise VenueError(-4007, "Stop price greater than max price.")
    return trigger


def check_counterparty(contract: Contract, side: Side, best: Decimal, mark: Decimal) -> None:
    """PERCENT_PRICE for market orders: the best price they can get."""
    if (best - mark * (1 + contract.price_band * side.sign)) * side.sign > 0:
        raise VenueError(-4131, "The counterparty's best price does not meet the PERCENT_PRICE filter limit.")


def check_band(contract: Contract, side: Side, price: Decimal, mark: Decimal) -> None:
    """PERCENT_PRICE: a buy not too far above the mark price, a sell not too far below."""
    bound = mark * (1 + contract.price_band * side.sign)
    if side is Side.BUY and price > bound:
        raise VenueError(-4016, f"Limit price can't be higher than {bound:.2f}.")
    if side is Side.SELL and price < bound:
        raise VenueError(-4024, f"Limit price can't be lower than {bound:.2f}.")


def check_notional(contract: Contract, notional: Decimal) -> None:
    minimum = contract.instrument.min_notional
    if notional < minimum:
        raise VenueError(-4164, f"Order's notional must be no smaller than {minimum} (unless you choose reduce only).")
