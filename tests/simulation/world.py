"""The whole trader in one process under virtual time: real trader, real venue, in-memory ports, a market on a script.

``simulate`` plays a price path (seconds, price) for BTC, which the story may change by ``go``; ETH and SOL follow by their β.
Faults are set per purpose of order on ``world.faults``. Everything the venue and the journal know is there to be asserted on.
The market moves in small steps while something is going on, and in large ones while nothing is.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, TypeVar

from simulation.faulty_ports import Faults, HeardJournal, SimulatedExchange, fire_otherwise

from app.bus.envelopes import advanced_envelope as request_envelope
from app.bus.in_memory import InMemoryInbox, InMemoryLease, InMemoryMarketBus, InMemoryServer
from app.bus.port import AlertEnvelope
from app.domain.advanced_rules import AdvancedRules
from app.domain.instrument import Side
from app.domain.market import (
    MINUTE_MS,
    Bar,
    BarIndicators,
    BetaReading,
    CorrelationReading,
    MarketMessage,
    MarkPrice,
    StreamHealth,
)
from app.domain.orders import Order
from app.domain.plan import OrderName, Plan, Purpose, trade_id_for
from app.domain.requests import AdvancedRequest, parse_request
from app.domain.rules import TradingRules
from app.domain.signal import alert_key, parse_alert
from app.exchange.errors import ExchangeError
from app.replay.invariants import Invariants
from app.simulator.venue import Tick, Venue
from app.simulator.venue_state import VenueConfig
from app.simulator.venue_types import AlgoOrder, AlgoStatus, ReduceOnlyPolicy
from app.simulator.virtual_time import VirtualClock, VirtualTimeLoop, run_virtual
from app.storage.audit import audit_trade
from app.storage.codec import load
from app.storage.in_memory import JournalStore
from app.storage.port import Note, StoredTrade
from app.trader.config import TraderConfig
from app.trader.service import Trader

T = TypeVar("T")
Path = Sequence[tuple[float, float]]


START_MS = 1_750_000_000_000 - 1_750_000_000_000 % (15 * MINUTE_MS) + 10 * MINUTE_MS
BETAS = {"ETHUSDT": 1.1, "SOLUSDT": 1.3}
PRICES = {"BTCUSDT": Decimal(85_000), "ETHUSDT": Decimal(1_800), "SOLUSDT": Decimal(140)}
BLOCKS: Mapping[Side, Mapping[str, int]] = {
    Side.BUY: {"ob_top": 84_900, "ob_bottom": 84_720},  # a stop at 84 600
    Side.SELL: {"ob_top": 85_280, "ob_bottom": 85_100},  # at 85 400
}
STEP_S = 0.1
QUIET_STEP_S = 0.9  # a quote is fresh for a second
BUSY_S = 3.0


@dataclass
class World:
    loop: VirtualTimeLoop
    clock: VirtualClock
    rules: TradingRules
    venue: Venue
    server: InMemoryServer  # of the inbox and the lease
    market_server: InMemoryServer
    store: JournalStore
    path: Sequence[tuple[float, Decimal]]
    bars: dict[int, BarIndicators] = field(default_factory=dict)
    betas: Mapping[str, float] = field(default_factory=lambda: dict(BETAS))
    publishes: bool = True  # the stream node lives; without it the bus keeps what it said last
    atr14: float = 200.0
    supertrend: tuple[float, bool] = (84_700.0, True)
    correlation: float = 0.85
    turnover: float = 2e7  # USDT in 15 minutes, of each symbol
    funding_rate: Decimal = Decimal("0.00005")
    volume: Decimal = Decimal(5)
    follow: float = 1.0  # how much of their β ETH and SOL follow
    foreign: dict[str, Decimal] = field(default_factory=dict)  # positions that are none of the trade's business
    live: bool = False
    key: str = "k"
    exchange_name: str = "paper"
    advanced: AdvancedRules = field(default_factory=AdvancedRules)
    faults: Faults = field(default_factory=Faults)
    placed: list[Order] = field(default_factory=list)
    start_ms: int = START_MS
    watch: Invariants | None = None  # looks at I1 to I7 after each event
    trader: Trader | None = None
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    ready_at: float = 0.0
    _busy_until: float = 0.0
    _hurry: asyncio.Event = field(default_factory=asyncio.Event)
    _placed_before: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: list[asyncio.Task[Any]] = field(default_factory=list)

    # --- lifetime of the parts ------------------------------------------------------------------------------------

    async def start(self) -> None:
        self._tasks.append(asyncio.create_task(self._market()))
        await self.clock.sleep(STEP_S * 2)
        await self.start_trader()

    async def start_trader(self) -> None:
        """Returns once it is ready for alerts: its live trades are taken up by then."""
        self.stop = asyncio.Event()
        config = TraderConfig(self.rules, self.live, self.key, self.exchange_name, advanced=self.advanced)
        lease = InMemoryLease(self.server, "trader", "site-1", ttl_s=5.0)
        self.exchange = SimulatedExchange(self.venue, self.clock, self.faults, self.placed, self.watch)
        self.journal = HeardJournal(self.store, self._wake, self.watch)
        inbox, bus = InMemoryInbox(self.server), InMemoryMarketBus(self.market_server)
        self.trader = Trader(config, self.exchange, inbox, bus, self.journal, lease, self.clock)
        self._running = asyncio.create_task(self.trader.run(self.stop))
        beats = InMemoryInbox(self.server)
        while await beats.last_beat("trader") is None:
            self._raise_if_dead()
            await self.clock.sleep(0.02)
        self.ready_at = self.clock.monotonic()
        if self.watch is not None:
            self.watch.back()

    async def kill_trader(self) -> None:
        """As kill -9 would: nothing is said, nothing is finished; what the venue has, or is on its way there, is what it has."""
        self.journal.is_dead = True
        if self.watch is not None:
            self.watch.absent()
        self._running.cancel()
        await asyncio.wait([self._running])
        self.exchange.is_heard = False
        self.server.expiring.pop("beat:trader", None)

    async def start_patiently(self) -> None:
        """As a supervisor would: again and again until it stays up."""
        is_up = False
        while not is_up:
            try:
                await self.start_trader()
                is_up = True
            except* ExchangeError:
                await self.clock.sleep(1.0)

    async def restart_trader(self, after_s: float) -> None:
        await self.kill_trader()
        await self.clock.sleep(after_s)
        await self.start_trader()

    async def finish(self) -> None:
        self.stop.set()
        try:
            await self._running
        finally:
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
        bus = InMemoryMarketBus(self.market_server)
        last_minute = -1
        while True:
            elapsed = self.clock.monotonic()
            now_ms = self.start_ms + round(elapsed * 1000)
            if self.watch is not None:
                self.watch.time_passes()
            self.move_to(self.price_at(elapsed), now_ms)
            messages: list[MarketMessage] = [self.venue.quote(symbol) for symbol in PRICES]
            messages += [MarkPrice(s, self.venue.mark_price(s), self.funding_rate, now_ms + 3_600_000, now_ms) for s in PRICES]
            minute = now_ms // MINUTE_MS
            if minute != last_minute:
                last_minute = minute
                messages += self._closed_bars(minute * MINUTE_MS)
            messages.append(StreamHealth(True, True, now_ms))
            if self.market_server.reachable and self.publishes:
                await bus.publish(messages)
            self._wake()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), self._next_step(elapsed))
            self._hurry.clear()

    def move_to(self, btc: Decimal, now_ms: int, *, jump: bool = False) -> None:
        move = btc / PRICES["BTCUSDT"] - 1
        ticks = [Tick("BTCUSDT", btc, self.volume, jump)]
        for symbol, beta in BETAS.items():
            price = (PRICES[symbol] * (1 + move * Decimal(str(beta * self.follow)))).quantize(Decimal("0.01"))
            ticks.append(Tick(symbol, price, self.volume * 100, jump))
        self.venue.apply(ticks, now_ms)
        if self.trader is not None:
            self.exchange.pump()

    def _next_step(self, elapsed: float) -> float:
        if self.clock.monotonic() < self._busy_until:
            return STEP_S
        bend = next((seconds for seconds, _ in self.path if seconds > elapsed + 0.001), elapsed + QUIET_STEP_S)
        return min(QUIET_STEP_S, bend - elapsed)

    def busy(self) -> None:
        if self.clock.monotonic() >= self._busy_until:
            self._hurry.set()
        self._busy_until = self.clock.monotonic() + BUSY_S

    def _wake(self) -> None:
        if len(self.placed) != self._placed_before:
            self._placed_before = len(self.placed)
            self.busy()
        self._changed.set()
        self._changed = asyncio.Event()

    def _closed_bars(self, now_ms: int) -> list[MarketMessage]:
        found: list[MarketMessage] = [
            BetaReading(symbol, "BTCUSDT", beta, self.correlation, 0.6, 60, now_ms) for symbol, beta in self.betas.items()
        ]
        interval = self.rules.timeframe_ms
        open_ms = now_ms - now_ms % interval - interval
        atrs = {"BTCUSDT": self.atr14, "ETHUSDT": 6.0, "SOLUSDT": 0.6}
        found += self._triple_readings(now_ms) if self.rules.pairs else []
        for symbol, atr in atrs.items():
            close = float(self.venue.last_price(symbol))
            stop, is_long = self.supertrend
            found.append(BarIndicators(symbol, interval, open_ms, close, atr, stop, is_long, 2.0))
        return found

    def _triple_readings(self, now_ms: int) -> list[MarketMessage]:
        pairs = [CorrelationReading(second, first, self.correlation, 60, now_ms) for first, second in self.rules.pairs]
        quarter_ms = 15 * MINUTE_MS
        open_ms = now_ms - now_ms % quarter_ms - quarter_ms
        closes = {symbol: float(self.venue.last_price(symbol)) for symbol in PRICES}
        bars = [Bar(s, quarter_ms, open_ms, *[close] * 4, volume=self.turnover / close) for s, close in closes.items()]
        return [*pairs, *bars]

    async def go(self, price: Decimal | float, seconds: float = 20.0) -> None:
        """Straight to that BTC price from here, in so many seconds; returns there."""
        now = self.clock.monotonic()
        to = Decimal(str(price)).quantize(Decimal("0.1"))
        self.path = [(now, self.venue.last_price("BTCUSDT")), (now + seconds, to)]
        self._hurry.set()
        await self.until(lambda: self.clock.monotonic() >= now + seconds, seconds + 5)

    async def go_r(self, trade_id: str, r: float, seconds: float = 20.0) -> None:
        """To so many R from the average entry, in the trade's favour when positive."""
        await self.go(self.level(trade_id, r), seconds)

    def level(self, trade_id: str, r: float) -> Decimal:
        entered = self.notes(trade_id, "entered")[0].data
        plan = load(Plan, self.store.plans[trade_id])
        return Decimal(entered["average_entry"]) + plan.side.sign * Decimal(str(r)) * Decimal(entered["r_per_unit"])

    def stick_triggers(self, purpose: Purpose) -> None:
        """From now on such stops are handed to the matching engine and never come back."""
        fire_otherwise(self.venue, purpose, AlgoStatus.TRIGGERING, "")

    def reject_triggers(self, purpose: Purpose) -> None:
        """From now on the matching engine refuses such stops when they trigger."""
        fire_otherwise(self.venue, purpose, AlgoStatus.REJECTED, "Reduce Only reject")

    # --- what the outside does ------------------------------------------------------------------------------------------

    async def alert(self, **fields: Any) -> str:
        """Put an alert into the inbox, as the gateway would. Returns the id of the trade it may become."""
        self.busy()
        body = json.dumps({"symbol": "BINANCE:BTCUSDT.P", "side": "BUY", **fields}, default=str)
        parsed = parse_alert(body)
        key, ttl = alert_key(parsed, body.encode())
        envelope = AlertEnvelope("", key, ttl, parsed.to_json(), self.clock.wall_ms(), self.clock.monotonic())
        envelope = replace(envelope, alert_id=trade_id_for(envelope.lasting_key))
        inbox = InMemoryInbox(self.server)
        inbox.announce()
        await inbox.put(envelope)
        return envelope.alert_id

    async def ask(self, action: str, symbol: str = "ETHUSDT", **fields: Any) -> str:
        """Put a request of the advanced webhook into the inbox, as the gateway would. Returns its id."""
        self.busy()
        sized = {} if action == "close" else {"balance_percentage": 0.25, "leverage": 10}
        body = json.dumps({"symbol": symbol, "action": action, **sized, **fields}, default=str).encode()
        asked = parse_request(body)
        assert isinstance(asked, AdvancedRequest), asked
        envelope = request_envelope(asked, body, self.clock.wall_ms(), self.clock.monotonic())
        await InMemoryInbox(self.server).put(envelope)
        return envelope.alert_id

    async def asks(self, action: str, symbol: str = "ETHUSDT", **fields: Any) -> Mapping[str, Any]:
        """The same, and its answer."""
        answer = await self.reply(await self.ask(action, symbol, **fields), 40.0)
        assert answer is not None, f"no answer to {action} {symbol}"
        return answer

    async def enters(self, side: Side = Side.BUY, *, block: bool = True, **fields: Any) -> str:
        """An alert, and the trade that has filled and is protected: stop, targets and backstop rest."""
        trade_id = await self.alert(side=side.value, **(BLOCKS[side] if block else {}), **fields)
        await self.until_said(trade_id, "protected")
        await self.clock.sleep(0.05)
        return trade_id

    async def tell(self, *messages: MarketMessage) -> None:
        """What the stream node says beside the market this world makes."""
        await InMemoryMarketBus(self.market_server).publish(messages)

    async def operator(self, command: str, **arguments: str) -> Mapping[str, Any] | None:
        name = "-".join(("operator", command, *arguments.values(), str(self.clock.monotonic())))
        body = {"command": command, **arguments}
        envelope = AlertEnvelope(name, name, 60, body, 0, self.clock.monotonic(), source="operator")
        await InMemoryInbox(self.server).put(envelope)
        return await self.reply(name)

    async def reply(self, alert_id: str, timeout_s: float = 10.0) -> Mapping[str, Any] | None:
        return await InMemoryInbox(self.server).wait_reply(alert_id, timeout_s)

    async def until(self, condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
        """Looks after each step of the market and each entry of the journal."""
        ends = self.clock.monotonic() + timeout_s
        while not condition():
            self._raise_if_dead()
            if self.clock.monotonic() > ends:
                raise AssertionError(f"did not come true within {timeout_s} s of virtual time")
            await self._changed.wait()

    async def until_said(self, trade_id: str, kind: str, *, timeout_s: float = 60.0, **data: Any) -> Mapping[str, Any]:
        """The first note of that kind, with these facts, in the journal."""
        found: list[Note] = []

        def is_said() -> bool:
            found.extend(note for note in self.notes(trade_id, kind) if all(note.data.get(k) == v for k, v in data.items()))
            return bool(found)

        await self.until(is_said, timeout_s)
        return found[0].data

    def notes(self, trade_id: str, kind: str) -> list[Note]:
        tagged = f'"{kind}"'  # most notes need not be decoded
        notes = [load(Note, text) for owner, text in self.store.notes if owner == trade_id and tagged in text]
        return [note for note in notes if note.kind == kind]

    async def stored(self, trade_id: str) -> StoredTrade:
        stored = await self.journal.trade(trade_id)
        assert stored is not None, f"no trade {trade_id} in the journal"
        return stored

    async def until_closed(self, trade_id: str, timeout_s: float = 2_400.0) -> StoredTrade:
        await self.until(lambda: trade_id in self.store.closings, timeout_s)
        return await self.stored(trade_id)

    async def ends_properly(self, trade_id: str, *, timeout_s: float = 2_400.0, ignoring: Collection[str] = ()) -> StoredTrade:
        """The trade closes and is beyond reproach: by its journal, at the venue, and no client id was ever used twice."""
        stored = await self.until_closed(trade_id, timeout_s)
        await self.clock.sleep(6.0)  # whatever was still on its way has arrived by now
        stored = await self.stored(trade_id)
        positions = {symbol: self.position(symbol) - self.foreign.get(symbol, Decimal(0)) for symbol in PRICES}
        breaches = [b for b in audit_trade(stored, self.open_ids(), positions) if b.invariant not in ignoring]
        assert not breaches, breaches
        ids = [order.client_id for order in self.placed]
        assert len(ids) == len(set(ids))
        return stored

    def covered(self, symbol: str = "BTCUSDT") -> bool:
        """The venue itself holds a stop of ours for the whole position."""
        held = self.position(symbol)
        stops = [a for a in self.venue.open_algos(symbol) if (a.side.sign * held) < 0]
        return held == 0 or any(stop.close_position or stop.quantity >= abs(held) for stop in stops if not is_backstop(stop))

    def position(self, symbol: str = "BTCUSDT") -> Decimal:
        return self.venue.position(symbol).quantity

    def open_ids(self) -> set[str]:
        """Client ids of everything resting at the venue."""
        plain = {order.client_id for order in self.venue.open_orders()}
        return plain | {algo.client_id for algo in self.venue.open_algos()}


def is_backstop(algo: AlgoOrder) -> bool:
    name = OrderName.parse(algo.client_id)
    return name is not None and name.purpose is Purpose.BACKSTOP


def simulate(
    story: Callable[[World], Coroutine[Any, Any, T]],
    path: Path = ((0, 85_000),),
    *,
    policy: ReduceOnlyPolicy = ReduceOnlyPolicy.PRIORITY,
    rules: TradingRules | None = None,
    balance: Decimal = Decimal(10_000),
    watched: bool = True,
    start_ms: int = START_MS,
    **settings: Any,
) -> T:
    """Play ``story`` in a fresh world; ``settings`` are fields of World. ``watched``: the invariants hold all along."""
    loop = VirtualTimeLoop()
    clock = VirtualClock(loop, start_ms)

    async def play() -> T:
        config = VenueConfig(balance=balance, reduce_only_policy=policy)
        venue = Venue(PRICES, start_ms, config)
        inbox, market = InMemoryServer(clock), InMemoryServer(clock)
        points = [(seconds, Decimal(str(price))) for seconds, price in path]
        world = World(
            loop, clock, rules or TradingRules(), venue, inbox, market, JournalStore(), points, start_ms=start_ms, **settings
        )
        world.watch = Invariants(venue, clock, lag_s=1.0) if watched else None
        await world.start()
        try:
            told = await story(world)
        finally:
            await world.finish()
        assert world.watch is None or not world.watch.broken, world.watch.broken
        return told

    return run_virtual(play(), loop)


def with_rules(**changes: Any) -> TradingRules:
    """Rules with some sections replaced by ``model_copy`` updates: ``with_rules(entry={"style": "ioc"})``."""
    base = TradingRules()
    sections = {name: getattr(base, name).model_copy(update=update) for name, update in changes.items()}
    return base.model_copy(update=sections)
