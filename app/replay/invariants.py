"""The invariants while trades live: looked at after each event of the exchange and of the journal, not only at the end.

Whoever runs a trader on the simulated venue tells an ``Invariants`` what happens, as it happens: plans and entries of the
journal, orders as they leave, what the exchange says, and that time is about to pass. The exchange's side of the truth is
read from the venue itself. Limits of time are those of ``app.storage.audit``, which looks at a trade again once it is over.

I1 is judged by the exchange and by the orders that left, to the millisecond, and not by what the journal says of either. Only
I3 holds the journal against the exchange, and leaves it the moment in which the trader writes after its orders have left.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from math import inf

from app.clock import Clock
from app.domain.instrument import Side
from app.domain.orders import ExchangeEvent, Fill, Order, OrderKind, OrderState, OrderStatus
from app.domain.plan import OrderName, Plan, Purpose, trade_id_for
from app.domain.risk.breakers import Breaker
from app.domain.trade.state import is_beyond
from app.simulator.venue import Venue
from app.storage.audit import ESCALATION_LIMIT_MS, EXIT_LIMIT_MS, NAKED_LIMIT_MS, Breach
from app.storage.port import Entry, FillNote, Note, TradeClosed
from app.trader.desk import WRITE_AFTER_S

GRAIN_S = 1e-6  # of two clocks that mean the same moment
INVARIANTS = {
    "I1": "the open quantity is under a working stop within 1 s, or its escalation ends within 2.5 s",
    "I2": "one alert makes at most one trade",
    "I3": "positions equal the journal's sum of fills",
    "I4": "a closed trade leaves no order and no position",
    "I5": "a working stop moves only in the trade's favour",
    "I6": "no entry while paused or a breaker is tripped; the loss to the stop within the allowed risk, the worst case bounded",
    "I7": "an order's intent is durable before it is sent, and its client id names it",
}
_name = lru_cache(maxsize=4096)(OrderName.parse)  # the same few orders are looked at after every event
AUDITED = ("I1", "I3", "I4", "I5", "I6", "I7")


@dataclass(frozen=True, slots=True)
class Broken:
    at_ms: int
    trade_id: str
    breach: Breach


@dataclass(slots=True)
class _Leg:
    symbol: str
    side: Side
    limit: Decimal  # the most the plan allows
    journalled: Decimal = Decimal(0)  # signed sum of the journal's fills
    tightest: Decimal | None = None  # trigger of the best working stop the exchange has acknowledged
    uncovered_since: float | None = None
    escalated: bool = False  # a stop has left when the first second was over
    exiting: bool = False  # a market exit has left
    differs_since: float | None = None


@dataclass(slots=True)
class _Watched:
    plan: Plan
    legs: tuple[_Leg, ...]
    bought: Decimal = Decimal(0)
    paid: Decimal = Decimal(0)
    fills: set[tuple[str, int]] = field(default_factory=set)  # a recovered trade writes its fills again
    reported: set[tuple[str, int]] = field(default_factory=set)  # what lasts is said once: invariant, leg


class Invariants:
    """``lag_s``: how long the journal may trail the exchange before that counts as a difference. ``hearing_s``: how long the
    exchange's word may be on its way to the trader, whose seconds begin when it hears. ``stall_s``: on a real clock, who looks
    all the time and finds so long a gap knows that the host gave nobody any time: what goes on begins anew then."""

    def __init__(
        self, venue: Venue, clock: Clock, *, lag_s: float = WRITE_AFTER_S, hearing_s: float = 0.0, stall_s: float = inf
    ) -> None:
        self._venue = venue
        self._clock = clock
        self._lag_s = lag_s
        self._hearing_s = hearing_s
        self._stall_s = stall_s
        self._looked_at = clock.monotonic()
        self.stalls = 0
        self._live: dict[str, _Watched] = {}
        self._closed: set[str] = set()
        self._keys: dict[str, str] = {}  # alert key → trade
        self._sent: set[str] = set()
        self._paused = ""
        self._tripped: set[Breaker] = set()
        self._absent = False
        self.checks = dict.fromkeys(INVARIANTS, 0)
        self.broken: list[Broken] = []

    # -- what happens ---------------------------------------------------------------------------------------------------

    def plan_written(self, plan: Plan) -> None:
        first = self._keys.setdefault(plan.alert_key, plan.trade_id)
        known = plan.trade_id in self._live or plan.trade_id in self._closed
        self._check("I2", plan.trade_id, first == plan.trade_id and not known, f"the alert is that of trade {first}")
        self._check("I2", plan.trade_id, plan.trade_id == trade_id_for(plan.alert_key), "its id does not follow from the alert")
        self._check("I6", plan.trade_id, not self._paused, f"planned while paused ({self._paused})")
        bound = plan.rules.fees.max_worst_case_r
        self._check("I6", plan.trade_id, plan.worst_case_r <= bound, f"worst case {plan.worst_case_r} R, allowed {bound} R")
        hedges = (_Leg(h.instrument.symbol, h.side, h.max_quantity) for h in plan.hedges)
        self._live[plan.trade_id] = _Watched(plan, (_Leg(plan.symbol, plan.side, plan.quantity), *hedges))
        self._look()

    def entry_written(self, entry: Entry) -> None:
        match entry:
            case Note(trade_id=trade_id, kind=kind, data=data):
                self._noted(kind, str(data.get("reason", "")))
                self._breaker(kind, str(data.get("breaker", "")))
            case FillNote(trade_id=trade_id, fill=fill):
                self._filled(trade_id, fill)
            case TradeClosed(trade_id=trade_id):
                self._ended(trade_id)
            case _:
                pass
        self._look()

    def order_sent(self, order: Order) -> None:
        name = _name(order.client_id)
        watched = self._live.get(name.trade_id) if name is not None else None
        if name is None or watched is None:
            self._check("I7", "", False, f"{order.client_id} was sent without a journalled plan")
            return
        leg = watched.legs[name.leg] if name.leg < len(watched.legs) else None
        is_entry = name.purpose.is_entry
        tripped = [b for b in self._tripped if is_entry and (b.halts or b is Breaker.of_side(watched.plan.side))]
        self._check("I6", name.trade_id, not tripped, f"{order.client_id} sent while {', '.join(tripped)} is tripped")
        as_planned = (
            leg is not None
            and order.symbol == leg.symbol
            and order.side is (leg.side if is_entry else leg.side.opposite)
            and (order.quantity is None or order.quantity <= leg.limit)
        )
        self._check("I7", name.trade_id, as_planned, f"{order.client_id} is no order of the plan")
        self._check("I7", name.trade_id, order.client_id not in self._sent, f"{order.client_id} was sent twice")
        self._sent.add(order.client_id)
        if leg is not None:
            self._answers_for_cover(leg, name.purpose)

    def exchange_said(self, event: ExchangeEvent) -> None:
        if isinstance(event, OrderState) and event.kind is OrderKind.ALGO and event.status is OrderStatus.OPEN:
            self._stop_rests(event)
        self._look()

    def time_passes(self) -> None:
        """Everything of this moment has happened; the next is about to come."""
        self._look(at_rest=True)

    def audited(self, trade_id: str, breaches: Sequence[Breach]) -> None:
        """The last look at a closed trade's journal, by ``audit_trade``."""
        for invariant in AUDITED:
            found = [breach.what for breach in breaches if breach.invariant == invariant]
            self._check(invariant, trade_id, not found, "; ".join(found))

    def absent(self) -> None:
        """The trader is dead or the exchange does not answer it: that time does not count."""
        self._absent = True

    def back(self) -> None:
        """It lives, and is past its reconciliation."""
        self._absent = False
        self._begin_anew()

    def _begin_anew(self) -> None:
        """What has gone on so far does not count."""
        now = self._clock.monotonic()
        for watched in self._live.values():
            for leg in watched.legs:
                leg.uncovered_since = None if leg.uncovered_since is None else now
                leg.differs_since = None if leg.differs_since is None else now

    # -- what follows from one event --------------------------------------------------------------------------------------

    def _noted(self, kind: str, reason: str) -> None:
        if kind == "paused":
            self._paused = reason or "paused"
        elif kind == "operator_resume":
            self._paused = ""

    def _breaker(self, kind: str, breaker: str) -> None:
        if kind == "breaker_tripped":
            self._tripped.add(Breaker(breaker))
        elif kind == "breaker_resumed":
            self._tripped.discard(Breaker(breaker))

    def _filled(self, trade_id: str, fill: Fill) -> None:
        watched, key = self._live.get(trade_id), (fill.symbol, fill.venue_trade_id)
        if watched is None or key in watched.fills:
            return
        watched.fills.add(key)
        plan, name = watched.plan, _name(fill.client_id)
        for leg in watched.legs:
            if leg.symbol == fill.symbol:
                leg.journalled += fill.quantity * fill.side.sign
        if name is not None and name.leg == 0 and name.purpose.is_entry:
            watched.bought += fill.quantity
            watched.paid += fill.quantity * fill.price
            distance = abs(watched.paid / watched.bought - plan.stop)
            loss, allowed = distance * watched.bought, plan.risk_usdt + distance * plan.instrument.step
            self._check("I6", trade_id, loss <= allowed, f"at risk {loss:.2f} USDT, allowed {allowed:.2f}")

    def _ended(self, trade_id: str) -> None:
        watched = self._live.pop(trade_id, None)
        self._closed.add(trade_id)
        if watched is None:
            return
        owned = {leg.symbol for other in self._live.values() for leg in other.legs}
        for leg in watched.legs:
            held = self._held(leg.symbol)
            self._check("I3", trade_id, leg.journalled == 0, f"{leg.symbol}: closed with fills that sum to {leg.journalled}")
            self._check("I4", trade_id, held == 0 or leg.symbol in owned, f"closed while {held} {leg.symbol} is held")

    def _stop_rests(self, state: OrderState) -> None:
        name = _name(state.client_id)
        watched = self._live.get(name.trade_id) if name is not None else None
        if name is None or watched is None or name.purpose is not Purpose.STOP or name.leg >= len(watched.legs):
            return
        leg = watched.legs[name.leg]
        worse = leg.tightest is not None and leg.tightest != state.price and is_beyond(leg.side, state.price, leg.tightest)
        self._check("I5", name.trade_id, not worse, f"{leg.symbol}: the working stop went from {leg.tightest} to {state.price}")
        if not worse:
            leg.tightest = state.price

    def _answers_for_cover(self, leg: _Leg, purpose: Purpose) -> None:
        """A stop sent when the first second is over is its escalation, by the trader's own clock; an exit ends the leg."""
        if purpose is Purpose.EXIT:
            leg.exiting = True
        elif purpose is Purpose.STOP and leg.uncovered_since is not None:
            naked_s = self._clock.monotonic() - leg.uncovered_since
            leg.escalated = leg.escalated or naked_s >= NAKED_LIMIT_MS / 1000 - self._hearing_s - GRAIN_S

    # -- what must hold at every moment -----------------------------------------------------------------------------------

    def _look(self, *, at_rest: bool = False) -> None:
        before, self._looked_at = self._looked_at, self._clock.monotonic()
        if self._looked_at - before > self._stall_s:
            self.stalls += 1
            self._begin_anew()
        if self._absent or (at_rest and not self._live):
            return
        for trade_id, watched in self._live.items():
            for index, leg in enumerate(watched.legs):
                held = self._held(leg.symbol)
                self._look_at_cover(trade_id, watched, index, leg, held)
                self._look_at_sums(trade_id, watched, index, leg, held)
        self._look_for_leftovers()

    def _look_at_cover(self, trade_id: str, watched: _Watched, index: int, leg: _Leg, held: Decimal) -> None:
        now = self._clock.monotonic()
        since = leg.uncovered_since
        naked_ms = 0.0 if since is None else (now - since) * 1000
        in_time = naked_ms <= _limit_ms(leg) + (self._hearing_s + GRAIN_S) * 1000
        self._check_lasting("I1", trade_id, watched, index, in_time, f"{leg.symbol}: {naked_ms:.0f} ms without a working stop")
        if held * leg.side.sign <= 0 or self._is_covered(trade_id, leg, held):
            leg.uncovered_since, leg.escalated = None, False
            leg.exiting = leg.exiting and held * leg.side.sign > 0
        elif since is None:
            leg.uncovered_since = now

    def _is_covered(self, trade_id: str, leg: _Leg, held: Decimal) -> bool:
        for algo in self._venue.open_algos(leg.symbol):
            name = _name(algo.client_id)
            is_working = name is not None and name.trade_id == trade_id and name.purpose is Purpose.STOP
            if is_working and algo.side is leg.side.opposite and (algo.close_position or algo.quantity >= abs(held)):
                return True
        return False

    def _look_at_sums(self, trade_id: str, watched: _Watched, index: int, leg: _Leg, held: Decimal) -> None:
        now = self._clock.monotonic()
        since = leg.differs_since
        agrees = since is None or now - since <= self._lag_s + 1e-9
        what = f"{leg.symbol}: the journal's fills sum to {leg.journalled}, the exchange holds {held}"
        self._check_lasting("I3", trade_id, watched, index, agrees or held == leg.journalled, what)
        if held == leg.journalled:
            leg.differs_since = None
        elif since is None:
            leg.differs_since = now

    def _look_for_leftovers(self) -> None:
        left = [name for name in self._resting() if name.trade_id in self._closed]
        self._check("I4", left[0].trade_id if left else "", not left, f"{left[0].client_id} is still open" if left else "")

    def _resting(self) -> Iterator[OrderName]:
        plain = (order.client_id for order in self._venue.open_orders())
        for client_id in (*plain, *(algo.client_id for algo in self._venue.open_algos())):
            if (name := _name(client_id)) is not None:
                yield name

    def _held(self, symbol: str) -> Decimal:
        return self._venue.held(symbol)

    # -- counting -----------------------------------------------------------------------------------------------------------

    def _check(self, invariant: str, trade_id: str, holds: bool, what: str) -> None:
        self.checks[invariant] += 1
        if not holds:
            self.broken.append(Broken(self._clock.wall_ms(), trade_id, Breach(invariant, what)))

    def _check_lasting(self, invariant: str, trade_id: str, watched: _Watched, leg: int, holds: bool, what: str) -> None:
        """As ``_check``; what goes on is one breach until it is over."""
        key = (invariant, leg)
        if holds:
            watched.reported.discard(key)
        self._check(invariant, trade_id, holds or key in watched.reported, what)
        if not holds:
            watched.reported.add(key)


def _limit_ms(leg: _Leg) -> float:
    """How long it may be without a working stop: longer once a second stop or the exit has left."""
    if leg.exiting:
        return EXIT_LIMIT_MS
    return ESCALATION_LIMIT_MS if leg.escalated else NAKED_LIMIT_MS
