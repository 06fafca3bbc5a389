"""What the exchange and the stream node tell, brought to whoever keeps it and to the trades it concerns."""

from collections.abc import Callable, Sequence

import structlog

from app.bus.port import BusUnavailable, MarketBus
from app.clock import Clock, ExchangeClock
from app.domain.market import BarIndicators, FlowReading, MarketMessage, MarkPrice, Quote, StructureReading
from app.domain.orders import AccountUpdate, ExchangeEvent, Fill, OrderState, StreamDown, StreamUp
from app.domain.risk.funding import funding_gate
from app.domain.sizing import funding_8h
from app.domain.trade.messages import BarClosed, Event, FlowSeen, FundingSeen, QuoteSeen, StructureSeen
from app.domain.trade.state import HOLD_SHORTENED, Window
from app.exchange.port import Exchange
from app.trader.account_state import AccountState
from app.trader.desk import Desk
from app.trader.market_view import MarketState

log = structlog.get_logger(__name__)

BUS_RETRY_S = 0.5


class Hearing:
    """``on_up``: the private stream is (back) up. ``on_account``: it told of a change of the account. ``funding_interval_h``
    gives a symbol's."""

    def __init__(
        self,
        exchange: Exchange,
        bus: MarketBus,
        desk: Desk,
        market: MarketState,
        account: AccountState,
        clock: Clock,
        exchange_clock: ExchangeClock,
        timeframe_ms: int,
        on_up: Callable[[], None],
        on_account: Callable[[AccountUpdate], None],
        funding_interval_h: Callable[[str], int],
    ) -> None:
        self._exchange = exchange
        self._bus = bus
        self._desk = desk
        self._market = market
        self._account = account
        self._clock = clock
        self._exchange_clock = exchange_clock
        self._timeframe_ms = timeframe_ms
        self._on_up = on_up
        self._on_account = on_account
        self._funding_interval_h = funding_interval_h
        self.exchange_up = False

    async def latest_market(self, symbol: str) -> None:
        """What the stream node has said last, if the bus answers: without it entries stop, recovery goes on. A quote of the
        exchange's own comes first: how old the rest is would else be told by the rest. Raises ExchangeError."""
        self._market.absorb(await self._exchange.quote(symbol))
        try:
            self._market.absorb_all(await self._bus.latest())
        except BusUnavailable as error:
            log.warning("market_bus_unreachable", error=str(error))

    async def exchange_events(self) -> None:
        async for event in self._exchange.events():
            self._absorb(event)
            await self._clock.sleep(0)  # what it made a trade send goes out before the next event is looked at

    def _absorb(self, event: ExchangeEvent) -> None:
        match event:
            case OrderState():
                self._exchange_clock.observe(event.updated_ms)
                self._desk.order_seen(event)
            case Fill():
                self._exchange_clock.observe(event.time_ms)
                self._desk.fill_seen(event)
            case AccountUpdate():
                self._exchange_clock.observe(event.time_ms)
                self._account.absorb(event)
                self._on_account(event)
            case StreamDown(reason):
                self.exchange_up = False
                log.warning("private_stream_down", reason=reason)
            case StreamUp():
                self.exchange_up = True
                self._on_up()

    async def market_feed(self) -> None:
        while True:
            try:
                subscription = self._bus.subscribe()
                self._catch_up(await self._bus.latest())
                async for message in subscription:
                    self._hear(message)
            except BusUnavailable as error:
                log.warning("market_bus_unreachable", error=str(error))
            await self._clock.sleep(BUS_RETRY_S)

    def _catch_up(self, messages: Sequence[MarketMessage]) -> None:
        """What was said last while nobody listened. A bar that closed meanwhile still moves a stop or ends a trade, which tell
        by its time whether it is too old; a quote could not tell."""
        self._market.absorb_all(messages)
        for message in messages:
            self._tell_of_bar(message)

    def _hear(self, message: MarketMessage) -> None:
        self._market.absorb(message)
        self._tell_of_bar(message)
        if isinstance(message, Quote):
            if live := self._desk.owner_of(message.symbol):
                self._desk.tell(live.trade_id, QuoteSeen(message))
        elif isinstance(message, FlowReading):
            if (live := self._desk.owner_of(message.symbol)) and live.trade.main.window is Window.MAKER:
                self._tell_trades_of(message.symbol, FlowSeen(message))
        elif isinstance(message, MarkPrice):
            self._account.mark(message)
            self._tell_of_funding(message)

    def _tell_of_bar(self, message: MarketMessage) -> None:
        if isinstance(message, BarIndicators) and message.interval_ms == self._timeframe_ms:
            self._tell_trades_of(message.symbol, BarClosed(message))
        elif isinstance(message, StructureReading) and message.interval_ms == self._timeframe_ms:
            self._tell_trades_of(message.symbol, StructureSeen(message))

    def _tell_of_funding(self, mark: MarkPrice) -> None:
        """Only a rate that shortens a hold is news to a trade, and only once: a mark comes every second."""
        rate = funding_8h(mark.funding_rate, self._funding_interval_h(mark.symbol))
        for live in list(self._desk.trades.values()):
            plan = live.trade.plan
            if plan.symbol != mark.symbol or HOLD_SHORTENED in live.trade.said:
                continue
            if funding_gate(plan.side, rate, plan.rules.funding).hold_min is not None:
                self._desk.tell(live.trade_id, FundingSeen(rate))

    def _tell_trades_of(self, symbol: str, event: Event) -> None:
        for live in list(self._desk.trades.values()):
            if live.trade.plan.symbol == symbol:
                self._desk.tell(live.trade_id, event)
