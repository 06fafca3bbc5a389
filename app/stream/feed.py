"""Keeps one symbol whole: warmed up from history, and every hole repaired before anything newer is published."""

import asyncio
from collections.abc import Callable, Sequence

import structlog

from app.clock import Clock, ExchangeClock
from app.domain.market import MINUTE_MS, Bar, MarketMessage
from app.exchange.errors import NotExecuted, NotPermitted, OutcomeUnknown, RateLimited
from app.exchange.port import MarketHistory
from app.stream.backoff import Backoff
from app.stream.candles import MinuteSeries
from app.stream.config import StreamConfig
from app.stream.payloads import MinuteUpdate
from app.stream.readings import SymbolReadings

MOST_REPAIRED = 1500  # minutes; after a longer absence the symbol is warmed up anew
LATE_AFTER_MS = 2_000  # how long after its end a minute may still come by itself

log = structlog.get_logger(__name__)


class SymbolFeed:
    """``on_minute`` gets each closed minute, in order, with what it closed."""

    def __init__(
        self,
        symbol: str,
        config: StreamConfig,
        history: MarketHistory,
        clock: Clock,
        exchange_clock: ExchangeClock,
        on_minute: Callable[[Bar, list[MarketMessage]], None],
    ) -> None:
        self.symbol = symbol
        self._config = config
        self._history = history
        self._clock = clock
        self._exchange_clock = exchange_clock
        self._on_minute = on_minute
        self._series = MinuteSeries()
        self._readings: SymbolReadings | None = None
        self._wanted = asyncio.Event()
        self._wanted.set()
        self._newest_open_ms = 0
        self._late_ms: int | None = None
        self._trouble = ""

    @property
    def problem(self) -> str:
        """Empty while the symbol is warm and whole."""
        if self._readings is None:
            return f"{self.symbol} warming up" + (f": {self._trouble}" if self._trouble else "")
        if not self._readings.indicators.is_warm:
            known, wanted = self._readings.indicators.bars, self._config.warmup_bars
            return f"{self.symbol} warming up: {known} of {wanted} bars"
        if self._wanted.is_set():
            return f"{self.symbol} repairing a gap" + (f": {self._trouble}" if self._trouble else "")
        return ""

    def take(self, update: MinuteUpdate) -> None:
        """One message of the kline stream. A newer candle than the one expected tells of a missed one."""
        self._newest_open_ms = max(self._newest_open_ms, update.minute.open_ms)
        if update.closed:
            self._hand_on(self._series.offer(update.minute))
        if self._has_gap:
            self._wanted.set()

    def look_for_late_minute(self) -> None:
        """Call about once a second: a minute that is late at two looks is asked for."""
        if not self._is_late:
            self._late_ms = None
        elif self._late_ms == self._series.expects_ms:
            self._wanted.set()
        else:
            self._late_ms = self._series.expects_ms

    @property
    def _has_gap(self) -> bool:
        expects_ms = self._series.expects_ms
        return expects_ms is not None and self._newest_open_ms > expects_ms

    @property
    def _is_late(self) -> bool:
        expects_ms = self._series.expects_ms
        return expects_ms is not None and self._exchange_clock.now_ms() >= expects_ms + MINUTE_MS + LATE_AFTER_MS

    async def keep_whole(self) -> None:
        """Warm up, then repair whenever something is missing; for ever. Raises UnknownSymbol."""
        backoff = Backoff(0.25, 5.0)
        while True:
            await self._wanted.wait()
            try:
                if self._readings is None:
                    await self._warm_up()
                elif self._has_gap or self._is_late:
                    await self._repair()
                self._trouble = ""
                backoff.reset()
                if not self._has_gap:
                    self._wanted.clear()
            except (NotExecuted, OutcomeUnknown, NotPermitted) as error:
                self._trouble = str(error)
                wait_s = max(backoff.next_s(), error.retry_after if isinstance(error, RateLimited) else 0.0)
                log.warning("candles not available", symbol=self.symbol, reason=self._trouble, again_in_s=wait_s)
                await self._clock.sleep(wait_s)

    async def _warm_up(self) -> None:
        config = self._config
        bars = await self._history.bars(self.symbol, config.bar_interval_ms, config.warmup_bars)
        minutes = await self._history.bars(self.symbol, MINUTE_MS, config.warmup_minutes)
        if not bars or not minutes:
            raise NotExecuted(f"the exchange has no closed candles of {self.symbol} yet")
        readings = SymbolReadings(config)
        newest = await asyncio.to_thread(readings.warm_up, bars)  # compiles: the loop goes on meanwhile
        self._readings = readings
        for minute in minutes[:-1]:
            newest += readings.close_minute(minute)
            self._on_minute(minute, [])
        newest += readings.close_minute(minutes[-1])
        self._on_minute(minutes[-1], newest_of_each(newest))
        self._hand_on(self._series.start(minutes[-1].close_ms))
        log.info("warmed up", symbol=self.symbol, bars=readings.indicators.bars)

    async def _repair(self) -> None:
        expects_ms = self._series.expects_ms or 0
        missing = (self._exchange_clock.now_ms() - expects_ms) // MINUTE_MS + 1
        if missing > MOST_REPAIRED:
            log.warning("gap too long to repair", symbol=self.symbol, minutes=missing)
            self._readings, self._series = None, MinuteSeries()
            await self._warm_up()
            return
        minutes = await self._history.bars(self.symbol, MINUTE_MS, max(missing, 2))
        ready = self._series.repair(minutes)
        self._hand_on(ready)
        log.info("gap repaired", symbol=self.symbol, minutes=len(ready))
        if not ready:
            raise NotExecuted(f"no closed minute of {self.symbol} after the last known one yet")

    def _hand_on(self, minutes: Sequence[Bar]) -> None:
        for minute in minutes:
            if self._readings is not None:
                self._on_minute(minute, self._readings.close_minute(minute))


def newest_of_each(messages: Sequence[MarketMessage]) -> list[MarketMessage]:
    """The last message of every kind and interval, in their order."""
    newest: dict[tuple[type[MarketMessage], int], MarketMessage] = {}
    for message in messages:
        key = type(message), getattr(message, "interval_ms", 0)
        newest.pop(key, None)
        newest[key] = message
    return list(newest.values())
