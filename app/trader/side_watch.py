"""Longs and shorts, each by the profit factor of its last 500 trades: a side that earns too little is told of, not stopped."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import structlog

from app.clock import Clock, ExchangeClock
from app.domain.instrument import Side
from app.domain.plan import Owner
from app.domain.statistics.flags import FLAG_BELOW, FLAG_TRADES, SideFlag, side_flag
from app.storage.closed_trades import ClosedFilter
from app.storage.port import Journal, JournalUnavailable, Note, TradeClosed

log = structlog.get_logger(__name__)

STATE = "side_flags"


class SideWatch:
    """``flags`` is how they stand. That one was flagged or is no longer is journalled once, restarts aside."""

    def __init__(self, journal: Journal, clock: Clock, exchange_clock: ExchangeClock) -> None:
        self._journal = journal
        self._clock = clock
        self._exchange_clock = exchange_clock
        self._results: dict[Side, dict[str, Decimal]] = {side: {} for side in Side}  # net R by trade, oldest first
        self._told: dict[str, bool] = {}
        self.flags: dict[Side, SideFlag] = {side: side_flag(side, ()) for side in Side}

    async def start(self) -> None:
        """Read what was traded so far. Raises JournalUnavailable."""
        self._told = dict(await self._journal.read_state(STATE) or {})
        for side in Side:
            wanted = ClosedFilter(side=side, of_the_strategy=True, filled=True, last=FLAG_TRADES)
            earlier = {trade.trade_id: trade.net_r for trade in await self._journal.closed_trades(wanted)}
            self._results[side] = earlier | self._results[side]
        changed = [self._judge(side) for side in Side]
        if any(changed):
            await self.keep()

    def closed(self, closed: TradeClosed) -> bool:
        """Whether that changed a flag: then ``keep`` it."""
        if not closed.r_unit or closed.summary.get("owner", Owner.MANAGED) != Owner.MANAGED:
            return False
        side = Side(str(closed.summary["side"]))
        results = self._results[side]
        results[closed.trade_id] = closed.net_r
        if len(results) > FLAG_TRADES:
            del results[next(iter(results))]
        return self._judge(side)

    def _judge(self, side: Side) -> bool:
        flag = self.flags[side] = side_flag(side, tuple(self._results[side].values()))
        if flag.flagged is self._told.get(side.value, False):
            return False
        self._told[side.value] = flag.flagged
        kind = "side_flagged" if flag.flagged else "side_unflagged"
        facts = {"side": side.value, "profit_factor": flag.profit_factor, "limit": str(FLAG_BELOW), "trades": flag.trades}
        say = log.warning if flag.flagged else log.info
        say(kind, **facts)
        self._journal.append(Note("", kind, self._exchange_clock.now_ms(), self._clock.wall_ms(), facts))
        return True

    async def keep(self) -> None:
        """What was told lasts. Where it cannot, it is told again after the next start."""
        try:
            await self._journal.write_state(STATE, self._told)
        except JournalUnavailable as error:
            log.error("side_flags_not_durable", error=str(error))

    def words(self) -> Mapping[str, Any]:
        return {
            "long" if side is Side.BUY else "short": {
                "trades": flag.trades,
                "profit_factor": flag.profit_factor,
                "flagged": flag.flagged,
            }
            for side, flag in self.flags.items()
        }
