"""The bridge as a process: every task apart from the others, trying again when AWS, the inbox or the journal does not answer."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import structlog

from app.bridge.alerts import AlertBridge
from app.bridge.commands import CommandBridge
from app.bridge.exports import EVERY_S, Exporter, into_bucket
from app.bridge.notices import LOOK_EVERY_S as NOTICES_EVERY_S
from app.bridge.notices import NoticeDesk
from app.bridge.status import LOOK_EVERY_S as STATUS_EVERY_S
from app.bridge.status import StatusShelf
from app.bus.port import BusUnavailable, Inbox
from app.clock import Clock
from app.cloud.errors import CloudUnavailable
from app.cloud.site import Site
from app.domain.signal_rules import SignalRules
from app.storage.port import JournalUnavailable
from app.storage.sqlite import JournalReader
from app.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

POLL_S = 5  # a long poll ends so soon, and with it a stopping process
RETRY_S = 3.0
MEASURE_EVERY_S = 10.0


@dataclass(frozen=True, slots=True)
class Task:
    name: str
    work: Callable[[], Awaitable[object]]
    every_s: float


async def run_bridge(
    site: Site, inbox: Inbox, reader: JournalReader, place: Path, signals: SignalRules, clock: Clock, stop: asyncio.Event
) -> None:
    """Until ``stop``. ``place``: the file that says how far notices were told."""
    try:
        async with asyncio.TaskGroup() as group:
            notices = NoticeDesk(reader, site.topics, place, clock)
            alerts = AlertBridge(site.alerts, inbox, signals, clock, notices.add)
            commands = CommandBridge(site.commands, inbox, clock, group.create_task, notices.add)
            status = StatusShelf(inbox, site.bucket, site.names.site, commands.outcomes, clock)
            exporter = Exporter(reader, into_bucket(site.bucket), clock)
            tasks = (
                Task("alerts", lambda: alerts.carry(POLL_S), 0),
                Task("commands", lambda: commands.carry(POLL_S), 0),
                Task("status", status.keep, STATUS_EVERY_S),
                Task("notices", notices.tell, NOTICES_EVERY_S),
                Task("export", exporter.export_recent, EVERY_S),
            )
            failing: set[str] = set()
            for task in tasks:
                group.create_task(_again_and_again(task, failing, clock))
            group.create_task(_measure(failing, clock))
            log.info("bridge_ready", site=site.names.site)
            await stop.wait()
            raise _Stopped
    except* _Stopped:
        pass


async def _again_and_again(task: Task, failing: set[str], clock: Clock) -> None:
    while True:
        try:
            await task.work()
        except (CloudUnavailable, BusUnavailable, JournalUnavailable) as error:
            if task.name not in failing:
                log.warning("bridge_task_failing", task=task.name, error=str(error))
            failing.add(task.name)
            await clock.sleep(RETRY_S)
            continue
        if task.name in failing:
            log.info("bridge_task_works_again", task=task.name)
            failing.remove(task.name)
        await clock.sleep(task.every_s)


async def _measure(failing: Collection[str], clock: Clock) -> None:
    metrics = Metrics("bridge", clock)
    while True:
        metrics.emit({"bridge_failing": len(failing)})
        await clock.sleep(MEASURE_EVERY_S)


class _Stopped(Exception):
    """Asked to stop; unwinds the task group."""
