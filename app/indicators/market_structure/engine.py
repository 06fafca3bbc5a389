"""The structure engine: takes closed bars of one symbol and interval, says what structure they show."""

import math
from collections import deque
from collections.abc import Iterable

import numpy as np

from app.domain.market import Bar
from app.indicators.atr import WilderAtr
from app.indicators.market_structure.blocks import BlockBook
from app.indicators.market_structure.breaks import Break, LayerStructure
from app.indicators.market_structure.liquidity import EqualLevels, FairValueGaps, grabs
from app.indicators.market_structure.origins import BlockBar, BlockOrigin
from app.indicators.market_structure.params import DominanceBy, StructureParams
from app.indicators.market_structure.pivots import Pivot, PivotFinder
from app.indicators.market_structure.readings import Bias, EventKind, Layer, StructureEvent, StructureReading, zone_in
from app.indicators.market_structure.zone import SwingRange


class MarketStructure:
    """One closed bar at a time, in order. Costs O(1) a bar, but for the pivots' windows.

    Inside a bar: swing range, swing pivots, internal pivots, equal levels, internal breaks with their blocks, swing breaks,
    mitigations, taps, gaps, grabs. The range reported is the one before this bar's own swing pivot.
    """

    def __init__(self, params: StructureParams | None = None) -> None:
        self.params = own = params or StructureParams()
        self._atr = WilderAtr(own.atr_length)
        self._swing_pivots = PivotFinder(own.swing_length)
        self._internal_pivots = PivotFinder(own.internal_length)
        self._equal_pivots = PivotFinder(own.equal_length)
        self._swing, self._internal = LayerStructure(), LayerStructure()
        self._range = SwingRange()
        self._equals = EqualLevels(own.equal_tolerance)
        self._gaps = FairValueGaps()
        self._blocks = BlockBook(own.mitigation, own.kept_blocks, own.shown_blocks)
        self._recent: deque[BlockBar] = deque(maxlen=own.internal_length)
        self._demand = BlockOrigin(Bias.BULLISH, self._recent)
        self._supply = BlockOrigin(Bias.BEARISH, self._recent)
        self._last: Bar | None = None

    @property
    def held_blocks(self) -> int:
        """How many unmitigated blocks are kept, shown or not."""
        return len(self._blocks)

    def update(self, bar: Bar) -> StructureReading:
        """The reading after ``bar``.

        Raises ValueError for a bar that is not newer than the last, or does not know the takers that dominance is split by.
        """
        self._check([bar])
        atr = self._atr.update(bar.high, bar.low, bar.close)
        return self._take(bar, math.nan if atr is None else atr)

    def extend(self, bars: Iterable[Bar]) -> list[StructureReading]:
        """The readings after each of many bars; as ``update``, faster."""
        known = list(bars)
        self._check(known)
        prices = np.array([(bar.high, bar.low, bar.close) for bar in known], dtype=np.float64).reshape(-1, 3)
        atrs = self._atr.extend(prices[:, 0], prices[:, 1], prices[:, 2]).tolist()
        return [self._take(bar, atr) for bar, atr in zip(known, atrs, strict=True)]

    def _check(self, bars: list[Bar]) -> None:
        """Raises ValueError before anything is taken."""
        last_ms = self._last.open_ms if self._last is not None else None
        needs_takers = self.params.dominance_by is DominanceBy.TAKERS
        for bar in bars:
            if last_ms is not None and bar.open_ms <= last_ms:
                raise ValueError(f"market structure: the bar of {bar.open_ms} does not follow that of {last_ms}")
            if needs_takers and bar.taker_buy is None:
                raise ValueError(f"market structure: taker_buy is missing for the bar of {bar.open_ms}; dominance needs it")
            last_ms = bar.open_ms

    def _take(self, bar: Bar, atr: float) -> StructureReading:
        own = self._block_bar(bar, atr)
        events: list[StructureEvent] = []
        self._range.trail(bar.high, bar.low)
        top, bottom = self._range.top, self._range.bottom
        self._find_pivots(bar, atr, events)
        if self._last is not None:
            self._find_breaks(bar.close, self._last.close, own, events)
        events.extend(self._blocks.take_bar(bar.open_ms, bar.high, bar.low, bar.close))
        if (gap := self._gaps.update(bar.open_ms, bar.high, bar.low, bar.close)) is not None:
            events.append(gap)
        events.extend(grabs(self._internal, bar.high, bar.low, bar.close))
        self._end_bar(bar, own)
        return StructureReading(
            open_ms=bar.open_ms,
            close=bar.close,
            internal_bias=self._internal.bias,
            swing_bias=self._swing.bias,
            zone=zone_in(top, bottom, bar.close),
            range_top=top,
            range_bottom=bottom,
            blocks=self._blocks.shown(),
            events=tuple(events),
        )

    def _find_pivots(self, bar: Bar, atr: float, events: list[StructureEvent]) -> None:
        if (pivot := self._swing_pivots.update(bar.open_ms, bar.high, bar.low)) is not None:
            self._swing.take_pivot(pivot)
            self._range.take_pivot(pivot)
            events.append(_pivot_event(pivot, Layer.SWING))
        if (pivot := self._internal_pivots.update(bar.open_ms, bar.high, bar.low)) is not None:
            self._internal.take_pivot(pivot)
            origin = self._demand if pivot.is_high else self._supply
            origin.start(pivot.open_ms)
            events.append(_pivot_event(pivot, Layer.INTERNAL))
        if (pivot := self._equal_pivots.update(bar.open_ms, bar.high, bar.low)) is not None:
            equal = self._equals.take_pivot(pivot, atr)
            if equal is not None:
                events.append(equal)

    def _find_breaks(self, close: float, previous_close: float, own: BlockBar, events: list[StructureEvent]) -> None:
        internal, swing = self._internal, self._swing
        if internal.high and swing.high and internal.high.price != swing.high.price:
            self._take_internal_break(internal.break_up(close, previous_close), self._demand, own, events)
        if internal.low and swing.low and internal.low.price != swing.low.price:
            self._take_internal_break(internal.break_down(close, previous_close), self._supply, own, events)
        breaks = (swing.break_up(close, previous_close), swing.break_down(close, previous_close))
        events.extend(_break_event(broken, Layer.SWING) for broken in breaks if broken is not None)

    def _take_internal_break(
        self, broken: Break | None, origin: BlockOrigin, own: BlockBar, events: list[StructureEvent]
    ) -> None:
        if broken is None:
            return
        events.append(_break_event(broken, Layer.INTERNAL))
        if (found := origin.block(own)) is not None:
            bar, volume, bought = found
            events.append(self._blocks.add(broken.side, bar, own.open_ms, volume, bought))

    def _end_bar(self, bar: Bar, own: BlockBar) -> None:
        self._swing.end_bar()
        self._internal.end_bar()
        self._recent.append(own)
        self._demand.add(own)
        self._supply.add(own)
        self._last = bar

    def _block_bar(self, bar: Bar, atr: float) -> BlockBar:
        high, low = bar.high, bar.low
        if high - low >= self.params.wide_bar * atr:
            high, low = low, high
        return BlockBar(bar.open_ms, high, low, bar.volume, self._bought(bar))

    def _bought(self, bar: Bar) -> float:
        if self.params.dominance_by is DominanceBy.TAKERS and bar.taker_buy is not None:
            return bar.taker_buy
        if bar.close == bar.open:
            return bar.volume / 2
        return bar.volume if bar.close > bar.open else 0.0


def _pivot_event(pivot: Pivot, layer: Layer) -> StructureEvent:
    kind = EventKind.PIVOT_HIGH if pivot.is_high else EventKind.PIVOT_LOW
    return StructureEvent(kind, Bias.NEUTRAL, pivot.open_ms, pivot.price, layer=layer)


def _break_event(broken: Break, layer: Layer) -> StructureEvent:
    return StructureEvent(broken.kind, broken.side, broken.open_ms, broken.level, layer=layer)
