"""The order blocks that still hold: made by internal breaks, tapped once, removed when mitigated.

Volume, dominance and strength approximate what "volumetric" order blocks are described to show.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from app.indicators.market_structure.origins import BlockBar
from app.indicators.market_structure.params import Mitigation
from app.indicators.market_structure.readings import Bias, EventKind, OrderBlock, StructureEvent


@dataclass(slots=True)
class _Block:
    side: Bias
    top: float
    bottom: float
    open_ms: int
    formed_ms: int
    volume: float
    dominance: float
    tapped_ms: int | None = None

    def event(self, kind: EventKind) -> StructureEvent:
        return StructureEvent(kind, self.side, self.open_ms, self.top, self.bottom)

    def reported(self, total_volume: float) -> OrderBlock:
        return OrderBlock(
            side=self.side,
            top=self.top,
            bottom=self.bottom,
            open_ms=self.open_ms,
            formed_ms=self.formed_ms,
            tapped_ms=self.tapped_ms,
            volume=self.volume,
            dominance=self.dominance,
            strength=100 * self.volume / total_volume if total_volume > 0 else 0.0,
        )

    def is_mitigated(self, by_high: float, by_low: float) -> bool:
        return by_low < self.bottom if self.side is Bias.BULLISH else by_high > self.top

    def is_tapped(self, high: float, low: float) -> bool:
        return low <= self.top if self.side is Bias.BULLISH else high >= self.bottom


class BlockBook:
    """Newest first; at most ``kept`` blocks of both sides together, of which ``shown`` are reported."""

    def __init__(self, mitigation: Mitigation, kept: int, shown: int) -> None:
        self._by_wick = mitigation is Mitigation.WICK
        self._kept, self._shown_count = kept, shown
        self._blocks: list[_Block] = []
        self._report: tuple[OrderBlock, ...] | None = ()  # what ``shown`` says, until something changes

    def __len__(self) -> int:
        return len(self._blocks)

    def add(self, side: Bias, origin: BlockBar, formed_ms: int, volume: float, bought: float) -> StructureEvent:
        share = bought / volume if volume > 0 else 0.5
        dominance = 100 * (share if side is Bias.BULLISH else 1 - share)
        top, bottom = max(origin.high, origin.low), min(origin.high, origin.low)
        block = _Block(side, top, bottom, origin.open_ms, formed_ms, volume, dominance)
        self._blocks.insert(0, block)
        del self._blocks[self._kept :]
        self._report = None
        return block.event(EventKind.BLOCK_NEW)

    def take_bar(self, open_ms: int, high: float, low: float, close: float) -> Iterator[StructureEvent]:
        """What the bar does to the blocks: mitigations first, then first taps of those that are left."""
        by_high, by_low = (high, low) if self._by_wick else (close, close)
        mitigated = [block for block in self._blocks if block.is_mitigated(by_high, by_low)]
        if mitigated:
            self._blocks = [block for block in self._blocks if not block.is_mitigated(by_high, by_low)]
            self._report = None
            yield from (block.event(EventKind.BLOCK_MITIGATED) for block in mitigated)
        for block in self._blocks:
            if block.tapped_ms is None and block.formed_ms < open_ms and block.is_tapped(high, low):
                block.tapped_ms = open_ms
                self._report = None
                yield block.event(EventKind.BLOCK_TAP)

    def shown(self) -> tuple[OrderBlock, ...]:
        if self._report is None:
            newest = self._blocks[: self._shown_count]
            total = sum(block.volume for block in newest)
            self._report = tuple(block.reported(total) for block in newest)
        return self._report
