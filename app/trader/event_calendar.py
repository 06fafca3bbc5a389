"""The operator's calendar of high-impact events: read at start, and again whenever its file has changed."""

import asyncio
from pathlib import Path

import structlog

from app.clock import Clock, ExchangeClock
from app.domain.risk.calendar import Calendar, calendar_warning
from app.domain.risk.rules import EventRules

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 60.0
LARGEST_BYTES = 5_000_000


class BadCalendarFile(Exception):
    """One line: the setting, the file, and what is wrong with it."""


class EventCalendar:
    """``current`` is None where none is configured. A file that has become unreadable leaves what was read before in force."""

    def __init__(self, rules: EventRules, clock: Clock, exchange_clock: ExchangeClock) -> None:
        self._path = Path(rules.calendar) if rules.calendar else None
        self._clock = clock
        self._exchange_clock = exchange_clock
        self._stamp: tuple[int, int] | None = None
        self._looked_at = 0.0
        self._broken = ""  # why the file, as it is now, is not in force
        self.current: Calendar | None = None
        self.problem = ""  # for the operator; empty when all is well

    def read(self) -> None:
        """At start. Raises BadCalendarFile: a calendar that is named must be there and be understood."""
        if self._path is not None:
            try:
                self._stamp = _stamp(self._path)
                self.current = _read(self._path)
            except BadCalendarFile as error:
                self._broken = str(error)
                self._judge()
                raise
        self._judge()

    async def look(self) -> None:
        """Read again when the file has changed; warn when it is about to fail its purpose."""
        now = self._clock.monotonic()
        if now - self._looked_at < LOOK_EVERY_S:
            return
        self._looked_at = now
        if self._path is None:
            return
        try:
            stamp = _stamp(self._path)
            if stamp != self._stamp:
                self._stamp = stamp
                self.current = await asyncio.to_thread(_read, self._path)  # a long one takes its time to be understood
                self._broken = ""
                log.info("calendar_read", events=len(self.current.events))
        except BadCalendarFile as error:
            self._broken = str(error)
            if not self._path.exists():
                self._stamp = None  # should it come back as it was
        self._judge()

    def _judge(self) -> None:
        if self._broken:
            left = "no event keeps an entry out" if self.current is None else "what was read before stays in force"
            self._warn(f"{self._broken}; {left}")
        else:
            self._warn(calendar_warning(self.current, self._exchange_clock.now_ms()))

    def _warn(self, problem: str) -> None:
        if problem and problem != self.problem:
            log.warning("calendar_stale", problem=problem)
        self.problem = problem


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise BadCalendarFile(f"rules.risk.events.calendar: {path}: {error.strerror}; correct the path or unset it") from None
    return found.st_mtime_ns, found.st_size


def _read(path: Path) -> Calendar:
    from app.domain.risk.calendar_files import BadCalendar, read_calendar  # only a trader with a calendar pays for its library

    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST_BYTES + 1)
        if len(raw) > LARGEST_BYTES:
            raise BadCalendar(f"{path.name}: larger than {LARGEST_BYTES} bytes")
        return read_calendar(raw.decode("utf-8"), path.name)
    except OSError as error:
        raise BadCalendarFile(f"rules.risk.events.calendar: {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BadCalendarFile(f"rules.risk.events.calendar: {path}: not UTF-8 text; save it as such") from None
    except BadCalendar as error:
        raise BadCalendarFile(f"rules.risk.events.calendar: {error}") from None
