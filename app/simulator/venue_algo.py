"""Conditional orders (Binance's Algo Service): their own ids, endpoints and lifecycle.

NEW → TRIGGERING → TRIGGERED (with the child's order id) → FINISHED, or CANCELED, REJECTED (``reject_reason``), EXPIRED.
"""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

from app.domain.instrument import Side
from app.simulator.venue_account import AccountBook
from app.simulator.venue_checks import check_client_id, check_notional, check_quantity
from app.simulator.venue_orders import MatchingEngine
from app.simulator.venue_state import VenueState
from app.simulator.venue_types import (
    ALGO_TYPES,
    ZERO,
    AlgoOrder,
    AlgoStatus,
    AlgoUpdate,
    OrderType,
    VenueError,
    WorkingType,
)


class AlgoBook:
    """``at_trigger`` may intervene before the engine sees a child: False leaves it TRIGGERING, a VenueError rejects it."""

    def __init__(self, state: VenueState, account: AccountBook, engine: MatchingEngine) -> None:
        self._state = state
        self._account = account
        self._engine = engine
        self.algos: dict[int, AlgoOrder] = {}
        self._by_client: dict[str, int] = {}
        self._open: dict[int, None] = {}
        self.at_trigger: Callable[[AlgoOrder], bool] = lambda _algo: True

    def find(self, algo_id: int | None = None, client_id: str | None = None) -> AlgoOrder | None:
        if algo_id is None and client_id is not None:
            algo_id = self._by_client.get(client_id)
        return None if algo_id is None else self.algos.get(algo_id)

    def open(self, symbol: str | None = None) -> list[AlgoOrder]:
        algos = (self.algos[algo_id] for algo_id in self._open)
        return [algo for algo in algos if symbol in (None, algo.symbol)]

    def place(
        self,
        symbol: str,
        side: Side,
        order_type: OrderType,
        trigger_price: Decimal,
        quantity: Decimal | None,
        close_position: bool,
        reduce_only: bool,
        working_type: WorkingType,
        price_protect: bool,
        client_id: str,
    ) -> AlgoOrder:
        market = self._state.market(symbol)
        if order_type not in ALGO_TYPES:
            raise VenueError(-1116, "Invalid orderType.")
        check_client_id(client_id)
        if trigger_price <= 0:
            raise VenueError(-4006, "Stop price less than zero.")
        same = self.find(client_id=client_id)
        if same and same.algo_id in self._open:
            raise VenueError(-4116, "ClientOrderId is duplicated.")
        if len(self._open) >= self._state.config.max_algo_orders:
            raise VenueError(-4045, "Reach max stop order limit.")
        if close_position:
            self._check_close_position(symbol, side, order_type, quantity, reduce_only)
        else:
            check_quantity(market.contract, quantity or ZERO, is_market=True)
            if not reduce_only:
                check_notional(market.contract, (quantity or ZERO) * trigger_price)
        algo = AlgoOrder(
            algo_id=0,
            client_id=client_id,
            symbol=symbol,
            side=side,
            type=order_type,
            quantity=quantity or ZERO,
            trigger_price=trigger_price,
            working_type=working_type,
            reduce_only=reduce_only or close_position,
            close_position=close_position,
            price_protect=price_protect,
            status=AlgoStatus.NEW,
            created_ms=self._state.now_ms,
            updated_ms=self._state.now_ms,
        )
        if algo.triggers_at(market.last):
            raise VenueError(-2021, "Order would immediately trigger.")
        algo = replace(algo, algo_id=self._state.next_id("algo"))
        self._by_client[client_id] = algo.algo_id
        self._open[algo.algo_id] = None
        return self._report(algo)

    def _check_close_position(
        self, symbol: str, side: Side, order_type: OrderType, quantity: Decimal | None, reduce_only: bool
    ) -> None:
        if quantity:
            raise VenueError(-4137, "Quantity must be zero with closePosition equals true.")
        if reduce_only:
            raise VenueError(-1106, "Parameter 'reduceonly' sent when not required.")
        if self._account.holdings[symbol].closing_side is not side:
            raise VenueError(
                -4509, "Time in Force (TIF) GTE can only be used with open positions. Please ensure that positions are available."
            )
        if any(a.close_position and a.side is side and a.type is order_type for a in self.open(symbol)):
            raise VenueError(-4130, "An open stop or take profit order with GTE and closePosition in the direction is existing.")

    def cancel(self, algo: AlgoOrder | None) -> AlgoOrder:
        if algo is None or algo.status is not AlgoStatus.NEW:
            raise VenueError(-2011, "Unknown order sent.")
        return self._report(replace(algo, status=AlgoStatus.CANCELED))

    def cancel_all(self, symbol: str) -> None:
        for algo in self.open(symbol):
            self.cancel(algo)

    def _report(self, algo: AlgoOrder) -> AlgoOrder:
        algo = replace(algo, updated_ms=self._state.now_ms)
        self.algos[algo.algo_id] = algo
        if algo.status is not AlgoStatus.NEW:
            self._open.pop(algo.algo_id, None)
        self._state.emit(AlgoUpdate(self._state.now_ms, algo))
        return algo

    def expire_orphans(self, symbol: str) -> None:
        """closePosition orders live only as long as there is a position for them to close."""
        closing = self._account.holdings[symbol].closing_side
        for algo in self.open(symbol):
            if algo.close_position and algo.side is not closing:
                self._report(replace(algo, status=AlgoStatus.EXPIRED))

    def trigger(self, symbol: str) -> None:
        """Send what the present price triggers, oldest first."""
        for waiting in self.open(symbol):
            algo = self.algos[waiting.algo_id]  # an earlier child may have flattened the position and expired it
            if algo.status is AlgoStatus.NEW and algo.triggers_at(self._state.markets[symbol].last):
                self._fire(algo)

    def _fire(self, algo: AlgoOrder) -> None:
        algo = self._report(replace(algo, status=AlgoStatus.TRIGGERING, triggered_ms=self._state.now_ms))
        try:
            goes_on = self.at_trigger(algo)
        except VenueError as error:
            self._report(replace(algo, status=AlgoStatus.REJECTED, reject_reason=error.msg))
            return
        if goes_on:
            self._hand_over(algo)

    def release(self, algo: AlgoOrder) -> None:
        """One that stayed TRIGGERING goes on to the engine now."""
        if algo.status is AlgoStatus.TRIGGERING:
            self._hand_over(algo)

    def _hand_over(self, algo: AlgoOrder) -> None:
        try:
            child, room = self._engine.new_child(algo)
        except VenueError as error:
            self._report(replace(algo, status=AlgoStatus.REJECTED, reject_reason=error.msg))
            return
        algo = self._report(replace(algo, status=AlgoStatus.TRIGGERED, actual_order_id=child.order_id))
        child = self._engine.match_child(child, room)
        self._report(
            replace(
                algo,
                status=AlgoStatus.FINISHED,
                actual_quantity=child.executed,
                actual_price=child.average_price,
            )
        )
