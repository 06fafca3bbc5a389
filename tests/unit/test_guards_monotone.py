"""What holds for every guard that measures something: once it refuses, it refuses whatever is worse, and says why by name.

Breakers, events, value at risk, net exposure and funding: ``test_risk_guards`` and ``test_calendar``; correlation:
``test_triple``; margin and worst case: ``test_guards``.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal

import pytest
from domain_examples import ACCOUNT, NOW_MS, D, market
from hypothesis import given
from hypothesis import strategies as st

from app.domain import guards, limits, structure
from app.domain.instrument import Side
from app.domain.market import MINUTE_MS, Bar, Quote, RegimeReading, StructureReading
from app.domain.refusals import REFUSALS
from app.domain.risk import guards as risk_guards
from app.domain.rules import TradingRules
from app.domain.signal import Action, Alert
from app.domain.triple import TURNOVER_INTERVAL_MS, turnover
from app.domain.verdict import Verdict

RULES = TradingRules()
BTC = market().symbols["BTCUSDT"]
PRICE = D(85_000)
assert BTC.quote is not None
assert BTC.mark is not None
assert BTC.bars is not None
QUOTE, MARK, BARS = BTC.quote, BTC.mark, BTC.bars


def fees(badness: Decimal) -> Verdict:
    return limits.fees(badness, RULES.fees)


def liquidation(badness: Decimal) -> Verdict:
    """By the stop's distance from the price."""
    return limits.liquidation(Side.BUY, PRICE, PRICE, PRICE - badness, RULES.sizing.leverage, D("0.005"))


def price_match(badness: Decimal) -> Verdict:
    return guards.price_match(Alert("BTCUSDT", Action.BUY, price=PRICE + badness), [PRICE], RULES.stop)


def through_stop(badness: Decimal) -> Verdict:
    bid = PRICE - badness
    return guards.price_through_stop(Side.BUY, Quote("BTCUSDT", bid, D(1), bid + 1, D(1), NOW_MS), D(84_600))


def discount(badness: Decimal) -> Verdict:
    ask = D(80_000) + badness
    range_ms = structure.RANGE_MS
    ranged = StructureReading("BTCUSDT", range_ms, NOW_MS - NOW_MS % range_ms - range_ms, 85_000.0, 1, 1, 86_000.0, 84_000.0)
    return structure.discount(Side.BUY, Quote("BTCUSDT", ask - 1, D(1), ask, D(1), NOW_MS), ranged, NOW_MS, RULES)


def volatility(badness: Decimal) -> Verdict:
    reading = RegimeReading("BTCUSDT", None, None, 0.0005, float(badness), NOW_MS)
    return risk_guards.volatility("BTCUSDT", replace(BTC, regime=reading), NOW_MS, RULES.risk.volatility)


def atr(badness: Decimal) -> Verdict:
    wild = replace(BTC, bars=replace(BARS, atr14=float(badness)))
    return risk_guards.volatility("BTCUSDT", wild, NOW_MS, RULES.risk.volatility)


def thin(badness: Decimal) -> Verdict:
    close_ms = NOW_MS - MINUTE_MS
    bar = Bar("ETHUSDT", TURNOVER_INTERVAL_MS, close_ms - TURNOVER_INTERVAL_MS, 1.0, 1.0, 1.0, 1.0, 1e7 - float(badness))
    return turnover("ETHUSDT", replace(BTC, quarter=bar), NOW_MS, RULES)


AGES: Mapping[str, Callable[[int], Verdict]] = {
    "alert_age": lambda age: guards.alert_age(age, RULES.freshness),
    "bar_time": lambda age: guards.bar_time(Alert("BTCUSDT", Action.BUY, bar_time_ms=NOW_MS - age), NOW_MS, RULES),
    "quote": lambda age: guards.quote("BTCUSDT", replace(QUOTE, time_ms=NOW_MS - age), NOW_MS, RULES.freshness),
    "mark": lambda age: guards.mark("BTCUSDT", replace(BTC, mark=replace(MARK, time_ms=NOW_MS - age)), NOW_MS, RULES.freshness),
    "bars": lambda age: guards.bars("BTCUSDT", replace(BARS, open_ms=NOW_MS - age - BARS.interval_ms), NOW_MS, RULES),
    "equity": lambda age: guards.equity(replace(ACCOUNT, age_ms=age), RULES.freshness),
    "funding": lambda age: guards.funding(
        "BTCUSDT", Side.BUY, replace(BTC, mark=replace(MARK, time_ms=NOW_MS - age)), NOW_MS, RULES.freshness, RULES.funding
    ),
}
# guard, what it is asked, badness that passes, badness that does not
MEASURES: Mapping[str, tuple[Callable[[Decimal], Verdict], Decimal, Decimal]] = {
    "fees": (fees, D("0.75"), D("0.76")),
    "liquidation": (liquidation, D(400), D(4_000)),
    "price_match": (price_match, D(200), D(300)),
    "price_through_stop": (through_stop, D(399), D(400)),
    "discount": (discount, D("4999.9"), D(5_000)),
    "volatility": (volatility, D(3), D("3.1")),
    "volatility by ATR": (atr, D(849), D(851)),
    "turnover": (thin, D(4_999_999), D(5_000_000)),
}
badness = st.decimals("1", "9999", places=1)


def says_why(verdict: Verdict, guard: str) -> None:
    assert verdict.guard == guard
    assert verdict.reason
    assert verdict.passed is (verdict.code == "")
    assert verdict.passed or verdict.code in REFUSALS


@pytest.mark.parametrize("guard", AGES)
@given(st.integers(0, 3_600_000), st.integers(0, 3_600_000))
def test_older_facts_never_open(guard: str, one: int, other: int) -> None:
    younger, older = AGES[guard](min(one, other)), AGES[guard](max(one, other))
    assert younger.passed or not older.passed
    for verdict in (younger, older):
        says_why(verdict, guard)
    assert AGES[guard](0).passed
    assert not AGES[guard](3_600_000).passed


@pytest.mark.parametrize("name", MEASURES)
@given(badness, badness)
def test_worse_facts_never_open(name: str, one: Decimal, other: Decimal) -> None:
    ask, passes, fails = MEASURES[name]
    better, worse = ask(min(one, other)), ask(max(one, other))
    assert better.passed or not worse.passed
    for verdict in (better, worse, ask(passes), ask(fails)):
        says_why(verdict, name.split()[0])
    assert ask(passes).passed
    assert not ask(fails).passed
