"""The private stream: one socket, its listen key kept alive, and a word whenever facts may be missing.

ccxt.pro is not used for it: it drops TRADE_LITE and listenKeyExpired (and then waits for ever) and shows only an order's latest
state. Routed path and ``events`` left out (everything is sent) as Binance documents since 2026-04.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import aiohttp
import orjson

from app.clock import Clock
from app.exchange.binance_parse import UNREADABLE, Json, understood
from app.exchange.binance_rest import KEEP_LISTEN_KEY, NEW_LISTEN_KEY, BinanceRest
from app.exchange.budget import Priority
from app.exchange.codes import LISTEN_KEY_GONE
from app.exchange.errors import ExchangeError, NotExecuted

_log = logging.getLogger(__name__)

_KEEP_KEY_S = 20 * 60  # it lives for 60 minutes
_RETRY_KEEP_S = 60
_PING_S = 15.0  # a socket whose peer does not answer a ping within half of it is dead
_OPEN_S, _CLOSE_S = 10.0, 1.0
_BACKOFF_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class PrivateStream:
    """``deliver`` gets each message and says whether it was urgent; when it raises one of ``UNREADABLE`` the stream is begun
    anew. ``up`` and ``down`` are called in turn, ``up`` first."""

    def __init__(
        self,
        rest: BinanceRest,
        url: str,
        clock: Clock,
        deliver: Callable[[Json], bool],
        up: Callable[[], None],
        down: Callable[[str], None],
    ) -> None:
        self._rest = rest
        self._url = url.rstrip("/")
        self._clock = clock
        self._deliver = deliver
        self._up = up
        self._down = down
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._restart_reason = ""
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def is_up(self) -> bool:
        return self._socket is not None

    async def start(self) -> None:
        """Returns with the stream up. Raises ExchangeError."""
        socket = await self._connect()
        self._tasks = [asyncio.create_task(self._run(socket)), asyncio.create_task(self._keep_key())]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._socket is not None:
            await self._socket.close()
            self._socket = None

    async def restart(self, reason: str) -> None:
        """Give this connection up: something shows that it is no longer telling everything."""
        if self._socket is not None:
            self._restart_reason = reason
            await self._socket.close()

    async def _connect(self) -> aiohttp.ClientWebSocketResponse:
        reply = await self._rest.read(NEW_LISTEN_KEY, priority=Priority.PROTECTIVE)
        with understood("listen key"):
            url = f"{self._url}/private/ws?listenKey={reply['listenKey']}"
        try:
            async with asyncio.timeout(_OPEN_S):
                return await self._rest.session.ws_connect(
                    url, heartbeat=_PING_S, timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_S)
                )
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise NotExecuted(f"no private stream ({type(error).__name__}); check exchange.stream_url and the network") from None

    async def _run(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        while True:
            self._socket, self._restart_reason = socket, ""
            self._up()
            reason = await self._read(socket)
            self._socket = None
            _log.warning("private stream down: %s", reason)
            self._down(reason)
            await socket.close()
            socket = await self._reconnect()

    async def _reconnect(self) -> aiohttp.ClientWebSocketResponse:
        attempt = 0
        while True:
            try:
                return await self._connect()
            except ExchangeError as error:
                _log.warning("private stream cannot be reopened yet: %s", error)
            await self._clock.sleep(_BACKOFF_S[min(attempt, len(_BACKOFF_S) - 1)])
            attempt += 1

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> str:
        """Deliver until it ends; why it ended."""
        async for frame in socket:
            await self._clock.sleep(0)  # the answer to an order, come at the same time, is acted on first
            if frame.type is not aiohttp.WSMsgType.TEXT:
                continue
            try:
                message: dict[str, Any] = orjson.loads(frame.data)
                if message.get("e") == "listenKeyExpired":
                    return "the listen key expired"
                if self._deliver(message):
                    await self._clock.sleep(0)  # a fill is acted on before the next message is read
            except UNREADABLE as error:
                return f"an event could not be read ({error!r})"
        return self._restart_reason or "the connection was lost"

    async def _keep_key(self) -> None:
        wait: float = _KEEP_KEY_S
        while True:
            await self._clock.sleep(wait)
            wait = _KEEP_KEY_S
            try:
                await self._rest.call(KEEP_LISTEN_KEY, priority=Priority.PROTECTIVE)
            except ExchangeError as error:
                if error.code == LISTEN_KEY_GONE:
                    await self.restart("the listen key is gone")
                else:
                    _log.warning("listen key not extended, next try in %s s: %s", _RETRY_KEEP_S, error)
                    wait = _RETRY_KEEP_S
