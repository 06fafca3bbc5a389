"""Turns the tape's steps into market stream messages, coalesced to what changed since the last flush."""

from collections.abc import Sequence
from decimal import Decimal

from app.domain.market import MINUTE_MS
from app.simulator.streams import Subscriptions
from app.simulator.tape import Candle, Tape, bar_at
from app.simulator.venue import Tick, Venue
from app.simulator.wire import Json, plain, rounded
from app.simulator.wire_market import INTERVALS_MS, DayStatistics

_QUOTE_EVERY_MS = 500  # an unchanged quote is repeated this often, as its quantities would make a real one
_KLINE_EVERY_MS = 250
_SECOND_MS = 1_000
_UM = 1  # ``st``: USD-M


class Feed:
    """All times are exchange time. ``step`` after every step of the tape, ``flush`` when it is time to send."""

    def __init__(self, venue: Venue, tape: Tape, subscriptions: Subscriptions, day: DayStatistics) -> None:
        self._venue = venue
        self._tape = tape
        self._out = subscriptions
        self._day = day
        self._traded: dict[str, Decimal] = {}
        self._quotes: dict[str, tuple[Decimal, Decimal, int]] = {}
        self._klines_at = self._seconds_at = 0
        self._sequence = 0

    def next_id(self) -> int:
        self._sequence += 1
        return self._sequence

    def step(self, ticks: Sequence[Tick], at_ms: int) -> None:
        for tick in ticks:
            self._traded[tick.symbol] = self._traded.get(tick.symbol, Decimal(0)) + tick.volume
        if at_ms % MINUTE_MS == 0:
            self._close_klines(at_ms)

    def _close_klines(self, at_ms: int) -> None:
        for symbol in self._venue.symbols:
            for interval, length in INTERVALS_MS.items():
                if at_ms % length == 0:
                    self._kline(symbol, interval, at_ms - length, at_ms, closed=True)

    def flush(self) -> None:
        now = self._venue.now_ms
        klines, seconds = now - self._klines_at >= _KLINE_EVERY_MS, now // _SECOND_MS != self._seconds_at
        for symbol in self._venue.symbols:
            self._quote(symbol, now)
            self._trade(symbol, now)
            if seconds:
                self._mark(symbol, now)
                self._mini_ticker(symbol, now)
            if klines:
                for interval, length in INTERVALS_MS.items():
                    self._kline(symbol, interval, now - now % length, now, closed=False)
        self._traded.clear()
        self._seconds_at = now // _SECOND_MS
        if klines:
            self._klines_at = now

    def _quote(self, symbol: str, now: int) -> None:
        stream = f"{symbol.lower()}@bookTicker"
        if not self._out.wanted(stream):
            return
        quote = self._venue.quote(symbol)
        bid, ask, sent_ms = self._quotes.get(symbol, (None, None, 0))
        if (bid, ask) == (quote.bid, quote.ask) and now - sent_ms < _QUOTE_EVERY_MS:
            return
        self._quotes[symbol] = quote.bid, quote.ask, now
        message = {
            "e": "bookTicker",
            "u": self.next_id(),
            "E": now,
            "T": now,
            "s": symbol,
            "ps": symbol,
            "b": plain(quote.bid),
            "B": plain(quote.bid_quantity),
            "a": plain(quote.ask),
            "A": plain(quote.ask_quantity),
            "st": _UM,
        }
        self._out.send(stream, message)

    def _trade(self, symbol: str, now: int) -> None:
        plain_stream, aggregate_stream = f"{symbol.lower()}@trade", f"{symbol.lower()}@aggTrade"
        quantity = self._traded.get(symbol)
        if not quantity or not (self._out.wanted(plain_stream) or self._out.wanted(aggregate_stream)):
            return
        trade_id = self.next_id()
        common: Json = {
            "E": now,
            "T": now,
            "s": symbol,
            "p": plain(self._venue.last_price(symbol)),
            "q": plain(quantity),
            "m": trade_id % 2 == 0,
        }
        self._out.send(plain_stream, {"e": "trade", "t": trade_id, "X": "MARKET"} | common)
        aggregate = {"e": "aggTrade", "a": trade_id, "f": trade_id, "l": trade_id, "nq": common["q"], "st": _UM}
        self._out.send(aggregate_stream, aggregate | common)

    def _mark(self, symbol: str, now: int) -> None:
        stream = f"{symbol.lower()}@markPrice"
        if not (self._out.wanted(stream) or self._out.wanted(f"{stream}@1s")):
            return
        mark = plain(self._venue.mark_price(symbol))
        message = {
            "e": "markPriceUpdate",
            "E": now,
            "s": symbol,
            "p": mark,
            "ap": mark,
            "i": mark,
            "P": mark,
            "r": plain(self._venue.funding_rate(symbol)),
            "T": self._venue.next_funding_ms,
            "st": _UM,
        }
        self._out.send(stream, message)
        self._out.send(f"{stream}@1s", message)

    def _mini_ticker(self, symbol: str, now: int) -> None:
        stream = f"{symbol.lower()}@miniTicker"
        if not self._out.wanted(stream):
            return
        day = self._day.at(symbol, now)
        message = {
            "e": "24hrMiniTicker",
            "E": now,
            "s": symbol,
            "c": plain(day.close),
            "o": plain(day.open),
            "h": plain(day.high),
            "l": plain(day.low),
            "v": plain(day.volume),
            "q": rounded(day.volume * (day.high + day.low) / 2, 2),
            "st": _UM,
        }
        self._out.send(stream, message)

    def _kline(self, symbol: str, interval: str, open_ms: int, now: int, *, closed: bool) -> None:
        stream = f"{symbol.lower()}@kline_{interval}"
        if not self._out.wanted(stream):
            return
        length = INTERVALS_MS[interval]
        bar = bar_at(self._tape, symbol, length, open_ms, open_ms + length if closed else now)
        body = _kline_body(symbol, interval, length, bar, closed=closed)
        self._out.send(stream, {"e": "kline", "E": now, "s": symbol, "k": body})


def _kline_body(symbol: str, interval: str, length: int, bar: Candle, *, closed: bool) -> Json:
    quote = bar.volume * (bar.high + bar.low) / 2
    return {
        "t": bar.open_ms,
        "T": bar.open_ms + length - 1,
        "s": symbol,
        "i": interval,
        "f": bar.open_ms,
        "L": bar.open_ms,
        "o": plain(bar.open),
        "c": plain(bar.close),
        "h": plain(bar.high),
        "l": plain(bar.low),
        "v": plain(bar.volume),
        "n": 1,
        "x": closed,
        "q": rounded(quote),
        "V": rounded(bar.volume / 2),
        "Q": rounded(quote / 2),
        "B": "0",
    }
