"""A plain client of the simulator for tests: signed requests, sockets, and waiting for what comes."""

import hashlib
import hmac
import time
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import aiohttp

from app.simulator.server import RunningSimulator
from app.simulator.venue import Tick

PAPER = "paper"


def sign(payload: str, secret: str = PAPER) -> str:
    return hmac.new(secret.encode(), payload.encode(), hashlib.sha256).hexdigest()


def signed(**params: Any) -> str:
    query = urlencode({"recvWindow": "3000"} | params | {"timestamp": str(int(time.time() * 1000))})
    return f"{query}&signature={sign(query)}"


class Client:
    def __init__(self, http: aiohttp.ClientSession) -> None:
        self.http = http

    async def ask(self, method: str, path: str, **params: Any) -> tuple[int, Any, Any]:
        """(status, body, headers) of a signed request; ``path`` without ``/fapi/v1``. Raises what aiohttp raises."""
        where = path if path.startswith("/fapi") else f"/fapi/v1/{path}"
        query = signed(**params)
        target, body = (f"{where}?{query}", None) if method == "GET" else (where, query)
        async with self.http.request(method, target, data=body, headers={"X-MBX-APIKEY": PAPER}) as response:
            return response.status, await response.json(), response.headers

    async def control(self, path: str, body: dict[str, Any]) -> Any:
        async with self.http.post(f"/simulator/{path}", json=body) as response:
            return await response.json()

    async def private(self, **query: str) -> aiohttp.ClientWebSocketResponse:
        async with self.http.post("/fapi/v1/listenKey", headers={"X-MBX-APIKEY": PAPER}) as response:
            key = (await response.json())["listenKey"]
        return await self.http.ws_connect(f"/private/ws?{urlencode({'listenKey': key} | query)}")


async def receive(stream: aiohttp.ClientWebSocketResponse) -> Any:
    return await stream.receive_json(timeout=10)


def api_request(number: str, method: str, **params: Any) -> dict[str, Any]:
    """A signed request of the WebSocket API."""
    params |= {"apiKey": PAPER, "timestamp": int(time.time() * 1000)}
    texts = {n: str(v).lower() if isinstance(v, bool) else str(v) for n, v in params.items()}
    payload = "&".join(f"{name}={texts[name]}" for name in sorted(texts))
    return {"id": number, "method": method, "params": params | {"signature": sign(payload)}}


def move(simulator: RunningSimulator, price: str, *, symbol: str = "BTCUSDT", volume: str = "50", ms: int = 1_000) -> None:
    """The market goes to ``price`` within ``ms`` of exchange time, and everybody is told."""
    tick = Tick(symbol, Decimal(price), Decimal(volume))
    simulator.venue.apply([tick], simulator.venue.now_ms + ms)
    simulator.runtime.publish()
    simulator.runtime.feed.step([tick], simulator.venue.now_ms)
    simulator.runtime.feed.flush()
