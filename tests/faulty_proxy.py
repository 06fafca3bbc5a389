"""A proxy in front of the simulator that loses, delays and garbles what a test names, over real sockets."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

Message = dict[str, Any]


@dataclass
class Fault:
    """What happens to a request instead of its answer. ``reaches``: the exchange executes it all the same.

    ``status`` None breaks the connection; ``until`` keeps the client waiting first. ``times`` None: for ever.
    """

    method: str
    path: str
    reaches: bool
    status: int | None = None
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    until: asyncio.Event | None = None
    times: int | None = 1

    def takes(self, method: str, path: str) -> bool:
        return (self.method, self.path) == (method, path) and self.times != 0


def code(number: int, text: str = "as Binance words it") -> str:
    return json.dumps({"code": number, "msg": text})


class FaultyProxy:
    def __init__(self, target: str) -> None:
        self._target = target
        self._faults: list[Fault] = []
        self._sockets: set[web.WebSocketResponse] = set()
        self.seen: list[tuple[str, str]] = []
        self.on_event: Callable[[Message], Iterable[Message]] = lambda message: [message]
        self.answers_pings = True
        self.port = 0

    @property
    def rest_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def stream_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def add(self, fault: Fault) -> Fault:
        self._faults.append(fault)
        return fault

    def clear(self) -> None:
        self._faults.clear()

    def count(self, method: str, path: str) -> int:
        return self.seen.count((method, path))

    def cut_streams(self) -> None:
        """As a lost route: no closing handshake."""
        for socket in self._sockets:
            transport = socket._req.transport if socket._req else None
            if transport is not None:
                transport.abort()

    async def inject(self, text: str) -> None:
        for socket in self._sockets:
            await socket.send_str(text)

    def mute(self) -> None:
        self.on_event = lambda message: []

    def unmute(self) -> None:
        self.on_event = lambda message: [message]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.path.startswith("/private/"):
            return await self._stream(request)
        self.seen.append((request.method, request.path))
        fault = next((f for f in self._faults if f.takes(request.method, request.path)), None)
        if fault is None:
            return await self._forward(request)
        if fault.times is not None:
            fault.times -= 1
        if fault.reaches:
            await self._forward(request)
        if fault.until is not None:
            await fault.until.wait()
        if fault.status is None:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        return web.Response(status=fault.status, text=fault.body, headers=fault.headers)

    async def _forward(self, request: web.Request) -> web.Response:
        kept = {name: value for name, value in request.headers.items() if name in ("X-MBX-APIKEY", "Content-Type")}
        async with self._session.request(
            request.method, self._target + request.raw_path, data=await request.read(), headers=kept
        ) as reply:
            limits = {name: value for name, value in reply.headers.items() if name.startswith("X-MBX")}
            return web.Response(status=reply.status, body=await reply.read(), content_type=reply.content_type, headers=limits)

    async def _stream(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(autoping=self.answers_pings)
        await socket.prepare(request)
        self._sockets.add(socket)
        try:
            async with self._session.ws_connect(self._target + request.raw_path) as upstream:
                relay = asyncio.create_task(self._relay(upstream, socket))
                async for _ in socket:
                    pass
                relay.cancel()
        finally:
            self._sockets.discard(socket)
        return socket

    async def _relay(self, upstream: aiohttp.ClientWebSocketResponse, socket: web.WebSocketResponse) -> None:
        async for frame in upstream:
            if frame.type is aiohttp.WSMsgType.TEXT:
                for message in self.on_event(json.loads(frame.data)):
                    await socket.send_str(json.dumps(message))
        await socket.close()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["FaultyProxy"]:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self.handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        async with aiohttp.ClientSession() as self._session:
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.port = runner.addresses[0][1]
            try:
                yield self
            finally:
                await runner.cleanup()
