"""Hurst exponent and volatility regime: the vectors, what too little history says, and the borders."""

import json

import numpy as np
import pytest
from shared import shared_path

from app.indicators.hurst import SIZES, hurst, regime_of
from app.indicators.regime import RegimeWindow

CASES = json.loads(shared_path("vectors/hurst.json").read_text())


@pytest.mark.parametrize("case", CASES["cases"], ids=lambda case: str(case["name"]))
def test_hurst_vectors(case: dict[str, object]) -> None:
    assert tuple(CASES["sizes"]) == SIZES
    returns = np.array(case["returns"], dtype=float)
    assert hurst(returns) == pytest.approx(case["dfa"], abs=1e-12)
    assert hurst(returns[-256:]) == pytest.approx(case["dfa_last256"], abs=1e-12)


def test_hurst_needs_returns_that_move() -> None:
    assert hurst(np.zeros(512)) is None
    assert hurst(np.full(512, 1e-3)) is None
    with pytest.raises(ValueError, match="100 returns, but 256 are needed"):
        hurst(np.ones(100))


@pytest.mark.parametrize(
    ("exponent", "regime"), [(0.62, "trending"), (0.61, "neutral"), (0.43, "neutral"), (0.42, "mean_reverting")]
)
def test_the_borders_are_those_of_white_noise(exponent: float, regime: str) -> None:
    assert regime_of(exponent) == regime


def closes(returns: np.ndarray) -> list[float]:
    return [float(value) for value in 100 * np.exp(np.cumsum(np.concatenate([[0.0], returns])))]


def test_each_part_waits_for_the_minutes_it_needs() -> None:
    returns = np.random.default_rng(5).normal(0, 1e-4, 600)
    window = RegimeWindow()
    known: list[tuple[bool, bool, bool]] = []
    for close in closes(returns):
        window.add(close)
        reading = window.reading()
        known.append((reading.volatility is not None, reading.volatility_ratio is not None, reading.hurst is not None))
    assert [column.index(True) for column in zip(*known, strict=True)] == [60, 60 + 359, 512]
    assert reading.volatility == pytest.approx(returns[-60:].std(ddof=1), rel=1e-6)
    assert reading.hurst == pytest.approx(hurst(returns[-512:]), rel=1e-6)
    assert reading.regime == regime_of(reading.hurst or 0.0)


def test_an_hour_three_times_as_wild_shows_in_the_ratio() -> None:
    quiet = np.tile([1e-4, -1e-4], 720)
    window = RegimeWindow()
    for close in closes(np.concatenate([quiet, 3 * quiet[:60]])):
        window.add(close)
    assert window.reading().volatility_ratio == pytest.approx(3.0, rel=1e-3)


def test_a_market_that_stands_still_has_no_ratio() -> None:
    window = RegimeWindow()
    for _ in range(1_000):
        window.add(100.0)
    reading = window.reading()
    assert (reading.hurst, reading.regime, reading.volatility, reading.volatility_ratio) == (None, None, 0.0, None)


def test_the_window_forgets() -> None:
    returns = np.random.default_rng(6).normal(0, 1e-4, 2_000)
    whole, recent = RegimeWindow(), RegimeWindow()
    prices = closes(returns)
    for close in prices:
        whole.add(close)
    for close in prices[-1_500:]:
        recent.add(close)
    assert whole.reading() == recent.reading()
