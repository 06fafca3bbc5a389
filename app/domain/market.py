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
    taker_buy: float | None = None  # of the volume, what aggressive buyers bought; None where the source does not tell

    @property
    def close_ms(self) -> int:
        """The first millisecond after the bar."""
        return self.open_ms + self.interval_ms

    @property
    def delta(self) -> float | None:
        """Bought less sold by aggressors, base asset: what is not bought by a taker is sold by one."""
        return None if self.taker_buy is None else 2 * self.taker_buy - self.volume


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
class CorrelationReading:
    """Rolling correlation of two symbols neither of which is the base, on closed 1-minute log returns."""

    symbol: str
    other: str
    correlation: float
    returns: int
    close_ms: int  # end of the newest minute in the window


@dataclass(frozen=True, slots=True)
class FlowReading:
    """Cumulative volume delta and its rolling windows: aggressors' purchases less their sales, base asset.

    ``cvd`` runs from the oldest minute the stream node read at its start, ``session_cvd`` from 00:00 UTC. ``typical_1m`` is the
    mean size of a minute's delta, its sign aside, over the last hour; None until half of it is known. ``time_ms`` is the time of
    the newest trade in it.
    """

    symbol: str
    cvd: float
    delta_1m: float
    delta_3m: float
    delta_15m: float
    session_cvd: float
    typical_1m: float | None
    time_ms: int


@dataclass(frozen=True, slots=True)
class RegimeReading:
    """How the market moves, once a closed minute. Each is None while too few minutes are known.

    ``hurst`` is DFA-1 over 512 one-minute log returns and ``regime`` what it says (``trending``, ``mean_reverting``,
    ``neutral``); ``volatility`` the standard deviation of the last 60 one-minute log returns, ``volatility_ratio`` that over its
    own median of 24 hours.
    """

    symbol: str
    hurst: float | None
    regime: str | None
    volatility: float | None
    volatility_ratio: float | None
    close_ms: int


@dataclass(frozen=True, slots=True)
class OrderBlockView:
    """An order block not yet mitigated. ``bias`` is 1 for demand, −1 for supply; times are opening times of bars."""

    bias: int
    bottom: float
    top: float
    open_ms: int
    tapped_ms: int | None  # the first later bar that reached it


@dataclass(frozen=True, slots=True)
class ChangeOfCharacter:
    """A break against a layer's bias: 1 upwards, −1 downwards."""

    bias: int
    close_ms: int  # of the bar that broke


@dataclass(frozen=True, slots=True)
class StructureReading:
    """Market structure after a closed bar: 1 is bullish, −1 bearish, 0 not known. ``blocks`` are newest first."""

    symbol: str
    interval_ms: int
    open_ms: int
    close: float
    internal_bias: int
    swing_bias: int
    range_top: float | None  # of the swing range; None until it has both ends
    range_bottom: float | None
    blocks: tuple[OrderBlockView, ...] = ()
    internal_choch: ChangeOfCharacter | None = None  # the layer's last one
    swing_choch: ChangeOfCharacter | None = None

    @property
    def close_ms(self) -> int:
        return self.open_ms + self.interval_ms

    @property
    def range_middle(self) -> float | None:
        return None if self.range_top is None or self.range_bottom is None else (self.range_top + self.range_bottom) / 2


@dataclass(frozen=True, slots=True)
class StreamHealth:
    """The stream node's own word on itself, published every second."""

    connected: bool
    warm: bool
    newest_event_ms: int
    reason: str = ""


MarketMessage = (
    Quote
    | MarkPrice
    | Bar
    | BarIndicators
    | BetaReading
    | CorrelationReading
    | FlowReading
    | RegimeReading
    | StructureReading
    | StreamHealth
)
