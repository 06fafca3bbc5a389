"""Bars of 15 minutes from bars of 3: the recorded ones, and only whole groups."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from indicator_vectors import INTERVAL_MS, MARKETS, bars, rows, walk

from app.indicators.higher_timeframe import HigherTimeframe

QUARTER_MS = 15 * 60_000


@pytest.mark.parametrize("market", MARKETS)
def test_quarters_equal_the_vectors(market: str) -> None:
    builder = HigherTimeframe(QUARTER_MS)
    made = [builder.add(bar) for bar in bars(market)]
    quarters = [quarter for quarter in made if quarter is not None]
    expected = rows(f"bars15_{market}")
    assert len(quarters) == len(expected)
    for bar, row in zip(quarters, expected, strict=True):
        assert (bar.open_ms, bar.close_ms) == (int(row["open_time"]), int(row["close_time"]))
        assert (bar.open, bar.high, bar.low, bar.close) == tuple(float(row[key]) for key in ("open", "high", "low", "close"))
        assert (bar.volume, bar.taker_buy) == pytest.approx((float(row["volume"]), float(row["taker_buy"])), abs=1e-6)
    assert [t for t, quarter in enumerate(made) if quarter is not None] == list(range(4, len(made), 5))


@given(missing=st.sets(st.integers(0, 49)), first=st.integers(0, 9))
def test_only_complete_groups_make_a_bar(missing: set[int], first: int) -> None:
    """Whatever is missing and wherever it begins."""
    builder = HigherTimeframe(QUARTER_MS)
    present = [t for t in range(first, 50) if t not in missing]
    candles = walk(50, seed=1)
    made = [quarter.open_ms // QUARTER_MS for t in present if (quarter := builder.add(candles[t])) is not None]
    assert made == [group for group in range(10) if set(range(5 * group, 5 * group + 5)) <= set(present)]


def test_takers_are_known_where_every_part_knows_them() -> None:
    known = [replace(bar, taker_buy=1.5) for bar in walk(5, seed=1)]
    for parts, expected in ((known, 7.5), ([*known[:2], replace(known[2], taker_buy=None), *known[3:]], None)):
        builder = HigherTimeframe(QUARTER_MS)
        whole = [builder.add(bar) for bar in parts][-1]
        assert whole is not None
        assert whole.taker_buy == expected


def test_a_bar_may_be_its_own_group() -> None:
    bar = walk(1, seed=1)[0]
    assert HigherTimeframe(INTERVAL_MS).add(bar) == bar


def test_intervals_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="must be positive"):
        HigherTimeframe(0)
    with pytest.raises(ValueError, match="cannot be made of"):
        HigherTimeframe(4 * 60_000).add(walk(1, seed=1)[0])
