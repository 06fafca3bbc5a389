"""A side that earns too little is told of once, wherever the operator looks, and the trader remembers having told it."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

from manual_clock import ManualClock
from storage_samples import a_closing, a_plan, an_alert

from app.clock import ExchangeClock
from app.domain.instrument import Side
from app.domain.plan import Owner
from app.storage.codec import load
from app.storage.in_memory import InMemoryJournal, JournalStore
from app.storage.port import Note, TradeClosed
from app.trader.side_watch import SideWatch

ZERO = Decimal(0)


async def watching(store: JournalStore) -> SideWatch:
    clock = ManualClock()
    watch = SideWatch(InMemoryJournal(store), clock, ExchangeClock(clock))
    await watch.start()
    return watch


def told(store: JournalStore) -> list[tuple[str, Any]]:
    notes = [load(Note, text) for _, text in store.notes]
    return [(note.kind, note.data["side"]) for note in notes]


def closing(number: int, r: str, side: Side = Side.BUY, owner: Owner = Owner.MANAGED) -> TradeClosed:
    summary = {"side": side.value, "owner": owner.value}
    return TradeClosed(f"t{number}", number, "stop", ZERO, ZERO, ZERO, Decimal(10), Decimal(r), summary)


async def test_a_side_is_flagged_at_its_five_hundredth_trade_and_let_go_when_it_earns_again() -> None:
    store = JournalStore()
    watch = await watching(store)
    for number in range(499):
        assert not watch.closed(closing(number, "-1" if number % 2 else "1"))
    assert watch.words()["long"] == {"trades": 499, "profit_factor": None, "flagged": False}
    assert not watch.closed(closing(1000, "-1", Side.SELL))
    assert watch.closed(closing(499, "1"))
    assert watch.words()["long"]["flagged"]
    assert not watch.words()["short"]["flagged"]
    assert not watch.closed(closing(500, "-1"))
    assert [watch.closed(closing(number, "1")) for number in range(501, 700)].count(True) == 1
    assert not watch.words()["long"]["flagged"]
    assert told(store) == [("side_flagged", "BUY"), ("side_unflagged", "BUY")]


async def test_what_was_not_filled_or_not_the_strategys_does_not_count() -> None:
    watch = await watching(JournalStore())
    watch.closed(closing(1, "1", owner=Owner.ADVANCED))
    watch.closed(replace(closing(2, "1"), r_unit=ZERO))
    assert watch.words()["long"]["trades"] == 0


async def test_the_journals_trades_count_and_what_was_told_is_not_told_again() -> None:
    store = JournalStore()
    journal = InMemoryJournal(store)
    for number in range(500):
        await journal.open_trade(an_alert(number), a_plan(number))
        journal.append(replace(a_closing(f"trade{number}"), net_r=Decimal(-1)))
    watch = await watching(store)
    side = a_plan(0).side
    assert watch.flags[side].flagged
    assert told(store) == [("side_flagged", side.value)]
    again = await watching(store)
    assert again.flags[side].flagged
    assert len(told(store)) == 1
