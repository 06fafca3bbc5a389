"""What an order must satisfy before the engine takes it, and how much of a reduce-only one may execute."""

from dataclasses import replace
from decimal import Decimal

from app.domain.instrument import Side
from app.simulator.venue_account import AccountBook
from app.simulator.venue_book import OrderBook
from app.simulator.venue_checks import (
    check_band,
    check_client_id,
    check_counterparty,
    check_notional,
    check_price,
    check_quantity,
)
from app.simulator.venue_state import VenueState
from app.simulator.venue_types import (
    ZERO,
    OrderRequest,
    OrderType,
    PlainOrder,
    PriceMatch,
    ReduceOnlyPolicy,
    Tif,
    VenueError,
)

MIN_GTD_MS = 600_000


def reduce_only_rejected() -> VenueError:
    return VenueError(-2022, "ReduceOnly Order is rejected.")


class Admission:
    def __init__(self, state: VenueState, account: AccountBook, book: OrderBook) -> None:
        self._state = state
        self._account = account
        self._book = book

    def priced(self, request: OrderRequest) -> OrderRequest:
        """With the price that its priceMatch finds in the book."""
        if request.price_match is PriceMatch.NONE:
            return request
        if request.type is not OrderType.LIMIT:
            raise VenueError(-5038, "Price match only supports order type: LIMIT, STOP AND TAKE_PROFIT.")
        if request.price is not None:
            raise VenueError(-1106, "Parameter 'price' sent when not required.")
        price = self._state.market(request.symbol).matched_price(request.side, request.price_match)
        if price is None:
            raise VenueError(-5041, "No depth matches this BBO order.")
        return replace(request, price=price)

    def check(self, request: OrderRequest) -> Decimal:
        """Everything that may refuse a plain order; returns how much of it may execute."""
        self._check_form(request)
        self._check_place(request)
        room = self._check_money(request)
        if request.time_in_force is Tif.FOK:
            self._check_fills_whole(request, room)
        return room

    def _check_money(self, request: OrderRequest) -> Decimal:
        if request.reduce_only:
            return self._resting_room(request) if request.rests else self.room(request)
        market = self._state.markets[request.symbol]
        price = market.best(request.side) if request.price is None else request.price
        check_notional(market.contract, request.quantity * price)
        self.check_margin(request.symbol, request.side, request.quantity, price)
        return request.quantity

    def _check_fills_whole(self, request: OrderRequest, room: Decimal) -> None:
        fills = self._state.markets[request.symbol].take(request.side, room, request.price)
        if sum((quantity for _, quantity in fills), ZERO) < request.quantity:
            raise VenueError(
                -5021,
                "Due to the order could not be filled immediately, the FOK order has been rejected. "
                "The order will not be recorded in the order history.",
            )

    def _check_form(self, request: OrderRequest) -> None:
        market = self._state.market(request.symbol)
        if request.type not in (OrderType.MARKET, OrderType.LIMIT):
            raise VenueError(
                -4120, "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead."
            )
        check_client_id(request.client_id)
        check_quantity(market.contract, request.quantity, is_market=request.type is OrderType.MARKET)
        if request.type is OrderType.MARKET:
            check_counterparty(market.contract, request.side, market.best(request.side), market.mark)
        if request.type is OrderType.LIMIT:
            if request.price is None:
                raise VenueError(-1102, "Mandatory parameter 'price' was not sent, was empty/null, or malformed.")
            check_price(market.contract, request.price)
            check_band(market.contract, request.side, request.price, market.mark)
        if request.time_in_force is Tif.GTD and request.lives_ms <= MIN_GTD_MS:
            raise VenueError(
                -5040,
                "The goodTillDate timestamp must be greater than the current time plus 600 seconds "
                "and smaller than 253402300799000.",
            )

    def _check_place(self, request: OrderRequest) -> None:
        """Is there room in the book for it?"""
        market = self._state.markets[request.symbol]
        same = self._book.find(request.symbol, client_id=request.client_id)
        if same and same.status.is_open:
            raise VenueError(-4116, "ClientOrderId is duplicated.")
        if len(self._book.open(request.symbol)) >= market.contract.max_orders:
            raise VenueError(-2025, "Reach max open order limit.")
        self._check_post_only(request)

    def _check_post_only(self, request: OrderRequest) -> None:
        takes = request.price is not None and self._state.markets[request.symbol].crosses(request.side, request.price)
        if takes and request.time_in_force is Tif.GTX:
            raise VenueError(
                -5022,
                "Due to the order could not be executed as maker, the Post Only order will be rejected. "
                "The order will not be recorded in the order history.",
            )

    def check_amendment(self, order: PlainOrder, quantity: Decimal, price: Decimal) -> None:
        market = self._state.markets[order.symbol]
        if not order.status.is_open:
            raise VenueError(-2013, "Order does not exist.")
        if order.type is not OrderType.LIMIT:
            raise VenueError(-5025, "Only limit order is supported.")
        if order.amendments >= market.contract.max_amendments:
            raise VenueError(-5026, "Exceed maximum modify order limit.")
        if (quantity, price) == (order.quantity, order.price):
            raise VenueError(-5027, "No need to modify the order.")
        check_quantity(market.contract, quantity, is_market=False)
        check_price(market.contract, price)
        check_band(market.contract, order.side, price, market.mark)
        if order.reduce_only:
            others = self._book.resting_reduce_only(order.symbol, order.side) - order.remaining
            self._check_fits(order.symbol, order.side, others + quantity - order.executed)
        else:
            check_notional(market.contract, quantity * price)
            extra = (quantity - order.executed) * price - order.remaining * order.price
            if extra > 0:
                self.check_margin(order.symbol, order.side, extra / price, price)

    def _resting_room(self, request: OrderRequest) -> Decimal:
        if not self._account.holdings[request.symbol].reducible(request.side):
            raise reduce_only_rejected()
        resting = self._book.resting_reduce_only(request.symbol, request.side)
        self._check_fits(request.symbol, request.side, resting + request.quantity)
        return request.quantity

    def _check_fits(self, symbol: str, side: Side, resting: Decimal) -> None:
        if resting > self._account.holdings[symbol].reducible(side):
            raise VenueError(-4118, "ReduceOnly Order Failed. Please check your existing position and open orders.")

    def room(self, request: OrderRequest) -> Decimal:
        """How much a reduce-only order that takes at once may execute, by the policy."""
        reducible = self._account.holdings[request.symbol].reducible(request.side)
        resting = self._book.resting_reduce_only(request.symbol, request.side)
        wanted = min(request.quantity, reducible)
        match self._state.config.reduce_only_policy:
            case ReduceOnlyPolicy.REJECT if resting and wanted + resting > reducible:
                wanted = ZERO
            case ReduceOnlyPolicy.SHRINK:
                wanted = min(wanted, reducible - resting)
        if wanted <= 0:
            raise reduce_only_rejected()
        return wanted

    def check_margin(self, symbol: str, side: Side, quantity: Decimal, price: Decimal) -> None:
        """Does the account carry what of ``quantity`` would open a position?"""
        holding = self._account.holdings[symbol]
        opening = quantity - holding.reducible(side)
        if opening <= 0:
            return
        cost = opening * price * (Decimal(1) / holding.leverage + self._state.config.taker_fee)
        if cost > self._account.available():
            raise VenueError(-2019, "Margin is insufficient.")
        after = opening if holding.reducible(side) else abs(holding.quantity) + opening
        if after * price > holding.contract.max_notional(holding.leverage):
            raise VenueError(-2027, "Exceeded the maximum allowable position at current leverage.")

    def child(self, request: OrderRequest, *, close_position: bool) -> tuple[OrderRequest, Decimal]:
        """The order of a triggered conditional one, with how much of it may execute.

        Closing the whole position has room under every policy. Raises what the engine refuses.
        """
        if close_position:
            size = self._account.holdings[request.symbol].reducible(request.side)
            if not size:
                raise reduce_only_rejected()
            return replace(request, quantity=size), size
        request = self.priced(request)
        market = self._state.markets[request.symbol]
        if request.price is None:
            check_counterparty(market.contract, request.side, market.best(request.side), market.mark)
        else:
            check_band(market.contract, request.side, request.price, market.mark)
            self._check_post_only(request)
        if request.reduce_only:
            room = self._resting_room(request) if request.rests else self.room(request)
        else:
            room = request.quantity
            price = market.best(request.side) if request.price is None else request.price
            self.check_margin(request.symbol, request.side, request.quantity, price)
        if request.time_in_force is Tif.FOK:
            self._check_fills_whole(request, room)
        return request, room
