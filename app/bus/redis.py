"""The bus on Redis: a stream with a consumer group for the inbox, a hash and pub/sub for market data.

Every Redis or socket failure, and every answer later than ``timeout_s``, becomes BusUnavailable. The client never retries by
itself: whether a lost answer may be asked for again is the caller's decision.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import structlog
from redis.asyncio.client import PubSub
from redis.exceptions import ResponseError

from app.bus.codec import (
    decode_envelope,
    decode_json,
    decode_message,
    encode_envelope,
    encode_json,
    encode_message,
    history_name,
    history_of,
    latest_field,
)
from app.bus.connection import TIMEOUT_S, bus_errors, connect, subscribed, within
from app.bus.hints import Hints
from app.bus.port import AlertEnvelope, BusUnavailable, InboxItem, Json
from app.bus.replies import Replies
from app.domain.market import MarketMessage

log = structlog.get_logger(__name__)

REPLY_KEPT_S = 86_400
BEAT_KEPT_MS = 5_000
HISTORY_KEPT = 2_000
SILENCE_S = 2.0
CLOCK_HOLDS_MS = 10_000
_GROUP = "trader"
_PAGE = 64

# The entry goes in before the key is set: if it cannot be added, no key is left behind.
_PUT = """
local first = redis.call('GET', KEYS[1])
if first then return first end
redis.call('XADD', KEYS[2], '*', 'e', ARGV[3])
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return false
"""


class RedisInbox:
    """Writer and reader of one inbox. Only one process at a time may ``take`` (the holder of the lease).

    ``hints``: the Unix socket of ``think_ahead``, the same for writers and reader; None: there are none.
    """

    def __init__(self, url: str, *, prefix: str = "qc", timeout_s: float = TIMEOUT_S, hints: Path | None = None) -> None:
        self._hints = None if hints is None else Hints(hints)
        self._client = connect(url, answers_within_s=timeout_s)
        self._reader = connect(url, answers_within_s=None)
        self._put = self._client.register_script(_PUT)
        self._timeout_s = timeout_s
        self._prefix = prefix
        self._stream = f"{prefix}:inbox"
        self._in_hand: set[str] = set()  # receipts given out by this reader and not done
        self._pending_from: str | None = "0"  # where to go on in what was delivered before; None: all seen
        self._replies = Replies(self._reader, f"{prefix}:replies", timeout_s)
        self._clock_ahead_ms = 0.0  # the server's clock against the loop's, read when nothing else is to do
        self._clock_read_ms: float | None = None

    async def close(self) -> None:
        if self._hints is not None:
            self._hints.close()
        await self._replies.close()
        await self._client.aclose()
        await self._reader.aclose()

    async def put(self, envelope: AlertEnvelope) -> str | None:
        key = f"{self._prefix}:key:{hashlib.sha256(envelope.key.encode()).hexdigest()}"
        data = encode_envelope(envelope)
        if self._hints is not None:
            self._hints.send(data)
        arguments: list[str | int | bytes] = [envelope.alert_id, max(1, envelope.key_ttl_s), data]
        async with within(self._timeout_s, "inbox put"):
            first: bytes | None = await self._put(keys=[key, self._stream], args=arguments)
        return first.decode() if first else None

    def announce(self) -> None:
        if self._hints is not None:
            self._hints.send(b"")

    def think_ahead(self, hear: Callable[[AlertEnvelope | None], None]) -> None:
        def decoded(data: bytes) -> None:
            try:
                envelope = decode_envelope(data) if data else None
            except ValueError:  # a gateway of another release
                return
            hear(envelope)

        if self._hints is not None:
            self._hints.listen(decoded)

    async def take(self, timeout_s: float) -> Sequence[InboxItem]:
        try:
            async with within(timeout_s + self._timeout_s, "inbox take"):
                if self._pending_from is not None:
                    await self._ensure_group()
                    if items := await self._redelivered():
                        return items
                return await self._new(timeout_s)
        except (BusUnavailable, asyncio.CancelledError):
            # An answer may have been lost with entries in it: look again at everything delivered and not done.
            self._pending_from = "0"
            raise

    async def _ensure_group(self) -> None:
        try:
            await self._client.xgroup_create(self._stream, _GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    async def _redelivered(self) -> list[InboxItem]:
        """The next page of what was delivered, is not done and is not in our hands; empty once all was seen."""
        while self._pending_from is not None:
            entries = await self._read(self._pending_from, None)
            gone = [receipt for receipt, entry in entries if not entry]  # delivered, then deleted from the stream
            if gone:
                await self._client.xack(self._stream, _GROUP, *gone)
            left = [(receipt, entry) for receipt, entry in entries if entry and receipt.decode() not in self._in_hand]
            items = await self._items(left, redelivered=True)
            self._pending_from = entries[-1][0].decode() if entries else None
            if items:
                return items
        return []

    async def _new(self, timeout_s: float) -> list[InboxItem]:
        block_ms = max(1, int(timeout_s * 1000)) if timeout_s > 0 else None
        entries = await self._read(">", block_ms)
        if not entries:
            await self._read_clock()
        return await self._items(entries, redelivered=False)

    async def _read(self, after: str, block_ms: int | None) -> list[tuple[bytes, dict[bytes, bytes]]]:
        reply: Any = await self._reader.xreadgroup(_GROUP, _GROUP, {self._stream: after}, count=_PAGE, block=block_ms)
        return list(reply[0][1]) if reply else []

    async def _items(self, entries: Sequence[tuple[bytes, dict[bytes, bytes]]], *, redelivered: bool) -> list[InboxItem]:
        if not entries:
            return []
        now_ms = await self._now_ms()
        items = []
        for raw, entry in entries:
            receipt, data = raw.decode(), entry.get(b"e", b"")
            try:
                envelope = decode_envelope(data)
            except ValueError as error:
                await self._set_aside(receipt, data, error)
                continue
            age_ms = max(0, now_ms - int(receipt.split("-")[0])) + envelope.age_ms
            items.append(InboxItem(receipt, envelope, age_ms, redelivered))
        self._in_hand.update(item.receipt for item in items)
        return items

    async def _now_ms(self) -> int:
        """The server's clock, without a question in the way of an alert."""
        loop_ms = asyncio.get_running_loop().time() * 1000
        if self._clock_read_ms is None or loop_ms - self._clock_read_ms > CLOCK_HOLDS_MS:
            await self._read_clock()
        return int(asyncio.get_running_loop().time() * 1000 + self._clock_ahead_ms)

    async def _read_clock(self) -> None:
        seconds, micros = await self._client.time()
        self._clock_read_ms = asyncio.get_running_loop().time() * 1000
        self._clock_ahead_ms = int(seconds) * 1000 + int(micros) / 1000 - self._clock_read_ms

    async def _set_aside(self, receipt: str, data: bytes, error: ValueError) -> None:
        """An entry of another release: kept for a person to look at, and out of the way of the alerts behind it."""
        log.error("inbox_entry_unreadable", receipt=receipt, kept_in=f"{self._stream}:unreadable", error=str(error))
        async with self._client.pipeline(transaction=True) as pipe:
            pipe.xadd(f"{self._stream}:unreadable", {"e": data})
            pipe.xack(self._stream, _GROUP, receipt)
            pipe.xdel(self._stream, receipt)
            await pipe.execute()

    async def done(self, item: InboxItem) -> None:
        async with within(self._timeout_s, "inbox done"), self._client.pipeline(transaction=True) as pipe:
            pipe.xack(self._stream, _GROUP, item.receipt)
            pipe.xdel(self._stream, item.receipt)
            await pipe.execute()
        self._in_hand.discard(item.receipt)

    async def reply(self, alert_id: str, reply: Json) -> None:
        name, data = f"{self._prefix}:reply:{alert_id}", encode_json(reply)
        async with within(self._timeout_s, "inbox reply"), self._client.pipeline(transaction=True) as pipe:
            pipe.set(name, data, ex=REPLY_KEPT_S)
            pipe.publish(f"{self._prefix}:replies", alert_id.encode() + b"\n" + data)
            await pipe.execute()

    async def wait_reply(self, alert_id: str, timeout_s: float) -> Json | None:
        name = f"{self._prefix}:reply:{alert_id}"
        if timeout_s <= 0:
            return await self._kept_reply(name)
        try:
            async with asyncio.timeout(timeout_s):
                expected = await self._replies.expect(alert_id)
                try:
                    # One that came before was kept, one that comes later is heard.
                    kept = await self._kept_reply(name)
                    return kept if kept is not None else await expected
                finally:
                    self._replies.drop(alert_id, expected)
        except TimeoutError:
            return None

    async def _kept_reply(self, name: str) -> Json | None:
        async with within(self._timeout_s, "inbox wait_reply"):
            data = await self._client.get(name)
        return decode_json(data) if data is not None else None

    async def beat(self, who: str, status: Json) -> None:
        async with within(self._timeout_s, "inbox beat"):
            await self._client.set(f"{self._prefix}:beat:{who}", encode_json(status), px=BEAT_KEPT_MS)

    async def last_beat(self, who: str) -> Json | None:
        async with within(self._timeout_s, "inbox last_beat"):
            data = await self._client.get(f"{self._prefix}:beat:{who}")
        return decode_json(data) if data is not None else None


class RedisMarketBus:
    """Latest values in a hash, each message on one channel, the newest bars and readings in lists."""

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "qc",
        timeout_s: float = TIMEOUT_S,
        history: int = HISTORY_KEPT,
        silence_s: float = SILENCE_S,
    ) -> None:
        """A subscription quiet for ``silence_s`` asks for a sign of life, and ends after as long again without one."""
        self._silence_s = silence_s
        self._client = connect(url, answers_within_s=timeout_s)
        self._listeners = connect(url, answers_within_s=None)
        self._timeout_s = timeout_s
        self._kept = history
        self._prefix = f"{prefix}:market"
        self._subscriptions: set[_Subscription] = set()

    async def close(self) -> None:
        for subscription in tuple(self._subscriptions):
            await subscription.close()
        await self._client.aclose()
        await self._listeners.aclose()

    async def publish(self, messages: Sequence[MarketMessage]) -> None:
        if not messages:
            return
        async with within(self._timeout_s, "market publish"), self._client.pipeline(transaction=False) as pipe:
            for message in messages:
                data = encode_message(message)
                pipe.hset(f"{self._prefix}:latest", latest_field(message), data)
                if history := history_of(message):
                    pipe.rpush(f"{self._prefix}:{history}", data)
                    pipe.ltrim(f"{self._prefix}:{history}", -self._kept, -1)
                pipe.publish(self._prefix, data)
            await pipe.execute()

    async def latest(self) -> Sequence[MarketMessage]:
        await self._subscriptions_ready()
        async with within(self._timeout_s, "market latest"):
            values = await self._client.hgetall(f"{self._prefix}:latest")
        return [_decoded(data) for data in values.values()]

    async def history(self, kind: type[MarketMessage], symbol: str, limit: int, interval_ms: int = 0) -> Sequence[MarketMessage]:
        name = f"{self._prefix}:{history_name(kind, symbol, interval_ms)}"
        if limit <= 0:
            return []
        await self._subscriptions_ready()
        async with within(self._timeout_s, "market history"):
            values: list[Any] = await self._client.lrange(name, -limit, -1)
        return [_decoded(data) for data in values]

    def subscribe(self) -> AsyncIterator[MarketMessage]:
        """Starts now, in the background: what ``latest`` and ``history`` do not show yet when called after this, is heard."""
        subscription = _Subscription(
            self._listeners.pubsub(), self._prefix, self._timeout_s, self._silence_s, self._subscriptions
        )
        self._subscriptions.add(subscription)
        return subscription

    async def _subscriptions_ready(self) -> None:
        waiting = [subscription.started for subscription in self._subscriptions if not subscription.started.done()]
        if waiting:
            await asyncio.wait(waiting)


def _decoded(data: bytes | str) -> MarketMessage:
    try:
        return decode_message(data)
    except ValueError as error:
        raise BusUnavailable(f"market bus: {error}") from error


class _Subscription:
    """One listener's iterator. Ends with BusUnavailable when the connection fails or goes silent."""

    def __init__(
        self, listener: PubSub, channel: str, timeout_s: float, silence_s: float, registry: "set[_Subscription]"
    ) -> None:
        self._silence_s = silence_s
        self._listener = listener
        self._registry = registry
        self._closed = False
        self.started = asyncio.create_task(self._start(channel, timeout_s))

    async def _start(self, channel: str, timeout_s: float) -> BusUnavailable | None:
        try:
            async with within(timeout_s, "market subscribe"):
                await subscribed(self._listener, channel)
        except BusUnavailable as error:
            return error
        return None

    def __aiter__(self) -> "_Subscription":
        return self

    async def __anext__(self) -> MarketMessage:
        failed = None if self._closed else await asyncio.shield(self.started)
        if failed is None:
            try:
                return await self._next_message()
            except BusUnavailable as error:
                failed = error
        await self.close()
        raise failed

    async def _next_message(self) -> MarketMessage:
        with bus_errors("market subscription"):
            while True:
                heard = await self._listen()
                if heard is None:
                    await self._listener.ping()
                    heard = await self._listen()
                if heard is None:
                    raise BusUnavailable("market subscription: the connection went silent")
                if heard["type"] == "message":
                    return _decoded(heard["data"])

    async def _listen(self) -> dict[str, Any] | None:
        if self._closed:
            raise BusUnavailable("market subscription: closed")
        heard: dict[str, Any] | None = await self._listener.get_message(timeout=self._silence_s)
        return heard

    async def aclose(self) -> None:
        await self.close()

    async def close(self) -> None:
        self._registry.discard(self)
        self._closed = True
        await asyncio.wait((self.started,))
        with bus_errors("market subscription"):
            await self._listener.aclose()  # type: ignore[no-untyped-call]
