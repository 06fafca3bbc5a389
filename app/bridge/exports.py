"""The journal's days into the bucket (or a folder): today and yesterday again and again, what has not changed only once.

After a start the days before them, too: the process may have been away.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import date, timedelta
from hashlib import sha256
from pathlib import Path

from app.clock import Clock
from app.cloud.bucket import Bucket
from app.cloud.names import JOURNAL_PREFIX
from app.storage.archive import day_of, file_name
from app.storage.sqlite import JournalReader

EVERY_S = 900.0
DAYS_TO_CATCH_UP = 7  # once, after a start
Put = Callable[[str, bytes], Awaitable[None]]


class Exporter:
    def __init__(self, reader: JournalReader, put: Put, clock: Clock) -> None:
        self._reader = reader
        self._put = put
        self._clock = clock
        self._written: dict[str, bytes] = {}
        self._caught_up = False

    async def export_recent(self) -> list[str]:
        """Names of what was written. Raises JournalUnavailable, CloudUnavailable, OSError."""
        if not self._reader.is_begun:
            return []
        today = day_of(self._clock.wall_ms())
        back = 1 if self._caught_up else DAYS_TO_CATCH_UP
        written = [name for days in range(back, -1, -1) for name in await self.export(today - timedelta(days=days))]
        self._caught_up = True
        return written

    async def export(self, day: date) -> list[str]:
        archived, written = await self._reader.archived(day), []
        for name, content in archived.files.items():
            file, digest = file_name(day, name), sha256(content).digest()
            if self._written.get(file) != digest:
                await self._put(file, content)
                self._written[file] = digest
                written.append(file)
        return written


def into_bucket(bucket: Bucket) -> Put:
    async def put(file: str, content: bytes) -> None:
        await bucket.put(f"{JOURNAL_PREFIX}/{file}", content, "application/x-ndjson")

    return put


def into_folder(folder: Path) -> Put:
    def write(file: str, content: bytes) -> None:
        target = folder / file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)

    async def put(file: str, content: bytes) -> None:
        await asyncio.to_thread(write, file, content)

    return put
