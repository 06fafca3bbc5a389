"""Planning under any market, account and desk: it never raises, and what it plans keeps its promises."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import TypeVar

from domain_examples import BAR_MS, BTC, DESK, ETH, NOW_MS, OPEN_MS, SOL, D, market, symbol_view
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.bracket import on_losing_side
from app.domain.instrument import Side
from app.domain.market import BarIndicators, BetaReading, MarkPrice, Quote
from app.domain.orders import CommissionRates
from app.domain.plan import Plan
from app.domain.planning import ClosesOpposite, PlanIds, Planned, Refused, plan_trade
from app.domain.refusals import REFUSALS
from app.domain.rules import TradingRules
from app.domain.signal import Action, Alert
from app.domain.views import AccountView, DeskView, MarketView, SymbolView, TradingState

T = TypeVar("T")
RULES = TradingRules()
IDS = PlanIds("a1", "id:a1")
LONG, SHORT = Alert("BTCUSDT", Action.BUY), Alert("BTCUSDT", Action.SELL)


def mostly(usual: T, *others: T) -> st.SearchStrategy[T]:
    """The guards that refuse early must not hide those behind them."""
    return ODDS[len(others)].map(lambda number: others[number - 1] if 0 < number <= len(others) else usual)


def pick(draw: st.DrawFn, usual: T, *others: T) -> T:
    """As ``mostly``, among values drawn just now: making a strategy of each would take longer than drawing from it."""
    number = draw(ODDS[len(others)])
    return others[number - 1] if 0 < number <= len(others) else usual


ODDS = {count: st.integers(0, 24 * count) for count in (1, 2, 3, 4)}
price = st.decimals("1", "200000", places=1)
floats = st.floats(allow_nan=True, allow_infinity=True)
times = mostly(NOW_MS, NOW_MS - 500, NOW_MS + 1_000, NOW_MS - 10_000, 0)
fee = st.decimals("-0.0005", "0.001", places=5)
rate = st.decimals("-0.002", "0.0007", places=5)
ahead = st.integers(0, 10**7)
part_of_price = st.floats(0.0002, 0.005) | st.floats(0.0002, 0.02)
any_or_none = st.none() | floats
slopes = st.tuples(st.floats(0.1, 3.1), st.floats(0.4, 1)), st.tuples(floats, floats)
booleans = st.booleans()
factors = st.decimals("0.96", "1.04", places=4)
sides = st.sampled_from([Action.BUY, Action.SELL])


@st.composite
def views(draw: st.DrawFn, of: str) -> SymbolView:
    base = {"BTCUSDT": BTC, "ETHUSDT": ETH, "SOLUSDT": SOL}[of]
    bid = draw(price)
    quote = Quote(of, bid, D(1), bid + pick(draw, D("0.1"), D(0), D(-1), D(50)), D(1), draw(times))
    mark = MarkPrice(of, bid, draw(rate), NOW_MS + draw(ahead), draw(times))
    atr = draw(part_of_price) * float(bid) if pick(draw, True, False) else draw(any_or_none)
    close = float(bid) if pick(draw, True, False) else draw(floats)
    bars = BarIndicators(of, BAR_MS, pick(draw, OPEN_MS, 0), close, atr, None, None, None)
    slope, correlation = draw(pick(draw, *slopes))
    beta = BetaReading(of, "BTCUSDT", slope, correlation, 0.5, 60, draw(times))
    return SymbolView(
        pick(draw, base, replace(base, min_quantity=base.step * 7, min_notional=D(1000))),
        pick(draw, quote, None),
        pick(draw, mark, None),
        pick(draw, bars, None),
        CommissionRates(draw(fee), draw(fee)),
        pick(draw, beta, None),
        funding_interval_h=pick(draw, 8, 4, 1),
    )


money = st.decimals("100", "1e9", places=2)
accounts = st.builds(
    AccountView,
    money | mostly(D(10_000), D(-1), D(0), D("NaN"), None),
    money | mostly(D(10_000), D(-1), D("Infinity"), None),
    mostly(0, 9_000),
)
desks = st.builds(
    DeskView,
    st.booleans(),
    mostly(True, False),
    mostly(TradingState.ACTIVE, TradingState.HALTED),
    mostly({}, {"ETHUSDT": "foreign"}),
    mostly(None, Side.BUY),
)


views_by_symbol = {of: views(of) for of in ("BTCUSDT", "ETHUSDT", "SOLUSDT")}


@st.composite
def cases(draw: st.DrawFn) -> tuple[Alert, MarketView]:
    """An alert whose levels and price are near the market's, or anywhere."""
    views_of = {of: draw(views_by_symbol[of]) for of in ("BTCUSDT", "ETHUSDT", "SOLUSDT")}
    quote = views_of["BTCUSDT"].quote
    bid = quote.bid if quote is not None and pick(draw, True, False) else None

    def near() -> Decimal:
        return draw(price) if bid is None else bid * draw(factors)

    def exact() -> Decimal:
        return draw(price) if bid is None else bid

    def absent_or(value: Callable[[], Decimal]) -> Decimal | None:
        return value() if draw(booleans) else None

    alert = Alert(
        pick(draw, "BTCUSDT", "ETHUSDT"),
        draw(sides) if pick(draw, True, False) else Action.CLOSE,
        qty=pick(draw, None, D("1e-12"), D("0.01"), D("1e12")),
        sl=absent_or(near),
        price=pick(draw, absent_or(exact), near()),
        ob_top=absent_or(near),
        ob_bottom=absent_or(near),
        bar_time_ms=pick(draw, OPEN_MS, NOW_MS, 0) if draw(booleans) else None,
    )
    return alert, MarketView(NOW_MS, pick(draw, 300, 20_000), views_of)


def assert_sound(plan: Plan) -> None:
    sign = plan.side.sign
    assert plan.quantity % plan.instrument.step == 0
    assert plan.quantity >= plan.instrument.min_quantity
    assert plan.quantity * abs(plan.worst_price - plan.stop) <= plan.risk_usdt * (1 + D("1e-20"))
    assert on_losing_side(plan.side, plan.stop, plan.p0)
    assert (plan.maker_price - plan.stop) * sign > 0
    assert (plan.worst_price - plan.p0) * sign >= 0
    assert abs(plan.worst_price - plan.p0) <= plan.rules.entry.max_run_r * plan.r_per_unit
    assert plan.backstop > 0
    assert (plan.stop - plan.backstop) * sign >= 0 or plan.backstop == plan.instrument.tick
    assert all(level % plan.instrument.tick == 0 for level in (plan.stop, plan.backstop))
    assert plan.worst_case_r <= plan.rules.fees.max_worst_case_r
    assert plan.fee_r <= plan.rules.fees.refuse_r
    equivalent = sum((leg.ratio * leg.reference_price * leg.beta for leg in plan.hedges), D(0))
    assert equivalent <= plan.rules.hedge.cap * plan.p0 * (1 + D("1e-20"))
    for leg in plan.hedges:
        assert leg.side is plan.side.opposite
        assert leg.max_quantity % leg.instrument.step == 0
        assert 0 < leg.max_quantity <= plan.quantity * leg.ratio
        assert on_losing_side(leg.side, leg.stop, leg.reference_price) or leg.stop == leg.instrument.tick


@settings(max_examples=400)
@given(cases(), accounts, desks)
def test_planning_never_raises_and_its_plans_are_sound(
    case: tuple[Alert, MarketView], account: AccountView, desk: DeskView
) -> None:
    found = plan_trade(*case, account, desk, RULES, IDS)
    if isinstance(found, Planned):
        assert_sound(found.plan)
    elif isinstance(found, Refused):
        assert found.refusal.code in REFUSALS
        assert not all(verdict.passed for verdict in found.verdicts)
    else:
        assert isinstance(found, ClosesOpposite)
        assert desk.live_trade_side is found.side.opposite


@settings(max_examples=300)
@given(
    st.sampled_from([LONG, SHORT]),
    st.none() | st.decimals("-0.04", "0.04", places=4),
    st.decimals("0.0005", "0.01", places=4),
    st.decimals("100", "1e6", places=0),
    st.decimals("10", "1e6", places=0),
    st.floats(0.05, 3.5),
)
def test_plans_in_a_healthy_market_are_sound(
    alert: Alert, stop_at: Decimal | None, atr: Decimal, equity: Decimal, available: Decimal, beta: float
) -> None:
    alert = alert if stop_at is None else replace(alert, sl=(85_000 * (1 + stop_at)) or None)
    view = market(
        BTCUSDT=symbol_view(BTC, "84999.9", "85000", float(85_000 * atr)),
        ETHUSDT=symbol_view(ETH, "3000", "3000.01", float(3_000 * atr), beta),
    )
    found = plan_trade(alert, view, AccountView(equity, available, 0), DESK, RULES, IDS)
    if isinstance(found, Planned):
        assert_sound(found.plan)
        bigger = plan_trade(alert, view, AccountView(equity * 2, available * 2, 0), DESK, RULES, IDS)
        assert isinstance(bigger, Planned)
        assert bigger.plan.quantity >= found.plan.quantity
