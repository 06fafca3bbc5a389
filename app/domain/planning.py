"""From an alert to the whole plan of its trade, or to a named refusal. The order of the guards is the order written here.

The alert: action, symbol, alert_age, bar_time, live_trade. The desk: trading_state, arming, ownership, equity. The market:
quote, mark, bars, indicators, commission, funding, price_match, and in ``triple_alpha`` correlation, turnover.
The trade: stop, price_through_stop, liquidation, fees, filters, hedge, margin, worst_case. All guards of the first three groups
speak; the first that failed is the refusal.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from app.domain import guards, limits
from app.domain.bracket import backstop_price
from app.domain.hedge_legs import Leg, Legs, hedge_legs, size_legs
from app.domain.instrument import Side
from app.domain.levels import Facts, Levels, comparable_prices, fee_rates, funding_due, plan_levels, planned_fee_r
from app.domain.plan import HedgePlan, Plan, Target, trade_id_for
from app.domain.refusals import fail, refusal_of
from app.domain.rules import SizingFees, TradingRules
from app.domain.signal import Alert
from app.domain.sizing import position_size, position_size_with_fees
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
    alert: Alert, market: MarketView, account: AccountView, desk: DeskView, rules: TradingRules, ids: PlanIds
) -> Outcome:
    """What this alert becomes now. Never raises for what the market, the account or the sender may show."""
    symbol = alert.symbol if alert.symbol in rules.traded else rules.symbol
    view = market.symbols.get(symbol)
    of_alert = _alert_guards(alert, market, desk, rules)
    of_market = (*_market_guards(alert, symbol, view, market.now_ms, rules), *triple_guards(symbol, market, desk, rules))
    verdicts = (*of_alert, *_desk_guards(symbol, account, desk, rules), *of_market)
    side = alert.side
    if _first_failed(of_alert) is None and side is not None and desk.live_trade_side is side.opposite:
        return ClosesOpposite(side, rules.exits.reverse_on_opposite, of_alert)
    failed = _first_failed(verdicts)
    facts = None if side is None or view is None else Facts.of(side, view, account, market.now_ms)
    if failed is not None or facts is None:
        return Refused(refusal_of(failed or _no_market(symbol)), verdicts)
    return _Planner(alert, facts, rules, list(verdicts)).outcome(market, desk, ids)


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
        guards.funding(symbol, view, now_ms, rules.freshness, rules.funding),
    )
    if view.quote is None or not quote.passed:
        return verdicts
    return (*verdicts, guards.price_match(alert, comparable_prices(alert, view.quote, view.bars), rules.stop))


def _first_failed(verdicts: Iterable[Verdict]) -> Verdict | None:
    return next((verdict for verdict in verdicts if not verdict.passed), None)


def _no_market(symbol: str) -> Verdict:
    return fail("quote", "stale_price", symbol=symbol, detail="no market data yet")


class _Planner:
    """One planning, step by step: every step notes its verdict and may refuse."""

    def __init__(self, alert: Alert, facts: Facts, rules: TradingRules, verdicts: list[Verdict]) -> None:
        self._alert, self._facts, self._rules = alert, facts, rules
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
        risk = (rules.sizing.risk if desk.live else rules.sizing.risk_dry_run) / (2 if legs.halve_risk else 1)
        quantity = self._quantity(levels, legs, risk)
        if isinstance(quantity, Verdict):
            return self._refused(quantity)
        hedges, dropped = size_legs(legs.legs, quantity)
        self._replace(dropped)
        return Planned(self._plan(levels, legs, hedges, quantity, risk, ids), tuple(self._verdicts))

    def _refused(self, verdict: Verdict) -> Refused:
        return Refused(refusal_of(verdict), (*self._verdicts, verdict))

    def _replace(self, later: Iterable[Verdict]) -> None:
        """A guard's later word stands in the place of its first."""
        words = {verdict.guard: verdict for verdict in later}
        self._verdicts = [words.get(verdict.guard, verdict) for verdict in self._verdicts]

    def _level_guards(self, levels: Levels) -> Iterable[Verdict]:
        facts, rules = self._facts, self._rules
        leverage, maintenance = rules.sizing.leverage, facts.maintenance_rate
        yield guards.ok("stop", f"{levels.stop} from {levels.source}")
        yield guards.price_through_stop(facts.side, facts.quote, levels.stop)
        yield limits.liquidation(facts.side, facts.p0, levels.worst, levels.stop, leverage, maintenance)
        yield limits.fees(planned_fee_r(facts, levels.stop, rules), rules.fees)

    def _quantity(self, levels: Levels, legs: Legs, risk: Decimal) -> Decimal | Verdict:
        """Sized by risk, lowered by the alert, cut by filters, margin and worst case; or the verdict that leaves nothing."""
        facts, rules, sizing = self._facts, self._rules, self._rules.sizing
        unit = self._unit(levels, legs.legs)
        lowest = min(levels.maker, levels.worst, facts.p0)

        def on_the_step(quantity: Decimal) -> tuple[Decimal, Verdict]:
            return limits.filters(quantity, lowest, facts.instrument, facts.equity, sizing.leverage)

        wanted = self._wanted(levels, risk)
        sized, verdict = on_the_step(wanted)
        if not verdict.passed:
            return verdict
        self._keep(verdict, warn=wanted - sized >= facts.instrument.step)
        self._verdicts.extend(legs.verdicts)
        carried, verdict = limits.margin(sized, unit, facts.available, sizing.margin_use, sizing.leverage)
        self._keep(verdict, warn=carried < sized)
        carried, _ = on_the_step(carried)
        if not carried:
            self._verdicts.pop()
            return fail("margin", "insufficient_margin", available=f"{facts.available:.2f}")
        limit_r = rules.fees.max_worst_case_r
        bounded, verdict = limits.worst_case(carried, unit, facts.equity * risk, limit_r)
        self._keep(verdict, warn=bounded < carried)
        bounded, _ = on_the_step(bounded)
        if not bounded:
            self._verdicts.pop()
            return fail("worst_case", "worst_case_too_large", limit=limit_r)
        return bounded

    def _keep(self, verdict: Verdict, *, warn: bool) -> None:
        self._verdicts.append(verdict)
        if warn:
            self._warnings.append(verdict.reason)

    def _wanted(self, levels: Levels, risk: Decimal) -> Decimal:
        """From the worst allowed entry to the stop; the alert's own quantity can only lower it."""
        equity = self._facts.equity
        if self._rules.sizing.fees is SizingFees.INCLUDED:
            rates = fee_rates(self._facts, self._rules)
            quantity = position_size_with_fees(equity, risk, levels.worst, levels.stop, *rates)
        else:
            quantity = position_size(equity, risk, levels.worst, levels.stop)
        return quantity if self._alert.qty is None else min(quantity, self._alert.qty)

    def _unit(self, levels: Levels, legs: Iterable[Leg]) -> limits.UnitCosts:
        """One unit of the main leg with its share of the hedges."""
        facts = self._facts
        unit = limits.UnitCosts.of_leg(levels.worst, facts.p0, levels.stop, facts.commission.taker)
        funding = levels.worst * funding_due(facts, self._rules)
        return sum((leg.unit for leg in legs), unit + limits.UnitCosts(Decimal(0), Decimal(0), funding))

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
        unit = self._unit(levels, (leg for leg in legs.legs if leg.plan.instrument.symbol in kept))
        fee_r = planned_fee_r(facts, levels.stop, rules)
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
            leverage=rules.sizing.leverage,
            created_ms=facts.now_ms,
            rules=rules,
            warnings=self._plan_warnings(fee_r),
        )
