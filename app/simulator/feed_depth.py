"""Depth streams: the published book, its versions and the chain of changes between them.

One version counter per symbol. Each stream (a symbol at one speed) tells what changed since its own last event: ``U`` to
``u`` are the versions it covers, ``pu`` the ``u`` before. A snapshot is a version of its own, so that the next event always
reaches across it (U ≤ lastUpdateId ≤ u).
"""

from dataclasses import dataclass, field
from decimal import Decimal

from app.simulator.streams import Subscriptions
from app.simulator.venue import Venue
from app.simulator.venue_market import Level
from app.simulator.wire import Json, plain
from app.simulator.wire_market import level_rows

PUBLISHED_LEVELS = 100  # of each side
_SPEEDS_MS = {"": 250, "@100ms": 100, "@250ms": 250, "@500ms": 500}
_PARTS = (5, 10, 20)
Side = dict[Decimal, Decimal]


@dataclass(slots=True)
class _Sent:
    """What a stream told last, and when."""

    at_ms: int
    update_id: int
    bids: Side = field(default_factory=dict)
    asks: Side = field(default_factory=dict)


class DepthFeed:
    def __init__(self, venue: Venue, subscriptions: Subscriptions) -> None:
        self._venue = venue
        self._out = subscriptions
        self._version = dict.fromkeys(venue.symbols, 1_000_000)
        self._sent: dict[str, _Sent] = {}

    def snapshot(self, symbol: str, limit: int) -> tuple[int, list[Level], list[Level]]:
        """(lastUpdateId, bids, asks), best first."""
        self._version[symbol] += 1
        bids, asks = self._venue.depth(symbol, min(limit, PUBLISHED_LEVELS))
        return self._version[symbol], bids, asks

    def flush(self, now_ms: int) -> None:
        for symbol in self._venue.symbols:
            for speed, every_ms in _SPEEDS_MS.items():
                stem = f"{symbol.lower()}@depth"
                names = [name for name in (f"{stem}{part}{speed}" for part in ("", *_PARTS)) if self._out.wanted(name)]
                for name in names:
                    self._tell(symbol, name, name.removeprefix(stem).removesuffix(speed), every_ms, now_ms)
        for name in [name for name in self._sent if not self._out.wanted(name)]:
            del self._sent[name]

    def _tell(self, symbol: str, stream: str, part: str, every_ms: int, now_ms: int) -> None:
        sent = self._sent.get(stream)
        if sent is None:  # the chain starts here; what a listener has missed it learns from a snapshot
            self._sent[stream] = self._now(symbol, now_ms)
            if not part:
                return
            sent = _Sent(0, self._version[symbol])
        if now_ms - sent.at_ms < every_ms:
            return
        self._version[symbol] += 1
        book = self._now(symbol, now_ms)
        self._sent[stream] = book
        if part:
            bids, asks = level_rows(list(book.bids.items())[: int(part)]), level_rows(list(book.asks.items())[: int(part)])
        else:
            bids, asks = _changes(sent.bids, book.bids), _changes(sent.asks, book.asks)
        self._out.send(stream, _message(symbol, now_ms, sent.update_id, book.update_id, bids, asks))

    def _now(self, symbol: str, now_ms: int) -> _Sent:
        bids, asks = self._venue.depth(symbol, PUBLISHED_LEVELS)
        return _Sent(now_ms, self._version[symbol], dict(bids), dict(asks))


def _changes(before: Side, after: Side) -> list[list[str]]:
    gone = [[plain(price), "0"] for price in before if price not in after]
    return gone + [[plain(price), plain(quantity)] for price, quantity in after.items() if before.get(price) != quantity]


def _message(symbol: str, now_ms: int, before: int, update_id: int, bids: list[list[str]], asks: list[list[str]]) -> Json:
    return {
        "e": "depthUpdate",
        "E": now_ms,
        "T": now_ms,
        "s": symbol,
        "ps": symbol,
        "st": 1,
        "U": before + 1,
        "u": update_id,
        "pu": before,
        "b": bids,
        "a": asks,
    }
