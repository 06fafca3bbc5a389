"""The real trader, on the real ccxt adapter, over real sockets to the simulator: the stage of the execution scenarios.

Trader, simulator and market share the test's event loop; the journal is SQLite on disk; only the bus is in memory. The market
goes where a story sends it, exchange time runs with the host's clock and may be sent ahead. What goes wrong is a fault plan,
posted to the simulator as its user would. The invariants are looked at after each event, and once more when a trade has closed.
"""

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
from exchange_worlds import binance_config
from simulation.world import BETAS, BLOCKS, PRICES, START_MS, with_rules

from app.bus.codec import decode_json
from app.bus.in_memory import InMemoryInbox, InMemoryLease, InMemoryMarketBus, InMemoryServer
from app.bus.port import AlertEnvelope, Inbox, MarketBus
from app.clock import SystemClock
from app.domain.instrument import Side
from app.domain.market import MINUTE_MS, BarIndicators, BetaReading, MarketMessage, MarkPrice, Quote, StreamHealth
from app.domain.orders import ExchangeEvent, Order, OrderState
from app.domain.plan import OrderName, Plan, Purpose, trade_id_for
from app.domain.rules import TradingRules
from app.domain.signal import alert_key, parse_alert
from app.exchange.binance import BinanceExchange
from app.replay.invariants import Invariants
from app.simulator.server import RunningSimulator, running_simulator
from app.simulator.tape import Candle
from app.simulator.tape_synthetic import SyntheticTape
from app.simulator.venue import Tick
from app.simulator.venue_state import ConstantFunding, VenueConfig
from app.simulator.venue_types import AlgoOrder, ReduceOnlyPolicy
from app.storage.audit import audit_trade
from app.storage.port import AlertRecord, Entry, Note, StoredTrade, TradeClosed
from app.storage.sqlite import SqliteJournal
from app.storage.statements import Write
from app.stream.config import StreamConfig
from app.stream.service import run_stream_node
from app.trader.config import TraderConfig
from app.trader.service import Trader

PATIENCE_S = 60.0
JOURNAL_LAG_S = 3.0  # several worlds share one busy host; in the end it has to agree to the last digit
HEARING_S = 0.1  # the exchange's word goes through sockets, and the host has other things to do
RECV_WINDOW_MS = 1_000  # short enough for a test to see it pass
BEAT_S = 0.05  # of the market
STALL_S = 0.3  # nothing at all for so long: the host gave this process no time, which is nobody's fault
STRIDES = 5  # beats in which the market goes to another price
POLICIES = list(ReduceOnlyPolicy)
_ONE_AT_A_TIME = threading.Lock()  # Alembic migrates one journal per process
QUICK_RULES = with_rules(entry={"maker_wait_ms": 60})  # for stories that are not about the maker's wait


class StillTape:
    """A market that moves only when the story moves it."""

    symbols = tuple(PRICES)
    first_ms = start_ms = START_MS
    end_ms = None

    def candle(self, symbol: str, open_ms: int) -> Candle:
        price = PRICES[symbol]
        return Candle(open_ms, price, price, price, price, Decimal(0))


class WatchedExchange(BinanceExchange):
    """The real adapter; says what it sends and what it is told."""

    sent: list[Order]
    watch: Invariants | None = None

    async def place(self, order: Order) -> OrderState:
        if self.watch is not None:
            self.watch.order_sent(order)
        self.sent.append(order)
        return await super().place(order)

    async def events(self) -> AsyncIterator[ExchangeEvent]:
        async for event in super().events():
            if self.watch is not None:
                self.watch.exchange_said(event)
            yield event


class HeardJournal(SqliteJournal):
    """The real journal; tells of every entry, and can die as its process would: what it had not written yet is lost."""

    def __init__(self, path: Path, heard: Callable[[Entry], None], planned: Callable[[Plan], None]) -> None:
        super().__init__(path)
        self._heard = heard
        self._planned = planned
        self._is_dead = False

    def _open(self) -> None:
        with _ONE_AT_A_TIME:
            super()._open()

    def die(self) -> None:
        self._is_dead = True

    def _execute(self, writes: Sequence[Write]) -> None:
        if not self._is_dead:
            super()._execute(writes)

    async def open_trade(self, alert: AlertRecord, plan: Plan) -> None:
        await super().open_trade(alert, plan)
        self._planned(plan)

    def append(self, entry: Entry) -> None:
        if self._is_dead:
            return
        super().append(entry)
        self._heard(entry)


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


class ScenarioWorld(ScenarioMarket):
    """With the trader in this very event loop."""

    def __init__(self, simulator: RunningSimulator, http: aiohttp.ClientSession, volume: Decimal, follow: float) -> None:
        super().__init__(simulator, http, volume, follow)
        self.server, self.market_server = InMemoryServer(self.clock), InMemoryServer(self.clock)
        self.inbox: Inbox = InMemoryInbox(self.server)
        self.entries_written: list[Entry] = []
        self.plans: dict[str, Plan] = {}
        self.sent: list[Order] = []
        self.rules = QUICK_RULES
        self.recv_window_ms = RECV_WINDOW_MS
        self.directory = Path()
        self.tasks: list[asyncio.Task[None]] = []  # market and stream node
        self.is_up = False
        self._running: asyncio.Task[None] | None = None
        self._trap: Callable[[Entry], bool] = lambda entry: False

    # -- the trader ---------------------------------------------------------------------------------------------------

    async def start_trader(self) -> None:
        """Returns once it is ready for alerts: its live trades are taken up by then."""
        self.stop = asyncio.Event()
        self.server.expiring.pop("beat:trader", None)
        self.journal = HeardJournal(self.directory / "journal.sqlite", self._heard, self._planned)
        await self.journal.open()
        config = binance_config(self.simulator, recv_window_ms=self.recv_window_ms, lag_allowance_s=0.5)
        self.exchange = WatchedExchange(config, self.clock)
        self.exchange.sent, self.exchange.watch = self.sent, self.watch
        lease = InMemoryLease(self.server, "trader", "site-1", ttl_s=5.0)
        bus = InMemoryMarketBus(self.market_server)
        trader_config = TraderConfig(self.rules, live=False, key_fingerprint="k")
        trader = Trader(trader_config, self.exchange, InMemoryInbox(self.server), bus, self.journal, lease, self.clock)
        self._running = asyncio.create_task(trader.run(self.stop))
        self._running.add_done_callback(lambda _task: self.wake())
        await self.until("the trader's readiness", lambda: self.server.read("beat:trader") is not None)
        self.is_up = True
        if self.watch is not None:
            self.watch.back()

    async def kill_trader(self, *, drain: bool = True) -> None:
        """In this very moment: what its journal had not written yet is lost. With ``drain`` the wire is empty by now."""
        self._die()
        await self.dead(drain=drain)

    def _die(self) -> None:
        """From here on, and until the next life is past its reconciliation, nobody can be asked for anything."""
        self.is_up = False
        self.journal.die()
        if self.watch is not None:
            self.watch.absent()
        if self._running is not None:
            self._running.cancel()

    async def dead(self, *, drain: bool = True) -> None:
        await self.until("the death of the trader", lambda: not self.is_up and not self.lives())
        await self.journal.close()
        if drain:
            await self.until("what was on the wire", lambda: self.simulator.runtime.in_flight == 0)

    def lives(self) -> bool:
        return self._running is not None and not self._running.done()

    def dies_at(self, kind: str, facts: Mapping[str, Any]) -> None:
        """It will be killed as it is about to write such a note."""

        def strikes(entry: Entry) -> bool:
            return isinstance(entry, Note) and entry.kind == kind and facts.items() <= entry.data.items()

        self._trap = strikes

    async def stop_trader(self) -> None:
        self.stop.set()
        if self._running is not None:
            await asyncio.wait_for(self._running, PATIENCE_S)
        await self.journal.close()

    def check(self) -> None:
        for task in (*self.tasks, self._running):
            if task is not None and task.done() and not task.cancelled():
                task.result()
                raise AssertionError(f"{task} has ended")

    def _heard(self, entry: Entry) -> None:
        if self._trap(entry):
            self._trap = lambda entry: False
            self._die()
            return
        self.entries_written.append(entry)
        if self.watch is not None:
            self.watch.entry_written(entry)
        self.wake()

    def _planned(self, plan: Plan) -> None:
        self.plans[plan.trade_id] = plan
        if self.watch is not None:
            self.watch.plan_written(plan)

    # -- alerts -------------------------------------------------------------------------------------------------------

    async def alert(self, side: Side = Side.BUY, **fields: Any) -> str:
        """Into the inbox, as the gateway would put it. Returns the id of the trade it may become."""
        envelope = alert_envelope(self.clock, side, **fields)
        await self.inbox.put(envelope)
        return envelope.alert_id

    async def enters(self, side: Side = Side.BUY, **fields: Any) -> str:
        """An alert, and its trade, filled and protected on every leg: stops, targets and backstop rest."""
        trade_id = await self.alert(side, **(fields or BLOCKS[side]))
        await self.until_said(trade_id, "protected")
        await self.until("the backstop", lambda: self.has_backstop() or self.is_closed(trade_id))
        hedges = range(1, len(self.plans[trade_id].hedges) + 1)
        await self.until("the hedges", lambda: all(self.notes(trade_id, "covered", leg=leg) for leg in hedges))
        return trade_id

    async def operator(self, command: str) -> Mapping[str, Any] | None:
        name = f"operator-{command}-{self.clock.monotonic()}"
        body = {"command": command}
        await self.inbox.put(AlertEnvelope(name, name, 60, body, 0, self.clock.monotonic(), source="operator"))
        return await self.reply(name)

    async def reply(self, alert_id: str) -> Mapping[str, Any]:
        reply = await self.inbox.wait_reply(alert_id, PATIENCE_S)
        assert reply is not None, f"no reply to {alert_id}\n{self.story()}"
        return reply

    async def until_the_feed_is_whole(self) -> None:
        """Prices, bars and β of the real stream node, none of them old."""

        def is_whole() -> bool:
            latest, now_ms = list(self.market_server.latest.values()), self.venue.now_ms
            fresh = [m for m in latest if isinstance(m, Quote | MarkPrice) and now_ms - m.time_ms < 2_000]
            bars = [m for m in latest if isinstance(m, BarIndicators) and m.interval_ms == 3 * MINUTE_MS]
            return len(fresh) == 6 and len(bars) == 3 and sum(isinstance(m, BetaReading) for m in latest) == 2

        await self.until("the whole feed", is_whole, 2 * PATIENCE_S)  # the first indicators may compile

    def beat(self) -> Mapping[str, Any]:
        """The trader's last heartbeat."""
        return decode_json(self.server.read("beat:trader") or b"{}")

    # -- what the journal says ----------------------------------------------------------------------------------------

    def notes(self, trade_id: str, kind: str, **facts: Any) -> list[Note]:
        """Those of this kind with these facts; ``facts`` compare as texts."""
        return [
            entry
            for entry in self.entries_written
            if isinstance(entry, Note)
            and (entry.trade_id, entry.kind) == (trade_id, kind)
            and all(str(entry.data.get(name)) == str(value) for name, value in facts.items())
        ]

    def sent_ids(self, trade_id: str, purpose: Purpose, leg: int = 0) -> list[str]:
        """Client ids of the orders the trader has sent for this purpose, in their sequence."""
        return [order.client_id for order in self.sent if order.client_id.startswith(f"qc-{trade_id}-{leg}-{purpose}-")]

    async def until_said(self, trade_id: str, kind: str, *, within_s: float = PATIENCE_S, **facts: Any) -> Mapping[str, Any]:
        await self.until(f"{kind} {facts}", lambda: bool(self.notes(trade_id, kind, **facts)), within_s)
        return self.notes(trade_id, kind, **facts)[0].data

    def level(self, trade_id: str, r: float) -> Decimal:
        """The price at so many R from the average entry, in the trade's favour when positive."""
        entered = self.notes(trade_id, "entered")[0].data
        sign = self.plans[trade_id].side.sign
        return Decimal(entered["average_entry"]) + sign * Decimal(str(r)) * Decimal(entered["r_per_unit"])

    async def go_r(self, trade_id: str, r: float) -> None:
        await self.go(self.level(trade_id, r))

    def is_closed(self, trade_id: str) -> bool:
        return any(isinstance(entry, TradeClosed) and entry.trade_id == trade_id for entry in self.entries_written)

    async def closed(self, trade_id: str, within_s: float = PATIENCE_S) -> StoredTrade:
        """Once closed, as the journal holds it on disk."""
        await self.until(f"the close of {trade_id}", lambda: self.is_closed(trade_id), within_s)
        await self.journal.flush()
        stored = await self.journal.trade(trade_id)
        assert stored is not None
        return stored

    async def ends_properly(self, trade_id: str, reason: str | Collection[str] = "", within_s: float = PATIENCE_S) -> StoredTrade:
        """It closes, for this reason, and is beyond reproach: by its journal and at the exchange."""
        stored = await self.closed(trade_id, within_s)
        await self.until("what was on the wire", lambda: self.simulator.runtime.in_flight == 0)
        assert stored.closed is not None
        allowed = {reason} if isinstance(reason, str) else set(reason)
        assert not reason or stored.closed.reason in allowed, f"{stored.closed.reason}, not {allowed}\n{self.story()}"
        assert audit_trade(stored, self.open_ids(), self.positions()) == [], self.story()
        ids = [order.client_id for order in self.sent]
        assert len(ids) == len(set(ids))
        return stored

    async def flattened(self, trade_id: str, reason: str = "operator") -> StoredTrade:
        await self.operator("flatten")
        return await self.ends_properly(trade_id, reason)

    def story(self) -> str:
        notes = [entry for entry in self.entries_written if isinstance(entry, Note)]
        lines = [f"{note.kind} {dict(note.data)}" for note in notes[-60:]]
        return "\n".join([*lines, super().story()])


def purpose_of(client_id: str) -> Purpose | None:
    name = OrderName.parse(client_id)
    return None if name is None else name.purpose


def alert_envelope(clock: SystemClock, side: Side, **fields: Any) -> AlertEnvelope:
    body = json.dumps({"symbol": "BINANCE:BTCUSDT.P", "side": side.value, **fields}, default=str)
    parsed = parse_alert(body)
    key, ttl = alert_key(parsed, body.encode())
    envelope = AlertEnvelope("", key, ttl, parsed.to_json(), clock.wall_ms(), clock.monotonic())
    return replace(envelope, alert_id=trade_id_for(envelope.lasting_key))


async def serve_feed(world: ScenarioWorld) -> None:
    """The real stream node, until cancelled."""
    simulator = world.simulator
    routes = {f"{route}_ws_url": f"{simulator.ws_url}/{route}/ws" for route in ("public", "market")}
    stream = StreamConfig(rest_url=simulator.base_url, **routes)
    await run_stream_node(stream, InMemoryMarketBus(world.market_server), world.clock, asyncio.Event())


Story = Callable[[Path, ReduceOnlyPolicy], Coroutine[Any, Any, None]]


async def under_every_policy(directory: Path, *stories: Story) -> None:
    """Side by side: for stories that mostly wait."""
    async with asyncio.TaskGroup() as group:
        for number, story in enumerate(stories):
            for policy in POLICIES:
                group.create_task(story(directory / f"{number}-{policy}", policy))


@asynccontextmanager
async def scenario(
    directory: Path,
    policy: ReduceOnlyPolicy = ReduceOnlyPolicy.PRIORITY,
    *,
    rules: TradingRules = QUICK_RULES,
    balance: Decimal = Decimal(10_000),
    volume: Decimal = Decimal(5),
    follow: float = 1.0,
    funding: Decimal = Decimal("0.0001"),
    watched: bool = True,
    stream_node: bool = False,
    recv_window_ms: int = RECV_WINDOW_MS,
    faults: Sequence[Mapping[str, Any]] = (),
) -> AsyncIterator[ScenarioWorld]:
    """A fresh exchange and a trader on it. ``watched``: the invariants hold all along. ``faults`` are in force from the first
    alert on. ``stream_node``: a market that moves by itself, brought to the bus by the real stream node."""
    config = VenueConfig(balance=balance, reduce_only_policy=policy)
    tape, speed = (SyntheticTape(11, SystemClock().wall_ms()), 1.0) if stream_node else (StillTape(), 0.0)
    async with (
        running_simulator(tape, config, ConstantFunding(funding), speed=speed) as simulator,
        aiohttp.ClientSession(simulator.base_url) as http,
    ):
        world = ScenarioWorld(simulator, http, volume, follow)
        world.rules, world.directory, world.recv_window_ms = rules, directory, recv_window_ms
        if watched:
            world.watch = Invariants(world.venue, world.clock, lag_s=JOURNAL_LAG_S, hearing_s=HEARING_S, stall_s=STALL_S)
        tasks = world.tasks = [asyncio.create_task(world.run(InMemoryMarketBus(world.market_server)))]
        try:
            if stream_node:
                world.publishes = False
                tasks.append(asyncio.create_task(serve_feed(world)))
            await world.start_trader()
            if faults:
                await world.break_with(*faults)
            yield world
            await world.stop_trader()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        assert world.watch is None or not world.watch.broken, world.watch.broken
