"""The market of a replay: moves the venue along its tape, and publishes what the stream node would.

How closely it steps follows from what can happen. With nothing at the exchange and no trade under way it jumps from minute to
minute. Else it visits every waypoint of every candle, and goes in steps in which no order price, trigger or liquidation lies,
the longest first; whatever is met is met in one of the shortest, so that the trader hears of it no later than that. For a
moment after an order or an execution the steps are as small as those of a real market stream. Between waypoints prices move
in straight lines, so longer steps leave nothing out but quotes that would change nothing.
"""

from collections.abc import Sequence

from app.bus.in_memory import InMemoryMarketBus
from app.clock import Clock
from app.domain.market import MINUTE_MS, MarkPrice, Quote, StreamHealth
from app.replay.bar_fill import AdverseTape
from app.replay.stream import TapeStream
from app.simulator.tape import WAYPOINTS_MS, Tape, step_times, ticks
from app.simulator.venue import Tick, Venue

STEPS_MS = (20_000, 5_000, 1_000, 250)
FINE_STEP_MS = 1_000
BUSY_STEP_MS = 100
GRAIN_MS = 50
BUSY_MS = 1_000  # so long after an order or an execution; longer than a post-only entry waits
QUOTE_EVERY_MS = 500  # an unchanged quote is repeated this often while busy, as the exchange does


class TapeMarket:
    def __init__(self, tape: Tape | AdverseTape, venue: Venue, clock: Clock, bus: InMemoryMarketBus, stream: TapeStream) -> None:
        self._tape = tape
        self._venue = venue
        self._clock = clock
        self._bus = bus
        self._stream = stream
        self._moved_ms = venue.now_ms
        self._busy_until_ms = 0
        self._quoted: dict[str, Quote] = {}
        self.steps = 0

    async def open(self) -> None:
        await self._bus.publish(self._stream.warm_up(self._moved_ms))
        await self.publish_all()

    def touch(self) -> None:
        """Something is going on: look closely for a while."""
        self._busy_until_ms = self._clock.wall_ms() + BUSY_MS

    @property
    def _is_busy(self) -> bool:
        return self._clock.wall_ms() < self._busy_until_ms

    def next_step_ms(self, *, live: bool, finely: bool) -> int:
        """When to move on; ``live`` while a trade is under way, ``finely`` while one decides by prices at which nothing rests."""
        now = self._clock.wall_ms()
        minute = now - now % MINUTE_MS
        waypoint = _next_waypoint(now)
        if now == minute and isinstance(self._tape, AdverseTape):
            self._tape.begin(minute, {symbol: self._venue.held(symbol) for symbol in self._tape.symbols})
        if not live and not self._is_busy and self._venue.is_idle:
            return minute + MINUTE_MS
        if self._is_busy:
            return min(now + BUSY_STEP_MS, waypoint)
        for step_ms in (FINE_STEP_MS,) if finely else STEPS_MS[:-1]:
            to_ms = min(now + step_ms, waypoint)
            if not self._venue.meets(self._ticks(now, to_ms)):
                return to_ms
        return min(now + STEPS_MS[-1], waypoint)

    def catch_up(self) -> None:
        """The venue's market as it is now, to the grain: finer moves would fill what rests in crumbs."""
        now = self._clock.wall_ms()
        if now - self._moved_ms < GRAIN_MS and now < _next_waypoint(self._moved_ms):
            self._venue.advance(now)
            return
        if self._venue.is_idle and now > self._moved_ms:
            self._jump(now)
        for at_ms in step_times(self._moved_ms, now, MINUTE_MS):
            self._move(self._ticks(self._moved_ms, at_ms), at_ms)

    def _jump(self, now_ms: int) -> None:
        """Nobody waits for a price in between."""
        self._move([Tick(t.symbol, t.price, t.volume, jump=True) for t in self._ticks(self._moved_ms, now_ms)], now_ms)

    def _ticks(self, from_ms: int, to_ms: int) -> list[Tick]:
        return ticks(self._tape, from_ms, to_ms)

    def _move(self, moves: Sequence[Tick], to_ms: int) -> None:
        self._venue.apply(moves, to_ms)
        self._moved_ms = to_ms
        self.steps += 1

    async def publish(self) -> None:
        """What has closed, and the quotes that changed; while busy also the others from time to time."""
        closed = self._stream.close_minutes(self._moved_ms)
        if closed:
            await self._bus.publish(closed)
        quotes = [quote for symbol in self._tape.symbols if self._is_news(quote := self._venue.quote(symbol))]
        self._quoted |= {quote.symbol: quote for quote in quotes}
        await self._bus.publish(quotes)

    def _is_news(self, quote: Quote) -> bool:
        last = self._quoted.get(quote.symbol)
        if last is None or (quote.bid, quote.ask) != (last.bid, last.ask):
            return True
        return self._is_busy and quote.time_ms - last.time_ms >= QUOTE_EVERY_MS

    async def publish_closed(self) -> None:
        """What has closed, while nobody needs prices."""
        await self._bus.publish(self._stream.close_minutes(self._clock.wall_ms()))

    async def publish_all(self) -> None:
        """Everything an alert needs: quotes, marks, regimes, β and correlations of this moment."""
        venue, now = self._venue, self._moved_ms
        marks = [MarkPrice(s, venue.mark_price(s), venue.funding_rate(s), venue.next_funding_ms, now) for s in self._tape.symbols]
        readings = self._stream.for_an_alert(now)
        await self._bus.publish([*map(venue.quote, self._tape.symbols), *marks, *readings, StreamHealth(True, True, now)])


def _next_waypoint(now_ms: int) -> int:
    minute = now_ms - now_ms % MINUTE_MS
    return min([minute + at for at in WAYPOINTS_MS if minute + at > now_ms], default=minute + MINUTE_MS)
