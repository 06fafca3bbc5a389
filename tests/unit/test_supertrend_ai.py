"""SuperTrend AI against the recorded vectors, without look-ahead, the same in both forms."""

import csv
import json
import subprocess
import sys
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shared import shared_path

from app.indicators.supertrend_ai import (
    Cluster,
    SuperTrendAi,
    SuperTrendParams,
    cluster_performances,
    hazen_percentile,
    supertrend_ai,
)

Floats = npt.NDArray[np.float64]
MARKETS = ["trending", "ranging"]
EXACT = 0.0


@cache
def columns(name: str) -> dict[str, Floats]:
    """The numeric columns of a vector file; an empty field is NaN."""
    with shared_path(f"vectors/{name}.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {key: np.array([float(row[key] or "nan") for row in rows]) for key in rows[0] if key != "fragile"}


def prices(market: str) -> tuple[Floats, Floats, Floats]:
    bars = columns(f"bars_{market}")
    return bars["high"], bars["low"], bars["close"]


def synthetic(bars: int, seed: int) -> tuple[Floats, Floats, Floats]:
    """A random walk in ticks of 0.1, so that equal performances and ties do occur."""
    rng = np.random.default_rng(seed)
    close = 1000 + np.cumsum(rng.integers(-8, 9, bars)) / 10
    return close + rng.integers(0, 9, bars) / 10, close - rng.integers(0, 9, bars) / 10, close


def assert_same(actual: Floats, expected: Floats, tolerance: float) -> None:
    assert np.array_equal(np.isnan(actual), np.isnan(expected))
    assert np.nanmax(np.abs(actual - expected)) <= tolerance


@pytest.mark.parametrize("market", MARKETS)
def test_best_cluster_equals_the_vectors(market: str) -> None:
    expected = columns(f"sta_{market}")
    actual = supertrend_ai(*prices(market))
    assert_same(actual["direction"].astype(float), expected["os"], EXACT)
    assert_same(actual["flip"].astype(float), expected["flip"], EXACT)
    for cluster, column in zip(Cluster, ("n_worst", "n_avg", "n_best"), strict=True):
        assert_same(actual["sizes"][:, cluster].astype(float), expected[column], EXACT)
    for field, column, tolerance in (
        ("factor", "factor", 1e-9),
        ("performance", "perf_idx", 1e-9),
        ("atr", "atr", 1e-6),
        ("stop", "ts", 1e-6),
        ("average", "ama", 1e-6),
        ("upper", "upper", 1e-6),
        ("lower", "lower", 1e-6),
    ):
        assert_same(actual[field], expected[column], tolerance)


@pytest.mark.parametrize("market", MARKETS)
@pytest.mark.parametrize(
    ("suffix", "params"),
    [
        ("average", SuperTrendParams(cluster=Cluster.AVERAGE)),
        ("worst", SuperTrendParams(cluster=Cluster.WORST)),
        ("default1to5", SuperTrendParams(max_factor=5.0)),
    ],
)
def test_other_settings_equal_the_vectors(market: str, suffix: str, params: SuperTrendParams) -> None:
    expected = columns(f"sta_{market}_{suffix}")
    actual = supertrend_ai(*prices(market), params)
    assert_same(actual["direction"].astype(float), expected["os"], EXACT)
    assert_same(actual["factor"], expected["factor"], 1e-9)
    assert_same(actual["stop"], expected["ts"], 1e-6)


@pytest.mark.parametrize("market", MARKETS)
def test_one_at_a_time_equals_the_vectors(market: str) -> None:
    """Factor performances, stop and displayed strength after every bar."""
    expected = columns(f"sta_{market}")
    performances = np.column_stack([expected[f"perf_{factor}"] for factor in ("1", "1.5", "2", "2.5", "3")])
    indicator = SuperTrendAi()
    for t, bar in enumerate(zip(*prices(market), strict=True)):
        reading = indicator.update(*bar)
        assert indicator.performances == pytest.approx(performances[t], abs=1e-6)
        assert reading.stop == (None if np.isnan(expected["ts"][t]) else pytest.approx(expected["ts"][t], abs=1e-6))
        assert reading.is_long == (expected["os"][t] == 1)
        assert reading.strength == (None if np.isnan(expected["strength"][t]) else int(expected["strength"][t]))
    assert indicator.bars == len(expected["os"])


@given(seed=st.integers(0, 2**32 - 1), cuts=st.sets(st.integers(1, 399), max_size=5))
@settings(max_examples=40, deadline=None)
def test_cut_anywhere_equals_all_at_once(seed: int, cuts: set[int]) -> None:
    """No look-ahead and no second implementation: fed in pieces, down to single bars, nothing changes."""
    bars = synthetic(400, seed)
    whole = supertrend_ai(*bars)
    indicator = SuperTrendAi()
    edges = [0, *sorted(cuts), 400]
    pieces = [indicator.extend(*(column[a:b] for column in bars)) for a, b in pairwise(edges)]
    assert np.concatenate(pieces).tobytes() == whole.tobytes()


@given(market=st.sampled_from(MARKETS), cut=st.integers(1, 1999))
@settings(max_examples=25, deadline=None)
def test_a_prefix_equals_the_full_run(market: str, cut: int) -> None:
    whole = supertrend_ai(*prices(market))
    prefix = supertrend_ai(*(column[:cut] for column in prices(market)))
    assert prefix.tobytes() == whole[:cut].tobytes()


def test_single_updates_equal_the_bulk_form() -> None:
    bars = synthetic(600, seed=7)
    whole = supertrend_ai(*bars)
    indicator = SuperTrendAi()
    for t, bar in enumerate(zip(*bars, strict=True)):
        reading = indicator.update(*bar)
        assert reading.stop == (None if np.isnan(whole["stop"][t]) else whole["stop"][t])
        assert (reading.flip, reading.is_long) == (whole["flip"][t], whole["direction"][t] == 1)


@pytest.mark.parametrize("market", MARKETS)
def test_warm_up_of_500_bars_is_enough(market: str) -> None:
    """Started anywhere, the stop becomes that of the full history within 214 bars and stays so."""
    full = supertrend_ai(*prices(market))
    for start in range(0, 1500, 60):
        late = supertrend_ai(*(column[start:] for column in prices(market)))
        assert late["stop"][214:] == pytest.approx(full["stop"][start + 214 :], abs=1e-6)
        assert np.array_equal(late["direction"][214:], full["direction"][start + 214 :])


@pytest.mark.parametrize("market", MARKETS)
def test_nothing_is_claimed_before_the_first_stop(market: str) -> None:
    indicator = SuperTrendAi()
    readings = [indicator.update(*bar) for bar in zip(*(column[:40] for column in prices(market)), strict=True)]
    assert all(reading.atr is None and reading.factor is None and reading.stop is None for reading in readings[:9])
    assert readings[9].atr is not None
    assert readings[39].stop is not None


def test_a_market_that_stands_still_has_no_performance_index() -> None:
    flat = np.full(50, 100.0)
    actual = supertrend_ai(flat, flat, flat)
    assert np.isnan(actual["performance"]).all()
    assert np.isnan(actual["stop"]).all(), "all factors agree for ever: no factor is ever in force"


def clusters_of(performances: Floats) -> tuple[Floats, npt.NDArray[np.int64], int]:
    centroids, labels = np.empty(3), np.empty(performances.size, np.int64)
    return centroids, labels, cluster_performances(performances, centroids, labels, 1000)


def kmeans_cases() -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = json.loads(shared_path("vectors/kmeans.json").read_text())["kmeans"]
    return cases


@pytest.mark.parametrize("name", ["spread", "all_equal", "two_values", "one_low", "one_high", "near_tie", "reversed"])
def test_clusters_equal_the_vectors(name: str) -> None:
    case = next(case for case in kmeans_cases() if case["name"] == name)
    performances, factors = np.array(case["perf"]), np.array(case["factors"])
    starts = [hazen_percentile(np.sort(performances), percent) for percent in (25.0, 50.0, 75.0)]
    _, labels, iterations = clusters_of(performances)
    assert starts == pytest.approx(case["centroids0"], abs=1e-15)
    assert [list(factors[labels == cluster]) for cluster in Cluster] == case["clusters_factor"]
    assert [list(performances[labels == cluster]) for cluster in Cluster] == case["clusters_perf"]
    assert iterations == case["iterations"]
    best = factors[labels == Cluster.BEST]
    assert (best.mean() if best.size else None) == case["best_factor"]


def test_every_recorded_kmeans_case_is_tested() -> None:
    assert len(kmeans_cases()) == 7


def test_one_winner_is_found_among_equals() -> None:
    """Inclusive percentiles would start all three centroids on the same value and leave the best cluster empty."""
    _, labels, _ = clusters_of(np.array([2.0, 2.0, 2.0, 2.0, 9.0]))
    assert list(labels) == [0, 0, 0, 0, 2]


def test_percentiles_equal_the_vectors() -> None:
    for case in json.loads(shared_path("vectors/kmeans.json").read_text())["percentile"]:
        assert hazen_percentile(np.array(case["values"]), float(case["p"])) == pytest.approx(case["hazen"], abs=1e-12)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"atr_length": 0}, "at least 1"),
        ({"memory": 0}, "at least 1"),
        ({"step": 0.0}, "step must be positive"),
        ({"min_factor": 4.0}, "min_factor <= max_factor"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SuperTrendParams(**wrong)


def test_a_cache_folder_that_cannot_be_written_costs_time_only() -> None:
    """A read-only install: no folder to cache in, yet the same readings."""
    program = """if True:
        from numba.core import caching
        def refuse(self):
            raise OSError("read-only file system")
        caching._CacheLocator.ensure_cache_path = refuse
        import numpy as np
        from app.indicators.atr import _advance, wilder_atr
        one = np.array([1.0, 3.0])
        print(type(_advance._cache).__name__, wilder_atr(one + 1, one, one, 2)[1])
    """
    root = Path(__file__).resolve().parents[2]
    ran = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False, timeout=60)
    assert ran.stdout.split() == ["NullCache", "2.0"], ran.stderr
