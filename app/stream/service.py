"""The stream node: market streams and candles in; quotes, marks, bars, readings and its own health out to the bus."""

import asyncio
import contextlib
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

import structlog

from app.bus.port import BusUnavailable, MarketBus
from app.clock import Clock, ExchangeClock
from app.domain.market import Bar, MarketMessage, StreamHealth
from app.exchange.port import MarketHistory
from app.stream.config import StreamConfig
from app.stream.feed import SymbolFeed
from app.stream.flow import AggregateTrade, FlowBook
from app.stream.history import BinanceHistory
from app.stream.outbox import Outbox
from app.stream.payloads import MinuteUpdate, PayloadFilter, stream_name
from app.stream.readings import BetaBook
from app.stream.regimes import RegimeBook
from app.stream.sockets import MarketSocket

HEALTH_EVERY_S = 1.0
FLOW_EVERY_S = 0.2
CANCEL_AGAIN_S = 0.5
COUNTS_EVERY = 60  # health reports between two log lines about dropped messages

# Seconds a stream may be silent: a book may stand still, marks come every second, without trades candles say nothing.
QUOTE_SILENT_S, MARK_SILENT_S, CANDLE_SILENT_S, TRADES_SILENT_S = 30.0, 10.0, 150.0, 150.0

log = structlog.get_logger(__name__)


async def run_stream_node(config: StreamConfig, bus: MarketBus, clock: Clock, stop: asyncio.Event) -> None:
    """Serve until ``stop`` is set.

    Raises UnknownSymbol when the exchange does not list a configured symbol; all other trouble is said in StreamHealth,
    and cured when it can be.
    """
    history = BinanceHistory(config.rest_url, config.request_timeout_s)
    try:
        await StreamNode(config, bus, clock, history).serve(stop)
    finally:
        await history.close()


class StreamNode:
    def __init__(self, config: StreamConfig, bus: MarketBus, clock: Clock, history: MarketHistory) -> None:
        self._bus = bus
        self._clock = clock
        self._exchange_clock = ExchangeClock(clock)
        self._outbox = Outbox(bus, clock)
        self._filter = PayloadFilter()
        self._betas = BetaBook(config)
        self._regimes = RegimeBook(config.symbols)
        self._flows = FlowBook(config.symbols)
        self._newest_event_ms = 0
        self._feeds = {
            symbol: SymbolFeed(symbol, config, history, clock, self._exchange_clock, self._on_minute) for symbol in config.symbols
        }
        names = [symbol.lower() for symbol in config.symbols]
        quotes = {f"{name}@bookTicker": QUOTE_SILENT_S for name in names}
        marks = {f"{name}@markPrice@1s": MARK_SILENT_S for name in names}
        candles = {f"{name}@kline_1m": CANDLE_SILENT_S for name in names}
        trades = {f"{name}@aggTrade": TRADES_SILENT_S for name in names}
        renew_s = config.reconnect_after_s
        self._sockets = [
            MarketSocket("public", config.public_ws_url, quotes, self._on_payload, clock, renew_s),
            MarketSocket("market", config.market_ws_url, marks | candles | trades, self._on_payload, clock, renew_s),
        ]

    async def serve(self, stop: asyncio.Event) -> None:
        """Run until ``stop`` is set or something fails for good; the last word on the bus says that nobody is there."""
        feeds = [feed.keep_whole() for feed in self._feeds.values()]
        jobs = [self._outbox.run(), self._tell_health(), self._tell_flow(), *feeds, *(socket.run() for socket in self._sockets)]
        try:
            await _until_stopped(stop, jobs)
        finally:
            with contextlib.suppress(BusUnavailable):
                await self._bus.publish([StreamHealth(False, False, self._newest_event_ms, "stream node stopped")])

    def health(self) -> StreamHealth:
        lost = [socket.problem for socket in self._sockets if socket.problem]
        cold = [feed.problem for feed in self._feeds.values() if feed.problem]
        return StreamHealth(
            connected=not lost, warm=not cold, newest_event_ms=self._newest_event_ms, reason="; ".join(lost + cold)
        )

    def _on_payload(self, payload: Mapping[str, Any]) -> str | None:
        name = stream_name(payload)
        message = self._filter.take(payload) if name else None
        if message is None:
            return None
        self._exchange_clock.observe(message.time_ms)
        self._newest_event_ms = max(self._newest_event_ms, message.time_ms)
        if isinstance(message, AggregateTrade):
            self._flows.take(message)
        elif not isinstance(message, MinuteUpdate):
            self._outbox.put_newest(message)
        elif message.minute.symbol in self._feeds:
            self._feeds[message.minute.symbol].take(message)
        return name

    def _on_minute(self, minute: Bar, messages: list[MarketMessage]) -> None:
        self._betas.add(minute)
        self._regimes.add(minute)
        self._flows.settle(minute)
        self._outbox.put(messages + self._fresh_readings())

    def _fresh_readings(self) -> list[MarketMessage]:
        if not self._exchange_clock.is_set:
            return []
        now_ms = self._exchange_clock.now_ms()
        return [*self._betas.newest(now_ms), *self._regimes.newest(now_ms)]

    async def _tell_flow(self) -> None:
        while True:
            for reading in self._flows.news():
                self._outbox.put_newest(reading)
            await self._clock.sleep(FLOW_EVERY_S)

    async def _tell_health(self) -> None:
        reports = 0
        while True:
            for feed in self._feeds.values():
                feed.look_for_late_minute()
            self._outbox.put(self._fresh_readings())
            self._outbox.put_newest(self.health())
            reports += 1
            if reports % COUNTS_EVERY == 0 and self._filter.dropped:
                log.warning("messages dropped so far", **self._filter.dropped)
            await self._clock.sleep(HEALTH_EVERY_S)


async def _until_stopped(stop: asyncio.Event, jobs: list[Coroutine[Any, Any, None]]) -> None:
    """Run all jobs until ``stop`` is set or one of them fails; then end them all, and raise what failed."""
    tasks = [asyncio.create_task(job) for job in (stop.wait(), *jobs)]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await _end(tasks)
    for task in done:
        task.result()


async def _end(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel until all are gone: a library may swallow a cancellation."""
    while alive := [task for task in tasks if not task.done()]:
        for task in alive:
            task.cancel()
        await asyncio.wait(alive, timeout=CANCEL_AGAIN_S)
