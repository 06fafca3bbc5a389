"""Every alarm on a measurement of the system itself: what is measured, when it is too much, who is told, where help stands.

``service`` and ``metric`` are those of docs/metrics.md, of the nodes' vitals (ec2_bootstrap) or of a Lambda.
"""

from dataclasses import dataclass
from enum import StrEnum

TRADER, GATEWAY, BRIDGE, STREAM_NODE, ENGINE_NODE = "trader", "gateway", "bridge", "node-stream", "node-engine"


class Severity(StrEnum):
    CRITICAL = "critical"
    WARNING = "warning"


class Silence(StrEnum):
    """What no data means. ``FAULT``: the one who measures is dead. ``CALM``: nothing happened that could be measured."""

    FAULT = "fault"
    CALM = "calm"


class Limit(StrEnum):
    AT_LEAST = ">="
    ABOVE = ">"
    BELOW = "<"


@dataclass(frozen=True, slots=True)
class AlarmRule:
    """Alarms when ``statistic`` of ``metric`` over ``period_s`` is past ``threshold`` in each of ``periods`` in a row.

    ``runbook`` is the section of docs/runbooks.md.
    """

    name: str
    service: str
    metric: str
    statistic: str
    limit: Limit
    threshold: float
    severity: Severity
    silence: Silence
    meaning: str
    runbook: str = ""
    period_s: int = 60
    periods: int = 1
    is_absolute: bool = False

    @property
    def anchor(self) -> str:
        return self.runbook or self.name


_C, _W = Severity.CRITICAL, Severity.WARNING

RULES = (
    AlarmRule("trader-heartbeat", TRADER, "heartbeat", "Sum", Limit.BELOW, 1, _C, Silence.FAULT,
              "the trader has been silent for two minutes: only the stops on the exchange guard open trades", periods=2),
    AlarmRule("gateway-down", ENGINE_NODE, "gateway_up", "Minimum", Limit.BELOW, 1, _C, Silence.FAULT,
              "the gateway does not answer on its node: alerts are refused", periods=2),
    AlarmRule("stream-stale", TRADER, "stream_stale", "Minimum", Limit.AT_LEAST, 1, _C, Silence.CALM,
              "no market price or no private stream for two minutes: no trade is opened", periods=2),
    AlarmRule("market-redis-down", STREAM_NODE, "redis_up", "Minimum", Limit.BELOW, 1, _C, Silence.FAULT,
              "the stream node's Redis does not answer: no trade is opened", "redis-down", periods=2),
    AlarmRule("inbox-redis-down", ENGINE_NODE, "redis_up", "Minimum", Limit.BELOW, 1, _C, Silence.FAULT,
              "the engine node's Redis does not answer: alerts cannot be taken", "redis-down", periods=2),
    AlarmRule("naked-time", TRADER, "naked_ms", "Maximum", Limit.ABOVE, 1000, _C, Silence.CALM,
              "a position stood longer than a second without a stop"),
    AlarmRule("reconciliation-mismatch", TRADER, "reconciliation_mismatch", "Sum", Limit.AT_LEAST, 1, _C, Silence.CALM,
              "a position that no fill explains"),
    AlarmRule("closed-externally", TRADER, "closed_externally", "Sum", Limit.AT_LEAST, 1, _C, Silence.CALM,
              "somebody else changed a position of ours: trading is paused"),
    AlarmRule("journal-failing", TRADER, "journal_failing", "Maximum", Limit.AT_LEAST, 1, _C, Silence.CALM,
              "the journal cannot be written: no trade is opened"),
    AlarmRule("breaker-tripped", TRADER, "breaker_tripped", "Sum", Limit.AT_LEAST, 1, _W, Silence.CALM,
              "a breaker holds new trades back"),
    AlarmRule("bridge-failing", BRIDGE, "bridge_failing", "Minimum", Limit.AT_LEAST, 1, _W, Silence.FAULT,
              "the bridge does not get on: queued alerts, commands, notices or exports wait", period_s=300),
    AlarmRule("order-rejects", TRADER, "order_rejects", "Sum", Limit.AT_LEAST, 3, _W, Silence.CALM,
              "three orders in five minutes were not taken", period_s=300),
    AlarmRule("alert-to-order-p50", TRADER, "alert_to_order_ms", "p50", Limit.ABOVE, 350, _W, Silence.CALM,
              "half of the alerts take longer than 350 ms to their order", "alert-to-order", period_s=900),
    AlarmRule("alert-to-order-p99", TRADER, "alert_to_order_ms", "p99", Limit.ABOVE, 1000, _W, Silence.CALM,
              "the slowest alerts take longer than a second to their order", "alert-to-order", period_s=3600),
    AlarmRule("clock-offset", TRADER, "clock_offset_ms", "Average", Limit.ABOVE, 500, _W, Silence.CALM,
              "the engine's clock and the exchange's are half a second apart: signed requests will be refused", periods=5,
              is_absolute=True),
    AlarmRule("stream-disk", STREAM_NODE, "disk_used_percent", "Maximum", Limit.ABOVE, 80, _W, Silence.CALM,
              "the stream node's disk is four fifths full", "disk", period_s=300),
    AlarmRule("engine-disk", ENGINE_NODE, "disk_used_percent", "Maximum", Limit.ABOVE, 80, _C, Silence.CALM,
              "a disk of the engine node is four fifths full: a full one stops journal and inbox", "disk", period_s=300),
    AlarmRule("stream-memory", STREAM_NODE, "mem_used_percent", "Average", Limit.ABOVE, 85, _W, Silence.CALM,
              "the stream node's memory runs out", "memory", period_s=300, periods=2),
    AlarmRule("engine-memory", ENGINE_NODE, "mem_used_percent", "Average", Limit.ABOVE, 85, _W, Silence.CALM,
              "the engine node's memory runs out", "memory", period_s=300, periods=2),
    AlarmRule("certificate-expiry", ENGINE_NODE, "certificate_days_left", "Minimum", Limit.BELOW, 14, _W, Silence.CALM,
              "the certificate of the webhook ends within two weeks: renewal does not work", period_s=3600),
)  # fmt: skip
