"""``triple_alpha``: what a symbol must meet beside the rules of every trade. Pure; no verdict at all in the other mode.

- ``correlation``: no entry beside a position on the same side whose symbol moves with this one (1-minute returns over the β
  window): it would be one bet twice. An opposite one is no obstacle. A position whose side is not known yet counts as on this
  side, and a correlation that is not known or too old refuses, but only beside a position.
- ``turnover``: an alt must have traded a few million USDT in its last closed 15 minutes, so that its entry, stop and exit at
  market meet a market. On the recorded month ETH always had, SOL but for 0.1 % of the time.
"""

from decimal import Decimal

from app.domain import guards
from app.domain.instrument import Side
from app.domain.market import MINUTE_MS, CorrelationReading
from app.domain.numbers import to_decimal
from app.domain.refusals import fail
from app.domain.risk.exposure import is_same_bet
from app.domain.risk.view import RiskView
from app.domain.rules import TradingMode, TradingRules
from app.domain.verdict import Verdict
from app.domain.views import DeskView, MarketView, SymbolView

TURNOVER_INTERVAL_MS = 15 * MINUTE_MS


def triple_guards(
    symbol: str, side: Side | None, market: MarketView, desk: DeskView, risk: RiskView, rules: TradingRules
) -> tuple[Verdict, ...]:
    if rules.mode is not TradingMode.TRIPLE_ALPHA:
        return ()
    verdicts = (correlation(symbol, side, market, desk, risk, rules),)
    view = market.symbols.get(symbol)
    if symbol == rules.symbol or view is None:
        return verdicts
    return (*verdicts, turnover(symbol, view, market.now_ms, rules))


def correlation(
    symbol: str, side: Side | None, market: MarketView, desk: DeskView, risk: RiskView, rules: TradingRules
) -> Verdict:
    """With every symbol of the strategy on which anybody holds or opens a position."""
    known: list[str] = []
    limit = rules.triple.max_correlation
    for other in (name for name in rules.symbols if name != symbol and name in desk.owners):
        value = _fresh(market.correlations.get(frozenset((symbol, other))), market.now_ms, rules)
        if value is None:
            return fail("correlation", "correlation_unknown", symbol=symbol, other=other)
        if is_same_bet(side, risk.side_of(other), value, limit):
            return fail("correlation", "correlated_position", symbol=symbol, other=other, correlation=f"{value:.3f}", limit=limit)
        known.append(f"{value:.3f} with {other}")
    return guards.ok("correlation", ", ".join(known) or "no other position is open")


def _fresh(reading: CorrelationReading | None, now_ms: int, rules: TradingRules) -> Decimal | None:
    if reading is None or now_ms - reading.close_ms > rules.triple.max_correlation_age_s * 1000:
        return None
    return to_decimal(reading.correlation)


def turnover(symbol: str, view: SymbolView, now_ms: int, rules: TradingRules) -> Verdict:
    """USDT traded in the last closed 15 minutes: the bar's volume at its close."""
    bar, minimum = view.quarter, rules.triple.min_turnover
    late_ms = TURNOVER_INTERVAL_MS + rules.freshness.bar_grace_ms
    traded = None if bar is None or now_ms - bar.close_ms >= late_ms else to_decimal(bar.volume * bar.close)
    if traded is None:
        return fail("turnover", "turnover_unknown", symbol=symbol)
    if traded <= minimum:
        return fail("turnover", "illiquid", symbol=symbol, turnover=f"{traded:.0f}", minimum=minimum)
    return guards.ok("turnover", f"{traded / 1_000_000:.1f} million USDT in 15 minutes")
