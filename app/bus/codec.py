"""Bus messages as compact JSON: ``[tag, field, field, …]``, Decimals as strings. Both ends run the same release."""

from collections.abc import Callable
from dataclasses import fields
from decimal import Decimal
from typing import Any, get_type_hints

import orjson

from app.bus.port import AlertEnvelope, Json
from app.domain.market import (
    Bar,
    BarIndicators,
    BetaReading,
    ChangeOfCharacter,
    CorrelationReading,
    FlowReading,
    MarketMessage,
    MarkPrice,
    OrderBlockView,
    Quote,
    RegimeReading,
    StreamHealth,
    StructureReading,
)

_TAGS: dict[str, type[MarketMessage]] = {
    "q": Quote,
    "m": MarkPrice,
    "b": Bar,
    "i": BarIndicators,
    "r": BetaReading,
    "c": CorrelationReading,
    "f": FlowReading,
    "v": RegimeReading,
    "s": StructureReading,
    "h": StreamHealth,
}
_TAG_OF = {kind: tag for tag, kind in _TAGS.items()}
_NAMES = {kind: tuple(field.name for field in fields(kind)) for kind in _TAG_OF}


def _blocks(rows: list[dict[str, Any]]) -> tuple[OrderBlockView, ...]:
    return tuple(OrderBlockView(**row) for row in rows)


def _choch(row: dict[str, Any] | None) -> ChangeOfCharacter | None:
    return None if row is None else ChangeOfCharacter(**row)


_READERS: dict[Any, Callable[[Any], object]] = {
    Decimal: Decimal,
    tuple[OrderBlockView, ...]: _blocks,
    ChangeOfCharacter | None: _choch,
}
# What JSON cannot say: the places of each kind's fields that must be read back into their type.
_READ_BACK = {
    kind: tuple((place, _READERS[hint]) for place, hint in enumerate(get_type_hints(kind).values()) if hint in _READERS)
    for kind in _NAMES
}
_WITH_HISTORY: tuple[type[MarketMessage], ...] = (Bar, BarIndicators, BetaReading, RegimeReading, StructureReading)
_BY_INTERVAL: tuple[type[MarketMessage], ...] = (Bar, BarIndicators, StructureReading)


def _plain(value: object) -> str:
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot cross the bus")


def encode_message(message: MarketMessage) -> bytes:
    kind = type(message)
    return orjson.dumps([_TAG_OF[kind], *(getattr(message, name) for name in _NAMES[kind])], default=_plain)


def decode_message(data: bytes | str) -> MarketMessage:
    """Raises ValueError for anything ``encode_message`` did not write."""
    try:
        tag, *values = orjson.loads(data)
        kind = _TAGS[tag]
        for place, read in _READ_BACK[kind]:
            values[place] = read(values[place])
        return kind(*values)
    except (KeyError, IndexError, TypeError, ArithmeticError) as error:
        raise ValueError(f"not a market message of this release: {data[:80]!r}") from error


def latest_field(message: MarketMessage) -> str:
    """What the message replaces: the newest of its type, symbol and interval."""
    symbol = getattr(message, "symbol", "")
    told_apart_by = message.other if isinstance(message, CorrelationReading) else getattr(message, "interval_ms", "")
    return f"{_TAG_OF[type(message)]}|{symbol}|{told_apart_by}"


def history_name(kind: type[MarketMessage], symbol: str, interval_ms: int = 0) -> str:
    """Raises ValueError for a kind that keeps no history, and unless the interval is named exactly for kinds that have one."""
    if kind not in _WITH_HISTORY:
        raise ValueError(f"the bus keeps no history of {kind.__name__}")
    if bool(interval_ms) != (kind in _BY_INTERVAL):
        raise ValueError(f"history of {kind.__name__}: {'no' if interval_ms else 'name its'} interval")
    return f"{_TAG_OF[kind]}:{symbol}:{interval_ms}" if interval_ms else f"{_TAG_OF[kind]}:{symbol}"


def history_of(message: MarketMessage) -> str | None:
    """The name of the history the message belongs to; None: it has none."""
    if isinstance(message, Bar | BarIndicators | StructureReading):
        return history_name(type(message), message.symbol, message.interval_ms)
    if isinstance(message, BetaReading | RegimeReading):
        return history_name(type(message), message.symbol)
    return None


def encode_envelope(envelope: AlertEnvelope) -> bytes:
    values = [getattr(envelope, field.name) for field in fields(AlertEnvelope)]
    return orjson.dumps(values, default=_plain)


def decode_envelope(data: bytes | str) -> AlertEnvelope:
    """Raises ValueError for anything ``encode_envelope`` of this release did not write."""
    try:
        envelope = AlertEnvelope(*orjson.loads(data))
    except TypeError as error:
        raise ValueError("not an alert of this release") from error
    if not isinstance(envelope.body, dict):
        raise ValueError("the alert's body has no fields")
    return envelope


def encode_json(value: Json) -> bytes:
    return orjson.dumps(dict(value), default=_plain)


def decode_json(data: bytes | str) -> dict[str, Any]:
    value: dict[str, Any] = orjson.loads(data)
    return value
