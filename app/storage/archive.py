"""The journal's days as lines of JSON, for whoever keeps or reads them elsewhere. The same day again gives the same lines.

The form of the files; no database is needed to read them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime

from app.domain.statistics.closed_trade import ClosedTrade
from app.storage.codec import load

TRADES = "trades"


@dataclass(frozen=True, slots=True)
class ArchivedDay:
    """Files of one UTC day by name: ``trades`` (closed that day, as statistics see them), ``plans``, ``alerts``, ``notes``,
    ``fills``. Each is lines of JSON; one without lines is left out."""

    day: date
    files: Mapping[str, bytes]


def day_of(time_ms: int) -> date:
    return datetime.fromtimestamp(time_ms / 1000, UTC).date()


def start_ms(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000)


def file_name(day: date, name: str) -> str:
    return f"{day.isoformat()}/{name}.jsonl"


def read_trades(file: bytes) -> list[ClosedTrade]:
    """The trades of a day's ``trades`` file. Raises ValueError for what ``read_day`` did not write."""
    return [load(ClosedTrade, line) for line in file.decode().splitlines() if line]
