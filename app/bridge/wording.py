"""What the journal says, as notices people want: trades, breakers, pauses, and what must never happen."""

from collections.abc import Callable, Mapping
from typing import Any

from app.cloud.topics import Notice, Severity
from app.domain.risk.breakers import Breaker
from app.storage.news import TradeName
from app.storage.port import Note, TradeClosed

_Data = Mapping[str, Any]


def notice_of_note(note: Note, name: TradeName | None) -> Notice:
    writer = _WRITERS.get(note.kind, _operator)
    severity, kind, subject, text = writer(note.kind, note.data, "" if name is None else f"{name.symbol} {name.side}")
    where = f"\ntrade {note.trade_id}" if note.trade_id else ""
    return Notice(severity, kind, subject, text + where)


def notice_of_closing(closing: TradeClosed, name: TradeName | None) -> Notice:
    symbol = name.symbol if name is not None else "trade"
    side = f" {name.side}" if name is not None else ""
    net = closing.gross - closing.fees - closing.funding
    text = (
        f"{net:+.2f} USDT: gross {closing.gross:+.2f}, fees {closing.fees:.2f}, funding {closing.funding:.2f}\n"
        f"{closing.reason.replace('_', ' ')}\ntrade {closing.trade_id}"
    )
    return Notice(Severity.INFO, "trade_closed", f"{symbol}{side} closed {closing.net_r:+.2f} R", text)


_Words = tuple[Severity, str, str, str]


def _entered(_kind: str, data: _Data, name: str) -> _Words:
    text = f"{data['quantity']} at {float(data['average_entry']):.2f}, 1 R is {float(data['r_per_unit']):.2f} a unit"
    return Severity.INFO, "trade_opened", f"{name} opened", text


def _tripped(kind: str, data: _Data, _name: str) -> _Words:
    severity = Severity.CRITICAL if Breaker(data["breaker"]).flattens else Severity.WARNING
    return severity, kind, f"breaker tripped: {data['breaker']}", str(data["reason"])


def _resumed(kind: str, data: _Data, _name: str) -> _Words:
    return Severity.INFO, kind, f"breaker lets go: {data['breaker']}", str(data["reason"])


def _paused(kind: str, data: _Data, _name: str) -> _Words:
    severity = Severity.INFO if data["reason"] == "operator" else Severity.CRITICAL
    return severity, kind, f"trading paused: {data['reason']}", "No new entries until it is resumed; open trades are managed on."


def _recovered(kind: str, data: _Data, name: str) -> _Words:
    return Severity.WARNING, kind, f"{name} taken up again after a restart", f"{data['open_quantity']} open"


def _never(words: str) -> Callable[[str, _Data, str], _Words]:
    """What must not happen."""

    def write(kind: str, data: _Data, name: str) -> _Words:
        facts = ", ".join(f"{key} {value}" for key, value in data.items() if key not in ("leg", "since_alert_ms"))
        return Severity.CRITICAL, kind, f"{name}: {words}", facts

    return write


def _operator(kind: str, data: _Data, _name: str) -> _Words:
    what = " ".join(str(value) for key, value in data.items() if key != "command")
    return Severity.INFO, "operator", f"operator: {kind.removeprefix('operator_')} {what}".rstrip(), "carried out by the trader"


_WRITERS: Mapping[str, Callable[[str, _Data, str], _Words]] = {
    "entered": _entered,
    "breaker_tripped": _tripped,
    "breaker_resumed": _resumed,
    "paused": _paused,
    "recovered": _recovered,
    "stop_escalated": _never("no answer to the stop, a second one is sent"),
    "closed_uncovered": _never("closed without ever having had a stop"),
    "closed_externally": _never("changed by somebody else"),
    "reconciliation_mismatch": _never("the exchange's position is not the journal's"),
}
_COMMANDS = ("arm", "disarm", "resume", "flatten", "close", "reset")  # a pause is told of as one, whoever asked
KINDS = (*_WRITERS, *(f"operator_{command}" for command in _COMMANDS))
