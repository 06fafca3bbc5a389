"""Minutes in order, each once; longer bars from complete, aligned groups only; impossible candles named."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.market import MINUTE_MS, Bar
from app.stream.candles import BarBuilder, MinuteSeries, candle_fault

START = 1_765_000_800_000  # on a quarter of an hour


def minute(k: int, start: int = START) -> Bar:
    price = 100.0 + k % 11
    return Bar("BTCUSDT", MINUTE_MS, start + k * MINUTE_MS, price, price + 2, price - 1, price + 1, 1.0 + k)


def numbers(minutes: list[Bar]) -> list[int]:
    return [(bar.open_ms - START) // MINUTE_MS for bar in minutes]


def test_minutes_pass_in_order_and_once() -> None:
    series = MinuteSeries()
    series.start(START)
    handed_on = [numbers(series.offer(minute(k))) for k in (0, 0, 1, 0, 2)]
    assert handed_on == [[0], [], [1], [], [2]]


def test_what_comes_early_waits() -> None:
    series = MinuteSeries()
    series.start(START)
    assert series.offer(minute(2)) == []
    assert series.offer(minute(1)) == []
    assert series.expects_ms == START
    assert numbers(series.offer(minute(0))) == [0, 1, 2]
    assert series.expects_ms == START + 3 * MINUTE_MS


def test_minutes_before_the_start_wait_for_it() -> None:
    series = MinuteSeries()
    assert [series.offer(minute(k)) for k in range(4)] == [[], [], [], []]
    assert numbers(series.start(START + 2 * MINUTE_MS)) == [2, 3]


def test_history_repairs_a_gap_and_a_minute_it_skips_never_was() -> None:
    series = MinuteSeries()
    series.start(START)
    assert series.offer(minute(5)) == []
    assert numbers(series.repair([minute(k) for k in (0, 1, 3, 4)])) == [0, 1, 3, 4, 5]
    assert series.repair([minute(k) for k in range(6)]) == [], "repaired twice, handed on once"


@given(order=st.permutations(range(12)), repeats=st.lists(st.integers(0, 11), max_size=12))
def test_any_order_with_repeats_gives_every_minute_once(order: list[int], repeats: list[int]) -> None:
    series = MinuteSeries()
    series.start(START)
    handed_on = [bar for k in [*order, *repeats] for bar in series.offer(minute(k))]
    assert numbers(handed_on) == list(range(12))


@pytest.mark.parametrize("length", [1, 3, 15])
def test_bars_are_aligned_and_exact(length: int) -> None:
    builder = BarBuilder(length * MINUTE_MS)
    minutes = [minute(k) for k in range(60)]
    bars = [bar for bar in map(builder.add, minutes) if bar is not None]
    assert len(bars) == 60 // length
    for bar in bars:
        group = [m for m in minutes if bar.open_ms <= m.open_ms < bar.close_ms]
        assert bar.open_ms % (length * MINUTE_MS) == 0
        assert (bar.open, bar.close) == (group[0].open, group[-1].close)
        assert (bar.high, bar.low) == (max(m.high for m in group), min(m.low for m in group))
        assert bar.volume == pytest.approx(sum(m.volume for m in group))


@given(missing=st.sets(st.integers(0, 29), max_size=6), begin=st.integers(0, 14))
def test_only_complete_groups_make_a_bar(missing: set[int], begin: int) -> None:
    builder = BarBuilder(3 * MINUTE_MS)
    present = [k for k in range(begin, 30) if k not in missing]
    bars = [bar for bar in (builder.add(minute(k)) for k in present) if bar is not None]
    complete = [g for g in range(0, 30, 3) if {g, g + 1, g + 2} <= set(present)]
    assert numbers(bars) == complete


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"close": float("nan")}, "positive"),
        ({"low": 0.0}, "positive"),
        ({"high": float("inf")}, "positive"),
        ({"high": 100.5}, "enclose"),
        ({"low": 101.5}, "enclose"),
        ({"volume": -1.0}, "volume"),
        ({"open_ms": START + 1}, "interval"),
    ],
)
def test_impossible_candles_are_named(change: dict[str, float], word: str) -> None:
    assert candle_fault(minute(0)) is None
    assert word in (candle_fault(replace(minute(0), **change)) or "")
