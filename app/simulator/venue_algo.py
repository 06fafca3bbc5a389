"""Conditional orders (Binance's Algo Service): their own ids, endpoints and lifecycle.

NEW → TRIGGERING → TRIGGERED (with the child's order id) → FINISHED, or CANCELED, REJECTED (``reject_reason``), EXPIRED.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal

from app.simulator.venue_account import AccountBook
from app.simulator.venue_algo_checks import check_close_position, check_form, check_quantity_of
from app.simulator.venue_orders import MatchingEngine
from app.simulator.venue_state import VenueState
from app.simulator.venue_types import (
    ZERO,
    AlgoOrder,
    AlgoRequest,
    AlgoStatus,
    AlgoUpdate,
    PlainOrder,
    VenueError,
)


class AlgoBook:
    """``at_trigger`` may intervene before the engine sees a child: False leaves it TRIGGERING, a VenueError rejects it."""

    def __init__(self, state: VenueState, account: AccountBook, engine: MatchingEngine) -> None:
        self._state = state
        self._account = account
        self._engine = engine
        engine.after_end = self._child_ended
        self.algos: dict[int, AlgoOrder] = {}
        self._by_client: dict[str, int] = {}
        self._open: dict[int, None] = {}
        self._resting_children: dict[int, int] = {}
        self.at_trigger: Callable[[AlgoOrder], bool] = lambda _algo: True

    def find(self, algo_id: int | None = None, client_id: str | None = None) -> AlgoOrder | None:
        if algo_id is None and client_id is not None:
            algo_id = self._by_client.get(client_id)
        return None if algo_id is None else self.algos.get(algo_id)

    def open(self, symbol: str | None = None) -> list[AlgoOrder]:
        algos = (self.algos[algo_id] for algo_id in self._open)
        return [algo for algo in algos if symbol in (None, algo.symbol)]

    def prices(self, symbol: str) -> Iterator[Decimal]:
        """Last prices at which one of them triggers or becomes active."""
        market = self._state.markets[symbol]
        for algo in self.open(symbol):
            yield market.last_at(algo.watched_price, algo.working_type)

    def place(self, request: AlgoRequest) -> AlgoOrder:
        market = self._state.market(request.symbol)
        check_form(request, market)
        same = self.find(client_id=request.client_id)
        if same and same.algo_id in self._open:
            raise VenueError(-4116, "ClientOrderId is duplicated.")
        if len(self._open) >= self._state.config.max_algo_orders:
            raise VenueError(-4045, "Reach max stop order limit.")
        if request.close_position:
            closing_side = self._account.holdings[request.symbol].closing_side
            check_close_position(request, closing_side, self.open(request.symbol))
        else:
            check_quantity_of(request, market)
        algo = self._followed(self._new(request))
        if algo.triggers_at(market.working(algo.working_type)):
            raise VenueError(-2021, "Order would immediately trigger.")
        algo = replace(algo, algo_id=self._state.next_id("algo"))
        self._by_client[request.client_id] = algo.algo_id
        self._open[algo.algo_id] = None
        return self._report(algo)

    def _new(self, request: AlgoRequest) -> AlgoOrder:
        return AlgoOrder(
            algo_id=0,
            client_id=request.client_id,
            symbol=request.symbol,
            side=request.side,
            type=request.type,
            quantity=request.quantity or ZERO,
            trigger_price=request.trigger_price or ZERO,
            working_type=request.working_type,
            reduce_only=request.reduce_only or request.close_position,
            close_position=request.close_position,
            price_protect=request.price_protect,
            status=AlgoStatus.NEW,
            created_ms=self._state.now_ms,
            updated_ms=self._state.now_ms,
            price=request.price,
            price_match=request.price_match,
            tif=request.time_in_force,
            activate_price=request.activate_price,
            callback_rate=request.callback_rate,
        )

    def cancel(self, algo: AlgoOrder | None) -> AlgoOrder:
        if algo is None or algo.status is not AlgoStatus.NEW:
            raise VenueError(-2011, "Unknown order sent.")
        return self._report(replace(algo, status=AlgoStatus.CANCELED))

    def cancel_all(self, symbol: str) -> None:
        for algo in self.open(symbol):
            self.cancel(algo)

    def _report(self, algo: AlgoOrder) -> AlgoOrder:
        algo = self._keep(replace(algo, updated_ms=self._state.now_ms))
        self._state.emit(AlgoUpdate(self._state.now_ms, algo))
        return algo

    def _keep(self, algo: AlgoOrder) -> AlgoOrder:
        self.algos[algo.algo_id] = algo
        if algo.status is not AlgoStatus.NEW:
            self._open.pop(algo.algo_id, None)
        return algo

    def expire_orphans(self, symbol: str) -> None:
        """closePosition orders live only as long as there is a position for them to close."""
        closing = self._account.holdings[symbol].closing_side
        for algo in self.open(symbol):
            if algo.close_position and algo.side is not closing:
                self._report(replace(algo, status=AlgoStatus.EXPIRED))

    # -- triggering -------------------------------------------------------------------------------------------------

    def trigger(self, symbol: str) -> None:
        """Send what the present price triggers, oldest first."""
        market = self._state.markets[symbol]
        for waiting in self.open(symbol):
            algo = self.algos[waiting.algo_id]  # an earlier child may have flattened the position and expired it
            if algo.status is not AlgoStatus.NEW:
                continue
            if algo.callback_rate is not None:
                algo = self._follow(algo)
            if algo.triggers_at(market.working(algo.working_type)):
                self._fire(algo)

    def _followed(self, algo: AlgoOrder) -> AlgoOrder:
        """A trailing stop with the best price so far: it activates, and from then on follows the price."""
        price = self._state.markets[algo.symbol].working(algo.working_type)
        if algo.callback_rate is None or (not algo.is_active and not algo.reaches_activation(price)):
            return algo
        best = min if algo.side.sign > 0 else max
        return replace(algo, extreme=price if algo.extreme is None else best(algo.extreme, price))

    def _follow(self, algo: AlgoOrder) -> AlgoOrder:
        """Its activation is told as NEW once more; the following itself is not."""
        followed = self._followed(algo)
        if followed.is_active and not algo.is_active:
            return self._report(followed)
        return self._keep(followed)

    def _fire(self, algo: AlgoOrder) -> None:
        algo = self._report(replace(algo, status=AlgoStatus.TRIGGERING, triggered_ms=self._state.now_ms))
        try:
            self._check_protection(algo)
            goes_on = self.at_trigger(algo)
        except VenueError as error:
            self._report(replace(algo, status=AlgoStatus.REJECTED, reject_reason=error.msg))
            return
        if goes_on:
            self._hand_over(algo)

    def _check_protection(self, algo: AlgoOrder) -> None:
        market = self._state.markets[algo.symbol]
        if algo.price_protect and abs(market.last - market.mark) > market.mark * market.contract.trigger_protect:
            raise VenueError(-4131, "Price protection: last and mark price are too far apart.")

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
        if child.status.is_open:
            self._resting_children[child.order_id] = algo.algo_id
        else:
            self._finish(algo, child)

    def _finish(self, algo: AlgoOrder, child: PlainOrder) -> None:
        self._report(replace(algo, status=AlgoStatus.FINISHED, actual_quantity=child.executed, actual_price=child.average_price))

    def _child_ended(self, order: PlainOrder) -> None:
        """The limit order of a triggered one, which has been resting, is filled or gone."""
        algo_id = self._resting_children.pop(order.order_id, None)
        if algo_id is not None:
            self._finish(self.algos[algo_id], order)
