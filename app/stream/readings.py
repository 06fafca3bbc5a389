"""From closed minutes to what is published: bars, their indicators and structure, β. Pure: no I/O and no clock."""

from collections.abc import Sequence

import numpy as np

from app.domain.market import MINUTE_MS, Bar, BarIndicators, BetaReading, CorrelationReading, MarketMessage
from app.indicators.atr import WilderAtr
from app.indicators.beta import LiveSlopes, live_slopes
from app.indicators.supertrend_ai import SuperTrendAi
from app.stream.candles import BarBuilder
from app.stream.config import StreamConfig
from app.stream.structure import StructureSeries

BETA_NEWEST_WITHIN_MS = 90_000


class BarIndicatorSeries:
    """ATR(14) and SuperTrend AI of one symbol's bars. Silent (None) until ``warmup_bars`` are known."""

    def __init__(self, warmup_bars: int) -> None:
        self._warmup_bars = warmup_bars
        self._atr = WilderAtr(14)
        self._supertrend = SuperTrendAi()

    @property
    def bars(self) -> int:
        return self._supertrend.bars

    @property
    def is_warm(self) -> bool:
        return self.bars >= self._warmup_bars

    def warm_up(self, bars: Sequence[Bar]) -> None:
        """Take history, oldest first. The first call in a process may take seconds: it compiles or loads machine code."""
        columns = [np.array([getattr(bar, name) for bar in bars], dtype=float) for name in ("high", "low", "close")]
        self._atr.extend(*columns)
        self._supertrend.extend(*columns)

    def close_bar(self, bar: Bar) -> BarIndicators:
        atr14 = self._atr.update(bar.high, bar.low, bar.close)
        trend = self._supertrend.update(bar.high, bar.low, bar.close)
        known = self.is_warm and trend.stop is not None
        return BarIndicators(
            symbol=bar.symbol,
            interval_ms=bar.interval_ms,
            open_ms=bar.open_ms,
            close=bar.close,
            atr14=atr14 if self.is_warm else None,
            supertrend_stop=trend.stop if known else None,
            supertrend_is_long=trend.is_long if known else None,
            supertrend_factor=trend.factor if known else None,
        )


class SymbolReadings:
    """One symbol's closed minutes in, its bars, their indicators and their structure out.

    The higher interval's structure is that of bars made of the trading interval's; there is none unless those fit into it.
    """

    def __init__(self, config: StreamConfig) -> None:
        self._config = config
        self.indicators = BarIndicatorSeries(config.warmup_bars)
        self._bars_until_ms = 0
        intervals = sorted({MINUTE_MS, config.bar_interval_ms, config.higher_interval_ms})
        self._builders = [BarBuilder(interval_ms) for interval_ms in intervals]
        self._structure, self._higher_structure = StructureSeries(), StructureSeries()
        own_ms, higher_ms = config.bar_interval_ms, config.higher_interval_ms
        self._higher = BarBuilder(higher_ms) if higher_ms > own_ms and higher_ms % own_ms == 0 else None

    def warm_up(self, bars: Sequence[Bar]) -> list[MarketMessage]:
        """Take the history of the trading interval, oldest first; the newest bars with what is known of them."""
        if not bars:
            return []
        *older, newest = bars
        self.indicators.warm_up(older)
        self._structure.warm_up(older)
        higher = [built for bar in older if self._higher is not None and (built := self._higher.add(bar)) is not None]
        self._higher_structure.warm_up(higher[:-1])
        messages: list[MarketMessage] = [self._higher_structure.close_bar(bar) for bar in higher[-1:]]
        return messages + self._close_bar(newest)

    def close_minute(self, minute: Bar) -> list[MarketMessage]:
        """What this minute closes: bars of every interval, and on the trading interval the indicators. Each bar once."""
        messages: list[MarketMessage] = []
        for builder in self._builders:
            bar = builder.add(minute)
            if bar is None:
                continue
            if bar.interval_ms != self._config.bar_interval_ms:
                messages.append(bar)
            elif bar.open_ms >= self._bars_until_ms:
                messages += self._close_bar(bar)
        return messages

    def _close_bar(self, bar: Bar) -> list[MarketMessage]:
        """A closed bar of the trading interval."""
        self._bars_until_ms = bar.close_ms
        messages: list[MarketMessage] = [bar, self.indicators.close_bar(bar), self._structure.close_bar(bar)]
        if self._higher is not None and (higher := self._higher.add(bar)) is not None:
            messages.append(self._higher_structure.close_bar(higher))
        return messages


class BetaBook:
    """The last closes of every symbol, the β of each against the base, and the correlation of the other pairs asked for."""

    def __init__(self, config: StreamConfig) -> None:
        self._base = config.base
        self._pairs = [(config.base, symbol) for symbol in config.symbols if symbol != config.base] + [*config.pairs]
        self._window = config.beta_window
        self._closes: dict[str, dict[int, float]] = {symbol: {} for symbol in config.symbols}
        self._said_ms = dict.fromkeys(self._pairs, 0)

    def add(self, minute: Bar) -> None:
        closes = self._closes[minute.symbol]
        closes[minute.open_ms] = minute.close
        oldest_ms = max(closes) - (self._window + 1) * MINUTE_MS
        self._closes[minute.symbol] = {open_ms: close for open_ms, close in closes.items() if open_ms >= oldest_ms}

    def newest(self, now_ms: int) -> list[MarketMessage]:
        """A reading for each pair whose newest common minute closed under 90 s before ``now_ms``; each once."""
        messages: list[MarketMessage] = []
        for pair in self._pairs:
            first, second = (self._closes[symbol] for symbol in pair)
            open_ms = max(first.keys() & second.keys(), default=0)
            is_news = open_ms > self._said_ms[pair] and now_ms - (open_ms + MINUTE_MS) < BETA_NEWEST_WITHIN_MS
            if is_news and (found := live_slopes(first, second, open_ms, self._window)) is not None:
                self._said_ms[pair] = open_ms
                messages.append(self._reading(pair, found))
        return messages

    def _reading(self, pair: tuple[str, str], found: LiveSlopes) -> BetaReading | CorrelationReading:
        base, symbol = pair
        if base != self._base:
            return CorrelationReading(symbol, base, found.correlation, found.returns, found.close_ms)
        return BetaReading(
            symbol=symbol,
            base=base,
            beta=found.beta,
            correlation=found.correlation,
            hedge_ratio_min_variance=found.hedge_ratio_min_variance,
            returns=found.returns,
            close_ms=found.close_ms,
        )
