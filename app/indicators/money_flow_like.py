"""An open stand-in for a "money flow": the share of rising flow around 50, with thresholds of its own and overflow.

The flow of a bar is hlc3·volume, rising where hlc3 = (high + low + close)/3 rose, falling where it fell. The value is
100·rising/(rising + falling) over ``length`` bars, smoothed by a simple mean. The thresholds are the means of the last values
above and below 50; overflow is a value further from 50 than ``overflow`` times its side's threshold.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from app.indicators.atr import Floats, as_columns
from app.indicators.averages import known, window_mean
from app.indicators.compiled import compiled

Records = npt.NDArray[np.void]

STATE = np.dtype([("bars", np.int64), ("typical", np.float64), ("shares", np.int64), ("values", np.int64)])
READING = np.dtype([("value", np.float64), ("upper", np.float64), ("lower", np.float64), ("overflow", np.int64)])


@dataclass(frozen=True, slots=True)
class MoneyFlowParams:
    """Lengths in bars; ``memory`` is how many values the thresholds look back on."""

    length: int = 35
    smooth: int = 6
    memory: int = 200
    overflow: float = 1.5

    def __post_init__(self) -> None:
        if min(self.length, self.smooth, self.memory) < 1 or not self.overflow > 0:
            raise ValueError("money flow: length, smooth and memory must be at least 1, overflow positive")


@dataclass(frozen=True, slots=True)
class MoneyFlowReading:
    """None while warming up (``length`` + ``smooth`` − 1 bars)."""

    value: float | None  # 0 to 100
    upper: float | None  # at least 50
    lower: float | None  # at most 50
    overflow: int  # +1: too much rising flow, −1: too much falling flow, 0: neither


@compiled
def _share(state: Any, flows: Floats, typical: float, volume: float) -> float:
    """Per cent of the flow that is rising; 50 where nothing flows, NaN while the window is not full."""
    if state["bars"] == 0:
        return np.nan
    flow = typical * volume
    signed = flow if typical > state["typical"] else -flow if typical < state["typical"] else 0.0
    flows[(state["bars"] - 1) % flows.size] = signed
    if state["bars"] < flows.size:
        return np.nan
    rising = falling = 0.0
    for k in range(flows.size):
        if flows[k] > 0:
            rising += flows[k]
        else:
            falling -= flows[k]
    return 100 * rising / (rising + falling) if rising + falling > 0 else 50.0


@compiled
def _thresholds(past: Floats, known: int, reading: Any) -> None:
    above = below = 0.0
    count_above = count_below = 0
    for k in range(min(known, past.size)):
        if past[k] > 50:
            above += past[k]
            count_above += 1
        elif past[k] < 50:
            below += past[k]
            count_below += 1
    reading["upper"] = above / count_above if count_above else 50.0
    reading["lower"] = below / count_below if count_below else 50.0


@compiled
def _step(
    state: Any, flows: Floats, ring: Floats, past: Floats, overflow: float, typical: float, volume: float, out: Any
) -> None:
    share = _share(state, flows, typical, volume)
    state["bars"] += 1
    state["typical"] = typical
    out["value"] = out["upper"] = out["lower"] = np.nan
    out["overflow"] = 0
    if np.isnan(share):
        return
    value = window_mean(ring, state["shares"], share)
    state["shares"] += 1
    if np.isnan(value):
        return
    past[state["values"] % past.size] = value
    state["values"] += 1
    out["value"] = value
    _thresholds(past, state["values"], out)
    if value > 50 + overflow * (out["upper"] - 50):
        out["overflow"] = 1
    elif value < 50 - overflow * (50 - out["lower"]):
        out["overflow"] = -1


@compiled
def _advance(
    states: Any, flows: Floats, ring: Floats, past: Floats, overflow: float, typical: Floats, volume: Floats, out: Any
) -> None:
    for t in range(typical.size):
        _step(states[0], flows, ring, past, overflow, typical[t], volume[t], out[t])


class MoneyFlowLike:
    """One closed bar at a time; ``update`` and ``extend`` run the same compiled code."""

    def __init__(self, params: MoneyFlowParams | None = None) -> None:
        self.params = own = params or MoneyFlowParams()
        self._state: Records = np.array([(0, np.nan, 0, 0)], dtype=STATE)
        self._flows: Floats = np.zeros(own.length)
        self._ring: Floats = np.zeros(own.smooth)
        self._past: Floats = np.zeros(own.memory)

    def update(self, high: float, low: float, close: float, volume: float) -> MoneyFlowReading:
        record: Any = self.extend(np.array([high]), np.array([low]), np.array([close]), np.array([volume]))[0]
        return MoneyFlowReading(known(record["value"]), known(record["upper"]), known(record["lower"]), int(record["overflow"]))

    def extend(self, high: Floats, low: Floats, close: Floats, volume: Floats) -> Records:
        """Take many bars at once; one record of READING per bar, NaN where a value is missing."""
        highs, lows, closes = as_columns(high, low, close)
        volumes = np.ascontiguousarray(volume, dtype=np.float64)
        if volumes.shape != closes.shape:
            raise ValueError(f"volume must be as long as the prices, {closes.size}, not {volumes.size}")
        out = np.zeros(closes.size, dtype=READING)
        typical = (highs + lows + closes) / 3
        _advance(self._state, self._flows, self._ring, self._past, self.params.overflow, typical, volumes, out)
        return out
