"""Measurements as log lines that CloudWatch turns into metrics (embedded metric format), for whoever reads JSON logs.

Every name stands in ``METRICS``, from which ``docs/metrics.md`` is made; alarms and dashboards take the names from there.
Source of the format: CloudWatch's embedded metric format specification.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import structlog

from app.clock import Clock

log = structlog.get_logger(__name__)

NAMESPACE = "QuantCloud"


class Unit(StrEnum):
    COUNT = "Count"
    MILLISECONDS = "Milliseconds"
    PERCENT = "Percent"
    NONE = "None"


@dataclass(frozen=True, slots=True)
class Metric:
    """``service`` emits it; ``by`` names the dimension beside the service's, if there is one."""

    name: str
    service: str
    unit: Unit
    meaning: str
    by: str = ""


_TRADER = (
    Metric("heartbeat", "trader", Unit.COUNT, "1 every ten seconds while the trader works; none: it is dead or stuck"),
    Metric("trading", "trader", Unit.COUNT, "1 while the trader would open a trade, 0 when paused, halted or not armed"),
    Metric("equity", "trader", Unit.NONE, "wallet and unrealised P&L, USDT"),
    Metric("drawdown", "trader", Unit.NONE, "of a unit's value from its all-time high, a fraction; transfers aside"),
    Metric("day_r", "trader", Unit.NONE, "R of the UTC day, open trades at exit cost included"),
    Metric("open_trades", "trader", Unit.COUNT, "trades under way"),
    Metric("sides_flagged", "trader", Unit.COUNT, "sides whose profit factor over their last 500 trades is under 1.2"),
    Metric("clock_offset_ms", "trader", Unit.MILLISECONDS, "how far the host's clock is ahead of the exchange's newest event"),
    Metric("stream_stale", "trader", Unit.COUNT, "1 while the private stream is down or no market price came for 5 s"),
    Metric("journal_failing", "trader", Unit.COUNT, "1 while the journal cannot be written"),
    Metric("latency_median_ms", "trader", Unit.MILLISECONDS, "what the latency guard looks at"),
    Metric("probe_ms", "trader", Unit.MILLISECONDS, "round trip of a test order, every 30 s"),
    Metric("alert_to_order_ms", "trader", Unit.MILLISECONDS, "alert received to the entry sent"),
    Metric("alert_to_ack_ms", "trader", Unit.MILLISECONDS, "alert received to the entry acknowledged"),
    Metric("naked_ms", "trader", Unit.MILLISECONDS, "fill received to the covering stop acknowledged, or to flat without one"),
    Metric("order_rejects", "trader", Unit.COUNT, "orders not taken, by the exchange or on the way to it", by="failure"),
    Metric("post_only_refused", "trader", Unit.COUNT, "entries that would have taken liquidity: ordinary, they go on as IOC"),
    Metric("reconciliation_mismatch", "trader", Unit.COUNT, "positions that no fill explains"),
    Metric("closed_externally", "trader", Unit.COUNT, "positions changed by somebody else; trading is paused"),
    Metric("paused", "trader", Unit.COUNT, "pauses, whoever asked", by="reason"),
    Metric("breaker_tripped", "trader", Unit.COUNT, "trips of a breaker", by="breaker"),
    Metric("breaker_resumed", "trader", Unit.COUNT, "a breaker lets go", by="breaker"),
    Metric("alerts_refused", "trader", Unit.COUNT, "alerts that made no trade", by="code"),
    Metric("trade_r", "trader", Unit.NONE, "net R of a closed trade"),
    Metric("fee_r", "trader", Unit.NONE, "planned fees of a new trade, in R"),
)
_GATEWAY = (
    Metric("alert_ms", "gateway", Unit.MILLISECONDS, "request received to answered, of /webhook"),
    Metric("answers", "gateway", Unit.COUNT, "answers of /webhook", by="status"),
)
_FUNDING = (Metric("funding_rate", "funding_monitor", Unit.PERCENT, "funding per 8 hours, every ten minutes", by="symbol"),)
_BRIDGE = (
    Metric("bridge_failing", "bridge", Unit.COUNT, "tasks of the bridge that do not get on, every ten seconds; none: it is dead"),
)
METRICS: Mapping[str, Metric] = {metric.name: metric for metric in (*_TRADER, *_GATEWAY, *_BRIDGE, *_FUNDING)}


class Metrics:
    """One process's measurements. Raises KeyError for a name that is not in the table or belongs to another service."""

    def __init__(self, service: str, clock: Clock) -> None:
        self._service = service
        self._clock = clock
        self._known = {name: metric for name, metric in METRICS.items() if metric.service == service}

    def emit(self, values: Mapping[str, float], **dimension: str) -> None:
        """Values measured together, in one line. ``dimension`` is the one they are told apart by, and counted without."""
        if any(set(dimension) != ({self._known[name].by} - {""}) for name in values):
            raise ValueError(f"{', '.join(values)}: the dimension must be the one of the table, and is {', '.join(dimension)}")
        definitions = [{"Name": name, "Unit": self._known[name].unit.value} for name in values]
        # an alarm looks at one series: what is told apart is also counted together
        series = [["service"], ["service", *dimension]] if dimension else [["service"]]
        directive = {"Namespace": NAMESPACE, "Dimensions": series, "Metrics": definitions}
        metadata = {"Timestamp": self._clock.wall_ms(), "CloudWatchMetrics": [directive]}
        log.info("metric", _aws=metadata, service=self._service, **dimension, **values)
