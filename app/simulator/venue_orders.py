"""The matching engine: placing, amending, cancelling and executing plain orders, and filling what rests."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from decimal import Decimal

from app.domain.instrument import Side
from app.simulator.venue_account import AccountBook, to_money
from app.simulator.venue_admission import Admission, reduce_only_rejected
from app.simulator.venue_book import OrderBook
from app.simulator.venue_market import Level
from app.simulator.venue_state import VenueState
from app.simulator.venue_types import (
    ZERO,
    AlgoOrder,
    Execution,
    OrderRequest,
    OrderType,
    OrderUpdate,
    PlainOrder,
    Status,
    Tif,
    Trade,
    VenueError,
)


class MatchingEngine:
    """``after_fill`` is called with the symbol once executions have moved its position, ``after_end`` with each final order."""

    def __init__(self, state: VenueState, account: AccountBook, book: OrderBook) -> None:
        self._state = state
        self._account = account
        self._book = book
        self.admission = Admission(state, account, book)
        self.after_fill: Callable[[str], None] = lambda _symbol: None
        self.after_end: Callable[[PlainOrder], None] = lambda _order: None
        self.trades: list[Trade] = []

    # -- what clients ask -------------------------------------------------------------------------------------------

    def place(self, request: OrderRequest) -> PlainOrder:
        request = self.admission.priced(request)
        room = self.admission.check(request)
        order = self._new(request)
        if request.time_in_force is Tif.GTD:
            self._state.at(self._state.now_ms + request.lives_ms, lambda: self._expire(order.order_id))
        return self._match(self._report(order, Execution.NEW), room)

    def _expire(self, order_id: int) -> None:
        """A GTD order's time is over."""
        order = self._book.orders[order_id]
        if order.status.is_open:
            self._end(order, Status.EXPIRED)

    def amend(self, order: PlainOrder, quantity: Decimal, price: Decimal) -> PlainOrder:
        """A new price and quantity, at the end of the queue. Filters that fail leave the order as it was."""
        self.admission.check_amendment(order, quantity, price)
        takes = self._state.markets[order.symbol].crosses(order.side, price)
        if quantity <= order.executed or (order.time_in_force is Tif.GTX and takes):
            return self._end(order, Status.CANCELED)
        self._book.to_the_end(order)
        order = replace(
            order,
            quantity=quantity,
            price=price,
            priority=self._state.next_id("priority"),
            amendments=order.amendments + 1,
        )
        return self._match(self._report(order, Execution.AMENDMENT), order.remaining)

    def cancel(self, order: PlainOrder | None) -> PlainOrder:
        if order is None or not order.status.is_open:
            raise VenueError(-2011, "Unknown order sent.")
        return self._end(order, Status.CANCELED)

    def cancel_all(self, symbol: str) -> None:
        for order in self._book.open(symbol):
            self._end(order, Status.CANCELED)

    # -- what the venue sends itself --------------------------------------------------------------------------------

    def new_child(self, algo: AlgoOrder) -> tuple[PlainOrder, Decimal]:
        """The order of a triggered conditional one and its room, for ``match_child``. Raises what is refused."""
        request, room = self.admission.child(algo.child, close_position=algo.close_position)
        order = replace(
            self._new(request),
            original_type=algo.type,
            close_position=algo.close_position,
            trigger_price=algo.trigger_price,
            working_type=algo.working_type,
        )
        return order, room

    def match_child(self, order: PlainOrder, room: Decimal) -> PlainOrder:
        return self._match(self._report(order, Execution.NEW), room)

    def close_out(self, symbol: str, quantity: Decimal, client_id: str) -> PlainOrder:
        """Close part of a position at the mark price, as liquidation and auto-deleveraging do."""
        side = self._account.holdings[symbol].closing_side
        if side is None:
            raise reduce_only_rejected()
        mark = self._state.markets[symbol].mark
        request = OrderRequest(symbol, side, OrderType.LIQUIDATION, quantity, client_id, mark, Tif.IOC)
        order = self._report(self._new(request), Execution.NEW)
        return self._execute(order, [(mark, quantity)], is_maker=False, execution=Execution.CALCULATED)

    def fit_reduce_only(self, symbol: str) -> None:
        """Expire resting reduce-only orders that the position no longer has room for, those farthest back first."""
        holding = self._account.holdings[symbol]
        room = {side: holding.reducible(side) for side in Side}
        for order in self._book.by_priority(symbol):
            if not order.reduce_only:
                continue
            if order.remaining <= room[order.side]:
                room[order.side] -= order.remaining
            else:
                self._end(order, Status.EXPIRED)

    # -- executing --------------------------------------------------------------------------------------------------

    def fill_resting(self, symbol: str, volume: Decimal, *, passing: bool) -> Decimal:
        """Fill resting orders from the ``volume`` traded; returns what of it is left.

        Orders the market has traded through fill as far as the volume goes. At exactly the order's price they count as
        traded through when the market is ``passing`` on, else they get ``touch_share`` of the volume. In an endless book
        all of them fill whole.
        """
        market = self._state.markets[symbol]
        to_step = market.contract.instrument.floor_quantity
        touch = to_step(volume * self._state.config.touch_share)
        for resting in self._book.by_priority(symbol):
            order = self._book.orders[resting.order_id]  # an earlier fill may have expired it
            through = (order.price - market.last) * order.side.sign
            if not order.status.is_open or through < 0:
                continue
            quantity = min(order.remaining, to_step(volume))
            if self._state.config.book.endless:
                quantity = order.remaining
            elif through == 0 and not passing:
                quantity = min(quantity, touch)
                touch -= quantity
            if quantity > 0:
                volume = max(ZERO, volume - quantity)
                self._execute(order, [(order.price, quantity)], is_maker=True)
        return volume

    def _match(self, order: PlainOrder, room: Decimal) -> PlainOrder:
        """Take what can be taken now; what then remains rests or expires."""
        limit = order.price if order.type is OrderType.LIMIT else None
        fills = self._state.markets[order.symbol].take(order.side, min(room, order.remaining), limit)
        order = self._execute(order, fills, is_maker=order.time_in_force is Tif.GTX)
        return self._end(order, Status.EXPIRED) if order.status.is_open and not order.rests else order

    def _execute(
        self, order: PlainOrder, fills: Iterable[Level], *, is_maker: bool, execution: Execution = Execution.TRADE
    ) -> PlainOrder:
        moved = False
        for price, quantity in fills:
            trade = self._book_trade(order, price, quantity, is_maker=is_maker)
            executed = order.executed + quantity
            order = replace(
                order,
                executed=executed,
                quote=order.quote + price * quantity,
                realized_pnl=order.realized_pnl + trade.realized_pnl,
                status=Status.FILLED if executed == order.quantity else Status.PARTIALLY_FILLED,
            )
            order = self._report(order, execution, trade)
            moved = True
        if moved:
            self._account.announce("ORDER", (order.symbol,))
            self.after_fill(order.symbol)
        return self._book.orders[order.order_id]

    def _book_trade(self, order: PlainOrder, price: Decimal, quantity: Decimal, *, is_maker: bool) -> Trade:
        config = self._state.config
        fee = to_money(price * quantity * (config.maker_fee if is_maker else config.taker_fee))
        trade_id = self._state.next_id("trade")
        realized = self._account.fill(order.symbol, order.side, price, quantity, fee, trade_id)
        trade = Trade(
            trade_id=trade_id,
            order_id=order.order_id,
            client_id=order.client_id,
            symbol=order.symbol,
            side=order.side,
            price=price,
            quantity=quantity,
            fee=fee,
            is_maker=is_maker,
            realized_pnl=realized,
            time_ms=self._state.now_ms,
        )
        self.trades.append(trade)
        return trade

    def _new(self, request: OrderRequest) -> PlainOrder:
        return PlainOrder(
            order_id=self._state.next_id("order"),
            client_id=request.client_id,
            symbol=request.symbol,
            side=request.side,
            type=request.type,
            original_type=request.type,
            time_in_force=request.time_in_force,
            quantity=request.quantity,
            price=request.price or ZERO,
            reduce_only=request.reduce_only,
            close_position=False,
            status=Status.NEW,
            executed=ZERO,
            quote=ZERO,
            realized_pnl=ZERO,
            created_ms=self._state.now_ms,
            updated_ms=self._state.now_ms,
            priority=self._state.next_id("priority"),
            price_match=request.price_match,
            good_till_date=request.good_till_date,
        )

    def _end(self, order: PlainOrder, status: Status) -> PlainOrder:
        execution = Execution.EXPIRED if status is Status.EXPIRED else Execution.CANCELED
        return self._report(replace(order, status=status), execution)

    def _report(self, order: PlainOrder, execution: Execution, trade: Trade | None = None) -> PlainOrder:
        order = replace(order, updated_ms=self._state.now_ms)
        self._book.record(order)
        self._state.emit(OrderUpdate(self._state.now_ms, execution, order, trade))
        if not order.status.is_open:
            self.after_end(order)
        return order
