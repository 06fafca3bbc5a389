"""All that lasts of risk: results, unit value, order delays and the breakers that are tripped. JSON-able, survives a restart.

Every method returns the book as it is then and what happened: ``(RiskBook, events)``. Facts told twice change nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from pydantic import TypeAdapter

from app.domain.instrument import Side
from app.domain.risk.breakers import Breaker, Change, RiskEvent, Trip
from app.domain.risk.calendar import Calendar
from app.domain.risk.days import DAY_MS, FLAT, DayBook, OpenR
from app.domain.risk.latency import Latency
from app.domain.risk.ramp import Record, ramp_stage
from app.domain.risk.rules import BreakerRules, RampRules, RiskRules
from app.domain.risk.unit_value import UnitValue
from app.domain.risk.view import OpenPosition, RiskView

Events = tuple[RiskEvent, ...]
KNOWN_MS = 3 * DAY_MS  # so long a closed trade is known again: whoever tells closings again goes back no further


@dataclass(frozen=True, slots=True)
class Known:
    trade_id: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class RiskBook:
    days: DayBook = field(default_factory=DayBook)
    worth: UnitValue = field(default_factory=UnitValue)
    delays: Latency = field(default_factory=Latency)
    record: Record = field(default_factory=Record)
    trips: tuple[Trip, ...] = ()
    known: tuple[Known, ...] = ()  # closed trades already counted

    # --- facts --------------------------------------------------------------------------------------------------------

    def closed(
        self,
        trade_id: str,
        side: Side,
        net_r: Decimal,
        at_ms: int,
        rules: RiskRules,
        open_r: OpenR = FLAT,
        *,
        is_of_the_strategy: bool = True,
    ) -> tuple["RiskBook", Events]:
        """A trade that had filled is over. ``open_r`` is that of the trades still open. One already counted changes nothing.

        Every trade counts against the breakers, only the strategy's own earn leverage."""
        if self.record.has(trade_id) or any(known.trade_id == trade_id for known in self.known):
            return self, ()
        book, events = self.tick(at_ms, rules)  # what it lost is no longer open and not yet counted: nothing is judged here
        days = book.days.closed(side, net_r, at_ms)
        record = book.record.closed(trade_id, net_r) if is_of_the_strategy else book.record
        known = (*(known for known in book.known if known.at_ms > days.seen_ms - KNOWN_MS), Known(trade_id, at_ms))
        step = _Step(replace(book, days=days, record=record, known=known), at_ms)
        step.judge_days(open_r, rules.breakers)
        return step.book, (*events, *step.events)

    def equity(
        self, equity: Decimal, at_ms: int, rules: RiskRules, base_risk: Decimal, transferred: Decimal = Decimal(0)
    ) -> tuple["RiskBook", Events]:
        """Equity was read. ``transferred`` USDT of it came in (negative: went out) since the last reading: tell it no later than
        the equity that holds it, or a deposit counts as profit. ``base_risk`` is the risk setting, before any throttle."""
        book, events = self.tick(at_ms, rules)
        step = _Step(replace(book, worth=book.worth.read(equity, transferred, at_ms, rules.breakers.high_days)), at_ms)
        step.judge_equity(base_risk, rules.breakers)
        return step.book, (*events, *step.events)

    def delayed(self, delay_ms: float, at_ms: int, rules: RiskRules) -> tuple["RiskBook", Events]:
        """An order took so long from receipt to acknowledgement, the intended wait aside."""
        step = _Step(replace(self, delays=self.delays.taken(delay_ms, at_ms, rules.latency)), at_ms)
        step.judge_delays(rules)
        return step.book, tuple(step.events)

    def tick(self, now_ms: int, rules: RiskRules, open_r: OpenR | None = None) -> tuple["RiskBook", Events]:
        """Time has passed: days begin, windows roll. ``open_r`` counts towards the day's R; None: it is not known just now."""
        days, worth = self.days.at(now_ms), self.worth.at(now_ms, rules.breakers.high_days)
        step = _Step(replace(self, days=days, worth=worth, delays=self.delays.at(now_ms, rules.latency)), now_ms)
        if days.day > self.days.day:
            for trip in self.trips:
                if trip.breaker.is_of_the_day:
                    step.resume(trip.breaker, "a new UTC day")
        if open_r is not None:
            step.judge_days(open_r, rules.breakers)
        return step.book, tuple(step.events)

    def reset(self, breaker: Breaker, at_ms: int) -> tuple["RiskBook", Events]:
        """By the operator's hand: what the breaker measures begins anew. One that is not tripped stays as it is.

        The two of the day measure one thing and are reset together, as are the two of the all-time high. The drawdown that
        throttles risk is measured on: a reset lets trade again, it does not forget the loss.
        """
        if breaker not in self.tripped:
            return self, ()
        step = _Step(self._begun_anew(breaker), at_ms)
        for trip in self.trips:
            if trip.breaker in (breaker, _TWIN.get(breaker)):
                step.resume(trip.breaker, "reset by the operator")
        return step.book, tuple(step.events)

    def _begun_anew(self, breaker: Breaker) -> "RiskBook":
        match breaker:
            case Breaker.DAY_ENTRIES | Breaker.DAY_HALT:
                return replace(self, days=replace(self.days, total_r=Decimal(0)))
            case Breaker.LONG_SIDE:
                return replace(self, days=replace(self.days, long_r=Decimal(0)))
            case Breaker.SHORT_SIDE:
                return replace(self, days=replace(self.days, short_r=Decimal(0)))
            case Breaker.ROLLING_24H:
                return replace(self, days=replace(self.days, window=()))
            case Breaker.ATH_STOP | Breaker.ATH_R:
                return replace(self, worth=self.worth.restarted())
            case Breaker.HIGH_R:
                return replace(self, worth=self.worth.window_restarted())
            case Breaker.LATENCY:
                return replace(self, delays=Latency())

    # --- what follows -------------------------------------------------------------------------------------------------

    @property
    def tripped(self) -> frozenset[Breaker]:
        return frozenset(trip.breaker for trip in self.trips)

    @property
    def must_be_flat(self) -> bool:
        """A breaker that closes everything is tripped: true again after a restart."""
        return any(breaker.flattens for breaker in self.tripped)

    def stage(self, rules: RampRules) -> int | None:
        """Of the leverage ramp, from 0; None: there is no ramp."""
        return ramp_stage(self.record.trades, self.record.profit_factor, self.worth.drawdown, rules) if rules.on else None

    def leverage(self, rules: RiskRules, largest: int) -> int:
        """What should be set at the next flat state; ``largest`` is the setting's (rules.sizing.leverage)."""
        stage = self.stage(rules.ramp)
        wanted = largest if stage is None else min(largest, rules.ramp.leverages[stage])
        return min(wanted, rules.latency.leverage) if Breaker.LATENCY in self.tripped else wanted

    def view(
        self,
        rules: RiskRules,
        leverage: int | None = None,
        positions: tuple[OpenPosition, ...] = (),
        calendar: Calendar | None = None,
    ) -> RiskView:
        """For planning, after a ``tick``. ``leverage`` is the one in force on the exchange."""
        slow = Breaker.LATENCY in self.tripped
        return RiskView(self.trips, self.worth.drawdown, self.stage(rules.ramp), leverage, slow, positions, calendar)

    def to_json(self) -> dict[str, Any]:
        stored: dict[str, Any] = _ADAPTER.dump_python(self, mode="json")
        return stored

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "RiskBook":
        """Raises ValueError for what ``to_json`` did not write."""
        return _ADAPTER.validate_python(dict(stored))


_ADAPTER = TypeAdapter(RiskBook)
_TWIN = {
    Breaker.DAY_ENTRIES: Breaker.DAY_HALT,
    Breaker.DAY_HALT: Breaker.DAY_ENTRIES,
    Breaker.ATH_STOP: Breaker.ATH_R,
    Breaker.ATH_R: Breaker.ATH_STOP,
}


class _Step:
    """One step under way: the book as it becomes, and what happens to its breakers."""

    def __init__(self, book: RiskBook, at_ms: int) -> None:
        self.book = book
        self.events: list[RiskEvent] = []
        self._at_ms = at_ms

    def trip(self, breaker: Breaker, cause: str) -> None:
        if breaker not in self.book.tripped:
            self.book = replace(self.book, trips=(*self.book.trips, Trip(breaker, cause, self._at_ms)))
            self.events.append(RiskEvent(breaker, Change.TRIPPED, cause, self._at_ms))

    def resume(self, breaker: Breaker, cause: str) -> None:
        if breaker in self.book.tripped:
            self.book = replace(self.book, trips=tuple(trip for trip in self.book.trips if trip.breaker is not breaker))
            self.events.append(RiskEvent(breaker, Change.RESUMED, cause, self._at_ms))

    def judge_days(self, open_r: OpenR, rules: BreakerRules) -> None:
        """Those of the day hold until it ends, whatever the open trades still make."""
        days = self.book.days
        total = days.total_r + open_r.total
        for breaker, r, limit, what in (
            (Breaker.DAY_ENTRIES, total, rules.day_entries_r, "on this UTC day"),
            (Breaker.DAY_HALT, total, rules.day_halt_r, "on this UTC day"),
            (Breaker.LONG_SIDE, days.long_r + open_r.long, rules.side_r, "with this UTC day's longs"),
            (Breaker.SHORT_SIDE, days.short_r + open_r.short, rules.side_r, "with this UTC day's shorts"),
            (Breaker.ROLLING_24H, days.window_r + open_r.total, rules.rolling_24h_r, "within 24 hours"),
        ):
            if r <= -limit:
                self.trip(breaker, f"{r:.2f} R {what}, the limit is -{limit} R")
        if open_r.is_flat and days.window_r > -rules.rolling_24h_r:
            self.resume(Breaker.ROLLING_24H, f"{days.window_r:.2f} R within 24 hours")

    def judge_equity(self, base_risk: Decimal, rules: BreakerRules) -> None:
        worth = self.book.worth
        value = worth.value
        if value is None:
            return
        for breaker, level, what in equity_levels(worth.reference, worth.recent_high, base_risk, rules):
            if value <= level:
                self.trip(breaker, f"a unit is worth {value:.6g}, at or under {level:.6g}, {what}")
            elif breaker is Breaker.HIGH_R and self._is_older_than_today(breaker):
                self.resume(breaker, f"a unit is worth {value:.6g}, over {level:.6g}, {what}")

    def _is_older_than_today(self, breaker: Breaker) -> bool:
        """The window rolls once a day: it is not judged again on the day it tripped."""
        return any(trip.breaker is breaker and trip.at_ms // DAY_MS < self.book.days.day for trip in self.book.trips)

    def judge_delays(self, rules: RiskRules) -> None:
        delays = self.book.delays
        middle = delays.median_ms(rules.latency)
        if middle is None:
            return  # too few to change anything by
        if delays.slow:
            self.trip(Breaker.LATENCY, f"the median order took {middle:.0f} ms, over {rules.latency.slow_ms} ms")
        else:
            self.resume(Breaker.LATENCY, f"the median order took {middle:.0f} ms, under {rules.latency.fast_ms} ms")


def equity_levels(
    reference: Decimal, recent_high: Decimal, base_risk: Decimal, rules: BreakerRules
) -> tuple[tuple[Breaker, Decimal, str], ...]:
    """At or under which unit value each equity breaker trips, and in words. R is base risk × the reference high."""
    return (
        (Breaker.ATH_STOP, reference * (1 - rules.ath_stop), f"{rules.ath_stop:.2%} below the all-time high"),
        (Breaker.ATH_R, reference * (1 - rules.ath_r * base_risk), f"{rules.ath_r} R below the all-time high"),
        (Breaker.HIGH_R, recent_high * (1 - rules.high_r * base_risk), f"{rules.high_r} R below the {rules.high_days}-day high"),
    )
