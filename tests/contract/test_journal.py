"""What every journal promises: durable before it returns, in order, once, and all of it there after a crash."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from storage_samples import a_closing, a_fill, a_note, a_plan, an_alert, an_order

from app.domain.instrument import Side
from app.domain.orders import OrderStatus
from app.storage.in_memory import InMemoryJournal, JournalStore
from app.storage.port import (
    DuplicateAlert,
    FillNote,
    Journal,
    JournalUnavailable,
    Meanwhile,
    Note,
    OrderNote,
    StoredTrade,
    nothing,
)
from app.storage.sqlite import JournalReader, SqliteJournal, writing_engine
from app.storage.statements import Write

Opener = Callable[[], Journal]


@pytest.fixture(params=["memory", "sqlite"])
async def opener(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Opener]:
    """Each call is the same journal opened by a new process."""
    opened: list[Journal] = []
    store = JournalStore()

    def again() -> Journal:
        journal: Journal = (
            InMemoryJournal(store) if request.param == "memory" else SqliteJournal(tmp_path / "var" / "journal.sqlite")
        )
        opened.append(journal)
        return journal

    yield again
    for journal in opened:
        await journal.close()


@pytest.fixture
async def journal(opener: Opener) -> Journal:
    first = opener()
    await first.open()
    return first


async def test_a_trade_is_read_back_as_it_was_written(journal: Journal) -> None:
    await journal.open_trade(an_alert(), a_plan())
    assert await journal.trade("trade1") == StoredTrade(a_plan(), (), (), (), None)
    assert await journal.alert("trade1") == an_alert()
    assert await journal.trade("other") is None
    assert await journal.alert("other") is None


async def test_something_else_can_be_done_while_a_plan_is_written(journal: Journal) -> None:
    done: list[int] = []
    await journal.open_trade(an_alert(), a_plan(), lambda: done.append(threading.get_ident()))
    assert done == [threading.get_ident()]  # in the caller's loop
    with pytest.raises(DuplicateAlert):
        await journal.open_trade(an_alert(), a_plan(), lambda: done.append(0))
    assert len(done) == 1


async def test_what_is_done_meanwhile_comes_before_the_plan_is_there(tmp_path: Path) -> None:
    """It is told before the commit begins: afterwards the disk would have been waited for."""
    path, looked = tmp_path / "journal.sqlite", threading.Event()
    seen: list[int] = []

    class Held(SqliteJournal):
        def _execute(self, writes: Sequence[Write], before_commit: Meanwhile = nothing) -> None:
            def held() -> None:
                before_commit()
                assert before_commit is nothing or looked.wait(10.0)

            super()._execute(writes, held)

    def look() -> None:
        with sqlite3.connect(path) as reader:
            seen.extend(reader.execute("SELECT count(*) FROM trades").fetchone())
        looked.set()

    journal = Held(path)
    await journal.open()
    await journal.open_trade(an_alert(), a_plan(), look)
    assert seen == [0]
    assert await journal.trade("trade1") is not None
    await journal.close()


async def test_every_plan_is_read_back_with_its_own_rules(journal: Journal) -> None:
    """Also where a run's plans do not share theirs."""
    slow = a_plan(2).rules.model_copy(update={"timeframe_min": 15})
    plans = [a_plan(1), replace(a_plan(2), rules=slow), a_plan(3)]
    for number, plan in enumerate(plans, 1):
        await journal.open_trade(an_alert(number), plan)
    assert [stored.plan for stored in await journal.live_trades()] == plans


async def test_what_follows_is_kept_in_order(journal: Journal) -> None:
    await journal.open_trade(an_alert(), a_plan())
    for number in range(20):
        journal.append(a_note(number))
        journal.append(FillNote("trade1", a_fill(number)))
    journal.append(Note("", "system", 1, 2))
    journal.append(a_closing())
    stored = await journal.trade("trade1")
    assert stored is not None
    assert stored.notes == tuple(a_note(number) for number in range(20))
    assert stored.fills == tuple(a_fill(number) for number in range(20))
    assert stored.closed == a_closing()


async def test_an_order_is_kept_as_last_known(journal: Journal) -> None:
    await journal.open_trade(an_alert(), a_plan())
    for client_id, status in (("a", OrderStatus.OPEN), ("b", OrderStatus.OPEN), ("a", OrderStatus.FILLED)):
        journal.append(OrderNote("trade1", an_order(client_id, status)))
    stored = await journal.trade("trade1")
    assert stored is not None
    assert stored.orders == (an_order("a", OrderStatus.FILLED), an_order("b", OrderStatus.OPEN))


async def test_a_repeated_fill_counts_once(journal: Journal) -> None:
    await journal.open_trade(an_alert(), a_plan())
    for entry in (a_fill(1), a_fill(1), a_fill(2), a_fill(1, symbol="ETHUSDT")):
        journal.append(FillNote("trade1", entry))
    stored = await journal.trade("trade1")
    assert stored is not None
    assert stored.fills == (a_fill(1), a_fill(2), a_fill(1, symbol="ETHUSDT"))


async def test_closings_are_read_from_a_moment_on_oldest_first(journal: Journal) -> None:
    for number in (1, 2, 3):
        await journal.open_trade(an_alert(number), a_plan(number))
    closings = [replace(a_closing(f"trade{number}"), exchange_ms=number * 1_000) for number in (2, 1)]
    for closing in (*closings, replace(closings[0], reason="twice")):
        journal.append(closing)
    assert await journal.closings_since(0) == closings[::-1]
    assert await journal.closings_since(2_000) == closings[:1]
    assert await journal.closings_since(2_001) == []


async def test_net_quantities_are_the_signed_sum_of_fills(journal: Journal) -> None:
    for number in (1, 2, 3):
        await journal.open_trade(an_alert(number), a_plan(number))
    journal.append(FillNote("trade1", a_fill(1, Side.BUY, quantity="0.018")))
    journal.append(FillNote("trade1", a_fill(2, Side.SELL, quantity="0.005")))
    journal.append(FillNote("trade2", a_fill(3, Side.SELL, "ETHUSDT", "1.5")))
    journal.append(FillNote("trade3", a_fill(4, Side.BUY, quantity="9")))
    net = await journal.net_quantities(["trade1", "trade2"])
    assert net == {"BTCUSDT": Decimal("0.013"), "ETHUSDT": Decimal("-1.5")}
    assert await journal.net_quantities([]) == {}


async def test_live_trades_are_those_without_a_closing_oldest_first(journal: Journal) -> None:
    for number in (3, 1, 2):
        await journal.open_trade(an_alert(number), a_plan(number))
    journal.append(a_closing("trade2"))
    journal.append(a_closing("trade2", "twice"))
    assert [trade.plan.trade_id for trade in await journal.live_trades()] == ["trade1", "trade3"]
    stored = await journal.trade("trade2")
    assert stored is not None
    assert stored.closed == a_closing("trade2")


async def test_one_alert_makes_one_trade_across_restarts(opener: Opener, journal: Journal) -> None:
    await journal.open_trade(an_alert(1), a_plan(1))
    await journal.refuse(an_alert(2, code="stale_alert"))
    successor = opener()
    await successor.open()
    for again in (journal, successor):
        with pytest.raises(DuplicateAlert) as first:
            await again.open_trade(replace(an_alert(9), key="key1"), a_plan(9))
        assert first.value.alert_id == "trade1"
        with pytest.raises(DuplicateAlert) as refused:
            await again.refuse(replace(an_alert(8), key="key2"))
        assert refused.value.alert_id == "trade2"
        with pytest.raises(DuplicateAlert):
            await again.open_trade(replace(an_alert(1), key="another"), a_plan(1))
    assert await journal.trade("trade9") is None
    assert await journal.alert("trade9") is None
    assert (await journal.alert("trade2")) == an_alert(2, code="stale_alert")


async def test_state_is_lasting_and_replaced(opener: Opener, journal: Journal) -> None:
    assert await journal.read_state("arming") is None
    await journal.write_state("arming", {"armed": False})
    await journal.write_state("arming", {"armed": True, "by": "operator"})
    successor = opener()
    await successor.open()
    assert await successor.read_state("arming") == {"armed": True, "by": "operator"}


async def test_flushed_entries_are_there_for_a_new_process(opener: Opener, journal: Journal) -> None:
    await journal.open_trade(an_alert(), a_plan())
    journal.append(a_note(1))
    await journal.flush()
    successor = opener()
    await successor.open()
    (live,) = await successor.live_trades()
    assert live.notes == (a_note(1),)


async def test_what_is_not_json_is_refused_at_once(journal: Journal) -> None:
    with pytest.raises(ValueError, match="object"):
        journal.append(Note("", "bad", 1, 2, {"what": object()}))
    await journal.flush()


async def test_memory_that_cannot_be_written_says_so_and_forgets_nothing() -> None:
    store = JournalStore()
    journal = InMemoryJournal(store)
    await journal.open_trade(an_alert(), a_plan())
    store.writable = False
    await failing_then_healing(journal, lambda: setattr(store, "writable", True))


async def test_a_disk_that_fails_says_so_and_nothing_is_forgotten(tmp_path: Path) -> None:
    """Another connection's exclusive transaction stands for the disk that does not take writes."""
    path = tmp_path / "journal.sqlite"
    journal = SqliteJournal(path, busy_ms=50)
    await journal.open()
    await journal.open_trade(an_alert(), a_plan())
    blocker = await asyncio.to_thread(blocked, path)
    await failing_then_healing(journal, blocker.close)
    await journal.close()


def blocked(path: Path) -> sqlite3.Connection:
    blocker = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    blocker.execute("BEGIN EXCLUSIVE")
    return blocker


async def failing_then_healing(journal: InMemoryJournal | SqliteJournal, heal: Callable[[], object]) -> None:
    journal.append(a_note(1))
    journal.append(FillNote("trade1", a_fill(1)))
    with pytest.raises(JournalUnavailable):
        await journal.flush()
    assert isinstance(journal.failed, JournalUnavailable)
    with pytest.raises(JournalUnavailable):
        await journal.open_trade(an_alert(2), a_plan(2))
    heal()
    journal.append(a_note(2))
    await journal.flush()
    assert journal.failed is None
    stored = await journal.trade("trade1")
    assert stored is not None
    assert (stored.notes, stored.fills) == ((a_note(1), a_note(2)), (a_fill(1),))
    assert await journal.trade("trade2") is None


_WRITER = """
import asyncio, sys
from pathlib import Path
from storage_samples import a_fill, a_note, a_plan, an_alert
from app.storage.port import FillNote
from app.storage.sqlite import SqliteJournal

async def main():
    journal = SqliteJournal(Path(sys.argv[1]))
    await journal.open()
    await journal.open_trade(an_alert(), a_plan())
    for number in range(50):
        journal.append(FillNote("trade1", a_fill(number)))
    await journal.flush()
    print("flushed", flush=True)
    for number in range(1000):
        journal.append(a_note(number))
        await asyncio.sleep(0)
    print("going on", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_a_killed_process_leaves_the_plan_and_all_it_flushed(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    killed = await asyncio.to_thread(killed_writer, path)
    assert killed == -signal.SIGKILL
    journal = SqliteJournal(path)
    await journal.open()
    (live,) = await journal.live_trades()
    assert live.plan == a_plan()
    assert live.fills == tuple(a_fill(number) for number in range(50))
    assert live.notes == tuple(a_note(number) for number in range(len(live.notes)))
    with pytest.raises(DuplicateAlert):
        await journal.open_trade(an_alert(), a_plan())
    await journal.close()


def killed_writer(path: Path) -> int:
    path_entries = {"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    child = subprocess.Popen([sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE, env=os.environ | path_entries)
    assert child.stdout is not None
    with child.stdout:
        assert child.stdout.readline() == b"flushed\n"
        child.send_signal(signal.SIGKILL)
        return child.wait()


async def test_another_process_reads_what_is_written(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    reader = JournalReader(path)
    with pytest.raises(JournalUnavailable, match="unable to open"):
        await reader.trade("trade1")
    journal = SqliteJournal(path)
    await journal.open()
    assert await reader.trade("trade1") is None
    await journal.open_trade(an_alert(), a_plan())
    journal.append(FillNote("trade1", a_fill()))
    await journal.flush()
    assert await reader.trade("trade1") == StoredTrade(a_plan(), (), (), (a_fill(),), None)
    assert await reader.alert("trade1") == an_alert()
    await journal.close()
    assert await reader.trade("trade1") is not None


def test_every_commit_is_synced(tmp_path: Path) -> None:
    engine = writing_engine(tmp_path / "journal.sqlite", 100)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
    engine.dispose()


def make_directory(path: Path) -> None:
    path.mkdir()


def make_garbage(path: Path) -> None:
    path.write_bytes(b"this is not a journal " * 100)


def make_torn(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t (x)")
        connection.executemany("INSERT INTO t VALUES (?)", [("x" * 500,)] * 200)
    connection.close()
    data = bytearray(path.read_bytes())
    data[8192:12288] = os.urandom(4096)
    path.write_bytes(data)


def make_newer(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("INSERT INTO alembic_version VALUES ('9999')")
    connection.close()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (make_directory, "name a writable file"),
        (make_garbage, "not a database: restore it from a backup"),
        (make_torn, "damaged|malformed"),
        (make_newer, "written by a newer release"),
    ],
)
async def test_a_bad_file_gets_one_clear_line(tmp_path: Path, make: Callable[[Path], None], words: str) -> None:
    path = tmp_path / "journal.sqlite"
    await asyncio.to_thread(make, path)
    journal = SqliteJournal(path)
    with pytest.raises(JournalUnavailable, match=words) as error:
        await journal.open()
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    await journal.close()


async def test_a_record_of_another_release_is_named(tmp_path: Path) -> None:
    path = tmp_path / "jour nal?100%#.sqlite"
    journal = SqliteJournal(path)
    await journal.open()
    await journal.open_trade(an_alert(), a_plan())
    await asyncio.to_thread(age_plan, path)
    for read in (journal.live_trades, lambda: JournalReader(path).trade("trade1")):
        with pytest.raises(JournalUnavailable, match=r"Plan.side: .*release that began them"):
            await read()
    await journal.close()


def age_plan(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("""UPDATE trades SET plan = replace(plan, '"side":"BUY"', '"side":"UP"')""")
    connection.close()


async def test_a_path_that_cannot_be_gets_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "journal.sqlite"
    journal = SqliteJournal(path)
    with pytest.raises(JournalUnavailable, match=r"name a writable file \(journal.path, QC_JOURNAL__PATH\)") as error:
        await journal.open()
    assert str(path) in str(error.value)
    await journal.close()
