"""Candles over REST through the real client: closed ones only, in pages, and every failure by what can be done about it."""

from collections.abc import AsyncIterator

import pytest
from stream_venue import StreamVenue, running_venue

from app.domain.market import MINUTE_MS
from app.exchange.errors import NotExecuted, RateLimited, UnknownSymbol
from app.stream.history import BinanceHistory


@pytest.fixture
async def venue() -> AsyncIterator[StreamVenue]:
    async with running_venue(minutes=3_200) as venue:
        yield venue


@pytest.fixture
async def history(venue: StreamVenue) -> AsyncIterator[BinanceHistory]:
    history = BinanceHistory(f"http://{venue.url}")
    yield history
    await history.close()


@pytest.mark.parametrize("since_close_ms", [0, 1, 59_999])
async def test_the_running_candle_is_never_among_them(venue: StreamVenue, history: BinanceHistory, since_close_ms: int) -> None:
    expected = venue.bars("BTCUSDT", 1, venue.now_ms)[-5:]
    venue.now_ms += since_close_ms
    assert await history.bars("BTCUSDT", MINUTE_MS, 5) == expected


async def test_long_histories_come_in_pages(venue: StreamVenue, history: BinanceHistory) -> None:
    bars = await history.bars("ETHUSDT", MINUTE_MS, 3_100)
    assert bars == venue.bars("ETHUSDT", 1, venue.now_ms)[-3_100:]
    assert venue.limits_asked == [1_500, 1_500, 100]


async def test_a_short_history_is_all_there_is(venue: StreamVenue, history: BinanceHistory) -> None:
    bars = await history.bars("SOLUSDT", 15 * MINUTE_MS, 5_000)
    assert bars == venue.bars("SOLUSDT", 15, venue.now_ms)


async def test_until_a_time_in_the_past(venue: StreamVenue, history: BinanceHistory) -> None:
    end_ms = venue.now_ms - 100 * MINUTE_MS + 1
    bars = await history.bars("BTCUSDT", 3 * MINUTE_MS, 4, end_ms)
    assert bars == venue.bars("BTCUSDT", 3, end_ms)[-4:]
    assert bars[-1].close_ms <= end_ms < bars[-1].close_ms + 3 * MINUTE_MS


async def test_an_unknown_symbol_is_named(history: BinanceHistory) -> None:
    with pytest.raises(UnknownSymbol, match="NOSUCHUSDT: the exchange does not list it"):
        await history.bars("NOSUCHUSDT", MINUTE_MS, 5)


@pytest.mark.parametrize(
    ("status", "code", "error"), [(503, -1001, NotExecuted), (429, -1003, RateLimited), (418, -1003, RateLimited)]
)
async def test_failures_say_what_can_be_done(
    venue: StreamVenue, history: BinanceHistory, status: int, code: int, error: type[Exception]
) -> None:
    venue.rest_status, venue.rest_code = status, code
    with pytest.raises(error):
        await history.bars("BTCUSDT", MINUTE_MS, 5)


async def test_an_impossible_candle_is_refused(venue: StreamVenue, history: BinanceHistory) -> None:
    venue.spoiled_ms = venue.now_ms - 2 * MINUTE_MS
    with pytest.raises(NotExecuted, match=r"BTCUSDT at .* not a positive number"):
        await history.bars("BTCUSDT", MINUTE_MS, 5)


async def test_an_exchange_that_is_not_there() -> None:
    history = BinanceHistory("http://127.0.0.1:9", timeout_s=2.0)
    with pytest.raises(NotExecuted):
        await history.bars("BTCUSDT", MINUTE_MS, 5)
    await history.close()
