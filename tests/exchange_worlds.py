"""The two worlds the exchange contract is proved in: straight on the venue, and over real sockets against its server."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AsyncExitStack
from decimal import Decimal
from typing import Protocol, TypeVar

from pydantic import SecretStr

from app.clock import SystemClock
from app.domain.orders import ExchangeEvent
from app.exchange.binance import BinanceConfig, BinanceExchange
from app.exchange.in_memory import InMemoryExchange
from app.exchange.port import Exchange
from app.simulator.server import RunningSimulator, running_simulator
from app.simulator.tape import Candle
from app.simulator.venue import Tick, Venue
from app.simulator.venue_state import ConstantFunding, VenueConfig

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
PRICES = {"BTCUSDT": Decimal(85_000), "ETHUSDT": Decimal(3_000), "SOLUSDT": Decimal(150)}
START_MS = 1_765_000_000_000
TIMEOUT_S = 10.0

E = TypeVar("E", bound=ExchangeEvent)


class EventLog:
    """Everything ``events`` has said, and a way to wait for what it has yet to say."""

    def __init__(self, exchange: Exchange) -> None:
        self.all: list[ExchangeEvent] = []
        self._news = asyncio.Condition()
        self._task = asyncio.create_task(self._listen(exchange))

    async def _listen(self, exchange: Exchange) -> None:
        async for event in exchange.events():
            async with self._news:
                self.all.append(event)
                self._news.notify_all()

    async def until(self, kind: type[E], matches: Callable[[E], bool] = lambda event: True, count: int = 1) -> list[E]:
        """The events of ``kind`` that match, once there are ``count`` of them."""

        def found() -> list[E]:
            return [event for event in self.all if isinstance(event, kind) and matches(event)]

        async with asyncio.timeout(TIMEOUT_S), self._news:
            await self._news.wait_for(lambda: len(found()) >= count)
        return found()

    async def ended(self) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            await self._task


class World(Protocol):
    exchange: Exchange
    venue: Venue
    log: EventLog

    async def move(self, symbol: str, price: Decimal, volume: Decimal = Decimal(1_000)) -> None:
        """Trade to ``price`` within a second of exchange time."""

    async def pass_time(self, ms: int) -> None: ...

    async def touch(self) -> None:
        """Deliver what the test did to the venue itself."""


FUNDING = ConstantFunding(Decimal("0.0001"))


class StillTape:
    """A market that moves only when the test moves it."""

    symbols = SYMBOLS
    first_ms = START_MS - START_MS % 60_000
    start_ms = START_MS
    end_ms = None

    def candle(self, symbol: str, open_ms: int) -> Candle:
        price = PRICES[symbol]
        return Candle(open_ms, price, price, price, price, Decimal(0))


def binance_config(simulator: RunningSimulator, **changes: object) -> BinanceConfig:
    keys = {"api_key": SecretStr("paper"), "api_secret": SecretStr("paper")}
    urls = {"rest_url": simulator.base_url, "stream_url": simulator.ws_url}
    return BinanceConfig(**(keys | urls | {"symbols": SYMBOLS} | changes))  # type: ignore[arg-type]


class _OnVenue(ABC):
    """Its market is moved at the venue itself."""

    venue: Venue

    async def move(self, symbol: str, price: Decimal, volume: Decimal = Decimal(1_000)) -> None:
        self.venue.apply([Tick(symbol, price, volume)], self.venue.now_ms + 1_000)
        await self.touch()

    async def pass_time(self, ms: int) -> None:
        self.venue.advance(self.venue.now_ms + ms)
        await self.touch()

    @abstractmethod
    async def touch(self) -> None:
        """Let what happened there be heard."""


class MemoryWorld(_OnVenue):
    def __init__(self) -> None:
        self.venue = Venue(PRICES, START_MS, VenueConfig(), FUNDING)
        self.exchange = InMemoryExchange(self.venue)

    async def open(self) -> None:
        await self.exchange.connect()
        self.log = EventLog(self.exchange)

    async def close(self) -> None:
        await self.exchange.close()
        await self.log.ended()

    async def touch(self) -> None:
        self.exchange.pump()


class SocketWorld(_OnVenue):
    """Orders over REST, or over the WebSocket API."""

    def __init__(self, *, order_socket: bool) -> None:
        self._order_socket = order_socket

    async def open(self) -> None:
        self._stack = AsyncExitStack()
        self._simulator = await self._stack.enter_async_context(running_simulator(StillTape(), None, FUNDING, speed=0))
        self.venue = self._simulator.venue
        order_url = self._simulator.ws_url if self._order_socket else None
        self.exchange = BinanceExchange(binance_config(self._simulator, order_url=order_url), SystemClock())
        await self.exchange.connect()
        self.log = EventLog(self.exchange)

    async def close(self) -> None:
        await self.exchange.close()
        await self.log.ended()
        await self._stack.aclose()

    async def touch(self) -> None:
        self._simulator.runtime.publish()
