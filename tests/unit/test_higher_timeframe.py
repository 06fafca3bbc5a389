"""Bars of 15 minutes from bars of 3: the recorded ones, and only whole groups."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from indicator_vectors import INTERVAL_MS, MARKETS, bars, rows, taker_buys, walk

from app.indicators.higher_timeframe import HigherTimeframe

QUARTER_MS = 15 * 60_000


@pytest.mark.parametrize("market", MARKETS)
def test_quarters_equal_the_vectors(market: str) -> None:
    builder = HigherTimeframe(INTERVAL_MS, QUARTER_MS)
    made = [builder.add(bar, taker) for bar, taker in zip(bars(market), taker_buys(market), strict=True)]
    quarters = [quarter for quarter in made if quarter is not None]
    expected = rows(f"bars15_{market}")
    assert len(quarters) == len(expected)
    for quarter, row in zip(quarters, expected, strict=True):
        bar = quarter.bar
        assert (bar.open_ms, bar.close_ms) == (int(row["open_time"]), int(row["close_time"]))
        assert (bar.open, bar.high, bar.low, bar.close) == tuple(float(row[key]) for key in ("open", "high", "low", "close"))
        assert (bar.volume, quarter.taker_buy) == pytest.approx((float(row["volume"]), float(row["taker_buy"])), abs=1e-6)
    assert [t for t, quarter in enumerate(made) if quarter is not None] == list(range(4, len(made), 5))


@given(missing=st.sets(st.integers(0, 49)), first=st.integers(0, 9))
def test_only_complete_groups_make_a_bar(missing: set[int], first: int) -> None:
    """Whatever is missing and wherever it begins."""
    builder = HigherTimeframe(INTERVAL_MS, QUARTER_MS)
    present = [t for t in range(first, 50) if t not in missing]
    candles = walk(50, seed=1)
    made = [quarter.bar.open_ms // QUARTER_MS for t in present if (quarter := builder.add(candles[t])) is not None]
    assert made == [group for group in range(10) if set(range(5 * group, 5 * group + 5)) <= set(present)]


def test_unknown_takers_stay_unknown() -> None:
    builder = HigherTimeframe(INTERVAL_MS, QUARTER_MS)
    takers = [1.0, math.nan, 1.0, 1.0, 1.0]
    made = [builder.add(bar, taker) for bar, taker in zip(walk(5, seed=1), takers, strict=True)]
    assert made[-1] is not None
    assert math.isnan(made[-1].taker_buy)


def test_intervals_that_do_not_fit_are_refused() -> None:
    for part_ms, interval_ms in ((INTERVAL_MS, INTERVAL_MS), (INTERVAL_MS, 4 * 60_000), (0, QUARTER_MS)):
        with pytest.raises(ValueError, match="cannot be made of"):
            HigherTimeframe(part_ms, interval_ms)
    with pytest.raises(ValueError, match="among parts of"):
        HigherTimeframe(60_000, QUARTER_MS).add(walk(1, seed=1)[0])
