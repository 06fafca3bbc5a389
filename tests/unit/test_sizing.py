"""Quantities: the seed's worked examples, the exchange's filters, and what must hold for any numbers."""

from decimal import Decimal

import pytest
from domain_examples import BTC, D, instrument, mathx
from hypothesis import given
from hypothesis import strategies as st

from app.domain.instrument import floor_step, round_tick
from app.domain.sizing import (
    apply_filters,
    fee_in_r,
    funding_8h,
    funding_cost,
    largest_scale,
    percentage_size,
    position_size,
    position_size_with_fees,
)

TOLERANCE = Decimal("1e-9")


def near(value: Decimal, expected: Decimal) -> bool:
    return abs(value - expected) <= TOLERANCE * max(abs(expected), Decimal(1))


def test_risk_size_vectors() -> None:
    for case in mathx("risk_size"):
        quantity = position_size(case["equity"], case["risk"], case["entry"], case["sl"])
        assert near(quantity, case["qty"]), case
        assert near(quantity * case["entry"], case["notional"]), case


def test_the_worked_examples_without_the_vectors() -> None:
    assert position_size(D(1_000), D("0.0075"), D(85_000), D(84_600)) == D("0.01875")
    assert position_size(D(50_000), D("0.0075"), D(85_000), D(84_600)) == D("0.9375")


def test_risk_size_with_fees_vectors() -> None:
    for case in mathx("risk_size_fees"):
        values = [case[name] for name in ("equity", "risk", "entry", "sl", "fee_in", "fee_out")]
        assert near(position_size_with_fees(*values), case["qty"]), case


def test_filter_vectors() -> None:
    for case in mathx("filters"):
        of = instrument(step=str(case["step"]), min_notional=str(case["min_notional"]))
        filtered = apply_filters(case["qty"], case["price"], of, case["equity"], int(case["leverage"]))
        assert (filtered.quantity, filtered.reason) == (case["out"], case["reason"]), case


def test_percentage_size_vectors() -> None:
    for case in mathx("pct_size"):
        quantity = percentage_size(case["balance"], case["pct"], int(case["leverage"]), case["price"])
        assert near(quantity, case["qty"]), case
        if "floored" in case:
            assert BTC.floor_quantity(quantity) == case["floored"]


def test_fee_and_funding_vectors() -> None:
    for case in mathx("fees")["fee_in_r"]:
        values = [case[name] for name in ("entry", "sl", "fee_in", "fee_out", "slip")]
        assert near(fee_in_r(*values), case["out"]), case
    for case in mathx("funding_8h"):
        assert near(funding_8h(case["rate"], int(case["interval"])), case["out"])
    for case in mathx("funding_cost"):
        assert near(funding_cost(1 if case["side"] == "BUY" else -1, case["notional"], case["rate"]), case["paid"])


def test_rounding_vectors() -> None:
    for case in mathx("round"):
        done = floor_step(case["x"], case["step"]) if case["fn"] == "floor_step" else round_tick(case["x"], case["tick"])
        assert done == case["out"], case


def test_no_size_without_a_distance() -> None:
    with pytest.raises(ValueError, match="must differ"):
        position_size(D(1_000), D("0.01"), D(85_000), D(85_000))


def test_a_position_can_always_be_closed_by_one_market_order() -> None:
    filtered = apply_filters(D(500), D(85_000), BTC, D(10**9), 20)
    assert (filtered.quantity, filtered.reason) == (BTC.market_max_quantity, "max_quantity")


amounts = st.decimals("0.0001", "1e9", places=6)
prices = st.decimals("0.5", "1e6", places=1)


@given(amounts, st.decimals("0.0001", "0.05", places=4), prices, prices)
def test_never_more_risk_than_allowed(equity: Decimal, risk: Decimal, entry: Decimal, stop: Decimal) -> None:
    if entry == stop:
        return
    quantity = apply_filters(position_size(equity, risk, entry, stop), entry, BTC, equity, 20).quantity
    assert quantity * abs(entry - stop) <= equity * risk
    with_fees = position_size_with_fees(equity, risk, entry, stop, D("0.0002"), D("0.0004"))
    assert with_fees < position_size(equity, risk, entry, stop)


@given(amounts, prices, amounts)
def test_filtered_quantities_are_on_the_step_and_within_the_caps(quantity: Decimal, price: Decimal, equity: Decimal) -> None:
    filtered = apply_filters(quantity, price, BTC, equity, 20)
    assert filtered.quantity % BTC.step == 0
    assert filtered.quantity <= quantity
    if filtered.quantity:
        assert filtered.quantity >= BTC.min_quantity
        assert filtered.quantity * price >= BTC.min_notional
        assert filtered.quantity * price <= equity * 20
        assert filtered.quantity <= BTC.market_max_quantity
    else:
        assert filtered.reason in ("below_min_qty", "below_min_notional")


@given(amounts, amounts, amounts)
def test_scaling_is_monotone_and_keeps_the_limit(limit: Decimal, less: Decimal, more: Decimal) -> None:
    less, more = sorted((less, more))
    assert 0 <= largest_scale(limit, more) <= largest_scale(limit, less) <= 1
    assert largest_scale(limit, more) * more <= limit * (1 + TOLERANCE)
