"""The risk guards in a plan: each refuses, shrinks or caps by its own rule, and none ever lets more through for worse facts."""

from dataclasses import replace
from decimal import Decimal

import pytest
from domain_examples import ACCOUNT, DESK, NOW_MS, D, market
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.instrument import Side
from app.domain.market import BarIndicators, MarkPrice, RegimeReading
from app.domain.plan import Plan
from app.domain.planning import Outcome, PlanIds, Planned, Refused, plan_trade
from app.domain.risk.allowed import allowed_risk, base_risk, throttle
from app.domain.risk.breakers import Breaker, Trip
from app.domain.risk.calendar import Calendar, HighImpactEvent
from app.domain.risk.exposure import Line, covariance_matrix, is_same_bet, largest_in_net, largest_in_var, value_at_risk
from app.domain.risk.funding import FundingRules, funding_gate
from app.domain.risk.rules import ExposureRules, RiskRules, ThrottleRules
from app.domain.risk.view import CALM, OpenPosition, RiskView
from app.domain.rules import HedgeRules, SizingRules, TradingRules
from app.domain.signal import Action, Alert
from app.domain.verdict import Verdict
from app.domain.views import DeskView, MarketView, SymbolView

RULES = TradingRules()
UNHEDGED = TradingRules(hedge=HedgeRules(symbols=()))
LIVE = DeskView(live=True, armed=True)
LONG = Alert("BTCUSDT", Action.BUY, ob_bottom=D(84_720), ob_top=D(84_900))
SHORT = Alert("BTCUSDT", Action.SELL, ob_bottom=D("85099.9"), ob_top=D("85279.9"))


def outcome(
    risk: RiskView = CALM, alert: Alert = LONG, view: MarketView | None = None, rules: TradingRules = RULES, desk: DeskView = DESK
) -> Outcome:
    return plan_trade(alert, view or market(), ACCOUNT, desk, rules, PlanIds("a", "k"), risk)


def planned(
    risk: RiskView = CALM, alert: Alert = LONG, view: MarketView | None = None, rules: TradingRules = RULES, desk: DeskView = DESK
) -> Plan:
    found = outcome(risk, alert, view, rules, desk)
    assert isinstance(found, Planned), found
    return found.plan


def refused(
    risk: RiskView = CALM, alert: Alert = LONG, view: MarketView | None = None, rules: TradingRules = RULES
) -> tuple[str, str]:
    found = outcome(risk, alert, view, rules)
    assert isinstance(found, Refused), found
    return found.refusal.guard, found.refusal.code


def verdict(guard: str, risk: RiskView = CALM, view: MarketView | None = None, rules: TradingRules = RULES) -> Verdict:
    return next(verdict for verdict in outcome(risk, view=view, rules=rules).verdicts if verdict.guard == guard)


def tripped(*breakers: Breaker) -> RiskView:
    return RiskView(trips=tuple(Trip(breaker, "-3.00 R", NOW_MS) for breaker in breakers))


def btc(**changes: object) -> MarketView:
    return market(BTCUSDT=replace(market().symbols["BTCUSDT"], **changes))  # type: ignore[arg-type]


def regime(
    symbol: str = "BTCUSDT", volatility: float | None = None, ratio: float | None = None, age_ms: int = 4_000
) -> RegimeReading:
    return RegimeReading(symbol, None, None, volatility, ratio, NOW_MS - age_ms)


def moving(**volatilities: float) -> MarketView:
    """The usual market with these volatilities of a minute known."""
    views: dict[str, SymbolView | None] = {
        symbol: replace(market().symbols[symbol], regime=regime(symbol, volatility))
        for symbol, volatility in volatilities.items()
    }
    return market(**views)


# --- breakers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("breaker", "guard", "code"),
    [
        (Breaker.DAY_ENTRIES, "day_breaker", "day_loss_limit"),
        (Breaker.DAY_HALT, "day_breaker", "day_loss_limit"),
        (Breaker.ROLLING_24H, "rolling_24h", "rolling_24h_limit"),
        (Breaker.LONG_SIDE, "side_breaker", "side_loss_limit"),
        (Breaker.ATH_STOP, "equity_stop", "equity_stop"),
        (Breaker.ATH_R, "equity_stop", "equity_stop"),
        (Breaker.HIGH_R, "equity_stop", "equity_stop"),
    ],
)
def test_a_tripped_breaker_refuses_with_its_cause(breaker: Breaker, guard: str, code: str) -> None:
    assert refused(tripped(breaker)) == (guard, code)
    found = outcome(tripped(breaker))
    assert isinstance(found, Refused)
    assert "-3.00 R" in found.refusal.message
    assert found.refusal.reason.startswith("trade skipped due to ")
    assert found.refusal.message.startswith(found.refusal.reason)


def test_one_sides_breaker_leaves_the_other_side_alone() -> None:
    assert planned(tripped(Breaker.SHORT_SIDE)).side is Side.BUY
    assert refused(tripped(Breaker.SHORT_SIDE), SHORT)[1] == "side_loss_limit"
    assert planned(tripped(Breaker.LATENCY)).quantity > 0


@given(st.sets(st.sampled_from(Breaker)), st.sampled_from(Breaker), st.sampled_from([LONG, SHORT]))
def test_one_breaker_more_never_opens_a_trade(breakers: set[Breaker], more: Breaker, alert: Alert) -> None:
    if isinstance(outcome(tripped(*breakers), alert), Refused):
        assert isinstance(outcome(tripped(*breakers, more), alert), Refused)


def test_an_event_refuses_through_the_view() -> None:
    calendar = Calendar((HighImpactEvent(NOW_MS + 60_000, "Rates"),))
    assert refused(RiskView(calendar=calendar)) == ("event", "high_impact_event")


# --- how much may be lost ---------------------------------------------------------------------------------------------


def test_the_first_stage_of_the_ramp_risks_what_a_dry_run_does() -> None:
    assert planned(desk=LIVE).risk_usdt == D(75)
    assert planned(RiskView(stage=0), desk=LIVE).risk_usdt == D(50)
    assert planned(RiskView(stage=1), desk=LIVE).risk_usdt == D(75)


def test_drawdown_slow_orders_and_volatility_each_take_their_part() -> None:
    assert planned(RiskView(drawdown=D("0.02"))).risk_usdt == D("37.5")
    assert planned(RiskView(slow=True)).risk_usdt == D(25)
    assert planned(view=btc(regime=regime(ratio=2.01))).risk_usdt == D(25)
    assert planned(view=btc(regime=regime(ratio=2.0))).risk_usdt == D(50)
    everything = planned(RiskView(drawdown=D("0.5"), slow=True), view=btc(regime=regime(ratio=2.5)))
    assert everything.risk_usdt == D("6.25")
    said = verdict("risk", RiskView(drawdown=D("0.02"), slow=True)).reason
    assert said == "0.1875% of equity, × 0.75 for a drawdown of 2.00%, × 0.5 while orders are slow"


drawdowns = st.decimals("-0.5", "1", places=4)
ratios = st.none() | st.floats(0, 10) | st.just(float("inf"))


@given(st.booleans(), st.sampled_from([None, 0, 1, 2]), drawdowns, st.booleans(), ratios, st.booleans())
def test_the_allowed_risk_is_never_over_its_base_and_falls_with_every_harm(
    live: bool, stage: int | None, drawdown: Decimal, slow: bool, ratio: float | None, beta: bool
) -> None:
    def allowed(drawdown: Decimal = drawdown, slow: bool = slow, ratio: float | None = ratio, beta: bool = beta) -> Decimal:
        view = RiskView(drawdown=drawdown, stage=stage, slow=slow)
        return allowed_risk(RULES.sizing, live, view, ratio, beta, RULES.risk)[0]

    assert 0 < allowed() <= base_risk(RULES.sizing, live, stage) <= RULES.sizing.risk
    assert allowed(drawdown=drawdown + D("0.01")) <= allowed()
    assert allowed(slow=True) <= allowed()
    assert allowed(beta=False) <= allowed()
    assert allowed(ratio=(ratio or 0) + 1) <= allowed(ratio=ratio or 0)


@given(drawdowns, st.decimals("0", "1", places=2), st.decimals("0.01", "1", places=2))
def test_the_throttle_stays_between_its_floor_and_one(drawdown: Decimal, floor: Decimal, span: Decimal) -> None:
    rules = ThrottleRules(floor=floor, span=span)
    assert floor <= throttle(drawdown, rules) <= 1
    assert throttle(drawdown + D("0.01"), rules) <= throttle(drawdown, rules)


def test_a_dry_runs_risk_over_the_live_one_is_no_first_stage() -> None:
    odd = SizingRules(risk=D("0.002"), risk_dry_run=D("0.005"))
    assert base_risk(odd, True, 0) == D("0.002")


def test_planning_sizes_with_the_leverage_in_force() -> None:
    plan = planned(RiskView(leverage=5))
    assert (plan.leverage, planned().leverage) == (5, 20)
    tight = replace(LONG, ob_bottom=None, ob_top=None, sl=D(84_910))
    rules = TradingRules(hedge=HedgeRules(symbols=()), risk=RiskRules(exposure=ExposureRules(max_net=D(50))))
    assert planned(RiskView(leverage=1), tight, rules=rules, desk=LIVE).quantity * 85_000 <= ACCOUNT.equity  # type: ignore[operator]
    assert planned(RiskView(leverage=1), tight, rules=rules).quantity < planned(alert=tight, rules=rules).quantity


# --- volatility -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ratio", "age_ms", "passed"),
    [(3.0, 0, True), (3.01, 0, False), (float("inf"), 0, False), (9.0, 180_001, True), (9.0, 180_000, False)],
)
def test_a_market_wilder_than_usual_is_left_alone(ratio: float, age_ms: int, passed: bool) -> None:
    view = btc(regime=regime(ratio=ratio, age_ms=age_ms))
    assert verdict("volatility", view=view).passed is passed
    if not passed:
        assert refused(view=view) == ("volatility", "volatility_too_high")
        found = outcome(view=view)
        assert isinstance(found, Refused)
        assert found.refusal.reason == "trade skipped due to volatility"


def test_an_atr_over_one_percent_is_left_alone_and_what_is_unknown_says_so() -> None:
    bars = market().symbols["BTCUSDT"].bars
    assert isinstance(bars, BarIndicators)
    assert verdict("volatility", view=btc(bars=replace(bars, atr14=849.0))).passed
    assert not verdict("volatility", view=btc(bars=replace(bars, atr14=851.0))).passed
    assert "not known" in verdict("volatility").reason
    assert "not known" in verdict("volatility", view=btc(regime=regime(ratio=float("nan")))).reason


# --- the whole book ---------------------------------------------------------------------------------------------------


def test_value_at_risk_scales_the_plan_to_its_limit() -> None:
    calm, wild = moving(BTCUSDT=0.0005), moving(BTCUSDT=0.004)
    assert planned(view=calm, rules=UNHEDGED).quantity == planned(rules=UNHEDGED).quantity
    plan = planned(view=wild, rules=UNHEDGED)
    at_risk = value_at_risk([float(plan.quantity * plan.worst_price)], [[0.004**2]], 0.95, 30)
    assert 0.98 * 200 < at_risk <= 200  # 2 % of 10,000
    assert any(warning.startswith("var: ") for warning in plan.warnings)
    assert "no limit" in verdict("var", rules=UNHEDGED).reason


def test_hedges_and_what_is_open_count_in_the_book() -> None:
    wild = moving(BTCUSDT=0.004, ETHUSDT=0.004, SOLUSDT=0.004)
    assert planned(view=wild).quantity > planned(view=wild, rules=UNHEDGED).quantity
    held = RiskView(positions=(OpenPosition("DOGEUSDT", D(1_000)),))
    assert planned(held, view=wild, rules=UNHEDGED).quantity < planned(view=wild, rules=UNHEDGED).quantity
    full = RiskView(positions=(OpenPosition("DOGEUSDT", D(50_000)),))
    assert refused(full, view=wild) == ("var", "var_too_high")
    assert refused(full, view=market()) == ("net_exposure", "net_exposure_too_high")


def test_net_exposure_is_capped_longs_less_shorts() -> None:
    rules = TradingRules(hedge=HedgeRules(symbols=()), risk=RiskRules(exposure=ExposureRules(max_net=D("0.5"))))
    assert planned(rules=rules).quantity == D("0.058")  # 5,000 USDT at 85,100
    short = RiskView(positions=(OpenPosition("ETHUSDT", D(-2_000)),))  # β 0.85
    assert planned(short, rules=rules).quantity == D("0.078")
    assert any(warning.startswith("net_exposure: ") for warning in planned(rules=rules).warnings)


weights = st.floats(-1e6, 1e6)
sigmas = st.floats(1e-5, 0.05)


@settings(max_examples=200)
@given(weights, st.floats(1, 1e6), sigmas, sigmas, st.floats(-1, 1), st.floats(1, 1e6), st.floats(1.01, 3))
def test_the_largest_book_is_within_its_value_at_risk(
    held: float, unit: float, sigma: float, other: float, rho: float, limit: float, more: float
) -> None:
    def covariance(factor: float) -> list[list[float]]:
        return covariance_matrix([sigma * factor, other * factor], [1, 1], ["A", "B"], {frozenset("AB"): rho})

    def largest(limit: float = limit, factor: float = 1.0) -> float:
        return largest_in_var([held, 0.0], [0.0, unit], covariance(factor), limit, 0.95, 30)

    units = largest()
    if units > 0:
        at_risk = value_at_risk([held, units * unit], covariance(1), 0.95, 30)
        assert at_risk <= limit * (1 + 1e-6)
    assert largest(limit=limit / more) <= units * (1 + 1e-9)
    assert largest(factor=more) <= units * (1 + 1e-9)


@given(st.sampled_from([1, -1]), st.sampled_from([1, -1]), st.floats(-1, 1), st.floats(1, 1e5), st.floats(1, 1e5))
def test_a_correlation_not_known_is_the_worst_for_the_book(one: int, two: int, rho: float, a: float, b: float) -> None:
    book = [one * a, two * b]
    unknown = covariance_matrix([0.01, 0.02], [one, two], ["A", "B"], {})
    known = covariance_matrix([0.01, 0.02], [one, two], ["A", "B"], {frozenset("AB"): rho})
    assert value_at_risk(book, known, 0.95) <= value_at_risk(book, unknown, 0.95) * (1 + 1e-12)


amounts = st.decimals("-1e6", "1e6", places=2)


@given(amounts, amounts, st.decimals("-3", "3", places=2), st.decimals("0", "1e6", places=2))
def test_the_largest_book_is_within_its_net_exposure(held: Decimal, unit: Decimal, beta: Decimal, limit: Decimal) -> None:
    lines = (Line("A", D(0), unit, 0.01, D(1)), Line("B", held, D(0), 0.01, beta))
    units = largest_in_net(lines, limit)
    assert units >= 0
    if 0 < units < D("Infinity"):
        assert abs(units * unit + held * beta) <= limit * (1 + D("1e-20")) + D("1e-15")
    assert largest_in_net(lines, limit / 2) <= units


# --- funding and correlation ------------------------------------------------------------------------------------------


@given(st.sampled_from(Side), st.decimals("-0.01", "0.01", places=5), st.decimals("0", "0.01", places=5), st.booleans())
def test_funding_that_costs_more_never_opens_or_prolongs(side: Side, rate: Decimal, more: Decimal, symmetric: bool) -> None:
    rules = FundingRules(symmetric=symmetric)
    dearer = rate + more * (side.sign if symmetric else 1)
    before, after = funding_gate(side, rate, rules), funding_gate(side, dearer, rules)
    assert after.skip or not before.skip
    if not symmetric:
        assert (after.hold_min or 30) <= (before.hold_min or 30)
    assert (before.hold_min is None) or side is Side.SELL


def test_a_short_that_is_paid_is_planned_and_held_for_less_long() -> None:
    mark = market().symbols["BTCUSDT"].mark
    assert isinstance(mark, MarkPrice)
    paid = btc(mark=replace(mark, funding_rate=D("0.0009")))
    symmetric = TradingRules(funding=FundingRules(symmetric=True))
    assert refused(alert=SHORT, view=paid) == ("funding", "funding_too_high")
    assert planned(alert=SHORT, view=paid, rules=symmetric).max_hold_min == 15
    assert planned(alert=SHORT, rules=symmetric).max_hold_min is None
    assert refused(view=paid, rules=symmetric)[1] == "funding_too_high"
    every_four_hours = btc(mark=replace(mark, funding_rate=D("0.00045")), funding_interval_h=4)
    assert planned(alert=SHORT, view=every_four_hours, rules=symmetric).max_hold_min == 15


@given(st.sampled_from(Side), st.sampled_from([None, *Side]), st.decimals("-1", "1", places=3), st.decimals("0", "1", places=3))
def test_a_higher_correlation_never_makes_it_another_bet(
    side: Side, other: Side | None, correlation: Decimal, more: Decimal
) -> None:
    limit = D("0.8")
    if is_same_bet(side, other, correlation, limit):
        assert is_same_bet(side, other, correlation + more, limit)
        assert is_same_bet(side, None, correlation, limit)


# --- all of it together -----------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    st.decimals("0", "0.2", places=3), st.booleans(), st.floats(0.0001, 0.02), st.floats(0.1, 4), st.sampled_from([LONG, SHORT])
)
def test_nothing_the_risk_desk_says_makes_a_trade_larger(
    drawdown: Decimal, slow: bool, volatility: float, ratio: float, alert: Alert
) -> None:
    plain = planned(alert=alert)
    view = moving(BTCUSDT=volatility, ETHUSDT=volatility, SOLUSDT=volatility)
    view = replace(
        view, symbols={**view.symbols, "BTCUSDT": replace(view.symbols["BTCUSDT"], regime=regime("BTCUSDT", volatility, ratio))}
    )
    found = outcome(RiskView(drawdown=drawdown, slow=slow, stage=0, leverage=5), alert, view)
    if isinstance(found, Planned):
        assert found.plan.quantity <= plain.quantity
        assert found.plan.risk_usdt <= plain.risk_usdt
        assert found.plan.worst_case_r <= RULES.fees.max_worst_case_r
