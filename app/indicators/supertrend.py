"""SuperTrend (Olivier Seban): a stop ``factor`` average true ranges from the middle of the bar, that only closes in.

Upper and lower band are middle ± factor·ATR; a band stays where it was while the new one would be further away and the previous
close was within it. The trend turns when the close passes the band in force; it starts short.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from app.indicators.atr import Floats, WilderAtr, as_columns
from app.indicators.compiled import compiled

Records = npt.NDArray[np.void]

STATE = np.dtype([("close", np.float64), ("upper", np.float64), ("lower", np.float64), ("direction", np.int64)])
READING = np.dtype([("stop", np.float64), ("direction", np.int64)])


@dataclass(frozen=True, slots=True)
class TrendReading:
    """None while the average true range is unknown."""

    stop: float | None
    is_long: bool | None


@compiled
def _advance(states: Any, factor: float, high: Floats, low: Floats, close: Floats, atr: Floats, out: Any) -> None:
    state = states[0]
    for t in range(close.size):
        out[t]["stop"] = np.nan
        if not np.isnan(atr[t]):
            middle = (high[t] + low[t]) / 2
            up, down = middle + factor * atr[t], middle - factor * atr[t]
            # comparisons with a missing band are false: the first bands are taken as they are
            state["upper"] = state["upper"] if up >= state["upper"] and state["close"] <= state["upper"] else up
            state["lower"] = state["lower"] if down <= state["lower"] and state["close"] >= state["lower"] else down
            if state["direction"] == 0 and close[t] > state["upper"]:
                state["direction"] = 1
            elif state["direction"] == 1 and close[t] < state["lower"]:
                state["direction"] = 0
            out[t]["stop"] = state["lower"] if state["direction"] == 1 else state["upper"]
        out[t]["direction"] = state["direction"]
        state["close"] = close[t]


class SuperTrend:
    """One closed bar at a time; ``update`` and ``extend`` run the same compiled code."""

    def __init__(self, length: int = 10, factor: float = 3.0) -> None:
        if not factor > 0:
            raise ValueError(f"SuperTrend: factor must be positive, not {factor}")
        self.factor = factor
        self._atr = WilderAtr(length)
        self._state: Records = np.array([(np.nan, np.nan, np.nan, 0)], dtype=STATE)

    def update(self, high: float, low: float, close: float) -> TrendReading:
        record: Any = self.extend(np.array([high]), np.array([low]), np.array([close]))[0]
        if np.isnan(record["stop"]):
            return TrendReading(None, None)
        return TrendReading(float(record["stop"]), bool(record["direction"] == 1))

    def extend(self, high: Floats, low: Floats, close: Floats) -> Records:
        """Take many bars at once; one record of READING per bar: direction 1 long, 0 short; the stop is NaN while unknown."""
        columns = as_columns(high, low, close)
        out = np.zeros(columns[0].size, dtype=READING)
        _advance(self._state, self.factor, *columns, self._atr.extend(*columns), out)
        return out
