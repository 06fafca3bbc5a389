"""What every bus adapter promises, loss of the connection and death of the reader included."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from bus_worlds import BusWorld, MemoryWorld, RedisWorld
from manual_clock import ManualClock

from app.bus.connection import connect
from app.bus.in_memory import InMemoryServer
from app.bus.port import AlertEnvelope, BusUnavailable
from app.bus.redis import RedisMarketBus
from app.domain.market import (
    MINUTE_MS,
    Bar,
    BarIndicators,
    BetaReading,
    ChangeOfCharacter,
    FlowReading,
    MarkPrice,
    OrderBlockView,
    Quote,
    RegimeReading,
    StreamHealth,
    StructureReading,
)

PATIENCE = 5.0


@pytest.fixture(params=["memory", "redis"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BusWorld]:
    if request.param == "memory":
        clock = ManualClock()
        yield MemoryWorld(clock, InMemoryServer(clock))
        return
    redis = RedisWorld(tmp_path / "redis")
    await redis.redis.start()
    yield redis
    await redis.close()


def alert(number: int = 1, key: str | None = None, ttl_s: int = 90) -> AlertEnvelope:
    return AlertEnvelope(
        alert_id=f"alert{number}",
        key=key or f"key{number}",
        key_ttl_s=ttl_s,
        body={"symbol": "BTCUSDT", "side": "BUY", "sl": "84600.10", "note": "β"},
        received_ms=1_765_000_000_000,
        received_at=12.5,
    )


class Ahead:
    """What a reader was told before it could take it."""

    def __init__(self) -> None:
        self.envelopes: list[AlertEnvelope | None] = []
        self._news = asyncio.Event()

    def hear(self, envelope: AlertEnvelope | None) -> None:
        self.envelopes.append(envelope)
        self._news.set()

    async def told(self, count: int) -> list[AlertEnvelope | None]:
        async with asyncio.timeout(PATIENCE):
            while len(self.envelopes) < count:
                self._news.clear()
                await self._news.wait()
        return self.envelopes


async def test_an_alert_that_came_a_long_way_is_as_old_as_its_receipt(world: BusWorld) -> None:
    gateway, trader = world.inbox(), world.inbox()
    await gateway.put(replace(alert(1), age_ms=7_000))
    (item,) = await trader.take(PATIENCE)
    assert 7_000 <= item.age_ms < 12_000


def quote(bid: str = "85000.1", symbol: str = "BTCUSDT") -> Quote:
    return Quote(symbol, Decimal(bid), Decimal("0.500"), Decimal("85000.2"), Decimal(1), 1_765_000_000_000)


def bar(number: int, symbol: str = "BTCUSDT", interval_ms: int = 60_000) -> Bar:
    return Bar(symbol, interval_ms, number * interval_ms, 85000.1, 85010.0, 84990.0, 85005.5 + number, 12.25)


async def test_an_alert_arrives_as_it_was_sent(world: BusWorld) -> None:
    assert await world.inbox().put(alert()) is None
    (item,) = await world.inbox().take(PATIENCE)
    assert item.envelope == alert()
    assert not item.redelivered
    assert 0 <= item.age_ms < 5_000


async def test_alerts_come_in_the_order_they_were_put(world: BusWorld) -> None:
    writer = world.inbox()
    for number in range(5):
        await writer.put(alert(number))
    assert [item.envelope.alert_id for item in await world.inbox().take(PATIENCE)] == [f"alert{n}" for n in range(5)]


async def test_take_wakes_for_a_new_alert(world: BusWorld) -> None:
    taking = asyncio.create_task(world.inbox().take(PATIENCE))
    await settle()
    await world.inbox().put(alert())
    (item,) = await asyncio.wait_for(taking, PATIENCE)
    assert item.envelope.alert_id == "alert1"


async def test_what_is_being_put_is_told_ahead_to_the_newest_reader(world: BusWorld) -> None:
    """Also what turns out to be a repeat: it is known only then."""
    former, reader = Ahead(), Ahead()
    world.inbox().think_ahead(former.hear)
    trader = world.inbox()
    trader.think_ahead(reader.hear)
    await world.inbox().put(alert(1))
    await world.inbox().put(alert(2, key="key1"))
    assert await reader.told(2) == [alert(1), alert(2, key="key1")]
    assert former.envelopes == []
    assert [item.envelope for item in await trader.take(PATIENCE)] == [alert(1)]


async def test_what_was_told_ahead_but_could_not_be_put_is_never_handed_out(world: BusWorld) -> None:
    reader, trader = Ahead(), world.inbox()
    trader.think_ahead(reader.hear)
    await world.cut()
    with pytest.raises(BusUnavailable):
        await world.inbox().put(alert())
    assert await reader.told(1) == [alert()]
    await world.restore()
    assert await trader.take(0) == []


async def test_that_something_is_coming_is_told_before_what_it_is(world: BusWorld) -> None:
    reader, gateway, trader = Ahead(), world.inbox(), world.inbox()
    trader.think_ahead(reader.hear)
    gateway.announce()
    await gateway.put(alert())
    assert await reader.told(2) == [None, alert()]


async def test_alerts_are_put_when_nobody_thinks_ahead(world: BusWorld) -> None:
    world.inbox().announce()
    assert await world.inbox().put(alert()) is None


async def test_take_returns_empty_when_nothing_comes(world: BusWorld) -> None:
    assert await world.inbox().take(0) == []


async def test_of_concurrent_deliveries_one_is_enqueued(world: BusWorld) -> None:
    """Four processes, one key: one says new, the others name it."""
    answers = await asyncio.gather(*(world.inbox().put(alert(n, key="same")) for n in range(4)))
    assert answers.count(None) == 1
    winner = f"alert{answers.index(None)}"
    assert [answer for answer in answers if answer] == [winner] * 3
    assert [item.envelope.alert_id for item in await world.inbox().take(PATIENCE)] == [winner]


async def test_a_burst_is_taken_whole(world: BusWorld) -> None:
    inbox = world.inbox()
    assert await asyncio.gather(*(inbox.put(alert(number)) for number in range(200))) == [None] * 200
    taken: set[str] = set()
    while items := await inbox.take(0):
        taken.update(item.envelope.alert_id for item in items)
    assert taken == {f"alert{number}" for number in range(200)}


async def test_a_key_is_remembered_when_its_alert_is_done_and_forgotten_after_its_time(world: BusWorld) -> None:
    inbox = world.inbox()
    await inbox.put(alert(1, key="k", ttl_s=90))
    (item,) = await inbox.take(PATIENCE)
    await inbox.done(item)
    await world.pass_time(85)
    assert await inbox.put(alert(2, key="k")) == "alert1"
    await world.pass_time(6)
    assert await inbox.put(alert(3, key="k")) is None


async def test_what_a_dead_reader_had_taken_comes_first(world: BusWorld) -> None:
    writer, dead = world.inbox(), world.inbox()
    await writer.put(alert(1))
    await writer.put(alert(2))
    first, _ = await dead.take(PATIENCE)
    await dead.done(first)
    await writer.put(alert(3))
    successor = world.inbox()
    (left,) = await successor.take(PATIENCE)
    assert (left.envelope.alert_id, left.redelivered) == ("alert2", True)
    (new,) = await successor.take(PATIENCE)
    assert (new.envelope.alert_id, new.redelivered) == ("alert3", False)


async def test_a_done_alert_never_comes_again(world: BusWorld) -> None:
    reader = world.inbox()
    await reader.put(alert())
    (item,) = await reader.take(PATIENCE)
    await reader.done(item)
    assert await world.inbox().take(0) == []


async def test_a_reader_is_not_given_twice_what_it_still_holds(world: BusWorld) -> None:
    reader = world.inbox()
    await reader.put(alert())
    assert len(await reader.take(PATIENCE)) == 1
    await world.cut()
    with pytest.raises(BusUnavailable):
        await reader.take(0)
    await world.restore()
    assert await reader.take(0) == []


async def test_a_server_killed_between_put_and_take_loses_nothing(world: BusWorld) -> None:
    inbox = world.inbox()
    for number in range(3):
        await inbox.put(alert(number))
    await world.cut()
    with pytest.raises(BusUnavailable):
        await inbox.put(alert(9))
    await world.restore()
    assert [item.envelope.alert_id for item in await inbox.take(PATIENCE)] == ["alert0", "alert1", "alert2"]
    assert await inbox.put(alert(7, key="key1")) == "alert1"
    assert await inbox.put(alert(9)) is None


async def test_a_waiting_take_ends_when_the_server_dies(world: BusWorld) -> None:
    inbox = world.inbox()
    await inbox.take(0)
    taking = asyncio.create_task(inbox.take(60))
    await settle()
    await world.cut()
    with pytest.raises(BusUnavailable):
        await asyncio.wait_for(taking, PATIENCE)


async def test_a_cancelled_take_loses_nothing(world: BusWorld) -> None:
    inbox = world.inbox()
    taking = asyncio.create_task(inbox.take(60))
    await settle()
    putting = asyncio.create_task(world.inbox().put(alert()))
    taking.cancel()
    await putting
    assert [item.envelope.alert_id for item in await inbox.take(PATIENCE)] == ["alert1"]


@pytest.mark.parametrize("waiters", [1, 4])
async def test_a_reply_wakes_everyone_who_waits(world: BusWorld, waiters: int) -> None:
    waiting = [asyncio.create_task(world.inbox().wait_reply("a", PATIENCE)) for _ in range(waiters)]
    await settle()
    await world.inbox().reply("a", {"status": "trade placed", "http_status": 200})
    heard = await asyncio.wait_for(asyncio.gather(*waiting), PATIENCE)
    assert heard == [{"status": "trade placed", "http_status": 200}] * waiters


async def test_a_reply_is_never_missed_however_it_races(world: BusWorld) -> None:
    async def ask(number: int) -> Any:
        inbox = world.inbox() if number % 2 else shared
        return await inbox.wait_reply(f"r{number}", PATIENCE)

    shared = world.inbox()
    answers = [asyncio.create_task(ask(number)) for number in range(40)]
    for number in range(40):
        await shared.reply(f"r{number}", {"n": number})
    assert await asyncio.wait_for(asyncio.gather(*answers), PATIENCE) == [{"n": number} for number in range(40)]


async def test_a_reply_is_kept_for_a_day(world: BusWorld) -> None:
    inbox = world.inbox()
    await inbox.reply("a", {"status": "x"})
    await world.pass_time(86_390)
    assert await inbox.wait_reply("a", 0) == {"status": "x"}
    await world.pass_time(20)
    assert await inbox.wait_reply("a", 0) is None


async def test_waiting_for_a_reply_ends_at_its_timeout(world: BusWorld) -> None:
    waiting = asyncio.create_task(world.inbox().wait_reply("never", 0.05))
    await settle()
    await world.pass_time(0.06)
    assert await asyncio.wait_for(waiting, PATIENCE) is None


async def test_a_beat_is_forgotten_after_five_seconds(world: BusWorld) -> None:
    inbox = world.inbox()
    assert await inbox.last_beat("trader") is None
    await inbox.beat("trader", {"state": "ACTIVE"})
    await world.pass_time(4)
    assert await inbox.last_beat("trader") == {"state": "ACTIVE"}
    await world.pass_time(1.1)
    assert await inbox.last_beat("trader") is None


async def test_every_inbox_call_says_when_the_bus_is_gone(world: BusWorld) -> None:
    inbox = world.inbox()
    await inbox.put(alert())
    (item,) = await inbox.take(PATIENCE)
    await world.cut()
    calls = [
        lambda: inbox.put(alert(2)),
        lambda: inbox.take(0),
        lambda: inbox.done(item),
        lambda: inbox.reply("a", {}),
        lambda: inbox.wait_reply("a", 1),
        lambda: inbox.beat("trader", {}),
        lambda: inbox.last_beat("trader"),
    ]
    for call in calls:
        with pytest.raises(BusUnavailable):
            await asyncio.wait_for(call(), PATIENCE)


EVERY_KIND = [
    quote(),
    MarkPrice("BTCUSDT", Decimal("85000.10"), Decimal("0.00010000"), 1_765_000_800_000, 1_765_000_000_000),
    bar(1),
    BarIndicators("BTCUSDT", 180_000, 360_000, 85_000.1, 123.456, None, None, 2.5),
    BetaReading("ETHUSDT", "BTCUSDT", 1.1, 0.87, 0.55, 1000, 1_765_000_000_000),
    FlowReading("BTCUSDT", -12.25, 1.5, -0.25, 7.0, 130.5, None, 1_765_000_000_000),
    RegimeReading("BTCUSDT", 0.62, "trending", 0.0004, None, 1_765_000_000_000),
    StructureReading(
        "BTCUSDT",
        180_000,
        360_000,
        85_000.1,
        internal_bias=1,
        swing_bias=-1,
        range_top=85_500.5,
        range_bottom=None,
        blocks=(OrderBlockView(1, 84_720.0, 84_900.0, 180_000, None), OrderBlockView(-1, 85_100.0, 85_280.5, 0, 180_000)),
        internal_choch=ChangeOfCharacter(1, 540_000),
    ),
    StreamHealth(connected=True, warm=False, newest_event_ms=5, reason="warming up"),
]


async def test_market_messages_arrive_as_published_and_in_order(world: BusWorld) -> None:
    heard = world.market().subscribe()
    listener = asyncio.create_task(collect(heard, len(EVERY_KIND)))
    reader = world.market()
    await reader.latest()
    publisher = world.market()
    await ready(heard)
    await publisher.publish(EVERY_KIND)
    assert await asyncio.wait_for(listener, PATIENCE) == EVERY_KIND
    assert set(await reader.latest()) == set(EVERY_KIND)


async def test_latest_keeps_one_value_of_each_type_symbol_and_interval(world: BusWorld) -> None:
    market = world.market()
    await market.publish([quote("1"), quote("2"), quote("3", "ETHUSDT"), bar(1), bar(2), bar(1, interval_ms=180_000)])
    assert set(await world.market().latest()) == {quote("2"), quote("3", "ETHUSDT"), bar(2), bar(1, interval_ms=180_000)}


async def test_history_is_bounded_and_oldest_first(world: BusWorld) -> None:
    market = world.market(history=10)
    for start in (0, 7):
        await market.publish([bar(number) for number in range(start, start + 7)])
    await market.publish([bar(99, "ETHUSDT")])
    assert await world.market().history(Bar, "BTCUSDT", 50, MINUTE_MS) == [bar(number) for number in range(4, 14)]
    assert await world.market().history(Bar, "BTCUSDT", 2, MINUTE_MS) == [bar(12), bar(13)]
    assert await world.market().history(BarIndicators, "BTCUSDT", 5, MINUTE_MS) == []
    with pytest.raises(ValueError, match="no history of Quote"):
        await market.history(Quote, "BTCUSDT", 5)


async def test_histories_of_intervals_are_kept_apart(world: BusWorld) -> None:
    market = world.market()
    await market.publish([bar(number, interval_ms=interval) for number in range(3) for interval in (MINUTE_MS, 3 * MINUTE_MS)])
    betas = [BetaReading("ETHUSDT", "BTCUSDT", 1.1 + k / 10, 0.8, 0.6, 60, k * MINUTE_MS) for k in range(3)]
    await market.publish(betas)
    reader = world.market()
    assert await reader.history(Bar, "BTCUSDT", 2, 3 * MINUTE_MS) == [bar(k, interval_ms=3 * MINUTE_MS) for k in (1, 2)]
    assert await reader.history(BetaReading, "ETHUSDT", 5) == betas
    with pytest.raises(ValueError, match="history of Bar: name its interval"):
        await reader.history(Bar, "BTCUSDT", 2)
    with pytest.raises(ValueError, match="history of BetaReading: no interval"):
        await reader.history(BetaReading, "ETHUSDT", 2, MINUTE_MS)


async def test_nothing_falls_between_subscribe_and_latest(world: BusWorld) -> None:
    """Subscribe, then read the latest: every bar is in one or the other, however the publisher races."""
    publisher, reader = world.market(), world.market()
    publishing = asyncio.create_task(publish_bars(publisher, 60))
    heard = reader.subscribe()
    history = await reader.history(Bar, "BTCUSDT", 100, MINUTE_MS)
    missing = 60 - len(history)
    followed = await asyncio.wait_for(collect_until(heard, bar(59)), PATIENCE) if missing else []
    await publishing
    assert {*history, *followed} == {bar(number) for number in range(60)}


async def test_a_subscription_ends_with_the_connection(world: BusWorld) -> None:
    market = world.market()
    heard = market.subscribe()
    await ready(heard)
    await market.latest()
    following = asyncio.create_task(collect(heard, 1))
    await settle()
    await world.cut()
    with pytest.raises(BusUnavailable):
        await asyncio.wait_for(following, PATIENCE)
    with pytest.raises(BusUnavailable):
        await asyncio.wait_for(collect(market.subscribe(), 1), PATIENCE)
    for call in (lambda: market.latest(), lambda: market.publish([quote()]), lambda: market.history(Bar, "X", 1, MINUTE_MS)):
        with pytest.raises(BusUnavailable):
            await asyncio.wait_for(call(), PATIENCE)


async def test_a_subscription_ends_when_its_own_side_closes(world: BusWorld) -> None:
    market = world.market()
    waiting, later = market.subscribe(), market.subscribe()
    await ready(waiting)
    following = asyncio.create_task(collect(waiting, 1))
    await settle()
    await market.close()
    with pytest.raises(BusUnavailable):
        await asyncio.wait_for(following, PATIENCE)
    with pytest.raises(BusUnavailable):
        await asyncio.wait_for(collect(later, 1), PATIENCE)


async def test_a_subscription_can_be_made_again_after_the_connection_is_back(world: BusWorld) -> None:
    market = world.market()
    await world.cut()
    with pytest.raises(BusUnavailable):
        await market.latest()
    await world.restore()
    heard = market.subscribe()
    await ready(heard)
    await market.publish([quote()])
    assert await asyncio.wait_for(collect(heard, 1), PATIENCE) == [quote()]


async def test_the_lease_has_one_holder(world: BusWorld) -> None:
    mine, theirs = world.lease("me"), world.lease("them")
    assert await mine.acquire()
    assert await mine.acquire()
    assert not await theirs.acquire()
    assert not await theirs.renew()
    await theirs.release()
    assert await mine.renew()
    await mine.release()
    assert await theirs.acquire()
    assert not await mine.renew()


async def test_the_lease_runs_out_unless_renewed(world: BusWorld) -> None:
    mine, theirs = world.lease("me"), world.lease("them")
    await mine.acquire()
    await world.pass_time(4)
    assert await mine.renew()
    await world.pass_time(4)
    assert not await theirs.acquire()
    await world.pass_time(1.5)
    assert await theirs.acquire()
    assert not await mine.renew()


async def test_the_lease_says_when_the_bus_is_gone(world: BusWorld) -> None:
    lease = world.lease("me")
    await lease.acquire()
    await world.cut()
    with pytest.raises(BusUnavailable):
        await lease.renew()


@pytest.mark.parametrize("damaged", [b"[1,2]", b"not json", b'{"a": 1}', b'["a","a",90,[],0,0.0]'])
async def test_an_entry_of_another_release_is_set_aside(tmp_path: Path, damaged: bytes) -> None:
    world = RedisWorld(tmp_path)
    await world.redis.start()
    client = connect(world.redis.url)
    await client.xadd("qc:inbox", {"e": damaged})
    inbox = world.inbox()
    await inbox.put(alert())
    assert [item.envelope for item in await inbox.take(PATIENCE)] == [alert()]
    assert [entry for _, entry in await client.xrange("qc:inbox:unreadable")] == [{b"e": damaged}]
    assert [item.envelope for item in await world.inbox().take(PATIENCE)] == [alert()]
    await client.aclose()
    await world.close()


async def test_a_quiet_connection_is_kept_and_a_dead_one_found_out(tmp_path: Path) -> None:
    """A stopped server stands for a peer that is gone without a word."""
    world = RedisWorld(tmp_path)
    await world.redis.start()
    market = RedisMarketBus(world.redis.url, silence_s=0.05)
    heard = market.subscribe()
    await ready(heard)
    following = asyncio.create_task(collect(heard, 1))
    done, _ = await asyncio.wait((following,), timeout=0.5)
    assert not done
    await market.publish([quote()])
    assert await asyncio.wait_for(following, PATIENCE) == [quote()]
    assert world.redis.pid is not None
    os.kill(world.redis.pid, signal.SIGSTOP)
    try:
        with pytest.raises(BusUnavailable, match="silent"):
            await asyncio.wait_for(collect(heard, 1), PATIENCE)
    finally:
        os.kill(world.redis.pid, signal.SIGCONT)
    await market.close()
    await world.close()


async def settle() -> None:
    """Let tasks that were just made run up to where they wait."""
    for _ in range(5):
        await asyncio.sleep(0)


async def ready(subscription: Any) -> None:
    """The Redis subscription starts in the background; the in-process one at once."""
    started = getattr(subscription, "started", None)
    if started is not None:
        assert await asyncio.wait_for(asyncio.shield(started), PATIENCE) is None


async def collect(subscription: Any, count: int) -> list[Any]:
    heard = []
    async for message in subscription:
        heard.append(message)
        if len(heard) == count:
            break
    return heard


async def collect_until(subscription: Any, last: Any) -> list[Any]:
    heard = []
    async for message in subscription:
        heard.append(message)
        if message == last:
            break
    return heard


async def publish_bars(market: Any, count: int) -> None:
    for number in range(count):
        await market.publish([bar(number)])
