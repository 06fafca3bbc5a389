"""What else the documentation gives a figure for: the stream node's pace, the trader's memory, start to ready, kill to protected.

``make vitals`` runs it, with real processes all along.
"""

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from integration.system_world import SystemWorld, system_world
from rich.console import Console
from stream_venue import PRICES, StreamVenue, running_venue

from app.bus.embedded import EmbeddedRedis
from app.bus.envelopes import envelope_for
from app.bus.port import AlertEnvelope
from app.bus.redis import RedisMarketBus
from app.clock import SystemClock
from app.domain.market import MarketMessage, Quote
from app.domain.signal import Alert, parse_alert
from app.local.processes import Child

FLOOD = 30_000
PACED, PACE_S = 500, 0.005
DELAY_MS = 400
KILLS = 5


async def until(condition: Callable[[], Awaitable[bool]], within_s: float = 60.0) -> float:
    """Monotonic time at which it came true."""
    ends = time.monotonic() + within_s
    while not await condition():
        if time.monotonic() > ends:
            raise TimeoutError("it did not come true")
        await asyncio.sleep(0.005)
    return time.monotonic()


class Listener:
    """When each bid price was heard on the market bus."""

    def __init__(self, bus: RedisMarketBus) -> None:
        self._bus = bus
        self.heard: dict[str, float] = {}
        self.changed = asyncio.Event()

    async def listen(self) -> None:
        async for message in self._bus.subscribe():
            self._note(message)

    def _note(self, message: MarketMessage) -> None:
        if isinstance(message, Quote):
            self.heard[str(message.bid)] = time.monotonic()
            self.changed.set()

    async def wait_for(self, bid: str) -> float:
        while bid not in self.heard:
            self.changed.clear()
            await asyncio.wait_for(self.changed.wait(), 60.0)
        return self.heard[bid]


async def stream_node(directory: Path) -> tuple[float, list[float]]:
    """(events a second, milliseconds from an event on the socket to its quote on the bus)."""
    redis = EmbeddedRedis(directory / "redis", SystemClock(), durable=False)
    await redis.start()
    async with running_venue() as venue:
        environment = {
            "QC_EXCHANGE__REST_URL": f"http://{venue.url}",
            "QC_EXCHANGE__STREAM_URL": f"ws://{venue.url}",
            "QC_REDIS__MARKET_URL": redis.url,
        }
        child = Child("stream", ["stream"], environment, directory / "log")
        bus = RedisMarketBus(redis.url)
        listener = Listener(bus)
        listening = asyncio.create_task(listener.listen())
        try:
            await child.start()
            await _until_subscribed(venue, child)
            return await _flood(venue, listener), await _pace(venue, listener)
        finally:
            listening.cancel()
            await child.stop()
            await bus.close()
            await redis.stop()


async def _until_subscribed(venue: StreamVenue, child: Child) -> None:
    wanted = {f"{symbol.lower()}@bookTicker" for symbol in PRICES}
    while wanted:
        child.check()
        _, streams = await asyncio.wait_for(venue.subscribed.get(), 60.0)
        wanted -= set(streams)


async def _flood(venue: StreamVenue, listener: Listener) -> float:
    """As many quotes as the socket takes; the last one tells when all have been worked off."""
    started = time.monotonic()
    for k in range(FLOOD):
        await venue.quote("BTCUSDT", bid=f"{90_000 + k / 10:.1f}", ask="99999.0", u=k + 2)
    last = await listener.wait_for(f"{90_000 + (FLOOD - 1) / 10:.1f}")
    return FLOOD / (last - started)


async def _pace(venue: StreamVenue, listener: Listener) -> list[float]:
    latencies = []
    for k in range(PACED):
        bid = f"{80_000 + k / 10:.1f}"
        sent = time.monotonic()
        await venue.quote("BTCUSDT", bid=bid, ask="99999.0", u=FLOOD + k + 2)
        latencies.append((await listener.wait_for(bid) - sent) * 1000)
        await asyncio.sleep(PACE_S)
    return latencies


def resident_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


async def trader(directory: Path) -> tuple[list[float], list[float], float]:
    """(start to ready, start to covered after a kill that left a position without a stop; seconds each; resident MiB)."""
    ready, covered = [], []
    options = ("--balance", "100000", "--delay-ms", str(DELAY_MS), "--limits-factor", "100", "--script", "600:0")
    async with system_world(directory, options) as system:
        for k in range(KILLS):
            trade_id = await _killed_before_its_stop(system, k)
            started = time.monotonic()
            await system.stack.launch("trader")

            async def is_covered() -> bool:
                held = (await system.exchange.positions()).get("BTCUSDT")
                return held is not None and await system.exchange.covered_quantity("BTCUSDT") >= abs(held)

            covered.append(await until(is_covered) - started)
            ready.append(await until(system.is_healthy) - started)
            await _flatten(system)
            await system.closed(trade_id)
        memory = resident_mib(system.stack.children["trader"].pid)
    return ready, covered, memory


async def _killed_before_its_stop(system: SystemWorld, number: int) -> str:
    """The entry is on its way to the exchange when the trader dies: it fills, and nobody protects it."""
    await system.at_ease()
    body = f'{{"symbol": "BTCUSDT", "side": "buy", "qty": "0.02", "id": "vitals-{number}"}}'
    posting = asyncio.create_task(system.post(body))
    parsed = parse_alert(body)
    assert isinstance(parsed, Alert)
    trade_id = envelope_for(parsed, body.encode(), 0, 0.0).alert_id
    await system.noted(trade_id, "order_sent")
    await system.kill("trader")
    await posting

    async def is_filled() -> bool:
        return "BTCUSDT" in await system.exchange.positions()

    await until(is_filled)
    return trade_id


async def _flatten(system: SystemWorld) -> None:
    name = f"vitals-flatten-{time.monotonic_ns()}"
    await system.inbox.put(AlertEnvelope(name, name, 60, {"command": "flatten"}, 0, 0.0, source="operator"))


async def measure() -> None:
    console = Console()
    with tempfile.TemporaryDirectory(prefix="vitals-") as name:
        rate, latencies = await stream_node(Path(name) / "stream")
        latencies.sort()
        p50, p99 = statistics.median(latencies), latencies[int(len(latencies) * 0.99)]
        console.print(f"stream node: {rate:,.0f} events a second; socket to bus p50 {p50:.2f} ms, p99 {p99:.2f} ms")
        ready, covered, memory = await trader(Path(name) / "trader")
    console.print(f"trader: start to ready {statistics.median(ready):.2f} s, resident {memory:.0f} MiB")
    console.print(f"trader: killed before its stop, start to covered {statistics.median(covered):.2f} s (of {len(covered)})")


if __name__ == "__main__":
    os.environ["QC_RULES__ENTRY__STYLE"] = "ioc"
    asyncio.run(measure())
