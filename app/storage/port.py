"""The journal port: what was decided, what was sent and what came of it, in our own types. SQLite in earnest, memory in replay.

The plan is one durable commit before the entry leaves (``open_trade``). Everything after it is appended in order by
``append`` and reaches the disk in batches within milliseconds; ``flush`` waits for that.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol

from app.domain.orders import Fill, OrderState
from app.domain.plan import Plan
from app.domain.statistics.closed_trade import ClosedTrade
from app.domain.verdict import Verdict
from app.storage.closed_trades import ClosedFilter

Meanwhile = Callable[[], None]


def nothing() -> None:
    """What there is to do meanwhile, where there is nothing."""


class JournalUnavailable(Exception):
    """The journal cannot be written; no order may follow."""


class DuplicateAlert(Exception):
    """The alert's key is in the journal already. ``alert_id`` is the first one's."""

    def __init__(self, alert_id: str) -> None:
        super().__init__(f"the alert was already taken as {alert_id}")
        self.alert_id = alert_id


@dataclass(frozen=True, slots=True)
class AlertRecord:
    """An alert as taken by the trader, with every guard's verdict. ``code`` is empty when it became a trade."""

    alert_id: str
    key: str
    body: Mapping[str, Any]
    received_ms: int
    code: str
    message: str
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True)
class Note:
    """One thing that happened: to a trade, or (``trade_id`` empty) to the whole system."""

    trade_id: str
    kind: str
    exchange_ms: int
    wall_ms: int
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OrderNote:
    """An order of a trade as sent or as last known."""

    trade_id: str
    state: OrderState


@dataclass(frozen=True, slots=True)
class FillNote:
    trade_id: str
    fill: Fill


@dataclass(frozen=True, slots=True)
class TradeClosed:
    """The account of a closed trade. Money in USDT; ``summary`` is the full report, JSON-ready."""

    trade_id: str
    exchange_ms: int
    reason: str
    gross: Decimal
    fees: Decimal
    funding: Decimal
    r_unit: Decimal
    net_r: Decimal
    summary: Mapping[str, Any]


Entry = Note | OrderNote | FillNote | TradeClosed


@dataclass(frozen=True, slots=True)
class StoredTrade:
    """A trade read back. ``closed`` is None while it lives."""

    plan: Plan
    notes: tuple[Note, ...]
    orders: tuple[OrderState, ...]
    fills: tuple[Fill, ...]
    closed: TradeClosed | None


class Journal(Protocol):
    failed: JournalUnavailable | None  # the last failed write, until a later one succeeds

    async def open(self) -> None:
        """Connect and migrate. Raises JournalUnavailable with what to do."""

    async def close(self) -> None: ...

    async def open_trade(self, alert: AlertRecord, plan: Plan, meanwhile: Meanwhile = nothing) -> None:
        """The alert and the whole plan in one durable commit. ``meanwhile`` is called in the loop while the disk writes and
        before this returns, unless the commit fails first; it must not raise. Raises DuplicateAlert, JournalUnavailable."""

    async def refuse(self, alert: AlertRecord) -> None:
        """An alert that makes no trade, durable. Raises DuplicateAlert."""

    def append(self, entry: Entry) -> None:
        """Queue one entry; order is kept; repeated fills (symbol and venue trade id) are kept once."""

    async def flush(self) -> None:
        """Everything appended so far is on disk. Raises JournalUnavailable when a write failed."""

    async def live_trades(self) -> Sequence[StoredTrade]:
        """Trades without a closing entry, oldest first."""

    async def closings_since(self, exchange_ms: int) -> Sequence[TradeClosed]:
        """The accounts of trades closed at or after then, in that order."""

    async def closed_trades(self, wanted: ClosedFilter) -> Sequence[ClosedTrade]:
        """As statistics see them, oldest close first."""

    async def trade(self, trade_id: str) -> StoredTrade | None: ...

    async def alert(self, alert_id: str) -> AlertRecord | None: ...

    async def net_quantities(self, trade_ids: Sequence[str]) -> Mapping[str, Decimal]:
        """Signed sum of the journal's fills per symbol over the given trades (I3)."""

    async def read_state(self, name: str) -> Mapping[str, Any] | None:
        """A small named piece of lasting state (arming, pause, recoveries)."""

    async def write_state(self, name: str, value: Mapping[str, Any]) -> None:
        """Durable."""
