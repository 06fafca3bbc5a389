"""The swing range, whose halves are premium and discount."""

from app.indicators.market_structure.pivots import Pivot


class SwingRange:
    """Each end is its side's last swing pivot, then trails price outwards until the next one."""

    def __init__(self) -> None:
        self.top: float | None = None
        self.bottom: float | None = None

    def trail(self, high: float, low: float) -> None:
        if self.top is not None and high > self.top:
            self.top = high
        if self.bottom is not None and low < self.bottom:
            self.bottom = low

    def take_pivot(self, pivot: Pivot) -> None:
        if pivot.is_high:
            self.top = pivot.price
        else:
            self.bottom = pivot.price
