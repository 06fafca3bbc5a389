"""The bus in one process, for replay, simulation and tests: the same words, driven by the injected clock alone.

An ``InMemoryServer`` stands for the Redis server, and each port object for one process's connection to it: a new
``InMemoryInbox`` on the same server is a reader that started after the last one died.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from app.bus.codec import decode_envelope, decode_json, encode_envelope, encode_json, history_name, history_of, latest_field
from app.bus.port import AlertEnvelope, BusUnavailable, InboxItem, Json
from app.clock import Clock
from app.domain.market import MarketMessage

REPLY_KEPT_S = 86_400.0
BEAT_KEPT_S = 5.0
HISTORY_KEPT = 2_000


@dataclass(slots=True)
class _Waiting:
    sequence: int
    data: bytes
    put_at: float
    delivered: bool = False


@dataclass(slots=True)
class InMemoryServer:
    """What outlives a process: entries, keys with their expiry, market values. ``cut`` and ``restore`` are its network."""

    clock: Clock
    reachable: bool = True
    entries: dict[str, _Waiting] = field(default_factory=dict)
    expiring: dict[str, tuple[bytes, float]] = field(default_factory=dict)
    latest: dict[str, MarketMessage] = field(default_factory=dict)
    histories: dict[str, deque[MarketMessage]] = field(default_factory=dict)
    subscriptions: "set[_Subscription]" = field(default_factory=set)
    thinking_ahead: Callable[[bytes], None] | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    sequence: int = 0

    def cut(self) -> None:
        self.reachable = False
        for subscription in tuple(self.subscriptions):
            subscription.end()
        self.wake()

    def restore(self) -> None:
        self.reachable = True

    def wake(self) -> None:
        """Everyone who waits looks again."""
        self.changed.set()
        self.changed = asyncio.Event()

    def check(self) -> None:
        if not self.reachable:
            raise BusUnavailable("the in-process bus is cut")

    def read(self, name: str) -> bytes | None:
        self.check()
        value, expires_at = self.expiring.get(name, (b"", 0.0))
        if self.clock.monotonic() < expires_at:
            return value
        self.expiring.pop(name, None)
        return None

    def write(self, name: str, value: bytes, ttl_s: float) -> None:
        self.check()
        self.expiring[name] = (value, self.clock.monotonic() + ttl_s)

    async def wait(self, until: float) -> bool:
        """Until something changes (True) or the monotonic time ``until`` is reached (False)."""
        remaining = until - self.clock.monotonic()
        if remaining <= 0:
            return False
        change = asyncio.ensure_future(self.changed.wait())
        alarm = asyncio.ensure_future(self.clock.sleep(remaining))
        try:
            await asyncio.wait((change, alarm), return_when=asyncio.FIRST_COMPLETED)
            return change.done()
        finally:
            change.cancel()
            alarm.cancel()


class InMemoryInbox:
    def __init__(self, server: InMemoryServer) -> None:
        self._server = server
        self._mine: set[str] = set()

    async def close(self) -> None:
        """Nothing is held."""

    async def put(self, envelope: AlertEnvelope) -> str | None:
        server = self._server
        if server.thinking_ahead is not None:
            server.thinking_ahead(encode_envelope(envelope))
        name = f"key:{envelope.key}"
        if (first := server.read(name)) is not None:
            return first.decode()
        server.sequence += 1
        server.entries[str(server.sequence)] = _Waiting(server.sequence, encode_envelope(envelope), server.clock.monotonic())
        server.write(name, envelope.alert_id.encode(), max(1, envelope.key_ttl_s))
        server.wake()
        return None

    def announce(self) -> None:
        if self._server.thinking_ahead is not None:
            self._server.thinking_ahead(b"")

    def think_ahead(self, hear: Callable[[AlertEnvelope | None], None]) -> None:
        self._server.thinking_ahead = lambda data: hear(decode_envelope(data) if data else None)

    async def take(self, timeout_s: float) -> Sequence[InboxItem]:
        until = self._server.clock.monotonic() + timeout_s
        while True:
            self._server.check()
            if items := self._waiting():
                return items
            if not await self._server.wait(until):
                self._server.check()
                return self._waiting()

    def _waiting(self) -> list[InboxItem]:
        """Like Redis: what a dead reader left comes alone, before anything new."""
        unseen = [(receipt, entry) for receipt, entry in self._server.entries.items() if receipt not in self._mine]
        left = [(receipt, entry) for receipt, entry in unseen if entry.delivered]
        items = []
        for receipt, entry in left or unseen:
            envelope = decode_envelope(entry.data)
            age_ms = int((self._server.clock.monotonic() - entry.put_at) * 1000) + envelope.age_ms
            items.append(InboxItem(receipt, envelope, age_ms, entry.delivered))
            entry.delivered = True
            self._mine.add(receipt)
        return items

    async def done(self, item: InboxItem) -> None:
        self._server.check()
        self._server.entries.pop(item.receipt, None)
        self._mine.discard(item.receipt)

    async def reply(self, alert_id: str, reply: Json) -> None:
        self._server.write(f"reply:{alert_id}", encode_json(reply), REPLY_KEPT_S)
        self._server.wake()

    async def wait_reply(self, alert_id: str, timeout_s: float) -> Json | None:
        until = self._server.clock.monotonic() + timeout_s
        while (data := self._server.read(f"reply:{alert_id}")) is None:
            if not await self._server.wait(until):
                data = self._server.read(f"reply:{alert_id}")
                break
        return decode_json(data) if data is not None else None

    async def beat(self, who: str, status: Json) -> None:
        self._server.write(f"beat:{who}", encode_json(status), BEAT_KEPT_S)

    async def last_beat(self, who: str) -> Json | None:
        data = self._server.read(f"beat:{who}")
        return decode_json(data) if data is not None else None


class InMemoryMarketBus:
    def __init__(self, server: InMemoryServer, *, history: int = HISTORY_KEPT) -> None:
        self._server = server
        self._kept = history
        self._subscriptions: list[_Subscription] = []

    async def close(self) -> None:
        for subscription in self._subscriptions:
            subscription.end()

    async def publish(self, messages: Sequence[MarketMessage]) -> None:
        self._server.check()
        for message in messages:
            self._server.latest[latest_field(message)] = message
            if name := history_of(message):
                self._server.histories.setdefault(name, deque(maxlen=self._kept)).append(message)
            for subscription in tuple(self._server.subscriptions):
                subscription.tell(message)

    async def latest(self) -> Sequence[MarketMessage]:
        self._server.check()
        return list(self._server.latest.values())

    async def history(self, kind: type[MarketMessage], symbol: str, limit: int, interval_ms: int = 0) -> Sequence[MarketMessage]:
        self._server.check()
        kept = list(self._server.histories.get(history_name(kind, symbol, interval_ms), ()))
        return kept[-limit:] if limit > 0 else []

    def subscribe(self) -> AsyncIterator[MarketMessage]:
        subscription = _Subscription(self._server)
        self._subscriptions.append(subscription)
        return subscription


class _Subscription:
    def __init__(self, server: InMemoryServer) -> None:
        self._server = server
        self._heard: asyncio.Queue[MarketMessage | None] = asyncio.Queue()
        if server.reachable:
            server.subscriptions.add(self)
        else:
            self._heard.put_nowait(None)

    def tell(self, message: MarketMessage) -> None:
        self._heard.put_nowait(message)

    def end(self) -> None:
        self._server.subscriptions.discard(self)
        self._heard.put_nowait(None)

    def __aiter__(self) -> "_Subscription":
        return self

    async def __anext__(self) -> MarketMessage:
        message = await self._heard.get()
        if message is None:
            self._heard.put_nowait(None)
            raise BusUnavailable("the in-process subscription has ended")
        return message

    async def aclose(self) -> None:
        self._server.subscriptions.discard(self)


class InMemoryLease:
    def __init__(self, server: InMemoryServer, name: str, owner: str, *, ttl_s: float = 5.0) -> None:
        self._server = server
        self._name = f"lease:{name}"
        self._owner = owner.encode()
        self._ttl_s = ttl_s

    async def close(self) -> None:
        """Nothing is held."""

    async def acquire(self) -> bool:
        if self._server.read(self._name) not in (None, self._owner):
            return False
        self._server.write(self._name, self._owner, self._ttl_s)
        return True

    async def renew(self) -> bool:
        if self._server.read(self._name) != self._owner:
            return False
        self._server.write(self._name, self._owner, self._ttl_s)
        return True

    async def release(self) -> None:
        if self._server.read(self._name) == self._owner:
            del self._server.expiring[self._name]
