"""The stream node's small parts: payloads that cannot be true, the outbox, readings before and after the warm-up."""

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from manual_clock import ManualClock

from app.bus.in_memory import InMemoryMarketBus, InMemoryServer
from app.domain.market import MINUTE_MS, Bar, BarIndicators, BetaReading, MarketMessage, MarkPrice, Quote
from app.stream.config import StreamConfig
from app.stream.flow import AggregateTrade
from app.stream.outbox import Outbox
from app.stream.payloads import MinuteUpdate, PayloadFilter
from app.stream.readings import BetaBook, SymbolReadings

NOW = 1_765_000_800_000
CONFIG = StreamConfig(rest_url="", public_ws_url="", market_ws_url="", warmup_bars=500)

BOOK = {
    "e": "bookTicker",
    "u": 7,
    "E": NOW,
    "T": NOW,
    "s": "BTCUSDT",
    "b": "85000.1",
    "B": "3",
    "a": "85000.2",
    "A": "4",
    "st": 1,
}
MARK = {
    "e": "markPriceUpdate",
    "E": NOW,
    "s": "BTCUSDT",
    "p": "85000.15",
    "ap": "1",
    "i": "85001",
    "r": "0.0001",
    "T": NOW + 1,
}
K = {
    "t": NOW - MINUTE_MS,
    "T": NOW - 1,
    "s": "BTCUSDT",
    "i": "1m",
    "o": "5",
    "c": "6",
    "h": "7",
    "l": "4",
    "v": "2.5",
    "V": "1.5",
    "x": True,
}
KLINE = {"e": "kline", "E": NOW, "s": "BTCUSDT", "k": K}
TRADE = {"e": "aggTrade", "E": NOW, "s": "BTCUSDT", "a": 7, "p": "85000.1", "q": "0.25", "T": NOW - 3, "m": True}


def test_payloads_become_our_types() -> None:
    take = PayloadFilter().take
    assert take(BOOK) == Quote("BTCUSDT", Decimal("85000.1"), Decimal(3), Decimal("85000.2"), Decimal(4), NOW)
    assert take(MARK) == MarkPrice("BTCUSDT", Decimal("85000.15"), Decimal("0.0001"), NOW + 1, NOW)
    minute = Bar("BTCUSDT", MINUTE_MS, NOW - MINUTE_MS, 5.0, 7.0, 4.0, 6.0, 2.5, taker_buy=1.5)
    assert take(KLINE) == MinuteUpdate(minute, closed=True, time_ms=NOW)
    assert take(TRADE) == AggregateTrade("BTCUSDT", 7, 0.25, is_sell=True, traded_ms=NOW - 3, time_ms=NOW)


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        (BOOK | {"b": "NaN"}, "not_positive"),
        (BOOK | {"a": "0"}, "not_positive"),
        (BOOK | {"A": "0.000"}, "not_positive"),
        (BOOK | {"b": "85000.3"}, "crossed_quote"),
        (BOOK | {"b": "85000.2"}, "crossed_quote"),
        (BOOK | {"b": "many"}, "unreadable"),
        (BOOK | {"b": None}, "unreadable"),
        ({key: value for key, value in BOOK.items() if key != "E"}, "unreadable"),
        (MARK | {"p": "Infinity"}, "not_positive"),
        (MARK | {"r": "NaN"}, "bad_funding_rate"),
        (MARK | {"r": ""}, "unreadable"),
        (KLINE | {"k": K | {"c": "nan"}}, "bad_candle"),
        (KLINE | {"k": K | {"l": "0"}}, "bad_candle"),
        (KLINE | {"k": K | {"h": "5.5"}}, "bad_candle"),
        (KLINE | {"k": K | {"i": "3m"}}, "wrong_interval"),
        (KLINE | {"k": K | {"t": NOW + MINUTE_MS}}, "from_the_future"),
        (KLINE | {"k": K | {"V": "2.6"}}, "bad_candle"),
        (KLINE | {"k": None}, "unreadable"),
        (TRADE | {"q": "0"}, "not_positive"),
        (TRADE | {"q": "NaN"}, "not_positive"),
        (TRADE | {"q": None}, "unreadable"),
    ],
)
def test_what_cannot_be_true_is_dropped_and_counted(payload: dict[str, Any], kind: str) -> None:
    payloads = PayloadFilter()
    assert payloads.take(payload) is None
    assert payloads.dropped == {kind: 1}


def test_time_never_goes_back_within_a_stream() -> None:
    payloads = PayloadFilter()
    taken = [payloads.take(BOOK | {"E": NOW + step}) for step in (0, 5, 5, 4)]
    assert [quote.time_ms - NOW if quote else None for quote in taken] == [0, 5, 5, None]
    assert payloads.take(MARK) is not None, "another stream has its own time"
    assert payloads.dropped == {"time_went_back": 1}


class SlowBus(InMemoryMarketBus):
    """Answers a publish only when told."""

    def __init__(self, server: InMemoryServer) -> None:
        super().__init__(server)
        self.batches: asyncio.Queue[Sequence[MarketMessage]] = asyncio.Queue()
        self.answers = asyncio.Semaphore(0)

    async def publish(self, messages: Sequence[MarketMessage]) -> None:
        self.batches.put_nowait(messages)
        await self.answers.acquire()
        await super().publish(messages)


def quote(step: int) -> Quote:
    return Quote("BTCUSDT", Decimal(100 + step), Decimal(1), Decimal(101 + step), Decimal(1), NOW + step)


def bar(k: int, symbol: str = "BTCUSDT", price: float | None = None) -> Bar:
    price = price or 100.0 + k % 17 + k % 5 / 3
    return Bar(symbol, MINUTE_MS, NOW + k * MINUTE_MS, price, price + 1, price - 1, price + 0.5, 1.0)


async def test_a_slow_bus_gets_every_bar_but_only_the_newest_quote() -> None:
    clock = ManualClock()
    bus = SlowBus(InMemoryServer(clock))
    outbox = Outbox(bus, clock)
    running = asyncio.create_task(outbox.run())
    outbox.put_newest(quote(0))
    assert await asyncio.wait_for(bus.batches.get(), 5) == [quote(0)]
    for step in range(1, 500):
        outbox.put_newest(quote(step))
        if step % 100 == 0:
            outbox.put([bar(step)])
    bus.answers.release()
    assert await asyncio.wait_for(bus.batches.get(), 5) == [bar(100), bar(200), bar(300), bar(400), quote(499)]
    running.cancel()


async def test_a_lost_bus_gets_the_bars_it_missed_in_order() -> None:
    clock = ManualClock()
    server = InMemoryServer(clock)
    bus = InMemoryMarketBus(server)
    outbox = Outbox(bus, clock)
    running = asyncio.create_task(outbox.run())
    server.cut()
    for k in range(3):
        outbox.put([bar(k)])
        outbox.put_newest(quote(k))
        await asyncio.sleep(0)
    server.restore()
    heard = bus.subscribe()
    outbox.put([bar(3)])
    clock.advance(5)
    messages = [await asyncio.wait_for(anext(heard), 5) for _ in range(4)]
    assert messages == [bar(0), bar(1), bar(2), bar(3)]
    running.cancel()


def indicators(messages: Sequence[MarketMessage]) -> list[BarIndicators]:
    return [message for message in messages if isinstance(message, BarIndicators)]


def three_minute_bars(count: int) -> list[Bar]:
    prices = [100 + (k * k % 23) / 4 for k in range(count)]
    return [
        Bar("BTCUSDT", 3 * MINUTE_MS, NOW + (k - count) * 3 * MINUTE_MS, price, price + 1, price - 1, price, 1.0)
        for k, price in enumerate(prices)
    ]


def test_readings_are_not_invented_while_history_is_short() -> None:
    readings = SymbolReadings(CONFIG)
    newest = indicators(readings.warm_up(three_minute_bars(400)))
    assert [(reading.atr14, reading.supertrend_stop, reading.supertrend_is_long) for reading in newest] == [(None, None, None)]


def test_a_bar_known_from_history_is_not_told_again() -> None:
    readings = SymbolReadings(CONFIG)
    newest = indicators(readings.warm_up(three_minute_bars(600)))
    assert newest[0].close_ms == NOW
    assert newest[0].atr14 is not None
    assert newest[0].supertrend_stop is not None
    told = [message for k in range(-6, 3) for message in readings.close_minute(bar(k))]
    assert [reading.open_ms for reading in indicators(told)] == [NOW]


def test_beta_needs_both_markets_and_a_fresh_minute_and_is_told_once() -> None:
    betas = BetaBook(CONFIG)
    for k in range(61):
        betas.add(bar(k))
        betas.add(bar(k, "ETHUSDT", price=50 + (k * 7 % 13) / 3))
    now = NOW + 61 * MINUTE_MS
    assert betas.newest(now + 90_000) == [], "too old"
    (reading,) = betas.newest(now + 89_999)
    assert isinstance(reading, BetaReading)
    assert (reading.symbol, reading.base, reading.returns, reading.close_ms) == ("ETHUSDT", "BTCUSDT", 60, now)
    assert betas.newest(now) == [], "told already"
    betas.add(bar(61))
    assert betas.newest(now + MINUTE_MS) == [], "the other market's minute is still missing"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"base": "XRPUSDT"}, "stream base XRPUSDT"),
        ({"bar_interval_ms": 100_000}, "bar_interval_ms"),
        ({"beta_window": 10}, "beta_window 10"),
        ({"warmup_bars": 100}, "warmup_bars 100"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StreamConfig(rest_url="", public_ws_url="", market_ws_url="", **wrong)
