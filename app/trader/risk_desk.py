"""The risk book kept by the running trader: facts go in, and what its breakers say is carried out, written down and lasts."""

from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import structlog

from app.clock import Clock, ExchangeClock
from app.domain.instrument import Side
from app.domain.plan import Owner
from app.domain.risk.book import RiskBook
from app.domain.risk.breakers import Breaker, Change, RiskEvent
from app.domain.risk.days import OpenR
from app.domain.risk.view import OpenPosition, RiskView
from app.domain.trade.messages import ExitRequested, StopBuying
from app.domain.trade.worth import current_r
from app.storage.port import Journal, JournalUnavailable, Note, TradeClosed
from app.telemetry.metrics import Metrics
from app.trader.account_state import AccountState
from app.trader.config import TraderConfig
from app.trader.desk import Desk
from app.trader.event_calendar import BadCalendarFile, EventCalendar
from app.trader.market_view import MarketState

log = structlog.get_logger(__name__)

STATE = "risk"
SAVE_EVERY_S = 10.0
CATCH_UP_MS = 2 * 86_400_000  # what closed so long before the book was last written may be missing in it
EVENTS_KEPT = 20
TICK_HOLDS_MS = 1_000  # an alert within it is judged by the last look at the breakers
Events = tuple[RiskEvent, ...]
Spawn = Callable[[Coroutine[Any, Any, None]], None]


class RiskDesk:
    def __init__(
        self,
        config: TraderConfig,
        journal: Journal,
        desk: Desk,
        market: MarketState,
        account: AccountState,
        clock: Clock,
        exchange_clock: ExchangeClock,
        metrics: Metrics,
        spawn: Spawn,
    ) -> None:
        self._rules = config.rules
        self._exchange_name = config.exchange_name
        self._base_risk = config.rules.sizing.risk if config.live else config.rules.sizing.risk_dry_run
        self._journal = journal
        self._desk = desk
        self._market = market
        self._account = account
        self._clock = clock
        self._exchange_clock = exchange_clock
        self._metrics = metrics
        self._spawn = spawn
        self._saved_at = 0.0
        self._saved: RiskBook | None = None
        self._saved_transfers: Mapping[str, Any] = {}
        self.book = RiskBook()
        self._begun_ms = 0  # what closed before it was on another exchange
        self._ticked_ms = 0
        self.transfers: Mapping[str, Any] = {}  # how far transfers were read; lasts with the book that counts them
        self.calendar = EventCalendar(config.rules.risk.events, clock, exchange_clock)
        self.events: deque[RiskEvent] = deque(maxlen=EVENTS_KEPT)

    # --- lasting --------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """The book as it was left, and what closed since; live trades are known by now. Raises JournalUnavailable."""
        stored = await self._journal.read_state(STATE)
        if stored is not None and stored.get("exchange", self._exchange_name) != self._exchange_name:
            self._begin_anew(str(stored["exchange"]), _book_of(stored))
        elif stored is not None:
            self.book, self.transfers, self._begun_ms = _book_of(stored), stored["transfers"], stored.get("begun_ms", 0)
        since_ms = max(self._begun_ms, self.book.days.seen_ms - CATCH_UP_MS)
        for closed in await self._journal.closings_since(since_ms):
            self.closed(closed)
        self.tick()
        if self.book.must_be_flat:
            self._desk.tell_all(ExitRequested("breaker"))
        await self._save()
        self._read_calendar()

    def _begin_anew(self, former: str, book: RiskBook) -> None:
        """Play money's record earns no leverage with real money, and its losses stop nothing there."""
        self._begun_ms = self._exchange_clock.now_ms()
        log.warning("risk_book_begun_anew", exchange=self._exchange_name, former=former)
        data = {"exchange": self._exchange_name, "former": former}
        self._journal.append(Note("", "risk_book_begun_anew", self._begun_ms, self._clock.wall_ms(), data))
        for trip in book.trips:
            self._happened(RiskEvent(trip.breaker, Change.RESUMED, f"it tripped on another exchange ({former})", self._begun_ms))

    def _read_calendar(self) -> None:
        """Raises BadCalendarFile, unless open trades wait to be managed: then nothing new is opened instead."""
        try:
            self.calendar.read()
        except BadCalendarFile as error:
            if not self._desk.trades:
                raise
            log.error("calendar_unreadable", error=str(error))
            self._desk.on_pause("calendar_unreadable")

    async def keep(self) -> None:
        """Write it down when something lasting has changed: at once after an event, else every few seconds."""
        if self._clock.monotonic() - self._saved_at >= SAVE_EVERY_S:
            await self._save_quietly()

    async def _save_quietly(self) -> None:
        try:
            await self._save()
        except JournalUnavailable as error:
            log.error("risk_not_durable", error=str(error))

    async def _save(self) -> None:
        book, transfers = self.book, self.transfers
        self._saved_at = self._clock.monotonic()
        if _lasting(book) == self._saved and transfers == self._saved_transfers:
            return
        lasting = {"exchange": self._exchange_name, "begun_ms": self._begun_ms, "transfers": dict(transfers)}
        await self._journal.write_state(STATE, {"book": book.to_json(), **lasting})
        self._saved, self._saved_transfers = _lasting(book), transfers

    # --- facts ----------------------------------------------------------------------------------------------------------

    def closed(self, closed: TradeClosed) -> None:
        """One that had filled counts; one already counted does not count again."""
        if closed.r_unit:
            side, rules, at_ms = Side(str(closed.summary["side"])), self._rules.risk, closed.exchange_ms
            ours = closed.summary.get("owner", Owner.MANAGED) == Owner.MANAGED
            open_r = self.open_r()
            self._take(self.book.closed(closed.trade_id, side, closed.net_r, at_ms, rules, open_r, is_of_the_strategy=ours))
            self._spawn(self._save_quietly())

    def equity_read(self, equity: Decimal, transferred: Decimal) -> None:
        now_ms = self._exchange_clock.now_ms()
        self._take(self.book.equity(equity, now_ms, self._rules.risk, self._base_risk, transferred))

    def delayed(self, delay_ms: float) -> None:
        self._take(self.book.delayed(delay_ms, self._exchange_clock.now_ms(), self._rules.risk))

    def tick(self) -> None:
        self._ticked_ms = self._exchange_clock.now_ms()
        self._take(self.book.tick(self._ticked_ms, self._rules.risk, self.open_r()))

    async def reset(self, breaker: Breaker) -> bool:
        """By the operator; whether it was tripped. Raises JournalUnavailable: it holds, but not yet beyond a restart."""
        was_tripped = breaker in self.book.tripped
        self._take(self.book.reset(breaker, self._exchange_clock.now_ms()))
        await self._save()
        return was_tripped

    def open_r(self) -> OpenR:
        by_side = {Side.BUY: Decimal(0), Side.SELL: Decimal(0)}
        for live in self._desk.trades.values():
            by_side[live.trade.plan.side] += current_r(live.trade)
        return OpenR(by_side[Side.BUY], by_side[Side.SELL])

    # --- what follows ---------------------------------------------------------------------------------------------------

    def view(self, leverage: int | None) -> RiskView:
        """What planning asks. ``leverage`` is the one in force for the symbol."""
        if self._exchange_clock.now_ms() - self._ticked_ms >= TICK_HOLDS_MS:
            self.tick()
        return replace(self.book.view(self._rules.risk, leverage, self.positions()), calendar=self.calendar.current)

    def positions(self) -> tuple[OpenPosition, ...]:
        """All that is open at the exchange, at mark, whoever opened it."""
        held = []
        for position in self._account.positions.values():
            mark = self._market.marks.get(position.symbol)
            price = position.entry_price if mark is None else mark.mark
            held.append(OpenPosition(position.symbol, position.quantity * price))
        return tuple(held)

    @property
    def leverage(self) -> int:
        """What should be in force wherever nothing is open."""
        return self.book.leverage(self._rules.risk, self._rules.sizing.leverage)

    @property
    def halted_by(self) -> list[str]:
        """Breakers that keep all entries out."""
        return [trip.breaker.value for trip in self.book.trips if trip.breaker.halts]

    def forbids(self, side: Side) -> bool:
        """Whether a tripped breaker keeps a trade of that side out."""
        return any(trip.breaker.halts or trip.breaker is Breaker.of_side(side) for trip in self.book.trips)

    def _take(self, outcome: tuple[RiskBook, Events]) -> None:
        self.book, events = outcome
        for event in events:
            self._happened(event)
        if events:
            self._spawn(self._save_quietly())

    def _happened(self, event: RiskEvent) -> None:
        """Orders first, then the words about them."""
        tripped = event.change is Change.TRIPPED
        if tripped:
            self._carry_out(event.breaker)
        self.events.append(event)
        say = log.error if tripped else log.info
        kind = f"breaker_{event.change}"
        say(kind, breaker=event.breaker.value, cause=event.cause)
        data = {"breaker": event.breaker.value, "reason": event.cause}
        self._journal.append(Note("", kind, event.at_ms, self._clock.wall_ms(), data))
        self._metrics.emit({kind: 1}, breaker=event.breaker.value)

    def _carry_out(self, breaker: Breaker) -> None:
        if breaker.flattens:
            self._desk.tell_all(ExitRequested(f"breaker_{breaker}"))
        elif breaker.halts:
            self._desk.tell_all(StopBuying())
        for live in list(self._desk.trades.values()):
            if breaker is Breaker.of_side(live.trade.plan.side):
                self._desk.tell(live.trade_id, StopBuying())


def _lasting(book: RiskBook) -> RiskBook:
    """Without the time, which goes on when nothing else does."""
    return replace(book, days=replace(book.days, seen_ms=0))


def _book_of(stored: Mapping[str, Any]) -> RiskBook:
    """Raises JournalUnavailable: a trader that has forgotten which breakers are tripped must not trade."""
    try:
        return RiskBook.from_json(stored["book"])
    except (KeyError, ValueError) as error:
        cause = " ".join(str(error).split())
        raise JournalUnavailable(
            f"the journal's risk book cannot be read ({cause:.200}): start the release that wrote it, or move the journal away"
        ) from None
