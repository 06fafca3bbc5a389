"""Market facts as they cross the market bus. Times are Unix milliseconds of exchange time."""

from dataclasses import dataclass
from decimal import Decimal

from app.domain.instrument import Side

MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Quote:
    """Best bid and ask. ``time_ms`` is the exchange's event time."""

    symbol: str
    bid: Decimal
    bid_quantity: Decimal
    ask: Decimal
    ask_quantity: Decimal
    time_ms: int

    def opposite(self, side: Side) -> Decimal:
        """The best price one can take: the ask for a buy."""
        return self.ask if side is Side.BUY else self.bid

    def own(self, side: Side) -> Decimal:
        """The best price one can join: the bid for a buy."""
        return self.bid if side is Side.BUY else self.ask


@dataclass(frozen=True, slots=True)
class MarkPrice:
    symbol: str
    mark: Decimal
    funding_rate: Decimal  # fraction per funding interval
    next_funding_ms: int
    time_ms: int


@dataclass(frozen=True, slots=True)
class Bar:
    """One closed candle. Signals are float64; open_ms is the start of the bar."""

    symbol: str
    interval_ms: int
    open_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float

    @property
    def close_ms(self) -> int:
        """The first millisecond after the bar."""
        return self.open_ms + self.interval_ms


@dataclass(frozen=True, slots=True)
class BarIndicators:
    """What is known when a bar of the trading timeframe has closed. None while warming up."""

    symbol: str
    interval_ms: int
    open_ms: int
    close: float
    atr14: float | None
    supertrend_stop: float | None
    supertrend_is_long: bool | None
    supertrend_factor: float | None

    @property
    def close_ms(self) -> int:
        return self.open_ms + self.interval_ms


@dataclass(frozen=True, slots=True)
class BetaReading:
    """Rolling β and correlation of ``symbol`` against the base symbol on closed 1-minute log returns."""

    symbol: str
    base: str
    beta: float
    correlation: float
    hedge_ratio_min_variance: float
    returns: int
    close_ms: int  # end of the newest minute in the window


@dataclass(frozen=True, slots=True)
class StreamHealth:
    """The stream node's own word on itself, published every second."""

    connected: bool
    warm: bool
    newest_event_ms: int
    reason: str = ""


MarketMessage = Quote | MarkPrice | Bar | BarIndicators | BetaReading | StreamHealth
