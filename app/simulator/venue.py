"""The venue: one account at a deterministic USD-M Futures exchange, pure and synchronous, with injected time.

Time moves only by ``advance`` and ``apply``. Methods return values or raise ``VenueError`` with Binance's code and text, and
leave events behind, which the shell takes with ``drain_events`` and delivers in that order. The same calls give the same
answers and events, ids included. One-way positions, single-asset margin.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from app.domain.instrument import Instrument, Side, ceil_tick, floor_tick
from app.domain.market import Quote
from app.simulator.contracts import Contract
from app.simulator.venue_account import AccountBook
from app.simulator.venue_algo import AlgoBook
from app.simulator.venue_book import OrderBook
from app.simulator.venue_market import Level
from app.simulator.venue_orders import MatchingEngine
from app.simulator.venue_state import FUNDING_INTERVAL_MS, ConstantFunding, FundingRates, VenueConfig, VenueState
from app.simulator.venue_types import (
    AlgoOrder,
    AlgoRequest,
    Income,
    MarginType,
    OrderRequest,
    OrderType,
    PlainOrder,
    PriceMatch,
    Tif,
    Trade,
    VenueAccount,
    VenueError,
    VenueEvent,
    VenuePosition,
    WorkingType,
)


@dataclass(frozen=True, slots=True)
class Tick:
    """One symbol's move: to ``price``, having traded ``volume`` on the way. A ``jump`` skips the prices between."""

    symbol: str
    price: Decimal
    volume: Decimal
    jump: bool = False


class Venue:
    """``prices`` lists the symbols and where they start. Raises KeyError for a symbol that ``contracts`` does not know."""

    def __init__(
        self,
        prices: dict[str, Decimal],
        start_ms: int,
        config: VenueConfig | None = None,
        funding: FundingRates | None = None,
    ) -> None:
        self._state = VenueState(config or VenueConfig(), prices, start_ms, funding or ConstantFunding())
        self._account = AccountBook(self._state)
        self._book = OrderBook(self._state, self._account)
        self._engine = MatchingEngine(self._state, self._account, self._book)
        self._algos = AlgoBook(self._state, self._account, self._engine)
        self._engine.after_fill = self._position_moved
        self._countdowns: dict[str, int] = {}
        self._next_funding_ms = (start_ms // FUNDING_INTERVAL_MS + 1) * FUNDING_INTERVAL_MS

    # -- time and market --------------------------------------------------------------------------------------------

    @property
    def now_ms(self) -> int:
        return self._state.now_ms

    @property
    def symbols(self) -> tuple[str, ...]:
        return tuple(self._state.markets)

    @property
    def config(self) -> VenueConfig:
        return self._state.config

    def drain_events(self) -> list[VenueEvent]:
        events, self._state.events = self._state.events, []
        return events

    def advance(self, to_ms: int) -> None:
        """Let time pass with the markets still. Funding settles on its marks; GTD orders and countdowns run out."""
        if to_ms < self._state.now_ms:
            raise ValueError(f"exchange time cannot go back from {self._state.now_ms} to {to_ms}")
        while (due_ms := self._next_due_ms()) <= to_ms:
            self._state.now_ms = max(due_ms, self._state.now_ms)
            if due_ms < self._next_funding_ms:
                self._state.run_timer()
            else:
                self._account.settle_funding(self._next_funding_ms)
                self._next_funding_ms += FUNDING_INTERVAL_MS
        self._state.now_ms = to_ms

    def _next_due_ms(self) -> int:
        timer_ms = self._state.next_timer_ms
        return self._next_funding_ms if timer_ms is None else min(timer_ms, self._next_funding_ms)

    def apply(self, ticks: Sequence[Tick], to_ms: int) -> None:
        """Let time pass to ``to_ms`` while the markets move in straight lines.

        Every order price, trigger and liquidation price on the way is met at its own price and time, whatever the step.
        """
        start_ms, volumes = self._state.now_ms, {tick.symbol: tick.volume for tick in ticks}
        starts = {tick.symbol: self._state.market(tick.symbol).last for tick in ticks}
        while crossing := min(self._crossings(ticks, starts), default=None):
            passed, _, symbol, price = crossing
            self.advance(max(self._state.now_ms, start_ms + int((to_ms - start_ms) * passed)))
            volumes[symbol] = self._move(symbol, price, volumes[symbol], passing=True)
        self.advance(to_ms)
        for tick in ticks:
            self._move(tick.symbol, tick.price, volumes[tick.symbol], passing=False)

    def meets(self, ticks: Sequence[Tick]) -> bool:
        """Would this move meet an order's price, a trigger or a liquidation on its way or at its end?"""
        for tick in ticks:
            if not self._book.open(tick.symbol) and not self._algos.open(tick.symbol):
                continue
            last = self._state.market(tick.symbol).last
            low, high = min(last, tick.price), max(last, tick.price)
            if any(low <= price <= high for price in self._prices_of_interest(tick.symbol)):
                return True
        return False

    def held(self, symbol: str) -> Decimal:
        """The position's signed quantity; ``position`` tells the rest of it."""
        return self._account.holding(symbol).quantity

    @property
    def is_idle(self) -> bool:
        """No position and nothing that waits for a price: the market may move without being looked at."""
        holdings = self._account.holdings.values()
        return not any(h.quantity for h in holdings) and not self._algos.open() and not any(map(self._book.open, self.symbols))

    def _crossings(self, ticks: Sequence[Tick], starts: dict[str, Decimal]) -> Iterator[tuple[Decimal, int, str, Decimal]]:
        """Each symbol's next price of interest strictly before its goal, with the part of the way it lies at."""
        for index, tick in enumerate(ticks):
            last, start = self._state.markets[tick.symbol].last, starts[tick.symbol]
            if tick.jump or last == tick.price:
                continue
            rises, tick_size = tick.price > last, self.instrument(tick.symbol).tick
            prices = (
                ceil_tick(price, tick_size) if rises else floor_tick(price, tick_size)
                for price in self._prices_of_interest(tick.symbol)
            )
            between = [p for p in prices if (last < p < tick.price if rises else last > p > tick.price)]
            if between:
                price = min(between) if rises else max(between)
                yield (price - start) / (tick.price - start), index, tick.symbol, price

    def _prices_of_interest(self, symbol: str) -> Iterator[Decimal]:
        yield from (order.price for order in self._book.open(symbol))
        yield from self._algos.prices(symbol)
        if liquidation := self._account.liquidation_price(symbol):
            yield self._state.markets[symbol].last_at(liquidation, WorkingType.MARK_PRICE)

    def _move(self, symbol: str, price: Decimal, volume: Decimal, *, passing: bool) -> Decimal:
        self._state.markets[symbol].last = price
        volume = self._engine.fill_resting(symbol, volume, passing=passing)
        self._algos.trigger(symbol)
        self._liquidate()
        return volume

    def _position_moved(self, symbol: str) -> None:
        self._engine.fit_reduce_only(symbol)
        self._algos.expire_orphans(symbol)

    def _liquidate(self) -> None:
        for symbol in self.symbols:
            if not self._account.is_liquidated(symbol):
                continue
            holding = self._account.holdings[symbol]
            size, collateral = abs(holding.quantity), self._account.collateral(symbol)
            self._engine.cancel_all(symbol)
            order = self._engine.close_out(symbol, size, f"autoclose-{self.now_ms}")
            fees = sum((t.fee for t in self._engine.trades if t.order_id == order.order_id), Decimal(0))
            self._account.clear_liquidation(symbol, order.quote, collateral + order.realized_pnl - fees)

    def contract(self, symbol: str) -> Contract:
        return self._state.market(symbol).contract

    def instrument(self, symbol: str) -> Instrument:
        return self.contract(symbol).instrument

    def last_price(self, symbol: str) -> Decimal:
        return self._state.market(symbol).last

    def mark_price(self, symbol: str) -> Decimal:
        return self._state.market(symbol).mark

    def set_premium(self, symbol: str, premium: Decimal) -> None:
        """From now on the mark price lies this fraction above (below, when negative) the last price."""
        self._state.market(symbol).premium = premium
        self._algos.trigger(symbol)
        self._liquidate()

    def quote(self, symbol: str) -> Quote:
        return self._state.market(symbol).quote(self.now_ms)

    def depth(self, symbol: str, limit: int) -> tuple[list[Level], list[Level]]:
        """Up to ``limit`` (price, quantity) levels of bids and of asks, best first."""
        market = self._state.market(symbol)
        return (
            [level for level, _ in zip(market.levels(Side.SELL), range(limit), strict=False)],
            [level for level, _ in zip(market.levels(Side.BUY), range(limit), strict=False)],
        )

    def matched_price(self, symbol: str, side: Side, match: PriceMatch) -> Decimal:
        """Raises VenueError -5041 when the book does not go so deep."""
        price = self._state.market(symbol).matched_price(side, match)
        if price is None:
            raise VenueError(-5041, "No depth matches this BBO order.")
        return price

    def funding_rate(self, symbol: str) -> Decimal:
        """What the next settlement will charge."""
        self._state.market(symbol)
        return self._state.funding.rate(symbol, self._next_funding_ms)

    @property
    def funding_interval_h(self) -> int:
        return FUNDING_INTERVAL_MS // 3_600_000

    @property
    def next_funding_ms(self) -> int:
        return self._next_funding_ms

    def settled_funding(self, symbol: str, since_ms: int | None, limit: int) -> list[tuple[int, Decimal]]:
        """(time, rate) of past settlements, oldest first: the newest ``limit``, or the first ones from ``since_ms``."""
        self._state.market(symbol)
        newest = self._next_funding_ms - FUNDING_INTERVAL_MS
        first = newest - (limit - 1) * FUNDING_INTERVAL_MS
        if since_ms is not None:
            first = -(-since_ms // FUNDING_INTERVAL_MS) * FUNDING_INTERVAL_MS
        times = range(first, newest + 1, FUNDING_INTERVAL_MS)[:limit]
        return [(at_ms, self._state.funding.rate(symbol, at_ms)) for at_ms in times]

    # -- plain orders -----------------------------------------------------------------------------------------------

    def place_order(
        self,
        symbol: str,
        side: Side,
        order_type: OrderType,
        quantity: Decimal,
        *,
        price: Decimal | None = None,
        time_in_force: Tif = Tif.GTC,
        reduce_only: bool = False,
        client_id: str | None = None,
    ) -> PlainOrder:
        """``place`` for the usual ones."""
        request = OrderRequest(symbol, side, order_type, quantity, client_id or "", price, time_in_force, reduce_only)
        return self.place(request)

    def place(self, request: OrderRequest) -> PlainOrder:
        """MARKET or LIMIT; one without client id gets one. Returns the state after matching.

        Raises VenueError -1102 -1106 -1111 -1121 -2019 -2022 -2025 -2027 -4001…-4005 -4013 -4014 -4015 -4016 -4023 -4024
        -4116 -4118 -4120 -4131 -4164 -5021 -5022 -5038 -5040 -5041.
        """
        return self._engine.place(self._named(request))

    def check(self, request: OrderRequest) -> None:
        """Raises what ``place`` would raise; places nothing."""
        self._engine.admission.check(self._engine.admission.priced(self._named(request)))

    def _named(self, request: OrderRequest) -> OrderRequest:
        return request if request.client_id else replace(request, client_id=self._auto_id())

    def amend_order(
        self,
        symbol: str,
        *,
        quantity: Decimal,
        price: Decimal,
        order_id: int | None = None,
        client_id: str | None = None,
        side: Side | None = None,
    ) -> PlainOrder:
        """LIMIT only, to the end of the queue. Raises VenueError -2013, -5025, -5026, -5027 (nothing to change), and filters."""
        order = self.order(symbol, order_id=order_id, client_id=client_id)
        if side not in (None, order.side):
            raise VenueError(-1102, "Mandatory parameter 'side' was not sent, was empty/null, or malformed.")
        return self._engine.amend(order, quantity, price)

    def cancel_order(self, symbol: str, *, order_id: int | None = None, client_id: str | None = None) -> PlainOrder:
        """Raises VenueError -2011 when it is unknown or no longer open."""
        self._state.market(symbol)
        return self._engine.cancel(self._book.find(symbol, order_id, client_id))

    def cancel_all_orders(self, symbol: str) -> None:
        self._state.market(symbol)
        self._engine.cancel_all(symbol)

    def set_countdown(self, symbol: str, countdown_ms: int) -> None:
        """Cancel the symbol's plain orders in so long, unless it is set anew before; 0 calls it off."""
        self._state.market(symbol)
        number = self._countdowns[symbol] = self._countdowns.get(symbol, 0) + 1

        def run_out() -> None:
            if self._countdowns[symbol] == number:
                self._engine.cancel_all(symbol)

        if countdown_ms:
            self._state.at(self.now_ms + countdown_ms, run_out)

    def order(self, symbol: str, *, order_id: int | None = None, client_id: str | None = None) -> PlainOrder:
        """Raises VenueError -2013 when unknown. Of several with one client id, the newest."""
        self._state.market(symbol)
        order = self._book.find(symbol, order_id, client_id)
        if order is None:
            raise VenueError(-2013, "Order does not exist.")
        return order

    def open_orders(self, symbol: str | None = None) -> list[PlainOrder]:
        symbols = self.symbols if symbol is None else (self._state.market(symbol).contract.symbol,)
        return [order for each in symbols for order in self._book.open(each)]

    def all_orders(self, symbol: str, since_ms: int = 0) -> list[PlainOrder]:
        """Oldest first, final ones included, created at or after ``since_ms``."""
        self._state.market(symbol)
        return [o for o in self._book.orders.values() if o.symbol == symbol and o.created_ms >= since_ms]

    def trades(self, symbol: str | None = None, since_ms: int = 0, order_id: int | None = None) -> list[Trade]:
        return [
            t
            for t in self._engine.trades
            if symbol in (None, t.symbol) and t.time_ms >= since_ms and order_id in (None, t.order_id)
        ]

    def _auto_id(self) -> str:
        return f"auto_{self._state.next_id('priority')}"

    # -- conditional orders -----------------------------------------------------------------------------------------

    def place_algo(
        self,
        symbol: str,
        side: Side,
        order_type: OrderType,
        trigger_price: Decimal,
        *,
        quantity: Decimal | None = None,
        close_position: bool = False,
        reduce_only: bool = False,
        working_type: WorkingType = WorkingType.CONTRACT_PRICE,
        price_protect: bool = False,
        client_id: str | None = None,
    ) -> AlgoOrder:
        """``place_conditional`` for STOP_MARKET and TAKE_PROFIT_MARKET, with a quantity or ``close_position``."""
        return self.place_conditional(
            AlgoRequest(
                symbol=symbol,
                side=side,
                type=order_type,
                client_id=client_id or "",
                trigger_price=trigger_price,
                quantity=quantity,
                close_position=close_position,
                reduce_only=reduce_only,
                working_type=working_type,
                price_protect=price_protect,
            )
        )

    def place_conditional(self, request: AlgoRequest) -> AlgoOrder:
        """Any conditional order; one without client id gets one.

        Raises VenueError -1102 -1106 -1115 -1116 -1121 -2007 -2021 -4003…-4007 -4015 -4023 -4045 -4116 -4130 -4136 -4137
        -4164 -4509.
        """
        return self._algos.place(request if request.client_id else replace(request, client_id=self._auto_id()))

    def cancel_algo(self, *, algo_id: int | None = None, client_id: str | None = None) -> AlgoOrder:
        """Raises VenueError -2011 when it is unknown or no longer waits for its trigger."""
        return self._algos.cancel(self._algos.find(algo_id, client_id))

    def cancel_all_algos(self, symbol: str) -> None:
        self._state.market(symbol)
        self._algos.cancel_all(symbol)

    def algo(self, *, algo_id: int | None = None, client_id: str | None = None) -> AlgoOrder:
        """Raises VenueError -2013 when unknown."""
        algo = self._algos.find(algo_id, client_id)
        if algo is None:
            raise VenueError(-2013, "Order does not exist.")
        return algo

    @property
    def at_trigger(self) -> Callable[[AlgoOrder], bool]:
        """Asked before a triggered order's child reaches the engine: False leaves it TRIGGERING, a VenueError rejects it."""
        return self._algos.at_trigger

    @at_trigger.setter
    def at_trigger(self, intervene: Callable[[AlgoOrder], bool]) -> None:
        self._algos.at_trigger = intervene

    def release_algo(self, algo_id: int) -> None:
        """What ``at_trigger`` left TRIGGERING goes on. Raises VenueError -2013 when unknown."""
        self._algos.release(self.algo(algo_id=algo_id))

    def open_algos(self, symbol: str | None = None) -> list[AlgoOrder]:
        if symbol is not None:
            self._state.market(symbol)
        return self._algos.open(symbol)

    def all_algos(self, symbol: str, since_ms: int = 0) -> list[AlgoOrder]:
        self._state.market(symbol)
        return [a for a in self._algos.algos.values() if a.symbol == symbol and a.created_ms >= since_ms]

    # -- account ----------------------------------------------------------------------------------------------------

    def account(self) -> VenueAccount:
        return self._account.view()

    def position(self, symbol: str) -> VenuePosition:
        return self._account.position(symbol)

    def income(self, since_ms: int = 0, symbol: str | None = None) -> list[Income]:
        return [i for i in self._account.income if i.time_ms >= since_ms and symbol in (None, i.symbol)]

    def set_leverage(self, symbol: str, leverage: int) -> VenuePosition:
        """Raises VenueError -2027 -4028 -4161."""
        self._account.set_leverage(symbol, leverage)
        return self.position(symbol)

    def set_margin_type(self, symbol: str, margin_type: MarginType) -> None:
        """Raises VenueError -4046 (unchanged) -4047 (open orders) -4048 (position)."""
        has_orders = bool(self.open_orders(symbol) or self.open_algos(symbol))
        self._account.set_margin_type(symbol, margin_type, has_orders=has_orders)

    def adjust_margin(self, symbol: str, amount: Decimal) -> None:
        """Add to, or (negative) take from, an isolated position's margin. Raises VenueError -4050 -4051 -4054."""
        self._account.adjust_margin(symbol, amount)

    def set_hedge_mode(self, dual: bool) -> None:
        """Always raises VenueError: -4059 (already one-way), or -4061 for hedge mode, which this venue does not offer."""
        if dual:
            raise VenueError(-4061, "Hedge mode is not offered by this venue. Keep dualSidePosition=false (one-way).")
        raise VenueError(-4059, "No need to change position side.")

    # -- from outside: what a client did not send -------------------------------------------------------------------

    def trade_by_hand(self, symbol: str, side: Side, quantity: Decimal) -> PlainOrder:
        """A market order as the account's owner would send it from the web page: client id ``web_…``."""
        return self.place_order(symbol, side, OrderType.MARKET, quantity, client_id=f"web_{self._auto_id()}")

    def transfer(self, amount: Decimal) -> None:
        """Deposit or (negative) withdraw USDT. Raises VenueError -5013."""
        self._account.transfer(amount)

    def auto_deleverage(self, symbol: str, quantity: Decimal) -> PlainOrder:
        """Close part of a position at the mark price with client id ``adl_autoclose``. Raises VenueError -2022 when flat."""
        size = abs(self.position(symbol).quantity)
        return self._engine.close_out(symbol, min(quantity, size), "adl_autoclose")
