"""The two caps on the whole book, with the planned trade in it: value at risk and net exposure."""

from collections.abc import Iterable, Mapping
from decimal import Decimal

from app.domain.hedge_legs import Leg
from app.domain.levels import Facts, Levels
from app.domain.market import BetaReading, CorrelationReading
from app.domain.numbers import to_decimal
from app.domain.risk.exposure import Line, as_quantity, covariance_matrix, largest_in_net, largest_in_var, value_at_risk
from app.domain.risk.guards import is_fresh
from app.domain.risk.rules import ExposureRules
from app.domain.risk.view import OpenPosition
from app.domain.rules import TradingRules
from app.domain.verdict import Verdict
from app.domain.views import MarketView, SymbolView


def book_lines(
    facts: Facts,
    levels: Levels,
    legs: Iterable[Leg],
    positions: Iterable[OpenPosition],
    market: MarketView,
    rules: TradingRules,
) -> tuple[Line, ...]:
    """One line a symbol, the planned trade's first. One of which nothing is known counts as wild as the wildest known, and with
    a β of 1."""
    units = {facts.instrument.symbol: facts.side.sign * max(levels.worst, facts.p0)}
    betas = dict[str, Decimal]()
    for leg in legs:
        plan = leg.plan
        units[plan.instrument.symbol] = plan.side.sign * plan.ratio * plan.reference_price
        betas[plan.instrument.symbol] = plan.beta
    held = dict[str, Decimal]()
    for position in positions:
        held[position.symbol] = held.get(position.symbol, Decimal(0)) + position.notional
    symbols = (*units, *(symbol for symbol in held if symbol not in units))
    known = {symbol: minute_volatility(market.symbols.get(symbol), market.now_ms, rules) for symbol in symbols}
    wildest = max((value for value in known.values() if value is not None), default=0.0)
    return tuple(
        Line(
            symbol,
            held.get(symbol, Decimal(0)),
            units.get(symbol, Decimal(0)),
            known[symbol] or wildest,
            betas.get(symbol) or _beta(symbol, market, rules),
        )
        for symbol in symbols
    )


def minute_volatility(view: SymbolView | None, now_ms: int, rules: TradingRules) -> float | None:
    """Standard deviation of 1-minute returns, as the stream node measures it. None: not known, too old, or no market."""
    reading = None if view is None else view.regime
    if reading is None or reading.volatility is None or not is_fresh(reading, now_ms, rules.risk.volatility):
        return None
    return reading.volatility if 0 < reading.volatility < 1 else None


def _beta(symbol: str, market: MarketView, rules: TradingRules) -> Decimal:
    view = market.symbols.get(symbol)
    beta = to_decimal(view.beta.beta) if view is not None and view.beta is not None and symbol != rules.symbol else None
    return Decimal(1) if beta is None else beta


def known_correlations(market: MarketView, rules: TradingRules) -> dict[frozenset[str], float]:
    """Of every pair with a fresh reading."""
    oldest = market.now_ms - rules.hedge.max_beta_age_s * 1000
    betas = (view.beta for view in market.symbols.values() if view.beta is not None)
    readings: tuple[BetaReading | CorrelationReading, ...] = (*betas, *market.correlations.values())
    fresh = (reading for reading in readings if reading.close_ms >= oldest and abs(reading.correlation) <= 1)
    return {frozenset((reading.symbol, _other(reading))): reading.correlation for reading in fresh}


def _other(reading: BetaReading | CorrelationReading) -> str:
    return reading.base if isinstance(reading, BetaReading) else reading.other


def value_at_risk_limit(
    quantity: Decimal,
    lines: tuple[Line, ...],
    correlations: Mapping[frozenset[str], float],
    equity: Decimal,
    rules: ExposureRules,
) -> tuple[Decimal, Verdict]:
    """The quantity with which the whole book has at most ``max_var`` of equity at risk. Without any volatility known, all of it:
    the stops and the worst case bound the trade, and the verdict says what is missing."""
    if not any(line.volatility for line in lines):
        return quantity, Verdict("var", passed=True, reason="the volatility is not known: no limit")
    held, unit = [float(line.held) for line in lines], [float(line.unit) for line in lines]
    book = [h + float(quantity) * u for h, u in zip(held, unit, strict=True)]
    signs = [1 if value >= 0 else -1 for value in book]
    sigma = covariance_matrix([line.volatility for line in lines], signs, [line.symbol for line in lines], correlations)
    level, horizon = float(rules.var_level), float(rules.var_horizon_min)
    share = value_at_risk(book, sigma, level, horizon) / float(equity)
    largest = as_quantity(largest_in_var(held, unit, sigma, float(rules.max_var * equity), level, horizon))
    return _bounded("var", quantity, largest, f"{share:.2%} of equity at risk")


def net_exposure_limit(
    quantity: Decimal, lines: tuple[Line, ...], equity: Decimal, rules: ExposureRules
) -> tuple[Decimal, Verdict]:
    """The quantity with which all positions together weigh at most ``max_net`` times equity in BTC, longs less shorts."""
    net = sum(((line.held + quantity * line.unit) * line.beta for line in lines), Decimal(0))
    return _bounded("net_exposure", quantity, largest_in_net(lines, rules.max_net * equity), f"{net / equity:.2f} times equity")


def _bounded(guard: str, quantity: Decimal, largest: Decimal, measured: str) -> tuple[Decimal, Verdict]:
    if quantity <= largest:
        return quantity, Verdict(guard, passed=True, reason=measured)
    reason = f"{guard}: {measured}, all legs scaled to {largest / quantity:.1%}"
    return largest, Verdict(guard, passed=True, reason=reason)
