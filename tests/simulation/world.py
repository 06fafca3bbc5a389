"""The whole trader in one process under virtual time: real trader, real venue, in-memory ports, a market on a script.

``World.run`` plays a price path (seconds, price) for BTC; ETH and SOL follow by their β. Faults are set per purpose of order on
``world.exchange``. Everything the venue and the journal know is there to be asserted on.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeVar

from app.bus.in_memory import InMemoryInbox, InMemoryLease, InMemoryMarketBus, InMemoryServer
from app.bus.port import AlertEnvelope
from app.domain.market import MINUTE_MS, BarIndicators, BetaReading, MarketMessage, MarkPrice, StreamHealth
from app.domain.orders import ExchangeEvent, Order, OrderKind, OrderState
from app.domain.plan import OrderName, Purpose, trade_id_for
from app.domain.rules import TradingRules
from app.domain.signal import alert_key, parse_alert
from app.exchange.errors import ExchangeError
from app.exchange.in_memory import InMemoryExchange
from app.simulator.venue import Tick, Venue
from app.simulator.venue_state import VenueConfig
from app.simulator.venue_types import ReduceOnlyPolicy
from app.simulator.virtual_time import VirtualClock, VirtualTimeLoop, run_virtual
from app.storage.in_memory import InMemoryJournal, JournalStore
from app.storage.port import StoredTrade
from app.trader.config import TraderConfig
from app.trader.service import Trader

T = TypeVar("T")

START_MS = 1_750_000_000_000 - 1_750_000_000_000 % (15 * MINUTE_MS) + 10 * MINUTE_MS
BETAS = {"ETHUSDT": 1.1, "SOLUSDT": 1.3}
PRICES = {"BTCUSDT": Decimal(85_000), "ETHUSDT": Decimal(1_800), "SOLUSDT": Decimal(140)}
STEP_S = 0.1
LATENCY_S = 0.008

Fault = Callable[[Order], Awaitable[None]]  # may raise, wait, or do something before the order goes out


class SimulatedExchange(InMemoryExchange):
    """The in-memory adapter with a round-trip time, and faults by purpose of the order: each list is used up in order."""

    def __init__(self, venue: Venue, clock: VirtualClock) -> None:
        super().__init__(venue)
        self._clock = clock
        self.before: dict[Purpose, list[Fault]] = {}
        self.after: dict[Purpose, list[Fault]] = {}
        self.placed: list[Order] = []
        self.hidden: set[type] = set()  # kinds of private events that do not arrive

    async def place(self, order: Order) -> OrderState:
        await self._clock.sleep(LATENCY_S / 2)
        await self._fault(self.before, order)
        self.placed.append(order)
        state = await super().place(order)
        await self._fault(self.after, order)
        await self._clock.sleep(LATENCY_S / 2)
        return state

    async def cancel(self, symbol: str, client_id: str, kind: OrderKind) -> OrderState | None:
        await self._clock.sleep(LATENCY_S)
        return await super().cancel(symbol, client_id, kind)

    async def find(self, symbol: str, client_id: str, kind: OrderKind) -> OrderState | None:
        await self._clock.sleep(LATENCY_S)
        return await super().find(symbol, client_id, kind)

    async def events(self) -> AsyncIterator[ExchangeEvent]:
        async for event in super().events():
            if type(event) not in self.hidden:
                yield event

    async def _fault(self, faults: dict[Purpose, list[Fault]], order: Order) -> None:
        name = OrderName.parse(order.client_id)
        if name is not None and faults.get(name.purpose):
            await faults[name.purpose].pop(0)(order)


def refuses(error: ExchangeError) -> Fault:
    async def fault(order: Order) -> None:
        raise error

    return fault


@dataclass
class World:
    loop: VirtualTimeLoop
    clock: VirtualClock
    rules: TradingRules
    venue: Venue
    exchange: SimulatedExchange
    server: InMemoryServer
    store: JournalStore
    path: Sequence[tuple[float, Decimal]]
    bars: dict[int, BarIndicators] = field(default_factory=dict)
    betas: Mapping[str, float] = field(default_factory=lambda: dict(BETAS))
    atr14: float = 200.0
    supertrend: tuple[float, bool] = (84_700.0, True)
    trader: Trader | None = None
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: list[asyncio.Task[Any]] = field(default_factory=list)

    # --- lifetime of the parts ------------------------------------------------------------------------------------

    async def start(self) -> None:
        self._tasks.append(asyncio.create_task(self._market()))
        await self.clock.sleep(STEP_S * 2)
        await self.start_trader()

    async def start_trader(self) -> None:
        self.stop = asyncio.Event()
        config = TraderConfig(self.rules, live=False, key_fingerprint="k")
        lease = InMemoryLease(self.server, "trader", "site-1", ttl_s=5.0)
        self.journal = InMemoryJournal(self.store)
        inbox, bus = InMemoryInbox(self.server), InMemoryMarketBus(self.server)
        self.trader = Trader(config, self.exchange, inbox, bus, self.journal, lease, self.clock)
        self._running = asyncio.create_task(self.trader.run(self.stop))
        inbox_for_beats = InMemoryInbox(self.server)
        while await inbox_for_beats.last_beat("trader") is None:
            self._raise_if_dead()
            await self.clock.sleep(0.05)

    async def kill_trader(self) -> None:
        """As kill -9 would: nothing is said, nothing is finished; what the venue has is what it has."""
        self._running.cancel()
        await asyncio.wait([self._running])
        old = self.exchange
        self.exchange = SimulatedExchange(self.venue, self.clock)
        self.exchange.placed = old.placed
        self.server.expiring.pop("beat:trader", None)

    async def finish(self) -> None:
        self.stop.set()
        await self._running
        for task in self._tasks:
            task.cancel()

    def _raise_if_dead(self) -> None:
        if self._running.done():
            self._running.result()
            raise AssertionError("the trader has ended")

    # --- the market ---------------------------------------------------------------------------------------------------

    def price_at(self, seconds: float) -> Decimal:
        previous = self.path[0]
        for point in self.path:
            if point[0] >= seconds:
                span = point[0] - previous[0]
                share = Decimal(str((seconds - previous[0]) / span)) if span else Decimal(1)
                return (previous[1] + (point[1] - previous[1]) * share).quantize(Decimal("0.1"))
            previous = point
        return self.path[-1][1]

    async def _market(self) -> None:
        bus = InMemoryMarketBus(self.server)
        start = self.clock.monotonic()
        last_minute = -1
        while True:
            elapsed = self.clock.monotonic() - start
            btc = self.price_at(elapsed)
            move = btc / PRICES["BTCUSDT"] - 1
            ticks = [Tick("BTCUSDT", btc, Decimal(5))]
            for symbol, beta in BETAS.items():
                price = (PRICES[symbol] * (1 + move * Decimal(str(beta)))).quantize(Decimal("0.01"))
                ticks.append(Tick(symbol, price, Decimal(500)))
            now_ms = START_MS + round(elapsed * 1000)
            self.venue.apply(ticks, now_ms)
            self.exchange.pump()
            messages: list[MarketMessage] = [self.venue.quote(symbol) for symbol in PRICES]
            messages += [MarkPrice(s, self.venue.mark_price(s), Decimal("0.00005"), now_ms + 3_600_000, now_ms) for s in PRICES]
            minute = now_ms // MINUTE_MS
            if minute != last_minute:
                last_minute = minute
                messages += self._closed_bars(minute * MINUTE_MS)
            messages.append(StreamHealth(True, True, now_ms))
            if self.server.reachable:
                await bus.publish(messages)
            await self.clock.sleep(STEP_S)

    def _closed_bars(self, now_ms: int) -> list[MarketMessage]:
        found: list[MarketMessage] = [
            BetaReading(symbol, "BTCUSDT", beta, 0.85, 0.6, 60, now_ms) for symbol, beta in self.betas.items()
        ]
        interval = self.rules.timeframe_ms
        open_ms = now_ms - now_ms % interval - interval
        atrs = {"BTCUSDT": self.atr14, "ETHUSDT": 6.0, "SOLUSDT": 0.6}
        for symbol, atr in atrs.items():
            close = float(self.venue.last_price(symbol))
            stop, is_long = self.supertrend
            found.append(BarIndicators(symbol, interval, open_ms, close, atr, stop, is_long, 2.0))
        return found

    # --- what the outside does ------------------------------------------------------------------------------------------

    async def alert(self, **fields: Any) -> str:
        """Put an alert into the inbox, as the gateway would. Returns the id of the trade it may become."""
        body = json.dumps({"symbol": "BINANCE:BTCUSDT.P", "side": "BUY", **fields}, default=str)
        parsed = parse_alert(body)
        key, ttl = alert_key(parsed, body.encode())
        envelope = AlertEnvelope(trade_id_for(key), key, ttl, parsed.to_json(), self.clock.wall_ms(), self.clock.monotonic())
        await InMemoryInbox(self.server).put(envelope)
        return envelope.alert_id

    async def operator(self, command: str) -> None:
        name = f"operator-{command}-{self.clock.monotonic()}"
        envelope = AlertEnvelope(name, name, 60, {"command": command}, 0, self.clock.monotonic(), source="operator")
        await InMemoryInbox(self.server).put(envelope)

    async def reply(self, alert_id: str, timeout_s: float = 10.0) -> Mapping[str, Any] | None:
        return await InMemoryInbox(self.server).wait_reply(alert_id, timeout_s)

    async def until(self, condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
        ends = self.clock.monotonic() + timeout_s
        while not condition():
            self._raise_if_dead()
            if self.clock.monotonic() > ends:
                raise AssertionError(f"did not come true within {timeout_s} s of virtual time")
            await self.clock.sleep(0.02)

    async def stored(self, trade_id: str) -> StoredTrade:
        await self.journal.flush()
        stored = await self.journal.trade(trade_id)
        assert stored is not None, f"no trade {trade_id} in the journal"
        return stored

    async def until_closed(self, trade_id: str, timeout_s: float = 2_400.0) -> StoredTrade:
        await self.until(lambda: self.trader is not None and trade_id not in self.trader.desk.trades, timeout_s)
        return await self.stored(trade_id)

    def position(self, symbol: str = "BTCUSDT") -> Decimal:
        return self.venue.position(symbol).quantity

    def open_ids(self) -> set[str]:
        """Client ids of everything resting at the venue."""
        plain = {order.client_id for order in self.venue.open_orders()}
        return plain | {algo.client_id for algo in self.venue.open_algos()}


def simulate(
    story: Callable[[World], Coroutine[Any, Any, T]],
    path: Sequence[tuple[float, float]],
    *,
    policy: ReduceOnlyPolicy = ReduceOnlyPolicy.PRIORITY,
    rules: TradingRules | None = None,
    balance: Decimal = Decimal(10_000),
) -> T:
    """Play ``story`` in a fresh world."""
    loop = VirtualTimeLoop()
    clock = VirtualClock(loop, START_MS)

    async def play() -> T:
        config = VenueConfig(balance=balance, reduce_only_policy=policy)
        venue = Venue(PRICES, START_MS, config)
        server = InMemoryServer(clock)
        points = [(seconds, Decimal(str(price))) for seconds, price in path]
        exchange = SimulatedExchange(venue, clock)
        world = World(loop, clock, rules or TradingRules(), venue, exchange, server, JournalStore(), points)
        await world.start()
        try:
            return await story(world)
        finally:
            await world.finish()

    return run_virtual(play(), loop)


def with_rules(**changes: Any) -> TradingRules:
    """Rules with some sections replaced by ``model_copy`` updates: ``with_rules(entry={"style": "ioc"})``."""
    base = TradingRules()
    sections = {name: getattr(base, name).model_copy(update=update) for name, update in changes.items()}
    return base.model_copy(update=sections)
