"""Drives the venue along its tape: exchange time against the host's clock, and what is sent after each step.

Exchange time runs ``speed`` times as fast as the host's. While it runs fast it stands still as long as a signed request is
in flight and for a moment after a private event, an answer to an order, and, while anything is open, the close of a candle,
so that clients can react as they would live.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from app.clock import Clock
from app.domain.market import MINUTE_MS
from app.simulator.auth import check_still_valid
from app.simulator.fault_effects import FaultGate, client_ids
from app.simulator.faults import Asked, FaultPlan, Kind
from app.simulator.feed import Feed
from app.simulator.limits import BINANCE_LIMITS, OrderCounts, RequestCounters, RequestLimits
from app.simulator.operations import Operation, operation_name
from app.simulator.params import Params
from app.simulator.private_stream import PrivateStream
from app.simulator.sockets import BINANCE_SOCKETS, SocketRules
from app.simulator.streams import Subscriptions
from app.simulator.tape import Tape, step_times, ticks
from app.simulator.tape_live import LiveTape
from app.simulator.venue import Venue
from app.simulator.venue_types import OrderUpdate
from app.simulator.wire_market import DayStatistics

ANSWERS_KEPT = 10_000
QUIET_S = 0.03  # how long fast exchange time stands still after something a client may react to
_SLOW_LOOP_S, _FAST_LOOP_S = 0.05, 0.02
_FINE_STEP_MS, _COARSE_STEP_MS = 250, 1_000
_BUSY_S = 0.01  # wall time one turn may spend on steps before others get theirs


@dataclass(frozen=True, slots=True)
class Answered:
    """An order's answer, as written to its socket at ``at`` on the host's monotonic clock (seconds)."""

    at: float
    route: str
    values: Mapping[str, str]
    status: int


class Runtime:
    def __init__(
        self,
        venue: Venue,
        tape: Tape,
        clock: Clock,
        *,
        speed: float = 1.0,
        delay_ms: float = 0.0,
        limits: RequestLimits = BINANCE_LIMITS,
        faults: FaultPlan | None = None,
        sockets: SocketRules = BINANCE_SOCKETS,
    ) -> None:
        self.venue = venue
        self.tape = tape
        self.clock = clock
        self.speed = speed
        self.delay_ms = delay_ms
        self.limits = limits
        self.orders = OrderCounts(limits)
        self.gate = FaultGate(venue, clock, faults or FaultPlan())
        self.sockets = sockets
        self.private = PrivateStream(clock, self.gate.send, sockets)
        self.subscriptions = Subscriptions(clock, lambda: self.gate.is_on(Kind.MARKET_SILENT), sockets)
        self.day = DayStatistics(tape)
        self.feed = Feed(venue, tape, self.subscriptions, self.day)
        self.in_flight = 0
        self.answers: deque[Answered] = deque(maxlen=ANSWERS_KEPT)
        self._quiet_until = 0.0
        self._window_is_fast, self._window_shift_s, self._window_at_s = False, 0.0, clock.monotonic()

    @property
    def has_ended(self) -> bool:
        """A recorded tape has been played to its end; time stands still."""
        return self.tape.end_ms is not None and self.venue.now_ms >= self.tape.end_ms - 1

    def new_counters(self) -> RequestCounters:
        """A pool of request weight with the account's order counts. Fast exchange time counts in its own minutes."""
        return RequestCounters(self.limits, self.orders, self._window_s)

    def _window_s(self) -> float:
        """Seconds that go on without a jump when the speed changes."""
        is_fast = self.speed > 1
        now_s = self.venue.now_ms / 1000 if is_fast else self.clock.monotonic()
        if is_fast is not self._window_is_fast:
            self._window_is_fast, self._window_shift_s = is_fast, self._window_at_s - now_s
        self._window_at_s = now_s + self._window_shift_s
        return self._window_at_s

    @contextmanager
    def request(self) -> Iterator[None]:
        """A signed request in flight."""
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1

    async def execute(self, operation: Operation, values: Mapping[str, str], *, is_order: bool) -> Any:
        """Run one operation and send the events it caused; faults may strike on the way there and back.

        Orders reach the venue ``delay_ms`` after they came in, and are refused there when their recvWindow is over.
        """

        async def at_the_venue() -> Any:
            if is_order and self.delay_ms:
                await self.clock.sleep(self.delay_ms / 1000)
                check_still_valid(values, self.clock.wall_ms())
            try:
                return operation(self.venue, Params(values))
            finally:
                self.publish()
                if is_order:
                    self._be_quiet()

        return await self.faulty(operation_name(operation), values, at_the_venue)

    async def faulty(self, operation: str, values: Mapping[str, str], execute: Callable[[], Awaitable[Any]]) -> Any:
        """``execute`` under the faults of the plan. Raises what it raises, and NoAnswer and HttpRefusal."""
        asked = Asked(operation, client_ids(self.venue, values), values.get("symbol", "").upper() or None)
        return await self.gate.request(asked, values, execute)

    def publish(self) -> bool:
        """Send the private events that are waiting; were there any?"""
        events = self.venue.drain_events()
        if events:
            self.private.publish(events)
            for event in events:
                if isinstance(event, OrderUpdate) and event.trade and event.order.client_id.startswith("autoclose-"):
                    self.feed.liquidation(event.order)
            self._be_quiet()
        return bool(events)

    def _be_quiet(self) -> None:
        self._quiet_until = self.clock.monotonic() + QUIET_S

    @property
    def _holds(self) -> bool:
        return self.speed > 1 and (self.in_flight > 0 or self.clock.monotonic() < self._quiet_until)

    async def run(self) -> None:
        """Until cancelled."""
        before = self.clock.monotonic()
        owed_ms = 0.0
        while True:
            await self.clock.sleep(_SLOW_LOOP_S if self.speed <= 2 else _FAST_LOOP_S)
            now = self.clock.monotonic()
            owed_ms += (now - before) * 1000 * self.speed
            before = now
            self.gate.tick()
            self.publish()
            if isinstance(self.tape, LiveTape):
                self._follow(self.tape)
                continue
            if self._holds:
                owed_ms = 0.0
                continue
            target = self.venue.now_ms + int(owed_ms)
            owed_ms -= int(owed_ms)
            self._play(target)
            self.private.expire_if_due(self.venue.now_ms)

    def _follow(self, market: LiveTape) -> None:
        """Meet every live trade at its price, then let time pass to now."""
        for trade in market.take_trades():
            self.venue.apply([trade.tick], max(trade.time_ms, self.venue.now_ms))
            self.feed.traded(trade.tick.symbol, trade.time_ms, trade.tick.volume, sold=trade.sold)
        for symbol, premium in market.premiums.items():
            self.venue.set_premium(symbol, premium)
        self.venue.advance(max(market.now_ms(), self.venue.now_ms))
        for minute_ms in market.take_closed():
            self.feed.close_minute(minute_ms)
        self.publish()
        self.feed.flush()
        self.private.expire_if_due(self.venue.now_ms)

    def _play(self, target_ms: int) -> None:
        """Step towards ``target_ms``. Fast time stops short where a client may react, and where the steps take too long."""
        if self.tape.end_ms is not None:
            target_ms = min(target_ms, self.tape.end_ms - 1)
        step_ms = _FINE_STEP_MS if self.speed <= 2 else _COARSE_STEP_MS
        busy_until = self.clock.monotonic() + _BUSY_S
        for at_ms in step_times(self.venue.now_ms, target_ms, step_ms):
            moves = ticks(self.tape, self.venue.now_ms, at_ms)
            self.venue.apply(moves, at_ms)
            self.feed.step(moves, at_ms)
            is_news = self.publish() or self._closes_candles(at_ms)
            if (is_news and self.speed > 1) or self.clock.monotonic() > busy_until:
                break
        self.feed.flush()

    def _closes_candles(self, at_ms: int) -> bool:
        """Of interest to whoever has something open: a bar may move a stop, or end a trade."""
        if at_ms % MINUTE_MS or self.venue.is_idle:
            return False
        self._be_quiet()
        return True
