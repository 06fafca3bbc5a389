"""What the advanced webhook is asked for: its fields, their ranges, and the named refusal of everything else.

The values come as a person typed them into TradingView or curl: numbers may be text, a placeholder may have stayed unresolved.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, ValidationInfo
from pydantic_core import PydanticCustomError

from app.domain.instrument import Side
from app.domain.orders import MarginType
from app.domain.refusals import refuse
from app.domain.signal import ABSENT, KEY_TTL_S, TEXT_LIMITS, json_fields, normalise_symbol, plain_number, repeat_key, unix_ms
from app.domain.verdict import Refusal

BALANCE_PERCENTAGE = (Decimal("0.01"), Decimal(1))
LEVERAGE = (1, 125)
ECHOED = ("symbol", "action", "balance_percentage", "leverage", "entry", "sl", "margin_type", "id", "tf", "bar_time")
CLOSE_BODY_KEY_TTL_S = 20  # TradingView resends within 15 s
_LONGEST_ECHO = 128
_LONGEST_INTEGER = 18


class AdvancedAction(StrEnum):
    BUY = "buy"
    SELL = "sell"
    CLOSE = "close"

    @property
    def side(self) -> Side | None:
        """None for a close."""
        return None if self is AdvancedAction.CLOSE else Side(self.value.upper())


def _text(value: Any, info: ValidationInfo) -> str | None:
    """None: not given."""
    if value is None:
        return None
    if isinstance(value, (bool, list, dict)):
        kind = {bool: "true or false", list: "a list", dict: "an object"}[type(value)]
        raise PydanticCustomError("wrong_type", "wrong type", {"field": info.field_name or "", "kind": kind})
    text = str(value).strip()
    return None if text.lower() in ABSENT else text


def _shown(text: str | None) -> str:
    if text is None:
        return "it is missing"
    if "{{" in text:
        return f"{text[:40]!r} still holds a placeholder"
    return f"{text[:40]!r}"


def _symbol(value: Any, info: ValidationInfo) -> str:
    symbol = normalise_symbol(_text(value, info) or "")
    if isinstance(symbol, Refusal):
        raise PydanticCustomError("refused", "refused", {"refusal": symbol})
    if not symbol.endswith("USDT"):
        raise PydanticCustomError("invalid_symbol", "invalid symbol", {"symbol": symbol})
    return symbol


def _action(value: Any, info: ValidationInfo) -> AdvancedAction:
    text = _text(value, info)
    for action in AdvancedAction:
        if text is not None and text.lower() == action.value:
            return action
    raise PydanticCustomError("invalid_action", "invalid action", {"detail": _shown(text)})


def _is_close(info: ValidationInfo) -> bool:
    """A close needs its symbol only, and ignores the rest, right or wrong."""
    return info.data.get("action") is AdvancedAction.CLOSE


def _balance_percentage(value: Any, info: ValidationInfo) -> Decimal | None:
    if _is_close(info):
        return None
    text = _text(value, info)
    number = plain_number(text) if text is not None else None
    low, high = BALANCE_PERCENTAGE
    if number is None or not low <= number <= high:
        detail = _shown(text) if number is None else f"{number} is out of range"
        raise PydanticCustomError("invalid_balance_percentage", "invalid balance_percentage", {"detail": detail})
    return number


def _leverage(value: Any, info: ValidationInfo) -> int | None:
    if _is_close(info):
        return None
    text = _text(value, info)
    number = plain_number(text) if text is not None else None
    low, high = LEVERAGE
    if number is None or number != number.to_integral_value() or not low <= number <= high:
        detail = _shown(text) if number is None else f"{number} is no whole number from {low} to {high}"
        raise PydanticCustomError("invalid_leverage", "invalid leverage", {"detail": detail})
    return int(number)


def _price(value: Any, info: ValidationInfo) -> Decimal | None:
    """A price above 0, or nothing where none was given or TradingView did not fill it in."""
    if _is_close(info):
        return None
    text = _text(value, info)
    if text is None or "{{" in text:
        return None
    number = plain_number(text)
    if number is None or number <= 0:
        raise PydanticCustomError("invalid_price", "invalid price", {"field": info.field_name or "", "detail": _shown(text)})
    return number


def _margin_type(value: Any, info: ValidationInfo) -> MarginType | None:
    if _is_close(info):
        return None
    text = _text(value, info)
    if text is None:
        return None
    words = {"ISOLATED": MarginType.ISOLATED, "CROSSED": MarginType.CROSSED, "CROSS": MarginType.CROSSED}
    if (known := words.get(text.upper())) is None:
        raise PydanticCustomError("invalid_margin_type", "invalid margin type", {"detail": _shown(text)})
    return known


def _words(value: Any, info: ValidationInfo) -> str | None:
    text, name = _text(value, info), info.field_name or ""
    if text is None or "{{" in text:
        return None
    if len(text) > TEXT_LIMITS[name] or not text.isprintable():
        raise PydanticCustomError("bad_text", "bad text", {"field": name, "limit": TEXT_LIMITS[name]})
    return text


def _moment(value: Any, info: ValidationInfo) -> int | None:
    text = _text(value, info)
    if text is None or "{{" in text:
        return None
    if (time_ms := unix_ms(text)) is None:
        raise PydanticCustomError("bad_bar_time", "bad time", {"raw": repr(text[:40])})
    return time_ms


class AdvancedRequest(BaseModel):
    """A well-formed request. ``balance_percentage`` and ``leverage`` are there unless it is a close, which ignores all but the
    symbol; ``entry`` is the sender's reference price and never sizes anything; ``webhook_data`` echoes the fields as sent."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True, validate_default=True)

    action: Annotated[AdvancedAction, BeforeValidator(_action)] = None  # type: ignore[assignment]  # refused by its own name
    symbol: Annotated[str, BeforeValidator(_symbol)] = ""
    balance_percentage: Annotated[Decimal | None, BeforeValidator(_balance_percentage)] = None
    leverage: Annotated[int | None, BeforeValidator(_leverage)] = None
    entry: Annotated[Decimal | None, BeforeValidator(_price)] = None
    sl: Annotated[Decimal | None, BeforeValidator(_price)] = None
    margin_type: Annotated[MarginType | None, BeforeValidator(_margin_type)] = None
    id: Annotated[str | None, BeforeValidator(_words)] = None
    tf: Annotated[str | None, BeforeValidator(_words)] = None
    bar_time: Annotated[int | None, BeforeValidator(_moment)] = None
    webhook_data: Mapping[str, Any] = {}

    def to_json(self) -> dict[str, Any]:
        """Plain JSON for the inbox and the journal; ``from_json`` reads it back."""
        return self.model_dump(mode="json", exclude_none=True)

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """Raises ValueError when it is damaged."""
        return cls.model_validate(body)


@dataclass(frozen=True, slots=True)
class BadRequest:
    refusal: Refusal
    webhook_data: Mapping[str, Any]


def parse_request(body: bytes) -> AdvancedRequest | BadRequest:
    """Whatever bytes come in, never an exception."""
    fields = json_fields(body)
    if isinstance(fields, Refusal):
        return BadRequest(fields, {})
    echo = _echo(body)
    try:
        return AdvancedRequest.model_validate({**fields, "webhook_data": echo})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        facts = first.get("ctx", {})
        refusal = facts["refusal"] if first["type"] == "refused" else refuse(first["type"], "", **facts)
        return BadRequest(refusal, echo)


def request_key(request: AdvancedRequest, raw: bytes) -> tuple[str, int]:
    """As ``signal.alert_key``, apart from the strategy's: what makes a second delivery, by whatever route, the same request.

    Closes all look the same: one that only its body names is remembered just as long as TradingView may resend it."""
    key, ttl_s = repeat_key(request.id, request.symbol, request.action, request.bar_time, request.tf, raw)
    if request.action is AdvancedAction.CLOSE:
        ttl_s = ttl_s if ttl_s == KEY_TTL_S else CLOSE_BODY_KEY_TTL_S
    return f"advanced:{key}", ttl_s


def _echo(body: bytes) -> dict[str, Any]:
    """The contract's own fields as they were sent: nothing else may be a secret of the sender's."""
    sent = json.loads(body.decode("utf-8-sig"), parse_int=_integer, parse_float=_float, parse_constant=str)
    return {name: _echoed(sent[name]) for name in ECHOED if name in sent}


def _echoed(value: Any) -> Any:
    if isinstance(value, str):
        return value[:_LONGEST_ECHO]
    return value if value is None or isinstance(value, (bool, int, float)) else f"({type(value).__name__})"


def _integer(text: str) -> int | str:
    return int(text) if len(text) <= _LONGEST_INTEGER else text


def _float(text: str) -> float | str:
    number = float(text)
    return number if math.isfinite(number) else text
