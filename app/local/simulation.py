"""Steering the simulator of a local stack: its speed, its market, and what its exchange still holds."""

from decimal import Decimal
from typing import Any

import httpx
from pydantic import SecretStr

from app.clock import Clock
from app.domain.orders import Position
from app.exchange.binance import BinanceConfig, BinanceExchange


class SimulatorControl:
    def __init__(self, url: str) -> None:
        self._client = httpx.AsyncClient(base_url=url, timeout=5.0, trust_env=False)

    async def close(self) -> None:
        await self._client.aclose()

    async def set_speed(self, speed: float) -> None:
        await self._post("/simulator/speed", {"speed": speed})

    async def play(self, script: str) -> None:
        """BTC's course from now on, ``MINUTES:PERCENT,…`` (synthetic market only)."""
        await self._post("/simulator/script", {"script": script})

    async def _post(self, path: str, body: dict[str, Any]) -> None:
        answer = await self._client.post(path, json=body)
        answer.raise_for_status()


async def left_at_exchange(url: str, symbols: tuple[str, ...], clock: Clock) -> tuple[set[str], dict[str, Decimal]]:
    """Client ids of all open orders, and signed positions, asked as any client would."""
    secret = SecretStr("paper")
    config = BinanceConfig(
        rest_url=url, stream_url=url.replace("http", "ws", 1), api_key=secret, api_secret=secret, symbols=symbols
    )
    exchange = BinanceExchange(config, clock)
    try:
        await exchange.connect()
        open_ids = {state.client_id for symbol in symbols for state in await exchange.open_orders(symbol)}
        positions: tuple[Position, ...] = (await exchange.account()).positions
    finally:
        await exchange.close()
    return open_ids, {position.symbol: position.quantity for position in positions}
