"""The newest market facts the trader knows, from the market bus or by request."""

from collections.abc import Sequence

from app.clock import Clock, ExchangeClock
from app.domain.market import Bar, BarIndicators, BetaReading, MarketMessage, MarkPrice, Quote, StreamHealth


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
            case Bar():
                self._exchange_clock.observe(message.close_ms)
            case StreamHealth():
                self.health = message
                self._health_seen_at = self._clock.monotonic()

    def absorb_all(self, messages: Sequence[MarketMessage]) -> None:
        for message in messages:
            self.absorb(message)

    def quote_age_s(self, symbol: str) -> float | None:
        """Seconds since a quote of this symbol reached us, on our own clock."""
        seen = self.quote_seen_at.get(symbol)
        return None if seen is None else self._clock.monotonic() - seen

    def feed_is_warm(self) -> bool:
        """The stream node lives, is connected and has warmed up."""
        recent = self._clock.monotonic() - self._health_seen_at < 5.0
        return self.health is not None and recent and self.health.connected and self.health.warm
