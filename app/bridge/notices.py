"""Notices out of the journal, in its order, each at least once: the journal is their queue, and the order path never waits.

How far was told is kept in a small file beside the journal. On a first start only what comes from then on is told.
"""

import asyncio
import json
import os
from collections import deque
from dataclasses import asdict, replace
from pathlib import Path

import structlog

from app.bridge.wording import KINDS, notice_of_closing, notice_of_note
from app.clock import Clock
from app.cloud.topics import Notice, Severity, Topics
from app.storage.news import News, Position
from app.storage.sqlite import JournalReader

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 1.0
TOLD_WITHIN_MS = 3_600_000
_AT_ONCE = 50
_OTHERS_KEPT = 100


class NoticeDesk:
    def __init__(self, reader: JournalReader, topics: Topics, place: Path, clock: Clock) -> None:
        """``place``: the file that says how far was told."""
        self._reader = reader
        self._topics = topics
        self._place = place
        self._clock = clock
        self._told: Position | None = None
        self._seen: Position | None = None  # up to where ``untold`` goes
        self._untold: deque[Notice] = deque()
        self._others: deque[Notice] = deque(maxlen=_OTHERS_KEPT)

    def add(self, notice: Notice) -> None:
        """One that is not the journal's. Many at once push out the oldest."""
        self._others.append(notice)

    async def tell(self) -> int:
        """What is new; how many notices that were. Raises CloudUnavailable, JournalUnavailable: then the rest follows later."""
        while self._others:
            await self._publish(self._others[0])
            self._others.popleft()
        if not self._untold:
            await self._look()
        count = len(self._untold)
        while self._untold:
            await self._publish(self._untold[0])
            self._untold.popleft()
        if self._told != self._seen:
            self._told = self._seen
            await asyncio.to_thread(_write_place, self._place, self._told)
        return count

    async def _look(self) -> None:
        if not self._reader.is_begun:
            return
        if self._told is None:
            self._told = self._seen = await self._read_place()
        news = await self._reader.news(self._told, KINDS, _AT_ONCE)
        self._untold.extend(self._notices(news))
        self._seen = news.position

    def _notices(self, news: News) -> list[Notice]:
        oldest_ms = self._clock.wall_ms() - TOLD_WITHIN_MS
        fresh = [note for note in news.notes if note.wall_ms >= oldest_ms]
        notices = [notice_of_note(note, news.trades.get(note.trade_id)) for note in fresh]
        notices += [notice_of_closing(closing, news.trades.get(closing.trade_id)) for closing in news.closings]
        if missed := len(news.notes) - len(fresh):
            words = "They are older than an hour and stand in the journal only."
            notices.append(Notice(Severity.WARNING, "missed", f"{missed} notices were not sent", words))
        return notices

    async def _publish(self, notice: Notice) -> None:
        await self._topics.publish(replace(notice, subject=f"{self._topics.names.site}: {notice.subject}"))

    async def _read_place(self) -> Position:
        """Never beyond the journal's end: an older journal may have been restored."""
        end = await self._reader.end()
        try:
            told = Position(**json.loads(self._place.read_text()))
        except FileNotFoundError:
            return end
        except (OSError, ValueError, TypeError) as error:
            log.warning("place_unreadable", file=str(self._place), error=str(error))
            return end
        return Position(min(told.note, end.note), min(told.closing, end.closing))


def _write_place(place: Path, position: Position | None) -> None:
    """Where it cannot be written, some notices are told again after a restart."""
    if position is None:
        return
    unfinished = place.with_suffix(f".{os.getpid()}")
    try:
        unfinished.write_text(json.dumps(asdict(position)))
        unfinished.replace(place)
    except OSError as error:
        log.warning("place_not_written", file=str(place), error=str(error))
