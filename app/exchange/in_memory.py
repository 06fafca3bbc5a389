"""The exchange port straight on the simulated venue: no sockets, no waits, no clock of its own.

Whoever drives the venue's time calls ``pump`` after each step, so that what happened reaches ``events``. Replay and simulation
run on this adapter.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from decimal import Decimal

from app.domain.contract_terms import ContractTerms, MarginBracket
from app.domain.instrument import Instrument
from app.domain.market import MarkPrice, Quote
from app.domain.orders import (
    Account,
    AccountUpdate,
    CommissionRates,
    ExchangeEvent,
    Fill,
    LimitOrder,
    MarginType,
    MarketOrder,
    Order,
    OrderKind,
    OrderState,
    OrderStatus,
    Position,
    StopOrder,
    StreamUp,
    Transfer,
)
from app.exchange.codes import NO_SUCH_ORDER, NOTHING_TO_CHANGE, UNKNOWN_ORDER, error_for
from app.exchange.errors import OrderRefused
from app.exchange.ledger import with_child
from app.simulator.venue import Venue
from app.simulator.venue_types import (
    ALGO_TYPES,
    AccountChanged,
    AlgoOrder,
    AlgoStatus,
    AlgoUpdate,
    IncomeType,
    LeverageChanged,
    MarginCalled,
    OrderType,
    OrderUpdate,
    PlainOrder,
    Status,
    Tif,
    Trade,
    VenueError,
    VenueEvent,
    VenuePosition,
    WorkingType,
)
from app.simulator.venue_types import MarginType as VenueMarginType

_STATUS = {
    Status.NEW: OrderStatus.OPEN,
    Status.PARTIALLY_FILLED: OrderStatus.OPEN,
    Status.FILLED: OrderStatus.FILLED,
    Status.CANCELED: OrderStatus.CANCELED,
    Status.EXPIRED: OrderStatus.EXPIRED,
}
_ALGO_STATUS = {
    AlgoStatus.NEW: OrderStatus.OPEN,
    AlgoStatus.TRIGGERING: OrderStatus.TRIGGERING,
    AlgoStatus.TRIGGERED: OrderStatus.TRIGGERED,
    AlgoStatus.FINISHED: OrderStatus.TRIGGERED,  # its child says how it ended
    AlgoStatus.CANCELED: OrderStatus.CANCELED,
    AlgoStatus.REJECTED: OrderStatus.REJECTED,
    AlgoStatus.EXPIRED: OrderStatus.EXPIRED,
}


@contextmanager
def _our_errors() -> Iterator[None]:
    try:
        yield
    except VenueError as error:
        text = f"{error.msg} ({error.code})"
        ours = error_for(error.code, text) or OrderRefused(text, error.code)
        ours.words = error.msg
        raise ours from None


class InMemoryExchange:
    """``app.exchange.port.Exchange``. It alone takes the venue's events."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._events: asyncio.Queue[ExchangeEvent | None] = asyncio.Queue()

    async def connect(self) -> None:
        self._venue.drain_events()  # what happened before is not streamed
        self._events.put_nowait(StreamUp())

    async def close(self) -> None:
        self._events.put_nowait(None)

    def pump(self) -> bool:
        """Hand on what has happened at the venue since; was there anything?"""
        news = self._venue.drain_events()
        for happened in news:
            for event in self._translate(happened):
                self._events.put_nowait(event)
        return bool(news)

    async def events(self) -> AsyncIterator[ExchangeEvent]:
        while (event := await self._events.get()) is not None:
            yield event

    def instrument(self, symbol: str) -> Instrument:
        with _our_errors():
            return self._venue.instrument(symbol)

    # -- orders -----------------------------------------------------------------------------------------------------------

    def rehearse(self, order: Order) -> None:
        """Nothing takes time here."""

    async def place(self, order: Order) -> OrderState:
        known = await self.find(order.symbol, order.client_id, order.kind)
        if known is not None:
            return known
        with _our_errors():
            state = self._send(order)
        self.pump()
        return state

    def _send(self, order: Order) -> OrderState:
        match order:
            case StopOrder():
                algo = self._venue.place_algo(
                    order.symbol,
                    order.side,
                    OrderType.STOP_MARKET,
                    order.trigger,
                    quantity=order.quantity,
                    close_position=order.closes_position,
                    reduce_only=not order.closes_position,
                    working_type=WorkingType(order.trigger_on.value),
                    client_id=order.client_id,
                )
                return self._algo_state(algo)
            case LimitOrder():
                plain = self._venue.place_order(
                    order.symbol,
                    order.side,
                    OrderType.LIMIT,
                    order.quantity,
                    price=order.price,
                    time_in_force=Tif(order.time_in_force.value),
                    reduce_only=order.reduce_only,
                    client_id=order.client_id,
                )
            case MarketOrder():
                plain = self._venue.place_order(
                    order.symbol,
                    order.side,
                    OrderType.MARKET,
                    order.quantity,
                    reduce_only=order.reduce_only,
                    client_id=order.client_id,
                )
        return _plain_state(plain)

    async def cancel(self, symbol: str, client_id: str, kind: OrderKind) -> OrderState | None:
        with _our_errors():
            try:
                if kind is OrderKind.ALGO:
                    self._venue.cancel_algo(client_id=client_id)
                else:
                    self._venue.cancel_order(symbol, client_id=client_id)
            except VenueError as error:
                if error.code != UNKNOWN_ORDER:
                    raise
        self.pump()
        return await self.find(symbol, client_id, kind)

    async def arm_countdown(self, symbol: str, milliseconds: int) -> None:
        with _our_errors():
            self._venue.set_countdown(symbol, milliseconds)

    async def find(self, symbol: str, client_id: str, kind: OrderKind) -> OrderState | None:
        with _our_errors():
            try:
                if kind is OrderKind.ALGO:
                    return self._algo_state(self._venue.algo(client_id=client_id))
                return _plain_state(self._venue.order(symbol, client_id=client_id))
            except VenueError as error:
                if error.code == NO_SUCH_ORDER:
                    return None
                raise

    async def open_orders(self, symbol: str) -> list[OrderState]:
        with _our_errors():
            algos, plain = self._venue.open_algos(symbol), self._venue.open_orders(symbol)
        return [self._algo_state(algo) for algo in algos] + [_plain_state(order) for order in plain if not _is_child(order)]

    async def orders_since(self, symbol: str, since_ms: int) -> list[OrderState]:
        with _our_errors():
            algos, plain = self._venue.all_algos(symbol, since_ms), self._venue.all_orders(symbol, since_ms)
        return [self._algo_state(algo) for algo in algos] + [_plain_state(order) for order in plain if not _is_child(order)]

    async def fills_since(self, symbol: str, since_ms: int) -> list[Fill]:
        with _our_errors():
            return [_fill(trade) for trade in self._venue.trades(symbol, since_ms)]

    # -- account and market -----------------------------------------------------------------------------------------------

    async def account(self) -> Account:
        account = self._venue.account()
        return Account(
            wallet_balance=account.wallet_balance,
            available_balance=account.available_balance,
            unrealized_pnl=account.unrealized_pnl,
            positions=tuple(_position(p) for p in account.positions if p.quantity),
        )

    async def quote(self, symbol: str) -> Quote:
        with _our_errors():
            return self._venue.quote(symbol)

    async def mark_price(self, symbol: str) -> MarkPrice:
        venue = self._venue
        with _our_errors():
            return MarkPrice(symbol, venue.mark_price(symbol), venue.funding_rate(symbol), venue.next_funding_ms, venue.now_ms)

    async def commission_rates(self, symbol: str) -> CommissionRates:
        self.instrument(symbol)
        return CommissionRates(self._venue.config.maker_fee, self._venue.config.taker_fee)

    async def contract_terms(self, symbol: str) -> ContractTerms:
        with _our_errors():
            brackets = self._venue.contract(symbol).brackets
        return ContractTerms(self._venue.funding_interval_h, tuple(MarginBracket(b.cap, b.maintenance_rate) for b in brackets))

    async def probe(self, symbol: str) -> None:
        self.instrument(symbol)

    async def set_leverage(self, symbol: str, leverage: int) -> None:
        with _our_errors():
            self._venue.set_leverage(symbol, leverage)
        self.pump()

    async def set_margin_type(self, symbol: str, margin_type: MarginType) -> None:
        with _our_errors():
            try:
                self._venue.set_margin_type(symbol, VenueMarginType(margin_type.value))
            except VenueError as error:
                if error.code not in NOTHING_TO_CHANGE:
                    raise
        self.pump()

    async def funding_paid_since(self, symbol: str, since_ms: int) -> list[tuple[int, Decimal]]:
        with _our_errors():
            income = self._venue.income(since_ms, symbol)
        return [(each.time_ms, -each.amount) for each in income if each.type is IncomeType.FUNDING_FEE]

    async def transfers_since(self, since_ms: int) -> list[Transfer]:
        income = self._venue.income(since_ms)
        return [Transfer(i.transaction_id, i.amount, i.time_ms) for i in income if i.type is IncomeType.TRANSFER]

    # -- the venue's words into ours ----------------------------------------------------------------------------------------

    def _translate(self, happened: VenueEvent) -> list[ExchangeEvent]:
        match happened:
            case OrderUpdate(order=order, trade=trade):
                state = self._child_state(order) if _is_child(order) else _plain_state(order)
                return [state] if trade is None else [_fill(trade), state]
            case AlgoUpdate(algo=algo):
                return [self._algo_state(algo)]
            case AccountChanged():
                return [
                    AccountUpdate(
                        reason=happened.reason,
                        wallet_balance=happened.wallet_balance,
                        balance_change=happened.balance_change,
                        positions=tuple(_position(p) for p in happened.positions),
                        time_ms=happened.time_ms,
                    )
                ]
            case LeverageChanged() | MarginCalled():
                return []

    def _algo_state(self, algo: AlgoOrder) -> OrderState:
        state = _algo_state(algo)
        if algo.status is not AlgoStatus.FINISHED or algo.actual_order_id is None:
            return state
        return with_child(state, _plain_state(self._venue.order(algo.symbol, order_id=algo.actual_order_id)))

    def _child_state(self, child: PlainOrder) -> OrderState:
        return with_child(_algo_state(self._venue.algo(client_id=child.client_id)), _plain_state(child))


def _is_child(order: PlainOrder) -> bool:
    return order.original_type in ALGO_TYPES


def _plain_state(order: PlainOrder) -> OrderState:
    return OrderState(
        client_id=order.client_id,
        symbol=order.symbol,
        side=order.side,
        kind=OrderKind.PLAIN,
        status=_STATUS[order.status],
        quantity=order.quantity,
        executed=order.executed,
        price=order.price,
        reduce_only=order.reduce_only,
        updated_ms=order.updated_ms,
        average_price=order.average_price or None,
        order_id=order.order_id,
    )


def _algo_state(algo: AlgoOrder) -> OrderState:
    return OrderState(
        client_id=algo.client_id,
        symbol=algo.symbol,
        side=algo.side,
        kind=OrderKind.ALGO,
        status=_ALGO_STATUS[algo.status],
        quantity=algo.quantity,
        executed=Decimal(0),
        price=algo.trigger_price,
        reduce_only=algo.reduce_only,
        updated_ms=algo.updated_ms,
        reason=algo.reject_reason,
        order_id=algo.algo_id,
    )


def _fill(trade: Trade) -> Fill:
    return Fill(
        symbol=trade.symbol,
        client_id=trade.client_id,
        venue_trade_id=trade.trade_id,
        side=trade.side,
        quantity=trade.quantity,
        price=trade.price,
        fee=trade.fee,
        fee_asset="USDT",
        is_maker=trade.is_maker,
        realized_pnl=trade.realized_pnl,
        time_ms=trade.time_ms,
    )


def _position(position: VenuePosition) -> Position:
    return Position(
        symbol=position.symbol,
        quantity=position.quantity,
        entry_price=position.entry_price,
        unrealized_pnl=position.unrealized_pnl,
        liquidation_price=position.liquidation_price,
    )
