"""The WebSocket paths: market streams by route, the private stream, the WebSocket API; and their outages."""

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

from app.simulator.faults import Kind
from app.simulator.runtime import Runtime
from app.simulator.sockets import Connection, close_all
from app.simulator.streams import Route
from app.simulator.ws_api import WsApi

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Sockets:
    """``/ws`` paths send bare messages, ``/stream`` paths name the stream of each."""

    def __init__(self, runtime: Runtime, ws_api: WsApi) -> None:
        self._runtime = runtime
        self._ws_api = ws_api
        self._closing: set[asyncio.Task[int]] = set()
        runtime.gate.on_channel = self._on_channel

    def add_to(self, app: web.Application) -> None:
        app.router.add_get("/ws-fapi/v1", self._unless(Kind.API_DOWN, self._ws_api.serve))
        private = self._unless(Kind.PRIVATE_DOWN, self._private)
        for path in ("/private/ws", "/private/ws/{key}", "/private/stream"):
            app.router.add_get(path, private)
        for route in Route:
            stem = f"/{route}" if route else ""
            market = self._unless(Kind.MARKET_DOWN, self._market(route))
            for path in (f"{stem}/ws", f"{stem}/ws/{{tail:.*}}", f"{stem}/stream"):
                app.router.add_get(path, market)
        app.on_shutdown.append(self._close)

    def _unless(self, outage: Kind, handler: Handler) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            if self._runtime.gate.is_on(outage):
                return web.Response(status=503, text="Service Unavailable.")
            return await handler(request)

        return handle

    async def _private(self, request: web.Request) -> web.StreamResponse:
        private = self._runtime.private
        combined = request.path.endswith("/stream")
        key = request.query.get("listenKey") or request.query.get("streams") or request.match_info.get("key")
        if key is not None and not private.knows(key):
            return web.json_response({"code": -1125, "msg": "This listenKey does not exist."}, status=400)
        return await private.serve(request, key, combined=combined)

    def _market(self, route: Route) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            combined = request.path.endswith("/stream")
            names = request.query.get("streams", "") if combined else request.match_info.get("tail", "")
            streams = [stream for stream in names.split("/") if "@" in stream or stream.startswith("!")]
            return await self._runtime.subscriptions.serve(request, route, streams, combined=combined)

        return handle

    def _on_channel(self, kind: Kind) -> None:
        """A fault has begun."""
        runtime = self._runtime
        groups: dict[Kind, set[Connection]] = {
            Kind.PRIVATE_DOWN: runtime.private.connections,
            Kind.MARKET_DOWN: runtime.subscriptions.connections,
            Kind.API_DOWN: self._ws_api.connections,
        }
        if kind is Kind.LISTEN_KEY_EXPIRY:
            runtime.private.expire(runtime.venue.now_ms)
        elif kind in groups:
            task = asyncio.create_task(close_all(groups[kind]))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def _close(self, _app: web.Application) -> None:
        runtime = self._runtime
        await close_all([*runtime.private.connections, *runtime.subscriptions.connections, *self._ws_api.connections])
