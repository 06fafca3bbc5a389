"""A recorded market: 1-minute candles from CSV files, with the funding rates of the same days when they are there.

``DIR`` holds ``{SYMBOL}-1m-*.csv`` or ``.csv.gz`` with the columns open_time (Unix ms), open, high, low, close, volume;
``DIR`` or ``DIR/../funding`` may hold ``{SYMBOL}-funding-*.csv`` with funding_time (Unix ms) and funding_rate.
Files of symbols that the simulator does not list are left alone; prices finer than today's tick are rounded to it.
"""

import csv
import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

from app.domain.instrument import round_tick
from app.domain.market import MINUTE_MS
from app.simulator.contracts import CONTRACTS
from app.simulator.tape import Candle, TapeError
from app.simulator.venue_state import FUNDING_INTERVAL_MS, ConstantFunding

CANDLE_COLUMNS = ("open_time", "open", "high", "low", "close", "volume")
FUNDING_COLUMNS = ("funding_time", "funding_rate")


def _rows(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, list[Decimal]]]:
    """(row number, values in the sequence of ``columns``); row 1 is the header. Raises TapeError."""
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8", newline="") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            missing = [column for column in columns if column not in header]
            if missing:
                raise TapeError(f"{path.name}: row 1: column {missing[0]} is missing; expected {','.join(columns)}")
            places = [header.index(column) for column in columns]
            for number, row in enumerate(reader, start=2):
                yield number, [_value(path, number, column, row, at) for column, at in zip(columns, places, strict=True)]
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise TapeError(f"{path.name}: cannot be read: {error}") from None


def _value(path: Path, number: int, column: str, row: list[str], at: int) -> Decimal:
    text = row[at] if at < len(row) else ""
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise TapeError(f"{path.name}: row {number}: {column}: {text!r} is not a number") from None
    if not value.is_finite():
        raise TapeError(f"{path.name}: row {number}: {column}: {text!r} is not finite")
    return value


def _candles(path: Path, symbol: str) -> Iterator[Candle]:
    tick, before = CONTRACTS[symbol].instrument.tick, None
    for number, (time, open_, high, low, close, volume) in _rows(path, CANDLE_COLUMNS):
        where, open_ms = f"{path.name}: row {number}", int(time)
        if open_ms % MINUTE_MS:
            raise TapeError(f"{where}: open_time: {open_ms} does not start a minute")
        if before is not None and open_ms != before + MINUTE_MS:
            raise TapeError(f"{where}: open_time: {open_ms} follows {before}; minutes must be in sequence without gaps")
        if not low <= min(open_, close) <= max(open_, close) <= high or low <= 0:
            raise TapeError(f"{where}: low: 0 < low ≤ open, close ≤ high does not hold")
        if volume < 0:
            raise TapeError(f"{where}: volume: {volume} is negative")
        before = open_ms
        open_, high, low, close = (p if not p % tick else round_tick(p, tick) for p in (open_, high, low, close))
        yield Candle(open_ms, open_, high, low, close, volume)


class RecordedTape:
    """The minutes all symbols have in common; the first ``history_minutes`` of them are the past at the start."""

    def __init__(self, candles: dict[str, list[Candle]], history_minutes: int) -> None:
        self.symbols = tuple(candles)
        self._candles = candles
        self.first_ms = max(rows[0].open_ms for rows in candles.values())
        self.end_ms = min(rows[-1].open_ms for rows in candles.values()) + MINUTE_MS
        self.start_ms = self.first_ms + history_minutes * MINUTE_MS
        if self.start_ms >= self.end_ms:
            minutes = max(0, (self.end_ms - self.first_ms) // MINUTE_MS)
            raise TapeError(f"only {minutes} minutes in common; more than the {history_minutes} of history are needed")

    def candle(self, symbol: str, open_ms: int) -> Candle:
        rows = self._candles[symbol]
        return rows[(open_ms - rows[0].open_ms) // MINUTE_MS]


@dataclass(frozen=True, slots=True)
class RecordedFunding:
    """Rates by symbol and settlement; where none is recorded, the constant one."""

    rates: dict[tuple[str, int], Decimal]
    otherwise: ConstantFunding = ConstantFunding()  # noqa: RUF009 - frozen

    def rate(self, symbol: str, settlement_ms: int) -> Decimal:
        recorded = self.rates.get((symbol, settlement_ms))
        return self.otherwise.rate(symbol, settlement_ms) if recorded is None else recorded


def _files(folder: Path, symbol: str, kind: str) -> list[Path]:
    return sorted(path for path in folder.glob(f"{symbol}-{kind}-*.csv*") if path.suffix in (".csv", ".gz"))


def load_tape(folder: Path, history_minutes: int = 5_000) -> RecordedTape:
    """Raises TapeError, one line."""
    if not folder.is_dir():
        raise TapeError(f"{folder}: no such folder")
    candles = {}
    for symbol in CONTRACTS:
        rows: list[Candle] = []
        for path in _files(folder, symbol, "1m"):
            more = list(_candles(path, symbol))
            if rows and more and more[0].open_ms != rows[-1].open_ms + MINUTE_MS:
                raise TapeError(f"{path.name}: row 2: open_time: does not follow the file before it")
            rows += more
        if rows:
            candles[symbol] = rows
    if not candles:
        raise TapeError(f"{folder}: no candles; expected files such as BTCUSDT-1m-2025-05.csv.gz")
    return RecordedTape(candles, history_minutes)


def load_funding(folder: Path) -> RecordedFunding:
    """From ``folder`` or its neighbour ``funding``. Raises TapeError."""
    rates = {}
    for symbol in CONTRACTS:
        for place in (folder, folder.parent / "funding"):
            for path in _files(place, symbol, "funding"):
                for _, (time, rate) in _rows(path, FUNDING_COLUMNS):
                    settlement = round(int(time) / FUNDING_INTERVAL_MS) * FUNDING_INTERVAL_MS
                    rates[symbol, settlement] = rate
    return RecordedFunding(rates)
