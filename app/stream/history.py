"""Public candles over REST, through ccxt's implicit endpoints."""

import re
from typing import Any

import ccxt
from ccxt.async_support.binanceusdm import binanceusdm

from app.domain.market import MINUTE_MS, Bar
from app.exchange.errors import ExchangeError, NotExecuted, NotPermitted, RateLimited, UnknownSymbol
from app.stream.candles import candle_fault
from app.stream.config import INTERVAL_NAMES

PAGE = 1500  # the most candles one request returns


class BinanceHistory:
    """``MarketHistory`` of Binance USD-M Futures. Needs no key."""

    def __init__(self, rest_url: str, timeout_s: float = 4.0) -> None:
        versions = {"fapiPublic": 1, "fapiPublicV2": 2, "fapiPublicV3": 3}
        self._client = binanceusdm(
            {
                "timeout": int(timeout_s * 1000),
                "enableRateLimit": False,
                "urls": {"api": {name: f"{rest_url}/fapi/v{version}" for name, version in versions.items()}},
            }
        )

    async def bars(self, symbol: str, interval_ms: int, limit: int, end_ms: int | None = None) -> list[Bar]:
        """The newest ``limit`` *closed* candles up to ``end_ms``, oldest first; fewer where the history is shorter.

        Raises UnknownSymbol, NotPermitted, NotExecuted or RateLimited.
        """
        interval = INTERVAL_NAMES[interval_ms // MINUTE_MS]
        market_ms = await self._market_ms(symbol)
        closed_ms = market_ms if end_ms is None else min(end_ms, market_ms)
        newest_open_ms = closed_ms - closed_ms % interval_ms - interval_ms
        bars: list[Bar] = []
        while len(bars) < limit:
            asked = min(limit - len(bars), PAGE)
            request = {"symbol": symbol, "interval": interval, "limit": asked, "endTime": newest_open_ms}
            rows = await self._request("fapiPublicGetKlines", request)
            page = [_bar(symbol, interval_ms, row) for row in rows if int(row[0]) <= newest_open_ms]
            bars = page + bars
            if len(page) < asked:
                break
            newest_open_ms = page[0].open_ms - interval_ms
        return bars

    async def _market_ms(self, symbol: str) -> int:
        """The time of the newest mark price. The server's own clock is another thing where a market is replayed."""
        return int((await self._request("fapiPublicGetPremiumIndex", {"symbol": symbol}))["time"])

    async def close(self) -> None:
        await self._client.close()

    async def _request(self, method: str, params: dict[str, Any]) -> Any:
        try:
            return await getattr(self._client, method)(params)
        except ccxt.BaseError as error:
            raise _translated(error, params.get("symbol", "")) from error


def _translated(error: ccxt.BaseError, symbol: str) -> ExchangeError:
    """A read has no effect, so whatever failed can be asked again, but for a wrong symbol or address."""
    found = re.search(r'"code":\s*(-?\d+)', str(error))
    code = int(found.group(1)) if found else 0
    if code == -1121 or isinstance(error, ccxt.BadSymbol):
        return UnknownSymbol(f"{symbol}: the exchange does not list it; check rules.symbol and rules.hedge.symbols", code)
    if isinstance(error, (ccxt.RateLimitExceeded, ccxt.DDoSProtection)):
        return RateLimited(str(error), code, retry_after=5.0)
    if isinstance(error, ccxt.AuthenticationError):
        return NotPermitted(str(error), code)
    return NotExecuted(str(error), code)


def _bar(symbol: str, interval_ms: int, row: list[Any]) -> Bar:
    """One kline row: open time, open, high, low, close, volume, …, at place 9 the volume that takers bought; as strings.

    Raises NotExecuted for impossible numbers.
    """
    try:
        open_ms, (opened, high, low, close, volume), taker_buy = int(row[0]), map(float, row[1:6]), float(row[9])
    except (ValueError, TypeError, IndexError) as error:
        raise NotExecuted(f"candle of {symbol} cannot be read: {row!r}") from error
    bar = Bar(symbol, interval_ms, open_ms, opened, high, low, close, volume, taker_buy)
    if fault := candle_fault(bar):
        raise NotExecuted(f"candle of {symbol} at {open_ms}: {fault}")
    return bar
