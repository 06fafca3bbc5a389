"""The whole system with the rules as shipped, on recorded candles: the market's structure has its say, as it has for a user.

The other stories switch off what would let the market decide their course; this one asks what it decides.
"""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from shared import shared_path
from system_world import SystemWorld, system_world

from app.domain.instrument import Side
from app.domain.market import MINUTE_MS, StructureReading
from app.domain.rules import TradingRules
from app.domain.structure import RANGE_MS
from app.settings import load_settings
from app.storage.port import StoredTrade

pytestmark = pytest.mark.timeout(300)

HISTORY_MINUTES = 22_107  # Tuesday 20 May 2025, 00:00 UTC
TRADING_SPEED = 300
ENDS = {"targets", "stop", "break_even", "trailing_stop", "choch", "time_limit"}


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[SystemWorld]:
    market = ("--klines", str(shared_path("data/klines")), "--history-minutes", str(HISTORY_MINUTES))
    async with system_world(tmp_path, market, {}) as world:
        yield world


async def swing_range(system: SystemWorld) -> StructureReading:
    latest = await system.bus.latest()
    found = (m for m in latest if isinstance(m, StructureReading) and (m.symbol, m.interval_ms) == ("BTCUSDT", RANGE_MS))
    return next(found)


def alert(side: Side, name: str) -> str:
    return json.dumps({"symbol": "BINANCE:BTCUSDT.P", "side": side.value, "id": name})


async def test_the_side_that_is_dear_is_refused_and_the_cheap_one_traded_to_its_end(system: SystemWorld) -> None:
    assert load_settings().rules == TradingRules()
    await system.at_ease()
    middle = (await swing_range(system)).range_middle
    bid, ask = await system.exchange.book()
    assert middle is not None
    cheap = Side.BUY if (bid + ask) / 2 < middle else Side.SELL

    answer, _ = await system.post(alert(cheap.opposite, "dear"))
    assert (answer.status_code, answer.json()["code"]) == (422, "not_in_discount"), answer.text

    answer, took_s = await system.post(alert(cheap, "cheap"))
    assert (answer.status_code, answer.json()["status"]) == (200, "trade placed"), answer.text
    assert took_s < 2.5
    trade_id = answer.json()["id"]
    protected = await system.all_protected(trade_id)
    await is_covered(system, protected)

    await system.set_speed(TRADING_SPEED)
    closed = await system.closed(trade_id)
    await system.set_speed(1)
    assert closed.closed is not None
    assert closed.closed.reason in ENDS
    assert await system.audit(closed) == []
    assert closed.closed.exchange_ms - closed.plan.created_ms < (closed.plan.rules.exits.max_hold_min + 1) * MINUTE_MS
    assert await system.is_healthy()


async def is_covered(system: SystemWorld, stored: StoredTrade) -> None:
    """By the exchange's own word, on every leg that is open."""
    positions = await system.exchange.positions()
    assert set(positions) <= set(stored.plan.symbols)
    assert stored.plan.symbol in positions
    for symbol, held in positions.items():
        assert await system.exchange.covered_quantity(symbol) == abs(held), symbol
