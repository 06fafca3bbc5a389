"""One client's WebSocket and Binance's rules for it: server pings, the 24-hour cut, how much a client may say."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

import orjson
from aiohttp import ClientConnectionResetError, WSCloseCode, WSMessage, WSMsgType, web

from app.clock import Clock
from app.simulator.wire import Json

_BACKLOG = 20_000  # messages a client may fall behind before it is cut off


@dataclass(frozen=True, slots=True)
class SocketRules:
    """Seconds of the host's clock. ``inbound_per_s`` counts everything a client sends, pings and pongs included."""

    ping_every_s: float = 180.0
    pong_within_s: float = 600.0
    lives_s: float = 86_400.0
    inbound_per_s: int = 10
    max_streams: int = 1_024


BINANCE_SOCKETS = SocketRules()


class Connection:
    """A socket with its own sender, so that a slow client delays nobody. ``combined``: messages name their stream."""

    def __init__(
        self, socket: web.WebSocketResponse, clock: Clock, rules: SocketRules, *, combined: bool = False, is_limited: bool = True
    ) -> None:
        self._socket = socket
        self._clock = clock
        self._rules = rules
        self._is_limited = is_limited
        self.combined = combined
        self._outbox: asyncio.Queue[str] = asyncio.Queue(_BACKLOG)
        self._overflowed = False
        self._pong_at = clock.monotonic()
        self._second, self._received = -1, 0

    def send(self, message: Json) -> None:
        self.send_text(orjson.dumps(message).decode())

    def send_text(self, text: str) -> None:
        try:
            self._outbox.put_nowait(text)
        except asyncio.QueueFull:
            self._overflowed = True

    async def write(self, message: Json) -> None:
        """Past the queue; returns when it is on the socket, or when there is none any more."""
        with suppress(ConnectionError):
            await self._socket.send_str(orjson.dumps(message).decode())

    async def _pump(self) -> None:
        while not self._overflowed:
            text = await self._outbox.get()
            try:
                await self._socket.send_str(text)
            except ConnectionError:
                return
        await self.close()

    async def _keep(self) -> None:
        """Ping, and close what is silent or a day old."""
        born = self._clock.monotonic()
        while True:
            left = born + self._rules.lives_s - self._clock.monotonic()
            await self._clock.sleep(max(0.0, min(self._rules.ping_every_s, left)))
            now = self._clock.monotonic()
            if now - born >= self._rules.lives_s or now - self._pong_at > self._rules.pong_within_s:
                await self.close()
                return
            with suppress(ClientConnectionResetError, ConnectionError):
                await self._socket.ping()

    async def close(self, code: int = WSCloseCode.GOING_AWAY, reason: bytes = b"") -> None:
        await self._socket.close(code=code, message=reason)

    def _says_too_much(self) -> bool:
        second = int(self._clock.monotonic())
        if second != self._second:
            self._second, self._received = second, 0
        self._received += 1
        return self._is_limited and self._received > self._rules.inbound_per_s

    async def serve(self, on_text: Callable[[str], Awaitable[None]]) -> None:
        """Hands each text message over until the socket closes."""
        tasks = [asyncio.create_task(self._pump()), asyncio.create_task(self._keep())]
        message: WSMessage
        try:
            async for message in self._socket:
                if self._says_too_much():
                    await self.close(WSCloseCode.POLICY_VIOLATION, b"Too many requests")
                    return
                match message.type:
                    case WSMsgType.TEXT:
                        await on_text(message.data)
                    case WSMsgType.PING:
                        await self._socket.pong(message.data)
                    case WSMsgType.PONG:
                        self._pong_at = self._clock.monotonic()
        finally:
            for task in tasks:
                task.cancel()


async def open_socket(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(autoping=False, compress=False)
    await socket.prepare(request)
    return socket


async def close_all(connections: Iterable[Connection]) -> int:
    """Close and count."""
    closing = list(connections)
    await asyncio.gather(*(connection.close() for connection in closing))
    return len(closing)
