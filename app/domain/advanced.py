"""The advanced webhook's rules: how much a request buys, what stop protects it, what refuses it, and the plan of its trade.

The plan runs on the one trade machine (``domain/trade``): a market entry, a working stop and a backstop, no targets, no hedges,
no time limit.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from app.domain import guards
from app.domain.advanced_rules import AdvancedRules
from app.domain.advanced_size import PositionSize, RiskLevel, calculate_position_quantity, risk_level
from app.domain.bracket import backstop_price, on_losing_side
from app.domain.contract_terms import ContractTerms
from app.domain.instrument import Instrument, Side
from app.domain.limits import liquidation_price
from app.domain.market import Quote
from app.domain.orders import CommissionRates, MarginType
from app.domain.plan import Owner, Plan, trade_id_for
from app.domain.refusals import fail
from app.domain.requests import AdvancedRequest
from app.domain.risk import guards as risk_guards
from app.domain.risk.view import RiskView
from app.domain.rules import TradingRules
from app.domain.sizing import fee_in_r
from app.domain.verdict import Verdict
from app.domain.views import DeskView

ENTRY_FAR_OFF = Decimal("0.01")  # a reference price so far from the market is worth a word


@dataclass(frozen=True, slots=True)
class OpeningFacts:
    """What the exchange says now, read for this request."""

    instrument: Instrument
    quote: Quote
    balance: Decimal  # wallet, in USDT
    commission: CommissionRates
    terms: ContractTerms
    now_ms: int


@dataclass(frozen=True, slots=True)
class Opening:
    """A request ready to be carried out."""

    plan: Plan
    size: PositionSize
    margin_type: MarginType
    level: RiskLevel
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True)
class NotOpened:
    """``verdict``, the last of ``verdicts``, is the guard that refused."""

    verdict: Verdict
    verdicts: tuple[Verdict, ...]


def opening_guards(
    request: AdvancedRequest, age_ms: int, desk: DeskView, risk: RiskView, rules: AdvancedRules, trading: TradingRules
) -> Iterator[Verdict]:
    """What may refuse an opening before the exchange is asked anything. An opposite position of this webhook's own passes: it
    is closed first."""
    symbol, side = request.symbol, request.action.side
    yield guards.ok("enabled", "it is on") if rules.enabled else fail("enabled", "advanced_disabled")
    yield guards.alert_age(age_ms, trading.freshness)
    yield guards.trading_state(desk)
    yield guards.arming(desk)
    yield risk_guards.day_breaker(risk)
    yield risk_guards.rolling_24h(risk)
    yield risk_guards.side_breaker(side, risk)
    yield risk_guards.equity_stop(risk)
    if symbol == trading.symbol and not rules.trade_strategy_symbol:
        yield fail("strategy_symbol", "strategy_symbol", symbol=symbol)
    if desk.owners.get(symbol) != Owner.ADVANCED:
        yield guards.ownership(symbol, desk)
    elif side is not None and desk.live_trade_side is side:
        yield fail("live_trade", "position_open", side="long" if side is Side.BUY else "short", symbol=symbol)


def plan_opening(
    request: AdvancedRequest, facts: OpeningFacts, rules: AdvancedRules, trading: TradingRules, alert_id: str, alert_key: str
) -> Opening | NotOpened:
    """The quantity, the stop and the whole plan of a buy or a sell. Raises ValueError for a close."""
    side, asked, percentage = request.action.side, request.leverage, request.balance_percentage
    if side is None or asked is None or percentage is None:
        raise ValueError("a close opens nothing")
    market = guards.quote(request.symbol, facts.quote, facts.quote.time_ms, trading.freshness)  # read for this request: never old
    if not market.passed:
        return NotOpened(market, (market,))
    leverage = min(asked, rules.max_leverage)
    p0 = facts.quote.opposite(side)
    size = calculate_position_quantity(facts.balance, percentage, leverage, p0, facts.instrument)
    levels = _levels(request, side, p0, facts.instrument, rules, trading)
    margin_type = request.margin_type or rules.margin_type
    verdicts = [market]
    for verdict in _plan_guards(request, facts, size, levels, margin_type):
        verdicts.append(verdict)
        if not verdict.passed:
            return NotOpened(verdict, tuple(verdicts))
    if isinstance(levels, Verdict):
        raise AssertionError("a stop that was refused passed its guard")
    plan = _plan(facts, size, levels, trading, side, alert_id, alert_key, _warnings(request, size, levels, rules))
    return Opening(plan, size, margin_type, risk_level(percentage, leverage), tuple(verdicts))


@dataclass(frozen=True, slots=True)
class _Levels:
    stop: Decimal
    source: str
    backstop: Decimal
    worst: Decimal


def _levels(
    request: AdvancedRequest, side: Side, p0: Decimal, instrument: Instrument, rules: AdvancedRules, trading: TradingRules
) -> _Levels | Verdict:
    """The request's own stop, else the default one; a verdict where neither can be set."""
    nearest = trading.stop.alert_min_distance
    if request.sl is not None:
        stop, source = instrument.stop_price(side, request.sl), "alert"
        if not on_losing_side(side, stop, p0):
            where = "above a short's" if side is Side.SELL else "below a long's"
            return fail("stop", "invalid_stop", detail=f"{request.sl} is not {where} price of {p0}")
        if abs(p0 - stop) < nearest * p0:
            return fail("stop", "invalid_stop", detail=f"{request.sl} is nearer than {nearest:.1%} to the price of {p0}")
    elif rules.default_stop_pct:
        stop = instrument.stop_price(side, p0 * (1 - side.sign * rules.default_stop_pct / 100))
        source = "default"
        if not on_losing_side(side, stop, p0):
            return fail("stop", "no_stop", detail=f"the price of {p0} is too small for a stop on the tick of {instrument.tick}")
    else:
        return fail("stop", "stop_missing")
    worst = instrument.passive_price(side, p0 * (1 + side.sign * rules.max_price_move))
    return _Levels(stop, source, backstop_price(side, p0, stop, instrument, trading.stop), worst)


def _plan_guards(
    request: AdvancedRequest, facts: OpeningFacts, size: PositionSize, levels: _Levels | Verdict, margin_type: MarginType
) -> Iterator[Verdict]:
    yield _filters(request, facts.instrument, size)
    if isinstance(levels, Verdict):
        yield levels
        return
    yield guards.ok("stop", f"{levels.stop} from {levels.source}")
    if margin_type is MarginType.ISOLATED:
        yield _liquidation(facts, size, levels)


def _filters(request: AdvancedRequest, instrument: Instrument, size: PositionSize) -> Verdict:
    if size.quantity:
        return guards.ok("filters", f"{size.quantity}")
    minimum = max(instrument.min_quantity, instrument.min_notional / size.price)
    return fail(
        "filters",
        "insufficient_balance",
        percentage=f"{size.balance_percentage:.0%}",
        balance=f"{size.balance:.2f}",
        leverage=size.leverage,
        quantity=f"{size.wanted:.8f}",
        symbol=request.symbol,
        minimum=f"{minimum:.8f}",
    )


def _liquidation(facts: OpeningFacts, size: PositionSize, levels: _Levels) -> Verdict:
    """Both stops come before the liquidation."""
    side = Side.BUY if levels.stop < size.price else Side.SELL
    maintenance_rate = facts.terms.maintenance_rate(size.quantity * levels.worst)
    price = liquidation_price(side, levels.worst, size.leverage, maintenance_rate)
    if price > 0 and (levels.backstop - price) * side.sign <= 0:
        stops = {"stop": levels.stop, "backstop": levels.backstop}
        return fail("liquidation", "stop_beyond_liquidation", leverage=size.leverage, liquidation=f"{price:.8g}", **stops)
    return guards.ok("liquidation", f"{price:.8g}" if price > 0 else "never at this leverage")


def _warnings(request: AdvancedRequest, size: PositionSize, levels: _Levels, rules: AdvancedRules) -> tuple[str, ...]:
    level = risk_level(size.balance_percentage, size.leverage)
    words = [
        (
            request.leverage != size.leverage,
            f"leverage {request.leverage} is over the limit and was lowered to {size.leverage} (advanced.max_leverage)",
        ),
        (
            level in (RiskLevel.AGGRESSIVE, RiskLevel.VERY_AGGRESSIVE),
            f"{level} risk: {size.balance_percentage:.0%} of the balance at leverage {size.leverage}; 10 to 20 % and 5 to 10x "
            "are advised",
        ),
        (size.was_capped, f"the quantity is cut to the exchange's largest market order of {size.quantity}"),
        (levels.source == "default", f"the request has no sl: a stop {rules.default_stop_pct} % away protects the position"),
    ]
    if request.entry is not None and abs(request.entry - size.price) > ENTRY_FAR_OFF * size.price:
        words.append((True, f"entry {request.entry} is more than 1 % from the price {size.price}; sized by the price"))
    return tuple(text for applies, text in words if applies)


def _plan(
    facts: OpeningFacts,
    size: PositionSize,
    levels: _Levels,
    trading: TradingRules,
    side: Side,
    alert_id: str,
    alert_key: str,
    warnings: tuple[str, ...],
) -> Plan:
    taker = max(facts.commission.taker, Decimal(0))
    distance = abs(levels.worst - levels.stop)
    fees = (levels.worst + levels.stop) * taker
    return Plan(
        trade_id=trade_id_for(alert_key),
        alert_id=alert_id,
        alert_key=alert_key,
        instrument=facts.instrument,
        side=side,
        p0=size.price,
        stop=levels.stop,
        stop_source=levels.source,
        backstop=levels.backstop,
        maker_price=size.price,
        worst_price=levels.worst,
        quantity=size.quantity,
        targets=(),
        hedges=(),
        equity=size.balance,
        risk_usdt=size.quantity * distance,
        worst_case_r=(distance + fees) / distance,
        fee_r=fee_in_r(size.price, levels.stop, taker, taker),
        maker_fee=facts.commission.maker,
        taker_fee=facts.commission.taker,
        leverage=size.leverage,
        created_ms=facts.now_ms,
        rules=trading,
        warnings=warnings,
        owner=Owner.ADVANCED,
    )
