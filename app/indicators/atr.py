"""Wilder's average true range (J. Welles Wilder, *New Concepts in Technical Trading Systems*, 1978).

The true range is high − low on the first bar, then max(high − low, |high − previous close|, |low − previous close|). The first
average is the mean of ``length`` true ranges; after that each bar weighs 1/length. NaN until then.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from app.indicators.compiled import compiled

Floats = npt.NDArray[np.float64]

STATE = np.dtype([("bars", np.int64), ("close", np.float64), ("value", np.float64)])


@compiled
def _step(state: Any, length: int, high: float, low: float, close: float) -> float:
    """Take one closed bar into ``state`` (a record of STATE). NaN while fewer than ``length`` bars are known."""
    true_range = high - low
    if state["bars"] > 0:
        true_range = max(true_range, abs(high - state["close"]), abs(low - state["close"]))
    state["bars"] += 1
    state["close"] = close
    if state["bars"] <= length:
        state["value"] += true_range  # a plain sum until the first average
        if state["bars"] < length:
            return np.nan
        state["value"] /= length
    else:
        state["value"] = ((length - 1) * state["value"] + true_range) / length
    return float(state["value"])


@compiled
def _advance(states: Any, length: int, high: Floats, low: Floats, close: Floats, out: Floats) -> None:
    for t in range(close.size):
        out[t] = _step(states[0], length, high[t], low[t], close[t])


class WilderAtr:
    """The average, one closed bar at a time. The same compiled code as ``wilder_atr``."""

    def __init__(self, length: int) -> None:
        if length < 1:
            raise ValueError(f"ATR length must be at least 1, not {length}")
        self.length = length
        self._state: npt.NDArray[np.void] = np.array([(0, np.nan, 0.0)], dtype=STATE)

    def update(self, high: float, low: float, close: float) -> float | None:
        """None while fewer than ``length`` bars are known."""
        value = self.extend(np.array([high]), np.array([low]), np.array([close]))[0]
        return None if np.isnan(value) else float(value)

    def extend(self, high: Floats, low: Floats, close: Floats) -> Floats:
        """Take many bars at once; one value per bar, NaN where there is none."""
        columns = as_columns(high, low, close)
        out = np.empty(columns[0].size)
        _advance(self._state, self.length, *columns, out)
        return out


def wilder_atr(high: Floats, low: Floats, close: Floats, length: int) -> Floats:
    """The average after each bar, shape of ``close``; NaN for the first ``length`` − 1 bars."""
    return WilderAtr(length).extend(high, low, close)


def as_columns(high: Floats, low: Floats, close: Floats) -> tuple[Floats, Floats, Floats]:
    """Contiguous float64 columns, as the compiled code takes them. Raises ValueError unless equally long and flat."""
    columns = (
        np.ascontiguousarray(high, dtype=np.float64),
        np.ascontiguousarray(low, dtype=np.float64),
        np.ascontiguousarray(close, dtype=np.float64),
    )
    if any(column.shape != (columns[0].size,) for column in columns):
        shapes = [column.shape for column in columns]
        raise ValueError(f"high, low and close must be one-dimensional and equally long, not {shapes}")
    return columns
