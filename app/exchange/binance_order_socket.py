"""Orders over Binance's WebSocket API: one signed message on a connection that stays open, instead of an HTTP request each.

Only placing goes this way; it is what the time between a fill and its stop is made of. While the connection is down, orders go
over REST (``is_up`` says which). A request whose answer is lost with the connection is OutcomeUnknown, to be settled by asking.
Source: the exchange's WebSocket API, general information; parameters are signed in alphabetical order.
"""

import asyncio
import itertools
import json
import logging
from collections.abc import Mapping
from typing import Any

import aiohttp
import ccxt
import orjson

from app.clock import Clock
from app.exchange.binance_errors import Answer, error_from
from app.exchange.binance_parse import UNREADABLE, Json, Params
from app.exchange.binance_rest import BinanceRest, Endpoint
from app.exchange.budget import Priority
from app.exchange.errors import OutcomeUnknown

_log = logging.getLogger(__name__)

_PING_S = 15.0  # a socket whose peer does not answer a ping within half of it is dead
_OPEN_S, _CLOSE_S = 10.0, 1.0
_BACKOFF_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_FLAGS = frozenset({"reduceOnly", "closePosition"})
_ORDER_COUNTS = {("SECOND", 10): "x-mbx-order-count-10s", ("MINUTE", 1): "x-mbx-order-count-1m"}


class OrderSocket:
    """``start`` returns at once when the connection cannot be had; it is tried again in the background."""

    def __init__(self, rest: BinanceRest, url: str, clock: Clock, timeout_s: float) -> None:
        self._rest = rest
        self._url = f"{url.rstrip('/')}/ws-fapi/v1"
        self._clock = clock
        self._timeout_s = timeout_s
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._ids = itertools.count(1)
        self._waiting: dict[str, asyncio.Future[Json]] = {}
        self._task: asyncio.Task[None] | None = None

    @property
    def is_up(self) -> bool:
        return self._socket is not None and not self._socket.closed

    async def start(self) -> None:
        socket = await self._connect()
        self._task = asyncio.create_task(self._run(socket))

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._socket is not None:
            await self._socket.close()
            self._socket = None

    async def call(self, endpoint: Endpoint, params: Params, priority: Priority) -> Any:
        """Send once. Raises one of ``exchange.errors``; OutcomeUnknown says nothing of whether it was executed."""
        socket = self._socket
        if socket is None:
            raise RuntimeError("the order socket is not up")
        self._rest.budget.admit(endpoint.weight, endpoint.orders, priority, self._rest.server_ms())
        request_id, request = self.request(endpoint, params)
        answer: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = answer
        try:
            async with asyncio.timeout(self._timeout_s):
                await socket.send_str(request)
                reply = await answer
        except (TimeoutError, ConnectionError) as error:
            raise OutcomeUnknown(f"{endpoint.socket_method}: no answer ({type(error).__name__})") from None
        finally:
            del self._waiting[request_id]
        return await self._result(endpoint, reply)

    def request(self, endpoint: Endpoint, params: Params) -> tuple[str, str]:
        """(its id, the message), signed now."""
        request_id = str(next(self._ids))
        message = {"id": request_id, "method": endpoint.socket_method, "params": self._signed(params)}
        return request_id, orjson.dumps(message).decode()

    def _signed(self, params: Params) -> dict[str, Any]:
        rest = self._rest
        whole = params | {"apiKey": rest.api_key, "timestamp": rest.server_ms(), "recvWindow": rest.recv_window_ms}
        payload = "&".join(f"{name}={whole[name]}" for name in sorted(whole))
        flags = {name: whole[name] == "true" for name in _FLAGS & whole.keys()}
        return {**whole, **flags, "signature": rest.signature(payload)}

    async def _result(self, endpoint: Endpoint, reply: Json) -> Any:
        try:
            counts = _order_counts(reply.get("rateLimits", ()))
            if reply["status"] == 200:
                self._rest.budget.observe(counts, self._rest.server_ms())
                return reply["result"]
            answer = Answer(int(reply["status"]), counts, json.dumps(reply["error"]))
        except UNREADABLE as error:
            raise OutcomeUnknown(f"{endpoint.socket_method}: the answer is not as documented ({error!r})") from None
        refusal = error_from(answer, ccxt.ExchangeError(), endpoint.socket_method)
        await self._rest.learn(answer, refusal)
        raise refusal

    # -- the connection -------------------------------------------------------------------------------------------------

    async def _connect(self) -> aiohttp.ClientWebSocketResponse | None:
        try:
            async with asyncio.timeout(_OPEN_S):
                return await self._rest.session.ws_connect(
                    self._url, heartbeat=_PING_S, timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_S)
                )
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            _log.warning("no order socket (%s): orders go over REST; check exchange.order_url", type(error).__name__)
            return None

    async def _run(self, socket: aiohttp.ClientWebSocketResponse | None) -> None:
        attempt = 0
        while True:
            if socket is not None:
                attempt = 0
                self._socket = socket
                await self._read(socket)
                self._lose(socket)
                await socket.close()
            await self._clock.sleep(_BACKOFF_S[min(attempt, len(_BACKOFF_S) - 1)])
            attempt += 1
            socket = await self._connect()

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Hand answers to those who wait until the connection ends, or tells what cannot be read."""
        async for frame in socket:
            if frame.type is not aiohttp.WSMsgType.TEXT:
                continue
            try:
                reply: dict[str, Any] = orjson.loads(frame.data)
                answer = self._waiting.get(str(reply["id"]))
            except UNREADABLE as error:
                _log.warning("order socket: a message is not as documented (%r)", error)
                return
            if answer is not None and not answer.done():
                answer.set_result(reply)

    def _lose(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        _log.warning("order socket lost (code %s): orders go over REST until it is back", socket.close_code)
        self._socket = None
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(ConnectionResetError())


def _order_counts(limits: Any) -> Mapping[str, str]:
    """As the headers of a REST answer say it; weight is left out, since the WebSocket API has a pool of its own."""
    return {
        _ORDER_COUNTS[window]: str(limit["count"])
        for limit in limits
        if limit["rateLimitType"] == "ORDERS" and (window := (limit["interval"], limit["intervalNum"])) in _ORDER_COUNTS
    }
