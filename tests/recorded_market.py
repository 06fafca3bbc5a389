"""Small recorded markets for replays: files as the simulator reads them, made from a seeded synthetic market."""

import gzip
import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from app.domain.market import MINUTE_MS
from app.domain.rules import TradingRules
from app.replay.session import stream_config
from app.replay.stream import history_minutes
from app.simulator.tape import Candle
from app.simulator.tape_synthetic import SyntheticTape, parse_script

START_MS = 1_750_000_000_000 - 1_750_000_000_000 % (15 * MINUTE_MS)  # where trading starts
HISTORY = history_minutes(stream_config(TradingRules()))


def at(minute: int) -> int:
    """The start of that minute of trading."""
    return START_MS + minute * MINUTE_MS


def write_market(
    folder: Path,
    minutes: int,
    *,
    seed: int = 7,
    script: str = "",
    instead: Mapping[tuple[str, int], tuple[str, str, str, str]] | None = None,
) -> Path:
    """Warm-up history and so many minutes of trading. ``script`` steers BTC from the start of trading; ``instead`` replaces
    open, high, low and close of (symbol, minute of trading)."""
    folder.mkdir(parents=True, exist_ok=True)
    tape = SyntheticTape(seed, START_MS, history_minutes=HISTORY, script=parse_script(script))
    for symbol in tape.symbols:
        rows = []
        for open_ms in range(tape.first_ms, at(minutes), MINUTE_MS):
            candle = tape.candle(symbol, open_ms)
            if prices := (instead or {}).get((symbol, (open_ms - START_MS) // MINUTE_MS)):
                candle = Candle(open_ms, *map(Decimal, prices), volume=candle.volume)
            rows.append(",".join(map(str, (open_ms, candle.open, candle.high, candle.low, candle.close, candle.volume))))
        _write(folder / f"{symbol}-1m-made.csv.gz", ["open_time,open,high,low,close,volume", *rows])
    return folder


def write_funding(folder: Path, symbol: str, rates: Mapping[int, str]) -> None:
    rows = [f"{time_ms},{rate}" for time_ms, rate in rates.items()]
    (folder / f"{symbol}-funding-made.csv").write_text("\n".join(["funding_time,funding_rate", *rows]) + "\n")


def write_alerts(path: Path, alerts: Iterable[tuple[int, Mapping[str, Any] | str]]) -> Path:
    path.write_text("".join(json.dumps({"at": at_ms, "body": body}) + "\n" for at_ms, body in alerts))
    return path


def alert(side: str, **fields: Any) -> dict[str, Any]:
    return {"symbol": "BINANCE:BTCUSDT.P", "side": side, **fields}


def _write(path: Path, lines: list[str]) -> None:
    with gzip.GzipFile(path, "wb", mtime=0) as file:
        file.write(("\n".join(lines) + "\n").encode())
