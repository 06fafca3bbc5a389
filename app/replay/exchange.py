"""The exchange and the journal as the replay's trader has them: in memory, on the tape's time, and watched."""

from collections.abc import Callable

from app.bus.in_memory import InMemoryInbox
from app.bus.port import InboxItem
from app.clock import Clock
from app.domain.market import Quote
from app.domain.orders import ExchangeEvent, Order, OrderKind, OrderState
from app.domain.plan import Plan
from app.exchange.in_memory import InMemoryExchange
from app.replay.invariants import Invariants
from app.simulator.venue import Venue
from app.simulator.venue_types import VenueEvent
from app.storage.in_memory import InMemoryJournal, JournalStore
from app.storage.port import AlertRecord, Entry, Meanwhile, nothing

PATIENCE_S = 86_400.0


class TimedExchange(InMemoryExchange):
    """Each request takes ``round_trip_s`` and meets the market as it is when it arrives: ``arrive`` moves it there."""

    def __init__(self, venue: Venue, clock: Clock, round_trip_s: float, arrive: Callable[[], None], watch: Invariants) -> None:
        super().__init__(venue)
        self._clock = clock
        self._one_way_s = round_trip_s / 2
        self._arrive = arrive
        self._watch = watch

    async def place(self, order: Order) -> OrderState:
        self._watch.order_sent(order)
        await self._go()
        try:
            return await super().place(order)
        finally:
            await self._clock.sleep(self._one_way_s)

    async def cancel(self, symbol: str, client_id: str, kind: OrderKind) -> OrderState | None:
        await self._go()
        state = await super().cancel(symbol, client_id, kind)
        await self._clock.sleep(self._one_way_s)
        return state

    async def open_orders(self, symbol: str) -> list[OrderState]:
        await self._go()
        states = await super().open_orders(symbol)
        await self._clock.sleep(self._one_way_s)
        return states

    async def quote(self, symbol: str) -> Quote:
        await self._go()
        quote = await super().quote(symbol)
        await self._clock.sleep(self._one_way_s)
        return quote

    async def _go(self) -> None:
        await self._clock.sleep(self._one_way_s)
        self._arrive()

    def _translate(self, happened: VenueEvent) -> list[ExchangeEvent]:
        events = super()._translate(happened)
        for event in events:
            self._watch.exchange_said(event)
        return events


class WatchedJournal(InMemoryJournal):
    def __init__(self, store: JournalStore, watch: Invariants) -> None:
        super().__init__(store)
        self._watch = watch

    async def open_trade(self, alert: AlertRecord, plan: Plan, meanwhile: Meanwhile = nothing) -> None:
        await super().open_trade(alert, plan, meanwhile)
        self._watch.plan_written(plan)

    def append(self, entry: Entry) -> None:
        super().append(entry)
        self._watch.entry_written(entry)


class PatientInbox(InMemoryInbox):
    """Waits for the next alert however long that takes: looking every second would be most of a month's work."""

    async def take(self, timeout_s: float) -> list[InboxItem]:
        return list(await super().take(max(timeout_s, PATIENCE_S)))
