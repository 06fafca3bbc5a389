"""The stream node's candles, bars, indicators, structure, β and regimes, fed from the tape instead of sockets.

A tape does not know who was the taker of its trades, so there is no volume delta in a replay, and nothing that follows from it.
"""

from app.domain.market import MINUTE_MS, Bar, MarketMessage
from app.simulator.tape import Candle, Tape, bars
from app.stream.config import StreamConfig
from app.stream.feed import newest_of_each
from app.stream.readings import BetaBook, SymbolReadings
from app.stream.regimes import RegimeBook


def history_minutes(config: StreamConfig) -> int:
    """How much of the data is the past at the start: the bars the node reads as history before it is warm, and a margin for
    β and for the longer bar that is forming."""
    margin = max(config.beta_window + 2, 2 * max(config.higher_interval_ms, config.bar_interval_ms) // MINUTE_MS)
    return config.warmup_bars * config.bar_interval_ms // MINUTE_MS + margin


class TapeStream:
    def __init__(self, config: StreamConfig, tape: Tape) -> None:
        self._config = config
        self._tape = tape
        self._readings = {symbol: SymbolReadings(config) for symbol in config.symbols}
        self._betas = BetaBook(config)
        self._regimes = RegimeBook(config.symbols)
        self._closed_until_ms = tape.start_ms

    def warm_up(self, now_ms: int) -> list[MarketMessage]:
        """Take the history before ``now_ms``; what is known then."""
        messages: list[MarketMessage] = []
        for symbol, readings in self._readings.items():
            newest = readings.warm_up(self._history(symbol, self._config.bar_interval_ms, self._config.warmup_bars, now_ms))
            for minute in self._history(symbol, MINUTE_MS, self._config.warmup_minutes, now_ms):
                newest += readings.close_minute(minute)
                self._betas.add(minute)
                self._regimes.add(minute)
            messages += newest_of_each(newest)
        self._closed_until_ms = now_ms - now_ms % MINUTE_MS
        return messages + self._betas.newest(now_ms)

    def close_minutes(self, now_ms: int) -> list[MarketMessage]:
        """Everything that has closed since the last call, in order."""
        messages: list[MarketMessage] = []
        while self._closed_until_ms + MINUTE_MS <= now_ms:
            for symbol, readings in self._readings.items():
                minute = _bar(symbol, MINUTE_MS, self._tape.candle(symbol, self._closed_until_ms))
                messages += readings.close_minute(minute)
                self._betas.add(minute)
                self._regimes.add(minute)
            self._closed_until_ms += MINUTE_MS
        return messages

    def for_an_alert(self, now_ms: int) -> list[MarketMessage]:
        """News of regimes, β and correlations, worked out when an alert needs them: for every minute of a month they would
        take longer than all the rest."""
        return [*self._regimes.newest(now_ms), *self._betas.newest(now_ms)]

    def _history(self, symbol: str, interval_ms: int, limit: int, now_ms: int) -> list[Bar]:
        newest_closed_ms = now_ms // interval_ms * interval_ms - 1
        candles = bars(self._tape, symbol, interval_ms, limit, newest_closed_ms, None, None)
        return [_bar(symbol, interval_ms, candle) for candle in candles]


def _bar(symbol: str, interval_ms: int, candle: Candle) -> Bar:
    prices = (float(candle.open), float(candle.high), float(candle.low), float(candle.close))
    return Bar(symbol, interval_ms, candle.open_ms, *prices, volume=float(candle.volume))
