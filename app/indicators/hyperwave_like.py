"""An open stand-in for a "Hyperwave": WaveTrend of the typical price, squashed into 0 to 100, with a signal line.

With hlc3 = (high + low + close)/3: e = EMA(hlc3, L), d = EMA(|hlc3 − e|, L), w = EMA((hlc3 − e)/(0.015·d), 2L); the value is
50 + 50·tanh(w/60), the signal its simple mean over 3 bars. The chain is the public WaveTrend; the squashing is ours.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from app.indicators.atr import Floats, as_columns
from app.indicators.averages import EMA, ema_step, known, window_mean
from app.indicators.compiled import compiled

Records = npt.NDArray[np.void]

STATE = np.dtype([("values", np.int64), ("value", np.float64), ("signal", np.float64)])
READING = np.dtype([("value", np.float64), ("signal", np.float64), ("cross", np.int64)])

_NO_MOVEMENT = 1e-12  # share of the price


@dataclass(frozen=True, slots=True)
class HyperwaveReading:
    """None while warming up: the value for 4·L − 3 bars, the signal for two more (with its default length)."""

    value: float | None  # 0 to 100
    signal: float | None
    cross: int  # +1: the value rose above the signal on this bar, −1: fell below, 0: neither


@compiled
def _step(state: Any, means: Any, ring: Floats, length: int, high: float, low: float, close: float, reading: Any) -> None:
    typical = (high + low + close) / 3
    distance = typical - ema_step(means[0], length, typical)
    deviation = ema_step(means[1], length, abs(distance))
    # a market that has not moved but for rounding is neither high nor low
    channel = 0.0 if deviation <= _NO_MOVEMENT * abs(typical) else distance / (0.015 * deviation)
    value = 50 + 50 * np.tanh(ema_step(means[2], 2 * length, channel) / 60)
    reading["value"] = value
    reading["signal"] = np.nan
    reading["cross"] = 0
    if np.isnan(value):
        return
    signal = window_mean(ring, state["values"], value)
    reading["signal"] = signal
    if value > signal and state["value"] <= state["signal"]:
        reading["cross"] = 1
    elif value < signal and state["value"] >= state["signal"]:
        reading["cross"] = -1
    state["values"] += 1
    state["value"] = value
    state["signal"] = signal


@compiled
def _advance(states: Any, means: Any, ring: Floats, length: int, high: Floats, low: Floats, close: Floats, out: Any) -> None:
    for t in range(close.size):
        _step(states[0], means, ring, length, high[t], low[t], close[t], out[t])


class HyperwaveLike:
    """One closed bar at a time; ``update`` and ``extend`` run the same compiled code."""

    def __init__(self, length: int = 7, signal_length: int = 3) -> None:
        if length < 1 or signal_length < 1:
            raise ValueError(f"hyperwave: lengths must be at least 1, not {length} and {signal_length}")
        self.length = length
        self._state: Records = np.array([(0, np.nan, np.nan)], dtype=STATE)
        self._means: Records = np.zeros(3, dtype=EMA)
        self._ring: Floats = np.zeros(signal_length)

    def update(self, high: float, low: float, close: float) -> HyperwaveReading:
        record: Any = self.extend(np.array([high]), np.array([low]), np.array([close]))[0]
        return HyperwaveReading(known(record["value"]), known(record["signal"]), int(record["cross"]))

    def extend(self, high: Floats, low: Floats, close: Floats) -> Records:
        """Take many bars at once; one record of READING per bar, NaN where a value is missing."""
        columns = as_columns(high, low, close)
        out = np.zeros(columns[0].size, dtype=READING)
        _advance(self._state, self._means, self._ring, self.length, *columns, out)
        return out
