"""The guards that ask the risk desk, the calendar and the market's mood: pure functions with a name and a reason."""

import math
from decimal import Decimal

from app.domain.guards import ok, usable_atr
from app.domain.instrument import Side
from app.domain.market import RegimeReading
from app.domain.refusals import fail
from app.domain.risk.breakers import Breaker
from app.domain.risk.calendar import Calendar
from app.domain.risk.rules import EventRules, VolatilityRules
from app.domain.risk.view import RiskView
from app.domain.verdict import Verdict
from app.domain.views import SymbolView

CLEAR = "not tripped"


def day_breaker(risk: RiskView) -> Verdict:
    """−3 R or −2.5 R on the UTC day: no new entries."""
    trip = risk.trip(Breaker.DAY_HALT, Breaker.DAY_ENTRIES)
    return fail("day_breaker", "day_loss_limit", cause=trip.cause) if trip else ok("day_breaker", CLEAR)


def rolling_24h(risk: RiskView) -> Verdict:
    trip = risk.trip(Breaker.ROLLING_24H)
    return fail("rolling_24h", "rolling_24h_limit", cause=trip.cause) if trip else ok("rolling_24h", CLEAR)


def side_breaker(side: Side | None, risk: RiskView) -> Verdict:
    """−3 R on one side pauses that side only."""
    trip = None if side is None else risk.trip(Breaker.of_side(side))
    return fail("side_breaker", "side_loss_limit", cause=trip.cause) if trip else ok("side_breaker", CLEAR)


def equity_stop(risk: RiskView) -> Verdict:
    trip = risk.trip(Breaker.ATH_STOP, Breaker.ATH_R, Breaker.HIGH_R)
    if trip:
        return fail("equity_stop", "equity_stop", cause=trip.cause)
    return ok("equity_stop", f"{risk.drawdown:.2%} below the all-time high")


def event(calendar: Calendar | None, now_ms: int, rules: EventRules) -> Verdict:
    """No entry within a high-impact event's window. A calendar that has run out or is not there refuses nothing, and says so."""
    if calendar is None:
        return ok("event", "no calendar is configured")
    near = calendar.near(now_ms, rules.before_min, rules.after_min)
    if near is not None:
        window = f"{near}; nothing is opened from {rules.before_min} min before to {rules.after_min} min after"
        return fail("event", "high_impact_event", event=window)
    following = calendar.next_after(now_ms)
    return ok("event", f"next is {following}" if following else "the calendar has run out")


def volatility(symbol: str, view: SymbolView, now_ms: int, rules: VolatilityRules) -> Verdict:
    """Against its own usual, where the stream node knows it; against the price always, by ATR14."""
    ratio, atr = volatility_ratio(view.regime, now_ms, rules), usable_atr(view.bars)
    share = None if atr is None or view.bars is None else atr / Decimal(view.bars.close)
    if share is not None and share > rules.max_atr:
        detail = f"ATR14 is {share:.2%} of the price, over {rules.max_atr:.2%}"
        return fail("volatility", "volatility_too_high", symbol=symbol, detail=detail)
    if ratio is not None and ratio > rules.skip_above:
        detail = f"it moves {ratio:.2f} times its usual of 24 hours, over {rules.skip_above}"
        return fail("volatility", "volatility_too_high", symbol=symbol, detail=detail)
    against_usual = "not known against its usual" if ratio is None else f"{ratio:.2f} times its usual of 24 hours"
    return ok("volatility", against_usual if share is None else f"{against_usual}; ATR14 is {share:.2%} of the price")


def volatility_ratio(reading: RegimeReading | None, now_ms: int, rules: VolatilityRules) -> float | None:
    """None when it is not known or too old."""
    ratio = None if reading is None or not is_fresh(reading, now_ms, rules) else reading.volatility_ratio
    return None if ratio is None or math.isnan(ratio) else ratio


def is_fresh(reading: RegimeReading, now_ms: int, rules: VolatilityRules) -> bool:
    return now_ms - reading.close_ms <= rules.max_age_s * 1000
