"""How the simulator's exchange time runs against the host's clock."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from simulated import BTC, BUY, SELL, START_MS, d, refused

from app.domain.market import MINUTE_MS
from app.simulator.limits import Cost
from app.simulator.runtime import QUIET_S, Runtime
from app.simulator.server import build_runtime
from app.simulator.tape import Candle, bar_at
from app.simulator.tape_recorded import RecordedTape
from app.simulator.tape_synthetic import SyntheticTape
from app.simulator.venue_types import OrderType
from app.simulator.wire_market import kline_row


class FakeClock:
    """Time passes only by sleeping; ``on_sleep`` sees what was done before."""

    def __init__(self, on_sleep: Callable[[], None] = lambda: None) -> None:
        self.now = 1_000.0
        self.on_sleep = on_sleep

    def monotonic(self) -> float:
        return self.now

    def wall_ms(self) -> int:
        return int(self.now * 1000)

    async def sleep(self, seconds: float) -> None:
        self.on_sleep()
        self.now += seconds
        await asyncio.sleep(0)


@asynccontextmanager
async def played(runtime: Runtime) -> AsyncIterator[Callable[[float], "asyncio.Future[None]"]]:
    """Runs it; ``await wait(seconds)`` lets that much of the fake time pass."""
    task = asyncio.create_task(runtime.run())
    clock = runtime.clock

    async def wait(seconds: float) -> None:
        end = clock.monotonic() + seconds
        while clock.monotonic() < end:
            assert not task.done(), task.exception()
            await asyncio.sleep(0)

    try:
        yield lambda seconds: asyncio.ensure_future(wait(seconds))
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def synthetic_runtime(speed: float, delay_ms: float = 0.0) -> Runtime:
    return build_runtime(SyntheticTape(7, START_MS), FakeClock(), speed=speed, delay_ms=delay_ms)


@pytest.mark.parametrize("speed", [1.0, 10.0, 200.0])
async def test_exchange_time_runs_with_the_speed(speed: float) -> None:
    runtime = synthetic_runtime(speed)
    async with played(runtime) as wait:
        await wait(10)

    assert runtime.venue.now_ms - START_MS == pytest.approx(10_000 * speed, rel=0.02)


@pytest.mark.parametrize("speed", [50.0, 200.0])
async def test_trades_sum_up_to_what_the_candles_say_takers_did(speed: float) -> None:
    runtime = synthetic_runtime(speed)
    async with played(runtime) as wait:
        await wait(200 / speed)

    trades = runtime.feed.recent_trades(BTC)
    assert [trade["t"] for trade in trades] == list(range(1, len(trades) + 1))
    closed = [minute for minute in (START_MS, START_MS + MINUTE_MS) if minute + MINUTE_MS <= runtime.venue.now_ms]
    assert len(closed) == 2
    for minute in closed:
        of_minute = [trade for trade in trades if minute <= trade["T"] < minute + MINUTE_MS]
        bar = bar_at(runtime.tape, BTC, MINUTE_MS, minute, minute + MINUTE_MS)
        assert sum(d(trade["q"]) for trade in of_minute) == bar.volume
        assert sum(d(trade["q"]) for trade in of_minute if not trade["m"]) == bar.bought
        assert d(kline_row(bar, MINUTE_MS)[9]) == bar.bought


async def test_speed_zero_stands_still() -> None:
    runtime = synthetic_runtime(0)
    async with played(runtime) as wait:
        await wait(5)

    assert runtime.venue.now_ms == START_MS


async def test_fast_time_stands_still_while_a_signed_request_is_in_flight() -> None:
    runtime = synthetic_runtime(200)
    async with played(runtime) as wait:
        await wait(0.1)
        with runtime.request():
            held = runtime.venue.now_ms
            await wait(5)
            assert runtime.venue.now_ms == held
        await wait(0.1)
        assert held < runtime.venue.now_ms <= held + 200 * 200


async def test_normal_time_does_not_wait_for_requests() -> None:
    runtime = synthetic_runtime(1)
    async with played(runtime) as wait:
        with runtime.request():
            await wait(2)

    assert runtime.venue.now_ms == pytest.approx(START_MS + 2_000, abs=100)


async def test_fast_time_stops_at_a_private_event_and_pauses() -> None:
    turns: list[tuple[float, int, bool]] = []  # host's time, exchange time, in a position
    clock = FakeClock(lambda: turns.append((clock.now, runtime.venue.now_ms, bool(runtime.venue.position(BTC).quantity))))
    runtime = build_runtime(SyntheticTape(7, START_MS), clock, speed=200)
    runtime.venue.place_order(BTC, BUY, OrderType.MARKET, d("0.01"))
    for kind, distance in ((OrderType.STOP_MARKET, d("-20")), (OrderType.TAKE_PROFIT_MARKET, d("20"))):
        trigger = runtime.venue.last_price(BTC) + distance
        runtime.venue.place_algo(BTC, SELL, kind, trigger, quantity=d("0.01"), reduce_only=True)
    runtime.publish()
    async with played(runtime) as wait:
        while runtime.venue.position(BTC).quantity:
            await wait(0.1)
        await wait(1)

    closed = next(turn for turn in turns if not turn[2])
    assert closed[1] - runtime.venue.trades(BTC)[-1].time_ms <= 1_000  # no further than the step it happened in
    quiet = [at_ms for host, at_ms, _ in turns if closed[0] <= host < closed[0] + QUIET_S]
    assert len(quiet) > 1
    assert set(quiet) == {closed[1]}
    assert turns[-1][1] > closed[1]


@pytest.mark.parametrize("has_position", [True, False])
async def test_fast_time_pauses_at_the_close_of_a_candle_while_something_is_open(has_position: bool) -> None:
    turns: list[tuple[float, int]] = []  # host's time, exchange time
    clock = FakeClock(lambda: turns.append((clock.now, runtime.venue.now_ms)))
    runtime = build_runtime(SyntheticTape(7, START_MS), clock, speed=1_000)
    if has_position:
        runtime.venue.place_order(BTC, BUY, OrderType.MARKET, d("0.01"))
        runtime.publish()
    async with played(runtime) as wait:
        await wait(1)

    stays = {at_ms: [host for host, there in turns if there == at_ms] for _, at_ms in turns}
    closes = [at_ms for at_ms, hosts in stays.items() if at_ms % MINUTE_MS == 0 and hosts[-1] - hosts[0] >= QUIET_S / 2]
    assert (len(closes) >= 5) is has_position
    if has_position:
        assert closes == list(range(closes[0], closes[-1] + 1, MINUTE_MS)), "none is passed over"


async def test_an_order_reaches_the_venue_after_the_delay() -> None:
    runtime = synthetic_runtime(1, delay_ms=5)
    before = runtime.clock.monotonic()
    values = {"timestamp": str(runtime.clock.wall_ms())}

    await runtime.execute(lambda venue, _params: venue.now_ms, values, is_order=True)
    delayed = runtime.clock.monotonic() - before
    await runtime.execute(lambda venue, _params: venue.now_ms, values, is_order=False)

    assert delayed == pytest.approx(0.005)
    assert runtime.clock.monotonic() - before == pytest.approx(0.005)


async def test_an_order_that_arrives_after_its_window_is_refused() -> None:
    runtime = synthetic_runtime(1, delay_ms=3_001)
    values = {"timestamp": str(runtime.clock.wall_ms()), "recvWindow": "3000"}

    with refused(-5028):
        await runtime.execute(lambda venue, _params: venue.now_ms, values, is_order=True)


async def test_a_recorded_tape_ends_and_time_stands() -> None:
    candles = [Candle(START_MS + i * 60_000, d(100), d(101), d(99), d(100), d(1)) for i in range(5)]
    runtime = build_runtime(RecordedTape({BTC: candles}, 2), FakeClock(), speed=1_000)
    async with played(runtime) as wait:
        await wait(5)

    assert runtime.has_ended
    assert runtime.venue.now_ms == START_MS + 5 * 60_000 - 1


async def test_the_windows_of_limits_go_on_when_the_speed_changes() -> None:
    runtime = synthetic_runtime(speed=1)
    counters = runtime.new_counters()
    counters.charge(Cost(2_000), 0)

    for speed in (50.0, 1.0, 50.0):
        runtime.speed = speed
        assert counters.charge(Cost(1), 0)["X-MBX-USED-WEIGHT-1M"] != "1"
    runtime.venue.advance(runtime.venue.now_ms + 60_000)
    assert counters.charge(Cost(1), 0)["X-MBX-USED-WEIGHT-1M"] == "1"
