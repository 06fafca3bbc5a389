"""Hedge legs: dollars, direction of β, the cap, and what follows a fill."""

from decimal import Decimal
from typing import Any

import pytest
from domain_examples import ETH, D, mathx
from hypothesis import given
from hypothesis import strategies as st

from app.domain.hedge import (
    beta_neutral_notionals,
    capped_notionals,
    hedge_quantity,
    hedge_stop,
    min_variance_notionals,
    quantity_ratio,
)
from app.domain.instrument import Side


def near(value: Decimal, expected: Decimal) -> bool:
    return abs(value - expected) <= Decimal("1e-9") * max(abs(expected), Decimal(1))


def hedge_vectors(part: str) -> Any:
    return mathx("hedge")[part]


def test_seed_rule_in_dollars_not_in_coins() -> None:
    for case in hedge_vectors("notional"):
        btc = case["btc_qty"] * case["btc_px"]
        legs = capped_notionals(btc, {"ALT": case["beta"]}, case["factor"], cap=D(2))
        assert near(legs.legs["ALT"], case["notional"]), case
        ratio = quantity_ratio(legs.legs["ALT"], btc, case["btc_px"], case["alt_px"])
        assert near(ratio * case["btc_qty"], case["qty"]), case


def test_cap_vectors() -> None:
    for case in hedge_vectors("capped"):
        legs = capped_notionals(case["btc_notional"], case["betas"], case["factor"], case["cap"])
        assert near(legs.scale, case["scale"]), case
        assert all(near(legs.legs[symbol], notional) for symbol, notional in case["legs"].items()), case


def test_beta_neutral_vectors() -> None:
    for case in hedge_vectors("beta_neutral"):
        legs = beta_neutral_notionals(case["btc_notional"], case["betas"], case["weights"], case["factor"])
        assert all(near(legs[symbol], notional) for symbol, notional in case["out"].items())


def test_min_variance_vector() -> None:
    case = hedge_vectors("min_variance")
    eth, sol = min_variance_notionals(case["btc_notional"], case["cov_ba"], case["cov_alts"])
    assert near(eth, case["eth"])
    assert near(sol, case["sol"])
    c, matrix = case["cov_ba"], case["cov_alts"]
    variance = case["var_btc"] - 2 * (eth * c[0] + sol * c[1])
    variance += eth * eth * matrix[0][0] + sol * sol * matrix[1][1] + 2 * eth * sol * matrix[0][1]
    assert near(variance, case["residual_var"])


def test_min_variance_of_one_leg_divides_where_the_seed_multiplied() -> None:
    assert min_variance_notionals(D(42_500), [D("1.2")], [[D("2.56")]]) == (D(42_500) * D("1.2") / D("2.56"),)


@pytest.mark.parametrize("covariances", [[[D(1), D(1)], [D(1), D(1)]], [[D(0), D(0)], [D(0), D(1)]]])
def test_legs_that_are_one_have_no_solution(covariances: list[list[Decimal]]) -> None:
    with pytest.raises(ValueError, match="positive definite"):
        min_variance_notionals(D(1), [D(1), D(1)], covariances)


def test_hedge_stop_vectors() -> None:
    for case in mathx("hedge_stop"):
        side = Side(case["side"])
        edge = case["ob_low"] if side is Side.BUY else case["ob_high"]
        assert hedge_stop(side, edge, case["atr"], D("0.9"), ETH) == case["sl"]


def test_a_hedge_stop_is_rounded_away_from_harm() -> None:
    assert hedge_stop(Side.SELL, D(3_000), D("10.001"), D("0.9"), ETH) == D("3009.01")
    assert hedge_stop(Side.BUY, D(3_000), D("10.001"), D("0.9"), ETH) == D("2990.99")


def test_the_leg_follows_what_filled_up_to_its_maximum() -> None:
    assert hedge_quantity(D("0.5"), D("14.45"), D("7.225"), ETH) == D("7.225")
    assert hedge_quantity(D("0.25"), D("14.45"), D("7.225"), ETH) == D("3.612")
    assert hedge_quantity(D("0.9"), D("14.45"), D("7.225"), ETH) == D("7.225")
    assert hedge_quantity(D("0.001"), D("0.5"), D("7.225"), ETH) == 0


positive = st.decimals("0.05", "5", places=3)


@given(
    st.decimals("10", "1e7", places=2),
    st.dictionaries(st.sampled_from(["ETH", "SOL", "XRP"]), positive),
    st.decimals("0", "1", places=2),
    st.decimals("0", "2", places=2),
)
def test_the_btc_equivalent_is_never_above_the_cap(
    btc: Decimal, betas: dict[str, Decimal], factor: Decimal, cap: Decimal
) -> None:
    legs = capped_notionals(btc, betas, factor, cap)
    equivalent = sum(legs.legs[symbol] * betas[symbol] for symbol in betas)
    assert equivalent <= cap * btc * (1 + Decimal("1e-20"))
    assert 0 <= legs.scale <= 1
    for symbol, notional in legs.legs.items():
        assert notional <= betas[symbol] * factor * btc
        ratio = quantity_ratio(notional, btc, D(85_000), D(140))
        assert ratio * D(140) / D(85_000) * btc <= notional * (1 + Decimal("1e-20"))
