"""The journal in SQLite: write-ahead log, fsync at every commit, one writer thread: the event loop never waits for the disk."""

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import ValidationError
from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool, StaticPool

from app.domain.plan import Plan
from app.domain.statistics.closed_trade import ClosedTrade
from app.storage import statements
from app.storage.archive import ArchivedDay
from app.storage.archive_queries import read_day
from app.storage.closed_trades import ClosedFilter
from app.storage.migrations import UnknownRevision, migrate
from app.storage.news import News, Position, read_end, read_news
from app.storage.port import (
    AlertRecord,
    DuplicateAlert,
    Entry,
    JournalUnavailable,
    Meanwhile,
    StoredTrade,
    TradeClosed,
    nothing,
)
from app.storage.statements import Write

Answer = TypeVar("Answer")
BATCH_S = 0.02  # appended entries wait so long for company: a burst of fills and answers is one commit, out of the burst's way
BUSY_MS = 2_000  # how long a write waits for another process's lock


class SqliteJournal:
    """``failed`` holds the last failed write until a later one succeeds; of queued entries what failed stays queued, in order."""

    def __init__(self, path: Path, *, busy_ms: int = BUSY_MS) -> None:
        self._path = path
        self._busy_ms = busy_ms
        self._engine: Engine | None = None
        self._driver: sqlite3.Connection | None = None  # the engine's one connection
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")
        self._queued: deque[Write] = deque()
        self._drain_is_due = False
        self.failed: JournalUnavailable | None = None

    async def open(self) -> None:
        await self._in_writer(self._open)

    async def close(self) -> None:
        """Writes what is queued. Raises JournalUnavailable when it cannot."""
        try:
            if self._engine is not None:
                await self._in_writer(self._close)
        finally:
            self._writer.shutdown(wait=False)

    async def open_trade(self, alert: AlertRecord, plan: Plan, meanwhile: Meanwhile = nothing) -> None:
        loop, writes = asyncio.get_running_loop(), [statements.write_of_alert(alert), statements.write_of_plan(plan)]

        def before_commit() -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(meanwhile)

        await self._in_writer(lambda: self._take(alert, writes, before_commit))

    async def refuse(self, alert: AlertRecord) -> None:
        writes = [statements.write_of_alert(alert)]
        await self._in_writer(lambda: self._take(alert, writes))

    def append(self, entry: Entry) -> None:
        """Raises ValueError when something in the entry is not JSON; a failure to write it shows at ``flush``."""
        self._queued.append(statements.write_of(entry))
        if not self._drain_is_due:
            self._drain_is_due = True
            asyncio.get_running_loop().call_later(BATCH_S, self._start_drain)

    def _start_drain(self) -> None:
        self._drain_is_due = False
        if self._engine is not None:
            self._writer.submit(self._drain_quietly)

    async def flush(self) -> None:
        await self._in_writer(self._drain)

    async def live_trades(self) -> Sequence[StoredTrade]:
        return await self._read(statements.read_live_trades)

    async def trade(self, trade_id: str) -> StoredTrade | None:
        return await self._read(lambda connection: statements.read_trade(connection, trade_id))

    async def alert(self, alert_id: str) -> AlertRecord | None:
        return await self._read(lambda connection: statements.read_alert(connection, alert_id))

    async def closings_since(self, exchange_ms: int) -> Sequence[TradeClosed]:
        return await self._read(lambda connection: statements.read_closings(connection, exchange_ms))

    async def closed_trades(self, wanted: ClosedFilter) -> Sequence[ClosedTrade]:
        return await self._read(lambda connection: statements.read_closed_trades(connection, wanted))

    async def net_quantities(self, trade_ids: Sequence[str]) -> Mapping[str, Decimal]:
        return await self._read(lambda connection: statements.read_net_quantities(connection, trade_ids))

    async def read_state(self, name: str) -> Mapping[str, Any] | None:
        return await self._read(lambda connection: statements.read_state(connection, name))

    async def write_state(self, name: str, value: Mapping[str, Any]) -> None:
        write = statements.write_of_state(name, value)
        await self._in_writer(lambda: self._commit([write]))

    async def _in_writer(self, work: Callable[[], Answer]) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._writer, work)

    async def _read(self, query: Callable[[Connection], Answer]) -> Answer:
        """Read after everything appended before, so far as it could be written."""

        def work() -> Answer:
            self._drain_quietly()
            return _answer(self._connected(), self._path, query)

        return await self._in_writer(work)

    # In the writer thread from here on.

    def _open(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._engine = writing_engine(self._path, self._busy_ms)
            with self._engine.connect() as connection:
                _check(connection, self._path)
                migrate(connection)
            self._driver = cast(sqlite3.Connection, self._engine.raw_connection().driver_connection)
        except (SQLAlchemyError, OSError, UnknownRevision) as error:
            raise _unavailable(self._path, error) from error

    def _close(self) -> None:
        try:
            self._drain()
        finally:
            self._connected().dispose()
            self._engine = self._driver = None

    def _connected(self) -> Engine:
        if self._engine is None:
            raise JournalUnavailable(f"journal {self._path} is not open")
        return self._engine

    def _take(self, alert: AlertRecord, writes: Sequence[Write], before_commit: Meanwhile = nothing) -> None:
        try:
            self._commit(writes, before_commit)
        except sqlite3.IntegrityError as error:
            first = _answer(self._connected(), self._path, lambda connection: statements.first_alert_id(connection, alert))
            if first is None:
                raise _unavailable(self._path, error) from error
            raise DuplicateAlert(first) from None

    def _commit(self, writes: Sequence[Write], before_commit: Meanwhile = nothing) -> None:
        """One durable transaction, after everything queued before it."""
        self._drain()
        try:
            self._execute(writes, before_commit)
        except sqlite3.IntegrityError:
            raise
        except sqlite3.Error as error:
            raise self._failure(error) from error

    def _execute(self, writes: Sequence[Write], before_commit: Meanwhile = nothing) -> None:
        """Straight on the driver: the entry of a trade waits for this, and SQLAlchemy's execution takes as long as the disk."""
        if self._driver is None:
            raise JournalUnavailable(f"journal {self._path} is not open")
        with self._driver:
            self._driver.execute("BEGIN")
            for statement, row in writes:
                self._driver.execute(statements.sql_of(statement, tuple(row)), row)
            before_commit()  # the driver lets go of the interpreter while the disk writes
        self.failed = None

    def _failure(self, error: sqlite3.Error) -> JournalUnavailable:
        self.failed = _unavailable(self._path, error)
        return self.failed

    def _drain(self) -> None:
        while batch := tuple(self._queued):
            try:
                self._execute(batch)
            except sqlite3.Error as error:
                raise self._failure(error) from error
            for _ in batch:
                self._queued.popleft()

    def _drain_quietly(self) -> None:
        try:
            self._drain()
        except JournalUnavailable as error:
            self.failed = error


class JournalReader:
    """Another process's journal, read only: for the gateway. Every method may raise JournalUnavailable."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._engine = _reading_engine(path)

    @property
    def is_begun(self) -> bool:
        """Whether there is one: where no trader has ever run, on a passive site, there is nothing to read, and no fault."""
        return self._path.exists()

    async def trade(self, trade_id: str) -> StoredTrade | None:
        return await self._read(lambda connection: statements.read_trade(connection, trade_id))

    async def alert(self, alert_id: str) -> AlertRecord | None:
        return await self._read(lambda connection: statements.read_alert(connection, alert_id))

    async def closed_trades(self, wanted: ClosedFilter) -> Sequence[ClosedTrade]:
        return await self._read(lambda connection: statements.read_closed_trades(connection, wanted))

    async def archived(self, day: date) -> ArchivedDay:
        return await self._read(lambda connection: read_day(connection, day))

    async def end(self) -> Position:
        return await self._read(read_end)

    async def news(self, since: Position, kinds: Sequence[str], limit: int) -> News:
        return await self._read(lambda connection: read_news(connection, since, kinds, limit))

    async def _read(self, query: Callable[[Connection], Answer]) -> Answer:
        return await asyncio.to_thread(_answer, self._engine, self._path, query)


def _answer(engine: Engine, path: Path, query: Callable[[Connection], Answer]) -> Answer:
    try:
        with engine.connect() as connection:
            return query(connection)
    except SQLAlchemyError as error:
        raise _unavailable(path, error) from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in (error.title, *first["loc"]))
        cause = f"a record of another release cannot be read ({where}: {first['msg']})"
        raise JournalUnavailable(f"journal {path}: {cause}: end open trades with the release that began them") from error


def writing_engine(path: Path, busy_ms: int) -> Engine:
    # check_same_thread: the pool keeps one connection, and only the writer thread ever uses it.
    engine = create_engine(
        URL.create("sqlite", database=str(path)), poolclass=StaticPool, connect_args={"check_same_thread": False}
    )

    @event.listens_for(engine, "connect")
    def _set_up(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # transactions begin below, so that a migration is one too
        for pragma in ("journal_mode = WAL", "synchronous = FULL", f"busy_timeout = {busy_ms}"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine


def _reading_engine(path: Path) -> Engine:
    address = f"{path.resolve().as_uri()}?mode=ro"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(address, uri=True, timeout=BUSY_MS / 1000, check_same_thread=False)

    return create_engine("sqlite://", creator=connect, poolclass=NullPool)


def _check(connection: Connection, path: Path) -> None:
    verdict = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
    if verdict != "ok":
        found = " ".join(str(verdict).split())
        raise JournalUnavailable(f"journal {path} is damaged ({found}): restore it from a backup, or move it away to start anew")


def _unavailable(path: Path, error: Exception) -> JournalUnavailable:
    if isinstance(error, UnknownRevision):
        return JournalUnavailable(f"journal {path} was written by a newer release ({error}): upgrade, or name another file")
    cause = " ".join(str(getattr(error, "orig", None) or error).split())
    if "not a database" in cause or "malformed" in cause:
        fix = "restore it from a backup, or move it away to start anew"
    elif "full" in cause:
        fix = "free space on its disk"
    elif "locked" in cause:
        fix = "another process is writing it: stop that one, or name another file"
    else:
        fix = "name a writable file (journal.path, QC_JOURNAL__PATH)"
    return JournalUnavailable(f"journal {path}: {cause}: {fix}")
