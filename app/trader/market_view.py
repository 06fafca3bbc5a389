"""The newest market facts the trader knows, from the market bus or by request."""

from collections.abc import Sequence

from app.clock import Clock, ExchangeClock
from app.domain.market import (
    Bar,
    BarIndicators,
    BetaReading,
    CorrelationReading,
    FlowReading,
    MarketMessage,
    MarkPrice,
    Quote,
    RegimeReading,
    StreamHealth,
    StructureReading,
)
from app.domain.triple import TURNOVER_INTERVAL_MS


class MarketState:
    """Latest value of each kind and symbol; feeds the exchange clock. Never invents, never ages silently: readers get times."""

    def __init__(self, clock: Clock, exchange_clock: ExchangeClock) -> None:
        self._clock = clock
        self._exchange_clock = exchange_clock
        self.quotes: dict[str, Quote] = {}
        self.quote_seen_at: dict[str, float] = {}
        self.marks: dict[str, MarkPrice] = {}
        self.indicators: dict[tuple[str, int], BarIndicators] = {}
        self.betas: dict[str, BetaReading] = {}
        self.correlations: dict[frozenset[str], CorrelationReading] = {}
        self.quarters: dict[str, Bar] = {}  # the last closed bar of 15 minutes of each symbol
        self.flows: dict[str, FlowReading] = {}
        self.regimes: dict[str, RegimeReading] = {}
        self.structures: dict[tuple[str, int], StructureReading] = {}
        self.health: StreamHealth | None = None
        self._health_seen_at = 0.0

    def absorb(self, message: MarketMessage) -> None:
        match message:
            case Quote(symbol=symbol, time_ms=time_ms):
                self.quotes[symbol] = message
                self.quote_seen_at[symbol] = self._clock.monotonic()
                self._exchange_clock.observe(time_ms)
            case MarkPrice(symbol=symbol, time_ms=time_ms):
                self.marks[symbol] = message
                self._exchange_clock.observe(time_ms)
            case BarIndicators():
                self.indicators[(message.symbol, message.interval_ms)] = message
                self._exchange_clock.observe(message.close_ms)
            case BetaReading(symbol=symbol):
                self.betas[symbol] = message
                self.correlations[frozenset((symbol, message.base))] = correlation_of(message)
            case CorrelationReading():
                self.correlations[frozenset((message.symbol, message.other))] = message
            case FlowReading(symbol=symbol):
                self.flows[symbol] = message
            case RegimeReading(symbol=symbol):
                self.regimes[symbol] = message
            case StructureReading():
                self.structures[(message.symbol, message.interval_ms)] = message
            case Bar():
                self._exchange_clock.observe(message.close_ms)
                if message.interval_ms == TURNOVER_INTERVAL_MS:
                    self.quarters[message.symbol] = message
            case StreamHealth():
                self.health = message
                self._health_seen_at = self._clock.monotonic()

    def absorb_all(self, messages: Sequence[MarketMessage]) -> None:
        """What was said last, however long ago, while nobody listened."""
        for message in messages:
            if isinstance(message, Quote):
                self._remember(message)
            else:
                self.absorb(message)

    def _remember(self, quote: Quote) -> None:
        """It replaces no newer one, and does not count as seen just now."""
        known = self.quotes.get(quote.symbol)
        if known is None or quote.time_ms > known.time_ms:
            self.absorb(quote)
            age_ms = max(0, self._exchange_clock.now_ms() - quote.time_ms)
            self.quote_seen_at[quote.symbol] = self._clock.monotonic() - age_ms / 1000

    def quote_age_s(self, symbol: str) -> float | None:
        """Seconds since a quote of this symbol reached us, on our own clock."""
        seen = self.quote_seen_at.get(symbol)
        return None if seen is None else self._clock.monotonic() - seen

    def feed_is_warm(self) -> bool:
        """The stream node lives, is connected and has warmed up."""
        recent = self._clock.monotonic() - self._health_seen_at < 5.0
        return self.health is not None and recent and self.health.connected and self.health.warm


def correlation_of(reading: BetaReading) -> CorrelationReading:
    return CorrelationReading(reading.symbol, reading.base, reading.correlation, reading.returns, reading.close_ms)
