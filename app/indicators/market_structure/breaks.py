"""Breaks of structure: a close beyond the last pivot of a layer, and the bias they leave.

With the layer's bias (or none) a break is a *break of structure* (BOS), against it a *change of character* (CHoCH).
"""

from dataclasses import dataclass

from app.indicators.market_structure.pivots import Pivot
from app.indicators.market_structure.readings import Bias, EventKind


@dataclass(slots=True)
class Level:
    """A layer's last pivot on one side. ``before`` is the price of the level as the bar before left it."""

    price: float
    open_ms: int
    before: float | None = None
    crossed: bool = False


@dataclass(frozen=True, slots=True)
class Break:
    kind: EventKind
    side: Bias
    level: float
    open_ms: int  # of the broken pivot


class LayerStructure:
    """The last pivots of a layer and its bias. Each level breaks once."""

    def __init__(self) -> None:
        self.bias = Bias.NEUTRAL
        self.high: Level | None = None
        self.low: Level | None = None

    def take_pivot(self, pivot: Pivot) -> None:
        known = self.high if pivot.is_high else self.low
        level = Level(pivot.price, pivot.open_ms, before=known.before if known else None)
        if pivot.is_high:
            self.high = level
        else:
            self.low = level

    def break_up(self, close: float, previous_close: float) -> Break | None:
        level = self.high
        if level is None or level.crossed or level.before is None:
            return None
        return self._broken(level, Bias.BULLISH) if close > level.price and previous_close <= level.before else None

    def break_down(self, close: float, previous_close: float) -> Break | None:
        level = self.low
        if level is None or level.crossed or level.before is None:
            return None
        return self._broken(level, Bias.BEARISH) if close < level.price and previous_close >= level.before else None

    def end_bar(self) -> None:
        for level in (self.high, self.low):
            if level is not None:
                level.before = level.price

    def _broken(self, level: Level, side: Bias) -> Break:
        against = self.bias is not side and self.bias is not Bias.NEUTRAL
        level.crossed = True
        self.bias = side
        kind = EventKind.CHANGE_OF_CHARACTER if against else EventKind.BREAK_OF_STRUCTURE
        return Break(kind, side, level.price, level.open_ms)
