"""Statistics out of a journal, for whoever holds it open or only reads it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from app.domain.instrument import Side
from app.domain.statistics.closed_trade import ClosedTrade
from app.domain.statistics.flags import FLAG_TRADES
from app.domain.statistics.performance import DAY_MS
from app.domain.statistics.report import Statistics, statistics
from app.storage.closed_trades import ClosedFilter


class ClosedTrades(Protocol):
    async def closed_trades(self, wanted: ClosedFilter) -> Sequence[ClosedTrade]: ...


@dataclass(frozen=True, slots=True)
class Question:
    """Statistics of which closed trades; ``days`` back from now, None: all there are."""

    days: float | None = None
    side: Side | None = None
    symbol: str | None = None
    mode: str | None = None


async def read_statistics(journal: ClosedTrades, question: Question, now_ms: int) -> Statistics:
    """Flags are of the asked side, or of both, over all symbols and modes of the strategy. Raises JournalUnavailable."""
    since_ms = 0 if question.days is None else max(0, now_ms - round(question.days * DAY_MS))
    wanted = ClosedFilter(since_ms=since_ms, side=question.side, symbol=question.symbol, mode=question.mode)
    trades = await journal.closed_trades(wanted)
    sides = (question.side,) if question.side is not None else tuple(Side)
    last = {side: await _last_results(journal, side) for side in sides}
    return await asyncio.to_thread(statistics, trades, last, since_ms, now_ms)  # the loop has alerts to take


async def _last_results(journal: ClosedTrades, side: Side) -> list[Decimal]:
    trades = await journal.closed_trades(ClosedFilter(side=side, of_the_strategy=True, filled=True, last=FLAG_TRADES))
    return [trade.net_r for trade in trades]
