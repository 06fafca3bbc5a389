"""Turns the tape's steps into market stream messages, coalesced to what changed since the last flush."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from app.domain.market import MINUTE_MS
from app.simulator.contracts import CONTRACTS
from app.simulator.feed_depth import DepthFeed
from app.simulator.streams import Subscriptions
from app.simulator.tape import Candle, Tape, bar_at
from app.simulator.venue import Tick, Venue
from app.simulator.venue_types import PlainOrder
from app.simulator.wire import Json, plain, rounded
from app.simulator.wire_market import INTERVALS_MS, DayStatistics, ticker_event

_QUOTE_EVERY_MS = 500  # an unchanged quote is repeated this often, as its quantities would make a real one
_KLINE_EVERY_MS = 250
_SECOND_MS = 1_000
_UM = 1  # ``st``: USD-M
_TRADES_KEPT = 1_000


class Feed:
    """All times are exchange time. ``step`` after every step of the tape, ``flush`` when it is time to send."""

    def __init__(self, venue: Venue, tape: Tape, subscriptions: Subscriptions, day: DayStatistics) -> None:
        self._venue = venue
        self._tape = tape
        self._out = subscriptions
        self._day = day
        self._traded: dict[tuple[str, int, bool], _Traded] = {}  # by symbol, minute, and whether the taker sold
        self._bought: dict[str, tuple[int, Decimal]] = {}  # by symbol: a minute, and what takers have bought of it so far
        self._quotes: dict[str, tuple[Decimal, Decimal, int]] = {}
        self._klines_at = self._seconds_at = 0
        self._sequence = 0
        self.depth = DepthFeed(venue, subscriptions)
        self._trades: dict[str, deque[Json]] = {symbol: deque(maxlen=_TRADES_KEPT) for symbol in venue.symbols}
        self._trade_ids = dict.fromkeys(venue.symbols, 0)

    def recent_trades(self, symbol: str) -> list[Json]:
        return list(self._trades[symbol])

    def next_id(self) -> int:
        self._sequence += 1
        return self._sequence

    def step(self, ticks: Sequence[Tick], at_ms: int) -> None:
        """One step of a tape that knows its candles; steps end at every waypoint, so each lies within one minute."""
        minute = at_ms - at_ms % MINUTE_MS
        for tick in ticks if at_ms > minute else ():
            candle, instrument = self._tape.candle(tick.symbol, minute), CONTRACTS[tick.symbol].instrument
            known_minute, known = self._bought.get(tick.symbol, (minute, Decimal(0)))
            total = candle.bought_until(at_ms - minute, instrument)
            self._bought[tick.symbol] = minute, total
            bought = min(total - known if known_minute == minute else total, tick.volume)
            self.traded(tick.symbol, at_ms, bought, sold=False)
            self.traded(tick.symbol, at_ms, tick.volume - bought, sold=True)
        if at_ms == minute:
            self.close_minute(at_ms)

    def traded(self, symbol: str, at_ms: int, quantity: Decimal, *, sold: bool) -> None:
        """``sold``: the taker sold."""
        if not quantity:
            return
        key = symbol, at_ms - at_ms % MINUTE_MS, sold
        known = self._traded.get(key)
        price = self._venue.last_price(symbol)
        self._traded[key] = _Traded(at_ms, price, quantity if known is None else known.quantity + quantity)

    def close_minute(self, at_ms: int) -> None:
        """Tell of the bars that end at ``at_ms``; a live minute is known to be whole only later."""
        for symbol in self._venue.symbols:
            for interval, length in INTERVALS_MS.items():
                if at_ms % length == 0:
                    self._kline(symbol, interval, at_ms - length, at_ms, closed=True)

    def flush(self) -> None:
        now = self._venue.now_ms
        klines, seconds = now - self._klines_at >= _KLINE_EVERY_MS, now // _SECOND_MS != self._seconds_at
        for symbol in self._venue.symbols:
            self._quote(symbol, now)
            if klines:
                for interval, length in INTERVALS_MS.items():
                    self._kline(symbol, interval, now - now % length, now, closed=False)
        for (symbol, _, sold), traded in self._traded.items():
            self._trade(symbol, now, traded, sold=sold)
        self._traded.clear()
        self.depth.flush(now)
        if seconds:
            self._each_second("markPrice", ("", "@1s", "@3s"), lambda symbol: self._mark(symbol, now))
            self._each_second("miniTicker", ("",), lambda symbol: self._mini_ticker(symbol, now))
            self._each_second("ticker", ("",), lambda symbol: ticker_event(symbol, self._day.at(symbol, now), now))
        self._seconds_at = now // _SECOND_MS
        if klines:
            self._klines_at = now

    def _each_second(self, kind: str, speeds: tuple[str, ...], message: Callable[[str], Json]) -> None:
        """One stream per symbol and one of all symbols, ``!…@arr``."""
        everything = [f"!{kind}@arr{speed}" for speed in speeds if self._out.wanted(f"!{kind}@arr{speed}")]
        told: list[Json] = []
        for symbol in self._venue.symbols:
            streams = [name for name in (f"{symbol.lower()}@{kind}{speed}" for speed in speeds) if self._out.wanted(name)]
            if streams or everything:
                told.append(message(symbol))
            for stream in streams:
                self._out.send(stream, told[-1])
        for stream in everything:
            self._out.send(stream, told)

    def _quote(self, symbol: str, now: int) -> None:
        stream = f"{symbol.lower()}@bookTicker"
        if not self._out.wanted(stream) and not self._out.wanted("!bookTicker"):
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
        self._out.send("!bookTicker", message)

    def _trade(self, symbol: str, now: int, traded: "_Traded", *, sold: bool) -> None:
        """One trade of all that takers did one way within a minute since the last flush. Ids run on by one, as the real ones."""
        plain_stream, aggregate_stream = f"{symbol.lower()}@trade", f"{symbol.lower()}@aggTrade"
        self._trade_ids[symbol] = trade_id = self._trade_ids[symbol] + 1
        common: Json = {
            "E": now,
            "T": traded.time_ms,
            "s": symbol,
            "p": plain(traded.price),
            "q": plain(traded.quantity),
            "m": sold,
        }
        self._trades[symbol].append({"t": trade_id} | common)
        self._out.send(plain_stream, {"e": "trade", "t": trade_id, "X": "MARKET"} | common)
        aggregate = {"e": "aggTrade", "a": trade_id, "f": trade_id, "l": trade_id, "nq": common["q"], "st": _UM}
        self._out.send(aggregate_stream, aggregate | common)

    def _mark(self, symbol: str, now: int) -> Json:
        mark, index = plain(self._venue.mark_price(symbol)), plain(self._venue.last_price(symbol))
        return {
            "e": "markPriceUpdate",
            "E": now,
            "s": symbol,
            "p": mark,
            "ap": mark,
            "i": index,
            "P": mark,
            "r": plain(self._venue.funding_rate(symbol)),
            "T": self._venue.next_funding_ms,
            "st": _UM,
        }

    def _mini_ticker(self, symbol: str, now: int) -> Json:
        day = self._day.at(symbol, now)
        return {
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

    def liquidation(self, order: PlainOrder) -> None:
        """forceOrder: the last liquidation order of a symbol."""
        body = {
            "s": order.symbol,
            "S": order.side.value,
            "o": "LIMIT",
            "f": "IOC",
            "q": plain(order.quantity),
            "p": plain(order.price),
            "ap": plain(order.average_price),
            "X": order.status.value,
            "l": plain(order.executed),
            "z": plain(order.executed),
            "T": order.updated_ms,
        }
        message = {"e": "forceOrder", "E": order.updated_ms, "st": _UM, "o": body}
        self._out.send(f"{order.symbol.lower()}@forceOrder", message)
        self._out.send("!forceOrder@arr", message)

    def _kline(self, symbol: str, interval: str, open_ms: int, now: int, *, closed: bool) -> None:
        stream, continuous = f"{symbol.lower()}@kline_{interval}", f"{symbol.lower()}_perpetual@continuousKline_{interval}"
        if not self._out.wanted(stream) and not self._out.wanted(continuous):
            return
        length = INTERVALS_MS[interval]
        bar = bar_at(self._tape, symbol, length, open_ms, open_ms + length if closed else now)
        body = _kline_body(symbol, interval, length, bar, closed=closed)
        self._out.send(stream, {"e": "kline", "E": now, "s": symbol, "k": body})
        self._out.send(continuous, {"e": "continuous_kline", "E": now, "ps": symbol, "ct": "PERPETUAL", "k": body})


@dataclass(frozen=True, slots=True)
class _Traded:
    """``time_ms`` and ``price`` are those of the last of it."""

    time_ms: int
    price: Decimal
    quantity: Decimal


def _kline_body(symbol: str, interval: str, length: int, bar: Candle, *, closed: bool) -> Json:
    middle, bought = (bar.high + bar.low) / 2, bar.bought or Decimal(0)
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
        "q": rounded(bar.volume * middle),
        "V": plain(bought),
        "Q": rounded(bought * middle),
        "B": "0",
    }
