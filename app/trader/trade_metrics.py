"""What a trade's milestones measure: its latencies, its naked times, what was not taken."""

from collections.abc import Callable, Mapping
from typing import Any

from app.domain.trade.messages import Failure
from app.telemetry.metrics import Metrics
from app.trader.live_trade import LiveTrade

COUNTED = frozenset({"reconciliation_mismatch", "closed_externally"})


class TradeMetrics:
    """``on_entry`` gets the milliseconds from an alert's receipt to its entry's acknowledgement, for the latency guard: of the
    strategy's alerts only, since a request of the advanced webhook asks the exchange many things before it orders."""

    def __init__(self, metrics: Metrics, on_entry: Callable[[float], None]) -> None:
        self._metrics = metrics
        self._on_entry = on_entry

    def milestone(self, live: LiveTrade, kind: str, data: Mapping[str, Any]) -> None:
        if "naked_ms" in data:
            self._metrics.emit({"naked_ms": float(data["naked_ms"])})
        if kind == "planned":
            self._metrics.emit({"fee_r": float(live.trade.plan.fee_r)})
        elif kind == "order_failed":
            self._not_taken(Failure(data["failure"]))
        elif kind in COUNTED:
            self._metrics.emit({kind: 1})
        elif live.trade.plan.is_managed and live.milestones.get(kind) is data and "since_alert_ms" in data:
            self._first(kind, float(data["since_alert_ms"]))

    def _not_taken(self, failure: Failure) -> None:
        """A maker's order that would have taken is the market's doing, and nobody is to be woken for it."""
        if failure is Failure.POST_ONLY:
            self._metrics.emit({"post_only_refused": 1})
        else:
            self._metrics.emit({"order_rejects": 1}, failure=failure.value)

    def _first(self, kind: str, since_alert_ms: float) -> None:
        """The first order of a trade is its entry. No wait was intended before its acknowledgement."""
        if kind == "order_sent":
            self._metrics.emit({"alert_to_order_ms": since_alert_ms})
        elif kind == "order_acknowledged":
            self._metrics.emit({"alert_to_ack_ms": since_alert_ms})
            self._on_entry(since_alert_ms)
