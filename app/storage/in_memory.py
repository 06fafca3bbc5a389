"""The journal in memory, for replay and simulation: the same promises, the same encoding, no disk."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from app.domain.orders import Fill, OrderState
from app.domain.plan import Plan
from app.domain.statistics.closed_trade import ClosedTrade
from app.storage.closed_trades import ClosedFilter, closed_trades
from app.storage.codec import dump, load
from app.storage.port import (
    AlertRecord,
    DuplicateAlert,
    Entry,
    FillNote,
    JournalUnavailable,
    Meanwhile,
    Note,
    OrderNote,
    StoredTrade,
    TradeClosed,
    nothing,
)
from app.storage.statements import net_of


@dataclass(slots=True)
class JournalStore:
    """What outlives a process. ``writable`` False is a full disk."""

    writable: bool = True
    alerts: dict[str, str] = field(default_factory=dict)
    ids_by_key: dict[str, str] = field(default_factory=dict)
    plans: dict[str, str] = field(default_factory=dict)
    notes: list[tuple[str, str]] = field(default_factory=list)
    orders: dict[tuple[str, str], str] = field(default_factory=dict)
    fills: dict[tuple[str, int], tuple[str, str]] = field(default_factory=dict)
    closings: dict[str, str] = field(default_factory=dict)
    state: dict[str, str] = field(default_factory=dict)


class InMemoryJournal:
    """A new one on the same store is the journal opened again after a crash."""

    def __init__(self, store: JournalStore | None = None) -> None:
        self._store = store or JournalStore()
        self._queued: list[Entry] = []
        self.failed: JournalUnavailable | None = None

    async def open(self) -> None:
        self._check()

    async def close(self) -> None:
        self._drain()

    async def open_trade(self, alert: AlertRecord, plan: Plan, meanwhile: Meanwhile = nothing) -> None:
        record, planned = dump(alert), dump(plan)
        self._take(alert, record)
        meanwhile()
        self._store.plans[plan.trade_id] = planned

    async def refuse(self, alert: AlertRecord) -> None:
        self._take(alert, dump(alert))

    def append(self, entry: Entry) -> None:
        dump(entry)  # refuses now what cannot be written later
        self._queued.append(entry)
        if self._store.writable:
            self._drain()
        else:
            self.failed = JournalUnavailable("the in-memory journal is not writable")

    async def flush(self) -> None:
        self._drain()

    async def live_trades(self) -> Sequence[StoredTrade]:
        live = [self._stored(trade_id) for trade_id in self._store.plans if trade_id not in self._store.closings]
        return sorted(live, key=lambda trade: (trade.plan.created_ms, trade.plan.trade_id))

    async def closings_since(self, exchange_ms: int) -> Sequence[TradeClosed]:
        closed = (load(TradeClosed, text) for text in self._store.closings.values())
        return sorted((c for c in closed if c.exchange_ms >= exchange_ms), key=lambda c: (c.exchange_ms, c.trade_id))

    async def closed_trades(self, wanted: ClosedFilter) -> Sequence[ClosedTrade]:
        plans = self._store.plans
        records = ((plans[trade_id], closing) for trade_id, closing in self._store.closings.items() if trade_id in plans)
        return wanted.newest(sorted(closed_trades(records), key=lambda t: (t.closed_ms, t.trade_id), reverse=True))

    async def trade(self, trade_id: str) -> StoredTrade | None:
        return self._stored(trade_id) if trade_id in self._store.plans else None

    async def alert(self, alert_id: str) -> AlertRecord | None:
        text = self._store.alerts.get(alert_id)
        return load(AlertRecord, text) if text is not None else None

    async def net_quantities(self, trade_ids: Sequence[str]) -> Mapping[str, Decimal]:
        return net_of(load(Fill, text) for trade_id, text in self._store.fills.values() if trade_id in trade_ids)

    async def read_state(self, name: str) -> Mapping[str, Any] | None:
        text = self._store.state.get(name)
        return load(dict, text) if text is not None else None

    async def write_state(self, name: str, value: Mapping[str, Any]) -> None:
        self._drain()
        self._store.state[name] = dump(dict(value))

    def _check(self) -> None:
        if not self._store.writable:
            raise JournalUnavailable("the in-memory journal is not writable")

    def _take(self, alert: AlertRecord, record: str) -> None:
        self._drain()
        first = self._store.ids_by_key.get(alert.key) or (alert.alert_id if alert.alert_id in self._store.alerts else None)
        if first is not None:
            raise DuplicateAlert(first)
        self._store.alerts[alert.alert_id] = record
        self._store.ids_by_key[alert.key] = alert.alert_id

    def _drain(self) -> None:
        self._check()
        for entry in self._queued:
            self._write(entry)
        self._queued.clear()
        self.failed = None

    def _write(self, entry: Entry) -> None:
        store = self._store
        match entry:
            case Note():
                store.notes.append((entry.trade_id, dump(entry)))
            case OrderNote(trade_id, known):
                store.orders[(trade_id, known.client_id)] = dump(known)
            case FillNote(trade_id, fill):
                store.fills.setdefault((fill.symbol, fill.venue_trade_id), (trade_id, dump(fill)))
            case TradeClosed():
                store.closings.setdefault(entry.trade_id, dump(entry))

    def _stored(self, trade_id: str) -> StoredTrade:
        store, closed = self._store, self._store.closings.get(trade_id)
        return StoredTrade(
            plan=load(Plan, store.plans[trade_id]),
            notes=tuple(load(Note, text) for owner, text in store.notes if owner == trade_id),
            orders=tuple(load(OrderState, text) for (owner, _), text in store.orders.items() if owner == trade_id),
            fills=tuple(load(Fill, text) for owner, text in store.fills.values() if owner == trade_id),
            closed=load(TradeClosed, closed) if closed is not None else None,
        )
