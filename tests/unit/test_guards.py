"""Guards one by one: their bounds, and the words of their reasons."""

from dataclasses import replace
from decimal import Decimal

import pytest
from domain_examples import ACCOUNT, BTC, DESK, NOW_MS, D, market
from hypothesis import given
from hypothesis import strategies as st

from app.domain import guards, limits
from app.domain.hedge_legs import hedge_legs, size_legs
from app.domain.instrument import Side
from app.domain.limits import UnitCosts, liquidation_price
from app.domain.rules import FeeRules, HedgeRules, TradingRules
from app.domain.signal import Action, Alert
from app.domain.views import DeskView

RULES = TradingRules()
LONG = Alert("BTCUSDT", Action.BUY)


def test_liquidation_price_of_isolated_margin() -> None:
    """At the liquidation price what is left of the margin equals the maintenance margin."""
    rate = D("0.005")
    for side in Side:
        price = liquidation_price(side, D(85_000), 20, rate)
        margin_left = D(4_250) + side.sign * (price - 85_000)
        assert abs(margin_left - rate * price) < D("1e-15")
    assert liquidation_price(Side.BUY, D(85_000), 1, rate) == 0


@pytest.mark.parametrize(("stop", "passed"), [("83652.0", True), ("83650.0", False)])
def test_liquidation_keeps_two_stop_distances(stop: str, passed: bool) -> None:
    """20× at 85,000 with this rate is liquidated at 80,955: a stop 1,348.3 away is the last that leaves twice its distance."""
    rate = 1 - D(80_750) / D("80955.0")
    verdict = limits.liquidation(Side.BUY, D(85_000), D(85_000), D(stop), 20, rate)
    assert verdict.passed is passed
    if not passed:
        assert "80955" in verdict.reason


def test_fees_warn_above_and_refuse_above() -> None:
    rules = FeeRules()
    assert limits.fees(D("0.35"), rules).reason == "fees cost 0.35 R"
    assert "over" in limits.fees(D("0.3501"), rules).reason
    assert limits.fees(D("0.75"), rules).passed
    assert limits.fees(D("0.7501"), rules).code == "fees_exceed_edge"


def test_margin_counts_the_usable_part_of_the_balance() -> None:
    unit = UnitCosts(notional=D(2_000), stop_loss=D(10), fees=D(10))  # 110 USDT of margin and fees at 20×
    assert limits.margin(D(9), unit, D(1_100), D("0.9"), 20)[0] == 9
    scaled, verdict = limits.margin(D(18), unit, D(1_100), D("0.9"), 20)
    assert scaled == 9
    assert "margin_cap" in verdict.reason
    assert limits.margin(D(18), unit, D(-5), D("0.9"), 20)[0] == 0


def test_worst_case_is_all_stops_and_all_fees() -> None:
    unit = UnitCosts(notional=D(2_000), stop_loss=D(20), fees=D(5))
    assert limits.worst_case(D(1), unit, D(10), D("2.5"))[0] == 1
    assert limits.worst_case(D(2), unit, D(10), D("2.5"))[0] == 1


def test_one_leg_costs_its_stop_and_two_taker_fees() -> None:
    unit = UnitCosts.of_leg(D(85_100), D(85_000), D(84_600), D("0.0004"))
    assert unit == UnitCosts(D(85_100), D(500), (D(85_100) + D(84_600)) * D("0.0004"))
    rebate = UnitCosts.of_leg(D(84_900), D(85_000), D(85_400), D("-0.0001"))
    assert rebate == UnitCosts(D(85_000), D(500), D(0))


costs = st.builds(UnitCosts, *[st.decimals("0.01", "1e6", places=2)] * 3)
amounts = st.decimals("0", "1e6", places=3)


@given(costs, amounts, amounts, amounts)
def test_margin_and_worst_case_only_scale_down_and_keep_their_limits(
    unit: UnitCosts, quantity: Decimal, available: Decimal, risk: Decimal
) -> None:
    slack = 1 + D("1e-20")
    carried, _ = limits.margin(quantity, unit, available, D("0.9"), 20)
    assert carried <= quantity
    assert carried * unit.margin(20) <= available * D("0.9") * slack
    if risk:
        bounded, _ = limits.worst_case(quantity, unit, risk, D("2.5"))
        assert bounded <= quantity
        assert bounded * unit.worst_case <= D("2.5") * risk * slack


def test_a_symbol_has_one_owner() -> None:
    desk = replace(DESK, owners={"BTCUSDT": "managed:abc"})
    verdict = guards.ownership("BTCUSDT", desk)
    assert (verdict.code, "managed:abc" in verdict.reason) == ("symbol_owned", True)
    assert guards.ownership("ETHUSDT", desk).passed


def test_only_live_needs_arming() -> None:
    assert guards.arming(DeskView(live=True, armed=False)).code == "not_armed"
    assert guards.arming(DeskView(live=True, armed=True)).passed
    assert guards.arming(DeskView(live=False, armed=False)).passed


def test_equity_is_fresh_for_five_seconds() -> None:
    assert guards.equity(replace(ACCOUNT, age_ms=5_000), RULES.freshness).passed
    assert guards.equity(replace(ACCOUNT, age_ms=5_001), RULES.freshness).code == "equity_unknown"


@pytest.mark.parametrize(
    ("rate", "interval_h", "passed"),
    [
        ("0.0005", 8, True),
        ("0.0006", 8, True),
        ("0.0007", 8, False),
        ("0.0003", 4, True),
        ("0.00031", 4, False),
        ("-0.01", 8, True),
    ],
)
def test_funding_is_compared_per_eight_hours(rate: str, interval_h: int, passed: bool) -> None:
    view = market().symbols["BTCUSDT"]
    assert view.mark
    view = replace(view, mark=replace(view.mark, funding_rate=D(rate)), funding_interval_h=interval_h)
    assert guards.funding("BTCUSDT", Side.BUY, view, NOW_MS, RULES.freshness, RULES.funding).passed is passed


@pytest.mark.parametrize(("price", "passed"), [("85255", True), ("85256", False), ("84745", True), ("84744", False)])
def test_the_alert_price_is_within_three_tenths_of_a_percent(price: str, passed: bool) -> None:
    assert guards.price_match(replace(LONG, price=D(price)), (D(85_000),), RULES.stop).passed is passed


@pytest.mark.parametrize("hedge", [HedgeRules(symbols=()), HedgeRules(factor=D(0)), HedgeRules(cap=D(0))])
def test_hedging_switched_off_asks_nothing_of_beta(hedge: HedgeRules) -> None:
    legs = hedge_legs(Side.BUY, D(85_000), market(ETHUSDT=None, SOLUSDT=None), DESK, TradingRules(hedge=hedge))
    assert (legs.legs, legs.verdicts, legs.halve_risk) == ((), (), False)


def test_a_leg_is_never_larger_than_one_market_order() -> None:
    legs = hedge_legs(Side.BUY, D(85_000), market(), DESK, RULES).legs
    sized, _ = size_legs(legs, BTC.market_max_quantity * 10)
    assert [leg.max_quantity for leg in sized] == [leg.instrument.market_max_quantity for leg in sized]
