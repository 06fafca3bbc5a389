"""The risk rules against the reference's own numbers."""

from decimal import Decimal
from typing import Any

import pytest
from domain_examples import D, mathx

from app.domain.instrument import Side
from app.domain.risk.allowed import throttle
from app.domain.risk.book import RiskBook, equity_levels
from app.domain.risk.breakers import Breaker
from app.domain.risk.days import DAY_MS
from app.domain.risk.exposure import is_same_bet, largest_in_var, value_at_risk
from app.domain.risk.funding import FundingRules, funding_gate
from app.domain.risk.ramp import ramp_stage
from app.domain.risk.rules import RampRules, RiskRules, ThrottleRules

RULES = RiskRules()
T0 = 20_000 * DAY_MS


@pytest.mark.parametrize("case", mathx("throttle"))
def test_throttle(case: dict[str, Decimal]) -> None:
    assert case["base"] * throttle(case["dd"], ThrottleRules()) == case["out"]


def test_day_breakers_step_by_step() -> None:
    book, days = RiskBook(), dict[str, int]()
    for number, step in enumerate(mathx("day_breaker")):
        day = days.setdefault(step["day"], len(days))
        book, _ = book.closed(f"t{number}", Side(step["side"]), step["r"], T0 + day * DAY_MS + number, RULES)
        assert book.days.total_r == step["total_r"]
        assert {
            "stop_entries": Breaker.DAY_ENTRIES in book.tripped,
            "halt": Breaker.DAY_HALT in book.tripped,
            "long_paused": Breaker.LONG_SIDE in book.tripped,
            "short_paused": Breaker.SHORT_SIDE in book.tripped,
        } == {name: step[name] for name in ("stop_entries", "halt", "long_paused", "short_paused")}


@pytest.mark.parametrize("case", mathx("equity_stops"))
def test_equity_stops(case: dict[str, Any]) -> None:
    """One reading a day. What was hit at the last of them is what its levels say, whatever had tripped before."""
    book = RiskBook()
    for day, equity in enumerate(case["equity"]):
        book, _ = book.equity(equity, T0 + day * DAY_MS, RULES, case["base_risk"])
    worth = book.worth
    assert (worth.ath, worth.recent_high) == (case["ath"], case["hi20"])
    levels = {b: level for b, level, _ in equity_levels(worth.ath, worth.recent_high, case["base_risk"], RULES.breakers)}
    expected = {Breaker.ATH_STOP: "ath_pct", Breaker.ATH_R: "ath_r", Breaker.HIGH_R: "win_r"}
    for breaker, name in expected.items():
        assert levels[breaker] == case[f"{name}_level"]
        assert (case["equity"][-1] <= levels[breaker]) is case[f"{name}_hit"]
        if case[f"{name}_hit"]:
            assert breaker in book.tripped


def test_latency_guard_sample_by_sample() -> None:
    book = RiskBook()
    one_stage = RULES.model_copy(update={"ramp": RampRules(on=False)})
    for number, step in enumerate(mathx("latency_guard")):
        book, _ = book.delayed(float(step["ms"]), T0 + number * 1000, one_stage)
        assert book.delays.median_ms(RULES.latency) == step["median"]
        assert book.leverage(one_stage, 20) == step["leverage"]
        assert (RULES.latency.risk_factor if book.view(one_stage).slow else 1) == step["risk_mult"]


@pytest.mark.parametrize("case", mathx("ramp"))
def test_leverage_ramp(case: dict[str, Any]) -> None:
    rules = RampRules()
    assert rules.leverages[ramp_stage(int(case["trades"]), case["pf"], case["dd"], rules)] == case["leverage"]


@pytest.mark.parametrize("case", mathx("funding_gate"))
def test_funding_gate(case: dict[str, Any]) -> None:
    gate = funding_gate(Side(case["side"]), case["rate8"], FundingRules(symmetric=case["symmetric"]))
    assert (gate.skip, gate.hold_min or 30) == (case["skip"], case["max_hold_min"])


@pytest.mark.parametrize("case", mathx("var"))
def test_value_at_risk(case: dict[str, Any]) -> None:
    notionals = [float(notional) for notional in case["notionals"]]
    covariance = [[float(value) for value in row] for row in case["cov"]]
    level, horizon = float(case["level"]), float(case.get("horizon", 1))
    assert value_at_risk(notionals, covariance, level, horizon) == pytest.approx(float(case["var"]), rel=1e-9)
    if "scale" in case:
        limit = float(case["limit"] * case["equity"])
        scale = largest_in_var([0.0, 0.0], notionals, covariance, limit, level, horizon)
        assert min(1, scale) == pytest.approx(float(case["scale"]), rel=1e-9)


@pytest.mark.parametrize("case", mathx("corr_skip"))
def test_two_positions_that_are_one_bet(case: dict[str, Any]) -> None:
    (other,) = case["open"].values()
    assert is_same_bet(Side(case["new"][1]), Side(other), case["rho"], D("0.8")) is case["out"]
