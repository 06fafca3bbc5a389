"""What the stream node must be told."""

from dataclasses import dataclass

from app.domain.market import MINUTE_MS
from app.stream.regimes import MINUTES_WANTED

# Candle intervals of the exchange, by length in minutes.
INTERVAL_NAMES = {1: "1m", 3: "3m", 5: "5m", 15: "15m", 30: "30m", 60: "1h", 120: "2h", 240: "4h"}


@dataclass(frozen=True, slots=True)
class StreamConfig:
    """``base`` is the symbol the others' β is measured against. URLs end where the route ends: ``wss://…/public/ws``."""

    rest_url: str
    public_ws_url: str
    market_ws_url: str
    symbols: tuple[str, ...] = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
    base: str = "BTCUSDT"
    pairs: tuple[tuple[str, str], ...] = ()  # whose correlation is wanted too; pairs with the base have one with their β
    bar_interval_ms: int = 3 * MINUTE_MS
    higher_interval_ms: int = 15 * MINUTE_MS
    warmup_bars: int = 1000
    beta_window: int = 60
    reconnect_after_s: float = 20 * 3600.0  # the exchange cuts a connection at 24 h
    request_timeout_s: float = 4.0

    @property
    def warmup_minutes(self) -> int:
        """Single minutes wanted beside the bars: for β, for the longer bar that is forming, and for a day of volatility."""
        return max(self.beta_window + 2, 2 * max(self.higher_interval_ms, self.bar_interval_ms) // MINUTE_MS, MINUTES_WANTED)

    def __post_init__(self) -> None:
        if self.base not in self.symbols:
            raise ValueError(f"stream base {self.base}: must be one of the symbols {', '.join(self.symbols)}")
        for pair in self.pairs:
            if self.base in pair or not {*pair} <= {*self.symbols}:
                raise ValueError(f"stream pairs {' and '.join(pair)}: must be two of the symbols, and not the base")
        for name in ("bar_interval_ms", "higher_interval_ms"):
            minutes, rest = divmod(getattr(self, name), MINUTE_MS)
            if rest or minutes not in INTERVAL_NAMES:
                raise ValueError(f"stream {name}: the exchange has candles of {', '.join(INTERVAL_NAMES.values())}")
        if not 30 <= self.beta_window <= 90:
            raise ValueError(f"stream beta_window {self.beta_window}: must be 30 to 90 one-minute returns")
        if self.warmup_bars < 500:
            raise ValueError(f"stream warmup_bars {self.warmup_bars}: at least 500, or SuperTrend AI is not settled")
