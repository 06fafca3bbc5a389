"""Calendars as operators have them: ICS, or CSV with columns ``time``, ``title`` and perhaps ``impact``. Text in, events out."""

import csv
import io
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import icalendar

from app.domain.risk.calendar import Calendar, HighImpactEvent

HIGH = "high"
_EXAMPLE = "2026-12-10T08:30:00-05:00"


class BadCalendar(ValueError):
    """One line that names the entry and what to write instead."""


def read_calendar(text: str, name: str) -> Calendar:
    """The events of a file's text; ``name`` is the file's, which tells ICS from CSV and is named in what is wrong.

    Entries that are cancelled, or whose ``impact`` is another than high, are left out. Raises BadCalendar: a calendar read by
    half would let trades through at the events it lost.
    """
    kind = name.rpartition(".")[2].lower()
    if kind not in ("ics", "csv"):
        raise BadCalendar(f"{name}: a calendar is a file ending in .ics or .csv")
    try:
        entries = sorted(_of_ics(text, name) if kind == "ics" else _of_csv(text, name), key=lambda event: event.at_ms)
    except csv.Error as error:
        raise BadCalendar(f"{name}: not a CSV file: {error}") from None
    return Calendar(tuple(entries))


def _of_csv(text: str, name: str) -> Iterator[HighImpactEvent]:
    rows = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")), skipinitialspace=True)
    rows.fieldnames = [name.strip().lower() for name in rows.fieldnames or ()]
    missing = {"time", "title"} - set(rows.fieldnames)
    if missing:
        raise BadCalendar(f"{name}: its first line must name the columns time,title (and impact, if you like)")
    for row in rows:
        where = f"{name} line {rows.line_num}" + (f" ({row['title']})" if row["title"] else "")
        if (row.get("impact") or HIGH).strip().lower() != HIGH:
            continue
        written = (row["time"] or "").strip()
        try:
            when = datetime.fromisoformat(written)
        except ValueError:
            raise BadCalendar(f"{where}: {written!r} is not a time; write it as {_EXAMPLE}") from None
        yield _event(when, (row["title"] or "").strip(), where)


def _of_ics(text: str, name: str) -> Iterator[HighImpactEvent]:
    try:
        found = icalendar.Calendar.from_ical(text)
    except ValueError as error:
        raise BadCalendar(f"{name}: not an ICS calendar: {' '.join(str(error).split())}") from None
    for number, entry in enumerate(found.walk("VEVENT"), start=1):
        title = str(entry.get("SUMMARY", ""))
        where = f"{name} entry {number} ({title})"
        if str(entry.get("STATUS", "")).upper() == "CANCELLED":
            continue
        if "RRULE" in entry or "RDATE" in entry:
            raise BadCalendar(f"{where}: it repeats; write each date as an entry of its own")
        yield _event(_start(entry, where), title, where)


def _start(entry: Any, where: str) -> datetime:
    try:
        when = entry["DTSTART"].dt
    except (KeyError, ValueError, AttributeError):
        raise BadCalendar(f"{where}: it has no DTSTART that can be read, such as DTSTART:20261210T133000Z") from None
    if not isinstance(when, datetime):
        raise BadCalendar(f"{where}: it has no time of day; write DTSTART with one, such as DTSTART:20261210T133000Z")
    return when


def _event(when: datetime, title: str, where: str) -> HighImpactEvent:
    if when.utcoffset() is None:
        raise BadCalendar(f"{where}: {when:%Y-%m-%d %H:%M} has no known time zone; write one, such as {_EXAMPLE}")
    return HighImpactEvent(round(when.timestamp() * 1000), title or "untitled")
