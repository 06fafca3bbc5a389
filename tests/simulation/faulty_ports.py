"""The in-memory ports of the simulated trader, and what goes wrong at them: delays, refusals, lost answers, death."""

import asyncio
import copy
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace

from app.domain.market import Quote
from app.domain.orders import Account, CommissionRates, ExchangeEvent, Fill, Order, OrderKind, OrderState
from app.domain.plan import OrderName, Plan, Purpose
from app.exchange.errors import ExchangeError
from app.exchange.in_memory import InMemoryExchange
from app.replay.invariants import Invariants
from app.simulator.venue import Venue
from app.simulator.venue_types import AlgoOrder, AlgoStatus, VenueEvent
from app.simulator.virtual_time import VirtualClock
from app.storage.in_memory import InMemoryJournal, JournalStore
from app.storage.port import AlertRecord, Entry, Meanwhile, nothing

LATENCY_S = 0.008

Fault = Callable[[Order], Awaitable[None]]  # may raise, wait, or do something before the order goes out


@dataclass
class Faults:
    """What goes wrong between trader and venue. Each list is used up in order; what is set outlives a restart of the trader."""

    before: dict[Purpose, list[Fault]] = field(default_factory=dict)  # the order has not reached the venue
    after: dict[Purpose, list[Fault]] = field(default_factory=dict)  # the venue has it, the trader has no answer yet
    connects: list[ExchangeError] = field(default_factory=list)  # what a connecting trader is told
    cancels: list[ExchangeError] = field(default_factory=list)  # a cancel is carried out, its answer lost
    countdowns: list[ExchangeError] = field(default_factory=list)  # instead of calling a countdown off
    down: ExchangeError | None = None  # raised by every request
    leverage: ExchangeError | None = None  # raised instead of setting it
    terms: ExchangeError | None = None  # raised instead of telling a symbol's commission rates
    silent: bool = False  # the private stream brings nothing, and says nothing of it
    stream_delay_s: float = 0.0
    lag_s: float = 0.0  # requests do not see what is younger
    latency_s: float = LATENCY_S  # there and back


class SimulatedExchange(InMemoryExchange):
    """The in-memory adapter with a round-trip time, and faults. What is on the wire arrives, also when its sender dies."""

    def __init__(
        self, venue: Venue, clock: VirtualClock, faults: Faults, placed: list[Order], watch: Invariants | None = None
    ) -> None:
        super().__init__(venue)
        self._clock = clock
        self._watch = watch
        self._faults = faults
        self.placed = placed
        self.countdowns: list[tuple[str, int]] = []
        self.is_heard = True  # a dead process's connection takes no events

    async def connect(self) -> None:
        if self._faults.connects:
            raise self._faults.connects.pop(0)
        await super().connect()

    def pump(self) -> bool:
        return super().pump() if self.is_heard else False

    def _translate(self, happened: VenueEvent) -> list[ExchangeEvent]:
        events = super()._translate(happened)
        for event in events if self._watch is not None else ():
            self._watch.exchange_said(event)
        return events

    async def place(self, order: Order) -> OrderState:
        if self._watch is not None:
            self._watch.order_sent(order)
        sending = asyncio.ensure_future(self._place(order))
        sending.add_done_callback(lambda task: task.cancelled() or task.exception())  # nobody may be left to hear of it
        return await asyncio.shield(sending)

    async def _place(self, order: Order) -> OrderState:
        await self._travel(self._faults.latency_s / 2)
        await self._fault(self._faults.before, order)
        self.placed.append(order)
        state = await super().place(order)
        await self._fault(self._faults.after, order)
        await self._travel(self._faults.latency_s / 2)
        return state

    async def cancel(self, symbol: str, client_id: str, kind: OrderKind) -> OrderState | None:
        await self._travel(self._faults.latency_s)
        state = await super().cancel(symbol, client_id, kind)
        if self._faults.cancels:
            raise self._faults.cancels.pop(0)
        return state

    async def arm_countdown(self, symbol: str, milliseconds: int) -> None:
        await self._travel(self._faults.latency_s)
        if milliseconds == 0 and self._faults.countdowns:
            raise self._faults.countdowns.pop(0)
        await super().arm_countdown(symbol, milliseconds)
        self.countdowns.append((symbol, milliseconds))

    async def find(self, symbol: str, client_id: str, kind: OrderKind) -> OrderState | None:
        await self._travel(self._faults.latency_s)
        state = await super().find(symbol, client_id, kind)
        return None if state is not None and not self._is_seen(state.updated_ms) else state

    async def open_orders(self, symbol: str) -> list[OrderState]:
        await self._travel(self._faults.latency_s)
        return await super().open_orders(symbol)

    async def orders_since(self, symbol: str, since_ms: int) -> list[OrderState]:
        await self._travel(self._faults.latency_s)
        return [state for state in await super().orders_since(symbol, since_ms) if self._is_seen(state.updated_ms)]

    async def fills_since(self, symbol: str, since_ms: int) -> list[Fill]:
        await self._travel(self._faults.latency_s)
        return [fill for fill in await super().fills_since(symbol, since_ms) if self._is_seen(fill.time_ms)]

    async def account(self) -> Account:
        await self._travel(self._faults.latency_s)
        return await super().account()

    async def set_leverage(self, symbol: str, leverage: int) -> None:
        if self._faults.leverage is not None:
            raise self._faults.leverage
        await super().set_leverage(symbol, leverage)

    async def commission_rates(self, symbol: str) -> CommissionRates:
        if self._faults.terms is not None:
            raise self._faults.terms
        return await super().commission_rates(symbol)

    async def probe(self, symbol: str) -> None:
        await self._travel(self._faults.latency_s)

    async def quote(self, symbol: str) -> Quote:
        await self._travel(self._faults.latency_s)
        return await super().quote(symbol)

    async def events(self) -> AsyncIterator[ExchangeEvent]:
        async for event in super().events():
            if self._faults.silent:
                continue
            if self._faults.stream_delay_s:
                await self._clock.sleep(self._faults.stream_delay_s)
            yield event

    def _is_seen(self, time_ms: int) -> bool:
        return self._venue.now_ms - time_ms >= self._faults.lag_s * 1000

    async def _travel(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
        if self._faults.down is not None:
            raise self._faults.down

    async def _fault(self, faults: dict[Purpose, list[Fault]], order: Order) -> None:
        name = OrderName.parse(order.client_id)
        if name is not None and faults.get(name.purpose):
            await faults[name.purpose].pop(0)(order)


class HeardJournal(InMemoryJournal):
    """Tells the world of every entry, so that a story can go on at that very moment. Of a killed process it takes no more: what
    was still to be written is lost."""

    is_dead = False

    def __init__(self, store: JournalStore, heard: Callable[[], None], watch: Invariants | None = None) -> None:
        super().__init__(store)
        self._heard = heard
        self._watch = watch

    async def open_trade(self, alert: AlertRecord, plan: Plan, meanwhile: Meanwhile = nothing) -> None:
        await super().open_trade(alert, plan, meanwhile)
        if self._watch is not None:
            self._watch.plan_written(plan)

    def append(self, entry: Entry) -> None:
        if self.is_dead:
            return
        super().append(entry)
        if self._watch is not None:
            self._watch.entry_written(entry)
        self._heard()


def refuses(error: ExchangeError) -> Fault:
    async def fault(order: Order) -> None:
        raise copy.copy(error)

    return fault


def hangs(clock: VirtualClock, seconds: float) -> Fault:
    """No answer for so long, then the usual one."""

    async def fault(order: Order) -> None:
        await clock.sleep(seconds)

    return fault


def fire_otherwise(venue: Venue, purpose: Purpose, status: AlgoStatus, reason: str) -> None:
    """From now on such stops, when they trigger, come to this state and not to an execution."""
    algos = venue._algos
    fire = algos._fire

    def fail(algo: AlgoOrder) -> None:
        name = OrderName.parse(algo.client_id)
        if name is None or name.purpose is not purpose:
            fire(algo)
            return
        triggering = algos._report(replace(algo, status=AlgoStatus.TRIGGERING))
        if status is not AlgoStatus.TRIGGERING:
            algos._report(replace(triggering, status=status, reject_reason=reason))

    algos._fire = fail  # type: ignore[method-assign]
