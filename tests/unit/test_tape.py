"""Tapes: the path inside a minute, the synthetic market's statistics, and what a recorded folder may hold."""

import gzip
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shared import shared_path
from simulated import START_MS, d

from app.domain.market import MINUTE_MS
from app.simulator.contracts import BTC, CONTRACTS
from app.simulator.tape import Candle, Tape, TapeError, bar_at, bars, merge, prices_at, step_times, ticks
from app.simulator.tape_recorded import load_funding, load_tape
from app.simulator.tape_synthetic import COINS, Segment, SyntheticTape, parse_script
from app.simulator.venue import Venue

CANDLE = Candle(START_MS, d("100.0"), d("110.0"), d("95.0"), d("102.0"), d("6.000"))


def test_the_path_visits_the_nearer_extreme_first() -> None:
    assert CANDLE.path == (d(100), d(95), d(110), d(102))
    flipped = Candle(START_MS, d("100.0"), d("101.0"), d("95.0"), d("102.0"), d(1))
    assert flipped.path == (d(100), d(101), d(95), d(102))


@pytest.mark.parametrize(
    ("offset", "price"),
    [(0, "100"), (10_000, "97.5"), (20_000, "95"), (30_000, "102.5"), (40_000, "110"), (59_999, "102")],
)
def test_the_price_runs_straight_between_waypoints(offset: int, price: str) -> None:
    assert CANDLE.price_at(offset, BTC.instrument) == d(price)


ticks_of_price = st.integers(8_000, 12_000).map(lambda t: Decimal(t) / 10)


@st.composite
def candles(draw: st.DrawFn) -> Candle:
    four = sorted(draw(st.tuples(*[ticks_of_price] * 4)))
    open_, close = draw(st.permutations(four[1:3]))
    return Candle(START_MS, open_, four[3], four[0], close, Decimal(draw(st.integers(0, 9_999))) / 1000)


@given(candles(), st.sampled_from([250, 1_000, 7_000, 60_000]))
def test_any_stepping_through_the_waypoints_sees_the_same_candle(candle: Candle, step_ms: int) -> None:
    seen = [candle.price_at(0, BTC.instrument)]
    volume, before = Decimal(0), START_MS
    for at in step_times(START_MS, START_MS + MINUTE_MS - 1, step_ms):
        seen.append(candle.price_at(at - START_MS, BTC.instrument))
        volume += candle.volume_until(at - START_MS, BTC.instrument) - candle.volume_until(before - START_MS, BTC.instrument)
        before = at

    assert Candle(START_MS, seen[0], max(seen), min(seen), seen[-1], volume) == candle


@given(candles(), st.integers(0, 59_998))
def test_a_forming_candle_stays_within_the_whole(candle: Candle, offset: int) -> None:
    forming = candle.until(offset, BTC.instrument)

    assert forming.open == candle.open
    assert candle.low <= forming.low <= forming.close <= forming.high <= candle.high
    assert forming.volume <= candle.volume


def test_steps_meet_every_waypoint_and_the_end() -> None:
    assert list(step_times(START_MS + 15_000, START_MS + 60_500, 30_000)) == [
        START_MS + offset for offset in (20_000, 30_000, 40_000, 59_999, 60_000, 60_500)
    ]


def play(tape: Tape, venue: Venue, minutes: int, step_ms: int) -> None:
    end = venue.now_ms + minutes * MINUTE_MS
    for at in step_times(venue.now_ms, end, step_ms):
        venue.apply(ticks(tape, venue.now_ms, at), at)


# -- synthetic ------------------------------------------------------------------------------------------------------------


def closes(tape: SyntheticTape, symbol: str, minutes: int) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    times = range(tape.start_ms - MINUTE_MS, tape.start_ms + minutes * MINUTE_MS, MINUTE_MS)
    return np.array([float(tape.candle(symbol, at).close) for at in times])


def test_it_starts_at_the_given_prices_after_a_history() -> None:
    tape = SyntheticTape(3, START_MS, history_minutes=5_000)

    assert prices_at(tape, START_MS) == {coin.symbol: Decimal(coin.price) for coin in COINS}
    assert tape.first_ms == START_MS - 5_000 * MINUTE_MS
    three_minutes = bars(tape, "BTCUSDT", 3 * MINUTE_MS, 1_500, START_MS, None, None)
    assert len(three_minutes) == 1_500
    assert three_minutes[-1].open_ms % (3 * MINUTE_MS) == 0


def test_the_same_seed_is_the_same_market_whenever_it_starts() -> None:
    first, later, other = SyntheticTape(3, START_MS), SyntheticTape(3, START_MS + MINUTE_MS), SyntheticTape(4, START_MS)
    minutes = range(-100, 100)

    def course(tape: SyntheticTape) -> list[tuple[Decimal, ...]]:
        found = [tape.candle("ETHUSDT", tape.start_ms + minute * MINUTE_MS) for minute in minutes]
        return [(c.open, c.high, c.low, c.close, c.volume) for c in found]

    assert course(first) == course(later)
    assert course(first) != course(other)


def test_coins_move_together_by_their_betas() -> None:
    tape = SyntheticTape(5, START_MS)
    returns = {coin.symbol: np.diff(np.log(closes(tape, coin.symbol, 4_000))) for coin in COINS}
    market = returns["BTCUSDT"]

    assert 0.0002 < market.std() < 0.0008
    for coin in COINS[1:]:
        covariance = np.cov(market, returns[coin.symbol])
        assert covariance[0, 1] / covariance[0, 0] == pytest.approx(coin.beta, abs=0.1)
        assert np.corrcoef(market, returns[coin.symbol])[0, 1] == pytest.approx(coin.correlation, abs=0.05)


def test_candles_are_sound_and_join() -> None:
    tape = SyntheticTape(6, START_MS)
    times = range(tape.first_ms, START_MS + 200 * MINUTE_MS, MINUTE_MS)
    for coin in COINS:
        found = [tape.candle(coin.symbol, at) for at in times]
        assert all(c.low <= min(c.open, c.close) <= max(c.open, c.close) <= c.high for c in found)
        assert all(c.volume > 0 for c in found)
        assert all(before.close == after.open for before, after in pairwise(found))


def test_a_script_sets_btcs_course() -> None:
    tape = SyntheticTape(7, START_MS, script=[Segment(3, 0.4), Segment(4, 0.3), Segment(5, -0.6)])

    prices = closes(tape, "BTCUSDT", 12)

    assert prices[3] / prices[0] == pytest.approx(1.004, abs=0.001)
    assert prices[7] / prices[3] == pytest.approx(1.003, abs=0.001)
    assert prices[12] / prices[7] == pytest.approx(0.994, abs=0.001)


def test_a_script_given_later_starts_with_the_next_unseen_minute() -> None:
    tape = SyntheticTape(7, START_MS)
    known = [tape.candle("BTCUSDT", START_MS + minute * MINUTE_MS) for minute in range(5)]

    begins = tape.script(parse_script("2:1.0"))

    assert begins == START_MS + 5 * MINUTE_MS
    assert [tape.candle("BTCUSDT", START_MS + minute * MINUTE_MS) for minute in range(5)] == known
    after = tape.candle("BTCUSDT", begins + MINUTE_MS).close
    assert float(after / known[-1].close) == pytest.approx(1.01, abs=0.002)


@pytest.mark.parametrize("text", ["3", "3:x", "0:1", "2:50", "1.5:1"])
def test_a_script_that_makes_no_sense_is_named(text: str) -> None:
    with pytest.raises(TapeError, match="script: "):
        parse_script(text)


def test_a_venue_played_finely_or_coarsely_ends_alike() -> None:
    venues = []
    for step_ms in (250, 60_000):
        tape = SyntheticTape(8, START_MS)
        venue = Venue(prices_at(tape, START_MS), START_MS)
        play(tape, venue, 10, step_ms)
        venues.append([venue.last_price(symbol) for symbol in venue.symbols])

    assert venues[0] == venues[1]


def test_longer_bars_are_merged_minutes() -> None:
    tape = SyntheticTape(9, START_MS)
    quarter = START_MS - START_MS % (15 * MINUTE_MS)

    whole = bar_at(tape, "SOLUSDT", 15 * MINUTE_MS, quarter, quarter + 15 * MINUTE_MS)

    minutes = [tape.candle("SOLUSDT", quarter + i * MINUTE_MS) for i in range(15)]
    assert replace(whole, bought=None) == merge(minutes, quarter)
    bought = [minute.bought_until(MINUTE_MS, CONTRACTS["SOLUSDT"].instrument) for minute in minutes]
    assert whole.bought == sum(bought)
    assert all(minute.volume / 4 - 1 <= part <= minute.volume * 3 / 4 for minute, part in zip(minutes, bought, strict=True))
    ranged = bars(tape, "SOLUSDT", MINUTE_MS, 3, START_MS, quarter - 90 * MINUTE_MS, None)
    assert [bar.open_ms for bar in ranged] == [quarter + (i - 90) * MINUTE_MS for i in range(3)]


# -- recorded -------------------------------------------------------------------------------------------------------------

HEADER = "open_time,open,high,low,close,volume"


def write(folder: Path, rows: list[str], name: str = "BTCUSDT-1m-x.csv", header: str = HEADER) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("\n".join([header, *rows, ""]))
    return folder


def row(minute: int, prices: str = "100,101,99,100", volume: str = "1") -> str:
    return f"{START_MS + minute * MINUTE_MS},{prices},{volume}"


def test_a_folder_of_candles_becomes_a_tape(tmp_path: Path) -> None:
    write(tmp_path, [row(i) for i in range(10)])
    write(tmp_path, [row(i, "10.001,11,9,10") for i in range(2, 8)], "SOLUSDT-1m-a.csv")
    second = "\n".join([HEADER, *(row(i, "10,11,9,10") for i in range(8, 12))])
    (tmp_path / "SOLUSDT-1m-b.csv.gz").write_bytes(gzip.compress(second.encode()))

    tape = load_tape(tmp_path, history_minutes=3)

    assert tape.symbols == ("BTCUSDT", "SOLUSDT")
    assert (tape.first_ms, tape.start_ms) == (START_MS + 2 * MINUTE_MS, START_MS + 5 * MINUTE_MS)
    assert tape.end_ms == START_MS + 10 * MINUTE_MS
    assert tape.candle("SOLUSDT", START_MS + 2 * MINUTE_MS).open == d("10")  # rounded to today's tick
    venue = Venue(prices_at(tape, tape.start_ms), tape.start_ms)
    play(tape, venue, 4, 60_000)
    assert venue.last_price("SOLUSDT") == d("10")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row(0), "17,1,1,1,1,1"], "row 3: open_time: 17 does not start a minute"),
        ([row(0), row(2)], "row 3: open_time: "),
        ([row(0), row(0)], "row 3: open_time: "),
        ([row(0, "100,nine,99,100")], "row 2: high: 'nine' is not a number"),
        ([row(0, "100,101,inf,100")], "row 2: low: 'inf' is not finite"),
        ([row(0, "100,99,98,100")], "row 2: low: "),
        ([row(0, volume="-1")], "row 2: volume: -1 is negative"),
        ([f"{START_MS},1,2"], "row 2: low: '' is not a number"),
        ([row(0)], "only 1 minutes in common"),
    ],
)
def test_a_bad_file_is_named_with_row_and_column(tmp_path: Path, rows: list[str], message: str) -> None:
    with pytest.raises(TapeError, match=message) as caught:
        load_tape(write(tmp_path, rows), history_minutes=3)
    assert "\n" not in str(caught.value)


def test_folders_and_headers_that_do_not_fit_are_named(tmp_path: Path) -> None:
    with pytest.raises(TapeError, match="no such folder"):
        load_tape(tmp_path / "nowhere")
    with pytest.raises(TapeError, match="no candles"):
        load_tape(tmp_path)
    (tmp_path / "BTCUSDT-1m-x.csv.gz").write_bytes(b"not gzip")
    with pytest.raises(TapeError, match=r"BTCUSDT-1m-x\.csv\.gz: cannot be read"):
        load_tape(tmp_path)
    (tmp_path / "BTCUSDT-1m-x.csv.gz").unlink()
    with pytest.raises(TapeError, match="row 1: column volume is missing"):
        load_tape(write(tmp_path, [], header="open_time,open,high,low,close"))


def test_funding_beside_the_candles_is_used(tmp_path: Path) -> None:
    write(tmp_path / "funding", ["1746374400002,0.00003745"], "BTCUSDT-funding-x.csv", "funding_time,funding_rate")

    funding = load_funding(tmp_path / "klines")

    assert funding.rate("BTCUSDT", 1746374400000) == d("0.00003745")
    assert funding.rate("ETHUSDT", 1746374400000) == d("0.0001")


@settings(max_examples=5)
@given(st.integers(0, 30_000))
def test_a_recorded_month_loads(minute: int) -> None:
    folder = shared_path("data/klines")
    tape = _month(folder)
    at = tape.start_ms + minute * MINUTE_MS

    assert tape.symbols == ("BTCUSDT", "ETHUSDT", "SOLUSDT")
    for symbol in tape.symbols:
        candle = tape.candle(symbol, at)
        assert candle.open_ms == at
        assert candle.low <= candle.open <= candle.high


_loaded: dict[Path, Tape] = {}


def _month(folder: Path) -> Tape:
    if folder not in _loaded:
        _loaded[folder] = load_tape(folder)
    return _loaded[folder]
