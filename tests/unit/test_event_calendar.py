"""The operator's calendar file: must be there at the start, is read again when it changes, and stays in force when it breaks."""

import os
from pathlib import Path

import pytest
from manual_clock import ManualClock

from app.clock import ExchangeClock
from app.domain.risk.rules import EventRules
from app.trader.event_calendar import LARGEST_BYTES, LOOK_EVERY_S, BadCalendarFile, EventCalendar

FOMC = "time,title\n2026-12-10T14:00:00-05:00,FOMC\n"
CPI = FOMC + "2026-12-11T08:30:00-05:00,CPI\n"
NOW_MS = 1_764_000_000_000


def calendar_of(path: Path | str, clock: ManualClock) -> EventCalendar:
    exchange_clock = ExchangeClock(clock)
    exchange_clock.observe(NOW_MS)
    return EventCalendar(EventRules(calendar=str(path)), clock, exchange_clock)


def write(path: Path, text: str, stamp: int) -> None:
    path.write_text(text)
    os.utime(path, ns=(stamp, stamp))


def titles(calendar: EventCalendar) -> list[str]:
    return [] if calendar.current is None else [event.title for event in calendar.current.events]


async def test_none_configured_is_a_warning() -> None:
    calendar = calendar_of("", ManualClock())
    calendar.read()
    await calendar.look()
    assert calendar.current is None
    assert "rules.risk.events.calendar" in calendar.problem


@pytest.mark.parametrize(
    ("text", "named"), [(None, "No such file"), ("title\nFOMC\n", "columns"), ("time,title\nsoon,FOMC\n", "soon")]
)
def test_one_that_is_named_must_be_there_and_be_understood(tmp_path: Path, text: str | None, named: str) -> None:
    path = tmp_path / "events.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(BadCalendarFile, match=named) as told:
        calendar_of(path, ManualClock()).read()
    assert "rules.risk.events.calendar" in str(told.value)
    assert "\n" not in str(told.value)


def test_what_is_not_text_or_too_much_of_it_is_told(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_bytes(b"time,title\n\xff\xfe\n")
    with pytest.raises(BadCalendarFile, match="UTF-8"):
        calendar_of(path, ManualClock()).read()
    path.write_bytes(b"x" * (LARGEST_BYTES + 1))
    with pytest.raises(BadCalendarFile, match="larger"):
        calendar_of(path, ManualClock()).read()


async def test_a_changed_file_is_read_again_and_a_broken_one_leaves_what_was_read(tmp_path: Path) -> None:
    path, clock = tmp_path / "events.csv", ManualClock()
    write(path, FOMC, 1)
    calendar = calendar_of(path, clock)
    calendar.read()
    assert (titles(calendar), calendar.problem) == (["FOMC"], "")
    write(path, CPI, 2)
    clock.advance(LOOK_EVERY_S)
    await calendar.look()
    assert titles(calendar) == ["FOMC", "CPI"]
    write(path, "time,title\nnever,CPI\n", 3)
    clock.advance(LOOK_EVERY_S)
    await calendar.look()
    assert titles(calendar) == ["FOMC", "CPI"]
    assert "stays in force" in calendar.problem
    path.unlink()
    clock.advance(LOOK_EVERY_S)
    await calendar.look()
    assert "No such file" in calendar.problem
    write(path, FOMC, 4)
    clock.advance(LOOK_EVERY_S)
    await calendar.look()
    assert (titles(calendar), calendar.problem) == (["FOMC"], "")


async def test_a_broken_file_is_told_for_as_long_as_it_is_broken(tmp_path: Path) -> None:
    path, clock = tmp_path / "events.csv", ManualClock()
    write(path, FOMC, 1)
    calendar = calendar_of(path, clock)
    calendar.read()
    write(path, "time,title\nnever,CPI\n", 2)
    for _ in range(3):
        clock.advance(LOOK_EVERY_S)
        await calendar.look()
        assert "'never' is not a time" in calendar.problem
        assert "stays in force" in calendar.problem
    path.unlink()
    clock.advance(LOOK_EVERY_S)
    await calendar.look()
    assert "No such file" in calendar.problem
    write(path, "time,title\nnever,CPI\n", 2)
    clock.advance(LOOK_EVERY_S)
    await calendar.look()
    assert "'never' is not a time" in calendar.problem


async def test_one_broken_at_the_start_is_not_called_none(tmp_path: Path) -> None:
    """With trades to manage the trader starts all the same, paused: what its operator reads must be the reason."""
    path, clock = tmp_path / "events.csv", ManualClock()
    write(path, "time,title\nsoon,FOMC\n", 1)
    calendar = calendar_of(path, clock)
    with pytest.raises(BadCalendarFile):
        calendar.read()
    for _ in range(2):
        assert "'soon' is not a time" in calendar.problem
        assert "no event keeps an entry out" in calendar.problem
        clock.advance(LOOK_EVERY_S)
        await calendar.look()
    write(path, FOMC, 2)
    clock.advance(LOOK_EVERY_S)
    await calendar.look()
    assert (titles(calendar), calendar.problem) == (["FOMC"], "")


async def test_one_that_has_run_out_is_told_when_it_does(tmp_path: Path) -> None:
    path, clock = tmp_path / "events.csv", ManualClock()
    write(path, FOMC, 1)
    calendar = calendar_of(path, clock)
    calendar.read()
    clock.advance(86_400 * 400)
    await calendar.look()
    assert "has run out" in calendar.problem
