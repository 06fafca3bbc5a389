"""Stops, targets, splits, break-even and the trailing stop."""

from decimal import Decimal

import pytest
from domain_examples import BTC, D, instrument, mathx
from hypothesis import given
from hypothesis import strategies as st

from app.domain.bracket import (
    OrderBlock,
    StopSource,
    atr_stop,
    backstop_price,
    block_stop,
    break_even,
    choose_stop,
    is_believable,
    on_losing_side,
    split_quantity,
    target_prices,
)
from app.domain.instrument import Side
from app.domain.market import BarIndicators
from app.domain.rules import BreakEven, StopRules
from app.domain.trailing import trail, trailed_stop

RULES = StopRules()
FEES = D("0.0006")
LONG, SHORT = Side.BUY, Side.SELL


def near(value: Decimal, expected: Decimal) -> bool:
    return abs(value - expected) <= Decimal("1e-9") * max(abs(expected), Decimal(1))


def test_order_block_stop_vectors() -> None:
    for case in mathx("ob_stop"):
        block = OrderBlock(case["ob_low"], case["ob_high"])
        assert block_stop(Side(case["side"]), block, case["atr14"], RULES) == case["sl"], case


def test_target_vectors() -> None:
    for case in mathx("targets"):
        assert list(target_prices(Side(case["side"]), case["entry"], case["sl"], (D(1), D("1.5")))) == case["tp"], case


def test_split_vectors() -> None:
    for case in mathx("split_qty"):
        of = instrument(step=str(case["step"]))
        assert list(split_quantity(case["qty"], case["parts"][:-1], of)) == case["out"], case


def test_break_even_vectors() -> None:
    for case in mathx("be_price"):
        price = break_even(Side(case["side"]), case["entry"], case["fee_in"], case["fee_out"], BreakEven.FEE_NEUTRAL)
        assert near(price, case["price"]), case
        assert break_even(Side(case["side"]), case["entry"], case["fee_in"], case["fee_out"], BreakEven.ENTRY) == case["entry"]


def test_trail_vectors() -> None:
    for case in mathx("trail"):
        assert trailed_stop(Side(case["side"]), case["sl"], case["line"], case["bullish"], BTC) == case["out"], case


@pytest.mark.parametrize(
    ("side", "line", "expected"),
    [(LONG, "85400.19", "85400.1"), (LONG, "85000.09", "85000"), (SHORT, "84599.91", "84600"), (SHORT, "84999.99", "85000")],
)
def test_the_trailed_stop_is_rounded_away_from_harm_and_moves_by_whole_ticks(side: Side, line: str, expected: str) -> None:
    assert trailed_stop(side, D(85_000), D(line), side is LONG, BTC) == D(expected)


def bar(stop: float | None, is_long: bool | None) -> BarIndicators:
    return BarIndicators("BTCUSDT", 180_000, 0, 85_000.0, 200.0, stop, is_long, 2.0)


def test_a_flip_counts_only_after_the_indicator_agreed() -> None:
    against = trail(LONG, D(85_000), bar(85_300.0, is_long=False), agreed=False, instrument=BTC)
    assert (against.stop, against.agreed, against.flipped) == (D(85_000), False, False)
    agreeing = trail(LONG, against.stop, bar(85_100.04, is_long=True), against.agreed, BTC)
    assert (agreeing.stop, agreeing.agreed, agreeing.flipped) == (D(85_100), True, False)
    unknown = trail(LONG, agreeing.stop, bar(None, None), agreeing.agreed, BTC)
    assert (unknown.stop, unknown.agreed, unknown.flipped) == (D(85_100), True, False)
    flipped = trail(LONG, unknown.stop, bar(85_500.0, is_long=False), unknown.agreed, BTC)
    assert (flipped.stop, flipped.flipped) == (D(85_100), True)


@given(st.sampled_from(list(Side)), st.decimals("1", "1e5", places=1), st.lists(st.floats() | st.none()), st.lists(st.booleans()))
def test_a_trailed_stop_only_moves_in_favour(side: Side, stop: Decimal, lines: list[float | None], ways: list[bool]) -> None:
    agreed = False
    for line, way in zip(lines, ways, strict=False):
        step = trail(side, stop, bar(line if line is None or abs(line) < 1e9 else None, way), agreed, BTC)
        assert (step.stop - stop) * side.sign >= 0
        assert step.stop % BTC.tick == 0
        stop, agreed = step.stop, step.agreed


def test_the_fallback_stop_keeps_fees_within_the_floor() -> None:
    assert atr_stop(LONG, D(85_000), D(1_000), FEES, RULES) == D(84_250)
    near_stop = atr_stop(LONG, D(85_000), D(80), FEES, RULES)
    assert near(FEES * D(85_000) / (D(85_000) - near_stop), D("0.35"))
    bare = StopRules(fallback_fee_floor_r=Decimal(0))
    assert atr_stop(SHORT, D(85_000), D(80), FEES, bare) == D(85_060)


def chosen(side: Side, block: OrderBlock | None, stop: str | None) -> tuple[Decimal, StopSource]:
    found = choose_stop(side, D(85_000), D(200), FEES, block, None if stop is None else D(stop), BTC, RULES)
    assert found is not None
    return found.price, found.source


def test_which_levels_are_believed() -> None:
    block = OrderBlock(D(84_720), D(84_900))
    assert chosen(LONG, block, "84500") == (D(84_600), StopSource.ORDER_BLOCK)
    assert chosen(LONG, None, "84500.06") == (D("84500.0"), StopSource.ALERT)
    assert chosen(SHORT, None, "85400.01") == (D("85400.1"), StopSource.ALERT)
    fallback = (D("84850"), StopSource.ATR)
    assert chosen(LONG, None, None) == fallback
    for unbelievable in ("85400", "84950", "82000", "85000"):
        assert chosen(LONG, None, unbelievable) == fallback
    above = OrderBlock(D(86_000), D(86_100))
    assert chosen(LONG, above, "84500") == (D(84_500), StopSource.ALERT)
    assert chosen(LONG, above, None) == fallback


def test_the_bounds_of_a_believable_stop() -> None:
    p0 = D(100_000)
    assert is_believable(LONG, D(99_900), p0, RULES)
    assert is_believable(SHORT, D(103_000), p0, RULES)
    assert not is_believable(LONG, D("99900.1"), p0, RULES)
    assert not is_believable(SHORT, D("103000.1"), p0, RULES)


def test_no_stop_where_no_price_is_left() -> None:
    assert choose_stop(LONG, D(10), D(20), FEES, None, None, BTC, RULES) is None


def test_a_block_is_the_right_way_round() -> None:
    with pytest.raises(ValueError, match="bottom <= top"):
        OrderBlock(D(2), D(1))


prices = st.decimals("100", "1e6", places=1)


@given(st.sampled_from(list(Side)), prices, prices, prices, st.decimals("0.1", "500", places=3), st.none() | prices)
def test_a_stop_is_on_the_losing_side_on_the_tick_and_not_nearer_than_its_rule(
    side: Side, p0: Decimal, low: Decimal, high: Decimal, atr: Decimal, alert_stop: Decimal | None
) -> None:
    block = OrderBlock(min(low, high), max(low, high))
    found = choose_stop(side, p0, atr, FEES, block, alert_stop, BTC, RULES)
    if found is None:
        return
    assert on_losing_side(side, found.price, p0)
    assert found.price % BTC.tick == 0
    if found.source is StopSource.ORDER_BLOCK:
        assert (block_stop(side, block, atr, RULES) - found.price) * side.sign >= 0
    backstop = backstop_price(side, p0, found.price, BTC, RULES)
    assert backstop > 0
    assert backstop == BTC.tick or (found.price - backstop) * side.sign >= abs(p0 - found.price) / 2


@given(st.integers(1, 10**6), st.lists(st.decimals("0", "0.49", places=2), max_size=2))
def test_a_split_loses_nothing(steps: int, parts: list[Decimal]) -> None:
    quantity = steps * BTC.step
    split = split_quantity(quantity, parts, BTC)
    assert sum(split) == quantity
    assert all(part == 0 or part >= BTC.min_quantity for part in split)
    assert all(part % BTC.step == 0 for part in split)
