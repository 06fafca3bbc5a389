"""Between what arrives and the bus: nothing that arrives waits for the bus, and the bus gets no backlog of prices."""

import asyncio
from collections import deque
from collections.abc import Iterable

import structlog

from app.bus.port import BusUnavailable, MarketBus
from app.clock import Clock
from app.domain.market import FlowReading, MarketMessage, MarkPrice, Quote, StreamHealth
from app.stream.backoff import Backoff

MOST_WAITING = 20_000  # bars and readings kept while the bus is away: more than a week of three symbols

log = structlog.get_logger(__name__)


class Outbox:
    """Bars and readings go out in order, each of them; of the rest only the newest of each symbol."""

    def __init__(self, bus: MarketBus, clock: Clock) -> None:
        self._bus = bus
        self._clock = clock
        self._in_order: deque[MarketMessage] = deque()
        self._newest: dict[tuple[type[MarketMessage], str], MarketMessage] = {}
        self._ready = asyncio.Event()

    def put(self, messages: Iterable[MarketMessage]) -> None:
        self._in_order.extend(messages)
        self._ready.set()

    def put_newest(self, message: Quote | MarkPrice | FlowReading | StreamHealth) -> None:
        """Takes the place of an unsent one of the same kind and symbol."""
        symbol = "" if isinstance(message, StreamHealth) else message.symbol
        self._newest[type(message), symbol] = message
        self._ready.set()

    async def run(self) -> None:
        """Publish for ever; while the bus is away, keep and try again."""
        backoff = Backoff(0.1, 2.0)
        while True:
            await self._ready.wait()
            self._ready.clear()
            in_order, newest = list(self._in_order), list(self._newest.values())
            self._in_order.clear()
            self._newest.clear()
            try:
                await self._bus.publish(in_order + newest)
                backoff.reset()
            except BusUnavailable as error:
                log.warning("market bus unavailable", reason=str(error), waiting=len(in_order))
                self._keep(in_order)
                await self._clock.sleep(backoff.next_s())

    def _keep(self, in_order: list[MarketMessage]) -> None:
        self._in_order.extendleft(reversed(in_order))
        while len(self._in_order) > MOST_WAITING:
            self._in_order.popleft()
        self._ready.set()
