"""The REST routes, ``/fapi/v1`` to ``/fapi/v3``: thin shells over the operations and the market data.

``GET /fapi/v1/time`` and recvWindow go by the host's clock, so that unmodified clients work; whatever happens on the
exchange (orders, trades, candles, events) carries exchange time, the tape's.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

import orjson
from aiohttp import web

from app.simulator.auth import Credentials, NotAuthorized, check_timestamp, rest_payload
from app.simulator.fault_effects import NoAnswer
from app.simulator.faults import Kind
from app.simulator.limits import Cost, HttpRefusal
from app.simulator.market_data import MarketData, Public
from app.simulator.params import Params
from app.simulator.routes import SIGNED, Signed
from app.simulator.runtime import Answered, Runtime
from app.simulator.venue_types import VenueError
from app.simulator.wire import Json

Handler = Callable[[web.Request], Awaitable[web.Response]]


class Rest:
    def __init__(self, runtime: Runtime, credentials: Credentials) -> None:
        self._runtime = runtime
        self._credentials = credentials
        self._counters = runtime.new_counters()

    def add_to(self, app: web.Application) -> None:
        for (method, path), route in SIGNED.items():
            app.router.add_route(method, path, self._signed(route))
        for path, public in MarketData(self._runtime).routes():
            app.router.add_get(path, self._public(public))
        app.router.add_route("*", "/fapi/v1/listenKey", self._listen_key)

    # -- shells -----------------------------------------------------------------------------------------------------

    def _signed(self, route: Signed) -> Handler:
        async def handle(request: web.Request) -> web.Response:
            body = await request.text()
            values = _parameters(request, body)

            async def produce() -> Any:
                self._authorize(request, body, values)
                if request.method != "GET":
                    self._credentials.check_order()
                return await self._runtime.execute(route.operation, values, is_order=route.is_order)

            with self._runtime.request():
                response = await self._answered(request, route.cost(Params(values)), produce)
                if route.is_order and response.status == 200:
                    await self._write_and_note(request, values, response)
            return response

        return handle

    def _public(self, public: Public) -> Handler:
        async def handle(request: web.Request) -> web.Response:
            params = Params(request.query)

            async def read() -> Any:
                return public.read(params)

            try:
                weight = public.weight if isinstance(public.weight, int) else public.weight(params)
            except VenueError:
                weight = 1
            return await self._answered(
                request, Cost(weight), lambda: self._runtime.faulty(public.name, dict(request.query), read)
            )

        return handle

    async def _listen_key(self, request: web.Request) -> web.Response:
        private = self._runtime.private

        async def keep() -> Json:
            match request.method:
                case "POST":
                    return {"listenKey": private.start()}
                case "PUT":
                    return {"listenKey": private.extend()}
                case "DELETE":
                    private.stop()
                    return {}
            raise VenueError(-1000, f"{request.method} is not offered on listenKey.")

        async def produce() -> Any:
            self._credentials.check_key(request.headers.get("X-MBX-APIKEY"))
            return await self._runtime.faulty("listen_key", {}, keep)

        return await self._answered(request, Cost(1), produce)

    async def _answered(self, request: web.Request, cost: Cost, produce: Callable[[], Awaitable[Any]]) -> web.Response:
        """What every request goes through: outage, limits, and its answer or refusal in Binance's form."""
        if self._runtime.gate.is_on(Kind.REST_DOWN):
            return _cut(request)
        try:
            headers = self._counters.charge(cost, self._runtime.clock.wall_ms())
            return _json(await produce(), 200, headers)
        except NoAnswer:
            return _cut(request)
        except HttpRefusal as refusal:
            return _json(refusal.body, refusal.status, self._counters.headers() | refusal.headers)
        except VenueError as error:
            status = 401 if isinstance(error, NotAuthorized) else 400
            return _json({"code": error.code, "msg": error.msg}, status, self._counters.headers())

    async def _write_and_note(self, request: web.Request, values: dict[str, str], response: web.Response) -> None:
        """When an order's answer left, for whoever measures a client's reaction."""
        await response.prepare(request)
        await response.write_eof()
        written_at = self._runtime.clock.monotonic()
        self._runtime.answers.append(Answered(written_at, f"{request.method} {request.path}", values, response.status))

    def _authorize(self, request: web.Request, body: str, values: Mapping[str, str]) -> None:
        self._credentials.check_key(request.headers.get("X-MBX-APIKEY"))
        check_timestamp(values, self._runtime.clock.wall_ms())
        self._credentials.check_signature(rest_payload(_query(request), body), values.get("signature"))


def _query(request: web.Request) -> str:
    return request.raw_path.partition("?")[2]


def _parameters(request: web.Request, body: str) -> dict[str, str]:
    return dict(parse_qsl(_query(request), keep_blank_values=True)) | dict(parse_qsl(body, keep_blank_values=True))


def _json(body: Any, status: int, headers: Mapping[str, str]) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json", headers=headers)


def _cut(request: web.Request) -> web.Response:
    """The connection ends without an answer."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=503)
