"""The order blocks that still hold: made by internal breaks, tapped once, removed when mitigated.

Volume, dominance and strength approximate what "volumetric" order blocks are described to show.
"""

from collections.abc import Iterator
from dataclasses import replace

from app.indicators.market_structure.origins import BlockBar
from app.indicators.market_structure.params import Mitigation
from app.indicators.market_structure.readings import Bias, EventKind, OrderBlock, StructureEvent


class BlockBook:
    """Newest first; at most ``kept`` blocks of both sides together, of which ``shown`` are reported."""

    def __init__(self, mitigation: Mitigation, kept: int, shown: int) -> None:
        self._by_wick = mitigation is Mitigation.WICK
        self._kept, self._shown_count = kept, shown
        self._blocks: list[OrderBlock] = []

    def __len__(self) -> int:
        return len(self._blocks)

    def add(self, side: Bias, origin: BlockBar, formed_ms: int, volume: float, bought: float) -> StructureEvent:
        """The block whose zone is the ``origin`` bar; of its ``volume`` so much was ``bought``."""
        share = bought / volume if volume > 0 else 0.5
        total = volume + sum(block.volume for block in self._blocks[: self._shown_count - 1])
        block = OrderBlock(
            side=side,
            top=max(origin.high, origin.low),
            bottom=min(origin.high, origin.low),
            open_ms=origin.open_ms,
            formed_ms=formed_ms,
            tapped_ms=None,
            volume=volume,
            dominance=100 * (share if side is Bias.BULLISH else 1 - share),
            strength=100 * volume / total if total > 0 else 0.0,
        )
        self._blocks.insert(0, block)
        del self._blocks[self._kept :]
        return _event(EventKind.BLOCK_NEW, block)

    def take_bar(self, open_ms: int, high: float, low: float, close: float) -> Iterator[StructureEvent]:
        """What the bar does to the blocks: mitigations first, then first taps of those that are left."""
        by_high, by_low = (high, low) if self._by_wick else (close, close)
        mitigated = [block for block in self._blocks if _is_mitigated(block, by_high, by_low)]
        if mitigated:
            self._blocks = [block for block in self._blocks if block not in mitigated]
            yield from (_event(EventKind.BLOCK_MITIGATED, block) for block in mitigated)
        for place, block in enumerate(self._blocks):
            if block.tapped_ms is None and block.formed_ms < open_ms and _is_tapped(block, high, low):
                self._blocks[place] = replace(block, tapped_ms=open_ms)
                yield _event(EventKind.BLOCK_TAP, block)

    def shown(self) -> tuple[OrderBlock, ...]:
        return tuple(self._blocks[: self._shown_count])


def _is_mitigated(block: OrderBlock, by_high: float, by_low: float) -> bool:
    return by_low < block.bottom if block.side is Bias.BULLISH else by_high > block.top


def _is_tapped(block: OrderBlock, high: float, low: float) -> bool:
    return low <= block.top if block.side is Bias.BULLISH else high >= block.bottom


def _event(kind: EventKind, block: OrderBlock) -> StructureEvent:
    return StructureEvent(kind, block.side, block.open_ms, block.top, block.bottom)
