"""The private stream: listen keys and what the account's connections are told."""

import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import orjson
from aiohttp import web

from app.clock import Clock
from app.simulator.sockets import BINANCE_SOCKETS, Connection, SocketRules, open_socket
from app.simulator.venue_types import VenueError, VenueEvent
from app.simulator.wire import Json
from app.simulator.wire_events import event_messages

LISTEN_KEY_S = 3600.0


@dataclass(frozen=True, slots=True)
class Listening:
    """``events``: the allow-list of event names a connection asked for, None for all of them."""

    key: str
    events: frozenset[str] | None = None

    def wants(self, event: str) -> bool:
        return self.events is None or event in self.events


@dataclass(slots=True)
class PrivateStream:
    """One account, so one listen key; every connection with it gets every event that ``pass_on`` lets through."""

    clock: Clock
    pass_on: Callable[[Json, Callable[[Json], None]], None] = lambda message, deliver: deliver(message)
    rules: SocketRules = BINANCE_SOCKETS
    connections: set[Connection] = field(default_factory=set)
    _listening: dict[Connection, Listening] = field(default_factory=dict)
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
        self._broadcast({"e": "listenKeyExpired", "E": event_ms, "listenKey": key})

    def publish(self, events: Iterable[VenueEvent]) -> None:
        for event in events if self._listening else ():
            for message in event_messages(event):
                self.pass_on(message, self._broadcast)

    def _broadcast(self, message: Json) -> None:
        text = orjson.dumps(message).decode()
        for connection, listening in self._listening.items():
            if listening.wants(message["e"]):
                named = f'{{"stream":"{listening.key}","data":{text}}}' if connection.combined else text
                connection.send_text(named)

    async def serve(self, request: web.Request, key: str | None, *, combined: bool) -> web.WebSocketResponse:
        """Listens with ``key`` at once, or with one that is SUBSCRIBEd to."""
        socket = await open_socket(request)
        connection = Connection(socket, self.clock, self.rules, combined=combined)
        self.connections.add(connection)
        events = frozenset(filter(None, request.query.get("events", "").split("/"))) or None
        if key is not None:
            self._listening[connection] = Listening(key, events)

        async def on_text(text: str) -> None:
            connection.send(self._answer(connection, events, text))

        try:
            await connection.serve(on_text)
        finally:
            self.connections.discard(connection)
            self._listening.pop(connection, None)
        return socket

    def _answer(self, connection: Connection, events: frozenset[str] | None, text: str) -> Json:
        try:
            message = orjson.loads(text)
            method, streams, request_id = message["method"], message.get("params", []), message["id"]
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            return {"error": {"code": 2, "msg": "Invalid request: expected method, params and id"}}
        known = [stream for stream in streams if self.knows(stream)] if isinstance(streams, list) else []
        if method == "SUBSCRIBE" and known:
            self._listening[connection] = Listening(known[0], events)
        elif method == "UNSUBSCRIBE" and known:
            self._listening.pop(connection, None)
        elif method == "LIST_SUBSCRIPTIONS":
            listening = self._listening.get(connection)
            return {"result": [listening.key] if listening else [], "id": request_id}
        return {"result": None, "id": request_id}
