"""Small marks of liquidity: equal highs and lows, fair value gaps, and wicks through a pivot that close back inside."""

from app.indicators.market_structure.breaks import LayerStructure
from app.indicators.market_structure.pivots import Pivot
from app.indicators.market_structure.readings import Bias, EventKind, StructureEvent


class EqualLevels:
    """Two successive pivots of a side that differ by less than ``tolerance`` average true ranges."""

    def __init__(self, tolerance: float) -> None:
        self._tolerance = tolerance
        self._high: float | None = None
        self._low: float | None = None

    def take_pivot(self, pivot: Pivot, atr: float) -> StructureEvent | None:
        """``atr`` is NaN while unknown; then nothing is equal."""
        if pivot.is_high:
            known, self._high, kind = self._high, pivot.price, EventKind.EQUAL_HIGHS
        else:
            known, self._low, kind = self._low, pivot.price, EventKind.EQUAL_LOWS
        if known is None or not abs(pivot.price - known) < self._tolerance * atr:
            return None
        return StructureEvent(kind, Bias.NEUTRAL, pivot.open_ms, pivot.price)


class FairValueGaps:
    """Three bars of which the middle one closes beyond the first, and the third stays clear of it."""

    def __init__(self) -> None:
        self._first: tuple[float, float] | None = None  # high and low
        self._middle: tuple[int, float, float, float] | None = None  # opening time, high, low, close

    def update(self, open_ms: int, high: float, low: float, close: float) -> StructureEvent | None:
        first, middle = self._first, self._middle
        self._middle = (open_ms, high, low, close)
        self._first = middle[1:3] if middle is not None else None
        if first is None or middle is None:
            return None
        (first_high, first_low), (middle_ms, _, _, middle_close) = first, middle
        if low > first_high and middle_close > first_high:
            return StructureEvent(EventKind.FAIR_VALUE_GAP, Bias.BULLISH, middle_ms, low, first_high)
        if high < first_low and middle_close < first_low:
            return StructureEvent(EventKind.FAIR_VALUE_GAP, Bias.BEARISH, middle_ms, first_low, high)
        return None


def grabs(internal: LayerStructure, high: float, low: float, close: float) -> list[StructureEvent]:
    """A wick through the last internal pivot not yet broken, closed back inside: bearish above a high, bullish below a low."""
    found = []
    above, below = internal.high, internal.low
    if above is not None and not above.crossed and high > above.price > close:
        found.append(_grab(Bias.BEARISH, above.open_ms, above.price))
    if below is not None and not below.crossed and low < below.price < close:
        found.append(_grab(Bias.BULLISH, below.open_ms, below.price))
    return found


def _grab(side: Bias, open_ms: int, price: float) -> StructureEvent:
    return StructureEvent(EventKind.LIQUIDITY_GRAB, side, open_ms, price)
