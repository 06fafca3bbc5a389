"""The engine's settings, with the strategy's values as defaults."""

from dataclasses import dataclass
from enum import StrEnum


class Mitigation(StrEnum):
    """What ends an order block: a close beyond its far edge, or a wick."""

    CLOSE = "close"
    WICK = "wick"


class DominanceBy(StrEnum):
    """How a block's volume is split: by each candle's colour (dojis half and half), or by the side of the takers."""

    CANDLES = "candles"
    TAKERS = "takers"  # better data, but shares stay near one half: it needs thresholds of its own


@dataclass(frozen=True, slots=True)
class StructureParams:
    """Lengths are in bars, ``equal_tolerance`` and ``wide_bar`` in average true ranges."""

    internal_length: int = 5
    swing_length: int = 50
    equal_length: int = 3
    equal_tolerance: float = 0.1
    atr_length: int = 200
    wide_bar: float = 2.0  # a bar this wide lends an order block its other end
    kept_blocks: int = 100
    shown_blocks: int = 5
    mitigation: Mitigation = Mitigation.CLOSE
    dominance_by: DominanceBy = DominanceBy.CANDLES

    def __post_init__(self) -> None:
        if min(self.internal_length, self.swing_length, self.equal_length, self.atr_length) < 1:
            raise ValueError("market structure: internal_length, swing_length, equal_length and atr_length must be at least 1")
        if not 1 <= self.shown_blocks <= self.kept_blocks:
            raise ValueError("market structure: shown_blocks must be from 1 to kept_blocks")
        if not (self.equal_tolerance >= 0 and self.wide_bar > 0):
            raise ValueError("market structure: equal_tolerance must be at least 0 and wide_bar positive")
