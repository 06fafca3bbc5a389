"""The trades under way: every fact goes to its trade's state machine, every command to the executor or the journal."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import structlog

from app.clock import Clock, ExchangeClock
from app.domain.orders import Fill, OrderState
from app.domain.plan import OrderName
from app.domain.trade import by_urgency, step
from app.domain.trade.messages import (
    ArmCountdown,
    Ask,
    Cancel,
    Command,
    Event,
    Filled,
    Finish,
    Instant,
    OrderKnown,
    Pause,
    Place,
    QuoteSeen,
    ReadQuote,
    Repair,
    Say,
    Sweep,
    Tick,
)
from app.domain.trade.state import Trade
from app.exchange.port import Exchange
from app.storage.port import FillNote, Journal, Note, OrderNote
from app.trader.executor import Executor
from app.trader.live_trade import LiveTrade

log = structlog.get_logger(__name__)

MAX_SLEEP_S = 3600.0
WRITE_AFTER_S = 0.003  # a burst of fills, and the stop, targets and hedges that answer it, is over by then


@dataclass(frozen=True, slots=True)
class _Words:
    """What one step is to write down."""

    live: LiveTrade
    event: Event
    new_fill: bool
    commands: tuple[Command, ...]
    now: Instant


class Desk:
    """Owns the live trades. Callers give it facts; its ``on_…`` hooks tell them what is beyond one trade."""

    def __init__(
        self,
        exchange: Exchange,
        journal: Journal,
        clock: Clock,
        exchange_clock: ExchangeClock,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._exchange_clock = exchange_clock
        self._executor = Executor(exchange, clock, self.tell, spawn)
        self._unwritten: deque[_Words] = deque()
        self.trades: dict[str, LiveTrade] = {}
        self.claims: dict[str, str] = {}  # symbols on which a trade is just being opened, and by whom
        self.on_finish: Callable[[LiveTrade, str], None] = lambda live, reason: None
        self.on_repair: Callable[[LiveTrade, str], None] = lambda live, symbol: None
        self.on_pause: Callable[[str], None] = lambda reason: None
        self.on_milestone: Callable[[LiveTrade, str, Mapping[str, Any]], None] = lambda live, kind, data: None

    def owners(self) -> dict[str, str]:
        """Who owns which symbol, by name."""
        owners = dict(self.claims)
        for live in self.trades.values():
            owners |= dict.fromkeys(live.trade.plan.symbols, live.trade.plan.owner_name)
        return owners

    def owner_of(self, symbol: str) -> LiveTrade | None:
        return next((live for live in self.trades.values() if symbol in live.trade.plan.symbols), None)

    def add(self, live: LiveTrade) -> None:
        self.trades[live.trade_id] = live

    def rehearse(self, trade: Trade) -> None:
        """What ``start`` would do with it, but nothing of it is begun."""
        _, commands = step(trade, Tick(), self.now())
        for command in by_urgency(commands):
            if isinstance(command, Place):
                self._executor.rehearse(command)

    def start(self, live: LiveTrade, headline: Mapping[str, Any]) -> None:
        """A new trade whose plan is in the journal: its entry leaves at once."""
        self.add(live)
        self._step(live, Tick(), (Say("planned", headline),))

    def now(self) -> Instant:
        return Instant(self._clock.monotonic(), self._exchange_clock.now_ms())

    def order_seen(self, state: OrderState) -> None:
        """An order update of the private stream."""
        name = OrderName.parse(state.client_id)
        if name is not None:
            self.tell(name.trade_id, OrderKnown(state))

    def fill_seen(self, fill: Fill) -> None:
        """An execution: ours by its client id, or somebody else's on a symbol one of our trades owns."""
        name = OrderName.parse(fill.client_id)
        live = self.trades.get(name.trade_id) if name is not None else self.owner_of(fill.symbol)
        if live is not None:
            self.tell(live.trade_id, Filled(fill))

    def tell_all(self, event: Event) -> None:
        for trade_id in list(self.trades):
            self.tell(trade_id, event)

    def tell(self, trade_id: str, event: Event) -> None:
        """One fact for one trade, and all that follows from it."""
        live = self.trades.get(trade_id)
        if live is not None:
            self._step(live, event, ())

    def _step(self, live: LiveTrade, event: Event, preface: tuple[Command, ...]) -> None:
        """Orders leave first, and have left when what is to be written down about them follows, in the order it was said."""
        now = self.now()
        before = live.trade
        live.trade, commands = step(before, event, now)
        for command in by_urgency(commands):
            if isinstance(command, Place | Cancel | Ask | ArmCountdown | ReadQuote | Sweep):
                self._executor.carry_out(live.trade_id, command)
        self._set_alarm(live)
        is_news = not isinstance(event, (QuoteSeen, Tick))
        if is_news:
            live.changed_at = now.monotonic
        if is_news or commands or preface:
            new_fill = before.fills.keys() != live.trade.fills.keys()
            self._unwritten.append(_Words(live, event, new_fill, (*preface, *commands), now))
            if len(self._unwritten) == 1:
                # Encoding and logging would take the loop from orders that are still on their way to the socket.
                asyncio.get_running_loop().call_later(WRITE_AFTER_S, self._write_down)

    def _write_down(self) -> None:
        while self._unwritten:
            self._write(self._unwritten.popleft())

    def _write(self, words: _Words) -> None:
        live = words.live
        match words.event:
            case OrderKnown(state):
                self._journal.append(OrderNote(live.trade_id, state))
            case Filled(fill) if words.new_fill:
                self._journal.append(FillNote(live.trade_id, fill))
            case _:
                pass  # the machine says what else matters
        for command in words.commands:
            self._pass_on(live, command, words.now)

    def _pass_on(self, live: LiveTrade, command: Command, now: Instant) -> None:
        match command:
            case Place():
                self._note_sent(live, command, now)
            case Say(kind, data):
                self._say(live, kind, data, now)
            case Repair(symbol):
                self.on_repair(live, symbol)
            case Pause(reason):
                self.on_pause(reason)
            case Finish(reason):
                self.on_finish(live, reason)
            case _:
                pass  # the executor has it

    def _note_sent(self, live: LiveTrade, command: Place, now: Instant) -> None:
        order = command.order
        price = getattr(order, "price", None) or getattr(order, "trigger", None)
        self._say(
            live,
            "order_sent",
            {
                "client_id": order.client_id,
                "symbol": order.symbol,
                "type": type(order).__name__,
                "side": order.side.value,
                "quantity": order.quantity,
                "price": price,
            },
            now,
        )

    def say(self, live: LiveTrade, kind: str, data: Mapping[str, Any]) -> None:
        """A milestone that is not the trade's own word, after all that was said before it."""
        self._write_down()
        self._say(live, kind, data, self.now())

    def _say(self, live: LiveTrade, kind: str, data: Mapping[str, Any], now: Instant) -> None:
        """Into journal and listeners, with the time since the alert came in."""
        said = {key: str(value) if isinstance(value, Decimal) else value for key, value in data.items()}
        if live.received_at is not None:
            said["since_alert_ms"] = round((now.monotonic - live.received_at) * 1000, 3)
        live.milestones.setdefault(kind, said)
        if "naked_ms" in said:
            live.naked_ms.append(float(said["naked_ms"]))
        self._journal.append(Note(live.trade_id, kind, now.exchange_ms, self._clock.wall_ms(), said))
        if kind == "protected":
            live.protected.set()
        self.on_milestone(live, kind, said)

    def _set_alarm(self, live: LiveTrade) -> None:
        self._clear_alarm(live)
        wake_at = live.trade.wake_at
        if wake_at is None or live.trade.closed:
            return
        delay = min(MAX_SLEEP_S, max(0.0, wake_at - self._clock.monotonic()))
        live.timer = asyncio.get_running_loop().call_later(delay, self.tell, live.trade_id, Tick())

    def _clear_alarm(self, live: LiveTrade) -> None:
        if live.timer is not None:
            live.timer.cancel()
            live.timer = None

    def close(self) -> None:
        """The process ends: what was said is written, no alarm rings any more."""
        self._write_down()
        for live in self.trades.values():
            self._clear_alarm(live)
        self.trades.clear()

    def forget(self, live: LiveTrade) -> None:
        self.trades.pop(live.trade_id, None)
        live.over.set()
