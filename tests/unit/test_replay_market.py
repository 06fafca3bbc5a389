"""How closely a replay's market steps, and that nothing of a candle is left out."""

import itertools
from decimal import Decimal

import pytest
from manual_clock import ManualClock

from app.bus.in_memory import InMemoryMarketBus, InMemoryServer
from app.domain.instrument import Side
from app.domain.market import MINUTE_MS, Quote
from app.replay.market import TapeMarket
from app.replay.stream import TapeStream
from app.simulator.tape import WAYPOINTS_MS, Candle
from app.simulator.venue import Venue
from app.simulator.venue_state import VenueConfig
from app.simulator.venue_types import OrderType
from app.stream.config import StreamConfig

START = 1_765_000_020_000 - 1_765_000_020_000 % MINUTE_MS
PRICES = {"BTCUSDT": Decimal(85_000), "ETHUSDT": Decimal(3_000)}


class EveryMinuteAlike:
    symbols = ("BTCUSDT", "ETHUSDT")
    first_ms = start_ms = START
    end_ms = None

    def candle(self, symbol: str, open_ms: int) -> Candle:
        price = PRICES[symbol]
        return Candle(open_ms, price, price + 20, price - 40, price + 10, Decimal(60))


class ExactClock(ManualClock):
    def wall_ms(self) -> int:
        return START + round(self.monotonic() * 1000)


class World:
    def __init__(self) -> None:
        self.clock = ExactClock()
        self.venue = Venue(PRICES, START, VenueConfig(balance=Decimal(10_000_000)))
        self.server = InMemoryServer(self.clock)
        tape = EveryMinuteAlike()
        stream = TapeStream(StreamConfig("", "", "", symbols=tape.symbols), tape)
        self.market = TapeMarket(tape, self.venue, self.clock, InMemoryMarketBus(self.server), stream)

    def rests(self, price: int) -> None:
        self.venue.place_order("BTCUSDT", Side.BUY, OrderType.LIMIT, Decimal(50), price=Decimal(price))

    def go_to(self, offset_ms: int) -> None:
        self.clock.advance((START + offset_ms - self.clock.wall_ms()) / 1000)
        self.market.catch_up()

    def next_step(self, *, live: bool = True, finely: bool = False) -> int:
        return self.market.next_step_ms(live=live, finely=finely) - START


def test_with_nothing_under_way_it_goes_from_minute_to_minute() -> None:
    world = World()
    assert world.next_step(live=False) == MINUTE_MS
    world.go_to(7_000)
    assert world.next_step(live=False) == MINUTE_MS


def test_with_a_trade_under_way_every_waypoint_of_every_candle_is_visited() -> None:
    world = World()
    world.rests(81_500)
    seen = []
    while world.clock.wall_ms() < START + 2 * MINUTE_MS:
        world.go_to(world.next_step())
        seen.append(world.clock.wall_ms() - START)
    waypoints = [minute + at for minute in (0, MINUTE_MS) for at in WAYPOINTS_MS][1:]
    assert {*waypoints} <= {*seen}
    assert len(seen) < 20


def test_an_order_under_way_waits_until_its_price_and_is_then_approached_in_small_steps() -> None:
    world = World()
    world.go_to(20_000)  # the high, from where it falls by 60 in 20 s
    world.rests(84_990)
    steps = [20_000]
    while world.venue.is_idle is False and not world.venue.trades():
        world.go_to(world.next_step())
        steps.append(world.clock.wall_ms() - START)
    first_fill = world.venue.trades()[0]
    assert first_fill.price == 84_990
    assert steps[-1] - (first_fill.time_ms - START) <= 250
    assert max(b - a for a, b in itertools.pairwise(steps)) >= 5_000


def test_what_waits_for_its_price_alone_keeps_the_market_looked_at() -> None:
    world = World()
    world.rests(81_500)
    assert world.next_step(live=False) == WAYPOINTS_MS[1]


def test_after_an_order_it_steps_as_a_market_stream_does_for_a_while() -> None:
    world = World()
    world.rests(81_500)
    world.market.touch()
    assert world.next_step() == 100
    world.go_to(999)
    assert world.next_step() == 1_099
    world.go_to(1_000)
    assert world.next_step() == WAYPOINTS_MS[1]


def test_a_trade_that_decides_by_price_is_stepped_by_the_second() -> None:
    world = World()
    world.rests(81_500)
    assert world.next_step(finely=True) == 1_000


def test_requests_close_together_meet_one_market_at_their_own_times() -> None:
    world = World()
    world.rests(81_500)
    world.go_to(10_000)
    price, steps = world.venue.last_price("BTCUSDT"), world.market.steps
    world.go_to(10_049)
    assert (world.venue.last_price("BTCUSDT"), world.venue.now_ms - START, world.market.steps) == (price, 10_049, steps)
    world.go_to(10_050)
    assert world.market.steps == steps + 1


@pytest.mark.parametrize("offset_ms", [59_990, 60_010])
def test_a_minute_s_open_is_met_also_between_two_requests(offset_ms: int) -> None:
    world = World()
    world.rests(81_500)
    world.go_to(59_980)
    world.go_to(offset_ms)
    world.go_to(60_020)
    assert world.venue.now_ms == START + 60_020
    assert abs(world.venue.last_price("BTCUSDT") - PRICES["BTCUSDT"]) < 1


async def test_quotes_are_told_when_they_change_and_repeated_while_busy() -> None:
    world = World()
    world.rests(81_500)

    async def quotes_at(offset_ms: int) -> int:
        world.go_to(offset_ms)
        before = dict(world.server.latest)
        await world.market.publish()
        after = [m for m in world.server.latest.values() if isinstance(m, Quote)]
        return sum(1 for quote in after if quote not in before.values())

    assert await quotes_at(100) == 2  # the first of each
    assert await quotes_at(101) == 0
    world.market.touch()
    assert await quotes_at(102) == 0  # the same, and told a moment ago
    assert await quotes_at(700) == 2
