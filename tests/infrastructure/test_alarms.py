"""From every alarm to its measurement, from the measurement to who emits it, from the alarm to its runbook and its people."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from template_reading import resources
from toolchain import ROOT

from app.telemetry.metrics import METRICS

Alarm = dict[str, Any]
Templates = Mapping[str, dict[str, Any]]
pytestmark = pytest.mark.timeout(300)
SITES = ("tokyo", "frankfurt")
OF_EC2 = {"StatusCheckFailed_System", "StatusCheckFailed_Instance"}
_NODE_SOURCES = [path for path in (ROOT / "ec2_bootstrap").rglob("*") if path.is_file() and path.suffix != ".md"]


def alarms(templates: Templates, site: str) -> Iterator[Alarm]:
    for part in ("operations", "nodes"):
        for alarm in resources(templates[f"quantcloud-{site}-{part}"], "AWS::CloudWatch::Alarm"):
            yield alarm["Properties"]


def measured(alarm: Alarm) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(namespace, metric, dimensions)."""
    stats = [one["MetricStat"]["Metric"] for one in alarm.get("Metrics", []) if "MetricStat" in one] or [alarm]
    for metric in stats:
        yield metric["Namespace"], metric["MetricName"], {one["Name"]: one["Value"] for one in metric.get("Dimensions", [])}


def is_emitted(
    namespace: str, name: str, dimensions: Mapping[str, Any], template: Mapping[str, Any], foundation: Mapping[str, Any]
) -> bool:
    if namespace == "QuantCloud":
        service = dimensions["service"]
        if service.startswith("node-"):
            return any(re.search(rf"\b{name}\b", path.read_text(errors="ignore")) for path in _NODE_SOURCES)
        return name in METRICS and METRICS[name].service == service
    if namespace == "AWS/Lambda":
        return name == "Errors" and dimensions["FunctionName"]["Ref"] in template["Resources"]
    if namespace == "AWS/SQS":
        queues = [*resources(template, "AWS::SQS::Queue"), *resources(foundation, "AWS::SQS::Queue")]
        names = {queue["Properties"]["QueueName"] for queue in queues}
        return name == "ApproximateNumberOfMessagesVisible" and dimensions["QueueName"] in names
    return namespace == "AWS/EC2" and name in OF_EC2


@pytest.mark.parametrize("site", SITES)
def test_each_alarm_watches_what_somebody_emits(templates: Templates, site: str) -> None:
    template, foundation = templates[f"quantcloud-{site}-operations"], templates[f"quantcloud-{site}-foundation"]
    found = {name for alarm in alarms(templates, site) for _, name, _ in measured(alarm)}
    silent = {
        (alarm["AlarmName"], name)
        for alarm in alarms(templates, site)
        for namespace, name, dimensions in measured(alarm)
        if not is_emitted(namespace, name, dimensions, template, foundation)
    }
    assert len(found) > 15
    assert not silent


@pytest.mark.parametrize("site", SITES)
def test_the_dashboard_shows_what_somebody_emits(templates: Templates, site: str) -> None:
    template = templates[f"quantcloud-{site}-operations"]
    (page,) = resources(template, "AWS::CloudWatch::Dashboard")
    body = "".join(part for part in page["Properties"]["DashboardBody"]["Fn::Join"][1] if isinstance(part, str))
    shown = re.findall(r'\["QuantCloud","(\w+)","service","([\w-]+)"', body)
    assert len(shown) > 15
    assert [one for one in shown if not is_emitted("QuantCloud", one[0], {"service": one[1]}, template, template)] == []


NAMED = (
    "trader-heartbeat", "gateway-down", "stream-stale", "inbox-redis-down", "market-redis-down", "naked-time",
    "reconciliation-mismatch", "breaker-tripped", "order-rejects", "alert-to-order-p50", "alert-to-order-p99",
    "clock-offset", "engine-disk", "stream-disk", "engine-memory", "stream-memory", "certificate-expiry",
    "engine-host-check", "engine-system-check", "stream-host-check", "stream-system-check", "control-api-errors",
    "daily-report-errors", "funding-monitor-errors", "telegram-notifier-errors", "webhook-fallback-errors",
    "commands-dead-letters", "alerts-dead-letters",
)  # fmt: skip


@pytest.mark.parametrize("site", SITES)
def test_everything_an_on_call_wants_is_there(templates: Templates, site: str) -> None:
    names = {alarm["AlarmName"] for alarm in alarms(templates, site)}
    assert {f"quantcloud-{site}-{name}" for name in NAMED} <= names


def anchors() -> set[str]:
    headings = re.findall(r"^## (.+)$", (ROOT / "docs" / "runbooks.md").read_text(), re.M)
    return {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("site", SITES)
def test_each_alarm_leads_to_a_section_of_the_runbooks(templates: Templates, site: str) -> None:
    linked = {alarm["AlarmDescription"].rpartition("docs/runbooks.md#")[2] for alarm in alarms(templates, site)}
    assert linked <= anchors()


def test_no_section_of_the_runbooks_is_without_an_alarm(templates: Templates) -> None:
    linked = {alarm["AlarmDescription"].rpartition("#")[2] for site in SITES for alarm in alarms(templates, site)}
    assert anchors() - linked <= {"how-to-look", "after-an-alarm"}


def test_silence_is_a_fault_only_where_somebody_should_be_working(templates: Templates) -> None:
    def heartbeat(site: str) -> str:
        (alarm,) = (one for one in alarms(templates, site) if one["AlarmName"].endswith("trader-heartbeat"))
        return str(alarm["TreatMissingData"])

    assert (heartbeat("tokyo"), heartbeat("frankfurt")) == ("breaching", "notBreaching")


@pytest.mark.parametrize("site", SITES)
def test_a_sick_machine_is_recovered_or_rebooted(templates: Templates, site: str) -> None:
    done = {
        alarm["AlarmName"].removeprefix(f"quantcloud-{site}-"): json.dumps(alarm["AlarmActions"])
        for alarm in alarms(templates, site)
        if alarm["AlarmName"].endswith("-check")
    }
    for node in ("stream", "engine"):
        assert "ec2:recover" in done[f"{node}-host-check"]
        assert "ec2:reboot" in done[f"{node}-system-check"]
