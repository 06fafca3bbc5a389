"""The alerts of a replay: one JSON object per line, ``{"at": <Unix ms>, "body": <alert body, object or string>}``.

A first line that begins with ``#`` is the file's label, and stands in the report.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FIELDS = ("at", "body")
LABEL_SIGN = "#"
_SECONDS_UNTIL = 100_000_000_000  # a Unix time under this is one in seconds


class BadReplayInput(Exception):
    """One line a person can act on: file, line, field, and the fix."""


@dataclass(frozen=True, slots=True)
class TimedAlert:
    """``body`` as TradingView would post it, ``at_ms`` when it reaches the gateway; ``line`` counts from 1."""

    line: int
    at_ms: int
    body: bytes


def read_alerts(path: Path, start_ms: int, end_ms: int) -> list[TimedAlert]:
    """All alerts by time, those of one moment as they stand in the file. Raises BadReplayInput.

    ``start_ms`` and ``end_ms`` bound the time that is traded: an alert outside is refused, not passed over.
    """
    lines = _lines(path)
    rows = [(number, text) for number, text in enumerate(lines, start=1) if text.strip()]
    if rows and rows[0][1].startswith(LABEL_SIGN):
        del rows[0]
    alerts = [_alert(path, number, text, start_ms, end_ms) for number, text in rows]
    if not alerts:
        raise BadReplayInput(f'{path}: holds no alert; one JSON object per line is expected: {{"at": <Unix ms>, "body": …}}')
    return sorted(alerts, key=lambda alert: (alert.at_ms, alert.line))


def read_label(path: Path) -> str:
    """What the file says of itself; empty when nothing. Raises BadReplayInput."""
    first = next((text for text in _lines(path) if text.strip()), "")
    return first.removeprefix(LABEL_SIGN).strip() if first.startswith(LABEL_SIGN) else ""


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadReplayInput(f"{path}: cannot be read: {error}") from None


def _alert(path: Path, number: int, text: str, start_ms: int, end_ms: int) -> TimedAlert:
    where = f"{path.name}: line {number}"
    row = _row(where, text)
    at_ms, body = row["at"], row["body"]
    if not isinstance(at_ms, int) or isinstance(at_ms, bool):
        raise BadReplayInput(f"{where}: at: {json.dumps(at_ms)} is not a whole number; give Unix milliseconds")
    if 0 <= at_ms < _SECONDS_UNTIL:
        raise BadReplayInput(f"{where}: at: {at_ms} looks like seconds; give Unix milliseconds")
    if not start_ms <= at_ms < end_ms:
        raise BadReplayInput(
            f"{where}: at: {at_ms} is outside the data; give a time from {start_ms} ({_said(start_ms)}, "
            f"when the indicators have warmed up) and before {end_ms} ({_said(end_ms)})"
        )
    if not isinstance(body, dict | str):
        raise BadReplayInput(f"{where}: body: must be an object or a string, as the alert is posted")
    words = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
    return TimedAlert(number, at_ms, words.encode())


def _row(where: str, text: str) -> dict[str, Any]:
    try:
        row = json.loads(text)
    except ValueError as error:
        raise BadReplayInput(f'{where}: not JSON ({error}); expected {{"at": <Unix ms>, "body": …}}') from None
    if not isinstance(row, dict):
        raise BadReplayInput(f"{where}: must be a JSON object with the fields at and body")
    for field in FIELDS:
        if field not in row:
            raise BadReplayInput(f"{where}: {field}: is missing; expected the fields at and body")
    if unknown := sorted(row.keys() - {*FIELDS}):
        raise BadReplayInput(f"{where}: {unknown[0]}: is not known; the fields are at and body")
    return row


def _said(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
