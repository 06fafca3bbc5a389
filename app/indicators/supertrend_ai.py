"""SuperTrend AI: a bank of SuperTrends with different factors, clustered by performance, one trailing stop in the end.

The idea is LuxAlgo's "SuperTrend AI (Clustering)"; this is written from a description in words and from test vectors.

Every bar: each factor's SuperTrend earns what it would have gained per bar (an exponential mean, the *performance*); k-means
with three clusters (worst, average, best) splits the performances; the mean factor of the chosen cluster drives the final stop.

Floats are compared with an absolute tolerance, because factors that agree have performances equal up to rounding, and such a
tie decides which cluster they fall into. A comparison with a missing value (NaN) is false. What the steps below call
"missing" is NaN in the arrays and None in a reading.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from app.indicators.atr import Floats, WilderAtr, as_columns
from app.indicators.compiled import compiled

TOLERANCE = 1e-10
CLUSTERS = 3

Records = npt.NDArray[np.void]

SETTINGS = np.dtype([(name, np.int64) for name in ("memory", "cluster", "max_iterations")])
BANK = np.dtype([(name, np.float64) for name in ("factor", "upper", "lower", "direction", "stop", "performance")])
STATE = np.dtype(
    [
        ("bars", np.int64),
        ("close", np.float64),
        ("moves", np.int64),  # how many |close − previous close| the mean below has seen
        ("mean_move", np.float64),
        ("factor", np.float64),
        ("upper", np.float64),
        ("lower", np.float64),
        ("direction", np.int64),
        ("average", np.float64),
    ]
)
READING = np.dtype(
    [
        ("atr", np.float64),
        ("factor", np.float64),
        ("performance", np.float64),
        ("direction", np.int64),
        ("flip", np.int64),
        ("stop", np.float64),
        ("average", np.float64),
        ("upper", np.float64),
        ("lower", np.float64),
        ("sizes", np.int64, (CLUSTERS,)),
    ]
)


class Cluster(IntEnum):
    """By where the cluster starts: at the 25th, 50th or 75th percentile of the performances."""

    WORST = 0
    AVERAGE = 1
    BEST = 2


@dataclass(frozen=True, slots=True)
class SuperTrendParams:
    """``memory`` is in bars: how far back the performances look."""

    atr_length: int = 10
    min_factor: float = 1.0
    max_factor: float = 3.0
    step: float = 0.5
    memory: int = 10
    cluster: Cluster = Cluster.BEST
    max_iterations: int = 1000

    def __post_init__(self) -> None:
        if self.atr_length < 1 or self.memory < 1 or self.max_iterations < 0:
            raise ValueError("SuperTrend AI: atr_length and memory must be at least 1, max_iterations at least 0")
        if not (self.step > 0 and 0 < self.min_factor <= self.max_factor):
            raise ValueError("SuperTrend AI: step must be positive and 0 < min_factor <= max_factor")

    @property
    def factors(self) -> Floats:
        count = int((self.max_factor - self.min_factor) / self.step) + 1
        return self.min_factor + self.step * np.arange(count, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class SuperTrendReading:
    """What is known after one closed bar. ``stop`` holds from the next bar on."""

    stop: float | None
    is_long: bool
    flip: int  # +1: turned long on this bar, −1: turned short, 0: neither
    factor: float | None
    performance: float | None  # of the chosen cluster, per mean bar-to-bar move; at least 0
    average: float | None  # the stop smoothed by ``performance``
    atr: float | None

    @property
    def strength(self) -> int | None:
        """The number shown beside a signal; not capped at 10."""
        return None if self.performance is None else int(10 * self.performance)


@compiled
def _above(a: float, b: float) -> bool:
    return a - b > TOLERANCE


@compiled
def hazen_percentile(ascending: Floats, percent: float) -> float:
    """Hazen's rule: the 1-based position is n × p / 100 + 0.5, held within [1, n]; linear between neighbours."""
    n = ascending.size
    position = min(max(n * percent / 100 + 0.5, 1.0), float(n))
    below = int(position)
    share = position - below
    if below == n:
        return float(ascending[n - 1])
    return float(ascending[below - 1] * (1 - share) + ascending[below] * share)


@compiled
def _nearest(value: float, centroids: Floats) -> int:
    """The cluster with the nearest centroid; of equals the first. A missing centroid is never nearest."""
    smallest = np.inf
    for c in range(CLUSTERS):
        distance = abs(value - centroids[c])
        if distance < smallest:
            smallest = distance
    for c in range(CLUSTERS):
        if abs(value - centroids[c]) - smallest <= TOLERANCE:
            return c
    return 0


@compiled
def _ascending(values: Floats) -> Floats:
    """By insertion: there are only a few, and NumPy's sort would double the compile time."""
    ordered = values.copy()
    for k in range(1, ordered.size):
        value = ordered[k]
        place = k
        while place > 0 and ordered[place - 1] > value:
            ordered[place] = ordered[place - 1]
            place -= 1
        ordered[place] = value
    return ordered


@compiled
def cluster_performances(performances: Floats, centroids: Floats, labels: Any, max_iterations: int) -> int:
    """k-means of one-dimensional ``performances`` with three centroids that start at the 25th, 50th and 75th percentile.

    Fills ``centroids`` and ``labels`` (0 worst, 1 average, 2 best, by start) and returns how many rounds moved a centroid.
    A cluster that runs empty loses its centroid (NaN) for good. A round that leaves everything as it was ends the search:
    the rounds up to ``max_iterations`` + 1 would repeat it.
    """
    ascending = _ascending(performances)
    for c in range(CLUSTERS):
        centroids[c] = hazen_percentile(ascending, 25.0 * (c + 1))
    for iteration in range(max_iterations + 1):
        sums = np.zeros(CLUSTERS)
        sizes = np.zeros(CLUSTERS)
        for k in range(performances.size):
            labels[k] = _nearest(performances[k], centroids)
            sums[labels[k]] += performances[k]
            sizes[labels[k]] += 1
        settled = True
        for c in range(CLUSTERS):
            mean = sums[c] / sizes[c] if sizes[c] > 0 else np.nan
            gone = np.isnan(mean) and np.isnan(centroids[c])
            settled = settled and (gone or abs(mean - centroids[c]) <= TOLERANCE)
            centroids[c] = mean
        if settled:
            return iteration
    return max_iterations + 1


@compiled
def _ratchet(bands: Any, previous_close: float, up: float, down: float) -> None:
    """The bands only close in while the previous close was within them."""
    bands["upper"] = min(up, bands["upper"]) if _above(bands["upper"], previous_close) else up
    bands["lower"] = max(down, bands["lower"]) if _above(previous_close, bands["lower"]) else down


@compiled
def _bank_step(row: Any, previous_close: float, close: float, middle: float, atr: float, memory: int) -> None:
    """One factor's SuperTrend and its performance. The direction is judged against the bands of the bar before."""
    if _above(close, row["upper"]):
        row["direction"] = 1.0
    elif _above(row["lower"], close):
        row["direction"] = 0.0
    _ratchet(row, previous_close, middle + atr * row["factor"], middle - atr * row["factor"])
    gain = 0.0
    if not np.isnan(previous_close) and not np.isnan(row["stop"]):
        gain = (close - previous_close) * np.sign(previous_close - row["stop"])
    row["performance"] += 2 / (memory + 1) * (gain - row["performance"])
    row["stop"] = row["lower"] if row["direction"] == 1.0 else row["upper"]


@compiled
def _mean_move_step(state: Any, close: float, memory: int) -> float:
    """Exponential mean of |close − previous close|, seeded with the mean of the first ``memory`` moves; NaN before."""
    if not np.isnan(state["close"]):
        move = abs(close - state["close"])
        state["moves"] += 1
        if state["moves"] <= memory:
            state["mean_move"] += move / memory
        else:
            state["mean_move"] += 2 / (memory + 1) * (move - state["mean_move"])
    return float(state["mean_move"]) if state["moves"] >= memory else np.nan


@compiled
def _stop_step(state: Any, close: float, middle: float, atr: float, reading: Any) -> None:
    """The final stop with the factor in force; its direction is judged against the bands of this bar."""
    before = state["direction"]
    _ratchet(state, state["close"], middle + atr * state["factor"], middle - atr * state["factor"])
    if _above(close, state["upper"]):
        state["direction"] = 1
    elif _above(state["lower"], close):
        state["direction"] = 0
    stop = state["lower"] if state["direction"] == 1 else state["upper"]
    if np.isnan(state["average"]):
        state["average"] = stop
    elif not np.isnan(reading["performance"]):
        state["average"] += reading["performance"] * (stop - state["average"])
    reading["direction"] = state["direction"]
    reading["flip"] = state["direction"] - before
    reading["stop"] = stop
    reading["average"] = state["average"]
    reading["upper"] = state["upper"]
    reading["lower"] = state["lower"]


@compiled
def _step(settings: Any, state: Any, bank: Any, high: float, low: float, close: float, atr: float, reading: Any) -> None:
    """Take one closed bar: bank, clusters, factor in force, final stop."""
    middle = (high + low) / 2
    if state["bars"] == 0:
        state["upper"] = state["lower"] = middle
        for k in range(bank.size):
            bank[k]["upper"] = bank[k]["lower"] = middle
    performances = np.empty(bank.size)
    for k in range(bank.size):
        _bank_step(bank[k], state["close"], close, middle, atr, settings["memory"])
        performances[k] = bank[k]["performance"]

    centroids = np.empty(CLUSTERS)
    labels = np.empty(bank.size, np.int64)
    cluster_performances(performances, centroids, labels, settings["max_iterations"])
    factors = performance = 0.0
    for c in range(CLUSTERS):
        reading["sizes"][c] = 0
    for k in range(bank.size):
        reading["sizes"][labels[k]] += 1
        if labels[k] == settings["cluster"]:
            factors += bank[k]["factor"]
            performance += performances[k]
    members = reading["sizes"][settings["cluster"]]
    if members > 0:
        state["factor"] = factors / members
        performance /= members
    mean_move = _mean_move_step(state, close, settings["memory"])
    reading["performance"] = max(performance, 0.0) / mean_move if mean_move > 0 else np.nan
    reading["atr"] = atr
    reading["factor"] = state["factor"]
    _stop_step(state, close, middle, atr, reading)
    state["bars"] += 1
    state["close"] = close


@compiled
def _advance(settings: Any, states: Any, bank: Any, high: Floats, low: Floats, close: Floats, atr: Floats, out: Any) -> None:
    for t in range(close.size):
        _step(settings[0], states[0], bank, high[t], low[t], close[t], atr[t], out[t])


class SuperTrendAi:
    """The indicator, one closed bar at a time. The same compiled code as ``supertrend_ai``."""

    def __init__(self, params: SuperTrendParams | None = None) -> None:
        self.params = own = params or SuperTrendParams()
        self._settings: Records = np.array([(own.memory, int(own.cluster), own.max_iterations)], dtype=SETTINGS)
        self._atr = WilderAtr(own.atr_length)
        self._state: Records = np.array([(0, np.nan, 0, 0.0, np.nan, np.nan, np.nan, 0, np.nan)], dtype=STATE)
        self._bank: Records = np.zeros(own.factors.size, dtype=BANK)
        self._bank["factor"] = own.factors
        self._bank["stop"] = np.nan

    @property
    def bars(self) -> int:
        """How many bars it has seen."""
        return int(self._state["bars"][0])

    @property
    def performances(self) -> Floats:
        """One per factor, as of the last bar."""
        return np.array(self._bank["performance"])

    def update(self, high: float, low: float, close: float) -> SuperTrendReading:
        return reading_of(self.extend(np.array([high]), np.array([low]), np.array([close]))[0])

    def extend(self, high: Floats, low: Floats, close: Floats) -> Records:
        """Take many bars at once; one record of READING per bar."""
        columns = as_columns(high, low, close)
        out = np.zeros(columns[0].size, dtype=READING)
        _advance(self._settings, self._state, self._bank, *columns, self._atr.extend(*columns), out)
        return out


def supertrend_ai(high: Floats, low: Floats, close: Floats, params: SuperTrendParams | None = None) -> Records:
    """The reading after each bar: a structured array of READING, as long as ``close``, NaN where a value is missing."""
    return SuperTrendAi(params).extend(high, low, close)


def reading_of(record: Any) -> SuperTrendReading:
    """One record of READING as a value."""
    return SuperTrendReading(
        stop=_known(record["stop"]),
        is_long=bool(record["direction"] == 1),
        flip=int(record["flip"]),
        factor=_known(record["factor"]),
        performance=_known(record["performance"]),
        average=_known(record["average"]),
        atr=_known(record["atr"]),
    )


def _known(value: np.float64) -> float | None:
    return None if np.isnan(value) else float(value)
