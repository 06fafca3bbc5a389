"""All plain orders of the one account: what rests, what is known, and what resting orders hold of position and margin."""

from decimal import Decimal

from app.domain.instrument import Side
from app.simulator.venue_account import AccountBook
from app.simulator.venue_state import VenueState
from app.simulator.venue_types import ZERO, PlainOrder


class OrderBook:
    def __init__(self, state: VenueState, account: AccountBook) -> None:
        self._account = account
        account.open_margin = self.open_margin
        self.orders: dict[int, PlainOrder] = {}
        self._by_client: dict[tuple[str, str], int] = {}
        self._resting: dict[str, dict[int, None]] = {symbol: {} for symbol in state.markets}

    def record(self, order: PlainOrder) -> None:
        """Keep an order's newest state."""
        if order.order_id not in self.orders:
            self._by_client[order.symbol, order.client_id] = order.order_id
        self.orders[order.order_id] = order
        if order.status.is_open and order.rests:
            self._resting[order.symbol][order.order_id] = None
        else:
            self._resting[order.symbol].pop(order.order_id, None)

    def to_the_end(self, order: PlainOrder) -> None:
        """An amended order lines up anew."""
        self._resting[order.symbol].pop(order.order_id, None)

    def find(self, symbol: str, order_id: int | None = None, client_id: str | None = None) -> PlainOrder | None:
        """By either id; of several orders with one client id, the newest."""
        if order_id is None and client_id is not None:
            order_id = self._by_client.get((symbol, client_id))
        order = None if order_id is None else self.orders.get(order_id)
        return order if order and order.symbol == symbol else None

    def open(self, symbol: str) -> list[PlainOrder]:
        """Resting orders in the sequence of their arrival."""
        return [self.orders[order_id] for order_id in self._resting[symbol]]

    def by_priority(self, symbol: str) -> list[PlainOrder]:
        """Resting orders, each side from the best price back, and at one price the oldest first."""
        return sorted(self.open(symbol), key=lambda order: (-order.price * order.side.sign, order.priority))

    def resting_reduce_only(self, symbol: str, side: Side) -> Decimal:
        orders = (order for order in self.open(symbol) if order.reduce_only and order.side is side)
        return sum((order.remaining for order in orders), ZERO)

    def open_margin(self, symbol: str) -> Decimal:
        """What resting orders that would open a position hold: the larger of the two sides."""
        holding = self._account.holdings[symbol]
        needs = [ZERO]
        for side in Side:
            orders = [o for o in self.open(symbol) if o.side is side and not o.reduce_only]
            quantity = sum((o.remaining for o in orders), ZERO)
            opening = quantity - holding.reducible(side)
            if opening > 0:
                notional = sum((o.remaining * o.price for o in orders), ZERO)
                needs.append(notional * opening / quantity / holding.leverage)
        return max(needs)
