"""The recorded candles and expected readings of the indicators, and random walks like them."""

import csv
from functools import cache

import numpy as np
from shared import shared_path

from app.domain.market import Bar

MARKETS = ["trending", "ranging"]
INTERVAL_MS = 180_000


@cache
def rows(name: str) -> list[dict[str, str]]:
    with shared_path(f"vectors/{name}.csv").open() as file:
        return list(csv.DictReader(file))


def number(field: str) -> float | None:
    return float(field) if field else None


@cache
def bars(market: str) -> tuple[Bar, ...]:
    return tuple(
        Bar(
            "BTCUSDT",
            INTERVAL_MS,
            int(row["open_time"]),
            *(float(row[key]) for key in ("open", "high", "low", "close", "volume", "taker_buy")),
        )
        for row in rows(f"bars_{market}")
    )


def walk(count: int, seed: int) -> list[Bar]:
    """A random walk in ticks of 0.1, so that equal prices and levels do occur; with a very wide bar now and then."""
    rng = np.random.default_rng(seed)
    closes = 1000 + np.cumsum(rng.integers(-8, 9, count)) / 10
    opens = np.concatenate(([1000.0], closes[:-1]))
    wide = np.where(rng.random(count) < 0.02, 10, 1)
    highs = np.maximum(opens, closes) + wide * rng.integers(0, 9, count) / 10
    lows = np.minimum(opens, closes) - wide * rng.integers(0, 9, count) / 10
    volumes = rng.integers(0, 50, count).astype(float)
    columns = zip(opens.tolist(), highs.tolist(), lows.tolist(), closes.tolist(), volumes.tolist(), strict=True)
    return [Bar("BTCUSDT", INTERVAL_MS, t * INTERVAL_MS, *column) for t, column in enumerate(columns)]
