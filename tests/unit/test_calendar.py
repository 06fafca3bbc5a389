"""Calendars of high-impact events: ICS and CSV in, windows out, and one line for what is wrong with a file."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.risk import guards
from app.domain.risk.calendar import Calendar, HighImpactEvent, calendar_warning
from app.domain.risk.calendar_files import BadCalendar, read_calendar
from app.domain.risk.rules import EventRules

MINUTE_MS = 60_000
RULES = EventRules()


def at(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def ics(*entries: str) -> str:
    events = "".join(f"BEGIN:VEVENT\r\nUID:{n}\r\n{entry}\r\nEND:VEVENT\r\n" for n, entry in enumerate(entries))
    return f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//\r\n{events}END:VCALENDAR\r\n"


def test_an_ics_calendar_with_zones_folded_lines_and_escapes() -> None:
    text = ics(
        "SUMMARY:Consumer prices\r\nDTSTART;TZID=America/New_York:20261210T083000",
        "SUMMARY:Rates\\, and a very lo\r\n ng name\r\nDTSTART:20261209T190000Z",
        "SUMMARY:Jobs\r\nDTSTART;TZID=Eastern Standard Time:20270108T083000",
        "SUMMARY:Called off\r\nSTATUS:CANCELLED\r\nDTSTART:20261211T190000Z",
    )
    assert read_calendar(text, "events.ics").events == (
        HighImpactEvent(at("2026-12-09T19:00"), "Rates, and a very long name"),
        HighImpactEvent(at("2026-12-10T13:30"), "Consumer prices"),
        HighImpactEvent(at("2027-01-08T13:30"), "Jobs"),
    )


def test_a_csv_calendar_takes_high_impact_only() -> None:
    text = (
        "\ufeffTime,Title,Impact\n"
        "2026-12-10T08:30:00-05:00,Consumer prices,High\n"
        "2026-12-09T19:00:00Z,Rates,\n"
        "2026-12-09T09:00:00Z,A speech,low\n"
    )
    assert [str(event) for event in read_calendar(text, "events.CSV").events] == [
        "Rates at 2026-12-09 19:00 UTC",
        "Consumer prices at 2026-12-10 13:30 UTC",
    ]
    assert len(read_calendar("time,title\n2026-12-09T19:00:00Z,Rates\n", "a.csv").events) == 1


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("e.ics", ics("SUMMARY:Prices\r\nDTSTART:20261210T083000"), r"e\.ics entry 1 \(Prices\): .*no known time zone"),
        ("e.ics", ics("SUMMARY:P\r\nDTSTART;TZID=Nowhere/Land:20261210T083000"), "no known time zone"),
        ("e.ics", ics("SUMMARY:Prices\r\nDTSTART;VALUE=DATE:20261210"), "no time of day"),
        ("e.ics", ics("SUMMARY:Prices\r\nDTSTART:20261210T1"), "no DTSTART that can be read"),
        ("e.ics", ics("SUMMARY:Prices"), "no DTSTART that can be read"),
        ("e.ics", ics("SUMMARY:Jobs\r\nDTSTART:20261210T083000Z\r\nRRULE:FREQ=MONTHLY"), "it repeats"),
        ("e.ics", "hello", "not an ICS calendar"),
        ("e.csv", "time,title\n2026-12-10 08:30,Prices\n", r"e\.csv line 2 \(Prices\): 2026-12-10 08:30 has no known time zone"),
        ("e.csv", "time,title\ntomorrow,Prices\n", "'tomorrow' is not a time"),
        ("e.csv", "time,title\n,Prices\n", "'' is not a time"),
        ("e.csv", "when,what\n", "columns time,title"),
        ("e.csv", "", "columns time,title"),
        ("e.csv", f"time,title\n2026-12-09T19:00:00Z,{'x' * 200_000}\n", "not a CSV file"),
        ("e.xlsx", "", r"ending in \.ics or \.csv"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(name: str, text: str, says: str) -> None:
    with pytest.raises(BadCalendar, match=says) as caught:
        read_calendar(text, name)
    assert "\n" not in str(caught.value)


def test_an_event_closes_its_window_and_no_more() -> None:
    calendar = Calendar((HighImpactEvent(at("2026-12-09T19:00"), "Rates"),))
    for moment, passed in (
        ("2026-12-09T18:29", True),
        ("2026-12-09T18:30", False),
        ("2026-12-09T19:15", False),
        ("2026-12-09T19:16", True),
    ):
        verdict = guards.event(calendar, at(moment), RULES)
        assert verdict.passed is passed
    refused = guards.event(calendar, at("2026-12-09T19:00"), RULES)
    assert (refused.code, "Rates" in refused.reason) == ("high_impact_event", True)
    assert refused.reason.startswith("trade skipped due to a high-impact event: ")


def test_no_calendar_and_one_that_has_run_out_refuse_nothing_and_are_told_of() -> None:
    now = at("2026-12-09T19:00")
    past = Calendar((HighImpactEvent(now - 86_400_000, "Rates"),))
    to_come = Calendar((*past.events, HighImpactEvent(now + 1, "Prices")))
    assert guards.event(None, now, RULES).passed
    assert "run out" in guards.event(past, now, RULES).reason
    assert "configured" in calendar_warning(None, now)
    assert "empty" in calendar_warning(Calendar(), now)
    assert "Rates at 2026-12-08 19:00 UTC" in calendar_warning(past, now)
    assert calendar_warning(to_come, now) == ""


moments = st.integers(-200, 200)


@given(st.lists(moments, max_size=5), moments, st.integers(0, 60), st.integers(0, 60))
def test_more_events_and_wider_windows_never_let_more_through(events: list[int], extra: int, before: int, after: int) -> None:
    def passes(minutes: list[int], before: int, after: int) -> bool:
        calendar = Calendar(tuple(HighImpactEvent(minute * MINUTE_MS, "x") for minute in sorted(minutes)))
        return guards.event(calendar, 0, EventRules(before_min=before, after_min=after)).passed

    if not passes(events, before, after):
        assert not passes([*events, extra], before, after)
        assert not passes(events, before + 1, after)
        assert not passes(events, before, after + 1)


def test_events_out_of_order_are_no_calendar() -> None:
    with pytest.raises(ValueError, match="order"):
        Calendar((HighImpactEvent(2, "b"), HighImpactEvent(1, "a")))
