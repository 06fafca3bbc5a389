"""The oscillator stand-ins against the recorded vectors, without look-ahead, and on markets that do not move."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from indicator_vectors import MARKETS, bars, rows, walk

from app.domain.market import Bar
from app.indicators.hyperwave_like import HyperwaveLike
from app.indicators.money_flow_like import MoneyFlowLike, MoneyFlowParams
from app.indicators.supertrend import SuperTrend

Floats = npt.NDArray[np.float64]


def prices(candles: list[Bar] | tuple[Bar, ...]) -> tuple[Floats, Floats, Floats]:
    table = np.array([(bar.high, bar.low, bar.close) for bar in candles])
    return table[:, 0], table[:, 1], table[:, 2]


def flows(candles: list[Bar] | tuple[Bar, ...]) -> tuple[Floats, Floats, Floats, Floats]:
    return *prices(candles), np.array([bar.volume for bar in candles])


def column(market: str, name: str) -> Floats:
    truths = {"True": 1.0, "False": 0.0, "": np.nan}
    return np.array([truths[row[name]] if row[name] in truths else float(row[name]) for row in rows(f"osc_{market}")])


def assert_same(actual: Any, expected: Floats) -> None:
    np.testing.assert_allclose(np.asarray(actual, dtype=float), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("market", MARKETS)
@pytest.mark.parametrize("length", [7, 14])
def test_hyperwave_equals_the_vectors(market: str, length: int) -> None:
    actual = HyperwaveLike(length).extend(*prices(bars(market)))
    assert_same(actual["value"], column(market, f"hw{length}"))
    assert_same(actual["signal"], column(market, f"hw{length}_sig"))


@pytest.mark.parametrize("market", MARKETS)
def test_hyperwave_crosses_are_those_of_its_lines(market: str) -> None:
    actual = HyperwaveLike().extend(*prices(bars(market)))
    side = np.sign(column(market, "hw7") - column(market, "hw7_sig"))
    rose, fell = (side[1:] > 0) & (side[:-1] <= 0), (side[1:] < 0) & (side[:-1] >= 0)
    assert np.array_equal(actual["cross"][1:], rose.astype(int) - fell.astype(int))
    assert rose.sum() > 100


@pytest.mark.parametrize("market", MARKETS)
def test_money_flow_equals_the_vectors(market: str) -> None:
    actual = MoneyFlowLike().extend(*flows(bars(market)))
    assert_same(actual["value"], column(market, "mf"))
    assert_same(actual["upper"], column(market, "mf_up"))
    assert_same(actual["lower"], column(market, "mf_lo"))
    assert np.array_equal(actual["overflow"], column(market, "ov_bull") - column(market, "ov_bear"))


@pytest.mark.parametrize("market", MARKETS)
def test_supertrend_equals_the_vectors(market: str) -> None:
    actual = SuperTrend(10, 3.0).extend(*prices(bars(market)))
    assert_same(actual["stop"], column(market, "trail"))
    assert_same(np.where(np.isnan(actual["stop"]), np.nan, actual["direction"]), column(market, "trail_dir"))


Case = tuple[Callable[[], Any], Callable[[list[Bar]], tuple[Floats, ...]]]
CASES: list[Case] = [(HyperwaveLike, prices), (MoneyFlowLike, flows), (lambda: SuperTrend(10, 2.0), prices)]


@pytest.mark.parametrize(("make", "inputs"), CASES, ids=["hyperwave", "money_flow", "supertrend"])
@given(seed=st.integers(0, 2**32 - 1), cuts=st.sets(st.integers(1, 349), max_size=4))
@settings(max_examples=20, deadline=None)
def test_cut_anywhere_equals_all_at_once(
    make: Callable[[], Any], inputs: Callable[[list[Bar]], tuple[Floats, ...]], seed: int, cuts: set[int]
) -> None:
    """No look-ahead: what is said of a prefix is not changed by what follows, bit by bit."""
    columns = inputs(walk(350, seed))
    whole, indicator = make().extend(*columns), make()
    pieces = [indicator.extend(*(values[a:b] for values in columns)) for a, b in pairwise([0, *sorted(cuts), 350])]
    assert np.concatenate(pieces).tobytes() == whole.tobytes()


@pytest.mark.parametrize(("make", "inputs"), CASES, ids=["hyperwave", "money_flow", "supertrend"])
def test_single_bars_equal_many_at_once(make: Callable[[], Any], inputs: Callable[[list[Bar]], tuple[Floats, ...]]) -> None:
    columns = inputs(walk(300, seed=3))
    indicator = make()
    names = {"is_long": "direction"}
    for record, *bar in zip(make().extend(*columns), *columns, strict=True):
        reading = indicator.update(*bar)
        for field in reading.__slots__:
            value, expected = getattr(reading, field), record[names.get(field, field)]
            assert (
                value is None
                if np.isnan(record["stop" if field == "is_long" else names.get(field, field)])
                else value == expected
            )


def test_a_market_that_stands_still_is_in_the_middle() -> None:
    """No movement, no volume: 50, no cross, no overflow; and it recovers when the market moves again."""
    still = np.full(80, 100.0)
    hyperwave, money_flow = HyperwaveLike(), MoneyFlowLike()
    assert np.nanmax(np.abs(hyperwave.extend(still, still, still)["value"] - 50)) == 0
    silent = money_flow.extend(still, still, still, np.zeros(80))
    assert np.nanmax(np.abs(silent["value"] - 50)) == 0
    assert not silent["overflow"].any()
    rising = 100 + np.arange(1, 61) / 10
    assert hyperwave.extend(rising, rising, rising)["value"][-1] > 50
    assert money_flow.extend(rising, rising, rising, np.ones(60))["value"][-1] == 100


@pytest.mark.parametrize(
    "make",
    [
        lambda: HyperwaveLike(0),
        lambda: HyperwaveLike(7, 0),
        lambda: MoneyFlowParams(length=0),
        lambda: MoneyFlowParams(overflow=0),
        lambda: SuperTrend(10, 0.0),
        lambda: SuperTrend(0),
        lambda: MoneyFlowLike().extend(np.ones(2), np.ones(2), np.ones(2), np.ones(3)),
    ],
)
def test_impossible_settings_and_inputs_are_refused(make: Callable[[], Any]) -> None:
    with pytest.raises(ValueError, match=r"must be"):
        make()
