"""The figures of a day's report: the same statistics as GET /statistics, over the exported trades."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from app.domain.instrument import Side
from app.domain.statistics.closed_trade import ClosedTrade
from app.domain.statistics.flags import FLAG_TRADES
from app.domain.statistics.performance import DAY_MS
from app.domain.statistics.report import Statistics, statistics
from app.storage.archive import start_ms
from app.storage.codec import plain

SPANS = {"day": 1, "7 days": 7, "30 days": 30}
DAYS_READ = 90  # flags look at a side's last 500 trades


@dataclass(frozen=True, slots=True)
class DailyReport:
    """``spans`` end with the day. ``funding``: the rates now, as the funding monitor left them."""

    site: str
    day: date
    spans: Mapping[str, Statistics]
    funding: Mapping[str, Mapping[str, Any]]

    @property
    def of_day(self) -> Statistics:
        return self.spans["day"]

    def to_json(self) -> dict[str, Any]:
        spans = {name: plain(found) for name, found in self.spans.items()}
        return {"site": self.site, "day": self.day.isoformat(), "spans": spans, "funding": dict(self.funding)}


def daily_report(site: str, day: date, trades: Sequence[ClosedTrade], funding: Mapping[str, Mapping[str, Any]]) -> DailyReport:
    """``trades``: closed in the 90 days that end with ``day``."""
    until_ms = start_ms(day) + DAY_MS
    ordered = sorted(trades, key=lambda trade: (trade.closed_ms, trade.trade_id))
    last = {side: _last_results(ordered, side) for side in Side}
    spans = {}
    for name, days in SPANS.items():
        since_ms = until_ms - days * DAY_MS
        spans[name] = statistics([trade for trade in ordered if trade.closed_ms >= since_ms], last, since_ms, until_ms)
    return DailyReport(site, day, spans, funding)


def _last_results(ordered: Sequence[ClosedTrade], side: Side) -> list[Any]:
    taken = [trade.net_r for trade in ordered if trade.side is side and trade.is_filled and trade.is_of_the_strategy]
    return taken[-FLAG_TRADES:]
