"""All that is known of one trade: its orders as sent and as answered, its fills, and the few decisions that last.

Quantities of a leg are never stored, they are summed from its orders, so they cannot disagree with them.
"""

from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum
from typing import TypeVar

from app.domain.instrument import Instrument, Side
from app.domain.market import Quote
from app.domain.orders import Fill, Order, OrderState, OrderStatus, StopOrder
from app.domain.plan import OrderName, Plan, Purpose
from app.domain.trade.messages import Ask, Cancel, Command, Failure, Instant, Place, Repair, Say

ZERO = Decimal(0)
REPAIR_EVERY_S = 1.0
HOLD_SHORTENED = "hold_shortened"  # said once of a short at high funding


@dataclass(frozen=True, slots=True)
class OrderRecord:
    """An order of ours. ``status`` is None until the exchange has answered."""

    name: OrderName
    order: Order
    sent_at: float
    status: OrderStatus | None = None
    executed: Decimal = ZERO
    acked_at: float | None = None
    status_at: float = 0.0  # when the status last changed
    cancel_sent_at: float | None = None
    failure: Failure | None = None
    failed_at: float = 0.0
    held_until: float = 0.0  # nothing is taken from us before; sending all the same may prolong a ban
    unknown_asks: int = 0
    asked_at: float = 0.0
    missing: int = 0
    order_id: int = 0  # the exchange's own number, once it has told it

    def retry_at(self, pause_s: float) -> float:
        """When, having failed, it may be sent again under a new id."""
        return max(self.failed_at + pause_s, self.held_until)

    @property
    def is_over(self) -> bool:
        """Nothing more can come of it."""
        if self.failure is not None and self.failure is not Failure.UNKNOWN:
            return True
        return self.status is not None and self.status.is_final

    @property
    def is_in_flight(self) -> bool:
        return not self.is_over and self.status is None

    @property
    def is_resting(self) -> bool:
        return not self.is_over and self.status is OrderStatus.OPEN

    @property
    def is_triggering(self) -> bool:
        return not self.is_over and self.status in (OrderStatus.TRIGGERING, OrderStatus.TRIGGERED)


class Window(StrEnum):
    """Where a leg's entry stands. After CLOSED nothing more is bought."""

    WAITING = "waiting"
    MAKER = "maker"
    QUOTING = "quoting"  # between the maker order's known end and the IOC: a fresh quote is awaited
    TAKER = "taker"
    CLOSED = "closed"


@dataclass(slots=True)
class Leg:
    """The main leg (index 0) or a hedge."""

    index: int
    instrument: Instrument
    side: Side  # of the position
    goal: Decimal = ZERO  # what its entry is to reach
    window: Window = Window.WAITING
    maker_since: float | None = None
    quoting_since: float = 0.0
    requotes: int = 0
    corrected: bool = False  # a hedge's one correction is used up
    retired: bool = False  # never enters again
    exiting: bool = False  # this leg alone is being closed at market
    foreign: Decimal = ZERO  # closed by somebody else
    added: Decimal = ZERO  # bought on top of ours by somebody else: theirs to protect
    unexplained: Decimal = ZERO  # of ``foreign``, what only the position shows: its fills may still come
    uncovered_since: float | None = None
    escalated: bool = False

    @property
    def symbol(self) -> str:
        return self.instrument.symbol


@dataclass(slots=True)
class Trade:
    plan: Plan
    legs: tuple[Leg, ...]
    stop: Decimal  # the main leg's working stop, as wanted now
    attempt_base: int = 0  # raised at each recovery, so that no client id is ever used twice
    orders: dict[str, OrderRecord] = field(default_factory=dict)
    fills: dict[tuple[str, int], Fill] = field(default_factory=dict)
    quotes: dict[str, tuple[Quote, float]] = field(default_factory=dict)  # with the monotonic time each was seen
    repaired_at: dict[str, float] = field(default_factory=dict)
    first_fill_ms: int | None = None
    average_entry: Decimal | None = None  # known when the window has closed and all its fills are here
    unaccounted_since: float | None = None  # fills of known executions that have not come yet
    first_target_hit: bool = False
    supertrend_agreed: bool = False
    trailed: bool = False
    trailed_bar_ms: int = 0
    countdown_at: float | None = None  # monotonic; when the exchange's countdown was last set, None while it is off
    buying_stopped: bool = False
    hurried: bool = False  # strong flow our way: the post-only entry is not waited for
    entry_code: str = ""  # why the main entry was cut short or came to nothing
    exit_reason: str = ""
    finish_from: float = 0.0  # monotonic; until then something sent may still be on its way and arrive
    sweep_pending: bool = False
    sweep_from: float = 0.0  # monotonic; not before then
    flat: bool = False  # the exchange has confirmed it, so that stops may go
    held_since: float | None = None  # it holds what we do not know of
    clean: bool = False
    closed: bool = False
    said: frozenset[str] = frozenset()
    wake_at: float | None = None  # monotonic
    _by_leg: dict[int, list[OrderRecord]] | None = field(
        default=None, repr=False, compare=False
    )  # of ``orders``, made when asked
    _executed_of: dict[int, tuple[Decimal, Decimal]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def main(self) -> Leg:
        return self.legs[0]

    @property
    def hedges(self) -> tuple[Leg, ...]:
        return self.legs[1:]

    @property
    def hold_min(self) -> int:
        """Minutes from the first fill after which everything is closed."""
        rules = self.plan.rules
        by_funding = rules.funding.short_hold_min if HOLD_SHORTENED in self.said else rules.exits.max_hold_min
        return min(rules.exits.max_hold_min, by_funding, self.plan.max_hold_min or by_funding)

    @property
    def exiting(self) -> bool:
        return bool(self.exit_reason)

    def exiting_leg(self, leg: Leg) -> bool:
        return self.exiting or leg.exiting

    @property
    def r_per_unit(self) -> Decimal | None:
        """R of one base unit as taken: |average entry − initial stop|."""
        return None if self.average_entry is None else abs(self.average_entry - self.plan.stop)

    def copy(self) -> "Trade":
        twin = _twin(self)
        twin.legs = tuple(map(_twin, self.legs))
        twin.orders, twin.fills, twin.quotes = self.orders.copy(), self.fills.copy(), self.quotes.copy()
        twin.repaired_at, twin._executed_of = self.repaired_at.copy(), self._executed_of.copy()
        return twin

    def put(self, record: OrderRecord) -> None:
        self.orders[record.name.client_id] = record
        self._by_leg = None
        self._executed_of.pop(record.name.leg, None)

    def records(self, leg: Leg, *purposes: Purpose) -> list[OrderRecord]:
        """The leg's orders, oldest first; of these purposes only, if any are given."""
        if self._by_leg is None:
            self._by_leg = {}
            for record in self.orders.values():
                self._by_leg.setdefault(record.name.leg, []).append(record)
        records = self._by_leg.get(leg.index, [])
        return [record for record in records if record.name.purpose in purposes] if purposes else list(records)

    def entered(self, leg: Leg) -> Decimal:
        """Quantity bought into the position so far."""
        return self._executed(leg)[0]

    def left(self, leg: Leg) -> Decimal:
        """Quantity closed so far, whoever closed it."""
        return self._executed(leg)[1] + leg.foreign

    def knows(self, state: OrderState) -> bool:
        """Nothing in it is new: answers and events tell the same of an order more than once."""
        record = self.orders.get(state.client_id)
        return (
            record is not None
            and record.acked_at is not None
            and (record.status, record.executed, record.failure, record.missing) == (state.status, state.executed, None, 0)
        )

    def open_quantity(self, leg: Leg) -> Decimal:
        entered, left = self._executed(leg)
        return max(ZERO, entered - left - leg.foreign)

    def _executed(self, leg: Leg) -> tuple[Decimal, Decimal]:
        """What the leg's orders have entered and left: asked for many times in each step, hence summed once."""
        known = self._executed_of.get(leg.index)
        if known is None:
            entered = left = ZERO
            for record in self.records(leg):
                if record.name.purpose.is_entry:
                    entered += record.executed
                else:
                    left += record.executed
            known = self._executed_of[leg.index] = (entered, left)
        return known

    def filled(self, record: OrderRecord) -> Decimal:
        """What the fills so far say of an order; they may trail what is known to be executed."""
        return sum((fill.quantity for fill in self.fills_of({record.name.client_id})), ZERO)

    def leg_of(self, symbol: str) -> Leg | None:
        return next((leg for leg in self.legs if leg.symbol == symbol), None)

    def stop_trigger(self, leg: Leg) -> Decimal:
        return self.stop if leg.index == 0 else self.plan.hedges[leg.index - 1].stop

    def fills_of(self, client_ids: set[str]) -> list[Fill]:
        return [fill for fill in self.fills.values() if fill.client_id in client_ids]


_Slotted = TypeVar("_Slotted", Trade, Leg)


def _twin(original: _Slotted) -> _Slotted:
    """A shallow copy, several times quicker than ``dataclasses.replace``: each step of a trade begins with it."""
    twin = object.__new__(type(original))
    for name in original.__slots__:
        setattr(twin, name, getattr(original, name))
    return twin


def new_trade(plan: Plan) -> Trade:
    """A trade about to enter."""
    main = Leg(0, plan.instrument, plan.side, goal=plan.quantity)
    hedges = tuple(Leg(i, hedge.instrument, hedge.side) for i, hedge in enumerate(plan.hedges, start=1))
    return Trade(plan, (main, *hedges), stop=plan.stop, hurried=plan.hurried)


def is_beyond(position: Side, price: Decimal, level: Decimal) -> bool:
    """The price has reached ``level`` on the losing side of a position."""
    return price <= level if position is Side.BUY else price >= level


def is_past(position: Side, price: Decimal, level: Decimal) -> bool:
    """The price has reached ``level`` on the winning side of a position."""
    return price >= level if position is Side.BUY else price <= level


def tighter(position: Side, a: Decimal, b: Decimal) -> Decimal:
    """Of two stops the one that risks less (I5)."""
    return max(a, b) if position is Side.BUY else min(a, b)


class Work:
    """One step under way: the trade's own copy, the time, and the commands that follow."""

    def __init__(self, trade: Trade, now: Instant) -> None:
        self.trade = trade.copy()
        self.now = now
        self.commands: list[Command] = []
        self.trade.wake_at = None

    def wake(self, at: float) -> None:
        """Step again at this monotonic time at the latest."""
        current = self.trade.wake_at
        self.trade.wake_at = at if current is None else min(current, at)

    def due(self, at: float) -> bool:
        """Whether the moment has come; if not, it will be woken for."""
        if self.now.monotonic >= at:
            return True
        self.wake(at)
        return False

    def name(self, leg: Leg, purpose: Purpose) -> OrderName:
        used = [r.name.attempt for r in self.trade.records(leg, purpose)]
        return OrderName(self.trade.plan.trade_id, leg.index, purpose, max([self.trade.attempt_base - 1, *used]) + 1)

    def send(self, name: OrderName, order: Order) -> None:
        self.trade.put(OrderRecord(name, order, sent_at=self.now.monotonic))
        self.commands.append(Place(order))

    def update(self, record: OrderRecord) -> None:
        self.trade.put(record)

    def cancel(self, record: OrderRecord) -> None:
        """Ask for its end, once; a cancel that failed is asked for again."""
        if record.is_over or record.is_in_flight or record.cancel_sent_at is not None:
            return
        self.update(replace(record, cancel_sent_at=self.now.monotonic))
        self.commands.append(Cancel(record.order.symbol, record.name.client_id, record.order.kind))

    def ask(self, record: OrderRecord) -> None:
        self.update(replace(record, asked_at=self.now.monotonic))
        self.commands.append(Ask(record.order.symbol, record.name.client_id, record.order.kind))

    def say(self, kind: str, **data: object) -> None:
        self.commands.append(Say(kind, data))

    def say_once(self, kind: str, **data: object) -> None:
        if kind not in self.trade.said:
            self.trade.said |= {kind}
            self.say(kind, **data)

    def exit(self, reason: str, **data: object) -> None:
        """Decide to close everything; the first reason stands."""
        if not self.trade.exit_reason:
            self.trade.exit_reason = reason
            self.say("exit", reason=reason, **data)

    def exit_leg(self, leg: Leg, reason: str) -> None:
        """Close one leg at market; the main leg takes everything with it."""
        if leg.index == 0:
            self.exit(reason)
        elif not leg.exiting:
            leg.exiting = leg.retired = True
            self.say("hedge_exit", leg=leg.index, symbol=leg.symbol, reason=reason)

    def repair(self, symbol: str) -> None:
        """Have fills and position read by request, at most once a second per symbol."""
        last = self.trade.repaired_at.get(symbol)
        if last is None or self.now.monotonic - last >= REPAIR_EVERY_S:
            self.trade.repaired_at[symbol] = self.now.monotonic
            self.commands.append(Repair(symbol))

    def fresh_quote(self, leg: Leg, max_age_s: float) -> Quote | None:
        seen = self.trade.quotes.get(leg.symbol)
        if seen is None or self.now.monotonic - seen[1] > max_age_s:
            return None
        return seen[0]


def record_of(state: OrderState, name: OrderName, order: Order, now: Instant) -> OrderRecord:
    """A record for an order found on the exchange."""
    return OrderRecord(
        name,
        order,
        sent_at=now.monotonic,
        status=state.status,
        executed=state.executed,
        acked_at=now.monotonic,
        status_at=now.monotonic,
        order_id=state.order_id,
    )


def matches(record: OrderRecord, trigger: Decimal, quantity: Decimal) -> bool:
    """A stop that already stands where it is wanted, for as much as is wanted."""
    order = record.order
    return isinstance(order, StopOrder) and order.trigger == trigger and order.quantity in (None, quantity)
