"""Cumulative volume delta: the vectors, candles in place of trades, and what is not told while trades are missing."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shared import shared_path

from app.indicators.volume_delta import DAY_MS, MINUTE_MS, VolumeDelta

START = 1_735_689_600_000  # midnight, UTC
NEAR = 1e-9


@pytest.fixture(scope="module")
def vectors() -> Any:
    return json.loads(shared_path("vectors/cvd.json").read_text())


def take(delta: VolumeDelta, trade: dict[str, Any]) -> None:
    delta.trade(trade["a"], trade["T"], float(trade["q"]), is_sell=trade["m"])


def test_the_vectors_running_and_by_the_bar(vectors: Any) -> None:
    delta = VolumeDelta()
    running = []
    for trade in vectors["trades"]:
        take(delta, trade)
        running.append(delta.cvd)
    assert running == pytest.approx(vectors["running_cvd"], abs=NEAR)
    for minutes in (1, 3):
        for bar in vectors[f"bars_{minutes}m"]:
            delta = VolumeDelta()
            end_ms = bar["open"] + minutes * MINUTE_MS
            known = [trade for trade in vectors["trades"] if trade["T"] < end_ms]
            for trade in known:
                take(delta, trade)
            delta.trade(known[-1]["a"] + 1, end_ms - 1, 0.0, is_sell=False)  # the clock at the bar's end
            assert delta.window(60 * minutes) == pytest.approx(bar["delta"], abs=NEAR)
            assert delta.cvd == pytest.approx(bar["cvd"], abs=NEAR)


def test_candles_say_the_same_as_trades(vectors: Any) -> None:
    by_candle = VolumeDelta()
    for bar in vectors["bars_1m"]:
        by_candle.settle(bar["open"], 2 * bar["buy"] - (bar["buy"] + bar["sell"]))
    assert by_candle.cvd == pytest.approx(vectors["running_cvd"][-1], abs=NEAR)
    assert by_candle.window(900) == pytest.approx(vectors["running_cvd"][-1], abs=NEAR)


def warmed_up(minutes: int = 60, until_ms: int = START + 12 * 3_600_000, each: float = 2.0) -> VolumeDelta:
    delta = VolumeDelta()
    for k in range(minutes, 0, -1):
        delta.settle(until_ms - k * MINUTE_MS, each)
    return delta


NOON = START + 12 * 3_600_000


def test_nothing_is_told_until_the_first_minute_of_trades_is_settled() -> None:
    delta = warmed_up()
    assert delta.reading() is None, "no trade yet"
    delta.trade(10, NOON + 20_000, 5.0, is_sell=False)
    assert delta.reading() is None, "the trades before the first one heard are not known"
    delta.settle(NOON, 1.5)
    delta.trade(11, NOON + 61_000, 0.5, is_sell=True)
    flow = delta.reading()
    assert flow is not None
    assert flow.cvd == pytest.approx(60 * 2.0 + 1.5 - 0.5)
    assert flow.session_cvd == pytest.approx(flow.cvd)
    assert flow.typical_1m == pytest.approx((59 * 2.0 + 1.5) / 60)
    assert (flow.delta_15m, flow.time_ms) == (pytest.approx(13 * 2.0 + 2.0 * 58 / 60 + 1.5 - 0.5), NOON + 61_000)


def test_missing_trades_silence_it_until_the_candle_makes_them_good() -> None:
    delta = warmed_up()
    delta.trade(1, NOON, 1.0, is_sell=False)
    delta.settle(NOON, 1.0)
    delta.trade(2, NOON + MINUTE_MS, 1.0, is_sell=False)
    assert delta.reading() is not None
    delta.trade(5, NOON + MINUTE_MS + 30_000, 1.0, is_sell=False)
    assert delta.reading() is None
    delta.settle(NOON + MINUTE_MS, 9.0)
    delta.trade(6, NOON + 2 * MINUTE_MS, 1.0, is_sell=False)
    flow = delta.reading()
    assert flow is not None
    assert flow.cvd == pytest.approx(60 * 2.0 + 1.0 + 9.0 + 1.0), "the candle's word stands, not the two trades heard"


def test_a_trade_twice_or_one_of_a_settled_minute_counts_once() -> None:
    delta = warmed_up()
    delta.trade(1, NOON, 1.0, is_sell=False)
    delta.trade(1, NOON, 1.0, is_sell=False)
    assert delta.cvd == 121.0
    delta.settle(NOON, 1.0)
    delta.trade(2, NOON + 59_999, 4.0, is_sell=False)
    delta.settle(NOON, 1.0)
    assert delta.cvd == 121.0


def test_the_session_begins_at_midnight() -> None:
    delta = warmed_up(minutes=30, until_ms=START + DAY_MS)
    delta.settle(START + DAY_MS, 1.0)
    delta.trade(1, START + DAY_MS + 10, 5.0, is_sell=False)
    delta.trade(2, START + DAY_MS + MINUTE_MS, 0.25, is_sell=True)
    flow = delta.reading()
    assert flow is not None
    assert (flow.session_cvd, flow.cvd) == (0.75, pytest.approx(60.75))
    quiet = warmed_up(minutes=30, until_ms=START + DAY_MS)
    quiet.trade(1, START + DAY_MS - 1, 5.0, is_sell=False)
    quiet.trade(2, START + DAY_MS + 5, 3.0, is_sell=False)
    told = quiet.reading()
    assert told is not None
    assert told.session_cvd == 3.0, "the first minute of the day is not settled yet"


trades = st.lists(st.tuples(st.integers(0, 1_500_000), st.integers(1, 1_000), st.booleans()), min_size=1, max_size=80).map(
    lambda rows: sorted(rows)
)


@given(trades)
def test_windows_are_the_sums_of_their_seconds(rows: list[tuple[int, int, bool]]) -> None:
    """However far apart the trades are, and settled or not."""
    by_trade, settled = VolumeDelta(), VolumeDelta()
    for number, (at_ms, units, is_sell) in enumerate(rows, start=1):
        for delta in (by_trade, settled):
            delta.trade(number, NOON + at_ms, units / 8, is_sell=is_sell)
    newest_s = (NOON + rows[-1][0]) // 1000
    minutes = sorted({(NOON + at_ms) // MINUTE_MS * MINUTE_MS for at_ms, _, _ in rows})
    for minute in minutes:
        settled.settle(
            minute, sum(u / 8 * (-1 if s else 1) for at, u, s in rows if (NOON + at) // MINUTE_MS * MINUTE_MS == minute)
        )
    for seconds in (60, 180, 900):
        wanted = sum(u / 8 * (-1 if s else 1) for at, u, s in rows if (NOON + at) // 1000 > newest_s - seconds)
        assert by_trade.window(seconds) == wanted
    end_s = (minutes[-1] + MINUTE_MS) // 1000 - 1
    whole = sum(u / 8 * (-1 if s else 1) for at, u, s in rows if (NOON + at) // 1000 > end_s - 900)
    assert settled.window(900) == pytest.approx(whole)
    assert settled.cvd == by_trade.cvd
