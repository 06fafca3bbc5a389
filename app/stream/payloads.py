"""What the market streams send, as our own types. Nothing that cannot be true gets through.

Binance USD-M Futures streams: ``bookTicker`` on the public route; ``kline_1m``, ``markPrice@1s`` and ``aggTrade`` on the market
route.
Times are the exchange's event times ``E``.
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from app.domain.market import MINUTE_MS, Bar, MarkPrice, Quote
from app.stream.candles import candle_fault
from app.stream.flow import AggregateTrade

Payload = Mapping[str, Any]


class BadPayload(Exception):
    """A message whose numbers cannot be true. ``kind`` is what it is counted under."""

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class MinuteUpdate:
    """The state of a 1-minute candle; ``closed`` when it is final."""

    minute: Bar
    closed: bool
    time_ms: int


def stream_name(payload: Payload) -> str | None:
    """The subscription a message belongs to (``btcusdt@bookTicker``), or None for anything else."""
    symbol = str(payload.get("s", "")).lower()
    match payload.get("e"):
        case "bookTicker":
            return f"{symbol}@bookTicker"
        case "markPriceUpdate":
            return f"{symbol}@markPrice@1s"
        case "kline":
            return f"{symbol}@kline_1m"
        case "aggTrade":
            return f"{symbol}@aggTrade"
        case _:
            return None


Message = Quote | MarkPrice | MinuteUpdate | AggregateTrade


def parse(payload: Payload) -> Message:
    """Raises BadPayload."""
    try:
        match payload["e"]:
            case "bookTicker":
                return _quote(payload)
            case "markPriceUpdate":
                return _mark(payload)
            case "kline":
                return _minute(payload)
            case "aggTrade":
                return _trade(payload)
    except (KeyError, TypeError, ValueError, InvalidOperation) as error:
        raise BadPayload("unreadable", f"{payload.get('e')} of {payload.get('s')}: {error!r}") from error
    raise BadPayload("unknown_event", str(payload.get("e")))


def _positive(value: Any, what: str) -> Decimal:
    number = Decimal(value)
    if not number.is_finite() or number <= 0:
        raise BadPayload("not_positive", f"{what} {value}")
    return number


def _quote(payload: Payload) -> Quote:
    quote = Quote(
        symbol=payload["s"],
        bid=_positive(payload["b"], "bid"),
        bid_quantity=_positive(payload["B"], "bid quantity"),
        ask=_positive(payload["a"], "ask"),
        ask_quantity=_positive(payload["A"], "ask quantity"),
        time_ms=int(payload["E"]),
    )
    if quote.bid >= quote.ask:
        raise BadPayload("crossed_quote", f"{quote.symbol} {quote.bid} / {quote.ask}")
    return quote


def _mark(payload: Payload) -> MarkPrice:
    funding_rate = Decimal(payload["r"])
    if not funding_rate.is_finite():
        raise BadPayload("bad_funding_rate", str(payload["r"]))
    return MarkPrice(
        symbol=payload["s"],
        mark=_positive(payload["p"], "mark price"),
        funding_rate=funding_rate,
        next_funding_ms=int(payload["T"]),
        time_ms=int(payload["E"]),
    )


def _minute(payload: Payload) -> MinuteUpdate:
    k = payload["k"]
    minute = Bar(
        symbol=payload["s"],
        interval_ms=MINUTE_MS,
        open_ms=int(k["t"]),
        open=float(k["o"]),
        high=float(k["h"]),
        low=float(k["l"]),
        close=float(k["c"]),
        volume=float(k["v"]),
        taker_buy=float(k["V"]),
    )
    if k["i"] != "1m":
        raise BadPayload("wrong_interval", f"kline {k['i']} of {minute.symbol}")
    if minute.open_ms > int(payload["E"]):
        raise BadPayload("from_the_future", f"candle of {minute.symbol} at {minute.open_ms}")
    if fault := candle_fault(minute):
        raise BadPayload("bad_candle", f"{minute.symbol}: {fault}")
    return MinuteUpdate(minute, closed=bool(k["x"]), time_ms=int(payload["E"]))


def _trade(payload: Payload) -> AggregateTrade:
    quantity = float(payload["q"])
    if not 0 < quantity < math.inf:
        raise BadPayload("not_positive", f"quantity {payload['q']}")
    trade_id, traded_ms, time_ms = int(payload["a"]), int(payload["T"]), int(payload["E"])
    return AggregateTrade(payload["s"], trade_id, quantity, payload["m"] is True, traded_ms, time_ms)


class PayloadFilter:
    """Parses, drops what cannot be true or comes from the past, and counts what it dropped."""

    def __init__(self) -> None:
        self.dropped: Counter[str] = Counter()
        self._newest_ms: dict[str, int] = {}

    def take(self, payload: Payload) -> Message | None:
        """The message in our types, or None when it was dropped."""
        try:
            message = parse(payload)
        except BadPayload as bad:
            self.dropped[bad.kind] += 1
            return None
        stream = stream_name(payload) or ""
        if message.time_ms < self._newest_ms.get(stream, 0):
            self.dropped["time_went_back"] += 1
            return None
        self._newest_ms[stream] = message.time_ms
        return message
