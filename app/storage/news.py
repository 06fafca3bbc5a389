"""What the journal has to tell since one last looked, in the order it was written."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Integer, func, literal_column, select

from app.storage import models
from app.storage.codec import load
from app.storage.port import Note, TradeClosed

_ROW: ColumnElement[int] = literal_column("closings.rowid", Integer)


@dataclass(frozen=True, slots=True)
class Position:
    """Up to where the journal has been read."""

    note: int = 0
    closing: int = 0


@dataclass(frozen=True, slots=True)
class TradeName:
    symbol: str
    side: str


@dataclass(frozen=True, slots=True)
class News:
    """``trades`` names those that the notes and closings are of."""

    position: Position
    notes: Sequence[Note]
    closings: Sequence[TradeClosed]
    trades: dict[str, TradeName]


def read_end(connection: Connection) -> Position:
    """Where news begins for one who has read everything."""
    note = connection.execute(select(func.max(models.notes.c.id))).scalar()
    closing = connection.execute(select(func.max(_ROW)).select_from(models.closings)).scalar()
    return Position(note or 0, closing or 0)


def read_news(connection: Connection, since: Position, kinds: Sequence[str], limit: int) -> News:
    """Notes of these kinds and closings, each at most ``limit``. Notes of other kinds are passed over for good."""
    n, c, end = models.notes, models.closings, read_end(connection)
    of_interest = select(n.c.id, n.c.record).where(n.c.id > since.note, n.c.id <= end.note, n.c.kind.in_(kinds))
    notes = connection.execute(of_interest.order_by(n.c.id).limit(limit)).all()
    new_closings = select(_ROW, c.c.record).select_from(c).where(since.closing < _ROW, end.closing >= _ROW)
    closings = connection.execute(new_closings.order_by(_ROW).limit(limit)).all()
    position = Position(
        end.note if len(notes) < limit else notes[-1][0], end.closing if len(closings) < limit else closings[-1][0]
    )
    told = [load(Note, record) for _, record in notes]
    closed = [load(TradeClosed, record) for _, record in closings]
    return News(position, told, closed, _names(connection, {each.trade_id for each in told} | {each.trade_id for each in closed}))


def _names(connection: Connection, trade_ids: set[str]) -> dict[str, TradeName]:
    table = models.trades
    query = select(table.c.trade_id, table.c.symbol, table.c.side).where(table.c.trade_id.in_(sorted(trade_ids)))
    return {trade_id: TradeName(symbol, side) for trade_id, symbol, side in connection.execute(query)}
