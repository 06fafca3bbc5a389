"""Execution scenarios ES-55 to ES-57: the trader's process is killed in the maker's wait and started again.

Each is a row of docs/execution-scenarios.md. Simulator and market share the test's event loop; the trader is ``quantcloud
trader`` as a process, on a Redis of its own, ended by SIGKILL. The market trades at the maker order's price all along, so that
it fills bit by bit, also while nobody is there to protect what it brings.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import aiohttp
import pytest
from scenario_market import PATIENCE_S, ScenarioMarket, StillTape, purpose_of
from scenario_world import alert_envelope
from system_world import log_tails

from app.bus.embedded import EmbeddedRedis
from app.bus.redis import RedisInbox, RedisMarketBus
from app.domain.instrument import Side
from app.domain.plan import Purpose
from app.local.processes import Child
from app.simulator.server import RunningSimulator, running_simulator
from app.simulator.venue_state import ConstantFunding, VenueConfig
from app.simulator.venue_types import ReduceOnlyPolicy
from app.storage.audit import audit_trade
from app.storage.port import JournalUnavailable, StoredTrade
from app.storage.sqlite import JournalReader

NEAR_BLOCK = {"ob_top": 85_060, "ob_bottom": 84_900}  # the maker order rests in its middle, at 84 980; stop at 84 780
COVER_S = 2.0
PRIORITY, REJECT, SHRINK = ReduceOnlyPolicy


class ProcessWorld(ScenarioMarket):
    """With the trader as a process."""

    def __init__(self, simulator: RunningSimulator, http: aiohttp.ClientSession, redis: EmbeddedRedis, directory: Path) -> None:
        super().__init__(simulator, http, volume=Decimal("0.01"), follow=0.0)
        self.inbox = RedisInbox(redis.url)
        self._log = directory / "log" / "trader.log"
        journal = directory / "journal.sqlite"
        self._journal_path = journal
        self._is_killed = False
        environment = {
            "QC_REDIS__INBOX_URL": redis.url,
            "QC_REDIS__MARKET_URL": redis.url,
            "QC_JOURNAL__PATH": str(journal),
            "QC_EXCHANGE__REST_URL": simulator.base_url,
            "QC_EXCHANGE__STREAM_URL": simulator.ws_url,
            "QC_EXCHANGE__API_KEY": "paper",
            "QC_EXCHANGE__API_SECRET": "paper",
        }
        self.child = Child("trader", ["trader"], environment, self._log.parent)

    async def start_trader(self) -> None:
        """Returns when it says that it is ready."""
        before = self._times_ready()
        await self.child.start()
        self._is_killed = False
        await self.until("the trader's readiness", lambda: self._times_ready() > before)

    def _times_ready(self) -> int:
        return self._log.read_text().count("trader_ready") if self._log.exists() else 0

    def check(self) -> None:
        if not self._is_killed:
            self.child.check()

    async def kill_trader(self) -> None:
        self._is_killed = True
        self.child.kill()
        await self.child.wait()
        await self.until("what was on the wire", lambda: self.simulator.runtime.in_flight == 0)

    async def maker_order(self) -> float:
        """When the exchange acknowledged it, on the host's clock: the wait has begun a moment before."""
        answers = self.simulator.runtime.answers
        await self.until("the maker order in the book", lambda: any("-0-m-" in str(answer.values) for answer in answers))
        return next(answer.at for answer in answers if "-0-m-" in str(answer.values))

    async def at(self, moment: float) -> None:
        """Until that moment of the host's clock: here the time is the story."""
        await self.clock.sleep(max(0.0, moment - self.clock.monotonic()))

    async def closed(self, trade_id: str) -> StoredTrade:
        reader = JournalReader(self._journal_path)
        ends = self.clock.monotonic() + PATIENCE_S
        while self.clock.monotonic() < ends:
            try:
                stored = await reader.trade(trade_id)
            except JournalUnavailable:
                stored = None  # being written
            if stored is not None and stored.closed is not None:
                return stored
            await self.clock.sleep(0.05)
        raise AssertionError(f"{trade_id} has not closed within {PATIENCE_S:g} s\n{self.story()}")

    def story(self) -> str:
        return "\n".join([log_tails(self._log.parent), super().story()])


@asynccontextmanager
async def process_world(directory: Path, policy: ReduceOnlyPolicy) -> AsyncIterator[ProcessWorld]:
    async with (
        running_simulator(StillTape(), VenueConfig(reduce_only_policy=policy), ConstantFunding(), speed=0) as simulator,
        aiohttp.ClientSession(simulator.base_url) as http,
    ):
        redis = EmbeddedRedis(directory / "redis", simulator.runtime.clock)
        await redis.start()
        world = ProcessWorld(simulator, http, redis, directory)
        bus = RedisMarketBus(redis.url)
        market = asyncio.create_task(world.run(bus))
        try:
            await world.start_trader()
            yield world
        finally:
            market.cancel()
            await world.child.stop()
            await bus.close()
            await world.inbox.close()
            await redis.stop()


async def killed_in_the_makers_wait(directory: Path, after_ms: int, dead_s: float, policy: ReduceOnlyPolicy) -> None:
    async with process_world(directory, policy) as world:
        envelope = alert_envelope(world.clock, Side.BUY, **NEAR_BLOCK)
        await world.inbox.put(envelope)
        since = await world.maker_order()
        world.move(Decimal(84_980))
        await world.at(since + after_ms / 1000)
        await world.kill_trader()
        died_at, bought = world.clock.monotonic(), world.entries()
        if dead_s > COVER_S:
            await world.pass_time(dead_s)  # of exchange time, which may be sent ahead; the host's clock need not wait for it
        else:
            await world.at(died_at + dead_s)
        assert world.position() > 0, "it filled on while nobody was there"
        await world.start_trader()
        await world.until("cover for everything", world.all_covered, COVER_S)
        assert not [order for order in world.venue.open_orders("BTCUSDT") if not order.reduce_only], "the entry goes first"
        held = world.position()
        await world.until("targets and backstop", lambda: world.has_backstop() and len(world.venue.open_orders("BTCUSDT")) == 2)
        world.volume = Decimal(5)
        await world.go(84_700)
        stored = await world.closed(envelope.alert_id)
        assert world.entries() == bought, "nothing is bought on"
        assert sum(fill.quantity for fill in stored.fills if fill.client_id in bought) == held
        assert audit_trade(stored, world.open_ids(), world.positions()) == []
        ends = {PRIORITY: "stop", REJECT: "stop_rejected", SHRINK: "stop_fell_short"}
        assert stored.closed is not None
        assert stored.closed.reason == ends[policy]
        assert any(purpose_of(order.client_id) is Purpose.STOP for order in stored.orders)


@pytest.mark.parametrize(("dead_s", "policy"), [(2, PRIORITY), (60, REJECT)])
async def test_es55_killed_100_ms_into_the_makers_wait(tmp_path: Path, dead_s: float, policy: ReduceOnlyPolicy) -> None:
    await killed_in_the_makers_wait(tmp_path, 100, dead_s, policy)


@pytest.mark.parametrize(("dead_s", "policy"), [(2, SHRINK), (60, PRIORITY)])
async def test_es56_killed_400_ms_into_the_makers_wait(tmp_path: Path, dead_s: float, policy: ReduceOnlyPolicy) -> None:
    await killed_in_the_makers_wait(tmp_path, 400, dead_s, policy)


@pytest.mark.parametrize(("dead_s", "policy"), [(2, REJECT), (60, SHRINK)])
async def test_es57_killed_699_ms_into_the_makers_wait(tmp_path: Path, dead_s: float, policy: ReduceOnlyPolicy) -> None:
    await killed_in_the_makers_wait(tmp_path, 699, dead_s, policy)
