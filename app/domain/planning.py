"""From an alert to the whole plan of its trade, or to a named refusal. The order of the guards is the order written here.

The alert: action, symbol, alert_age, bar_time, live_trade. The desk: trading_state, arming, ownership, equity. Risk: day_breaker,
rolling_24h, side_breaker, equity_stop, event. The market: quote, mark, bars, indicators, commission, funding, volatility,
price_match, discount, and in ``triple_alpha`` correlation, turnover. The trade: stop, flow, price_through_stop, price_ran,
slippage, liquidation, fees, risk, filters, hedge, margin, worst_case, var, net_exposure. All guards of the first four groups
speak; the first that failed is the refusal. ``docs/guards.md`` says what each does.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from app.domain import flow, guards, limits, structure
from app.domain.bracket import backstop_price
from app.domain.hedge_legs import Legs, hedge_legs
from app.domain.instrument import Side
from app.domain.levels import Facts, Levels, comparable_prices, plan_levels, planned_fee_r
from app.domain.plan import HedgePlan, Plan, Target, trade_id_for
from app.domain.plan_size import Sizer, unit_costs
from app.domain.refusals import fail, refusal_of
from app.domain.risk import guards as risk_guards
from app.domain.risk.allowed import allowed_risk
from app.domain.risk.funding import funding_gate
from app.domain.risk.view import CALM, RiskView
from app.domain.rules import TradingRules
from app.domain.signal import Alert
from app.domain.sizing import funding_8h
from app.domain.triple import triple_guards
from app.domain.verdict import Refusal, Verdict
from app.domain.views import AccountView, DeskView, MarketView, SymbolView


@dataclass(frozen=True, slots=True)
class PlanIds:
    alert_id: str
    alert_key: str


@dataclass(frozen=True, slots=True)
class Planned:
    plan: Plan
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    refusal: Refusal
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True)
class ClosesOpposite:
    """End the live trade. With ``reverse``, plan the same alert again once flat; without, it opens nothing."""

    side: Side
    reverse: bool
    verdicts: tuple[Verdict, ...]


Outcome = Planned | Refused | ClosesOpposite


def plan_trade(
    alert: Alert,
    market: MarketView,
    account: AccountView,
    desk: DeskView,
    rules: TradingRules,
    ids: PlanIds,
    risk: RiskView = CALM,
) -> Outcome:
    """What this alert becomes now. Never raises for what the market, the account or the sender may show."""
    symbol = alert.symbol if alert.symbol in rules.traded else rules.symbol
    view = market.symbols.get(symbol)
    of_alert = _alert_guards(alert, market, desk, rules)
    of_triple = triple_guards(symbol, alert.side, market, desk, risk, rules)
    of_market = (*_market_guards(alert, symbol, view, market.now_ms, rules), *of_triple)
    of_risk = _risk_guards(alert, risk, market.now_ms, rules)
    verdicts = (*of_alert, *_desk_guards(symbol, account, desk, rules), *of_risk, *of_market)
    side = alert.side
    if _first_failed(of_alert) is None and side is not None and desk.live_trade_side is side.opposite:
        return ClosesOpposite(side, rules.exits.reverse_on_opposite, of_alert)
    failed = _first_failed(verdicts)
    facts = None if side is None or view is None else Facts.of(side, view, account, market.now_ms)
    if failed is not None or facts is None:
        return Refused(refusal_of(failed or _no_market(symbol)), verdicts)
    return _Planner(alert, facts, risk, rules, list(verdicts)).outcome(market, desk, ids)


def _alert_guards(alert: Alert, market: MarketView, desk: DeskView, rules: TradingRules) -> tuple[Verdict, ...]:
    return (
        guards.action(alert),
        guards.symbol(alert, rules),
        guards.alert_age(market.alert_age_ms, rules.freshness),
        guards.bar_time(alert, market.now_ms, rules),
        guards.live_trade(alert, desk),
    )


def _desk_guards(symbol: str, account: AccountView, desk: DeskView, rules: TradingRules) -> tuple[Verdict, ...]:
    return (
        guards.trading_state(desk),
        guards.arming(desk),
        guards.ownership(symbol, desk),
        guards.equity(account, rules.freshness),
    )


def _risk_guards(alert: Alert, risk: RiskView, now_ms: int, rules: TradingRules) -> tuple[Verdict, ...]:
    return (
        risk_guards.day_breaker(risk),
        risk_guards.rolling_24h(risk),
        risk_guards.side_breaker(alert.side, risk),
        risk_guards.equity_stop(risk),
        risk_guards.event(risk.calendar, now_ms, rules.risk.events),
    )


def _market_guards(alert: Alert, symbol: str, view: SymbolView | None, now_ms: int, rules: TradingRules) -> tuple[Verdict, ...]:
    if view is None:
        return (_no_market(symbol),)
    quote = guards.quote(symbol, view.quote, now_ms, rules.freshness)
    verdicts = (
        quote,
        guards.mark(symbol, view, now_ms, rules.freshness),
        guards.bars(symbol, view.bars, now_ms, rules),
        guards.indicators(symbol, view.bars),
        guards.commission(symbol, view.commission),
        guards.funding(symbol, alert.side, view, now_ms, rules.freshness, rules.funding),
        risk_guards.volatility(symbol, view, now_ms, rules.risk.volatility),
    )
    if view.quote is None or not quote.passed:
        return verdicts
    price_match = guards.price_match(alert, comparable_prices(alert, view.quote, view.bars), rules.stop)
    return (*verdicts, price_match, structure.discount(alert.side, view.quote, view.range, now_ms, rules))


def _first_failed(verdicts: Iterable[Verdict]) -> Verdict | None:
    return next((verdict for verdict in verdicts if not verdict.passed), None)


def _no_market(symbol: str) -> Verdict:
    return fail("quote", "stale_price", symbol=symbol, detail="no market data yet")


class _Planner:
    """One planning, step by step: every step notes its verdict and may refuse."""

    def __init__(self, alert: Alert, facts: Facts, risk: RiskView, rules: TradingRules, verdicts: list[Verdict]) -> None:
        self._alert, self._facts, self._risk, self._rules = alert, facts, risk, rules
        self._leverage = rules.sizing.leverage if risk.leverage is None else risk.leverage
        self._verdicts = verdicts
        self._warnings: list[str] = []

    def outcome(self, market: MarketView, desk: DeskView, ids: PlanIds) -> Planned | Refused:
        facts, rules = self._facts, self._rules
        levels = plan_levels(self._alert, facts, rules)
        if levels is None:
            detail = f"ATR14 is {facts.atr:.8g} at a price of {facts.p0}"
            return self._refused(fail("stop", "no_stop", detail=detail))
        for verdict in self._level_guards(levels):
            if not verdict.passed:
                return self._refused(verdict)
            self._verdicts.append(verdict)
        legs = hedge_legs(facts.side, facts.p0, market, desk, rules)
        risk = self._allowed_risk(market, desk, legs)
        sizer = Sizer(facts, levels, market, self._risk, self._leverage, risk, rules, self._verdicts, self._warnings)
        sized = sizer.size(self._alert.qty, legs)
        if isinstance(sized, Verdict):
            return self._refused(sized)
        quantity, hedges = sized
        return Planned(self._plan(levels, legs, hedges, quantity, risk, ids), tuple(self._verdicts))

    def _allowed_risk(self, market: MarketView, desk: DeskView, legs: Legs) -> Decimal:
        rules = self._rules
        regime = market.symbols[self._facts.instrument.symbol].regime
        ratio = risk_guards.volatility_ratio(regime, market.now_ms, rules.risk.volatility)
        risk, verdict = allowed_risk(rules.sizing, desk.live, self._risk, ratio, not legs.halve_risk, rules.risk)
        self._verdicts.append(verdict)
        return risk

    def _refused(self, verdict: Verdict) -> Refused:
        return Refused(refusal_of(verdict), (*self._verdicts, verdict))

    def _level_guards(self, levels: Levels) -> Iterable[Verdict]:
        facts, rules = self._facts, self._rules
        yield guards.ok("stop", f"{levels.stop} from {levels.source}")
        yield flow.verdict(facts.side, facts.flow, facts.now_ms, rules.flow)
        yield guards.price_through_stop(facts.side, facts.quote, levels.stop)
        yield limits.price_ran(levels.worst, rules.entry)
        yield limits.slippage(facts.quote, rules.entry)
        yield limits.liquidation(facts.side, facts.p0, levels.worst, levels.stop, self._leverage, facts.maintenance_rate)
        yield limits.fees(planned_fee_r(facts, levels.stop, rules), rules.fees)

    def _plan_warnings(self, fee_r: Decimal) -> tuple[str, ...]:
        alert, limit = self._alert, self._rules.fees.warn_r
        unresolved = (f"{name} is an unresolved placeholder and not used" for name in alert.unresolved)
        unreadable = (f"{name} is no plain number and not used" for name in alert.unreadable)
        high = (f"fees cost {fee_r:.2f} R, over {limit} R",) if fee_r > limit else ()
        hedges = (verdict.reason for verdict in self._verdicts if not verdict.passed)
        return (*unresolved, *unreadable, *high, *self._warnings, *hedges)

    def _plan(
        self, levels: Levels, legs: Legs, hedges: tuple[HedgePlan, ...], quantity: Decimal, risk: Decimal, ids: PlanIds
    ) -> Plan:
        facts, rules = self._facts, self._rules
        kept = {hedge.instrument.symbol for hedge in hedges}
        unit = unit_costs(facts, levels, (leg for leg in legs.legs if leg.plan.instrument.symbol in kept), rules)
        fee_r = planned_fee_r(facts, levels.stop, rules)
        funding = funding_8h(facts.mark.funding_rate, facts.funding_interval_h)
        targets = zip(rules.targets.r_multiples, rules.targets.parts, strict=True)
        return Plan(
            trade_id=trade_id_for(ids.alert_key),
            alert_id=ids.alert_id,
            alert_key=ids.alert_key,
            instrument=facts.instrument,
            side=facts.side,
            p0=facts.p0,
            stop=levels.stop,
            stop_source=levels.source.value,
            backstop=backstop_price(facts.side, facts.p0, levels.stop, facts.instrument, rules.stop),
            maker_price=levels.maker,
            worst_price=levels.worst,
            quantity=quantity,
            targets=tuple(Target(multiple, part) for multiple, part in targets),
            hedges=hedges,
            equity=facts.equity,
            risk_usdt=facts.equity * risk,
            worst_case_r=unit.worst_case * quantity / (facts.equity * risk),
            fee_r=fee_r,
            maker_fee=facts.commission.maker,
            taker_fee=facts.commission.taker,
            leverage=self._leverage,
            created_ms=facts.now_ms,
            hurried=flow.pushes(facts.side, facts.flow, facts.now_ms, rules.flow),
            rules=rules,
            warnings=self._plan_warnings(fee_r),
            max_hold_min=funding_gate(facts.side, funding, rules.funding).hold_min,
        )
