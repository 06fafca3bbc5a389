"""From closed bars to structure readings as they cross the market bus."""

from collections.abc import Sequence

from app.domain.market import Bar, ChangeOfCharacter, OrderBlockView, StructureReading
from app.indicators.market_structure import readings
from app.indicators.market_structure.engine import MarketStructure
from app.indicators.market_structure.readings import EventKind, Layer


class StructureSeries:
    """Market structure of one symbol's bars of one interval; remembers each layer's last change of character."""

    def __init__(self) -> None:
        self._engine = MarketStructure()
        self._chochs: dict[Layer, ChangeOfCharacter] = {}

    def warm_up(self, bars: Sequence[Bar]) -> None:
        """Take history, oldest first."""
        for bar, found in zip(bars, self._engine.extend(bars), strict=True):
            self._remember(bar, found)

    def close_bar(self, bar: Bar) -> StructureReading:
        found = self._engine.update(bar)
        self._remember(bar, found)
        return StructureReading(
            symbol=bar.symbol,
            interval_ms=bar.interval_ms,
            open_ms=bar.open_ms,
            close=bar.close,
            internal_bias=int(found.internal_bias),
            swing_bias=int(found.swing_bias),
            range_top=found.range_top,
            range_bottom=found.range_bottom,
            blocks=tuple(
                OrderBlockView(int(block.side), block.bottom, block.top, block.open_ms, block.tapped_ms) for block in found.blocks
            ),
            internal_choch=self._chochs.get(Layer.INTERNAL),
            swing_choch=self._chochs.get(Layer.SWING),
        )

    def _remember(self, bar: Bar, found: readings.StructureReading) -> None:
        for event in found.events:
            if event.kind is EventKind.CHANGE_OF_CHARACTER and event.layer is not None:
                self._chochs[event.layer] = ChangeOfCharacter(int(event.side), bar.close_ms)
