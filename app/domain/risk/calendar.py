"""High-impact events: known days ahead, and nothing is opened around them. The operator's file is read by ``calendar_files``."""

from dataclasses import dataclass
from datetime import UTC, datetime

MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True)
class HighImpactEvent:
    at_ms: int  # Unix ms
    title: str

    def __str__(self) -> str:
        return f"{self.title} at {datetime.fromtimestamp(self.at_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC"


@dataclass(frozen=True, slots=True)
class Calendar:
    """Earliest first."""

    events: tuple[HighImpactEvent, ...] = ()

    def __post_init__(self) -> None:
        if list(self.events) != sorted(self.events, key=lambda event: event.at_ms):
            raise ValueError("a calendar's events must be in the order of their times")

    def near(self, now_ms: int, before_min: int, after_min: int) -> HighImpactEvent | None:
        """The first event that begins within ``before_min`` or began within ``after_min``."""
        earliest, latest = now_ms - after_min * MINUTE_MS, now_ms + before_min * MINUTE_MS
        return next((event for event in self.events if earliest <= event.at_ms <= latest), None)

    def next_after(self, now_ms: int) -> HighImpactEvent | None:
        return next((event for event in self.events if event.at_ms > now_ms), None)


def calendar_warning(calendar: Calendar | None, now_ms: int) -> str:
    """What the operator should be told at start; empty when the calendar reaches into the future."""
    if calendar is None:
        return "no calendar of high-impact events is configured: name an ICS or CSV file in rules.risk.events.calendar"
    if not calendar.events:
        return "the calendar of high-impact events is empty: put the events to come into rules.risk.events.calendar"
    if calendar.next_after(now_ms) is None:
        last = calendar.events[-1]
        return f"the calendar of high-impact events has run out, its last is {last}: renew the file rules.risk.events.calendar"
    return ""
