"""A trade under way in this process: the pure state, and what only the running process needs to know of it."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.domain.trade.state import Trade
from app.domain.verdict import Verdict


@dataclass(slots=True)
class LiveTrade:
    trade: Trade
    alert_id: str
    received_at: float | None  # monotonic; None after a restart, when latencies mean nothing any more
    opened_at: float
    verdicts: tuple[Verdict, ...] = ()  # of the alert it came from; none after a restart, the journal has them
    timer: asyncio.TimerHandle | None = None
    milestones: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    naked_ms: list[float] = field(default_factory=list)
    changed_at: float = 0.0  # monotonic, of the last fact about its orders
    mismatches: int = 0
    replied: bool = False
    protected: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)  # closed and accounted for

    @property
    def trade_id(self) -> str:
        return self.trade.plan.trade_id
