"""``--live``: Binance's public market data as the tape, so that paper orders meet the real market.

History comes by REST once, then one combined stream of trades, mark prices and minutes is followed for ever; after a lost or
silent connection it is built up anew and the missed minutes are asked for. Nothing is ever sent that needs a key.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

import aiohttp
import orjson

from app.clock import Clock
from app.simulator.contracts import CONTRACTS
from app.simulator.tape import Candle
from app.simulator.tape_live import LiveCandle, LiveTape

BINANCE_REST, BINANCE_STREAM = "https://fapi.binance.com", "wss://fstream.binance.com"
_STREAMS = ("aggTrade", "markPrice@1s", "kline_1m")
_PAGE = 1_500
_TIMEOUT = aiohttp.ClientTimeout(total=15)
_LONGEST_WAIT_S = 30.0

log = logging.getLogger(__name__)


class LiveError(Exception):
    """The live market cannot be had; one line with the reason and the way out."""


@dataclass(frozen=True, slots=True)
class LiveAddresses:
    rest: str = BINANCE_REST
    stream: str = BINANCE_STREAM


class LiveMarket:
    """``silence_s``: without any message for so long, a connection is taken for dead."""

    def __init__(self, addresses: LiveAddresses, clock: Clock, *, silence_s: float = 15.0, retry_s: float = 1.0) -> None:
        self._addresses = addresses
        self._clock = clock
        self._silence_s = silence_s
        self._retry_s = retry_s
        self._is_heard = False
        self.differences: list[str] = []

    async def load(self, history_minutes: int, symbols: tuple[str, ...] = tuple(CONTRACTS)) -> LiveTape:
        """The past up to now. Raises LiveError.

        ``differences`` then tells where Binance's filters are not those of ``contracts``.
        """
        try:
            async with aiohttp.ClientSession(timeout=_TIMEOUT) as http:
                rows = await asyncio.gather(*(self._history(http, symbol, history_minutes) for symbol in symbols))
                tape = LiveTape(dict(zip(symbols, _aligned(rows), strict=True)), self._clock)
                await self._load_funding(http, tape)
                self.differences = _differences(await self._get(http, "exchangeInfo"), symbols)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            reason = str(error) or type(error).__name__
            raise LiveError(
                f"--live: {self._addresses.rest} does not answer ({reason}); check the network, or leave --live away"
            ) from None
        except (KeyError, IndexError, TypeError, ValueError, InvalidOperation) as error:
            raise LiveError(f"--live: {self._addresses.rest} answers in an unknown form ({error!r})") from None
        return tape

    async def _get(self, http: aiohttp.ClientSession, path: str, **params: Any) -> Any:
        async with http.get(f"{self._addresses.rest}/fapi/v1/{path}", params=params) as response:
            response.raise_for_status()
            return orjson.loads(await response.read())

    async def _history(self, http: aiohttp.ClientSession, symbol: str, minutes: int) -> list[Candle]:
        """Closed minutes, oldest first."""
        candles = await self._page(http, symbol)
        candles.pop()  # the forming one
        while len(candles) < minutes:
            older = await self._page(http, symbol, endTime=candles[0].open_ms - 1)
            if not older:
                break
            candles = older + candles
        return candles[-minutes:]

    async def _page(self, http: aiohttp.ClientSession, symbol: str, **window: int) -> list[Candle]:
        rows = await self._get(http, "klines", symbol=symbol, interval="1m", limit=_PAGE, **window)
        return [_candle([*row[:6], row[9]]) for row in rows]

    async def _load_funding(self, http: aiohttp.ClientSession, tape: LiveTape) -> None:
        for symbol in tape.symbols:
            for row in await self._get(http, "fundingRate", symbol=symbol, limit=100):
                tape.funding.settled(symbol, int(row["fundingTime"]), Decimal(row["fundingRate"]))

    async def follow(self, tape: LiveTape, report: Callable[[str], None] = log.warning) -> None:
        """Until cancelled. ``report`` gets one line whenever the connection is lost."""
        wait_s = self._retry_s
        while True:
            try:
                async with aiohttp.ClientSession() as http:
                    await self._follow_once(http, tape)
                reason = "the other side closed it"
            except TimeoutError:
                reason = f"nothing came for {self._silence_s:g} s"
            except (aiohttp.ClientError, OSError) as error:
                reason = str(error) or type(error).__name__
            except (KeyError, TypeError, ValueError, InvalidOperation) as error:
                reason = f"a message of unknown form: {error!r}"
            wait_s = self._retry_s if self._is_heard else min(_LONGEST_WAIT_S, wait_s * 2)
            self._is_heard = False
            report(f"live stream lost: {reason}; again in {wait_s:g} s")
            await self._clock.sleep(wait_s)

    async def _follow_once(self, http: aiohttp.ClientSession, tape: LiveTape) -> None:
        names = "/".join(f"{symbol.lower()}@{stream}" for symbol in tape.symbols for stream in _STREAMS)
        async with http.ws_connect(f"{self._addresses.stream}/market/stream?streams={names}") as socket:
            await self._fill_gaps(http, tape)
            while True:
                message = await socket.receive(timeout=self._silence_s)
                if message.type is not aiohttp.WSMsgType.TEXT:
                    return
                self._is_heard = True
                _take(tape, orjson.loads(message.data)["data"])

    async def _fill_gaps(self, http: aiohttp.ClientSession, tape: LiveTape) -> None:
        for symbol in tape.symbols:
            page = await self._page(http, symbol, startTime=tape.closed_until(symbol))
            while len(page) > 1:
                tape.fill_gap(symbol, page[:-1])
                page = await self._page(http, symbol, startTime=tape.closed_until(symbol))


def _differences(exchange_info: dict[str, Any], symbols: tuple[str, ...]) -> list[str]:
    """One line for each filter of a symbol that is another one here."""
    found = []
    listed = {row["symbol"]: {each["filterType"]: each for each in row["filters"]} for row in exchange_info["symbols"]}
    for symbol in symbols:
        instrument = CONTRACTS[symbol].instrument
        for kind, field, here in (
            ("PRICE_FILTER", "tickSize", instrument.tick),
            ("LOT_SIZE", "stepSize", instrument.step),
            ("MIN_NOTIONAL", "notional", instrument.min_notional),
            ("MARKET_LOT_SIZE", "maxQty", instrument.market_max_quantity),
        ):
            there = Decimal(listed[symbol][kind][field])
            if there != here:
                found.append(f"{symbol}: {kind} {field} is {there} at Binance, {here} here")
    return found


def _aligned(histories: list[list[Candle]]) -> list[list[Candle]]:
    """The minutes that all symbols have."""
    first, last = max(rows[0].open_ms for rows in histories), min(rows[-1].open_ms for rows in histories)
    return [[candle for candle in rows if first <= candle.open_ms <= last] for rows in histories]


def _candle(values: Iterable[str | int]) -> LiveCandle:
    """From open time, open, high, low, close, volume and the volume that takers bought."""
    open_ms, opened, high, low, close, volume, bought = (Decimal(str(value)) for value in values)
    return LiveCandle(int(open_ms), opened, high, low, close, volume, bought=bought)


def _take(tape: LiveTape, data: dict[str, Any]) -> None:
    symbol = data["s"]
    match data["e"]:
        case "aggTrade":
            tape.trade(symbol, int(data["T"]), Decimal(data["p"]), Decimal(data["q"]), sold=bool(data["m"]))
        case "markPriceUpdate":
            tape.mark(symbol, int(data["E"]), Decimal(data["p"]), Decimal(data["r"] or "0"), int(data["T"]))
        case "kline":
            bar = data["k"]
            candle = _candle(bar[name] for name in "tohlcvV")
            tape.minute(symbol, candle, int(data["E"]), closed=bool(bar["x"]))
