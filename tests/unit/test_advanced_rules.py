"""The advanced webhook's rules: worked sizes, any symbol's filters, risk levels, guards, stops and the plan."""

import json
from decimal import ROUND_FLOOR, Decimal
from typing import Any

import pytest
from domain_examples import BTC, D
from hypothesis import given
from hypothesis import strategies as st
from shared import shared_path

from app.domain.advanced import NotOpened, Opening, OpeningFacts, opening_guards, plan_opening
from app.domain.advanced_answers import api_refusal
from app.domain.advanced_refusals import ADVICE_BY_CODE
from app.domain.advanced_rules import AdvancedRules
from app.domain.advanced_size import RiskLevel, calculate_position_quantity, risk_level
from app.domain.contract_terms import ContractTerms, MarginBracket
from app.domain.instrument import Side
from app.domain.market import Quote
from app.domain.orders import CommissionRates, MarginType
from app.domain.plan import Owner, Plan
from app.domain.requests import AdvancedRequest
from app.domain.risk.breakers import Breaker, Trip
from app.domain.risk.view import RiskView
from app.domain.rules import TradingRules
from app.domain.verdict import Verdict
from app.domain.views import DeskView, TradingState
from app.exchange.binance_parse import instrument, is_usdt_perpetual
from app.storage.codec import dump, load

LISTINGS = json.loads(shared_path("data/exchangeInfo-2025-12-07.json").read_text())["symbols"]
PERPETUALS = [instrument(listing) for listing in LISTINGS if is_usdt_perpetual(listing)]
TERMS = ContractTerms(8, (MarginBracket(D(300_000), D("0.004")), MarginBracket(D(800_000), D("0.005"))))
TRADING, RULES = TradingRules(), AdvancedRules()


# --- sizes ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("balance", "percentage", "leverage", "price", "expected"),
    [
        (1_000, "0.25", 10, "50000", "0.050"),
        (1_000, "0.25", 10, "50123.45", "0.049"),
        (10_000, "0.10", 5, "43000", "0.116"),  # "conservative long"
        (10_000, "0.50", 20, "85000", "1.176"),
        (100, "0.01", 1, "50000", "0"),  # under the minimum
    ],
)
def test_the_worked_sizes(balance: int, percentage: str, leverage: int, price: str, expected: str) -> None:
    size = calculate_position_quantity(D(balance), D(percentage), leverage, D(price), BTC)
    assert size.quantity == D(expected)
    assert size.value == balance * D(percentage) * leverage


def test_the_largest_market_order_caps_it() -> None:
    size = calculate_position_quantity(D(100_000_000), D(1), 20, D(50_000), BTC)
    assert (size.quantity, size.was_capped) == (min(BTC.max_quantity, BTC.market_max_quantity), True)


def test_every_listed_perpetual_can_be_sized() -> None:
    assert len(PERPETUALS) == len(LISTINGS)


@given(
    st.sampled_from(PERPETUALS),
    st.decimals(min_value=D(1), max_value=D(10_000_000), places=2),
    st.decimals(min_value=D("0.01"), max_value=D(1), places=3),
    st.integers(1, 125),
    st.decimals(min_value=D("0.0001"), max_value=D(150_000), places=4),
)
def test_a_size_fits_the_filters_and_is_never_more_than_asked(
    listed: Any, balance: Decimal, percentage: Decimal, leverage: int, price: Decimal
) -> None:
    size = calculate_position_quantity(balance, percentage, leverage, price, listed)
    assert size.quantity % listed.step == 0
    assert size.quantity * price <= size.value
    assert size.quantity <= min(listed.max_quantity, listed.market_max_quantity)
    if size.quantity:
        assert size.quantity >= listed.min_quantity
        assert size.quantity * price >= listed.min_notional
        assert size.was_capped or size.wanted - size.quantity < listed.step
    elif not size.was_capped:
        floored = (size.wanted / listed.step).to_integral_value(ROUND_FLOOR) * listed.step
        assert floored < listed.min_quantity or floored * price < listed.min_notional


@pytest.mark.parametrize(
    ("percentage", "leverage", "level"),
    [
        ("0.05", 2, RiskLevel.CONSERVATIVE),
        ("0.10", 5, RiskLevel.CONSERVATIVE),
        ("0.11", 5, RiskLevel.MODERATE),
        ("0.25", 10, RiskLevel.MODERATE),
        ("0.05", 20, RiskLevel.AGGRESSIVE),
        ("0.50", 10, RiskLevel.AGGRESSIVE),
        ("0.51", 1, RiskLevel.VERY_AGGRESSIVE),
        ("0.05", 50, RiskLevel.VERY_AGGRESSIVE),
    ],
)
def test_risk_levels(percentage: str, leverage: int, level: RiskLevel) -> None:
    assert risk_level(D(percentage), leverage) is level


# --- guards ---------------------------------------------------------------------------------------------------------------


def asked(**changes: Any) -> AdvancedRequest:
    base = {"symbol": "ETHUSDT", "action": "buy", "balance_percentage": "0.25", "leverage": 10}
    return AdvancedRequest.model_validate({**base, **changes})


def refused_by(risk: RiskView = RiskView(), desk: DeskView | None = None, age_ms: int = 0, **changes: Any) -> str:  # noqa: B008
    """The code of the first guard that fails; empty: none."""
    rules = changes.pop("rules", RULES)
    desk = desk or DeskView(live=False, armed=True)
    verdicts = opening_guards(asked(**changes), age_ms, desk, risk, rules, TRADING)
    return next((verdict.code for verdict in verdicts if not verdict.passed), "")


def desk(**changes: Any) -> DeskView:
    return DeskView(**({"live": False, "armed": True} | changes))


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({}, ""),
        ({"rules": AdvancedRules(enabled=False)}, "advanced_disabled"),
        ({"age_ms": 10_001}, "stale_alert"),
        ({"desk": desk(trading=TradingState.REDUCING)}, "paused"),
        ({"desk": desk(live=True, armed=False)}, "not_armed"),
        ({"symbol": "BTCUSDT"}, "strategy_symbol"),
        ({"symbol": "BTCUSDT", "rules": AdvancedRules(trade_strategy_symbol=True)}, ""),
        ({"desk": desk(owners={"ETHUSDT": "managed:abc"})}, "symbol_owned"),
        ({"desk": desk(owners={"ETHUSDT": "foreign"})}, "symbol_owned"),
        ({"desk": desk(owners={"ETHUSDT": "advanced"}, live_trade_side=Side.BUY)}, "position_open"),
        ({"desk": desk(owners={"ETHUSDT": "advanced"}, live_trade_side=Side.SELL)}, ""),
    ],
)
def test_what_keeps_a_position_from_being_opened(arguments: dict[str, Any], code: str) -> None:
    assert refused_by(**arguments) == code


@pytest.mark.parametrize("breaker", [breaker for breaker in Breaker if breaker is not Breaker.LATENCY])
def test_a_tripped_breaker_of_the_account_opens_nothing(breaker: Breaker) -> None:
    risk = RiskView(trips=(Trip(breaker, "for the test", 0),))
    stopped = {action for action in ("buy", "sell") if refused_by(risk, action=action)}
    one_side = {Breaker.LONG_SIDE: {"buy"}, Breaker.SHORT_SIDE: {"sell"}}
    assert stopped == one_side.get(breaker, {"buy", "sell"})


# --- plans ----------------------------------------------------------------------------------------------------------------


def planned(
    price: str = "50000", rules: AdvancedRules = RULES, terms: ContractTerms = TERMS, **changes: Any
) -> Opening | NotOpened:
    quote = Quote("BTCUSDT", D(price) - D("0.1"), D(5), D(price), D(5), 0)
    facts = OpeningFacts(BTC, quote, D(1_000), CommissionRates(D("0.0002"), D("0.0005")), terms, 1_765_000_000_000)
    return plan_opening(asked(symbol="BTCUSDT", **changes), facts, rules, TRADING, "abc", "advanced:id:a")


def opening(**changes: Any) -> Opening:
    found = planned(**changes)
    assert isinstance(found, Opening), found
    return found


def verdict(**changes: Any) -> Verdict:
    found = planned(**changes)
    assert isinstance(found, NotOpened), found
    return found.verdict


def test_the_plan_is_a_market_entry_with_a_stop_and_nothing_else() -> None:
    plan = opening().plan
    assert (plan.owner, plan.owner_name, plan.is_managed) == (Owner.ADVANCED, "advanced", False)
    assert (plan.quantity, plan.p0, plan.stop, plan.stop_source) == (D("0.050"), D(50_000), D(49_000), "default")
    assert (plan.targets, plan.hedges, plan.leverage) == ((), (), 10)
    assert (plan.backstop, plan.worst_price) == (D(48_500), D(50_150))
    assert plan.risk_usdt == D("0.050") * 1_150
    assert plan.worst_case_r <= TRADING.fees.max_worst_case_r


def test_a_short_is_its_mirror() -> None:
    plan = opening(action="sell").plan
    assert plan.p0 == D("49999.9")
    assert plan.stop > plan.p0 > plan.worst_price


def test_a_plan_of_this_webhook_survives_the_journal() -> None:
    plan = opening(sl="49500").plan
    assert load(Plan, dump(plan)) == plan


def test_the_requests_own_stop_and_margin_type_count() -> None:
    found = opening(sl="48000.07", margin_type="CROSSED")
    assert (found.plan.stop, found.plan.stop_source, found.margin_type) == (D("48000.0"), "alert", MarginType.CROSSED)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"sl": "50001"}, "invalid_stop"),
        ({"sl": "49960"}, "invalid_stop"),  # nearer than 0.1 %
        ({"action": "sell", "sl": "49000"}, "invalid_stop"),
        ({"rules": AdvancedRules(default_stop_pct=D(0))}, "stop_missing"),
        ({"sl": "46000", "leverage": 20}, "stop_beyond_liquidation"),
        ({"balance_percentage": "0.01", "leverage": 1}, "insufficient_balance"),
    ],
)
def test_what_cannot_be_planned(changes: dict[str, Any], code: str) -> None:
    found = verdict(**changes)
    assert found.code == code
    assert "$" not in found.reason


@pytest.mark.parametrize(("bid", "ask"), [("0", "0"), ("0", "50000"), ("50001", "50000"), ("NaN", "50000")])
def test_a_book_that_is_no_market_is_refused(bid: str, ask: str) -> None:
    quote = Quote("BTCUSDT", D(bid), D(0), D(ask), D(0), 0)
    facts = OpeningFacts(BTC, quote, D(1_000), CommissionRates(D("0.0002"), D("0.0005")), TERMS, 1_765_000_000_000)
    found = plan_opening(asked(symbol="BTCUSDT"), facts, RULES, TRADING, "abc", "advanced:id:a")
    assert isinstance(found, NotOpened)
    assert found.verdict.code == "stale_price"


@pytest.mark.parametrize("balance", ["0", "-12.5"])
def test_an_empty_wallet_buys_nothing(balance: str) -> None:
    size = calculate_position_quantity(D(balance), D(1), 20, D(50_000), BTC)
    assert size.quantity == 0


def test_crossed_margin_is_not_held_to_the_isolated_liquidation_price() -> None:
    assert opening(sl="46000", leverage=20, margin_type="CROSSED").plan.stop == D(46_000)


def test_warnings_tell_of_capped_leverage_boldness_the_default_stop_and_a_far_reference() -> None:
    found = opening(leverage=100, balance_percentage="0.9", entry="60000")
    assert found.plan.leverage == found.size.leverage == 20
    words = " | ".join(found.plan.warnings)
    for expected in ("leverage 100", "lowered to 20", "very aggressive risk", "no sl", "entry 60000"):
        assert expected in words
    assert opening(balance_percentage="0.1", leverage=5, sl="49000").plan.warnings == ()


@given(
    st.sampled_from(["buy", "sell"]),
    st.decimals(min_value=D("0.01"), max_value=D(1), places=2),
    st.integers(1, 125),
    st.decimals(min_value=D(1_000), max_value=D(200_000), places=1),
)
def test_whatever_is_planned_loses_no_more_than_it_says(action: str, percentage: Decimal, leverage: int, price: Decimal) -> None:
    found = planned(price=str(price), action=action, balance_percentage=str(percentage), leverage=leverage)
    if isinstance(found, NotOpened):
        return
    plan = found.plan
    assert plan.leverage <= RULES.max_leverage
    assert plan.quantity * plan.p0 <= 1_000 * percentage * plan.leverage
    assert (plan.p0 - plan.stop) * plan.side.sign > 0
    assert (plan.stop - plan.backstop) * plan.side.sign > 0
    assert abs(plan.worst_price - plan.stop) * plan.quantity == plan.risk_usdt


# --- words ----------------------------------------------------------------------------------------------------------------


def test_the_exchanges_errors_in_the_contracts_words() -> None:
    refusal = api_refusal(-2019, "Margin is insufficient.")
    assert refusal.message == "Binance API error (Code -2019): Margin is insufficient."
    assert "balance" in refusal.suggestions[0]
    assert api_refusal(-9999, "New.").suggestions
    assert api_refusal(0, "no answer").message == "Binance API error: no answer"
    assert {-2019, -1121, -1111, -4164} <= ADVICE_BY_CODE.keys()
