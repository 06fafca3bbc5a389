"""Binance USD-M Futures, or the simulator's server, as the exchange port: REST through ccxt, events through our own listener.

``binance_rest`` and ``binance_order_socket`` send, ``binance_orders`` places and cancels, ``binance_queries`` reads back,
``binance_stream`` and ``binance_events`` listen. Live, demo and paper differ by base URLs only.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Coroutine
from decimal import Decimal
from typing import Any

from app.clock import Clock
from app.domain.contract_terms import ContractTerms
from app.domain.instrument import Instrument, Side
from app.domain.market import MarkPrice, Quote
from app.domain.orders import (
    Account,
    CommissionRates,
    ExchangeEvent,
    Fill,
    MarginType,
    MarketOrder,
    Order,
    OrderKind,
    OrderState,
    StreamDown,
    StreamUp,
    Transfer,
)
from app.exchange import binance_parse as parse
from app.exchange.binance_events import EventTranslator
from app.exchange.binance_order_socket import OrderSocket
from app.exchange.binance_orders import OrderDesk
from app.exchange.binance_parse import Json
from app.exchange.binance_queries import AccountQueries
from app.exchange.binance_rest import (
    ACCOUNT_CONFIG,
    BOOK_TICKER,
    COMMISSION,
    COUNTDOWN,
    EXCHANGE_INFO,
    LEVERAGE,
    MARGIN_TYPE,
    PLACE_TEST,
    PREMIUM_INDEX,
    BinanceConfig,
    BinanceRest,
)
from app.exchange.binance_stream import PrivateStream
from app.exchange.budget import Priority
from app.exchange.codes import NOTHING_TO_CHANGE
from app.exchange.errors import ExchangeError, NotPermitted, OrderRefused, UnknownSymbol
from app.exchange.ledger import Ledger

__all__ = ["BinanceConfig", "BinanceExchange"]

_log = logging.getLogger(__name__)

_HOLD_S = 0.3  # how long a child order's execution waits for the message that says whose child it is
_SILENCE_S = 5.0  # an acknowledged order of which the stream says nothing for so long: the stream is dead


class BinanceExchange:
    """``app.exchange.port.Exchange``. Build it, ``connect``, use it from one event loop, ``close``."""

    def __init__(self, config: BinanceConfig, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._rest = BinanceRest(config, clock)
        self._ledger = Ledger()
        self._queries = AccountQueries(self._rest, self._ledger)
        self._orders = OrderSocket(self._rest, config.order_url, clock, config.timeout_s) if config.order_url else None
        self._desk = OrderDesk(self._rest, self._orders, self._queries, self._ledger, config, clock)
        self._translator = EventTranslator(self._ledger, self._begin_hold, self._begin_finish)
        self._stream = PrivateStream(self._rest, config.stream_url, clock, self._deliver, self._stream_up, self._stream_down)
        self._instruments: dict[str, Instrument] = {}
        self._listings: dict[str, Json] = {}  # of what may be traded; each is read when first asked for
        self._events: asyncio.Queue[ExchangeEvent | None] = asyncio.Queue()
        self._sent: set[str] = set()  # orders under way that the stream has not mentioned yet
        self._unheard: dict[str, float] = {}  # the same once acknowledged, and since when
        self._tasks: set[asyncio.Task[None]] = set()

    # -- life -----------------------------------------------------------------------------------------------------------

    async def connect(self) -> None:
        await self._rest.open()
        try:
            with parse.understood(f"exchange.rest_url {self._config.rest_url}"):
                self._read_exchange_info(await self._rest.read(EXCHANGE_INFO))  # first: it states the limits we may use
                await self._rest.sync_clock()
                _check_account(await self._rest.read(ACCOUNT_CONFIG))
            await self.probe(self._config.symbols[0])
            await self.account()
            await asyncio.gather(*(self.open_orders(symbol) for symbol in self._config.symbols))
            if self._orders is not None:
                await self._orders.start()
            await self._stream.start()
        except BaseException:
            await self._rest.close()
            raise
        self._spawn(self._watch_silence())

    async def close(self) -> None:
        await self._stream.close()
        if self._orders is not None:
            await self._orders.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._rest.close()
        self._events.put_nowait(None)

    def _read_exchange_info(self, info: Json) -> None:
        listings = {listing["symbol"]: listing for listing in info["symbols"]}
        for symbol in self._config.symbols:
            if symbol not in listings:
                raise UnknownSymbol(f"{symbol}: not listed at {self._config.rest_url}; check the symbols in rules")
            self._instruments[symbol] = parse.instrument(listings[symbol])
        self._listings = {symbol: listing for symbol, listing in listings.items() if parse.is_usdt_perpetual(listing)}
        limits = {(each["rateLimitType"], each["interval"]): int(each["limit"]) for each in info.get("rateLimits", ())}
        weight, minute, seconds = (
            limits.get(k) for k in (("REQUEST_WEIGHT", "MINUTE"), ("ORDERS", "MINUTE"), ("ORDERS", "SECOND"))
        )
        if weight and minute and seconds:
            self._rest.budget.set_limits(weight, minute, seconds)

    # -- orders ---------------------------------------------------------------------------------------------------------

    def instrument(self, symbol: str) -> Instrument:
        if (known := self._instruments.get(symbol)) is not None:
            return known
        if (listing := self._listings.get(symbol)) is None:
            raise UnknownSymbol(f"{symbol} is not a USDT-margined perpetual of this exchange")
        with parse.understood(f"the listing of {symbol}"):
            self._instruments[symbol] = parse.instrument(listing)
        return self._instruments[symbol]

    async def place(self, order: Order) -> OrderState:
        self.instrument(order.symbol)
        if self._ledger.state(order.client_id) is None:
            self._sent.add(order.client_id)
        try:
            state = await self._desk.place(order)
            if order.client_id in self._sent:
                self._unheard[order.client_id] = self._clock.monotonic()
            return state
        finally:
            self._sent.discard(order.client_id)

    def rehearse(self, order: Order) -> None:
        self._desk.rehearse(order)

    @property
    def order_socket_is_up(self) -> bool:
        return self._orders is not None and self._orders.is_up

    async def cancel(self, symbol: str, client_id: str, kind: OrderKind) -> OrderState | None:
        return await self._desk.cancel(symbol, client_id, kind)

    async def arm_countdown(self, symbol: str, milliseconds: int) -> None:
        priority = Priority.NORMAL if milliseconds else Priority.PROTECTIVE  # calling it off keeps our targets in the book
        await self._rest.call(COUNTDOWN, {"symbol": symbol, "countdownTime": milliseconds}, priority)

    async def find(self, symbol: str, client_id: str, kind: OrderKind) -> OrderState | None:
        return await self._desk.find(symbol, client_id, kind)

    async def open_orders(self, symbol: str) -> list[OrderState]:
        return await self._queries.open_orders(symbol)

    async def orders_since(self, symbol: str, since_ms: int) -> list[OrderState]:
        return await self._queries.orders_since(symbol, since_ms)

    async def fills_since(self, symbol: str, since_ms: int) -> list[Fill]:
        return await self._queries.fills_since(symbol, since_ms)

    # -- account and market -----------------------------------------------------------------------------------------------

    async def account(self) -> Account:
        account = await self._queries.account()
        self._translator.wallet_balance = account.wallet_balance  # for events that do not touch USDT
        return account

    async def quote(self, symbol: str) -> Quote:
        with parse.understood("quote"):
            return parse.quote(await self._rest.read(BOOK_TICKER, {"symbol": symbol}))

    async def mark_price(self, symbol: str) -> MarkPrice:
        with parse.understood("mark price"):
            return parse.mark_price(await self._rest.read(PREMIUM_INDEX, {"symbol": symbol}))

    async def commission_rates(self, symbol: str) -> CommissionRates:
        rates = await self._rest.read(COMMISSION, {"symbol": symbol})
        with parse.understood("commission rates"):
            return CommissionRates(parse.decimal(rates["makerCommissionRate"]), parse.decimal(rates["takerCommissionRate"]))

    async def contract_terms(self, symbol: str) -> ContractTerms:
        return await self._queries.contract_terms(symbol)

    async def probe(self, symbol: str) -> None:
        """Shows whether the key may trade, and keeps the order connection warm. That it would not be filled is no matter."""
        order = MarketOrder("probe", symbol, Side.BUY, self.instrument(symbol).min_quantity)
        with contextlib.suppress(OrderRefused):
            await self._rest.read(PLACE_TEST, parse.order_params(order))

    async def set_leverage(self, symbol: str, leverage: int) -> None:
        try:
            await self._rest.call(LEVERAGE, {"symbol": symbol, "leverage": leverage})
        except OrderRefused as error:
            ours = type(error)(f"{symbol} at leverage {leverage}: {error}; see rules.sizing.leverage", error.code)
            ours.words = error.words
            raise ours from error

    async def set_margin_type(self, symbol: str, margin_type: MarginType) -> None:
        try:
            await self._rest.call(MARGIN_TYPE, {"symbol": symbol, "marginType": margin_type.value})
        except OrderRefused as error:
            if error.code not in NOTHING_TO_CHANGE:
                raise

    async def funding_paid_since(self, symbol: str, since_ms: int) -> list[tuple[int, Decimal]]:
        return await self._queries.funding_paid_since(symbol, since_ms)

    async def transfers_since(self, since_ms: int) -> list[Transfer]:
        return await self._queries.transfers_since(since_ms)

    # -- private stream ---------------------------------------------------------------------------------------------------

    async def events(self) -> AsyncIterator[ExchangeEvent]:
        while (event := await self._events.get()) is not None:
            yield event

    def _stream_up(self) -> None:
        self._unheard.clear()
        self._events.put_nowait(StreamUp())

    def _stream_down(self, reason: str) -> None:
        self._events.put_nowait(StreamDown(reason))

    def _deliver(self, message: Json) -> bool:
        """Whether it told of a fill."""
        events = self._translator.translate(message)
        self._emit(events)
        return any(isinstance(event, Fill) for event in events)

    def _emit(self, events: list[ExchangeEvent]) -> None:
        for event in events:
            if isinstance(event, OrderState):
                self._sent.discard(event.client_id)
                self._unheard.pop(event.client_id, None)
            self._events.put_nowait(event)

    def _begin_hold(self, order_id: int, symbol: str) -> None:
        self._spawn(self._end_hold(order_id, symbol))

    async def _end_hold(self, order_id: int, symbol: str) -> None:
        """No ALGO_UPDATE has claimed this order in time: ask whether it is a child of ours, then let it go as what it is."""
        await self._clock.sleep(_HOLD_S)
        for algo in self._ledger.childless_algos(symbol):
            if not self._translator.is_held(order_id):
                return
            await self._ask_quietly(algo)
        self._emit(self._translator.release(order_id))

    def _begin_finish(self, algo: OrderState) -> None:
        self._spawn(self._finish(algo))

    async def _finish(self, algo: OrderState) -> None:
        """An algo order is over but its child's last message has not come."""
        await self._clock.sleep(_HOLD_S)
        known = self._ledger.state(algo.client_id)
        if known is not None and not known.status.is_final and (found := await self._ask_quietly(algo)) is not None:
            self._emit([found])

    async def _ask_quietly(self, algo: OrderState) -> OrderState | None:
        try:
            return await self.find(algo.symbol, algo.client_id, OrderKind.ALGO)
        except ExchangeError as error:
            _log.warning("could not ask for %s: %s", algo.client_id, error)
            return None

    async def _watch_silence(self) -> None:
        """A socket may stay open and tell nothing (a replaced listen key, a wrong route): answers over REST give it away."""
        while True:
            await self._clock.sleep(1.0)
            silent = [who for who, since in self._unheard.items() if self._clock.monotonic() - since > _SILENCE_S]
            if silent and self._stream.is_up:
                self._unheard.clear()
                await self._stream.restart(f"nothing about {silent[0]} came for {_SILENCE_S:.0f} s after it was acknowledged")

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a task of the exchange adapter failed", exc_info=error)


def _check_account(config: Json) -> None:
    """Raises NotPermitted for an account in a mode we do not trade in."""
    if config.get("dualSidePosition"):
        raise NotPermitted("account: hedge mode is on; switch Position Mode to One-way in Binance's futures preferences")
    if config.get("multiAssetsMargin"):
        raise NotPermitted("account: multi-assets mode is on; switch Asset Mode to Single-Asset in Binance's futures preferences")
    if config.get("canTrade") is False:
        raise NotPermitted("account: Binance does not let it trade; see its notice in Binance's futures app")
