"""From a webhook's raw body to an ``Alert``, or to a named refusal: whatever bytes come in, never an exception.

TradingView sends what the user typed: unresolved placeholders count as absent, numbers may be strings, fields have aliases.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from hashlib import sha256
from typing import Any

from pydantic import SecretStr

from app.domain.body_token import without_token
from app.domain.instrument import Side
from app.domain.refusals import refuse
from app.domain.verdict import Refusal

KEY_TTL_S = 24 * 3600
BODY_KEY_TTL_S = 90  # TradingView resends within 15 s; real bar-close signals are at least 180 s apart

ALIASES: Mapping[str, tuple[str, ...]] = {
    "symbol": ("symbol",),
    "side": ("side", "signal", "action"),
    "qty": ("qty", "size", "quantity"),
    "sl": ("sl", "stop_loss"),
    "tp1": ("tp1", "tp", "take_profit"),
    "price": ("price",),
    "ob_top": ("ob_top",),
    "ob_bottom": ("ob_bottom",),
    "atr14": ("atr14",),
    "tf": ("tf",),
    "bar_time": ("bar_time",),
    "id": ("id",),
    "trail": ("trail",),
    "token": ("token",),
}
NUMBERS = ("qty", "sl", "tp1", "price", "ob_top", "ob_bottom", "atr14")
TEXT_LIMITS: Mapping[str, int] = {"symbol": 64, "side": 64, "tf": 16, "id": 128, "trail": 64, "token": 256, "bar_time": 64}

ABSENT = frozenset({"", "na", "nan", "null", "none", "infinity", "+infinity", "-infinity", "inf", "+inf", "-inf"})
_PLAIN_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,15}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(?:[eE][+-]?[0-9]{1,2})?")
_SMALLEST, _LARGEST = Decimal("1e-12"), Decimal("1e12")
_EARLIEST_MS, _LATEST_MS = 946_684_800_000, 4_102_444_800_000  # the years 2000 to 2099
_TAG = r"(?:NOT\s+)?\{[A-Za-z0-9_+\-. ]{1,64}\}"
_TAG_TEXT = re.compile(rf"{_TAG}(?:\s+(?:AND|OR)\s+{_TAG})*", re.IGNORECASE)


class Action(StrEnum):
    """What an alert asks for. A close is kept apart from the two sides: it opens nothing."""

    BUY = "BUY"
    SELL = "SELL"
    CLOSE = "CLOSE"

    @property
    def side(self) -> Side | None:
        return _SIDES.get(self)


_SIDES: Mapping[Action, Side] = {Action.BUY: Side.BUY, Action.SELL: Side.SELL}
_ACTIONS: Mapping[str, Action] = {
    "buy": Action.BUY,
    "long": Action.BUY,
    "sell": Action.SELL,
    "short": Action.SELL,
    "close": Action.CLOSE,
    "exit": Action.CLOSE,
    "flat": Action.CLOSE,
}


@dataclass(frozen=True, slots=True)
class Alert:
    """A well-formed alert. Numbers that were absent, unresolved or (but for qty) unreadable are None; present ones are positive.

    ``unresolved`` names fields that still held a placeholder, ``unreadable`` those whose text is no plain number
    (thousands separators included). ``bar_time_ms`` is the opening time of the bar that gave the signal.
    """

    symbol: str
    action: Action
    qty: Decimal | None = None
    sl: Decimal | None = None
    tp1: Decimal | None = None
    price: Decimal | None = None
    ob_top: Decimal | None = None
    ob_bottom: Decimal | None = None
    atr14: Decimal | None = None
    tf: str | None = None
    bar_time_ms: int | None = None
    id: str | None = None
    trail: str | None = None
    unresolved: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()
    token: SecretStr | None = None

    @property
    def side(self) -> Side | None:
        """None for a close."""
        return self.action.side

    def to_json(self) -> dict[str, Any]:
        """Plain JSON for the inbox and the journal, without the token."""
        plain = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "token"}
        return {
            name: str(value) if isinstance(value, Decimal) else list(value) if isinstance(value, tuple) else value
            for name, value in plain.items()
            if value is not None
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "Alert":
        """The alert ``to_json`` wrote. Raises ValueError when it is damaged."""
        try:
            known: dict[str, Any] = {name: Decimal(body[name]) for name in NUMBERS if name in body}
            known |= {name: str(body[name]) for name in ("tf", "id", "trail") if name in body}
            known |= {name: tuple(body.get(name, ())) for name in ("unresolved", "unreadable")}
            bar_time_ms = int(body["bar_time_ms"]) if "bar_time_ms" in body else None
            return cls(str(body["symbol"]), Action(body["action"]), bar_time_ms=bar_time_ms, **known)
        except (KeyError, TypeError, ArithmeticError) as error:
            raise ValueError(f"stored alert is damaged: {error!r}") from error


def normalise_symbol(raw: str) -> str | Refusal:
    """The exchange's name of a USDT or USDC perpetual, however TradingView, ccxt or a person spells it."""
    shown = repr(raw[:40])
    text = raw.strip().upper()
    if "{{" in text or "}}" in text:
        return refuse("symbol_unresolved_placeholder", raw=shown)
    if not text:
        return refuse("symbol_empty")
    if not raw.isascii() or len(text) > TEXT_LIMITS["symbol"]:
        return refuse("symbol_bad_characters", raw=shown)
    text = re.sub(r"^[A-Z0-9_]+:", "", text)
    if re.search(r"[-_][0-9]{6}$", text):
        return refuse("symbol_delivery_contract", raw=shown)
    text = re.sub(r":(USDT|USDC)$", "", text)
    text = re.sub(r"\.P(USDT)?$", "", text)
    text = re.sub(r"[-/_ ]", "", text)
    if not re.fullmatch(r"[A-Z0-9]+", text):
        return refuse("symbol_bad_characters", raw=shown)
    text = re.sub(r"(?<=.)PERP$", "", text)
    text = re.sub(r"^(.+(?:USDT|USDC))USDT$", r"\1", text)
    if text in ("USDT", "USDC", "USD", "USDTUSDT"):
        return refuse("symbol_quote_only", raw=shown)
    if text.endswith("USD"):
        return refuse("symbol_coin_margined_or_index", raw=shown)
    return text if text.endswith(("USDT", "USDC")) else f"{text}USDT"


def tag_text_side(text: str) -> Side | None:
    """The direction a text of LuxAlgo condition tags points to; None when its tags point both ways or neither."""
    upper = text.upper()
    bullish = any(word in upper for word in ("BULL", "BUY", "DEMAND"))
    bearish = any(word in upper for word in ("BEAR", "SELL", "SUPPLY"))
    if bullish is bearish:
        return None
    return Side.BUY if bullish else Side.SELL


def parse_alert(body: bytes | str) -> Alert | Refusal:
    """The alert in a webhook's body, whatever its content type said."""
    fields = json_fields(body)
    return fields if isinstance(fields, Refusal) else alert_of(fields)


def alert_of(fields: Mapping[str, Any]) -> Alert | Refusal:
    """The alert in the fields of a webhook's body."""
    try:
        return _Values(fields).alert()
    except _Refused as refused:
        return refused.refusal


def alert_key(alert: Alert, raw: bytes | str) -> tuple[str, int]:
    """What makes a second delivery the same alert, and for how many seconds that holds."""
    return repeat_key(alert.id, alert.symbol, alert.action, alert.bar_time_ms, alert.tf, raw)


def repeat_key(
    sender_id: str | None, symbol: str, action: str, bar_time_ms: int | None, tf: str | None, raw: bytes | str
) -> tuple[str, int]:
    """The sender's own id, else symbol, action, bar time and timeframe; with neither, the hash of the body but for its token."""
    if sender_id is not None:
        return f"id:{sender_id}", KEY_TTL_S
    if bar_time_ms is not None:
        return f"bar:{symbol}:{action}:{bar_time_ms}:{tf or ''}", KEY_TTL_S
    data = raw if isinstance(raw, bytes) else raw.encode("utf-8", "surrogatepass")
    return f"body:{sha256(without_token(data)).hexdigest()}", BODY_KEY_TTL_S


def json_fields(body: bytes | str) -> dict[str, Any] | Refusal:
    """The fields of a webhook's body, numbers as the text they were sent as."""
    try:
        return _json_object(_text(body))
    except _Refused as refused:
        return refused.refusal


class _Refused(Exception):
    """Carries a refusal out of the parsing steps; ``parse_alert`` turns it back into a value."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal


def _text(body: bytes | str) -> str:
    if isinstance(body, str):
        return body.strip()
    try:
        return body.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise _Refused(refuse("not_utf8")) from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    for name, value in pairs:
        if name in seen:
            raise _Refused(refuse("duplicate_field", field=repr(name[:40])))
        seen[name] = value
    return seen


def _json_object(text: str) -> dict[str, Any]:
    if _TAG_TEXT.fullmatch(text):
        side = tag_text_side(text)
        raise _Refused(refuse("tag_text_is_not_a_signal", direction=f"pointing to {side}" if side else "without one direction"))
    if not text.startswith(("{", "[")):
        raise _Refused(refuse("not_json"))
    try:
        parsed = json.loads(text, parse_float=str, parse_int=str, parse_constant=str, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        raise _Refused(refuse("invalid_json", detail=f"{error.msg} at line {error.lineno}, column {error.colno}")) from None
    except RecursionError:
        raise _Refused(refuse("invalid_json", detail="it is nested too deeply")) from None
    if not isinstance(parsed, dict):
        raise _Refused(refuse("not_json"))
    return parsed


class _Values:
    """The known fields of a body under their own names: aliases merged, placeholders and empty values taken as absent."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        self._present: dict[str, str] = {}
        self._unresolved: dict[str, str] = {}
        self._unreadable: list[str] = []
        for name, aliases in ALIASES.items():
            self._read(name, {alias: body[alias] for alias in aliases if body.get(alias) is not None})

    def _read(self, name: str, given: Mapping[str, Any]) -> None:
        texts = {alias: _plain(alias, value) for alias, value in given.items()}
        resolved = {alias: text for alias, text in texts.items() if "{{" not in text and text.lower() not in ABSENT}
        if len({_meaning(name, text) for text in resolved.values()}) > 1:
            raise _Refused(refuse("conflicting_fields", fields=" and ".join(resolved)))
        if resolved:
            self._present[name] = next(iter(resolved.values()))
        elif placeholder := next((text for text in texts.values() if "{{" in text), None):
            self._unresolved[name] = placeholder

    def alert(self) -> Alert:
        symbol, action = self._symbol(), self._action()
        numbers = {name: self._number(name) for name in NUMBERS}
        if "qty" in self._unreadable:  # it may have meant a smaller trade than ours
            raise _Refused(refuse("qty_unreadable", raw=repr(self._present["qty"][:40])))
        if "qty" in self._present and numbers["qty"] is None:
            raise _Refused(refuse("qty_not_positive", qty=self._present["qty"][:40]))
        token = self._words("token")
        return Alert(
            symbol,
            action,
            **numbers,
            tf=self._words("tf"),
            bar_time_ms=self._bar_time(),
            id=self._words("id"),
            trail=self._words("trail"),
            unresolved=tuple(sorted(self._unresolved)),
            unreadable=tuple(sorted(self._unreadable)),
            token=None if token is None else SecretStr(token),
        )

    def _symbol(self) -> str:
        if "symbol" in self._unresolved:
            raise _Refused(refuse("symbol_unresolved_placeholder", raw=repr(self._unresolved["symbol"][:40])))
        raw = self._words("symbol")
        if raw is None:
            raise _Refused(refuse("symbol_empty"))
        symbol = normalise_symbol(raw)
        if isinstance(symbol, Refusal):
            raise _Refused(symbol)
        return symbol

    def _action(self) -> Action:
        raw = self._words("side")
        if raw is None:
            state = f"still a placeholder ({self._unresolved['side'][:60]})" if "side" in self._unresolved else "missing"
            if others := sorted(self._unresolved.keys() - {"side"}):
                state += f"; unresolved too: {', '.join(others)}"
            raise _Refused(refuse("side_missing_or_unresolved", state=state))
        action = _ACTIONS.get(raw.lower())
        if action is None:
            raise _Refused(refuse("side_unknown", raw=repr(raw[:40])))
        return action

    def _words(self, name: str) -> str | None:
        text = self._present.get(name)
        if text is not None and (len(text) > TEXT_LIMITS[name] or not text.isprintable()):
            raise _Refused(refuse("bad_text", field=name, limit=TEXT_LIMITS[name]))
        return text

    def _number(self, name: str) -> Decimal | None:
        text = self._present.get(name)
        if text is None:
            return None
        value = plain_number(text)
        if value is None:
            self._unreadable.append(name)
        return value if value is not None and value > 0 else None

    def _bar_time(self) -> int | None:
        text = self._words("bar_time")
        if text is None:
            return None
        time_ms = unix_ms(text)
        if time_ms is None:
            raise _Refused(refuse("bad_bar_time", raw=repr(text[:40])))
        return time_ms


def _plain(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value.strip()
    kind = {bool: "true or false", list: "a list", dict: "an object"}.get(type(value), "of another type")
    raise _Refused(refuse("wrong_type", field=name, kind=kind))


def _meaning(name: str, text: str) -> object:
    """What two aliases must agree on."""
    if name in NUMBERS:
        return plain_number(text) or text
    return _ACTIONS.get(text.lower(), text) if name == "side" else text


def plain_number(text: str) -> Decimal | None:
    """None: no plain number, or one no price or quantity can be."""
    if not _PLAIN_NUMBER.fullmatch(text):
        return None
    value = Decimal(text)
    return value if value == 0 or _SMALLEST <= abs(value) <= _LARGEST else None


def unix_ms(text: str) -> int | None:
    """Unix milliseconds of a time in milliseconds, in seconds or in ISO-8601 (UTC unless it says otherwise)."""
    number = Decimal(text) if re.fullmatch(r"[0-9]{9,14}(?:\.[0-9]{0,6})?", text) else None
    if number is None:
        try:
            moment = datetime.fromisoformat(text)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            time_ms = int(moment.timestamp() * 1000)
        except (ValueError, OverflowError):
            return None
    else:
        time_ms = int(number if number >= _EARLIEST_MS else number * 1000)
    return time_ms if _EARLIEST_MS <= time_ms <= _LATEST_MS else None
