"""The journal's writes and reads as SQL, for whoever holds a connection."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from functools import cache
from typing import Any

from sqlalchemy import Connection, or_, select
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.sqlite import Insert, insert

from app.domain.orders import Fill, OrderState
from app.domain.plan import Plan
from app.domain.rules import TradingRules
from app.domain.statistics.closed_trade import ClosedTrade
from app.storage import models
from app.storage.closed_trades import ClosedFilter, closed_trades
from app.storage.codec import dump, load
from app.storage.port import AlertRecord, Entry, FillNote, Note, OrderNote, StoredTrade, TradeClosed

Row = Mapping[str, Any]
Write = tuple[Insert, Row]
_last_rules: list[tuple[TradingRules, str]] = []
_DIALECT = sqlite.dialect(paramstyle="named")

_ADD_NOTE = insert(models.notes)
_ADD_FILL = insert(models.fills).on_conflict_do_nothing()
_ADD_CLOSING = insert(models.closings).on_conflict_do_nothing()
_new_order = insert(models.orders)
_PUT_ORDER = _new_order.on_conflict_do_update(
    index_elements=["trade_id", "client_id"],
    set_={name: getattr(_new_order.excluded, name) for name in ("status", "updated_ms", "state")},
)
_new_state = insert(models.state)
_PUT_STATE = _new_state.on_conflict_do_update(index_elements=["name"], set_={"value": _new_state.excluded.value})
_ADD_ALERT = insert(models.alerts)
_ADD_TRADE = insert(models.trades)


@cache
def sql_of(statement: Insert, columns: tuple[str, ...]) -> str:
    """The statement as SQLite's driver takes it with a row of these columns."""
    return str(statement.compile(dialect=_DIALECT, column_keys=list(columns)))


def write_of(entry: Entry) -> Write:
    """The entry as one statement. Raises ValueError when something in it is not JSON."""
    match entry:
        case Note():
            row = {"trade_id": entry.trade_id, "kind": entry.kind, "exchange_ms": entry.exchange_ms, "record": dump(entry)}
            return _ADD_NOTE, row
        case OrderNote(trade_id, known):
            row = {"trade_id": trade_id, "client_id": known.client_id, "symbol": known.symbol, "status": known.status.value}
            return _PUT_ORDER, row | {"updated_ms": known.updated_ms, "state": dump(known)}
        case FillNote(trade_id, fill):
            row = {"trade_id": trade_id, "symbol": fill.symbol, "venue_trade_id": fill.venue_trade_id, "time_ms": fill.time_ms}
            return _ADD_FILL, row | {"record": dump(fill)}
        case TradeClosed():
            row = {"trade_id": entry.trade_id, "exchange_ms": entry.exchange_ms, "reason": entry.reason}
            return _ADD_CLOSING, row | {"net_r": str(entry.net_r), "record": dump(entry)}


def write_of_alert(alert: AlertRecord) -> Write:
    row = {"alert_id": alert.alert_id, "key": alert.key, "received_ms": alert.received_ms, "code": alert.code}
    return _ADD_ALERT, row | {"record": dump(alert)}


def write_of_plan(plan: Plan) -> Write:
    row = {"trade_id": plan.trade_id, "alert_id": plan.alert_id, "symbol": plan.symbol, "side": plan.side.value}
    text = f'{dump(plan, without="rules")[:-1]},"rules":{_text_of(plan.rules)}}}'
    return _ADD_TRADE, row | {"created_ms": plan.created_ms, "plan": text}


def _text_of(rules: TradingRules) -> str:
    """Kept: they are more than half of a plan's text, and one object in all plans of a run."""
    for known, text in _last_rules:
        if known is rules:
            return text
    text = dump(rules)
    _last_rules[:] = [(rules, text)]
    return text


def write_of_state(name: str, value: Mapping[str, Any]) -> Write:
    return _PUT_STATE, {"name": name, "value": dump(dict(value))}


def first_alert_id(connection: Connection, alert: AlertRecord) -> str | None:
    """Who holds this key or this id already."""
    table = models.alerts
    query = select(table.c.alert_id).where(or_(table.c.key == alert.key, table.c.alert_id == alert.alert_id))
    return connection.execute(query).scalars().first()


def read_alert(connection: Connection, alert_id: str) -> AlertRecord | None:
    query = select(models.alerts.c.record).where(models.alerts.c.alert_id == alert_id)
    text = connection.execute(query).scalar()
    return load(AlertRecord, text) if text is not None else None


def read_trade(connection: Connection, trade_id: str) -> StoredTrade | None:
    plan = connection.execute(select(models.trades.c.plan).where(models.trades.c.trade_id == trade_id)).scalar()
    if plan is None:
        return None
    n, o, f, c = models.notes, models.orders, models.fills, models.closings
    notes = connection.execute(select(n.c.record).where(n.c.trade_id == trade_id).order_by(n.c.id)).scalars()
    orders = connection.execute(select(o.c.state).where(o.c.trade_id == trade_id).order_by(o.c.id)).scalars()
    fills = connection.execute(select(f.c.record).where(f.c.trade_id == trade_id).order_by(f.c.id)).scalars()
    closed = connection.execute(select(c.c.record).where(c.c.trade_id == trade_id)).scalar()
    return StoredTrade(
        plan=load(Plan, plan),
        notes=tuple(load(Note, text) for text in notes),
        orders=tuple(load(OrderState, text) for text in orders),
        fills=tuple(load(Fill, text) for text in fills),
        closed=load(TradeClosed, closed) if closed is not None else None,
    )


def read_live_trades(connection: Connection) -> list[StoredTrade]:
    table = models.trades
    ended = select(models.closings.c.trade_id)
    query = select(table.c.trade_id).where(table.c.trade_id.not_in(ended)).order_by(table.c.created_ms, table.c.trade_id)
    ids = connection.execute(query).scalars().all()
    return [trade for trade_id in ids if (trade := read_trade(connection, trade_id)) is not None]


def read_closings(connection: Connection, since_ms: int) -> list[TradeClosed]:
    table = models.closings
    query = select(table.c.record).where(table.c.exchange_ms >= since_ms).order_by(table.c.exchange_ms, table.c.trade_id)
    return [load(TradeClosed, text) for text in connection.execute(query).scalars()]


def read_closed_trades(connection: Connection, wanted: ClosedFilter) -> list[ClosedTrade]:
    closing, trade = models.closings, models.trades
    query = select(trade.c.plan, closing.c.record).join(trade, trade.c.trade_id == closing.c.trade_id)
    query = query.where(closing.c.exchange_ms >= wanted.since_ms)
    if wanted.until_ms is not None:
        query = query.where(closing.c.exchange_ms < wanted.until_ms)
    if wanted.side is not None:
        query = query.where(trade.c.side == wanted.side.value)
    if wanted.symbol is not None:
        query = query.where(trade.c.symbol == wanted.symbol)
    newest_first = query.order_by(closing.c.exchange_ms.desc(), closing.c.trade_id.desc())
    with connection.execution_options(yield_per=200).execute(newest_first) as rows:
        return wanted.newest(closed_trades((plan, record) for plan, record in rows))


def read_net_quantities(connection: Connection, trade_ids: Sequence[str]) -> dict[str, Decimal]:
    table = models.fills
    texts = connection.execute(select(table.c.record).where(table.c.trade_id.in_(trade_ids))).scalars()
    return net_of(load(Fill, text) for text in texts)


def net_of(fills: Iterable[Fill]) -> dict[str, Decimal]:
    net: dict[str, Decimal] = {}
    for fill in fills:
        net[fill.symbol] = net.get(fill.symbol, Decimal(0)) + fill.side.sign * fill.quantity
    return net


def read_state(connection: Connection, name: str) -> dict[str, Any] | None:
    text = connection.execute(select(models.state.c.value).where(models.state.c.name == name)).scalar()
    return load(dict, text) if text is not None else None
