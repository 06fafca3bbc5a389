"""Processes killed and started again while the system trades: kill -9, SIGTERM, and a Redis that is gone for a while.

One synthetic market serves all tests; each leaves it flat, in real time and healthy.
"""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from decimal import Decimal
from itertools import count

import pytest
import pytest_asyncio
from system_world import EVERY_ALERT_TRADES, PATIENCE_S, STORY, SystemWorld, system_world

from app.bus.hints import hints_path
from app.bus.port import AlertEnvelope
from app.bus.redis import RedisInbox
from app.storage.port import StoredTrade

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

RECOVERED_WITHIN_S = 2.0
FAST = 300
NUMBERS = count(1)
# The kills strike while the post-only order rests: the flow is not to cut that short.
RULES = {**EVERY_ALERT_TRADES, **STORY, "QC_RULES__FLOW__HURRIES_ENTRY": "false"}
ENTRIES = ("-m-", "-i-")  # purposes in our client ids that buy


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SystemWorld]:
    async with system_world(tmp_path_factory.mktemp("crashes"), ("--synthetic", "11"), RULES) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def system(world: SystemWorld) -> AsyncIterator[SystemWorld]:
    await world.at_ease()
    yield world
    await world.set_speed(1)


def alert(side: str = "BUY") -> str:
    return json.dumps({"symbol": "BTCUSDT.P", "side": side, "id": f"crash {next(NUMBERS)}"})


async def traded(system: SystemWorld, side: str = "BUY") -> str:
    """A trade of which everything is protected; its id. How soon the answer came is another story's."""
    answer, _ = await system.post(alert(side))
    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] in ("trade placed", "accepted"), answer.text
    trade_id = str(answer.json()["id"])
    await system.all_protected(trade_id)
    return trade_id


async def accepted(system: SystemWorld, side: str = "BUY") -> str:
    """An alert that is posted while nobody waits for its answer; the trade's id."""
    known = {row["client_id"] for row in await system.exchange.open_orders()}
    posting = asyncio.create_task(system.post(alert(side)))

    async def maker() -> str | None:
        fresh = {row["client_id"] for row in await system.exchange.open_orders()} - known
        return next((name.split("-")[1] for name in fresh if "-0-m-" in name), None)

    trade_id = await system.until("the maker order in the book", maker)
    posting.cancel()
    return str(trade_id)


async def start_trader(system: SystemWorld) -> float:
    """Start it anew; the moment (on the clock) it was ready."""
    await system.stack.launch("trader")
    log = system.directory / "log" / "trader.log"
    before = log.read_text().count("trader_ready")

    async def ready() -> bool:
        return log.read_text().count("trader_ready") > before

    await system.until("the trader's readiness", ready)
    return system.clock.monotonic()


async def entries_sent(system: SystemWorld, trade_id: str) -> set[str]:
    """Client ids of every entry order the exchange has seen of this trade's main leg."""
    rows = await system.exchange.orders("BTCUSDT", 0)
    ids = {row["clientOrderId"] for row in rows}
    return {name for name in ids if name.startswith(f"qc-{trade_id}-0-") and any(p in name for p in ENTRIES)}


async def covered_in_time(system: SystemWorld, ready_at: float) -> None:
    """I8: within 2 s of readiness every position lies wholly under a working stop, or is gone."""

    async def covered() -> bool:
        held = await system.exchange.positions()
        return all([abs(held[s]) == await system.exchange.covered_quantity(s) for s in held])

    await system.until("cover for every position", covered, ready_at + RECOVERED_WITHIN_S - system.clock.monotonic(), 0.1)


async def played_to_its_end(system: SystemWorld, trade_id: str) -> StoredTrade:
    """Fast-forwarded until closed; then flat, clean and without a breach."""
    await system.set_speed(FAST)
    stored = await system.closed(trade_id)
    await system.set_speed(1)
    assert await system.audit(stored) == []
    assert await system.exchange.positions() == {}
    return stored


async def test_the_trader_is_killed_in_the_middle_of_the_maker_wait(system: SystemWorld) -> None:
    trade_id = await accepted(system)
    since = system.clock.monotonic()

    async def in_the_middle() -> bool:
        return system.clock.monotonic() - since >= 0.3

    await system.until("300 ms of the maker wait", in_the_middle)
    await system.kill("trader")
    before = await entries_sent(system, trade_id)
    held = (await system.exchange.positions()).get("BTCUSDT", Decimal(0))
    ready_at = await start_trader(system)
    await covered_in_time(system, ready_at)
    assert await entries_sent(system, trade_id) == before, "more was bought after the restart"
    stored = await played_to_its_end(system, trade_id)
    entered = sum(fill.quantity for fill in stored.fills if fill.client_id in before)
    assert entered >= held
    assert {note.kind for note in stored.notes} >= {"recovered"}


async def test_the_trader_is_killed_in_a_managed_trade_after_its_first_target(system: SystemWorld) -> None:
    trade_id = await traded(system)
    await system.simulator.play("1:0,3:0.35,6:0,6:-0.6")
    await system.set_speed(60)
    stored = await system.noted(trade_id, "break_even")
    await system.set_speed(1)
    await system.kill("trader")
    assert stored.closed is None
    before = await entries_sent(system, trade_id)
    held = (await system.exchange.positions())["BTCUSDT"]
    assert await system.exchange.covered_quantity("BTCUSDT") == held, "the stops live at the exchange, not in the trader"
    ready_at = await start_trader(system)
    await covered_in_time(system, ready_at)
    stored = await played_to_its_end(system, trade_id)
    assert await entries_sent(system, trade_id) == before
    assert stored.closed is not None
    assert stored.closed.gross > 0, "one target was hit and the rest left at break-even or better"


async def test_sigterm_leaves_the_stops_and_the_next_start_resumes(system: SystemWorld) -> None:
    trade_id = await traded(system, "SELL")
    child = system.stack.children["trader"]
    os.kill(child.pid, signal.SIGTERM)
    assert await child.wait() == 0
    held = await system.exchange.positions()
    assert held["BTCUSDT"] < 0
    for symbol, quantity in held.items():
        assert await system.exchange.covered_quantity(symbol) == abs(quantity)
    assert any("-b-" in name for name in await system.exchange.open_client_ids()), "the backstop stays too"
    ready_at = await start_trader(system)
    await covered_in_time(system, ready_at)
    await played_to_its_end(system, trade_id)


async def test_the_gateway_is_killed_between_alerts(system: SystemWorld) -> None:
    body = alert()
    first, _ = await system.post(body)
    assert first.status_code == 200
    trade_id = str(first.json()["id"])
    await system.kill("gateway")
    await system.stack.launch("gateway")
    await system.until("health", system.is_healthy)
    again, _ = await system.post(body)
    assert (again.status_code, again.json()) == (200, {"status": "duplicate", "id": trade_id})
    other, _ = await system.post(alert("BUY"))
    assert (other.status_code, other.json()["code"]) == (422, "already_in_trade")
    await played_to_its_end(system, trade_id)


async def test_the_stream_node_is_killed_while_a_trade_lives(system: SystemWorld) -> None:
    """Its trade is managed on; new alerts are refused by name until it is back."""
    trade_id = await traded(system)
    await system.kill("stream")

    async def refused_for_the_feed() -> bool:
        return any("market price is" in problem or "warming up" in problem for problem in await system.problems())

    await system.until("a truthful health", refused_for_the_feed)
    await system.simulator.play("1:0,2:-0.8,8:0")
    await played_to_its_end(system, trade_id)
    refused, _ = await system.post(alert())
    assert (refused.status_code, refused.json()["code"]) in [(422, "stale_price"), (422, "stale_bars")]
    await system.stack.launch("stream")
    await system.at_ease()
    await played_to_its_end(system, await traded(system))


async def test_redis_is_killed_and_comes_back(system: SystemWorld) -> None:
    """While it is gone alerts are refused with 503; nothing accepted before is lost or doubled; everybody reconnects."""
    body = alert()
    answer, _ = await system.post(body)
    trade_id = str(answer.json()["id"])
    await system.all_protected(trade_id)
    pid = system.stack.redis.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    down, took_s = await system.post(alert())
    assert (down.status_code, down.json()["code"]) == (503, "inbox_unavailable")
    assert took_s <= 2.5
    await system.stack.redis.start()
    await system.until("health after Redis came back", system.is_healthy, PATIENCE_S)
    again, _ = await system.post(body)
    assert again.json() == {"status": "duplicate", "id": trade_id}
    await played_to_its_end(system, trade_id)
    await system.at_ease()
    await played_to_its_end(system, await traded(system))
    for name in ("stream", "trader", "gateway"):
        system.stack.children[name].check()


async def test_an_alert_waits_for_a_trader_that_is_away(system: SystemWorld) -> None:
    """Accepted while nobody trades: taken after the restart if it is still fresh, and then exactly once. Whoever stands where the
    trader listened is told of it ahead."""
    hints = hints_path(system.stack.journal_path)
    assert hints.is_socket()
    await system.kill("trader")
    told: list[AlertEnvelope | None] = []
    stand_in = RedisInbox(system.stack.redis_url, hints=hints)
    stand_in.think_ahead(told.append)
    body = alert()
    answer, took_s = await system.post(body)
    assert (answer.status_code, answer.json()["status"]) == (200, "accepted")
    assert took_s <= 2.5
    trade_id = str(answer.json()["id"])
    assert [ahead and ahead.alert_id for ahead in told] == [None, trade_id]
    await stand_in.close()
    await start_trader(system)

    async def taken() -> bool:
        return await system.journal.alert(trade_id) is not None

    await system.until("the alert in the journal", taken)
    record = await system.journal.alert(trade_id)
    assert record is not None
    assert record.code in ("", "stale_alert", "stale_price", "stale_bars", "equity_unknown"), record
    if not record.code:
        await played_to_its_end(system, trade_id)
    again, _ = await system.post(body)
    assert again.json() == {"status": "duplicate", "id": trade_id}
