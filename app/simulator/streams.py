"""Market streams: which path carries which, and who listens to what."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum

import orjson
from aiohttp import web

from app.clock import Clock
from app.simulator.sockets import BINANCE_SOCKETS, Connection, SocketRules, open_socket
from app.simulator.wire import Json

_PUBLIC_KINDS = ("bookTicker", "trade", "depth", "rpiDepth")
_MARKET_KINDS = (
    "aggTrade", "markPrice", "miniTicker", "ticker", "kline_", "continuousKline_", "forceOrder", "contractInfo",
    "compositeIndex", "assetIndex",
)  # fmt: skip


class Route(StrEnum):
    """Which market streams a path carries. One asked for on another path is acknowledged and stays silent."""

    PUBLIC = "public"
    MARKET = "market"
    UNROUTED = ""  # the paths of before April 2026 carry public streams only

    def carries(self, stream: str) -> bool:
        kinds = _MARKET_KINDS if self is Route.MARKET else _PUBLIC_KINDS
        name = stream[1:] if stream.startswith("!") else stream.partition("@")[2]
        return name.startswith(kinds)


@dataclass(slots=True)
class Subscriptions:
    """Who listens to which market stream. While ``is_silent`` nothing is sent."""

    clock: Clock
    is_silent: Callable[[], bool] = lambda: False
    rules: SocketRules = BINANCE_SOCKETS
    by_stream: dict[str, set[Connection]] = field(default_factory=dict)
    connections: set[Connection] = field(default_factory=set)

    def wanted(self, stream: str) -> bool:
        return stream in self.by_stream

    def send(self, stream: str, message: Json | list[Json]) -> None:
        listeners = self.by_stream.get(stream)
        if not listeners or self.is_silent():
            return
        text = orjson.dumps(message).decode()
        for connection in listeners:
            connection.send_text(f'{{"stream":"{stream}","data":{text}}}' if connection.combined else text)

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

    async def serve(self, request: web.Request, route: Route, streams: Iterable[str], *, combined: bool) -> web.WebSocketResponse:
        socket = await open_socket(request)
        connection = Connection(socket, self.clock, self.rules, combined=combined)
        self.connections.add(connection)
        asked = {stream for stream in streams if stream}
        self.add(connection, route, asked)

        async def on_text(text: str) -> None:
            connection.send(self._answer(connection, route, asked, text))

        try:
            await connection.serve(on_text)
        finally:
            self.connections.discard(connection)
            self.remove(connection, list(self.by_stream))
        return socket

    def _answer(self, connection: Connection, route: Route, asked: set[str], text: str) -> Json:
        try:
            message = orjson.loads(text)
            method, streams, request_id = message["method"], message.get("params", []), message["id"]
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            return {"error": {"code": 2, "msg": "Invalid request: expected method, params and id"}}
        if not isinstance(streams, list) or (method != "SET_PROPERTY" and not all(isinstance(name, str) for name in streams)):
            return {"error": {"code": 2, "msg": "Invalid request: params must be a list of stream names"}, "id": request_id}
        match method:
            case "SUBSCRIBE" if len(asked | set(streams)) > self.rules.max_streams:
                text = f"Invalid request: a connection listens to at most {self.rules.max_streams} streams"
                return {"error": {"code": 2, "msg": text}, "id": request_id}
            case "SUBSCRIBE":
                asked |= set(streams)
                self.add(connection, route, streams)
            case "UNSUBSCRIBE":
                asked -= set(streams)
                self.remove(connection, streams)
            case "LIST_SUBSCRIPTIONS":
                return {"result": sorted(asked), "id": request_id}
            case "SET_PROPERTY" if streams[:1] == ["combined"] and isinstance(streams[-1], bool):
                connection.combined = streams[-1]
            case "GET_PROPERTY":
                return {"result": connection.combined, "id": request_id}
            case _:
                return {"error": {"code": 2, "msg": f"Invalid request: unknown method {method}"}, "id": request_id}
        return {"result": None, "id": request_id}
