"""One replay: the parts put together on a virtual-time loop, the alerts delivered at their times, and what came of it."""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from typing import Literal

from app.bus.envelopes import envelope_for
from app.bus.in_memory import InMemoryInbox, InMemoryLease, InMemoryMarketBus, InMemoryServer
from app.domain.bodies import read_message
from app.domain.component_alerts import ComponentAlert
from app.domain.plan import Purpose
from app.domain.rules import TradingRules
from app.domain.signal_rules import SignalRules
from app.domain.trade.state import Trade
from app.domain.verdict import Refusal
from app.replay.alerts import TimedAlert
from app.replay.bar_fill import ENDLESS_BOOK, AdverseTape
from app.replay.exchange import PatientInbox, TimedExchange, WatchedJournal
from app.replay.invariants import Invariants
from app.replay.market import TapeMarket
from app.replay.stream import TapeStream
from app.simulator.tape import Tape, prices_at
from app.simulator.venue import Venue
from app.simulator.venue_state import FundingRates, VenueConfig
from app.simulator.virtual_time import VirtualClock, VirtualTimeLoop, run_virtual
from app.storage.audit import audit_trade
from app.storage.codec import load
from app.storage.in_memory import InMemoryJournal, JournalStore
from app.storage.port import AlertRecord, Note, StoredTrade
from app.stream.config import StreamConfig
from app.trader.config import TraderConfig
from app.trader.service import Trader

ROUND_TRIP_S = 0.005  # of a request to the exchange, in the book's fill
INSTANT_S = 1e-6  # less than any clock shows: all that can happen now has happened by then
RARELY_S = 3_600.0
FOR_EVER_S = 1e9


AlertForm = Literal["alert", "component", "composite"]


class FillMode(StrEnum):
    BOOK = "book"  # the simulator's: spread, depth, partial fills, latency
    BAR = "bar"


@dataclass(frozen=True, slots=True)
class Delivered:
    """An alert as the gateway took it. ``alert_id`` is empty when its body is none; ``repeats`` names the first delivery."""

    alert: TimedAlert
    alert_id: str = ""
    refusal: Refusal | None = None
    repeats: str = ""
    form: AlertForm = "alert"


@dataclass(frozen=True, slots=True)
class Outcome:
    """``system``: what the journal says of the whole, not of one trade."""

    delivered: Sequence[Delivered]
    records: dict[str, AlertRecord]  # by alert id
    trades: Sequence[StoredTrade]  # as planned, oldest first
    system: Sequence[Note]
    watch: Invariants
    balance: Decimal
    steps: int


def stream_config(rules: TradingRules) -> StreamConfig:
    return StreamConfig(
        "", "", "", symbols=rules.symbols, base=rules.symbol, pairs=rules.pairs, bar_interval_ms=rules.timeframe_ms
    )


def _patient_config(rules: TradingRules, signals: SignalRules) -> TraderConfig:
    """Nobody watches the heartbeat or wants the lease; the account is checked before each alert, the risk at each step of the
    market while trades live: hourly is enough for the rest."""
    return TraderConfig(
        rules=rules,
        live=False,
        key_fingerprint="replay",
        exchange_name="replay",
        signals=signals,
        heartbeat_s=RARELY_S,
        account_every_s=RARELY_S,
        risk_every_s=RARELY_S,
        measure_every_s=RARELY_S,
        probe_every_s=FOR_EVER_S,
        lease_every_s=RARELY_S,
        lease_trusted_s=FOR_EVER_S,
    )


def replay(
    tape: Tape,
    funding: FundingRates,
    alerts: Sequence[TimedAlert],
    rules: TradingRules,
    fill: FillMode,
    signals: SignalRules | None = None,
) -> Outcome:
    """Play the tape from its start to its end."""
    loop = VirtualTimeLoop()
    session = _Session(loop, tape, funding, alerts, rules, fill, signals or SignalRules())
    return run_virtual(session.run(), loop)


class _Session:
    def __init__(
        self,
        loop: VirtualTimeLoop,
        tape: Tape,
        funding: FundingRates,
        alerts: Sequence[TimedAlert],
        rules: TradingRules,
        fill: FillMode,
        signals: SignalRules,
    ) -> None:
        self._signals = signals
        is_bar = fill is FillMode.BAR
        self._end_ms = (tape.end_ms or tape.start_ms) - 1
        self._start_ms = tape.start_ms
        self._alerts = deque(alerts)
        self._clock = clock = VirtualClock(loop, tape.start_ms)
        config = replace(VenueConfig(), book=ENDLESS_BOOK) if is_bar else VenueConfig()
        self._venue = Venue(prices_at(tape, tape.start_ms), tape.start_ms, config, funding)
        self._watch = Invariants(self._venue, clock)
        self._server = InMemoryServer(clock)
        bus = InMemoryMarketBus(self._server)
        stream = TapeStream(stream_config(rules), tape)
        self._market = TapeMarket(AdverseTape(tape) if is_bar else tape, self._venue, clock, bus, stream)
        self._store = JournalStore()
        self._journal = WatchedJournal(self._store, self._watch)
        self._exchange = TimedExchange(self._venue, clock, 0.0 if is_bar else ROUND_TRIP_S, self._arrive, self._watch)
        self._trader = Trader(
            _patient_config(rules, signals),
            self._exchange,
            PatientInbox(self._server),
            InMemoryMarketBus(self._server),
            self._journal,
            InMemoryLease(self._server, "trader", "replay", ttl_s=FOR_EVER_S),
            clock,
        )
        self._delivered: list[Delivered] = []
        self._known: set[str] = set()
        self._told_ms = 0

    async def run(self) -> Outcome:
        await self._market.open()
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._trader.run(stop))
            await self._happen()
            await self._play()
            stop.set()
        return await self._outcome()

    async def _happen(self) -> None:
        """Let everything happen that can at this moment."""
        await self._clock.sleep(INSTANT_S)

    def _arrive(self) -> None:
        """A request has reached the exchange."""
        self._market.catch_up()
        self._market.touch()
        self._exchange.pump()

    async def _play(self) -> None:
        while (now := self._clock.wall_ms()) < self._end_ms:
            trades = [live.trade for live in self._trader.desk.trades.values()]
            at_ms = self._market.next_step_ms(live=bool(trades), finely=any(map(_decides_by_price, trades)))
            if self._alerts:
                at_ms = min(at_ms, max(now, self._alerts[0].at_ms))
            self._watch.time_passes()
            await self._until(min(at_ms, self._end_ms))
            await self._step()
            await self._deliver_due()

    async def _until(self, at_ms: int) -> None:
        await self._clock.sleep((at_ms - self._start_ms) / 1000 - self._clock.monotonic())

    async def _step(self) -> None:
        if self._venue.is_idle and not self._trader.desk.trades:
            await self._market.publish_closed()
            return
        self._market.catch_up()
        if self._exchange.pump():
            self._market.touch()
        await self._market.publish()
        self._trader.check_risk()

    async def _deliver_due(self) -> None:
        while self._alerts and self._alerts[0].at_ms <= self._clock.wall_ms():
            self._delivered.append(await self._deliver(self._alerts.popleft()))
            await self._happen()

    async def _deliver(self, alert: TimedAlert) -> Delivered:
        """What the gateway does with a body, its token aside: parse, name, enqueue."""
        parsed = read_message(alert.body, self._signals)
        if isinstance(parsed, Refusal):
            return Delivered(alert, refusal=parsed)
        is_component = isinstance(parsed, ComponentAlert)
        if not is_component:
            self._market.touch()
        if self._told_ms != self._clock.wall_ms():
            await self._tell_everything()
        envelope = envelope_for(parsed, alert.body, alert.at_ms, self._clock.monotonic())
        first = await InMemoryInbox(self._server).put(envelope)
        repeats = first or (envelope.alert_id if envelope.alert_id in self._known else "")
        self._known.add(envelope.alert_id)
        return Delivered(alert, envelope.alert_id, repeats=repeats, form="component" if is_component else "alert")

    async def _tell_everything(self) -> None:
        """All that deciding on an alert of this moment needs."""
        self._told_ms = self._clock.wall_ms()
        self._market.catch_up()
        self._exchange.pump()
        await self._market.publish_all()
        await self._trader.check_account()
        await self._happen()

    async def _outcome(self) -> Outcome:
        records = {}
        for alert_id in self._store.alerts:
            if (record := await self._journal.alert(alert_id)) is not None:
                records[alert_id] = record
        trades = [trade for part in _by_trade(self._store) for trade in await _read(part)]
        for stored in trades:
            if stored.closed is not None:
                self._watch.audited(stored.plan.trade_id, audit_trade(stored, (), {}))
        balance = self._venue.account().wallet_balance
        system = [load(Note, text) for owner, text in self._store.notes if not owner]
        return Outcome(self._delivered, records, trades, system, self._watch, balance, self._market.steps)


def _decides_by_price(trade: Trade) -> bool:
    """It looks at quotes for its first target (too small a part to rest), or for the last at the time limit."""
    if trade.plan.rules.exits.hold_past_second_target:
        return True
    entered = trade.average_entry is not None and not trade.first_target_hit
    return entered and not trade.records(trade.main, Purpose.TARGET_1)


def _by_trade(store: JournalStore) -> Iterable[JournalStore]:
    """A store for each trade, in their order: reading one looks through everything, and a month of all of them is long."""
    parts = {trade_id: JournalStore(plans={trade_id: plan}) for trade_id, plan in store.plans.items()}
    for owner, text in store.notes:
        if owner in parts:
            parts[owner].notes.append((owner, text))
    for (owner, client_id), text in store.orders.items():
        parts[owner].orders[owner, client_id] = text
    for key, (owner, text) in store.fills.items():
        parts[owner].fills[key] = (owner, text)
    for owner, text in store.closings.items():
        parts[owner].closings[owner] = text
    return parts.values()


async def _read(part: JournalStore) -> list[StoredTrade]:
    journal = InMemoryJournal(part)
    return [stored for trade_id in part.plans if (stored := await journal.trade(trade_id)) is not None]
