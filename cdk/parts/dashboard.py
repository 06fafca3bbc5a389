"""One page per site: what is wrong, what the trader does, how fast, and how its machines are."""

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from cdk.config import Site
from cdk.parts.alarm_rules import ENGINE_NODE, GATEWAY, STREAM_NODE, TRADER
from cdk.parts.alarms import Alarms, own_metric

_GRAPHS = (
    ("Equity, USDT", ((TRADER, "equity", "Average"),)),
    ("R of the day, drawdown", ((TRADER, "day_r", "Minimum"), (TRADER, "drawdown", "Maximum"))),
    ("Trades", ((TRADER, "open_trades", "Maximum"), (TRADER, "trading", "Minimum"), (TRADER, "trade_r", "Sum"))),
    ("Alert to order, ms", ((TRADER, "alert_to_order_ms", "p50"), (TRADER, "alert_to_order_ms", "p99"),
                            (TRADER, "alert_to_ack_ms", "p50"))),
    ("Without a stop, ms", ((TRADER, "naked_ms", "Maximum"),)),
    ("Webhook, ms", ((GATEWAY, "alert_ms", "p50"), (GATEWAY, "alert_ms", "p99"))),
    ("Refused, rejected, breakers", ((TRADER, "alerts_refused", "Sum"), (TRADER, "order_rejects", "Sum"),
                                     (TRADER, "breaker_tripped", "Sum"))),
    ("Exchange: probe and clock, ms", ((TRADER, "probe_ms", "p50"), (TRADER, "latency_median_ms", "Average"),
                                       (TRADER, "clock_offset_ms", "Average"))),
    ("Memory, %", ((STREAM_NODE, "mem_used_percent", "Average"), (ENGINE_NODE, "mem_used_percent", "Average"))),
    ("Disk, %", ((STREAM_NODE, "disk_used_percent", "Maximum"), (ENGINE_NODE, "disk_used_percent", "Maximum"))),
)  # fmt: skip


class Dashboard(Construct):
    def __init__(self, scope: Construct, name: str, *, site: Site, alarms: Alarms) -> None:
        super().__init__(scope, name)
        page = cloudwatch.Dashboard(
            self, "Page", dashboard_name=f"quantcloud-{site.name}", default_interval=cdk.Duration.hours(12)
        )
        page.add_widgets(cloudwatch.AlarmStatusWidget(title="Alarms", alarms=list(alarms.all), width=24, height=6))
        for title, lines in _GRAPHS:
            metrics = [
                own_metric(service, metric, statistic).with_(label=f"{service} {metric} {statistic}")
                for service, metric, statistic in lines
            ]
            page.add_widgets(cloudwatch.GraphWidget(title=title, left=list(metrics), width=12, height=6))
