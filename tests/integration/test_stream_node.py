"""The stream node over real sockets: warm-up, closed bars, reconnection, repaired gaps, and an honest word on its health."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeVar

import numpy as np
import pytest
from manual_clock import ManualClock
from stream_venue import PRICES, StreamVenue, running_venue

from app.bus.in_memory import InMemoryMarketBus, InMemoryServer
from app.clock import SystemClock
from app.domain.market import (
    MINUTE_MS,
    Bar,
    BarIndicators,
    BetaReading,
    FlowReading,
    MarketMessage,
    MarkPrice,
    Quote,
    RegimeReading,
    StreamHealth,
    StructureReading,
)
from app.exchange.errors import UnknownSymbol
from app.indicators.atr import wilder_atr
from app.indicators.beta import log_returns, rolling_slopes
from app.indicators.hurst import hurst, regime_of
from app.indicators.market_structure.engine import MarketStructure
from app.indicators.supertrend_ai import supertrend_ai
from app.simulator.server import running_simulator
from app.stream.config import StreamConfig
from app.stream.history import BinanceHistory
from app.stream.service import run_stream_node

BAR_MS = 3 * MINUTE_MS
PATIENCE_S = 30.0  # the first indicator may compile
M = TypeVar("M", bound=MarketMessage)
T = TypeVar("T")


@dataclass
class Rig:
    venue: StreamVenue
    clock: ManualClock
    bus: InMemoryMarketBus
    node: asyncio.Task[None]
    stop: asyncio.Event
    heard: AsyncIterator[MarketMessage]
    log: list[MarketMessage] = field(default_factory=list)

    async def next(self, kind: type[M], accept: Callable[[M], bool] = lambda _: True, *, ticking: bool = False) -> M:
        """The next message of a kind; everything heard on the way is in ``log``."""
        while True:
            message = await self._soon(anext(self.heard), ticking, f"no such {kind}")
            self.log.append(message)
            if isinstance(message, kind) and accept(message):
                return message

    async def subscribed(self, *, ticking: bool = False) -> None:
        """Both connections have (again) asked for their streams."""
        asked = [await self._soon(self.venue.subscribed.get(), ticking, "no subscription") for _ in range(2)]
        assert {route for route, _ in asked} == {"public", "market"}

    async def _soon(self, wanted: Awaitable[T], ticking: bool, failure: str) -> T:
        """Fails with the node if that fails. ``ticking``: the clock goes on while nothing happens."""
        future = asyncio.ensure_future(wanted)
        patience = 1000 if ticking else 1
        for _ in range(patience):
            await asyncio.wait({future, self.node}, timeout=PATIENCE_S / patience, return_when=asyncio.FIRST_COMPLETED)
            if future.done():
                return future.result()
            if self.node.done():
                break
            if ticking:
                self.clock.advance(0.1)
        future.cancel()
        if self.node.done():
            self.node.result()
        pytest.fail(f"{failure} came; last heard: {self.log[-5:]}")

    async def health(self) -> StreamHealth:
        """The next health report, a second later."""
        self.clock.advance(1.0)
        return await self.next(StreamHealth)

    async def warm(self) -> None:
        await self.subscribed()
        for _ in PRICES:
            await self.next(BarIndicators)

    async def chatter(self) -> None:
        """One message of each steady stream, so that nothing looks silent."""
        for symbol in PRICES:
            await self.venue.quote(symbol)
            await self.venue.mark(symbol)
        await self.arrived((Quote, "SOLUSDT"), (MarkPrice, "SOLUSDT"))

    async def arrived(self, *wanted: tuple[type[Quote | MarkPrice], str]) -> None:
        """Each of these has come, in any order."""
        missing = set(wanted)
        while missing:
            message = await self.next(Quote | MarkPrice)
            missing.discard((type(message), message.symbol))

    def indicators(self, symbol: str) -> list[BarIndicators]:
        return [m for m in self.log if isinstance(m, BarIndicators) and m.symbol == symbol]

    def bars(self, symbol: str, interval_ms: int) -> list[Bar]:
        return [m for m in self.log if isinstance(m, Bar) and (m.symbol, m.interval_ms) == (symbol, interval_ms)]


def config_for(venue: StreamVenue, **changed: Any) -> StreamConfig:
    urls = {"rest_url": f"http://{venue.url}"}
    urls |= {f"{route}_ws_url": f"ws://{venue.url}/{route}/ws" for route in ("public", "market")}
    return StreamConfig(**{**urls, **changed})


@asynccontextmanager
async def running_node(venue: StreamVenue, **changed: Any) -> AsyncIterator[Rig]:
    clock, stop = ManualClock(), asyncio.Event()
    bus = InMemoryMarketBus(InMemoryServer(clock))
    heard = bus.subscribe()
    node = asyncio.create_task(run_stream_node(config_for(venue, **changed), bus, clock, stop))
    rig = Rig(venue, clock, bus, node, stop, heard)
    try:
        yield rig
    finally:
        stop.set()
        await asyncio.wait_for(asyncio.gather(node, return_exceptions=True), PATIENCE_S)


def assert_equal_to_bulk(rig: Rig, symbol: str, first_known: int = 1000) -> None:
    """Every published reading is that of the bulk form over the same history: ``first_known`` bars, then the live ones."""
    readings = rig.indicators(symbol)
    all_bars = rig.venue.bars(symbol, 3, readings[-1].close_ms)
    bars = all_bars[-(first_known + len(readings) - 1) :]
    high, low, close = (np.array([getattr(bar, name) for bar in bars]) for name in ("high", "low", "close"))
    trend, atr = supertrend_ai(high, low, close), wilder_atr(high, low, close, 14)
    for reading, bar, expected, atr14 in zip(reversed(readings), reversed(bars), trend[::-1], atr[::-1], strict=False):
        assert (reading.open_ms, reading.close) == (bar.open_ms, bar.close)
        assert reading.supertrend_stop == expected["stop"]
        assert reading.supertrend_is_long == bool(expected["direction"])
        assert reading.supertrend_factor == expected["factor"]
        assert reading.atr14 == atr14


async def test_warm_up_then_closed_bars_equal_the_bulk_form() -> None:
    async with running_venue() as venue, running_node(venue) as rig:
        await rig.warm()
        start_ms = venue.now_ms
        for _ in range(7):
            await venue.pass_minute()
        sol_open_ms = start_ms + 6 * MINUTE_MS
        await rig.next(Bar, lambda bar: bar.symbol == "SOLUSDT" and bar.open_ms == sol_open_ms)
        for symbol in PRICES:
            closes_ms = [reading.close_ms for reading in rig.indicators(symbol)]
            assert closes_ms == [start_ms, start_ms + BAR_MS, start_ms + 2 * BAR_MS]
            assert_equal_to_bulk(rig, symbol)
            assert rig.bars(symbol, BAR_MS)[1:] == venue.bars(symbol, 3, venue.now_ms)[-2:]
            assert rig.bars(symbol, MINUTE_MS)[1:] == venue.bars(symbol, 1, venue.now_ms)[-7:]


async def test_a_quarter_of_an_hour_that_began_before_the_start_is_whole() -> None:
    async with running_venue(minutes=3_608) as venue, running_node(venue) as rig:
        await rig.warm()
        for _ in range(7):
            await venue.pass_minute()
        quarter = await rig.next(Bar, lambda bar: bar.interval_ms == 15 * MINUTE_MS and bar.symbol == "BTCUSDT")
        assert quarter == venue.bars("BTCUSDT", 15, venue.now_ms)[-1]
        assert rig.indicators("BTCUSDT")[-1].close_ms == venue.now_ms
        assert_equal_to_bulk(rig, "BTCUSDT")


async def test_beta_is_told_every_minute_for_each_hedge() -> None:
    async with running_venue() as venue, running_node(venue) as rig:
        await rig.warm()
        for _ in range(2):
            await venue.pass_minute()
        for symbol in ("ETHUSDT", "SOLUSDT"):
            wanted = (symbol, venue.now_ms)
            told = [m for m in rig.log if isinstance(m, BetaReading) and (m.symbol, m.close_ms) == wanted]
            reading = told[0] if told else await rig.next(BetaReading, lambda b, w=wanted: (b.symbol, b.close_ms) == w)
            closes = {s: np.array([bar.close for bar in venue.bars(s, 1, venue.now_ms)[-61:]]) for s in ("BTCUSDT", symbol)}
            expected = rolling_slopes(log_returns(closes["BTCUSDT"]), log_returns(closes[symbol]), 60)
            assert (reading.base, reading.returns) == ("BTCUSDT", 60)
            assert reading.beta == pytest.approx(expected.beta[0], rel=1e-9)
            assert reading.correlation == pytest.approx(expected.correlation[0], rel=1e-9)
        assert not any(m.symbol == "BTCUSDT" for m in rig.log if isinstance(m, BetaReading))


def assert_structure_equals_bulk(rig: Rig, symbol: str, interval_ms: int, bars: list[Bar]) -> None:
    """``bars``: all that the engine has seen, from the oldest of the history on."""
    told = [m for m in rig.log if isinstance(m, StructureReading) and (m.symbol, m.interval_ms) == (symbol, interval_ms)]
    expected = MarketStructure().extend(bars)[-len(told) :]
    for reading, wanted in zip(told, expected, strict=True):
        assert (reading.open_ms, reading.close) == (wanted.open_ms, wanted.close)
        assert (reading.internal_bias, reading.swing_bias) == (wanted.internal_bias, wanted.swing_bias)
        assert (reading.range_top, reading.range_bottom) == (wanted.range_top, wanted.range_bottom)
        found = [(block.bias, block.bottom, block.top, block.open_ms, block.tapped_ms) for block in reading.blocks]
        assert found == [(block.side, block.bottom, block.top, block.open_ms, block.tapped_ms) for block in wanted.blocks]


async def test_structure_of_both_intervals_equals_the_bulk_form() -> None:
    async with running_venue(minutes=3_600) as venue, running_node(venue) as rig:
        await rig.warm()
        for _ in range(16):
            await venue.pass_minute()
        await rig.next(Bar, lambda bar: bar.symbol == "SOLUSDT" and bar.close_ms == venue.now_ms)
        for symbol in PRICES:
            bars = venue.bars(symbol, 3, venue.now_ms)[-1_005:]
            assert_structure_equals_bulk(rig, symbol, BAR_MS, bars)
            quarters = [quarter for quarter in venue.bars(symbol, 15, venue.now_ms) if quarter.open_ms >= bars[0].open_ms]
            assert_structure_equals_bulk(rig, symbol, 15 * MINUTE_MS, quarters)
        newest = [m for m in rig.log if isinstance(m, StructureReading) and m.symbol == "BTCUSDT"]
        assert {m.interval_ms for m in newest} == {BAR_MS, 15 * MINUTE_MS}
        chochs = [choch for m in newest for choch in (m.internal_choch, m.swing_choch) if choch is not None]
        assert chochs, "a thousand bars change their character"
        assert all(choch.close_ms <= venue.now_ms and choch.bias in (1, -1) for choch in chochs)


async def test_the_regime_is_told_once_a_minute() -> None:
    async with running_venue() as venue, running_node(venue) as rig:
        await rig.warm()
        rig.log.clear()
        await venue.pass_minute()
        reading = await rig.next(RegimeReading, lambda m: m.symbol == "SOLUSDT" and m.close_ms == venue.now_ms)
        returns = np.diff(np.log([bar.close for bar in venue.bars("SOLUSDT", 1, venue.now_ms)[-1_500:]]))
        exponent = hurst(returns[-512:])
        assert exponent is not None
        assert (reading.hurst, reading.regime) == (pytest.approx(exponent, rel=1e-9), regime_of(exponent))
        assert reading.volatility == pytest.approx(returns[-60:].std(ddof=1), rel=1e-9)
        assert reading.volatility_ratio is not None
        told = [m.close_ms for m in rig.log if isinstance(m, RegimeReading) and m.symbol == "SOLUSDT"]
        assert len(told) == len(set(told))


async def test_flow_is_told_of_trades_and_settled_by_candles() -> None:
    async with running_venue() as venue, running_node(venue) as rig:
        await rig.warm()
        start_ms = venue.now_ms
        deltas = [bar.delta or 0.0 for bar in venue.bars("BTCUSDT", 1, start_ms)[-1_500:]]
        await venue.trade("BTCUSDT", 41, "5", is_sell=False, at_ms=start_ms + 30_000)  # mid-minute: those before are not known
        await venue.pass_minute()
        await venue.trade("BTCUSDT", 42, "0.5", is_sell=True)
        await venue.trade("BTCUSDT", 43, "0.25", is_sell=False)
        first = venue.minute("BTCUSDT", start_ms).delta or 0.0
        wanted = pytest.approx(sum(deltas) + first - 0.25)
        flow = await rig.next(FlowReading, lambda m: m.cvd == wanted, ticking=True)
        assert flow.time_ms == venue.now_ms
        assert flow.delta_1m == pytest.approx(first - (first - 5) / 60 - 0.25), "what the trades left out is spread evenly"
        assert flow.typical_1m == pytest.approx(sum(map(abs, [*deltas[-59:], first])) / 60)
        assert not [m for m in rig.log if isinstance(m, FlowReading) and m.time_ms < venue.now_ms], "not before it was whole"


async def test_quotes_and_marks_pass_and_impossible_ones_do_not() -> None:
    async with running_venue() as venue, running_node(venue) as rig:
        await rig.warm()
        await venue.quote("BTCUSDT", "NaN")
        await venue.quote("BTCUSDT", "101", "100")
        await venue.quote("BTCUSDT", "0")
        await venue.quote("BTCUSDT", "85000.10", "85000.20")
        quote = await rig.next(Quote)
        assert quote == Quote("BTCUSDT", Decimal("85000.10"), Decimal(3), Decimal("85000.20"), Decimal(4), venue.now_ms)
        await venue.quote("BTCUSDT", "84000", "84001", E=venue.now_ms - 1)
        await venue.mark("BTCUSDT", "-5")
        await venue.mark("ETHUSDT", "3000.5")
        mark = await rig.next(MarkPrice)
        assert mark == MarkPrice("ETHUSDT", Decimal("3000.5"), Decimal("0.0001"), venue.now_ms + 1, venue.now_ms)
        assert [m.bid for m in rig.log if isinstance(m, Quote)] == [Decimal("85000.10")], "no price from the past"


async def test_health_is_honest_from_start_to_stop() -> None:
    async with running_venue() as venue:
        venue.rest_status = 503
        async with running_node(venue) as rig:
            await rig.subscribed()
            first = await rig.health()
            assert (first.connected, first.warm) == (False, False)
            assert "BTCUSDT warming up" in first.reason
            await rig.chatter()
            cold = await rig.health()
            assert (cold.connected, cold.warm, cold.newest_event_ms) == (True, False, venue.now_ms)
            venue.rest_status = 200
            for _ in PRICES:
                await rig.next(BarIndicators, ticking=True)
            await rig.chatter()
            assert await rig.health() == StreamHealth(True, True, venue.now_ms)
            rig.stop.set()
            last = await rig.next(StreamHealth, lambda health: not health.connected)
            assert last.reason == "stream node stopped"


async def test_minutes_missed_while_disconnected_come_from_history_first() -> None:
    async with running_venue() as venue, running_node(venue) as rig:
        await rig.warm()
        start_ms = venue.now_ms
        await rig.chatter()
        venue.silent = True
        await venue.drop()
        for _ in range(5):
            await venue.pass_minute()
        venue.silent = False
        await rig.subscribed(ticking=True)
        rig.log.clear()
        await venue.candle("BTCUSDT", venue.now_ms, closed=False)
        await rig.next(Bar, lambda bar: bar.open_ms == start_ms + 4 * MINUTE_MS)
        assert [bar.open_ms for bar in rig.bars("BTCUSDT", MINUTE_MS)] == [start_ms + k * MINUTE_MS for k in range(5)]
        await venue.pass_minute()
        await rig.next(BarIndicators, lambda reading: reading.close_ms == start_ms + 2 * BAR_MS and reading.symbol == "BTCUSDT")
        assert [reading.close_ms for reading in rig.indicators("BTCUSDT")] == [start_ms + BAR_MS, start_ms + 2 * BAR_MS]
        assert_equal_to_bulk(rig, "BTCUSDT", first_known=1001)


async def test_nothing_newer_is_told_while_a_gap_cannot_be_repaired() -> None:
    async with running_venue() as venue, running_node(venue) as rig:
        await rig.warm()
        await rig.chatter()
        start_ms = venue.now_ms
        rig.log.clear()
        venue.rest_status = 503
        venue.silent = True
        await venue.pass_minute()
        venue.silent = False
        for _ in range(3):
            await venue.pass_minute()
        await rig.chatter()
        broken = await rig.health()
        assert not broken.warm
        assert "BTCUSDT repairing a gap" in broken.reason
        assert rig.bars("BTCUSDT", MINUTE_MS) == []
        venue.rest_status = 200
        last_ms = start_ms + 3 * MINUTE_MS
        await rig.next(Bar, lambda bar: bar.symbol == "BTCUSDT" and bar.open_ms == last_ms, ticking=True)
        assert [bar.open_ms for bar in rig.bars("BTCUSDT", MINUTE_MS)] == [start_ms + k * MINUTE_MS for k in range(4)]


async def test_a_minute_that_never_comes_is_asked_for() -> None:
    """The closed candle is lost and no newer one tells: exchange time does."""
    async with running_venue() as venue, running_node(venue) as rig:
        await rig.warm()
        start_ms = venue.now_ms
        venue.now_ms += MINUTE_MS + 2_500
        await rig.chatter()
        await rig.health()
        await rig.health()
        minute = await rig.next(Bar, lambda bar: bar.symbol == "BTCUSDT")
        assert minute == venue.minute("BTCUSDT", start_ms)


async def test_after_a_day_away_the_symbol_is_warmed_up_anew() -> None:
    async with running_venue() as venue, running_node(venue) as rig:
        await rig.warm()
        await rig.chatter()
        venue.now_ms += 1_601 * MINUTE_MS
        await venue.candle("BTCUSDT", venue.now_ms, closed=False)
        rig.log.clear()
        anew = await rig.next(BarIndicators)
        assert (anew.symbol, anew.close_ms) == ("BTCUSDT", venue.now_ms - venue.now_ms % BAR_MS)
        assert_equal_to_bulk(rig, "BTCUSDT")
        await venue.pass_minute()
        await rig.next(Bar, lambda bar: bar.symbol == "BTCUSDT" and bar.close_ms == venue.now_ms)


async def test_silence_ends_a_connection_and_is_said() -> None:
    async with running_venue() as venue, running_node(venue) as rig:
        await rig.warm()
        await rig.chatter()
        assert (await rig.health()).connected
        silent = await rig.next(StreamHealth, lambda health: not health.connected, ticking=True)
        assert "stream silent for" in silent.reason
        await rig.subscribed(ticking=True)
        await rig.chatter()
        assert (await rig.health()).connected


async def test_one_silent_symbol_is_enough() -> None:
    async with running_venue() as venue, running_node(venue) as rig:
        await rig.warm()
        await rig.chatter()
        reports: list[StreamHealth] = []
        while not reports:
            await venue.quote("ETHUSDT")
            for symbol in PRICES:
                await venue.mark(symbol)
            await rig.arrived((Quote, "ETHUSDT"), (MarkPrice, "SOLUSDT"))
            await rig.health()
            reports = [m for m in rig.log if isinstance(m, StreamHealth) and "@bookTicker silent for" in m.reason]
        assert not reports[0].connected
        assert rig.clock.monotonic() == pytest.approx(31, abs=3)


async def test_pings_are_answered() -> None:
    async with running_venue() as venue, running_node(venue) as rig:
        await rig.warm()
        await venue.ping()
        assert [await asyncio.wait_for(venue.pongs.get(), PATIENCE_S) for _ in range(2)] == [b"alive?", b"alive?"]


async def test_a_connection_is_renewed_before_the_exchange_cuts_it() -> None:
    async with running_venue() as venue, running_node(venue, reconnect_after_s=2.0) as rig:
        await rig.warm()
        await rig.chatter()
        await rig.subscribed(ticking=True)
        assert rig.clock.monotonic() == pytest.approx(2.5, abs=0.5)
        await rig.chatter()
        assert (await rig.health()).connected


async def test_a_symbol_the_exchange_does_not_list_is_named() -> None:
    async with running_venue() as venue:
        config = config_for(venue, symbols=("BTCUSDT", "NOSUCHUSDT"))
        bus = InMemoryMarketBus(InMemoryServer(ManualClock()))
        with pytest.raises(UnknownSymbol, match="NOSUCHUSDT: the exchange does not list it"):
            await asyncio.wait_for(run_stream_node(config, bus, ManualClock(), asyncio.Event()), PATIENCE_S)


async def rest_bars(url: str, symbol: str, limit: int, end_ms: int) -> list[Bar]:
    history = BinanceHistory(url)
    try:
        return await history.bars(symbol, BAR_MS, limit, end_ms)
    finally:
        await history.close()


async def test_against_the_simulator_bars_and_readings_equal_its_own_history() -> None:
    """A market at 600 times its speed: whatever was published live is what REST tells afterwards, and its bulk readings."""
    async with running_simulator(speed=600.0) as simulator:
        routes = {f"{route}_ws_url": f"{simulator.ws_url}/{route}/ws" for route in ("public", "market")}
        config = StreamConfig(rest_url=simulator.base_url, **routes)
        clock, stop = SystemClock(), asyncio.Event()
        bus = InMemoryMarketBus(InMemoryServer(clock))
        heard = bus.subscribe()
        node = asyncio.create_task(run_stream_node(config, bus, clock, stop))
        readings: dict[str, list[BarIndicators]] = {symbol: [] for symbol in config.symbols}
        kinds: set[type[MarketMessage]] = set()
        async with asyncio.timeout(PATIENCE_S):
            while min(len(told) for told in readings.values()) < 4 or StreamHealth not in kinds:
                message = await anext(heard)
                kinds.add(type(message))
                if isinstance(message, BarIndicators):
                    readings[message.symbol].append(message)
        stop.set()
        await node
        for symbol, told in readings.items():
            bars = await rest_bars(simulator.base_url, symbol, 999 + len(told), told[-1].close_ms)
            assert [reading.open_ms for reading in told] == [bar.open_ms for bar in bars[-len(told) :]]
            high, low, close = (np.array([getattr(bar, name) for bar in bars]) for name in ("high", "low", "close"))
            expected, atr = supertrend_ai(high, low, close)[-len(told) :], wilder_atr(high, low, close, 14)[-len(told) :]
            assert [reading.supertrend_stop for reading in told] == list(expected["stop"])
            assert [reading.supertrend_is_long for reading in told] == [bool(flag) for flag in expected["direction"]]
            assert [reading.atr14 for reading in told] == list(atr)
        assert kinds == {
            Quote,
            MarkPrice,
            Bar,
            BarIndicators,
            StructureReading,
            BetaReading,
            RegimeReading,
            FlowReading,
            StreamHealth,
        }
