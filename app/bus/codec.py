"""Bus messages as compact JSON: ``[tag, field, field, …]``, Decimals as strings. Both ends run the same release."""

from dataclasses import fields
from decimal import Decimal
from typing import Any, get_type_hints

import orjson

from app.bus.port import AlertEnvelope, Json
from app.domain.market import Bar, BarIndicators, BetaReading, MarketMessage, MarkPrice, Quote, StreamHealth

_TAGS: dict[str, type[MarketMessage]] = {
    "q": Quote,
    "m": MarkPrice,
    "b": Bar,
    "i": BarIndicators,
    "r": BetaReading,
    "h": StreamHealth,
}
_TAG_OF = {kind: tag for tag, kind in _TAGS.items()}
_NAMES = {kind: tuple(field.name for field in fields(kind)) for kind in _TAG_OF}
_DECIMALS = {
    kind: tuple(place for place, name in enumerate(names) if get_type_hints(kind)[name] is Decimal)
    for kind, names in _NAMES.items()
}
_WITH_HISTORY: tuple[type[MarketMessage], ...] = (Bar, BarIndicators, BetaReading)


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
        for place in _DECIMALS[kind]:
            values[place] = Decimal(values[place])
        return kind(*values)
    except (KeyError, IndexError, TypeError, ArithmeticError) as error:
        raise ValueError(f"not a market message of this release: {data[:80]!r}") from error


def latest_field(message: MarketMessage) -> str:
    """What the message replaces: the newest of its type, symbol and interval."""
    symbol = getattr(message, "symbol", "")
    return f"{_TAG_OF[type(message)]}|{symbol}|{getattr(message, 'interval_ms', '')}"


def history_name(kind: type[MarketMessage], symbol: str) -> str:
    """Raises ValueError for a kind that keeps no history."""
    if kind not in _WITH_HISTORY:
        raise ValueError(f"the bus keeps no history of {kind.__name__}")
    return f"{_TAG_OF[kind]}:{symbol}"


def history_of(message: MarketMessage) -> str | None:
    """The name of the history the message belongs to; None: it has none."""
    if isinstance(message, Bar | BarIndicators | BetaReading):
        return history_name(type(message), message.symbol)
    return None


def encode_envelope(envelope: AlertEnvelope) -> bytes:
    values = [getattr(envelope, field.name) for field in fields(AlertEnvelope)]
    return orjson.dumps(values, default=_plain)


def decode_envelope(data: bytes | str) -> AlertEnvelope:
    """Raises ValueError for anything ``encode_envelope`` of this release did not write."""
    try:
        return AlertEnvelope(*orjson.loads(data))
    except TypeError as error:
        raise ValueError("not an alert of this release") from error


def encode_json(value: Json) -> bytes:
    return orjson.dumps(dict(value), default=_plain)


def decode_json(data: bytes | str) -> dict[str, Any]:
    value: dict[str, Any] = orjson.loads(data)
    return value
