"""An SNS record as a Telegram message (HTML): CloudWatch's alarms by their fields, everything else by subject and text."""

import json
from collections.abc import Mapping
from html import escape
from typing import Any

_STATES = {"ALARM": "🔴", "OK": "🟢", "INSUFFICIENT_DATA": "⚪"}
_SEVERITIES = {"critical": "🔴", "warning": "🟠", "info": "🔵"}
_KINDS = {"trade_opened": "📈", "trade_closed": "🏁", "breaker_tripped": "⛔", "breaker_resumed": "🟢", "report": "📊"}


def words_for(record: Mapping[str, Any]) -> str:
    """``record``: the ``Sns`` part of an event's record. Escaped, with ``<b>`` and ``<i>`` only."""
    text = str(record.get("Message", ""))
    alarm = _alarm(text)
    if alarm is not None:
        return _alarm_words(alarm)
    kind = record.get("MessageAttributes", {}).get("kind", {}).get("Value", "")
    severity = str(record.get("TopicArn", "")).rpartition("-")[2]
    sign = _KINDS.get(kind) or _SEVERITIES.get(severity, "")
    subject = record.get("Subject") or severity or "notice"
    return f"{sign} <b>{escape(str(subject), quote=False)}</b>\n{escape(text, quote=False)}".strip()


def _alarm(text: str) -> Mapping[str, Any] | None:
    try:
        fields = json.loads(text)
    except ValueError:
        return None
    return fields if isinstance(fields, dict) and "AlarmName" in fields and "NewStateValue" in fields else None


def _alarm_words(alarm: Mapping[str, Any]) -> str:
    state = str(alarm["NewStateValue"])
    lines = [f"{_STATES.get(state, '')} <b>{escape(str(alarm['AlarmName']), quote=False)}</b>: {state.replace('_', ' ').lower()}"]
    if state == "ALARM":
        lines += [escape(str(alarm[name]), quote=False) for name in ("AlarmDescription", "NewStateReason") if alarm.get(name)]
    facts = [str(alarm[name]) for name in ("Region", "StateChangeTime") if alarm.get(name)]
    if facts:
        lines.append(f"<i>{escape(', '.join(facts), quote=False)}</i>")
    return "\n".join(lines)
