"""Wilder's ATR: the hand vector, the recorded column, and one compiled step for both forms."""

import csv
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shared import shared_path

from app.indicators.atr import WilderAtr, wilder_atr

HAND_HIGH = np.array([10, 11, 12, 10.4, 13, 12.6])
HAND_LOW = np.array([8, 9, 10, 9.0, 9.5, 12.0])
HAND_CLOSE = np.array([9, 10.5, 10.2, 9.1, 12.5, 12.1])


def test_by_hand() -> None:
    """True ranges 2, 2, 2, 1.4, 3.9, 0.6; mean of three, then (2 × previous + new) / 3."""
    atr = wilder_atr(HAND_HIGH, HAND_LOW, HAND_CLOSE, 3)
    assert np.isnan(atr[:2]).all()
    assert atr[2:] == pytest.approx([2.0, (2 * 2 + 1.4) / 3, (2 * 1.8 + 3.9) / 3, (2 * 2.5 + 0.6) / 3])


def test_hand_vector() -> None:
    vector = json.loads(shared_path("vectors/atr_hand.json").read_text())
    high, low, close = (np.array([float(row[name]) for row in vector["rows"]]) for name in ("high", "low", "close"))
    expected = [np.nan if value is None else value for value in vector["atr"]]
    assert wilder_atr(high, low, close, vector["n"]) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("market", ["trending", "ranging"])
@pytest.mark.parametrize(("column", "length"), [("atr", 10), ("atr14", 14)])
def test_recorded_columns(market: str, column: str, length: int) -> None:
    with shared_path(f"vectors/bars_{market}.csv").open() as file:
        bars = list(csv.DictReader(file))
    with shared_path(f"vectors/sta_{market}.csv").open() as file:
        expected = np.array([float(row[column] or "nan") for row in csv.DictReader(file)])
    high, low, close = (np.array([float(bar[name]) for bar in bars]) for name in ("high", "low", "close"))
    atr = wilder_atr(high, low, close, length)
    assert np.count_nonzero(np.isnan(atr)) == length - 1
    assert atr == pytest.approx(expected, abs=1e-6, rel=0, nan_ok=True)


@given(
    closes=st.lists(st.floats(1, 1e6), min_size=1, max_size=60),
    spans=st.lists(st.floats(0, 100), min_size=60, max_size=60),
    length=st.integers(1, 20),
)
def test_one_at_a_time_equals_all_at_once(closes: list[float], spans: list[float], length: int) -> None:
    close = np.array(closes)
    high, low = close + np.array(spans[: close.size]), close - np.array(spans[: close.size]) / 2
    step = WilderAtr(length)
    one_by_one = [step.update(h, lo, c) for h, lo, c in zip(high, low, close, strict=True)]
    assert [None if np.isnan(v) else v for v in wilder_atr(high, low, close, length)] == one_by_one
    assert all(value is None or value >= 0 for value in one_by_one)


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="length must be at least 1"):
        WilderAtr(0)
    with pytest.raises(ValueError, match="equally long"):
        wilder_atr(HAND_HIGH, HAND_LOW[:3], HAND_CLOSE, 3)
