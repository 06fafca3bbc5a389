"""Every rule that may refuse an alert before a price is worked out: pure functions with a name and a reason.

Guards that refuse, shrink or cap the worked-out trade are in ``limits.py``; those of a hedge leg in ``hedge_legs.py``.
"""

import math
from collections.abc import Sequence
from decimal import Decimal

from app.domain.instrument import Side
from app.domain.market import BarIndicators, Quote
from app.domain.numbers import to_decimal
from app.domain.orders import CommissionRates
from app.domain.refusals import fail
from app.domain.risk.funding import FundingRules, funding_gate
from app.domain.rules import FreshnessRules, StopRules, TradingRules
from app.domain.signal import Action, Alert
from app.domain.sizing import funding_8h
from app.domain.verdict import Verdict
from app.domain.views import AccountView, DeskView, SymbolView, TradingState

FUTURE_MS = 5_000  # how far ahead of ours the sender's clock may be
_LARGEST_PRICE = Decimal("1e12")
_COMMISSION_RANGE = (Decimal("-0.01"), Decimal("0.05"))


def ok(guard: str, reason: str = "") -> Verdict:
    return Verdict(guard, passed=True, reason=reason)


def action(alert: Alert) -> Verdict:
    return fail("action", "close_not_supported") if alert.action is Action.CLOSE else ok("action", alert.action)


def symbol(alert: Alert, rules: TradingRules) -> Verdict:
    if alert.symbol not in rules.traded:
        return fail("symbol", "symbol_not_traded", symbol=alert.symbol, traded=", ".join(rules.traded))
    return ok("symbol", alert.symbol)


def alert_age(age_ms: int, rules: FreshnessRules) -> Verdict:
    if age_ms > rules.alert_ms:
        return fail("alert_age", "stale_alert", detail=f"received {_seconds(age_ms)} ago, more than {_seconds(rules.alert_ms)}")
    return ok("alert_age", f"received {_seconds(age_ms)} ago")


def bar_time(alert: Alert, now_ms: int, rules: TradingRules) -> Verdict:
    """The signal's bar opened at most two bars of the trading timeframe ago, and not in the future."""
    if alert.bar_time_ms is None:
        return ok("bar_time", "the alert names no bar")
    age_ms = now_ms - alert.bar_time_ms
    if age_ms > rules.freshness.alert_bars * rules.timeframe_ms:
        limit = f"{rules.freshness.alert_bars} bars of {rules.timeframe_min} min"
        return fail("bar_time", "stale_alert", detail=f"its bar opened {_seconds(age_ms)} ago, more than {limit}")
    if age_ms < -FUTURE_MS:
        return fail("bar_time", "stale_alert", detail=f"its bar_time is {_seconds(-age_ms)} in the future")
    return ok("bar_time", f"its bar opened {_seconds(age_ms)} ago")


def live_trade(alert: Alert, desk: DeskView) -> Verdict:
    """Refuses the same side; an opposite alert passes here and ends the trade."""
    if desk.live_trade_side is None:
        return ok("live_trade", "no trade is open")
    if desk.live_trade_side is alert.side:
        return fail("live_trade", "already_in_trade", side=alert.action, symbol=alert.symbol)
    return ok("live_trade", f"the open {desk.live_trade_side} trade is ended")


def trading_state(desk: DeskView) -> Verdict:
    if desk.trading is not TradingState.ACTIVE:
        return fail("trading_state", "paused", state=desk.trading)
    return ok("trading_state", desk.trading)


def arming(desk: DeskView) -> Verdict:
    if desk.live and not desk.armed:
        return fail("arming", "not_armed")
    return ok("arming", "armed" if desk.live else "not live")


def ownership(symbol: str, desk: DeskView) -> Verdict:
    owner = desk.owners.get(symbol)
    return fail("ownership", "symbol_owned", symbol=symbol, owner=owner) if owner else ok("ownership", "free")


def equity(account: AccountView, rules: FreshnessRules) -> Verdict:
    if account.equity is None or not account.equity.is_finite():
        return fail("equity", "equity_unknown", detail="it was not read yet")
    if account.age_ms > rules.equity_ms:
        return fail("equity", "equity_unknown", detail=f"it was last confirmed {_seconds(account.age_ms)} ago")
    if account.equity <= 0:
        return fail("equity", "equity_unknown", detail=f"{account.equity} USDT is nothing to trade with")
    return ok("equity", f"{account.equity} USDT")


def quote(symbol: str, quote: Quote | None, now_ms: int, rules: FreshnessRules) -> Verdict:
    if quote is None:
        return fail("quote", "stale_price", symbol=symbol, detail="no best bid and ask yet")
    if not (quote.bid.is_finite() and quote.ask.is_finite() and 0 < quote.bid <= quote.ask < _LARGEST_PRICE):
        return fail("quote", "stale_price", symbol=symbol, detail=f"bid {quote.bid} and ask {quote.ask} are no market")
    if now_ms - quote.time_ms > rules.quote_ms:
        return fail("quote", "stale_price", symbol=symbol, detail=f"the best quote is {_seconds(now_ms - quote.time_ms)} old")
    return ok("quote", f"{quote.bid} / {quote.ask}")


def mark(symbol: str, view: SymbolView, now_ms: int, rules: FreshnessRules) -> Verdict:
    if view.mark is None:
        return fail("mark", "stale_price", symbol=symbol, detail="no mark price yet")
    if now_ms - view.mark.time_ms > rules.mark_ms:
        return fail("mark", "stale_price", symbol=symbol, detail=f"the mark price is {_seconds(now_ms - view.mark.time_ms)} old")
    return ok("mark", str(view.mark.mark))


def bars(symbol: str, bar: BarIndicators | None, now_ms: int, rules: TradingRules) -> Verdict:
    """The last closed bar is the current one; for a moment after a close its predecessor still is."""
    if bar is None:
        return fail("bars", "stale_bars", symbol=symbol, detail="no closed bar yet")
    if bar.interval_ms != rules.timeframe_ms:
        detail = f"bars are of {bar.interval_ms // 60_000} min instead of {rules.timeframe_min} min"
        return fail("bars", "stale_bars", symbol=symbol, detail=detail)
    if now_ms - bar.close_ms >= rules.timeframe_ms + rules.freshness.bar_grace_ms:
        return fail(
            "bars", "stale_bars", symbol=symbol, detail=f"the last closed bar ended {_seconds(now_ms - bar.close_ms)} ago"
        )
    return ok("bars", f"closed {_seconds(now_ms - bar.close_ms)} ago")


def indicators(symbol: str, bar: BarIndicators | None) -> Verdict:
    atr = usable_atr(bar)
    return fail("indicators", "indicators_not_ready", symbol=symbol) if atr is None else ok("indicators", f"ATR14 {atr:.8g}")


def usable_atr(bar: BarIndicators | None) -> Decimal | None:
    """ATR14 as money, None unless it is positive and smaller than the price."""
    if bar is None or bar.atr14 is None or not 0 < bar.atr14 < bar.close < math.inf:
        return None
    return to_decimal(bar.atr14)


def commission(symbol: str, rates: CommissionRates | None) -> Verdict:
    low, high = _COMMISSION_RANGE
    if rates is None or not all(rate.is_finite() and low <= rate <= high for rate in (rates.maker, rates.taker)):
        return fail("commission", "fees_unknown", symbol=symbol)
    return ok("commission", f"maker {rates.maker}, taker {rates.taker}")


def funding(
    symbol: str, side: Side | None, view: SymbolView, now_ms: int, freshness: FreshnessRules, rules: FundingRules
) -> Verdict:
    """Per 8 hours, for a position on ``side``; a rate too old counts as over the limit."""
    mark = view.mark
    if mark is None or not mark.funding_rate.is_finite() or now_ms - mark.time_ms > freshness.funding_ms:
        return fail(
            "funding", "funding_too_high", symbol=symbol, detail="the funding rate is not known, which counts as too high"
        )
    rate = funding_8h(mark.funding_rate, view.funding_interval_h)
    gate = funding_gate(side, rate, rules)
    if gate.skip:
        detail = f"funding of {rate:.4%} per 8 h is over {rules.skip_above:.4%}"
        return fail("funding", "funding_too_high", symbol=symbol, detail=detail)
    capped = f", held for at most {gate.hold_min} min" if gate.hold_min is not None else ""
    return ok("funding", f"{rate:.4%} per 8 h{capped}")


def price_match(alert: Alert, prices: Sequence[Decimal], rules: StopRules) -> Verdict:
    """The alert's own price is that of the perpetual, a basis aside, by each of the perpetual's ``prices``."""
    named = alert.price
    if named is None:
        return ok("price_match", "the alert names no price")
    last = max(prices, key=lambda price: abs(price - named))
    apart = abs(last - named) / max(last, named)
    if apart > rules.max_price_mismatch:
        facts = {"apart": f"{apart:.2%}"[:-1], "limit": f"{rules.max_price_mismatch:.2%}"[:-1]}
        return fail("price_match", "price_mismatch", price=named, last=last, **facts)
    return ok("price_match", f"{apart:.3%} apart")


def price_through_stop(side: Side, quote: Quote, stop: Decimal) -> Verdict:
    """Both sides of the book are still on the winning side of the stop."""
    own = quote.own(side)
    if (own - stop) * side.sign <= 0:
        return fail("price_through_stop", "price_through_stop", price=own, stop=stop)
    return ok("price_through_stop", f"{own} is on the winning side of {stop}")


def _seconds(ms: int) -> str:
    return f"{ms / 1000:.1f} s"
