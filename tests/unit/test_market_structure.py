"""Market structure: the recorded events exactly, no look-ahead, and what the vectors do not reach."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from indicator_vectors import INTERVAL_MS, MARKETS, bars, number, rows, walk

from app.domain.market import Bar
from app.indicators.market_structure.engine import MarketStructure
from app.indicators.market_structure.params import DominanceBy, Mitigation, StructureParams
from app.indicators.market_structure.readings import Bias, EventKind, Layer, OrderBlock, StructureEvent, StructureReading, Zone

NAMES = {
    EventKind.PIVOT_HIGH: "{}_high",
    EventKind.PIVOT_LOW: "{}_low",
    EventKind.BREAK_OF_STRUCTURE: "{}_BOS",
    EventKind.CHANGE_OF_CHARACTER: "{}_CHoCH",
    EventKind.BLOCK_NEW: "OB_new",
    EventKind.BLOCK_TAP: "OB_tap",
    EventKind.BLOCK_MITIGATED: "OB_mitigated",
    EventKind.EQUAL_HIGHS: "EQH",
    EventKind.EQUAL_LOWS: "EQL",
    EventKind.FAIR_VALUE_GAP: "FVG",
    EventKind.LIQUIDITY_GRAB: "grab",
}
BLOCK_EVENTS = {EventKind.BLOCK_NEW, EventKind.BLOCK_TAP, EventKind.BLOCK_MITIGATED}


def name(event: StructureEvent) -> str:
    return NAMES[event.kind].format(event.layer)


def side(event: StructureEvent) -> str:
    return str(int(event.side)) if event.side else ""


@pytest.mark.parametrize("market", MARKETS)
def test_events_equal_the_vectors(market: str) -> None:
    """Every event of 2,000 bars, with its bar, price and edge, in order."""
    candles = bars(market)
    index = {bar.open_ms: t for t, bar in enumerate(candles)}
    actual = [
        (t, name(event), side(event), index[event.open_ms], event.price, event.bottom)
        for t, reading in enumerate(MarketStructure().extend(candles))
        for event in reading.events
    ]
    assert actual == [
        (int(row["i"]), row["type"], row["side"], int(row["bar"]), number(row["price"]), number(row["price2"]))
        for row in rows(f"structure_events_{market}")
    ]


@pytest.mark.parametrize("market", MARKETS)
def test_bias_range_and_blocks_equal_the_vectors(market: str) -> None:
    engine = MarketStructure()
    for bar, row in zip(bars(market), rows(f"structure_{market}"), strict=True):
        reading = engine.update(bar)
        assert (reading.internal_bias, reading.swing_bias) == (int(row["bias_internal"]), int(row["bias_swing"]))
        assert (reading.range_top, reading.range_bottom) == (number(row["top"]), number(row["bottom"]))
        assert (reading.zone or "") == row["zone"]
        assert engine.held_blocks == int(row["n_ob"])


@pytest.mark.parametrize("market", MARKETS)
def test_mitigation_by_wick_equals_the_vectors(market: str) -> None:
    candles = bars(market)
    index = {bar.open_ms: t for t, bar in enumerate(candles)}
    engine = MarketStructure(StructureParams(mitigation=Mitigation.WICK))
    actual = [
        (t, name(event), side(event), index[event.open_ms])
        for t, bar in enumerate(candles)
        for event in engine.update(bar).events
        if event.kind in BLOCK_EVENTS
    ]
    expected = rows(f"structure_ob_wick_{market}")
    assert actual == [(int(row["i"]), row["type"], row["side"], int(row["bar"])) for row in expected]


@given(seed=st.integers(0, 2**32 - 1), cut=st.integers(0, 700))
@settings(max_examples=25, deadline=None)
def test_no_look_ahead_and_both_forms_agree(seed: int, cut: int) -> None:
    """A prefix in bulk, then single bars, say what the whole run in bulk says."""
    candles = walk(700, seed)
    engine = MarketStructure()
    pieces = engine.extend(candles[:cut])
    pieces += [engine.update(bar) for bar in candles[cut:]]
    assert pieces == MarketStructure().extend(candles)


@given(seed=st.integers(0, 2**32 - 1), mitigation=st.sampled_from(Mitigation))
@settings(max_examples=25, deadline=None)
def test_blocks_are_what_they_say(seed: int, mitigation: Mitigation) -> None:
    """Edges, ages, shares and order hold on every bar; what is reported has not been mitigated."""
    born: dict[tuple[int, Bias], float] = {}
    for reading in MarketStructure(StructureParams(mitigation=mitigation)).extend(walk(600, seed)):
        formed = [block.formed_ms for block in reading.blocks]
        assert formed == sorted(formed, reverse=True)
        assert len(formed) <= 5
        for block in reading.blocks:
            assert block.bottom <= block.middle <= block.top
            assert block.height == block.top - block.bottom
            assert block.open_ms < block.formed_ms <= reading.open_ms
            assert block.tapped_ms is None or block.formed_ms < block.tapped_ms <= reading.open_ms
            assert 0 <= block.dominance <= 100
            assert reading.close >= block.bottom if block.side is Bias.BULLISH else reading.close <= block.top
            assert 0 <= block.strength <= 100
            assert born.setdefault((block.formed_ms, block.side), block.strength) == block.strength


def slow_origin(candles: Sequence[Bar], reading_at: int, event: StructureEvent) -> tuple[int, float]:
    """By the words of the rule: the bar of the block that ``event``, a break on bar ``reading_at``, makes; its volume."""
    first = next(t for t, bar in enumerate(candles) if bar.open_ms == event.open_ms)
    since = range(first, reading_at)
    bullish = event.side is Bias.BULLISH
    origin = min(since, key=lambda t: candles[t].low) if bullish else max(since, key=lambda t: candles[t].high)
    return candles[origin].open_ms, math.fsum(bar.volume for bar in candles[origin : reading_at + 1])


@pytest.mark.parametrize("seed", range(6))
def test_the_kept_origin_is_the_one_a_search_finds(seed: int) -> None:
    """Without wide bars the running extreme and volume equal a scan from the broken pivot."""
    candles = walk(1500, seed)
    engine = MarketStructure(StructureParams(wide_bar=math.inf, shown_blocks=100))
    checked = 0
    for t, reading in enumerate(engine.extend(candles)):
        breaks = [event for event in reading.events if event.kind in _BREAKS and event.layer is Layer.INTERNAL]
        news = [event for event in reading.events if event.kind is EventKind.BLOCK_NEW]
        for broken, new in zip(breaks, news, strict=True):
            origin_ms, volume = slow_origin(candles, t, broken)
            assert (new.open_ms, new.side) == (origin_ms, broken.side)
            held = [block for block in reading.blocks if block.formed_ms == reading.open_ms and block.side is new.side]
            assert [block.volume for block in held] in ([], [volume])
            checked += 1
    assert checked > 10


_BREAKS = {EventKind.BREAK_OF_STRUCTURE, EventKind.CHANGE_OF_CHARACTER}


def all_blocks(candles: Sequence[Bar], params: StructureParams) -> list[OrderBlock]:
    readings = MarketStructure(params).extend(candles)
    return [block for reading in readings for block in reading.blocks if block.formed_ms == reading.open_ms]


@pytest.mark.parametrize("market", MARKETS)
def test_dominance_is_a_share_of_the_block_s_volume(market: str) -> None:
    """By the colour of candles or by takers, from the block's bar to the break's."""
    candles = bars(market)
    index = {bar.open_ms: t for t, bar in enumerate(candles)}
    by_colour = all_blocks(candles, StructureParams())
    by_takers = all_blocks(candles, StructureParams(dominance_by=DominanceBy.TAKERS))
    assert [block.open_ms for block in by_colour] == [block.open_ms for block in by_takers]
    for coloured, taken in zip(by_colour, by_takers, strict=True):
        span = range(index[coloured.open_ms], index[coloured.formed_ms] + 1)
        volume = math.fsum(candles[t].volume for t in span)
        bought = math.fsum(candles[t].volume * (1 + _sign(candles[t].close - candles[t].open)) / 2 for t in span)
        taker_bought = math.fsum(candles[t].taker_buy or 0.0 for t in span)
        assert coloured.dominance == pytest.approx(100 * _towards(coloured.side, bought / volume))
        assert taken.dominance == pytest.approx(100 * _towards(coloured.side, taker_bought / volume))


def _sign(move: float) -> int:
    return (move > 0) - (move < 0)


def _towards(side: Bias, bought: float) -> float:
    return bought if side is Bias.BULLISH else 1 - bought


def flat(t: int, price: float, reach: float = 1.0) -> Bar:
    return Bar("BTCUSDT", INTERVAL_MS, t * INTERVAL_MS, price, price + reach, price - reach, price, 10.0)


def test_a_wide_bar_lends_a_block_its_other_end() -> None:
    """The crash bar holds the lowest low, but counts by its high; the block is the next lowest, and edges never cross."""
    params = StructureParams(internal_length=2, swing_length=4, atr_length=3)
    prices = [100, 101, 102, 103, 108, 103, 99, 98, 103, 105, 103, 101, 100, 101, 103, 106, 110]
    candles = [flat(t, float(price)) for t, price in enumerate(prices)]
    crash = 12
    candles[crash] = flat(crash, 100.0, reach=9.0)
    plain = MarketStructure(StructureParams(internal_length=2, swing_length=4, atr_length=3, wide_bar=math.inf)).extend(candles)
    minded = MarketStructure(params).extend(candles)
    assert _demand_bars(plain) == [crash]
    assert _demand_bars(minded) == [crash - 1]
    assert all(block.bottom < block.top for reading in minded for block in reading.blocks)


def _demand_bars(readings: Sequence[StructureReading]) -> list[int]:
    return [
        event.open_ms // INTERVAL_MS
        for reading in readings
        for event in reading.events
        if event.kind is EventKind.BLOCK_NEW and event.side is Bias.BULLISH
    ]


def test_found_asks_for_kind_side_and_layer() -> None:
    readings = MarketStructure().extend(bars("ranging"))
    reading = readings[105]
    assert reading.found(EventKind.CHANGE_OF_CHARACTER)
    assert reading.found(EventKind.CHANGE_OF_CHARACTER, Bias.BULLISH, Layer.INTERNAL)
    assert not reading.found(EventKind.CHANGE_OF_CHARACTER, Bias.BEARISH)
    assert not reading.found(EventKind.CHANGE_OF_CHARACTER, Bias.BULLISH, Layer.SWING)
    assert reading.zone is Zone.PREMIUM


def test_strength_is_the_share_among_the_shown_when_made() -> None:
    """The block and those shown beside it, the ones included that its own bar mitigates."""
    before: tuple[OrderBlock, ...] = ()
    checked = 0
    for reading in MarketStructure().extend(bars("ranging")):
        news = [block for block in reading.blocks if block.formed_ms == reading.open_ms]
        for new in news:
            total = new.volume + math.fsum(block.volume for block in before[:4])
            assert new.strength == pytest.approx(100 * new.volume / total)
            checked += 1
        before = reading.blocks
    assert checked > 80


def test_a_bar_that_does_not_follow_is_refused() -> None:
    engine = MarketStructure()
    engine.update(flat(5, 100.0))
    with pytest.raises(ValueError, match="does not follow"):
        engine.update(flat(5, 100.0))


def test_takers_must_be_known_where_they_decide() -> None:
    engine = MarketStructure(StructureParams(dominance_by=DominanceBy.TAKERS))
    with pytest.raises(ValueError, match="taker_buy is missing"):
        engine.update(flat(0, 100.0))


@pytest.mark.parametrize(
    "wrong",
    [
        {"internal_length": 0},
        {"shown_blocks": 0},
        {"shown_blocks": 6, "kept_blocks": 5},
        {"wide_bar": 0.0},
        {"equal_tolerance": -1.0},
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="market structure"):
        StructureParams(**wrong)  # type: ignore[arg-type]
