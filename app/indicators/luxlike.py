"""The open LuxAlgo-like generator: eight flags a side from open indicators, a signal where the deciding ones agree.

An open stand-in, not LuxAlgo: the products it stands in for are closed, and no result made with it says anything about them.

On bars of the trading timeframe: order blocks of the structure engine, crosses of the hyperwave stand-in, overflow of the
money-flow stand-in, SuperTrend(10, 2) as confirmation and SuperTrend(10, 3) as trail. On the higher timeframe, built from the
same bars: internal bias, premium and discount. One signal per tap of a block; its stop follows the rule for order blocks.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import numpy as np

from app.domain import bracket
from app.domain.instrument import Side
from app.domain.market import MINUTE_MS, Bar
from app.domain.rules import StopRules
from app.indicators.atr import Floats, WilderAtr
from app.indicators.higher_timeframe import HigherTimeframe
from app.indicators.hyperwave_like import HyperwaveLike
from app.indicators.luxlike_readings import LuxLikeReading
from app.indicators.luxlike_side import STRICT, LuxLikeParams, Oscillators, SideMemory
from app.indicators.market_structure.engine import MarketStructure
from app.indicators.market_structure.params import StructureParams
from app.indicators.market_structure.readings import Bias, OrderBlock, StructureReading
from app.indicators.money_flow_like import MoneyFlowLike
from app.indicators.supertrend import SuperTrend


class LuxLike:
    """One symbol's closed bars, in order. A reading never changes with what follows."""

    def __init__(
        self,
        params: LuxLikeParams = STRICT,
        structure: StructureParams | None = None,
        stop_rules: StopRules | None = None,
        higher_ms: int = 15 * MINUTE_MS,
    ) -> None:
        self.params = params
        self._stop_rules = stop_rules or StopRules()
        self._structure = MarketStructure(structure)
        self._higher = MarketStructure(structure)
        self._builder = HigherTimeframe(higher_ms)
        self._last_higher: StructureReading | None = None
        self._oscillators = _OscillatorBank()
        self._long = SideMemory(Bias.BULLISH, params)
        self._short = SideMemory(Bias.BEARISH, params)
        self._bars = 0

    def update(self, bar: Bar) -> LuxLikeReading:
        return self.extend([bar])[0]

    def extend(self, bars: Iterable[Bar]) -> list[LuxLikeReading]:
        """The readings after each of many bars. Raises ValueError as ``MarketStructure.update`` does."""
        known = list(bars)
        structures = self._structure.extend(known)
        oscillators = self._oscillators.extend(known)
        return [self._take(*inputs) for inputs in zip(known, structures, oscillators, strict=True)]

    def _take(self, bar: Bar, structure: StructureReading, now: Oscillators) -> LuxLikeReading:
        if (longer := self._builder.add(bar)) is not None:
            self._last_higher = self._higher.update(longer)
        self._bars += 1
        long = self._long.take(self._bars, structure, self._last_higher, now)
        short = self._short.take(self._bars, structure, self._last_higher, now)
        signal, block = Bias.NEUTRAL, None
        for side, memory, flags in ((Bias.BULLISH, self._long, long), (Bias.BEARISH, self._short, short)):
            if memory.fires(flags):
                signal, block = side, memory.block
                memory.forget()
        stop = self._stop(signal, block, now.atr) if block is not None else None
        return LuxLikeReading(bar.open_ms, bar.close, long, short, signal, stop, block)

    def _stop(self, signal: Bias, block: OrderBlock, atr: float) -> float:
        side = Side.BUY if signal is Bias.BULLISH else Side.SELL
        zone = bracket.OrderBlock(Decimal(str(block.bottom)), Decimal(str(block.top)))
        return float(bracket.block_stop(side, zone, Decimal(str(atr)), self._stop_rules))


class _OscillatorBank:
    """The oscillators of the trading timeframe, side by side."""

    def __init__(self) -> None:
        self._wave = HyperwaveLike()
        self._flow = MoneyFlowLike()
        self._confirmation = SuperTrend(10, 2.0)
        self._trail = SuperTrend(10, 3.0)
        self._atr = WilderAtr(14)

    def extend(self, bars: list[Bar]) -> list[Oscillators]:
        table = np.array([(bar.high, bar.low, bar.close, bar.volume) for bar in bars], dtype=np.float64).reshape(-1, 4)
        high, low, close, volume = table.T
        wave = self._wave.extend(high, low, close)
        flow = self._flow.extend(high, low, close, volume)
        columns = (
            wave["value"],
            wave["cross"],
            flow["value"],
            flow["upper"],
            flow["lower"],
            flow["overflow"],
            _side(self._confirmation.extend(high, low, close)),
            _side(self._trail.extend(high, low, close)),
            self._atr.extend(high, low, close),
        )
        return [Oscillators(*values) for values in zip(*(column.tolist() for column in columns), strict=True)]


def _side(trend: Any) -> Floats:
    """+1 long, −1 short, 0 while unknown."""
    side: Floats = np.where(np.isnan(trend["stop"]), 0, 2 * trend["direction"] - 1)
    return side
