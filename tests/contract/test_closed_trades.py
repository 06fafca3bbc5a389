"""Closed trades, read by every journal the same: in order, filtered, quickly, and by a process that only reads."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from storage_samples import a_closing, a_plan, an_alert

from app.domain.instrument import Side
from app.domain.plan import Owner
from app.domain.rules import TradingMode, TradingRules
from app.domain.statistics.closed_trade import ClosedTrade, LegResult
from app.storage import statements
from app.storage.closed_trades import ClosedFilter
from app.storage.in_memory import InMemoryJournal
from app.storage.port import Journal, TradeClosed
from app.storage.sqlite import JournalReader, SqliteJournal, writing_engine

CLOSED_MS = a_closing().exchange_ms
TRIPLE = TradingRules(mode=TradingMode.TRIPLE_ALPHA)


@pytest.fixture(params=["memory", "sqlite"])
async def journal(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Journal]:
    opened: Journal = InMemoryJournal() if request.param == "memory" else SqliteJournal(tmp_path / "journal.sqlite")
    await opened.open()
    yield opened
    await opened.close()


async def close_one(journal: Journal, number: int, closed_ms: int, **plan: Any) -> None:
    await journal.open_trade(an_alert(number), replace(a_plan(number), **plan))
    journal.append(replace(a_closing(f"trade{number}"), exchange_ms=closed_ms))


async def ids(journal: Journal | JournalReader, **wanted: Any) -> list[str]:
    return [trade.trade_id for trade in await journal.closed_trades(ClosedFilter(**wanted))]


async def test_a_closed_trade_holds_what_plan_and_closing_say(journal: Journal) -> None:
    await close_one(journal, 1, CLOSED_MS)
    (trade,) = await journal.closed_trades(ClosedFilter())
    leg = LegResult("BTCUSDT", Side.BUY, Decimal("3071.25"), Decimal("11.25"), Decimal("1.91"), Decimal("0.75"), Decimal("0.5"))
    assert trade == ClosedTrade(
        trade_id="trade1",
        symbol="BTCUSDT",
        side=Side.BUY,
        mode="btc_alpha_hedge",
        opened_ms=a_plan(1).created_ms,
        closed_ms=CLOSED_MS,
        reason="targets",
        gross=Decimal("11.25"),
        fees=Decimal("1.91"),
        funding=Decimal("-0.02"),
        r_unit=Decimal("7.2"),
        net_r=Decimal("1.2944"),
        equity=Decimal("1000.00000001"),
        p0=Decimal("85000.10"),
        average_entry=Decimal("85000.00"),
        entered=Decimal("0.018"),
        legs=(leg,),
        naked_ms=(84.0,),
        stages_ms={"fill": 9.5},
    )


async def test_oldest_close_first_within_the_time_asked_for(journal: Journal) -> None:
    for number, closed_ms in ((3, 400), (1, 300), (2, 300), (4, 100), (5, 200)):
        await close_one(journal, number, closed_ms)
    await journal.open_trade(an_alert(6), a_plan(6))  # still open
    assert await ids(journal) == ["trade4", "trade5", "trade1", "trade2", "trade3"]
    assert await ids(journal, since_ms=200, until_ms=400) == ["trade5", "trade1", "trade2"]
    assert await ids(journal, last=2) == ["trade2", "trade3"]
    assert await ids(journal, until_ms=300, last=1) == ["trade5"]
    assert await ids(journal, since_ms=401) == []


async def test_by_side_symbol_mode_and_owner(journal: Journal) -> None:
    ether = replace(a_plan().instrument, symbol="ETHUSDT")
    await close_one(journal, 1, 100)
    await close_one(journal, 2, 200, side=Side.SELL)
    await close_one(journal, 3, 300, instrument=ether, rules=TRIPLE)
    await close_one(journal, 4, 400, owner=Owner.ADVANCED)
    assert await ids(journal, side=Side.SELL) == ["trade2"]
    assert await ids(journal, symbol="ETHUSDT") == ["trade3"]
    assert await ids(journal, mode="triple_alpha") == ["trade3"]
    assert await ids(journal, mode="advanced") == ["trade4"]
    assert await ids(journal, of_the_strategy=True, last=2) == ["trade2", "trade3"]


async def test_what_another_release_left_out_is_left_out(journal: Journal) -> None:
    await journal.open_trade(an_alert(1), a_plan(1))
    none = Decimal(0)
    journal.append(TradeClosed("trade1", 100, "not_filled", none, none, none, none, none, {"reason": "not_filled"}))
    (trade,) = await journal.closed_trades(ClosedFilter())
    assert (trade.is_filled, trade.legs, trade.naked_ms, trade.slippage) == (False, (), (), None)


async def test_ten_thousand_trades_are_read_quickly_by_who_only_reads(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    await asyncio.to_thread(write_many, path, 10_000)
    reader = JournalReader(path)
    started = time.process_time()
    everything = await reader.closed_trades(ClosedFilter())
    took_s = time.process_time() - started
    assert [everything[0].trade_id, everything[-1].trade_id, len(everything)] == ["trade0", "trade9999", 10_000]
    assert took_s < 3
    last = await reader.closed_trades(ClosedFilter(side=Side.BUY, of_the_strategy=True, last=500))
    assert [trade.trade_id for trade in last] == [f"trade{number}" for number in range(9_500, 10_000)]


def write_many(path: Path, count: int) -> None:
    asyncio.run(make_empty(path))
    engine = writing_engine(path, 100)
    plan_write, plan_row = statements.write_of_plan(a_plan(0))
    closing_write, closing_row = statements.write_of(a_closing("trade0"))
    numbers = range(count)

    def named(row: Any, text: str, number: int) -> dict[str, Any]:
        return {**row, "trade_id": f"trade{number}", text: row[text].replace('"trade0"', f'"trade{number}"')}

    with engine.begin() as connection:
        connection.execute(plan_write, [named(plan_row, "plan", number) for number in numbers])
        closings = [{**named(closing_row, "record", number), "exchange_ms": number} for number in numbers]
        connection.execute(closing_write, closings)
    engine.dispose()


async def make_empty(path: Path) -> None:
    journal = SqliteJournal(path)
    await journal.open()
    await journal.close()
