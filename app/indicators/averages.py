"""Running averages as compiled steps over records: what several oscillators are made of."""

from typing import Any

import numpy as np

from app.indicators.compiled import compiled

EMA = np.dtype([("inputs", np.int64), ("value", np.float64)])


@compiled
def ema_step(state: Any, length: int, value: float) -> float:
    """Exponential mean with α = 2/(length + 1), seeded with the mean of the first ``length`` inputs; NaN before.

    ``state`` is a record of EMA that starts as zeros. A missing input (NaN) is skipped.
    """
    if not np.isnan(value):
        state["inputs"] += 1
        if state["inputs"] < length:
            state["value"] += value  # a plain sum until the first mean
        elif state["inputs"] == length:
            state["value"] = (state["value"] + value) / length
        else:
            state["value"] += 2 / (length + 1) * (value - state["value"])
    return float(state["value"]) if state["inputs"] >= length else np.nan


@compiled
def window_mean(ring: Any, inputs: int, value: float) -> float:
    """Simple mean of the last ``len(ring)`` inputs, ``value`` included; NaN while there are fewer.

    ``inputs`` is how many came before. The sum is made anew each time, so no rounding gathers.
    """
    ring[inputs % ring.size] = value
    if inputs + 1 < ring.size:
        return np.nan
    total = 0.0
    for k in range(ring.size):
        total += ring[(inputs + 1 + k) % ring.size]  # oldest first
    return float(total / ring.size)


def known(value: np.float64) -> float | None:
    """None for NaN, which stands for a missing value inside the arrays."""
    return None if np.isnan(value) else float(value)
