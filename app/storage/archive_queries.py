"""A day of the journal, read for the archive."""

from datetime import date
from typing import Any

from sqlalchemy import Connection, select

from app.domain.statistics.performance import DAY_MS
from app.storage import models
from app.storage.archive import TRADES, ArchivedDay, start_ms
from app.storage.closed_trades import ClosedFilter
from app.storage.codec import dump, load
from app.storage.statements import read_closed_trades


def read_day(connection: Connection, day: date) -> ArchivedDay:
    since, until = start_ms(day), start_ms(day) + DAY_MS
    lines = {
        TRADES: [dump(trade) for trade in read_closed_trades(connection, ClosedFilter(since_ms=since, until_ms=until))],
        "plans": _records(connection, models.trades, "created_ms", "plan", since, until),
        "alerts": _records(connection, models.alerts, "received_ms", "record", since, until),
        "notes": _records(connection, models.notes, "exchange_ms", "record", since, until),
        "fills": _fills(connection, since, until),
    }
    return ArchivedDay(day, {name: _file(found) for name, found in lines.items() if found})


def _records(connection: Connection, table: Any, time: str, record: str, since: int, until: int) -> list[str]:
    column = table.c[time]
    query = select(table.c[record]).where(column >= since, column < until).order_by(column, *table.primary_key.columns)
    return list(connection.execute(query).scalars())


def _fills(connection: Connection, since: int, until: int) -> list[str]:
    table = models.fills
    query = select(table.c.trade_id, table.c.record).where(table.c.time_ms >= since, table.c.time_ms < until)
    rows = connection.execute(query.order_by(table.c.time_ms, table.c.id))
    return [dump({"trade_id": trade_id} | load(dict, record)) for trade_id, record in rows]


def _file(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()
