"""A component alert: one toolkit's message about one condition, from the webhook's JSON to plain JSON for the inbox and back."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any

from app.domain.component_tags import Kit, Tag, known_texts, tag_of
from app.domain.refusals import refuse
from app.domain.signal import ABSENT, KEY_TTL_S, normalise_symbol, plain_number, unix_ms
from app.domain.verdict import Refusal

_TEXTS: Mapping[str, tuple[str, ...]] = {
    "tag": ("tag", "condition"),
    "symbol": ("symbol", "ticker"),
    "t": ("t", "time", "bar_time"),
    "tf": ("tf",),
    "kit": ("kit",),
    "close": ("close", "price"),
    "ob_top": ("ob_top",),
    "ob_bottom": ("ob_bottom",),
    "smart_trail": ("smart_trail",),
}
_LONGEST = 64
_TIMEFRAME = re.compile(r"([0-9]{1,4})\s*(m|min|h)?", re.IGNORECASE)
_NUMBERS = ("close", "ob_top", "ob_bottom", "smart_trail")


@dataclass(frozen=True, slots=True)
class ComponentAlert:
    """``bar_ms`` is the opening time of the bar the condition came true on, ``tf_min`` that bar's length if it was told."""

    symbol: str
    tag: Tag
    bar_ms: int
    tf_min: int | None = None
    text: str = ""
    kit: str | None = None
    close: Decimal | None = None
    ob_top: Decimal | None = None
    ob_bottom: Decimal | None = None
    smart_trail: Decimal | None = None  # recorded, not used

    @property
    def key(self) -> tuple[str, int]:
        """One tag of one bar is one alert, however often it is sent; and for how many seconds that holds."""
        return f"tag:{self.symbol}:{self.tag}:{self.bar_ms}:{self.tf_min or ''}", KEY_TTL_S

    def to_json(self) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in (field.name for field in fields(self))}
        return {name: str(v) if isinstance(v, Decimal) else v for name, v in values.items() if v is not None}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "ComponentAlert":
        """The alert ``to_json`` wrote. Raises ValueError when it is damaged."""
        try:
            known: dict[str, Any] = {name: Decimal(body[name]) for name in _NUMBERS if name in body}
            known |= {name: str(body[name]) for name in ("text", "kit") if name in body}
            known |= {"tf_min": int(body["tf_min"])} if "tf_min" in body else {}
            return cls(str(body["symbol"]), Tag(body["tag"]), int(body["bar_ms"]), **known)
        except (KeyError, TypeError, ArithmeticError) as error:
            raise ValueError(f"stored component alert is damaged: {error!r}") from error


def is_component(fields: Mapping[str, Any]) -> bool:
    """A message about a condition; one that names a side is an alert of its own."""
    return any(name in fields for name in _TEXTS["tag"]) and not any(name in fields for name in ("side", "signal", "action"))


def read_component(fields: Mapping[str, Any], aliases: Mapping[str, Tag]) -> ComponentAlert | Refusal:
    """``fields`` as ``signal.json_fields`` gives them."""
    told: dict[str, str] = {}
    for name, spellings in _TEXTS.items():
        text = _first_text(fields, spellings)
        if isinstance(text, Refusal):
            return text
        if text is not None:
            told[name] = text
    symbol = normalise_symbol(told.get("symbol", ""))
    if isinstance(symbol, Refusal):
        return symbol
    text = told.get("tag", "")
    tag = tag_of(text, told.get("kit"), aliases)
    if tag is None:
        return _unknown(text, aliases)
    bar_ms = unix_ms(told.get("t", ""))
    if bar_ms is None:
        return refuse("tag_without_time", raw=repr(told["t"][:40]) if "t" in told else "missing")
    numbers = {name: value for name in _NUMBERS if (value := plain_number(told.get(name, ""))) is not None and value > 0}
    kit = told.get("kit")
    if "tf" not in told:
        return ComponentAlert(symbol, tag, bar_ms, None, text, kit, **numbers)
    minutes = timeframe_minutes(told["tf"])
    if minutes is None:
        return refuse("tag_wrong_timeframe", tag=tag, tf=repr(told["tf"][:16]), expected="whole minutes, such as 3")
    return ComponentAlert(symbol, tag, bar_ms, minutes, text, kit, **numbers)


def timeframe_minutes(text: str) -> int | None:
    """TradingView's ``3`` and ``60``, and what people write: ``3m``, ``1h``."""
    match = _TIMEFRAME.fullmatch(text.strip())
    if match is None or int(match[1]) == 0:
        return None
    return int(match[1]) * (60 if (match[2] or "").lower() == "h" else 1)


def _first_text(fields: Mapping[str, Any], spellings: tuple[str, ...]) -> str | Refusal | None:
    """The first spelling that was given and filled in: what still holds a placeholder is absent."""
    for name in spellings:
        value = fields.get(name)
        if value is None:
            continue
        if not isinstance(value, str):
            kind = {bool: "true or false", list: "a list", dict: "an object"}.get(type(value), "of another type")
            return refuse("wrong_type", field=name, kind=kind)
        text = value.strip()
        if len(text) > _LONGEST or not text.isprintable():
            return refuse("bad_text", field=name, limit=_LONGEST)
        if text.lower() not in ABSENT and "{" not in text:
            return text
    return None


def _unknown(text: str, aliases: Mapping[str, Tag]) -> Refusal:
    near = difflib.get_close_matches(text, [*Tag, *known_texts(), *aliases], n=1)
    return refuse("tag_unknown", raw=repr(text[:40]), near=f"did you mean {near[0]!r}?" if near else f"kits: {', '.join(Kit)}")
