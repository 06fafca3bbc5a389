"""The whole system as its user runs it: five real processes, steered and asked from outside."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import ccxt.async_support as ccxt
import httpx

from app.bus.redis import RedisInbox, RedisMarketBus
from app.clock import Clock, SystemClock
from app.domain.market import BarIndicators, BetaReading, MarkPrice, Quote
from app.domain.plan import OrderName
from app.local.demo import ANY_PRICE, is_all_protected
from app.local.processes import ProcessFailed
from app.local.simulation import SimulatorControl
from app.local.stack import LocalStack, StackOptions, running_stack
from app.settings import GatewaySettings, load_settings
from app.storage.audit import Breach, audit_trade
from app.storage.port import JournalUnavailable, StoredTrade
from app.storage.sqlite import JournalReader

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
PAPER = "paper"  # key and secret of the simulated exchange
PATIENCE_S = 30.0
POLL_S = 0.02
BAR_MS = 180_000
_LOG_LINES = 25
# Stories told by prices are not to be moved, or cut short, by what the market's structure happens to be.
_STRUCTURE = {"CHOCH_EXIT": "off", "OWN_BLOCK": "false", "HEDGE_EDGE": "false"}
STORY = {**ANY_PRICE} | {f"QC_RULES__STRUCTURE__{name}": value for name, value in _STRUCTURE.items()}
# At any price and after any loss: for stories in which every alert becomes a trade.
_BREAKERS = ("DAY_ENTRIES_R", "DAY_HALT_R", "ROLLING_24H_R", "SIDE_R", "ATH_R", "HIGH_R")
EVERY_ALERT_TRADES = {**ANY_PRICE} | {f"QC_RULES__RISK__BREAKERS__{name}": "1000" for name in _BREAKERS}

T = TypeVar("T")


class Exchange:
    """The exchange's own word, asked over its REST by plain ccxt: nothing of ours in between."""

    def __init__(self, base_url: str, key: str = PAPER, secret: str = PAPER) -> None:
        versions = (("Public", 1), ("Private", 1), ("PrivateV2", 2), ("PrivateV3", 3))
        addresses = {f"fapi{name}": f"{base_url}/fapi/v{version}" for name, version in versions}
        options = {"fetchCurrencies": False, "recvWindow": 10_000}
        self._client = ccxt.binanceusdm(
            {"apiKey": key, "secret": secret, "enableRateLimit": False, "options": options, "urls": {"api": addresses}}
        )

    async def close(self) -> None:
        await self._client.close()

    async def positions(self) -> dict[str, Decimal]:
        rows = await self._client.fapiPrivateV3GetPositionRisk()
        return {row["symbol"]: Decimal(row["positionAmt"]) for row in rows if Decimal(row["positionAmt"])}

    async def open_orders(self) -> list[dict[str, Any]]:
        """Plain and algo orders together; ``client_id`` names each."""
        plain = await self._client.fapiPrivateGetOpenOrders()
        algo = await self._client.fapiPrivateGetOpenAlgoOrders()
        return [{**row, "client_id": row.get("clientOrderId") or row["clientAlgoId"]} for row in (*plain, *algo)]

    async def open_client_ids(self) -> set[str]:
        return {row["client_id"] for row in await self.open_orders()}

    async def covered_quantity(self, symbol: str) -> Decimal:
        """Of the position, what working stops (triggered by the contract price) would close."""
        held = abs((await self.positions()).get(symbol, Decimal(0)))
        quantity = Decimal(0)
        for row in await self._client.fapiPrivateGetOpenAlgoOrders({"symbol": symbol}):
            if row["workingType"] == "CONTRACT_PRICE" and row["orderType"] == "STOP_MARKET":
                quantity += held if row["closePosition"] in (True, "true") else Decimal(row["quantity"])
        return min(held, quantity)

    async def bought(self, symbol: str, since_ms: int) -> list[dict[str, Any]]:
        """Every execution on the account since then."""
        return list(await self._client.fapiPrivateGetUserTrades({"symbol": symbol, "startTime": since_ms, "limit": 1000}))

    async def orders(self, symbol: str, since_ms: int) -> list[dict[str, Any]]:
        return list(await self._client.fapiPrivateGetAllOrders({"symbol": symbol, "startTime": since_ms, "limit": 1000}))

    async def book(self, symbol: str = "BTCUSDT") -> tuple[Decimal, Decimal]:
        row = await self._client.fapiPublicGetTickerBookTicker({"symbol": symbol})
        return Decimal(row["bidPrice"]), Decimal(row["askPrice"])

    async def candles(self, minutes: int, symbol: str = "BTCUSDT") -> list[list[Decimal]]:
        """Three-minute candles, oldest first: open, high, low, close."""
        rows = await self._client.fapiPublicGetKlines({"symbol": symbol, "interval": "3m", "limit": minutes // 3})
        return [[Decimal(price) for price in row[1:5]] for row in rows]


class SystemWorld:
    def __init__(self, stack: LocalStack, directory: Path, clock: Clock) -> None:
        self.stack = stack
        self.clock = clock
        self.directory = directory
        self.exchange = Exchange(stack.simulator_url)
        self.simulator = SimulatorControl(stack.simulator_url)
        self.journal = JournalReader(stack.journal_path)
        self.bus = RedisMarketBus(stack.redis_url)
        self.inbox = RedisInbox(stack.redis_url)
        self.client = httpx.AsyncClient(timeout=10.0)
        self.speed = 1.0

    async def close(self) -> None:
        await self.client.aclose()
        for closing in (self.exchange, self.simulator, self.bus, self.inbox):
            await closing.close()

    # -- waiting ---------------------------------------------------------------------------------------------------------

    async def until(
        self, what: str, condition: Callable[[], Awaitable[T]], within_s: float = PATIENCE_S, every_s: float = POLL_S
    ) -> T:
        """The first truthy answer of ``condition``; an AssertionError that says ``what`` was waited for."""
        ends = self.clock.monotonic() + within_s
        while True:
            if found := await condition():
                return found
            assert self.clock.monotonic() < ends, f"not within {within_s:.0f} s: {what}"
            await self.clock.sleep(every_s)

    async def now_ms(self) -> int:
        return int((await self._status())["exchangeTime"])

    async def _status(self) -> dict[str, Any]:
        answer: dict[str, Any] = (await self.client.get(f"{self.stack.simulator_url}/simulator/status")).json()
        return answer

    async def set_speed(self, speed: float) -> None:
        await self.simulator.set_speed(speed)
        self.speed = speed

    async def play_until(self, exchange_ms: int, speed: float) -> None:
        """Fast-forward to that moment."""
        await self.set_speed(speed)
        await self.until(f"exchange time {exchange_ms}", lambda: self._reached(exchange_ms), 120.0)

    async def _reached(self, exchange_ms: int) -> bool:
        return await self.now_ms() >= exchange_ms

    async def at_ease(self) -> None:
        """Real-time speed, and all that an alert needs has reached the market bus and the trader."""
        await self.set_speed(1)
        await self.until("fresh market facts on the bus", self._market_is_fresh)
        await self.until("a trader that hears them", self._trader_hears)
        await self.until("health", self.is_healthy)

    async def _market_is_fresh(self) -> bool:
        now = await self.now_ms()
        latest = await self.bus.latest()
        quotes = {m.symbol for m in latest if isinstance(m, Quote) and now - m.time_ms <= 800}
        marks = {m.symbol for m in latest if isinstance(m, MarkPrice) and now - m.time_ms <= 2_500}
        bars = {
            m.symbol
            for m in latest
            if isinstance(m, BarIndicators) and m.interval_ms == BAR_MS and m.close_ms == now - now % BAR_MS
        }
        betas = {m.symbol for m in latest if isinstance(m, BetaReading) and now - m.close_ms <= 90_000}
        # Not in the last moments of a bar: the next one would be due while the alert is on its way.
        return all({*SYMBOLS} <= seen for seen in (quotes, marks, bars)) and len(betas) == 2 and now % BAR_MS < BAR_MS - 3_000

    async def _trader_hears(self) -> bool:
        """Its last beat is of now, and so was the quote it had then: fast time leaves both behind while it reconnects."""
        beat = await self.inbox.last_beat("trader")
        if beat is None or beat.get("feed_age_ms") is None:  # one without a key hears nothing
            return False
        return beat["feed_age_ms"] <= 400 and await self.now_ms() - beat["exchange_ms"] <= 1_500

    async def is_healthy(self) -> bool:
        try:
            return (await self.client.get(f"{self.stack.gateway_url}/health")).status_code == 200
        except httpx.TransportError:
            return False

    async def problems(self) -> list[str]:
        found: list[str] = (await self.client.get(f"{self.stack.gateway_url}/health")).json()["problems"]
        return found

    # -- alerts and trades -----------------------------------------------------------------------------------------------

    async def post(self, body: str, token: str | None = None, path_token: bool = True) -> tuple[httpx.Response, float]:
        """The answer, and the seconds it took."""
        used = self.stack.token if token is None else token
        url = f"{self.stack.gateway_url}/webhook" + (f"/{used}" if path_token else "")
        started = self.clock.monotonic()
        answer = await self.client.post(url, content=body)
        return answer, self.clock.monotonic() - started

    async def shown(self, trade_id: str) -> dict[str, Any]:
        """GET /trades/{id}."""
        answer = await self.client.get(
            f"{self.stack.gateway_url}/trades/{trade_id}", headers={"Authorization": f"Bearer {self.stack.token}"}
        )
        return {"http_status": answer.status_code, **answer.json()}

    async def trade(self, trade_id: str) -> StoredTrade | None:
        try:
            return await self.journal.trade(trade_id)
        except JournalUnavailable:
            return None

    async def noted(self, trade_id: str, *kinds: str, within_s: float = PATIENCE_S) -> StoredTrade:
        """The trade once its journal holds a note of each kind."""

        async def found() -> StoredTrade | None:
            stored = await self.trade(trade_id)
            has_all = stored is not None and {*kinds} <= {note.kind for note in stored.notes}
            return stored if has_all else None

        return await self.until(f"{', '.join(kinds)} of {trade_id}", found, within_s)

    async def all_protected(self, trade_id: str) -> StoredTrade:
        """Once every protective order of every leg is acknowledged, or the trade is over."""

        async def found() -> StoredTrade | None:
            stored = await self.trade(trade_id)
            return stored if stored is not None and (stored.closed or is_all_protected(stored)) else None

        return await self.until(f"protection of {trade_id}", found)

    async def closed(self, trade_id: str, within_s: float = 90.0) -> StoredTrade:
        async def found() -> StoredTrade | None:
            stored = await self.trade(trade_id)
            return stored if stored is not None and stored.closed is not None else None

        return await self.until(f"the close of {trade_id}", found, within_s)

    async def audit(self, stored: StoredTrade) -> list[Breach]:
        """With what the exchange itself says."""
        return audit_trade(stored, await self.exchange.open_client_ids(), await self.exchange.positions())

    async def trade_ids_at_exchange(self, since_ms: int) -> set[str]:
        """Trades whose entry orders the exchange has seen."""
        names = [OrderName.parse(row["clientOrderId"]) for row in await self.exchange.orders("BTCUSDT", since_ms)]
        return {name.trade_id for name in names if name is not None and name.purpose.is_entry}

    # -- processes -------------------------------------------------------------------------------------------------------

    async def kill(self, name: str) -> None:
        """kill -9, and gone."""
        child = self.stack.children[name]
        child.kill()
        await child.wait()

    def logs(self) -> str:
        """The end of every process's log."""
        return log_tails(self.directory)


def log_tails(directory: Path) -> str:
    tails = []
    for path in sorted(directory.rglob("*.log")):
        lines = path.read_text(errors="replace").splitlines()[-_LOG_LINES:]
        tails.append(f"--- {path.name}\n" + "\n".join(line[:400] for line in lines))
    return "\n".join(tails)


@asynccontextmanager
async def system_world(
    directory: Path, simulator: Sequence[str], environment: Mapping[str, str] = STORY
) -> AsyncIterator[SystemWorld]:
    clock = SystemClock()
    settings = load_settings(gateway=GatewaySettings(port=0))
    try:
        async with running_stack(settings, StackOptions(directory, simulator, environment), clock) as stack:
            world = SystemWorld(stack, directory, clock)
            try:
                yield world
            finally:
                await world.close()
    except ProcessFailed as error:
        error.add_note(log_tails(directory))
        raise


def is_alive(pid: int) -> bool:
    """A zombie counts as gone."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def processes_naming(text: str) -> set[int]:
    """Process ids whose command line or environment holds ``text`` (such as the folder of one test), this one aside."""
    return {pid for pid in _pids() if pid != os.getpid() and text.encode() in _words_of(pid) and is_alive(pid)}


def _pids() -> Iterator[int]:
    return (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())


def _words_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


@contextmanager
def logs_on_failure(directory: Path) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        error.add_note(log_tails(directory))
        raise


async def gather(*work: Awaitable[T]) -> list[T]:
    return list(await asyncio.gather(*work))
