"""The open generator: every recorded flag and signal, no look-ahead, one signal per tap."""

import dataclasses
import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from indicator_vectors import INTERVAL_MS, MARKETS, bars, number, rows, walk

from app.indicators.luxlike import LuxLike
from app.indicators.luxlike_readings import LABEL, LuxLikeReading, SideFlags
from app.indicators.luxlike_side import LOOSE, STRICT, LuxLikeParams, Oscillators, SideMemory
from app.indicators.market_structure.params import DominanceBy, StructureParams
from app.indicators.market_structure.readings import Bias, EventKind, OrderBlock, StructureEvent, StructureReading, Zone

PRESETS = {"strict": STRICT, "loose": LOOSE}
EAGER = LuxLikeParams(dominance=0.0, strength=0.0, tap_bars=200, cross_bars=200)


def letters(flags: SideFlags) -> str:
    """In the vectors' order: HTF, OB, HW, NO_OVERFLOW, CONF, TRAIL, PD, MF."""
    return "".join(str(int(flag)) for flag in dataclasses.astuple(flags))


@pytest.mark.parametrize("market", MARKETS)
@pytest.mark.parametrize("preset", PRESETS)
def test_flags_and_signals_equal_the_vectors(market: str, preset: str) -> None:
    readings = LuxLike(PRESETS[preset]).extend(bars(market))
    for reading, row in zip(readings, rows(f"luxlike_{market}_{preset}"), strict=True):
        assert (f"L{letters(reading.long)}", f"S{letters(reading.short)}") == (row["long"], row["short"])
        assert reading.signal == int(row["signal"])
        assert reading.stop == (pytest.approx(float(row["sl"]), abs=1e-6) if row["sl"] else None)
        block = (reading.block.top, reading.block.bottom) if reading.block else (None, None)
        assert block == (number(row["ob_top"]), number(row["ob_bottom"]))


@given(seed=st.integers(0, 2**32 - 1), cuts=st.sets(st.integers(1, 899), max_size=4))
@settings(max_examples=10, deadline=None)
def test_no_look_ahead(seed: int, cuts: set[int]) -> None:
    candles = walk(900, seed)
    generator = LuxLike(EAGER)
    edges = [0, *sorted(cuts), 900]
    pieces = [reading for a, b in pairwise(edges) for reading in generator.extend(candles[a:b])]
    assert pieces == LuxLike(EAGER).extend(candles)


def test_single_bars_equal_many_at_once() -> None:
    generator = LuxLike(LOOSE)
    candles = bars("ranging")[:1200]
    assert [generator.update(bar) for bar in candles] == LuxLike(LOOSE).extend(candles)


def signals(readings: list[LuxLikeReading]) -> list[LuxLikeReading]:
    return [reading for reading in readings if reading.signal is not Bias.NEUTRAL]


def test_a_tap_fires_once_and_the_stop_is_beyond_the_block() -> None:
    fired = signals(LuxLike(EAGER).extend(bars("ranging")))
    assert len(fired) > 5
    taps = [reading.block.tapped_ms for reading in fired if reading.block is not None]
    assert len(set(taps)) == len(taps) == len(fired)
    for reading in fired:
        assert reading.block is not None
        assert reading.stop is not None
        assert reading.block.side is reading.signal
        far = reading.block.bottom if reading.signal is Bias.BULLISH else reading.block.top
        assert (far - reading.stop) * reading.signal > 0


@pytest.mark.parametrize(("wish", "flag"), [("needs_zone", "zone"), ("needs_money_flow", "money_flow")])
def test_the_optional_flags_decide_when_asked_for(wish: str, flag: str) -> None:
    def flags(params: LuxLikeParams) -> list[bool]:
        readings = LuxLike(params).extend(walk(3000, seed=5))
        return [getattr(reading.long if reading.signal > 0 else reading.short, flag) for reading in signals(readings)]

    assert False in flags(EAGER)
    wished = flags(dataclasses.replace(EAGER, **{wish: True}))
    assert wished
    assert all(wished)


def test_dominance_by_takers_needs_them_and_changes_the_choice() -> None:
    by_takers = StructureParams(dominance_by=DominanceBy.TAKERS)
    with pytest.raises(ValueError, match="taker_buy is missing"):
        LuxLike(LOOSE, by_takers).update(walk(1, seed=1)[0])
    readings = LuxLike(LOOSE, by_takers).extend(bars("ranging"))
    coloured = LuxLike(LOOSE).extend(bars("ranging"))
    assert sum(reading.short.block_hit for reading in readings) != sum(reading.short.block_hit for reading in coloured)


def test_it_says_what_it_is() -> None:
    assert LABEL == "open stand-in, not LuxAlgo"


def test_windows_of_no_bars_are_refused() -> None:
    with pytest.raises(ValueError, match="luxlike"):
        LuxLikeParams(tap_bars=0)


QUIET = Oscillators(wave=40.0, cross=0, flow=50.0, flow_upper=55.0, flow_lower=45.0, overflow=0, confirms=1, trails=1, atr=1.0)
CROSSED = dataclasses.replace(QUIET, cross=1)


def demand(open_ms: int, tapped_ms: int) -> OrderBlock:
    return OrderBlock(Bias.BULLISH, 101.0, 100.0, open_ms, open_ms + INTERVAL_MS, tapped_ms, 10.0, 80.0, 50.0)


def structure(t: int, *blocks: OrderBlock, tapped: int | None = None, mitigated: int | None = None) -> StructureReading:
    """A bar on which the block that opened at ``tapped`` is tapped, and the one at ``mitigated`` mitigated."""
    events = [
        StructureEvent(kind, Bias.BULLISH, open_ms, 101.0, 100.0)
        for kind, open_ms in ((EventKind.BLOCK_MITIGATED, mitigated), (EventKind.BLOCK_TAP, tapped))
        if open_ms is not None
    ]
    return StructureReading(t * INTERVAL_MS, 100.5, Bias.BULLISH, Bias.BULLISH, Zone.DISCOUNT, 110.0, 95.0, blocks, tuple(events))


def test_a_tap_counts_for_its_window_and_until_mitigated() -> None:
    memory, block = SideMemory(Bias.BULLISH, STRICT), demand(0, 3 * INTERVAL_MS)
    hits = [memory.take(1, structure(3, block, tapped=0), None, QUIET).block_hit]
    hits += [memory.take(bar, structure(2 + bar, block), None, QUIET).block_hit for bar in range(2, 8)]
    assert hits == [True] * STRICT.tap_bars + [False] * 2
    again = demand(INTERVAL_MS, 20 * INTERVAL_MS)
    assert memory.take(20, structure(20, again, tapped=INTERVAL_MS), None, QUIET).block_hit
    assert memory.block == again
    assert not memory.take(21, structure(21, mitigated=INTERVAL_MS), None, QUIET).block_hit
    assert memory.block is None


def test_a_cross_counts_only_with_a_tap_and_on_its_side_of_the_middle() -> None:
    memory, block = SideMemory(Bias.BULLISH, STRICT), demand(0, 3 * INTERVAL_MS)
    assert not memory.take(1, structure(1), None, CROSSED).hyperwave_cross
    high = dataclasses.replace(CROSSED, wave=60.0)
    assert not memory.take(2, structure(3, block, tapped=0), None, high).hyperwave_cross
    flags = [memory.take(bar, structure(bar + 1, block), None, CROSSED if bar == 3 else QUIET) for bar in range(3, 7)]
    assert [flag.hyperwave_cross for flag in flags] == [True] * STRICT.cross_bars + [False]


def test_after_a_signal_it_takes_a_new_tap() -> None:
    memory, block = SideMemory(Bias.BULLISH, STRICT), demand(0, 3 * INTERVAL_MS)
    higher = structure(0)
    flags = memory.take(1, structure(3, block, tapped=0), higher, CROSSED)
    assert memory.fires(flags)
    memory.forget()
    assert not memory.fires(memory.take(2, structure(4, block), higher, CROSSED))


def test_weak_blocks_do_not_count_and_unknown_values_open_nothing() -> None:
    weak = dataclasses.replace(demand(0, 3 * INTERVAL_MS), strength=STRICT.strength - 0.1)
    memory = SideMemory(Bias.BULLISH, STRICT)
    unknown = dataclasses.replace(CROSSED, wave=math.nan, flow=math.nan, confirms=0, trails=0)
    flags = memory.take(1, structure(3, weak, tapped=0), None, unknown)
    assert letters(flags) == "00010000"
