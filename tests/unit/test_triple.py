"""triple_alpha: which symbols are traded, and what an entry must meet beside the rules of every trade."""

from dataclasses import replace
from decimal import Decimal

import pytest
from domain_examples import ACCOUNT, DESK, ETH, NOW_MS, SOL, market, symbol_view
from hypothesis import given
from hypothesis import strategies as st

from app.bus.codec import decode_message, encode_message, latest_field
from app.domain.instrument import Side
from app.domain.market import MINUTE_MS, Bar, BetaReading, CorrelationReading
from app.domain.planning import ClosesOpposite, PlanIds, Planned, Refused, plan_trade
from app.domain.risk.view import CALM, OpenPosition, RiskView
from app.domain.rules import TradingMode, TradingRules
from app.domain.signal import Action, Alert
from app.domain.triple import TURNOVER_INTERVAL_MS, triple_guards
from app.domain.views import MarketView, SymbolView
from app.stream.config import StreamConfig
from app.stream.readings import BetaBook

RULES = TradingRules(mode=TradingMode.TRIPLE_ALPHA)
IDS = PlanIds("abcdefghij", "key")
BTC_ETH = frozenset(("BTCUSDT", "ETHUSDT"))


def quarter(symbol: str, close: float, turnover: float, closed_ago_ms: int = 60_000) -> Bar:
    open_ms = NOW_MS - closed_ago_ms - TURNOVER_INTERVAL_MS
    return Bar(symbol, TURNOVER_INTERVAL_MS, open_ms, close, close, close, close, turnover / close)


def with_quarter(view: SymbolView, turnover: float, closed_ago_ms: int = 60_000) -> SymbolView:
    close = view.bars.close if view.bars else 1.0
    return replace(view, quarter=quarter(view.instrument.symbol, close, turnover, closed_ago_ms))


def facts(correlation: float = 0.5, turnover: float = 2e7, age_ms: int = 4_000) -> MarketView:
    view = market(
        ETHUSDT=with_quarter(symbol_view(ETH, "3000", "3000.01", 10.0, beta=0.85), turnover),
        SOLUSDT=with_quarter(symbol_view(SOL, "140", "140.01", 0.5, beta=0.65), turnover),
    )
    pairs = [("ETHUSDT", "BTCUSDT"), ("SOLUSDT", "BTCUSDT"), ("SOLUSDT", "ETHUSDT")]
    readings = {frozenset(pair): CorrelationReading(*pair, correlation, 60, NOW_MS - age_ms) for pair in pairs}
    return replace(view, correlations=readings)


def codes(symbol: str, view: MarketView, *owned: str, rules: TradingRules = RULES) -> list[str]:
    desk = replace(DESK, owners=dict.fromkeys(owned, "managed:x"))
    return [verdict.code for verdict in triple_guards(symbol, Side.BUY, view, desk, CALM, rules)]


def test_each_symbol_is_traded_without_hedges_and_only_in_this_mode() -> None:
    for symbol in RULES.symbols:
        for action in (Action.BUY, Action.SELL):
            outcome = plan_trade(Alert(symbol, action), facts(), ACCOUNT, DESK, RULES, IDS)
            assert isinstance(outcome, Planned), outcome
            assert (outcome.plan.symbol, outcome.plan.side, outcome.plan.hedges) == (symbol, action.side, ())
            assert not any(verdict.guard.startswith("hedge") for verdict in outcome.verdicts)
    other = plan_trade(Alert("ETHUSDT", Action.BUY), facts(), ACCOUNT, DESK, TradingRules(), IDS)
    assert isinstance(other, Refused)
    assert (other.refusal.code, other.refusal.message.split(",")[0]) == (
        "symbol_not_traded",
        "ETHUSDT is not traded by this strategy",
    )
    assert triple_guards("BTCUSDT", Side.BUY, facts(), DESK, CALM, TradingRules()) == ()


def test_an_entry_is_skipped_beside_a_position_it_moves_with() -> None:
    assert codes("BTCUSDT", facts(0.95)) == [""], "nothing is open"
    assert codes("BTCUSDT", facts(0.8), "ETHUSDT") == [""], "up to the limit"
    assert codes("BTCUSDT", facts(0.801), "ETHUSDT") == ["correlated_position"]
    assert codes("SOLUSDT", facts(0.81), "ETHUSDT") == ["correlated_position", ""]
    assert codes("BTCUSDT", facts(0.95), "DOGEUSDT") == [""], "no symbol of this strategy"
    assert codes("ETHUSDT", facts(-0.95), "BTCUSDT", "SOLUSDT") == ["", ""]


@pytest.mark.parametrize(
    ("side", "held", "code"),
    [
        (Side.BUY, "100", "correlated_position"),
        (Side.SELL, "100", ""),
        (Side.SELL, "-100", "correlated_position"),
        (None, "1", "correlated_position"),
    ],
)
def test_an_opposite_position_is_no_obstacle(side: Side | None, held: str, code: str) -> None:
    desk = replace(DESK, owners={"BTCUSDT": "managed:x"})
    risk = RiskView(positions=(OpenPosition("BTCUSDT", Decimal(held)),))
    verdict = triple_guards("ETHUSDT", side, facts(0.95), desk, risk, RULES)[0]
    assert verdict.code == code


def test_a_correlation_not_known_refuses_only_beside_a_position() -> None:
    unknown = replace(facts(), correlations={})
    assert codes("BTCUSDT", unknown) == [""]
    assert codes("BTCUSDT", unknown, "SOLUSDT") == ["correlation_unknown"]
    assert codes("BTCUSDT", facts(0.1, age_ms=120_001), "SOLUSDT") == ["correlation_unknown"]
    assert codes("BTCUSDT", facts(float("nan")), "SOLUSDT") == ["correlation_unknown"]


@pytest.mark.parametrize(
    ("turnover", "closed_ago_ms", "code"),
    [(5_000_001, 60_000, ""), (4_999_999, 60_000, "illiquid"), (2e7, TURNOVER_INTERVAL_MS + 2_000, "turnover_unknown")],
)
def test_an_alt_must_have_turned_over_enough(turnover: float, closed_ago_ms: int, code: str) -> None:
    view = facts()
    thin = with_quarter(view.symbols["SOLUSDT"], turnover, closed_ago_ms)
    assert codes("SOLUSDT", replace(view, symbols={**view.symbols, "SOLUSDT": thin})) == ["", code]


def test_bitcoins_own_turnover_is_not_asked_and_a_missing_one_refuses() -> None:
    assert codes("BTCUSDT", facts()) == [""]
    assert codes("ETHUSDT", market()) == ["", "turnover_unknown"]


def test_the_live_trade_that_counts_is_the_one_on_the_alerts_symbol() -> None:
    desk = replace(DESK, owners={"ETHUSDT": "managed:x"}, live_trade_side=Side.BUY)
    same = plan_trade(Alert("ETHUSDT", Action.BUY), facts(), ACCOUNT, desk, RULES, IDS)
    opposite = plan_trade(Alert("ETHUSDT", Action.SELL), facts(), ACCOUNT, desk, RULES, IDS)
    assert isinstance(same, Refused)
    assert same.refusal.code == "already_in_trade"
    assert isinstance(opposite, ClosesOpposite)
    beside = replace(DESK, owners={"ETHUSDT": "managed:x"})
    assert isinstance(plan_trade(Alert("BTCUSDT", Action.SELL), facts(), ACCOUNT, beside, RULES, IDS), Planned)


@given(
    low=st.floats(-1, 1),
    high=st.floats(-1, 1),
    limit=st.decimals(Decimal(-1), Decimal(1), places=3),
    owned=st.sets(st.sampled_from(["ETHUSDT", "SOLUSDT"])),
)
def test_the_correlation_guard_is_monotone(low: float, high: float, limit: Decimal, owned: set[str]) -> None:
    """Where a correlation passes, every lower one does; and no position more lets pass what fewer refused."""
    low, high = sorted((low, high))
    rules = RULES.model_copy(update={"triple": RULES.triple.model_copy(update={"max_correlation": limit})})
    passes = {value: codes("BTCUSDT", facts(value), *owned, rules=rules) == [""] for value in (low, high)}
    assert passes[low] or not passes[high]
    assert codes("BTCUSDT", facts(low), rules=rules) == [""]


def test_the_stream_node_tells_the_pair_without_the_base_too() -> None:
    config = StreamConfig("", "", "", pairs=RULES.pairs)
    book = BetaBook(config)
    for k in range(61):
        for symbol, price in (("BTCUSDT", 100 + k % 7), ("ETHUSDT", 50 + k % 5), ("SOLUSDT", 20 + (k % 5) * 2 + k % 3)):
            book.add(Bar(symbol, MINUTE_MS, k * MINUTE_MS, price, price, price, price, 1.0))
    messages = book.newest(61 * MINUTE_MS)
    assert [type(m) for m in messages] == [BetaReading, BetaReading, CorrelationReading]
    pair = messages[-1]
    assert isinstance(pair, CorrelationReading)
    assert (pair.symbol, pair.other, pair.returns, pair.close_ms) == ("SOLUSDT", "ETHUSDT", 60, 61 * MINUTE_MS)
    assert 0.3 < pair.correlation < 1
    assert decode_message(encode_message(pair)) == pair
    assert len({latest_field(message) for message in messages}) == 3
    assert book.newest(61 * MINUTE_MS) == []
    assert TradingRules().pairs == ()


def test_pairs_must_be_two_other_symbols() -> None:
    with pytest.raises(ValueError, match="stream pairs BTCUSDT and ETHUSDT"):
        StreamConfig("", "", "", pairs=(("BTCUSDT", "ETHUSDT"),))
