"""Where an order block would come from: the bar that went furthest away since the pivot whose break would make it.

Kept bar by bar, so that a break finds its block at once, however old the broken pivot is.
"""

from collections import deque
from dataclasses import dataclass

from app.indicators.market_structure.readings import Bias


@dataclass(frozen=True, slots=True)
class BlockBar:
    """A bar as blocks see it: ``high`` and ``low`` have changed places on very wide bars, whose far end is no zone."""

    open_ms: int
    high: float
    low: float
    volume: float
    bought: float  # how much of ``volume`` counts as bought


@dataclass(slots=True)
class _Furthest:
    bar: BlockBar
    volume: float = 0.0
    bought: float = 0.0


class BlockOrigin:
    """Follows one side: for ``BULLISH`` the lowest low since the last pivot high, of equals the first."""

    def __init__(self, side: Bias, recent: deque[BlockBar]) -> None:
        self._side = side
        self._recent = recent
        self._furthest: _Furthest | None = None

    def start(self, open_ms: int) -> None:
        """A new pivot at ``open_ms``, which must be one of the ``recent`` bars (those before the bar just closed)."""
        self._furthest = None
        for bar in self._recent:
            if bar.open_ms >= open_ms:
                self._follow(bar)

    def add(self, bar: BlockBar) -> None:
        """The bar just closed, once its own breaks are known."""
        if self._furthest is not None:
            self._follow(bar)

    def block(self, breaking: BlockBar) -> tuple[BlockBar, float, float] | None:
        """The block's bar, and the volume and what was bought of it from there to the ``breaking`` bar (both included)."""
        if (furthest := self._furthest) is None:
            return None
        return furthest.bar, furthest.volume + breaking.volume, furthest.bought + breaking.bought

    def _follow(self, bar: BlockBar) -> None:
        known = self._furthest
        if known is None or self._is_further(bar, known.bar):
            known = self._furthest = _Furthest(bar)
        known.volume += bar.volume
        known.bought += bar.bought

    def _is_further(self, bar: BlockBar, known: BlockBar) -> bool:
        return bar.low < known.low if self._side is Bias.BULLISH else bar.high > known.high
