"""The stage of the execution scenarios without its trader: the simulator over real sockets, and a market that goes where a story
sends it. Exchange time runs with the host's clock and may be sent ahead. What goes wrong is a fault plan, posted to the
simulator as its user would.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import aiohttp
from simulation.world import BETAS, PRICES, START_MS

from app.bus.port import MarketBus
from app.clock import SystemClock
from app.domain.instrument import Side
from app.domain.market import MINUTE_MS, BarIndicators, BetaReading, MarketMessage, MarkPrice, StreamHealth
from app.domain.plan import OrderName, Purpose
from app.replay.invariants import Invariants
from app.simulator.server import RunningSimulator
from app.simulator.tape import Candle
from app.simulator.venue import Tick
from app.simulator.venue_types import AlgoOrder

PATIENCE_S = 60.0
BEAT_S = 0.05  # of the market
STRIDES = 5  # beats in which the market goes to another price


class StillTape:
    """A market that moves only when the story moves it."""

    symbols = tuple(PRICES)
    first_ms = start_ms = START_MS
    end_ms = None

    def candle(self, symbol: str, open_ms: int) -> Candle:
        price = PRICES[symbol]
        return Candle(open_ms, price, price, price, price, Decimal(0))


class ScenarioMarket:
    """The simulator, its market, and what there is to ask of both."""

    def __init__(self, simulator: RunningSimulator, http: aiohttp.ClientSession, volume: Decimal, follow: float) -> None:
        self.clock = SystemClock()
        self.simulator, self.venue = simulator, simulator.venue
        self.volume, self.follow = volume, follow
        self.supertrend = (84_700.0, True)
        self.funding_rate = Decimal("0.00005")
        self.publishes = True
        self.has_tape = simulator.runtime.speed > 0  # the market moves by itself
        self.watch: Invariants | None = None
        self._http = http
        self._ahead: list[tuple[Decimal, int]] = []  # where the next beats go, and the exchange time they take beyond the host's
        self._minute = -1
        self._changed = asyncio.Event()

    # -- the market ---------------------------------------------------------------------------------------------------

    async def run(self, bus: MarketBus) -> None:
        """Until cancelled: a beat of the market every 50 ms, told on the bus as the stream node would."""
        before = self.clock.monotonic()
        while True:
            now = self.clock.monotonic()
            price, extra_ms = self._ahead.pop(0) if self._ahead else (self.price, 0)
            if not self.has_tape:
                self.move(price, round((now - before) * 1000) + extra_ms)
            before = now
            if self.publishes:
                await bus.publish(self._messages())
            self.wake()
            await self.clock.sleep(BEAT_S)

    @property
    def price(self) -> Decimal:
        return self.venue.last_price("BTCUSDT")

    def move(self, btc: Decimal, ms: int = 0, *, jump: bool = False) -> None:
        """There at once, everybody at the exchange is told; ETH and SOL follow by their β."""
        if self.watch is not None:
            self.watch.time_passes()
        change = btc / PRICES["BTCUSDT"] - 1
        ticks = [Tick("BTCUSDT", btc, self.volume, jump)]
        for symbol, beta in BETAS.items():
            price = (PRICES[symbol] * (1 + change * Decimal(str(beta * self.follow)))).quantize(Decimal("0.01"))
            ticks.append(Tick(symbol, price, self.volume * 100, jump))
        self.venue.apply(ticks, self.venue.now_ms + ms)
        self.simulator.runtime.publish()

    async def go(self, price: Decimal | float, seconds: float = 0.0) -> None:
        """In a few strides to that BTC price, and returns there; ``seconds`` of exchange time more than it takes."""
        start, goal = self.price, Decimal(str(price))
        steps = [start + (goal - start) * stride / STRIDES for stride in range(1, STRIDES + 1)]
        self._ahead += [(step.quantize(Decimal("0.1")), round(seconds * 1000 / STRIDES)) for step in steps]
        await self.until("the market's strides", lambda: not self._ahead)

    async def pass_time(self, seconds: float) -> None:
        """So much exchange time passes at once."""
        await self.go(self.price, seconds)

    def _messages(self) -> list[MarketMessage]:
        now_ms = self.venue.now_ms
        next_funding = self.venue.next_funding_ms
        messages: list[MarketMessage] = [self.venue.quote(symbol) for symbol in PRICES]
        messages += [MarkPrice(s, self.venue.mark_price(s), self.funding_rate, next_funding, now_ms) for s in PRICES]
        messages.append(StreamHealth(True, True, now_ms))
        if now_ms // MINUTE_MS != self._minute:
            self._minute = now_ms // MINUTE_MS
            messages += self._bars(self._minute * MINUTE_MS)
        return messages

    def _bars(self, minute_ms: int) -> list[MarketMessage]:
        interval = 3 * MINUTE_MS
        open_ms = minute_ms - minute_ms % interval - interval
        stop, is_long = self.supertrend
        atrs = {"BTCUSDT": 200.0, "ETHUSDT": 6.0, "SOLUSDT": 0.6}
        bars = [
            BarIndicators(symbol, interval, open_ms, float(self.venue.last_price(symbol)), atr, stop, is_long, 2.0)
            for symbol, atr in atrs.items()
        ]
        return [*bars, *(BetaReading(s, "BTCUSDT", beta, 0.85, 0.6, 60, minute_ms) for s, beta in BETAS.items())]

    async def next_bar(self, level: Decimal, side: Side) -> None:
        """The next 3-minute bar closes with SuperTrend at ``level`` and in favour of ``side``."""
        self.supertrend = (float(level), side is Side.BUY)
        await self.pass_time(180)

    # -- what goes wrong ----------------------------------------------------------------------------------------------

    async def break_with(self, *rules: Mapping[str, Any]) -> None:
        """From now on this fault plan is in force, and no other."""
        await self.control("faults", {"seed": 1, "fault": list(rules)})

    async def control(self, path: str, body: Mapping[str, Any]) -> Any:
        async with self._http.post(f"/simulator/{path}", json=body) as response:
            answer = await response.json()
            assert response.status == 200, answer
            return answer

    async def struck(self) -> list[int]:
        """How often each rule of the plan has struck."""
        async with self._http.get("/simulator/faults") as response:
            return [rule["struck"] for rule in (await response.json())["fault"]]

    async def by_hand(self, symbol: str, side: Side, quantity: Decimal) -> None:
        await self.control("trade", {"symbol": symbol, "side": side.value, "quantity": str(quantity)})

    # -- what the exchange has ----------------------------------------------------------------------------------------

    def position(self, symbol: str = "BTCUSDT") -> Decimal:
        return self.venue.held(symbol)

    def positions(self) -> dict[str, Decimal]:
        return {symbol: held for symbol in PRICES if (held := self.position(symbol))}

    def open_ids(self) -> set[str]:
        plain = {order.client_id for order in self.venue.open_orders()}
        return plain | {algo.client_id for algo in self.venue.open_algos()}

    def stops(self, symbol: str = "BTCUSDT") -> list[AlgoOrder]:
        """Working stops; the backstop is none."""
        return [algo for algo in self.venue.open_algos(symbol) if purpose_of(algo.client_id) is Purpose.STOP]

    def has_backstop(self) -> bool:
        return any(purpose_of(algo.client_id) is Purpose.BACKSTOP for algo in self.venue.open_algos("BTCUSDT"))

    def covered(self, symbol: str = "BTCUSDT") -> bool:
        """A working stop of ours rests there for the whole position."""
        held = self.position(symbol)
        stops = [stop for stop in self.stops(symbol) if stop.side.sign * held < 0]
        return held == 0 or any(stop.close_position or stop.quantity >= abs(held) for stop in stops)

    def all_covered(self) -> bool:
        return all(self.covered(symbol) for symbol in PRICES)

    def taken(self) -> list[str]:
        """Client ids of every order the exchange has ever taken from us, plain and conditional."""
        plain = [order.client_id for symbol in PRICES for order in self.venue.all_orders(symbol)]
        algos = [algo.client_id for symbol in PRICES for algo in self.venue.all_algos(symbol)]
        return [client_id for client_id in dict.fromkeys(plain + algos) if purpose_of(client_id)]

    def entries(self) -> list[str]:
        """Those that would open a position."""
        return [client_id for client_id in self.taken() if (purpose := purpose_of(client_id)) and purpose.is_entry]

    # -- waiting ------------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def until(self, what: str, condition: Callable[[], bool], within_s: float = PATIENCE_S) -> None:
        """Looks after each beat of the market and each entry of the journal."""
        ends = self.clock.monotonic() + within_s
        while not condition():
            self.check()
            assert self.clock.monotonic() < ends, f"not within {within_s:g} s: {what}\n{self.story()}"
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), 1.0)

    def check(self) -> None:
        """Raises when somebody who should live has died."""

    def story(self) -> str:
        """What a failure should show."""
        return f"positions {self.positions()}, open {sorted(self.open_ids())}"


def purpose_of(client_id: str) -> Purpose | None:
    name = OrderName.parse(client_id)
    return None if name is None else name.purpose
