"""A small exchange for the stream node's tests: real HTTP and WebSocket servers, a market that is a function of time.

Like the real one it acknowledges a subscription on the wrong route and then stays silent on it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
from aiohttp import WSMsgType, web

from app.domain.market import MINUTE_MS, Bar
from app.stream.candles import BarBuilder

START_MS = 1_765_000_800_000  # on a quarter of an hour
PRICES = {"BTCUSDT": 85_000.0, "ETHUSDT": 3_000.0, "SOLUSDT": 140.0}
ROUTE_OF = {"bookTicker": "public", "markPrice@1s": "market", "kline_1m": "market", "aggTrade": "market"}
INTERVALS = {"1m": 1, "3m": 3, "15m": 15}


class StreamVenue:
    """``now_ms`` is exchange time. ``silent`` holds back every stream message; ``rest_status`` other than 200 fails REST."""

    def __init__(self, minutes: int = 3_600) -> None:
        self.now_ms = START_MS + minutes * MINUTE_MS
        self.first_ms = START_MS
        self.rest_status = 200
        self.rest_code = -1001
        self.limits_asked: list[int] = []
        self.silent = False
        self.spoiled_ms = 0  # the candle that opens then has no number for its close
        self.pongs: asyncio.Queue[bytes] = asyncio.Queue()
        self.subscribed: asyncio.Queue[tuple[str, tuple[str, ...]]] = asyncio.Queue()
        self.url = ""
        self._sockets: dict[web.WebSocketResponse, tuple[str, set[str]]] = {}
        self._closes = {symbol: self._walk(symbol, seed, minutes + 2_000) for seed, symbol in enumerate(PRICES)}

    @staticmethod
    def _walk(symbol: str, seed: int, minutes: int) -> Any:
        common, own = np.random.default_rng(99), np.random.default_rng(seed)
        returns = common.normal(0, 6e-4, minutes + 1) * (1 + 0.2 * seed) + own.normal(0, 3e-4, minutes + 1)
        return np.round(PRICES[symbol] * np.exp(np.cumsum(returns)), 2)

    def minute(self, symbol: str, open_ms: int) -> Bar:
        k = (open_ms - START_MS) // MINUTE_MS
        opened, close = float(self._closes[symbol][k]), float(self._closes[symbol][k + 1])
        high, low = round(max(opened, close) + 0.3 + k % 7 / 10, 2), round(min(opened, close) - 0.2 - k % 5 / 10, 2)
        return Bar(symbol, MINUTE_MS, open_ms, opened, high, low, close, float(10 + k % 13), taker_buy=float(4 + k % 7))

    def bars(self, symbol: str, minutes: int, until_ms: int) -> list[Bar]:
        """All closed bars of the interval from the first minute on."""
        builder = BarBuilder(minutes * MINUTE_MS)
        opens = range(self.first_ms, until_ms - MINUTE_MS + 1, MINUTE_MS)
        built = (builder.add(self.minute(symbol, open_ms)) for open_ms in opens)
        return [bar for bar in built if bar is not None]

    async def send(self, payload: dict[str, Any]) -> None:
        """To whoever subscribed to it on its right route."""
        event = {"markPriceUpdate": "markPrice@1s", "kline": "kline_1m"}.get(payload["e"], payload["e"])
        stream = f"{payload['s'].lower()}@{event}"
        for socket, (route, streams) in list(self._sockets.items()):
            if not self.silent and stream in streams and route == ROUTE_OF[event]:
                await socket.send_json(payload)

    async def quote(self, symbol: str, bid: str = "99.9", ask: str = "100.1", **changed: Any) -> None:
        payload = {
            "e": "bookTicker",
            "u": 1,
            "E": self.now_ms,
            "T": self.now_ms,
            "s": symbol,
            "b": bid,
            "B": "3",
            "a": ask,
            "A": "4",
        }
        await self.send(payload | changed)

    async def mark(self, symbol: str, price: str = "100", **changed: Any) -> None:
        payload = {
            "e": "markPriceUpdate",
            "E": self.now_ms,
            "s": symbol,
            "p": price,
            "r": "0.0001",
            "T": self.now_ms + 1,
            "i": "1",
        }
        await self.send(payload | changed)

    async def candle(self, symbol: str, open_ms: int, closed: bool = True, **changed: Any) -> None:
        bar = self.minute(symbol, open_ms)
        prices = {
            "o": str(bar.open),
            "h": str(bar.high),
            "l": str(bar.low),
            "c": str(bar.close),
            "v": str(bar.volume),
            "V": str(bar.taker_buy),
        }
        k = {"t": open_ms, "T": open_ms + MINUTE_MS - 1, "s": symbol, "i": "1m", "x": closed} | prices
        event_ms = bar.close_ms if closed else open_ms + 250
        await self.send({"e": "kline", "E": event_ms, "s": symbol, "k": k | changed})

    async def trade(self, symbol: str, trade_id: int, quantity: str, *, is_sell: bool, at_ms: int | None = None) -> None:
        at_ms = self.now_ms if at_ms is None else at_ms
        payload = {"e": "aggTrade", "E": at_ms, "s": symbol, "a": trade_id, "p": "1", "q": quantity, "T": at_ms, "m": is_sell}
        await self.send(payload)

    async def pass_minute(self) -> None:
        """The running minute ends: its closed candle for every symbol."""
        open_ms = self.now_ms
        self.now_ms += MINUTE_MS
        for symbol in PRICES:
            await self.candle(symbol, open_ms)

    async def ping(self) -> None:
        for socket in self._sockets:
            await socket.ping(b"alive?")

    async def drop(self) -> None:
        for socket in list(self._sockets):
            await socket.close(code=1001)

    async def _premium_index(self, request: web.Request) -> web.Response:
        return self._refused(request) or web.json_response({"symbol": request.query["symbol"], "time": self.now_ms})

    def _refused(self, request: web.Request) -> web.Response | None:
        if self.rest_status != 200:
            return web.json_response({"code": self.rest_code, "msg": "not now"}, status=self.rest_status)
        if request.query["symbol"] not in PRICES:
            return web.json_response({"code": -1121, "msg": "Invalid symbol."}, status=400)
        return None

    async def _klines(self, request: web.Request) -> web.Response:
        asked = request.query
        self.limits_asked.append(int(asked["limit"]))
        if refused := self._refused(request):
            return refused
        interval_ms = INTERVALS[asked["interval"]] * MINUTE_MS
        until_ms = min(int(asked["endTime"]) + interval_ms, self.now_ms)
        bars = self.bars(asked["symbol"], interval_ms // MINUTE_MS, until_ms)
        running_ms = self.now_ms - self.now_ms % interval_ms
        if running_ms <= int(asked["endTime"]):
            bars.append(Bar(asked["symbol"], interval_ms, running_ms, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0))
        rows = [self._row(bar) for bar in bars[-int(asked["limit"]) :]]
        return web.json_response(rows)

    def _row(self, bar: Bar) -> list[Any]:
        close = "nan" if bar.open_ms == self.spoiled_ms else str(bar.close)
        prices = [str(bar.open), str(bar.high), str(bar.low), close, str(bar.volume)]
        return [bar.open_ms, *prices, bar.close_ms - 1, "0", 1, str(bar.taker_buy), "0", "0"]

    async def _stream(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(autoping=False)
        await socket.prepare(request)
        route = request.match_info["route"]
        self._sockets[socket] = (route, set())
        try:
            async for message in socket:
                if message.type is WSMsgType.PONG:
                    self.pongs.put_nowait(message.data)
                elif message.type is WSMsgType.PING:
                    await socket.pong(message.data)
                elif message.type is WSMsgType.TEXT:
                    asked = message.json()
                    self._sockets[socket][1].update(asked["params"])
                    await socket.send_json({"result": None, "id": asked["id"]})
                    self.subscribed.put_nowait((route, tuple(asked["params"])))
        finally:
            del self._sockets[socket]
        return socket


@asynccontextmanager
async def running_venue(minutes: int = 3_600) -> AsyncIterator[StreamVenue]:
    venue = StreamVenue(minutes)
    app = web.Application()
    app.router.add_get("/fapi/v1/premiumIndex", venue._premium_index)
    app.router.add_get("/fapi/v1/klines", venue._klines)
    app.router.add_get("/{route:public|market}/ws", venue._stream)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    venue.url = f"127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield venue
    finally:
        await runner.cleanup()
