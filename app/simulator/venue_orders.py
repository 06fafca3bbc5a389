"""The matching engine's plain orders: placing, amending, cancelling, and filling what rests as the market moves."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from decimal import Decimal

from app.domain.instrument import Side
from app.simulator.venue_account import AccountBook, to_money
from app.simulator.venue_checks import check_band, check_client_id, check_notional, check_price, check_quantity
from app.simulator.venue_market import Level
from app.simulator.venue_state import VenueState
from app.simulator.venue_types import (
    ZERO,
    Execution,
    OrderType,
    OrderUpdate,
    PlainOrder,
    ReduceOnlyPolicy,
    Status,
    Tif,
    Trade,
    VenueError,
    WorkingType,
)


class OrderBook:
    """All orders of the one account. ``after_fill`` is called with the symbol once a fill has moved its position."""

    def __init__(self, state: VenueState, account: AccountBook) -> None:
        self._state = state
        self._account = account
        account.open_margin = self.open_margin
        self.after_fill: Callable[[str], None] = lambda _symbol: None
        self.orders: dict[int, PlainOrder] = {}
        self.trades: list[Trade] = []
        self._by_client: dict[tuple[str, str], int] = {}
        self._open: dict[str, dict[int, None]] = {symbol: {} for symbol in state.markets}

    # -- reading ----------------------------------------------------------------------------------------------------

    def find(self, symbol: str, order_id: int | None = None, client_id: str | None = None) -> PlainOrder | None:
        """By either id; of several orders with one client id, the newest."""
        if order_id is None and client_id is not None:
            order_id = self._by_client.get((symbol, client_id))
        order = None if order_id is None else self.orders.get(order_id)
        return order if order and order.symbol == symbol else None

    def open(self, symbol: str) -> list[PlainOrder]:
        """Resting orders in the sequence of their arrival."""
        return [self.orders[order_id] for order_id in self._open[symbol]]

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

    # -- placing ----------------------------------------------------------------------------------------------------

    def place(
        self,
        symbol: str,
        side: Side,
        order_type: OrderType,
        quantity: Decimal,
        price: Decimal | None,
        time_in_force: Tif,
        reduce_only: bool,
        client_id: str,
    ) -> PlainOrder:
        room = self.check(symbol, side, order_type, quantity, price, time_in_force, reduce_only, client_id)
        order = self._new(symbol, side, order_type, quantity, price or ZERO, time_in_force, reduce_only, client_id)
        return self._match(self._report(order, Execution.NEW), room)

    def check(
        self,
        symbol: str,
        side: Side,
        order_type: OrderType,
        quantity: Decimal,
        price: Decimal | None,
        time_in_force: Tif,
        reduce_only: bool,
        client_id: str,
    ) -> Decimal:
        """Everything that may refuse a plain order; returns how much of it may execute."""
        market = self._state.market(symbol)
        contract = market.contract
        if order_type not in (OrderType.MARKET, OrderType.LIMIT):
            raise VenueError(
                -4120, "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead."
            )
        check_client_id(client_id)
        check_quantity(contract, quantity, is_market=order_type is OrderType.MARKET)
        if order_type is OrderType.LIMIT:
            if price is None:
                raise VenueError(-1102, "Mandatory parameter 'price' was not sent, was empty/null, or malformed.")
            check_price(contract, price)
            check_band(contract, side, price, market.mark)
        same = self.find(symbol, client_id=client_id)
        if same and same.status.is_open:
            raise VenueError(-4116, "ClientOrderId is duplicated.")
        if len(self._open[symbol]) >= contract.max_orders:
            raise VenueError(-2025, "Reach max open order limit.")
        if price is not None and time_in_force is Tif.GTX and market.crosses(side, price):
            raise VenueError(
                -5022,
                "Due to the order could not be executed as maker, the Post Only order will be rejected. "
                "The order will not be recorded in the order history.",
            )
        rests = order_type is OrderType.LIMIT and time_in_force is not Tif.IOC
        if reduce_only:
            return self._resting_room(symbol, side, quantity) if rests else self.room(symbol, side, quantity)
        at = market.best(side) if price is None else price
        check_notional(contract, quantity * at)
        self._check_margin(symbol, side, quantity, at)
        return quantity

    def _resting_room(self, symbol: str, side: Side, quantity: Decimal) -> Decimal:
        reducible = self._account.holdings[symbol].reducible(side)
        if not reducible:
            raise VenueError(-2022, "ReduceOnly Order is rejected.")
        if self.resting_reduce_only(symbol, side) + quantity > reducible:
            raise VenueError(-4118, "ReduceOnly Order Failed. Please check your existing position and open orders.")
        return quantity

    def room(self, symbol: str, side: Side, quantity: Decimal) -> Decimal:
        """How much a reduce-only order that takes at once may execute, by the policy."""
        reducible = self._account.holdings[symbol].reducible(side)
        resting = self.resting_reduce_only(symbol, side)
        wanted = min(quantity, reducible)
        match self._state.config.reduce_only_policy:
            case ReduceOnlyPolicy.REJECT if resting and wanted + resting > reducible:
                wanted = ZERO
            case ReduceOnlyPolicy.SHRINK:
                wanted = min(wanted, reducible - resting)
        if wanted <= 0:
            raise VenueError(-2022, "ReduceOnly Order is rejected.")
        return wanted

    def _check_margin(self, symbol: str, side: Side, quantity: Decimal, price: Decimal) -> None:
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

    def _new(
        self,
        symbol: str,
        side: Side,
        order_type: OrderType,
        quantity: Decimal,
        price: Decimal,
        time_in_force: Tif,
        reduce_only: bool,
        client_id: str,
        *,
        original_type: OrderType | None = None,
        close_position: bool = False,
        trigger_price: Decimal = ZERO,
        working_type: WorkingType = WorkingType.CONTRACT_PRICE,
    ) -> PlainOrder:
        order_id = self._state.next_id("order")
        self._by_client[symbol, client_id] = order_id
        return PlainOrder(
            order_id=order_id,
            client_id=client_id,
            symbol=symbol,
            side=side,
            type=order_type,
            original_type=original_type or order_type,
            time_in_force=time_in_force,
            quantity=quantity,
            price=price,
            reduce_only=reduce_only,
            close_position=close_position,
            status=Status.NEW,
            executed=ZERO,
            quote=ZERO,
            realized_pnl=ZERO,
            created_ms=self._state.now_ms,
            updated_ms=self._state.now_ms,
            priority=self._state.next_id("priority"),
            trigger_price=trigger_price,
            working_type=working_type,
        )

    def _match(self, order: PlainOrder, room: Decimal) -> PlainOrder:
        """Take what can be taken now; what then remains rests or expires."""
        limit = order.price if order.type is OrderType.LIMIT else None
        fills = self._state.markets[order.symbol].take(order.side, min(room, order.remaining), limit)
        order = self._execute(order, fills, is_maker=False)
        if order.status.is_open and not order.rests:
            order = self._end(order, Status.EXPIRED)
        return order

    # -- changing ---------------------------------------------------------------------------------------------------

    def amend(self, order: PlainOrder, quantity: Decimal, price: Decimal) -> PlainOrder:
        """A new price and quantity, at the end of the queue. Filters that fail leave the order as it was."""
        if not order.status.is_open:
            raise VenueError(-2013, "Order does not exist.")
        if (quantity, price) == (order.quantity, order.price):
            raise VenueError(-5027, "No need to modify the order.")
        market = self._state.markets[order.symbol]
        check_quantity(market.contract, quantity, is_market=False)
        check_price(market.contract, price)
        check_band(market.contract, order.side, price, market.mark)
        if quantity <= order.executed or (order.time_in_force is Tif.GTX and market.crosses(order.side, price)):
            return self._end(order, Status.CANCELED)
        others = self.resting_reduce_only(order.symbol, order.side) - order.remaining
        if order.reduce_only:
            reducible = self._account.holdings[order.symbol].reducible(order.side)
            if others + quantity - order.executed > reducible:
                raise VenueError(-4118, "ReduceOnly Order Failed. Please check your existing position and open orders.")
        else:
            check_notional(market.contract, quantity * price)
            extra = (quantity - order.executed) * price - order.remaining * order.price
            if extra > 0:
                self._check_margin(order.symbol, order.side, extra / price, price)
        del self._open[order.symbol][order.order_id]
        order = replace(order, quantity=quantity, price=price, priority=self._state.next_id("priority"))
        return self._match(self._report(order, Execution.AMENDMENT), order.remaining)

    def cancel(self, order: PlainOrder | None) -> PlainOrder:
        if order is None or not order.status.is_open:
            raise VenueError(-2011, "Unknown order sent.")
        return self._end(order, Status.CANCELED)

    def cancel_all(self, symbol: str) -> None:
        for order in self.open(symbol):
            self._end(order, Status.CANCELED)

    def _end(self, order: PlainOrder, status: Status) -> PlainOrder:
        execution = Execution.EXPIRED if status is Status.EXPIRED else Execution.CANCELED
        return self._report(replace(order, status=status), execution)

    def _report(self, order: PlainOrder, execution: Execution, trade: Trade | None = None) -> PlainOrder:
        order = replace(order, updated_ms=self._state.now_ms)
        self.orders[order.order_id] = order
        if order.status.is_open and order.rests:
            self._open[order.symbol][order.order_id] = None
        else:
            self._open[order.symbol].pop(order.order_id, None)
        self._state.emit(OrderUpdate(self._state.now_ms, execution, order, trade))
        return order

    # -- executing --------------------------------------------------------------------------------------------------

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
        return self.orders[order.order_id]

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

    def fill_resting(self, symbol: str, volume: Decimal, *, passing: bool) -> Decimal:
        """Fill resting orders from the ``volume`` traded; returns what of it is left.

        Orders the market has traded through fill as far as the volume goes. At exactly the order's price they count as
        traded through when the market is ``passing`` on, else they get ``touch_share`` of the volume.
        """
        market = self._state.markets[symbol]
        touch = market.contract.instrument.floor_quantity(volume * self._state.config.touch_share)
        for resting in sorted(self.open(symbol), key=lambda o: (-o.price * o.side.sign, o.priority)):
            order = self.orders[resting.order_id]  # an earlier fill may have expired it
            through = (order.price - market.last) * order.side.sign
            if not order.status.is_open or through < 0:
                continue
            at_touch = through == 0 and not passing
            quantity = min(order.remaining, market.contract.instrument.floor_quantity(volume))
            if at_touch:
                quantity = min(quantity, touch)
                touch -= quantity
            if quantity > 0:
                volume -= quantity
                self._execute(order, [(order.price, quantity)], is_maker=True)
        return volume

    def fit_reduce_only(self, symbol: str) -> None:
        """Expire resting reduce-only orders that the position no longer has room for, those farthest back first."""
        holding = self._account.holdings[symbol]
        room = {side: holding.reducible(side) for side in Side}
        for order in sorted(self.open(symbol), key=lambda o: (-o.price * o.side.sign, o.priority)):
            if not order.reduce_only:
                continue
            if order.remaining <= room[order.side]:
                room[order.side] -= order.remaining
            else:
                self._end(order, Status.EXPIRED)

    # -- orders the venue itself sends ------------------------------------------------------------------------------

    def new_child(
        self,
        symbol: str,
        side: Side,
        original_type: OrderType,
        quantity: Decimal,
        client_id: str,
        *,
        reduce_only: bool,
        close_position: bool,
        trigger_price: Decimal,
        working_type: WorkingType,
    ) -> PlainOrder:
        """The market order of a triggered conditional one, to be handed to ``match_child``. Raises what the engine refuses."""
        if not reduce_only:
            self._check_margin(symbol, side, quantity, self._state.markets[symbol].best(side))
        return self._new(
            symbol,
            side,
            OrderType.MARKET,
            quantity,
            ZERO,
            Tif.GTC,
            reduce_only,
            client_id,
            original_type=original_type,
            close_position=close_position,
            trigger_price=trigger_price,
            working_type=working_type,
        )

    def match_child(self, order: PlainOrder, room: Decimal) -> PlainOrder:
        return self._match(self._report(order, Execution.NEW), room)

    def close_out(self, symbol: str, quantity: Decimal, client_id: str) -> PlainOrder:
        """Close part of a position at the mark price, as liquidation and ADL do."""
        side = self._account.holdings[symbol].closing_side
        if side is None:
            raise VenueError(-2022, "ReduceOnly Order is rejected.")
        mark = self._state.markets[symbol].mark
        order = self._new(symbol, side, OrderType.LIQUIDATION, quantity, mark, Tif.IOC, False, client_id)
        self._report(order, Execution.NEW)
        return self._execute(order, [(mark, quantity)], is_maker=False, execution=Execution.CALCULATED)
