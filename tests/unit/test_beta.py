"""Rolling β, correlation and hedge ratio: vectors, the live rule, and agreement of the two forms."""

import csv
import json
from functools import cache

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from shared import shared_path

from app.domain.market import MINUTE_MS
from app.indicators.beta import live_slopes, log_returns, rolling_slopes, simple_returns, slopes

Floats = npt.NDArray[np.float64]
START = 1_735_689_600_000


@cache
def columns() -> dict[str, Floats]:
    with shared_path("vectors/beta.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {key: np.array([float(row[key] or "nan") for row in rows]) for key in rows[0]}


def book(closes: Floats, start: int = START) -> dict[int, float]:
    return {start + k * MINUTE_MS: float(close) for k, close in enumerate(closes)}


def walk(seed: int, minutes: int, beta: float = 1.2) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    base = rng.normal(0, 1e-3, minutes)
    other = beta * base + rng.normal(0, 5e-4, minutes)
    return 85_000 * np.exp(np.cumsum(base)), 3_000 * np.exp(np.cumsum(other))


@pytest.mark.parametrize("kind", ["log", "simple"])
@pytest.mark.parametrize("window", [30, 60, 90])
@pytest.mark.parametrize("coin", ["eth", "sol"])
def test_rolling_equals_the_vectors(coin: str, window: int, kind: str) -> None:
    table = columns()
    returns_of = log_returns if kind == "log" else simple_returns
    found = rolling_slopes(returns_of(table["btc"]), returns_of(table[coin]), window)
    for name, values in (
        ("beta", found.beta),
        ("corr", found.correlation),
        ("h_minvar", found.hedge_ratio_min_variance),
    ):
        expected = table[f"{coin}_{name}_{window}_{kind}"]
        assert np.isnan(expected[:window]).all(), "no value with fewer than a window of returns"
        assert values == pytest.approx(expected[window:], abs=1e-9, rel=0)


def test_by_hand() -> None:
    vector = json.loads(shared_path("vectors/beta_hand.json").read_text())
    base, alt = simple_returns(np.array(vector["base"])), simple_returns(np.array(vector["alt"]))
    assert base == pytest.approx(vector["returns_base"])
    found = slopes(base, alt)
    assert float(found.beta) == pytest.approx(vector["expected"]["beta"], abs=1e-12)
    assert float(found.correlation) == pytest.approx(vector["expected"]["corr"], abs=1e-12)
    assert float(found.hedge_ratio_min_variance) == pytest.approx(vector["expected"]["h_minvar"], abs=1e-12)


@given(seed=st.integers(0, 2**32 - 1), window=st.sampled_from([30, 60, 90]))
def test_the_live_form_equals_the_rolling_one(seed: int, window: int) -> None:
    base, other = walk(seed, window + 40)
    rolling = rolling_slopes(log_returns(base), log_returns(other), window)
    live = live_slopes(book(base), book(other), START + (base.size - 1) * MINUTE_MS, window)
    assert live is not None
    assert live.returns == window
    assert live.close_ms == START + base.size * MINUTE_MS
    assert live.beta == pytest.approx(rolling.beta[-1], rel=1e-12)
    assert live.correlation == pytest.approx(rolling.correlation[-1], rel=1e-12)
    assert live.hedge_ratio_min_variance == pytest.approx(rolling.hedge_ratio_min_variance[-1], rel=1e-12)


@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(0.01, 100))
def test_slopes_hang_together(seed: int, scale: float) -> None:
    """β × hedge ratio = correlation², |correlation| ≤ 1, and the price level does not matter."""
    base, other = walk(seed, 61)
    found, scaled = (slopes(log_returns(base), log_returns(other * factor)) for factor in (1.0, scale))
    assert float(found.beta * found.hedge_ratio_min_variance) == pytest.approx(float(found.correlation) ** 2)
    assert abs(float(found.correlation)) <= 1
    assert float(scaled.beta) == pytest.approx(float(found.beta), rel=1e-6)


@given(missing=st.sets(st.integers(1, 59), max_size=8))
def test_ninety_percent_of_the_minutes_are_enough(missing: set[int]) -> None:
    """A missing minute costs the two returns that touch it."""
    base, other = walk(1, 61)
    holes = {k: v for k, v in book(other).items() if (k - START) // MINUTE_MS not in missing}
    lost = {minute + step for minute in missing for step in (0, 1)}
    live = live_slopes(book(base), holes, START + 60 * MINUTE_MS, 60)
    if len(lost) <= 6:
        assert live is not None
        assert live.returns == 60 - len(lost)
    else:
        assert live is None


def test_no_value_without_the_newest_minute() -> None:
    base, other = walk(1, 61)
    late = book(other)
    del late[START + 60 * MINUTE_MS]
    assert live_slopes(book(base), late, START + 60 * MINUTE_MS, 60) is None


@given(price=st.floats(1e-3, 1e6))
def test_no_value_when_one_market_stands_still(price: float) -> None:
    base, _ = walk(1, 61)
    assume(price > 0)
    still = np.full(61, price)
    newest = START + 60 * MINUTE_MS
    assert live_slopes(book(base), book(still), newest, 60) is None
    assert live_slopes(book(still), book(base), newest, 60) is None
    assert np.isnan(rolling_slopes(log_returns(base), log_returns(still), 60).beta).all()


def test_too_short_a_series_is_refused() -> None:
    with pytest.raises(ValueError, match="60 returns wanted of 10"):
        rolling_slopes(np.zeros(10), np.zeros(10), 60)
