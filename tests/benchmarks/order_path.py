"""The order path beside two fixed peers: from the alert on the socket to entry, stop, targets and hedges acknowledged.

Ours is the whole system (gateway, inbox, trader, journal; everything durable); the peers are ``floor_app`` (nothing checked or
stored) and ``seed_app`` (one await after another), both unchanged in ../shared/bench. All trade against one simulator that
answers every order after a fixed delay, one alert at a time, interleaved; whichever of the three orders does so on a processor
of its own that never sleeps, as the trader does on a node. ``make bench`` runs it; it prints a table and writes JSON on request.
"""

import argparse
import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from app.bus.port import AlertEnvelope
from app.bus.redis import RedisInbox
from app.clock import SystemClock
from app.domain.instrument import Side
from app.domain.orders import MarketOrder
from app.exchange.binance_orders import OrderDesk
from app.exchange.binance_queries import AccountQueries
from app.exchange.binance_rest import BinanceConfig, BinanceRest
from app.exchange.ledger import Ledger
from app.local.demo import ANY_PRICE
from app.local.ports import free_port
from app.local.stack import LocalStack, StackOptions, running_stack
from app.settings import load_settings
from app.storage.sqlite import JournalReader

SHARED_BENCH = Path(__file__).resolve().parents[3] / "shared" / "bench"
AWAKE = Path(__file__).resolve().parents[2] / "ec2_bootstrap" / "bin" / "awake"
QUANTITY = "0.010"
GIVE_UP_S = 10.0
QUIET_S = 0.05
NO_LIMIT = 1_000_000
STAGES = ("entry", "naked", "last", "hedges")
# Thousands of trades closed at once all lose their fees: the breakers judge them as ever, but never trip.
_BREAKERS = ("DAY_ENTRIES_R", "DAY_HALT_R", "ROLLING_24H_R", "SIDE_R", "ATH_R", "HIGH_R")
_LOSSES_ALLOWED = {f"QC_RULES__RISK__BREAKERS__{name}": "1000000" for name in _BREAKERS}
_LOSSES_ALLOWED["QC_RULES__RISK__BREAKERS__ATH_STOP"] = "0.99"


@dataclass(slots=True)
class Timings:
    """Milliseconds. ``naked`` counts from the entry's acknowledgement, the others from T0."""

    entry: list[float] = field(default_factory=list)
    naked: list[float] = field(default_factory=list)
    last: list[float] = field(default_factory=list)
    hedges: list[float] = field(default_factory=list)


class Socket:
    """One kept-alive HTTP/1.1 connection with nothing between the clock and the write."""

    def __init__(self, port: int, path: str) -> None:
        self._port, self._path = port, path
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, body: bytes) -> tuple[float, bytes]:
        """(T0, the answer's body)."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        head = (
            f"POST {self._path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        request = head.encode() + body
        t0 = time.monotonic()
        writer.write(request)
        headers = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in headers.split(b"\r\n") if line.lower().startswith(b"content-length"))
        return t0, await reader.readexactly(length)


class Simulator:
    """What the exchange answered, and a clean slate after each alert. No streams: the tool keeps out of what it measures."""

    def __init__(self, url: str) -> None:
        self._client = httpx.AsyncClient(base_url=url, timeout=10.0)
        secret, clock, ledger = SecretStr("paper"), SystemClock(), Ledger()
        config = BinanceConfig(
            rest_url=url, stream_url=url.replace("http", "ws", 1), api_key=secret, api_secret=secret, symbols=("BTCUSDT",)
        )
        self._rest = BinanceRest(config, clock)
        self._queries = AccountQueries(self._rest, ledger)
        self._orders = OrderDesk(self._rest, None, self._queries, ledger, config, clock)

    async def connect(self) -> None:
        await self._rest.open()
        self._rest.budget.set_limits(*3 * (NO_LIMIT,))
        await self._rest.sync_clock()

    async def close(self) -> None:
        await self._rest.close()
        await self._client.aclose()

    async def answers(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self._client.get("/simulator/answers")).json()["answers"]
        return found

    async def price(self) -> float:
        found = await self._client.get("/fapi/v1/ticker/bookTicker", params={"symbol": "BTCUSDT"})
        return float(found.json()["askPrice"])

    async def set_delay(self, milliseconds: float) -> None:
        (await self._client.post("/simulator/delay", json={"delayMs": milliseconds})).raise_for_status()

    async def clean(self) -> None:
        """Cancel everything and close the position, as an operator would by hand."""
        for state in await self._queries.open_orders("BTCUSDT"):
            await self._orders.cancel("BTCUSDT", state.client_id, state.kind)
        for position in (await self._queries.account()).positions:
            side = Side.SELL if position.quantity > 0 else Side.BUY
            order = MarketOrder(f"bench-{time.monotonic_ns()}", position.symbol, side, abs(position.quantity), reduce_only=True)
            await self._orders.place(order)
        await self.answers()


def timings_of(answers: Sequence[dict[str, Any]], t0: float) -> dict[str, float] | None:
    """Milliseconds of each stage, or None while stop and both targets are not answered yet."""
    btc = [a for a in answers if a.get("symbol") == "BTCUSDT" and a["status"] == 200 and _places(a)]
    entries = [a["at"] for a in btc if a["type"] in ("MARKET", "LIMIT") and a.get("reduceOnly", "false") != "true"]
    stops = [a["at"] for a in btc if a["type"] == "STOP_MARKET" and a.get("quantity")]
    targets = [a["at"] for a in btc if a["type"] == "LIMIT" and a.get("reduceOnly") == "true"]
    if not entries or not stops or len(targets) < 2:
        return None
    found = {
        "entry": (entries[0] - t0) * 1000,
        "naked": (stops[0] - entries[0]) * 1000,
        "last": (max(stops[0], *targets[:2]) - t0) * 1000,
    }
    hedges = [a["at"] for a in answers if a.get("symbol") in ("ETHUSDT", "SOLUSDT") and _places(a)]
    if len(hedges) >= 2:
        found["hedges"] = (sorted(hedges)[1] - t0) * 1000
    return found


def _places(answer: dict[str, Any]) -> bool:
    return answer["route"].startswith("POST") or answer["route"].endswith(".place")


async def measured(simulator: Simulator, t0: float, wants_hedges: bool) -> dict[str, float]:
    seen: list[dict[str, Any]] = []
    await asyncio.sleep(QUIET_S)  # asking sooner would take the simulator from the orders that are timed
    ends = time.monotonic() + GIVE_UP_S
    while time.monotonic() < ends:
        seen += await simulator.answers()
        found = timings_of(seen, t0)
        if found is not None and ("hedges" in found or not wants_hedges):
            return found
        await asyncio.sleep(0.005)
    raise RuntimeError(f"stop and targets were not acknowledged within {GIVE_UP_S} s: {seen}")


@contextmanager
def kept_awake() -> Iterator[None]:
    """The last processor, as ``quantcloud-awake.service`` does it."""
    helper = subprocess.Popen([str(AWAKE)])
    os.sched_setscheduler(helper.pid, os.SCHED_IDLE, os.sched_param(0))
    try:
        yield
    finally:
        helper.kill()
        helper.wait()


@contextmanager
def divided_processors(ordering: Sequence[int], others: Sequence[int], *, awake: bool) -> Iterator[None]:
    """Whoever orders runs its loop on the last processor, as the trader does on a node (``app.processors``); all others share
    the rest."""
    processors = sorted(os.sched_getaffinity(0))
    if len(processors) < 2:
        yield
        return
    with kept_awake() if awake else nullcontext():  # begun while this process may still use the last one
        for pid in ordering:
            os.sched_setaffinity(pid, processors[-1:])  # of its main thread
        for thread in (thread for pid in others for thread in Path(f"/proc/{pid}/task").iterdir()):
            os.sched_setaffinity(int(thread.name), processors[:-1])
        yield


class Peer:
    """``floor_app`` or ``seed_app``, started unchanged."""

    def __init__(self, name: str, exchange_url: str) -> None:
        self._name, self._exchange_url = name, exchange_url
        self._port = free_port()
        self._socket = Socket(self._port, "/webhook")
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        environment = {**os.environ, "EXCHANGE_URL": self._exchange_url, "API_KEY": "paper", "API_SECRET": "paper"}
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "uvicorn", f"{self._name}:app", "--port", str(self._port), "--log-level", "warning",
            "--app-dir", str(SHARED_BENCH), env=environment,
        )  # fmt: skip
        ends = time.monotonic() + GIVE_UP_S
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError:
                if time.monotonic() > ends:
                    raise
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError(f"{self._name} has not been started")
        return self._process.pid

    async def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            await self._process.wait()

    async def trade(self, simulator: Simulator) -> dict[str, float]:
        alert = {"key": "k", "symbol": "BTCUSDT", "price": round(await simulator.price(), 1)}
        t0, _ = await self._socket.post(json.dumps(alert).encode())
        found = await measured(simulator, t0, wants_hedges=False)
        await simulator.clean()
        return found


class Ours:
    def __init__(self, stack: LocalStack) -> None:
        self._stack = stack
        port = int(stack.gateway_url.rpartition(":")[2])
        self._socket = Socket(port, f"/webhook/{stack.token}")
        self._reader = JournalReader(stack.journal_path)
        self._inbox = RedisInbox(stack.redis_url)
        self._count = 0

    async def close(self) -> None:
        await self._inbox.close()

    async def trade(self, simulator: Simulator) -> dict[str, float]:
        self._count += 1
        while True:
            alert = {"symbol": "BTCUSDT", "side": "buy", "qty": QUANTITY, "id": f"bench-{time.monotonic_ns()}"}
            t0, answer = await self._socket.post(json.dumps(alert).encode())
            reply = json.loads(answer)
            if reply.get("code") != "symbol_owned":  # it has yet to hear that the peer before it is flat
                break
        if reply.get("status") not in ("trade placed", "accepted"):
            raise RuntimeError(f"the alert was not traded: {reply}")
        found = await measured(simulator, t0, wants_hedges=True)
        await self._flatten(reply["id"])
        await simulator.clean()
        return found

    async def _flatten(self, trade_id: str) -> None:
        name = f"flatten-{self._count}-{time.monotonic_ns()}"
        await self._inbox.put(AlertEnvelope(name, name, 60, {"command": "flatten"}, 0, 0.0, source="operator"))
        ends = time.monotonic() + GIVE_UP_S
        while time.monotonic() < ends:
            stored = await self._reader.trade(trade_id)
            if stored is not None and stored.closed is not None:
                return
            await asyncio.sleep(0.01)
        raise RuntimeError(f"trade {trade_id} did not close")


async def run(alerts: int, runs: int, delays: Sequence[float], warmup: int, keep: Path | None, *, awake: bool) -> dict[str, Any]:
    os.environ.update({"QC_RULES__ENTRY__STYLE": "ioc", "QC_GATEWAY__PORT": "0"} | _LOSSES_ALLOWED)
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as temporary:
        directory = keep or Path(temporary)
        options = StackOptions(directory, ("--balance", "1000000", "--limits-factor", "1000", "--script", "600:0"), ANY_PRICE)
        async with running_stack(load_settings(), options, SystemClock()) as stack:
            simulator = Simulator(stack.simulator_url)
            await simulator.connect()
            systems: dict[str, Ours | Peer] = {
                "ours": Ours(stack),
                "floor": Peer("floor_app", stack.simulator_url),
                "seed": Peer("seed_app", stack.simulator_url),
            }
            try:
                for peer in systems.values():
                    if isinstance(peer, Peer):
                        await peer.start()
                children, redis = stack.children, stack.redis.pid
                peers = [system.pid for system in systems.values() if isinstance(system, Peer)]
                others = [child.pid for name, child in children.items() if name != "trader"]
                others += [os.getpid(), *([redis] if redis else [])]
                with divided_processors([children["trader"].pid, *peers], others, awake=awake):
                    for delay in delays:
                        await simulator.set_delay(delay)
                        await rounds(systems, simulator, warmup)
                        results[f"{delay:g} ms"] = [await rounds(systems, simulator, alerts) for _ in range(runs)]
            finally:
                for system in systems.values():
                    await (system.stop() if isinstance(system, Peer) else system.close())
                await simulator.close()
    return results


async def rounds(systems: dict[str, Ours | Peer], simulator: Simulator, alerts: int) -> dict[str, Timings]:
    """One run: each alert to each system in turn."""
    timings = {name: Timings() for name in systems}
    for _ in range(alerts):
        for name, system in systems.items():
            for stage, milliseconds in (await system.trade(simulator)).items():
                getattr(timings[name], stage).append(milliseconds)
    return timings


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def summary(runs: Sequence[dict[str, Timings]]) -> dict[str, dict[str, dict[str, float]]]:
    """Median over the runs of each run's p50 and p99, per system and stage."""
    table: dict[str, dict[str, dict[str, float]]] = {}
    for name in runs[0]:
        table[name] = {}
        for stage in STAGES:
            series = [getattr(one[name], stage) for one in runs if getattr(one[name], stage)]
            if series:
                table[name][stage] = {
                    "p50": statistics.median(statistics.median(values) for values in series),
                    "p99": statistics.median(percentile(values, 0.99) for values in series),
                }
    return table


def show(console: Console, delay: str, table: dict[str, dict[str, dict[str, float]]]) -> None:
    grid = Table(title=f"orders answered after {delay}", title_justify="left")
    for heading in ("", *(f"{stage} p50 / p99" for stage in STAGES)):
        grid.add_column(heading)
    for name, stages in table.items():
        cells = (stages.get(stage) for stage in STAGES)
        grid.add_row(name, *("" if cell is None else f"{cell['p50']:.2f} / {cell['p99']:.2f} ms" for cell in cells))
    console.print(grid)
    ours, floor = table["ours"], table["floor"]
    for stage in ("entry", "naked", "last"):
        console.print(f"  {stage}: floor {ours[stage]['p50'] - floor[stage]['p50']:+.2f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--alerts", type=int, default=500)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--warmup", type=int, default=20)
    parser.add_argument("--delays", type=float, nargs="+", default=[5.0, 1.0])
    parser.add_argument("--asleep", action="store_true", help="let the processor of whoever orders sleep between alerts")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--keep", type=Path, help="keep journal and logs in this folder")
    arguments = parser.parse_args()
    if not SHARED_BENCH.is_dir():
        sys.exit("the peers of the comparison (../shared/bench) are not beside this checkout")
    how_long = (arguments.alerts, arguments.runs, arguments.delays, arguments.warmup)
    results = asyncio.run(run(*how_long, arguments.keep, awake=not arguments.asleep))
    tables = {delay: summary(runs) for delay, runs in results.items()}
    console = Console()
    for delay, table in tables.items():
        show(console, delay, table)
    if arguments.json:
        arguments.json.write_text(json.dumps(tables, indent=2) + "\n")


if __name__ == "__main__":
    main()
