"""The WebSocket streams' shells: connections, the private stream by listen key, and market subscriptions by route."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum

import orjson
from aiohttp import WSCloseCode, WSMessage, WSMsgType, web

from app.clock import Clock
from app.simulator.venue_types import VenueError, VenueEvent
from app.simulator.wire import Json
from app.simulator.wire_events import event_messages

PING_EVERY_S = 180.0
LISTEN_KEY_S = 3600.0
_BACKLOG = 20_000  # messages a client may fall behind before it is cut off


class Connection:
    """One client's socket with its own sender, so that a slow client delays nobody."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket
        self._outbox: asyncio.Queue[str] = asyncio.Queue(_BACKLOG)
        self._overflowed = False

    def send(self, message: Json) -> None:
        self.send_text(orjson.dumps(message).decode())

    def send_text(self, text: str) -> None:
        try:
            self._outbox.put_nowait(text)
        except asyncio.QueueFull:
            self._overflowed = True

    async def _pump(self) -> None:
        while not self._overflowed:
            text = await self._outbox.get()
            try:
                await self._socket.send_str(text)
            except ConnectionError:
                return
        await self.close()

    async def close(self) -> None:
        await self._socket.close(code=WSCloseCode.GOING_AWAY)

    async def serve(self, on_text: Callable[[str], Awaitable[None]]) -> None:
        """Hands each text message over until the socket closes."""
        pump = asyncio.create_task(self._pump())
        message: WSMessage
        try:
            async for message in self._socket:
                if message.type is WSMsgType.TEXT:
                    await on_text(message.data)
        finally:
            pump.cancel()


async def ignore(_text: str) -> None:
    """For sockets on which the client has nothing to say."""


async def open_socket(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(heartbeat=PING_EVERY_S, compress=False)
    await socket.prepare(request)
    return socket


@dataclass(slots=True)
class PrivateStream:
    """One account, so one listen key; every connection with it gets every event."""

    clock: Clock
    connections: set[Connection] = field(default_factory=set)
    _key: str | None = None
    _valid_until: float = 0.0

    def start(self) -> str:
        """A new key, or the living one extended."""
        if self._key is None:
            self._key = secrets.token_hex(32)
        self._valid_until = self.clock.monotonic() + LISTEN_KEY_S
        return self._key

    def extend(self) -> str:
        if self._key is None:
            raise VenueError(-1125, "This listenKey does not exist.")
        return self.start()

    def stop(self) -> None:
        self._key = None

    def knows(self, key: str | None) -> bool:
        return key is not None and key == self._key

    def expire_if_due(self, event_ms: int) -> None:
        if self._key is not None and self.clock.monotonic() > self._valid_until:
            self.expire(event_ms)

    def expire(self, event_ms: int) -> None:
        key, self._key = self._key, None
        self._broadcast([{"e": "listenKeyExpired", "E": event_ms, "listenKey": key}])

    def publish(self, events: Iterable[VenueEvent]) -> None:
        if self.connections:
            self._broadcast([message for event in events for message in event_messages(event)])

    def _broadcast(self, messages: list[Json]) -> None:
        for message in messages:
            text = orjson.dumps(message).decode()
            for connection in self.connections:
                connection.send_text(text)

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        socket = await open_socket(request)
        connection = Connection(socket)
        self.connections.add(connection)
        try:
            await connection.serve(ignore)
        finally:
            self.connections.discard(connection)
        return socket


class Route(StrEnum):
    """Which market streams a path carries. One asked for on the other path is acknowledged and stays silent."""

    PUBLIC = "public"
    MARKET = "market"

    def carries(self, stream: str) -> bool:
        kinds = ("bookTicker", "trade") if self is Route.PUBLIC else ("aggTrade", "markPrice", "miniTicker", "kline_")
        return stream.partition("@")[2].startswith(kinds)


@dataclass(slots=True)
class Subscriptions:
    """Who listens to which market stream."""

    by_stream: dict[str, set[Connection]] = field(default_factory=dict)
    connections: set[Connection] = field(default_factory=set)

    def wanted(self, stream: str) -> bool:
        return stream in self.by_stream

    def send(self, stream: str, message: Json) -> None:
        text = orjson.dumps(message).decode()
        for connection in self.by_stream.get(stream, ()):
            connection.send_text(text)

    def add(self, connection: Connection, route: Route, streams: Iterable[str]) -> None:
        for stream in streams:
            if route.carries(stream):
                self.by_stream.setdefault(stream, set()).add(connection)

    def remove(self, connection: Connection, streams: Iterable[str]) -> None:
        for stream in list(streams):
            listeners = self.by_stream.get(stream, set())
            listeners.discard(connection)
            if not listeners:
                self.by_stream.pop(stream, None)

    async def serve(self, request: web.Request, route: Route) -> web.WebSocketResponse:
        socket = await open_socket(request)
        connection = Connection(socket)
        self.connections.add(connection)
        tail = request.match_info.get("tail", "")
        self.add(connection, route, [stream for stream in tail.split("/") if "@" in stream])

        async def on_text(text: str) -> None:
            connection.send(self._answer(connection, route, text))

        try:
            await connection.serve(on_text)
        finally:
            self.connections.discard(connection)
            self.remove(connection, list(self.by_stream))
        return socket

    def _answer(self, connection: Connection, route: Route, text: str) -> Json:
        try:
            message = orjson.loads(text)
            method, streams, request_id = message["method"], message.get("params", []), message["id"]
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            return {"error": {"code": 2, "msg": "Invalid request: expected method, params and id"}}
        match method:
            case "SUBSCRIBE":
                self.add(connection, route, streams)
            case "UNSUBSCRIBE":
                self.remove(connection, streams)
            case "LIST_SUBSCRIPTIONS":
                mine = [stream for stream, listeners in self.by_stream.items() if connection in listeners]
                return {"result": mine, "id": request_id}
            case _:
                return {"error": {"code": 2, "msg": f"Invalid request: unknown method {method}"}, "id": request_id}
        return {"result": None, "id": request_id}


async def close_all(connections: Iterable[Connection]) -> int:
    """Close and count."""
    closing = list(connections)
    await asyncio.gather(*(connection.close() for connection in closing))
    return len(closing)
