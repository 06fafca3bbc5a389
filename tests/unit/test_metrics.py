"""Metrics: every name in one table, its documentation made from it, and lines as CloudWatch's embedded format wants them."""

import io
import json
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from manual_clock import ManualClock

from app.telemetry.logging import configure_logging
from app.telemetry.metrics import METRICS, NAMESPACE, Metrics

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "metrics.md"
INTRO = """# Metrics

Each is a JSON line of the log in CloudWatch's embedded metric format, namespace `QuantCloud`, with the dimension `service`, and
once more with the one named below beside it. CloudWatch makes metrics of them without further set-up; alarms and dashboards take
these names. In the coloured log for people they are left out. This page is made from the table the program itself uses
(`app/telemetry/metrics.py`).
"""


def page() -> str:
    lines = [INTRO, "| metric | service | unit | by | meaning |", "|--------|---------|------|----|---------|"]
    lines += [
        f"| `{m.name}` | {m.service} | {m.unit.value} | {f'`{m.by}`' if m.by else ''} | {m.meaning} |" for m in METRICS.values()
    ]
    return "\n".join(lines) + "\n"


def test_the_page_is_the_table() -> None:
    if os.environ.get("QC_TEST_WRITE_DOCS"):
        PAGE.write_text(page())
    assert PAGE.read_text() == page(), "docs/metrics.md is not the table: QC_TEST_WRITE_DOCS=1 pytest tests/unit/test_metrics.py"


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_emitted_somewhere(name: str) -> None:
    files = [path for part in ("trader", "gateway", "bridge") for path in (ROOT / "app" / part).glob("*.py")]
    files += (ROOT / "lambdas").glob("*/*.py")
    written = "\n".join(path.read_text() for path in files)
    assert re.search(rf'"{name}"', written) or name in ("breaker_tripped", "breaker_resumed")  # named by the change


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream, root = io.StringIO(), logging.getLogger()
    handlers, level = list(root.handlers), root.level
    configure_logging("INFO", stream=stream)
    yield stream
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_a_line_is_what_the_embedded_metric_format_asks_for(log: io.StringIO) -> None:
    clock = ManualClock()
    metrics = Metrics("trader", clock)
    metrics.emit({"equity": 10_000.5, "heartbeat": 1})
    metrics.emit({"breaker_tripped": 1}, breaker="day_halt")
    first, second = (json.loads(line) for line in log.getvalue().splitlines())
    [directive] = first["_aws"]["CloudWatchMetrics"]
    assert first["_aws"]["Timestamp"] == clock.wall_ms()
    assert directive["Namespace"] == NAMESPACE
    assert directive["Dimensions"] == [["service"]]
    assert directive["Metrics"] == [{"Name": "equity", "Unit": "None"}, {"Name": "heartbeat", "Unit": "Count"}]
    assert (first["service"], first["equity"], first["heartbeat"]) == ("trader", 10_000.5, 1)
    assert second["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["service"], ["service", "breaker"]]
    assert (second["breaker"], second["breaker_tripped"]) == ("day_halt", 1)


def test_a_person_reads_no_metrics() -> None:
    stream, root = io.StringIO(), logging.getLogger()
    handlers, level = list(root.handlers), root.level
    configure_logging("INFO", json_lines=False, stream=stream)
    Metrics("trader", ManualClock()).emit({"heartbeat": 1})
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    logging.getLogger("app.telemetry.metrics").setLevel(logging.NOTSET)
    assert stream.getvalue() == ""


def test_a_name_or_dimension_that_is_not_in_the_table_is_a_bug(log: io.StringIO) -> None:
    metrics = Metrics("gateway", ManualClock())
    with pytest.raises(KeyError):
        metrics.emit({"equity": 1})  # another service's
    with pytest.raises(ValueError, match="dimension"):
        metrics.emit({"answers": 1})
    with pytest.raises(ValueError, match="dimension"):
        metrics.emit({"alert_ms": 1}, status="200")
    assert log.getvalue() == ""
