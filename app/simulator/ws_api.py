"""The WebSocket API, ``/ws-fapi/v1``: the same operations, each request signed over its sorted parameters."""

import asyncio
from collections.abc import Callable
from typing import Any

import orjson
from aiohttp import web

from app.simulator.auth import Credentials, NotAuthorized, check_timestamp, sorted_payload
from app.simulator.fault_effects import NoAnswer
from app.simulator.limits import Cost, HttpRefusal
from app.simulator.market_data import MarketData
from app.simulator.params import Params, as_text
from app.simulator.routes import METHODS
from app.simulator.runtime import Answered, Runtime
from app.simulator.sockets import Connection, open_socket
from app.simulator.venue_types import VenueError
from app.simulator.wire import Json


class WsApi:
    """Its weight is a pool of its own; order counts are the account's."""

    def __init__(self, runtime: Runtime, credentials: Credentials) -> None:
        self._runtime = runtime
        self._credentials = credentials
        self._counters = runtime.new_counters()
        self.connections: set[Connection] = set()
        market = MarketData(runtime)
        self._public: dict[str, tuple[str, Callable[[Params], Any], int]] = {
            "ping": ("ping", lambda _params: {}, 1),
            "time": ("time", market.time, 1),
            "depth": ("depth", market.depth, 5),
            "ticker.price": ("price", market.price, 1),
            "ticker.book": ("book_ticker", market.book_ticker, 2),
        }

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        socket = await open_socket(request)
        connection = Connection(socket, self._runtime.clock, self._runtime.sockets, is_limited=False)
        self.connections.add(connection)
        answering: set[asyncio.Task[None]] = set()

        async def on_text(text: str) -> None:
            task = asyncio.create_task(self._respond(connection, text))
            answering.add(task)
            task.add_done_callback(answering.discard)

        try:
            await connection.serve(on_text)
        finally:
            self.connections.discard(connection)
        return socket

    async def _respond(self, connection: Connection, text: str) -> None:
        try:
            message = orjson.loads(text)
            request_id, method, params = message["id"], message["method"], message.get("params") or {}
            values = {name: as_text(value) for name, value in params.items()}
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            error = {"code": -1102, "msg": "A request needs id, method and params."}
            connection.send({"id": None, "status": 400, "error": error})
            return
        answer: Json = {"id": request_id}
        route = METHODS.get(method)
        try:
            with self._runtime.request():
                answer |= {"status": 200, "result": await self._execute(method, values)}
        except NoAnswer:
            return
        except HttpRefusal as refusal:
            answer |= {"status": refusal.status, "error": refusal.body}
        except VenueError as refusal:
            status = 401 if isinstance(refusal, NotAuthorized) else 400
            answer |= {"status": status, "error": {"code": refusal.code, "msg": refusal.msg}}
        if values.get("returnRateLimits") != "false":
            answer["rateLimits"] = self._counters.rate_limits()
        await connection.write(answer)
        if route is not None and route.is_order and answer["status"] == 200:
            self._runtime.answers.append(Answered(self._runtime.clock.monotonic(), f"WS {method}", values, 200))

    async def _execute(self, method: str, values: dict[str, str]) -> Any:
        if method in self._public:
            return await self._read(method, values)
        if method.startswith("userDataStream."):
            return await self._listen_key(method, values)
        if method.startswith("session."):
            raise VenueError(-4056, "HMAC_SHA256 API key is not supported. Sign each request with apiKey and signature.")
        route = METHODS.get(method)
        if route is None:
            raise VenueError(-1000, f"Unknown method {method}.")
        self._counters.charge(route.cost(Params(values)), self._runtime.clock.wall_ms())
        self._credentials.check_key(values.get("apiKey"))
        check_timestamp(values, self._runtime.clock.wall_ms())
        self._credentials.check_signature(sorted_payload(values), values.get("signature"))
        if route.is_order:
            self._credentials.check_order()
        return await self._runtime.execute(route.operation, values, is_order=route.is_order)

    async def _read(self, method: str, values: dict[str, str]) -> Any:
        name, read, weight = self._public[method]
        self._counters.charge(Cost(weight), self._runtime.clock.wall_ms())

        async def execute() -> Any:
            return read(Params(values))

        return await self._runtime.faulty(name, values, execute)

    async def _listen_key(self, method: str, values: dict[str, str]) -> Json:
        self._counters.charge(Cost(5), self._runtime.clock.wall_ms())
        self._credentials.check_key(values.get("apiKey"))
        private = self._runtime.private

        async def keep() -> Json:
            match method:
                case "userDataStream.start":
                    return {"listenKey": private.start()}
                case "userDataStream.ping":
                    return {"listenKey": private.extend()}
                case "userDataStream.stop":
                    private.stop()
                    return {}
            raise VenueError(-1000, f"Unknown method {method}.")

        answer: Json = await self._runtime.faulty("listen_key", {}, keep)
        return answer
