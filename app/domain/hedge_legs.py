"""Which hedge legs a plan gets, and why the others not."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal

from app.domain import guards
from app.domain.bracket import is_believable
from app.domain.hedge import capped_notionals, hedge_quantity, hedge_stop, quantity_ratio
from app.domain.instrument import Side
from app.domain.limits import UnitCosts
from app.domain.market import BetaReading, Quote
from app.domain.numbers import to_decimal
from app.domain.orders import CommissionRates
from app.domain.plan import HedgePlan
from app.domain.refusals import fail
from app.domain.rules import HedgeRules, TradingRules
from app.domain.structure import hedge_edge
from app.domain.verdict import Verdict
from app.domain.views import DeskView, MarketView, SymbolView


@dataclass(frozen=True, slots=True)
class Leg:
    """A leg whose largest quantity is not known yet, and what its share of one unit of the main leg costs."""

    plan: HedgePlan
    unit: UnitCosts


@dataclass(frozen=True, slots=True)
class Legs:
    """``halve_risk``: hedging was wanted and its β is not to be trusted now."""

    legs: tuple[Leg, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    halve_risk: bool = False


@dataclass(frozen=True, slots=True)
class _Ready:
    view: SymbolView
    quote: Quote
    commission: CommissionRates
    atr: Decimal
    beta: Decimal
    correlation: Decimal


def hedge_legs(side: Side, p0: Decimal, market: MarketView, desk: DeskView, rules: TradingRules) -> Legs:
    """The legs for a main position on ``side`` at price ``p0``; each on the opposite side, in dollars, under the cap."""
    hedge = rules.hedge
    if not rules.hedge_symbols or not hedge.factor or not hedge.cap:
        return Legs()
    stale = [symbol for symbol in hedge.symbols if not _beta_is_fresh(market.symbols.get(symbol), market.now_ms, rules)]
    if stale:
        return Legs(verdicts=(fail("hedge", "hedge_beta_stale", symbol=" and ".join(stale)),), halve_risk=True)
    ready: dict[str, _Ready] = {}
    verdicts: dict[str, Verdict] = {}
    for symbol in hedge.symbols:
        outcome = _ready(symbol, side.opposite, market, desk, rules)
        if isinstance(outcome, _Ready):
            ready[symbol] = outcome
        else:
            verdicts[symbol] = replace(outcome, guard=_guard(symbol))
    notionals = capped_notionals(p0, {symbol: leg.beta for symbol, leg in ready.items()}, hedge.factor, hedge.cap)
    now = market.now_ms
    legs = {symbol: _leg(side.opposite, p0, notionals.legs[symbol], leg, now, rules) for symbol, leg in ready.items()}
    for symbol, leg in legs.items():
        reason = f"{leg.plan.ratio:.6g} per unit, cap left {notionals.scale:.1%}"
        verdicts[symbol] = Verdict(_guard(symbol), passed=True, reason=reason)
    return Legs(tuple(legs.values()), tuple(verdicts[symbol] for symbol in hedge.symbols))


def size_legs(legs: tuple[Leg, ...], quantity: Decimal) -> tuple[tuple[HedgePlan, ...], tuple[Verdict, ...]]:
    """The legs for that main quantity with their largest quantities; those under the exchange's minimums are dropped by name."""
    plans: list[HedgePlan] = []
    dropped: list[Verdict] = []
    for leg in legs:
        plan = leg.plan
        largest = min(plan.instrument.max_quantity, plan.instrument.market_max_quantity)
        wanted = hedge_quantity(quantity, plan.ratio, plan.instrument.floor_quantity(largest), plan.instrument)
        if wanted and wanted * min(plan.reference_price, plan.worst_price) >= plan.instrument.min_notional:
            plans.append(replace(plan, max_quantity=wanted))
        else:
            symbol, exact = plan.instrument.symbol, f"{quantity * plan.ratio:.6g}"
            dropped.append(fail(_guard(symbol), "hedge_too_small", symbol=symbol, quantity=exact))
    return tuple(plans), tuple(dropped)


def _guard(symbol: str) -> str:
    return f"hedge {symbol}"


def _beta_is_fresh(view: SymbolView | None, now_ms: int, rules: TradingRules) -> bool:
    beta = view.beta if view else None
    return beta is not None and beta.base == rules.symbol and now_ms - beta.close_ms <= rules.hedge.max_beta_age_s * 1000


def _ready(symbol: str, side: Side, market: MarketView, desk: DeskView, rules: TradingRules) -> _Ready | Verdict:
    """The first reason against the leg, or all its facts."""
    view, now = market.symbols[symbol], market.now_ms
    failed = next((verdict for verdict in _checks(symbol, side, view, now, desk, rules) if not verdict.passed), None)
    if failed is not None:
        return failed
    reading, atr = view.beta, guards.usable_atr(view.bars)
    beta = to_decimal(reading.beta) if reading else None
    correlation = to_decimal(reading.correlation) if reading else None
    if view.quote is None or view.commission is None or atr is None or beta is None or correlation is None:
        return fail("hedge", "hedge_beta_stale", symbol=symbol)
    return _Ready(view, view.quote, view.commission, atr, beta, correlation)


def _checks(symbol: str, side: Side, view: SymbolView, now_ms: int, desk: DeskView, rules: TradingRules) -> Iterator[Verdict]:
    if view.beta is not None:
        yield correlation(view.beta, rules.hedge)
        yield beta_range(view.beta, rules.hedge)
    yield guards.ownership(symbol, desk)
    yield guards.quote(symbol, view.quote, now_ms, rules.freshness)
    yield guards.bars(symbol, view.bars, now_ms, rules)
    yield guards.indicators(symbol, view.bars)
    yield guards.commission(symbol, view.commission)
    yield guards.funding(symbol, side, view, now_ms, rules.freshness, rules.funding)


def correlation(reading: BetaReading, rules: HedgeRules) -> Verdict:
    value = to_decimal(reading.correlation)
    if value is None or value < rules.min_correlation:
        facts = {"symbol": reading.symbol, "correlation": reading.correlation, "minimum": rules.min_correlation}
        return fail("correlation", "hedge_correlation", **facts)
    return guards.ok("correlation", f"{value:.3f}")


def beta_range(reading: BetaReading, rules: HedgeRules) -> Verdict:
    """A β of 0 or less is never a hedge, whatever the settings allow."""
    value = to_decimal(reading.beta)
    if value is None or value <= 0 or not rules.min_beta <= value <= rules.max_beta:
        facts = {"beta": reading.beta, "low": rules.min_beta, "high": rules.max_beta}
        return fail("beta_range", "hedge_beta_range", symbol=reading.symbol, **facts)
    return guards.ok("beta_range", f"{value:.3f}")


def _stop(side: Side, reference: Decimal, ready: _Ready, now_ms: int, rules: TradingRules) -> Decimal:
    """Beyond the coin's own block where it has one and the stop can be believed, else beyond the price."""
    instrument, multiple = ready.view.instrument, rules.hedge.stop_atr
    edge = hedge_edge(side, ready.view.structure, now_ms, rules)
    if edge is not None:
        stop = hedge_stop(side, edge, ready.atr, multiple, instrument)
        if is_believable(side, stop, reference, rules.stop):
            return stop
    return hedge_stop(side, reference, ready.atr, multiple, instrument)


def _leg(side: Side, p0: Decimal, notional: Decimal, ready: _Ready, now_ms: int, rules: TradingRules) -> Leg:
    """``notional`` is USDT per unit of the main leg."""
    instrument, reference = ready.view.instrument, ready.quote.opposite(side)
    worst = instrument.passive_price(side, reference * (1 + side.sign * rules.entry.slippage_cap))
    plan = HedgePlan(
        instrument=instrument,
        side=side,
        beta=ready.beta,
        correlation=ready.correlation,
        ratio=quantity_ratio(notional, p0, p0, reference),
        max_quantity=Decimal(0),
        reference_price=reference,
        stop=_stop(side, reference, ready, now_ms, rules),
        worst_price=worst,
    )
    unit = UnitCosts.of_leg(worst, reference, plan.stop, ready.commission.taker).times(plan.ratio)
    return Leg(plan, unit)
