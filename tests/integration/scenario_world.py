"""The real trader, on the real ccxt adapter, over real sockets to the simulator: the stage of the execution scenarios.

Trader, simulator and market share the test's event loop; the journal is SQLite on disk; only the bus is in memory. The market
goes where a story sends it, exchange time runs with the host's clock and may be sent ahead. What goes wrong is a fault plan,
posted to the simulator as its user would. The invariants are looked at after each event, and once more when a trade has closed.
"""

import asyncio
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
from scenario_market import PATIENCE_S, ScenarioMarket, StillTape
from simulation.world import BLOCKS, with_rules

from app.bus.codec import decode_json
from app.bus.in_memory import InMemoryInbox, InMemoryLease, InMemoryMarketBus, InMemoryServer
from app.bus.port import AlertEnvelope, Inbox
from app.clock import SystemClock
from app.domain.instrument import Side
from app.domain.market import MINUTE_MS, BarIndicators, BetaReading, MarkPrice, Quote
from app.domain.orders import ExchangeEvent, Order, OrderState
from app.domain.plan import Plan, Purpose, trade_id_for
from app.domain.rules import TradingRules
from app.domain.signal import alert_key, parse_alert
from app.exchange.binance import BinanceExchange
from app.replay.invariants import Invariants
from app.simulator.server import RunningSimulator, running_simulator
from app.simulator.tape_synthetic import SyntheticTape
from app.simulator.venue_state import ConstantFunding, VenueConfig
from app.simulator.venue_types import ReduceOnlyPolicy
from app.storage.audit import Breach, audit_trade
from app.storage.port import AlertRecord, Entry, Meanwhile, Note, StoredTrade, TradeClosed, nothing
from app.storage.sqlite import SqliteJournal
from app.storage.statements import Write
from app.stream.config import StreamConfig
from app.stream.service import run_stream_node
from app.trader.config import TraderConfig
from app.trader.service import Trader

JOURNAL_LAG_S = 3.0  # several worlds share one busy host; in the end it has to agree to the last digit
HEARING_S = 0.1  # the exchange's word goes through sockets, and the host has other things to do
RECV_WINDOW_MS = 1_000  # short enough for a test to see it pass
STALL_S = 0.3  # nothing at all for so long: the host gave this process no time, which is nobody's fault
POLICIES = list(ReduceOnlyPolicy)
_ONE_AT_A_TIME = threading.Lock()  # Alembic migrates one journal per process
QUICK_RULES = with_rules(entry={"maker_wait_ms": 60})  # for stories that are not about the maker's wait


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

    def _execute(self, writes: Sequence[Write], before_commit: Meanwhile = nothing) -> None:
        if not self._is_dead:
            super()._execute(writes, before_commit)

    async def open_trade(self, alert: AlertRecord, plan: Plan, meanwhile: Meanwhile = nothing) -> None:
        await super().open_trade(alert, plan, meanwhile)
        self._planned(plan)

    def append(self, entry: Entry) -> None:
        if self._is_dead:
            return
        super().append(entry)
        self._heard(entry)


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
        assert self._audited(stored) == [], self.story()
        ids = [order.client_id for order in self.sent]
        assert len(ids) == len(set(ids))
        return stored

    def _audited(self, stored: StoredTrade) -> list[Breach]:
        """The journal's own naked times hold what the host kept from everybody; where it did, the watch's word on I1 stands."""
        stalled = self.watch is not None and self.watch.stalls > 0
        found = audit_trade(stored, self.open_ids(), self.positions())
        return [breach for breach in found if not (stalled and breach.invariant == "I1")]

    async def flattened(self, trade_id: str, reason: str = "operator") -> StoredTrade:
        await self.operator("flatten")
        return await self.ends_properly(trade_id, reason)

    def story(self) -> str:
        notes = [entry for entry in self.entries_written if isinstance(entry, Note)]
        lines = [f"{note.kind} {dict(note.data)}" for note in notes[-60:]]
        return "\n".join([*lines, super().story()])


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
