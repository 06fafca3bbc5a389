"""The bridge between a double of AWS and a real inbox: nothing lost, nothing twice, nothing that delays what matters."""

import asyncio
import importlib
import json
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from aws_site import BUCKET, NAMES, REGION, SITE, WEBHOOK_TOKEN, AwsSite, Context, aws_site, url_event
from manual_clock import ManualClock
from storage_samples import a_closing, a_plan, an_alert

from app.bridge.alerts import AlertBridge
from app.bridge.commands import CommandBridge
from app.bridge.exports import Exporter, into_bucket, into_folder
from app.bridge.notices import NoticeDesk
from app.bridge.service import run_bridge
from app.bridge.status import StatusShelf
from app.bus.embedded import EmbeddedRedis
from app.bus.envelopes import envelope_for
from app.bus.port import InboxItem
from app.bus.redis import RedisInbox
from app.clock import SystemClock
from app.cloud.messages import QueuedCommand
from app.cloud.site import Site, connect_site
from app.cloud.topics import Notice
from app.domain.signal import Alert, parse_alert
from app.domain.signal_rules import SignalRules
from app.storage.archive import day_of, read_trades
from app.storage.port import Note
from app.storage.sqlite import JournalReader, SqliteJournal

PATIENCE = 10.0
BUY = b'{"symbol": "BTCUSDT.P", "side": "buy", "sl": 84600}'
NOW_MS = 1_765_000_000_000


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[AwsSite]:
    with aws_site(monkeypatch) as made:
        for name, value in (("ALERTS_QUEUE_URL", made.queues["alerts"]), ("SECRET_WEBHOOK_TOKEN", NAMES.secret("webhook-token"))):
            monkeypatch.setenv(name, value)
        yield made


@pytest.fixture
async def site(aws: AwsSite) -> Site:
    return await connect_site(SITE, REGION)


class RedisWorld:
    """A server that can be killed, and whoever speaks to it."""

    def __init__(self, folder: Path) -> None:
        self.server = EmbeddedRedis(folder, SystemClock())
        self._inboxes: list[RedisInbox] = []

    def inbox(self) -> RedisInbox:
        self._inboxes.append(RedisInbox(self.server.url))
        return self._inboxes[-1]

    def kill(self) -> None:
        assert self.server.pid is not None
        os.kill(self.server.pid, signal.SIGKILL)

    async def close(self) -> None:
        for inbox in self._inboxes:
            await inbox.close()
        await self.server.stop()


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncIterator[RedisWorld]:
    world = RedisWorld(tmp_path / "redis")
    await world.server.start()
    yield world
    await world.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@dataclass
class Node:
    """Both sides of the inbox, and the bridge's parts on it. The clock is the node's."""

    inbox: RedisInbox
    trader: RedisInbox
    alerts: AlertBridge
    commands: CommandBridge
    clock: ManualClock
    notices: list[Notice]
    tasks: list[asyncio.Task[None]]

    async def taken(self, count: int) -> list[InboxItem]:
        items: list[InboxItem] = []
        while len(items) < count:
            more = await self.trader.take(PATIENCE)
            assert more, f"{len(items)} of {count} came"
            items += more
        return items

    async def nothing_more(self) -> bool:
        return not await self.trader.take(0)


@pytest.fixture
def node(site: Site, redis: RedisWorld) -> Node:
    inbox, clock, notices, tasks = redis.inbox(), ManualClock(NOW_MS), list[Notice](), list[asyncio.Task[None]]()
    alerts = AlertBridge(site.alerts, inbox, SignalRules(), clock, notices.append)
    commands = CommandBridge(site.commands, inbox, clock, lambda work: tasks.append(asyncio.create_task(work)), notices.append)
    return Node(inbox, redis.inbox(), alerts, commands, clock, notices, tasks)


async def send(body: bytes, at_ms: int = NOW_MS, path: str = f"/webhook/{WEBHOOK_TOKEN}") -> dict[str, Any]:
    """By the fallback webhook itself."""
    module = importlib.import_module("lambdas.webhook_fallback.handler")
    answer = await asyncio.to_thread(module.handler, url_event("POST", path, body.decode(), at_ms=at_ms), Context())
    assert answer["statusCode"] == 200, answer
    return dict(answer)


async def test_an_alert_by_the_lambda_is_the_alert_the_gateway_would_have_put(aws: AwsSite, node: Node) -> None:
    await send(BUY)
    assert await node.alerts.carry(0) == 1
    (item,) = await node.taken(1)
    parsed = parse_alert(BUY)
    assert isinstance(parsed, Alert)
    direct = envelope_for(parsed, BUY, NOW_MS, 0.0)
    assert replace(item.envelope, received_at=0.0, age_ms=0) == direct
    assert aws.waiting("alerts") == 0


@pytest.mark.parametrize("body", [BUY, BUY[:-1] + b', "token": "%s"}' % WEBHOOK_TOKEN.encode()], ids=["plain", "with its token"])
async def test_four_deliveries_by_two_routes_are_one_alert(aws: AwsSite, node: Node, body: bytes) -> None:
    parsed = parse_alert(body)
    assert isinstance(parsed, Alert)
    await node.inbox.put(envelope_for(parsed, body, NOW_MS - 40, 0.0))  # the gateway's own
    for number in range(3):
        await send(body, NOW_MS + number)
    assert await node.alerts.carry(0) == 3
    assert len(await node.taken(1)) == 1
    assert await node.nothing_more()
    assert aws.waiting("alerts") == 0


async def test_an_alert_is_as_old_as_its_receipt_by_the_lambda(node: Node) -> None:
    await send(BUY, NOW_MS - 12_000)
    await node.alerts.carry(0)
    (item,) = await node.taken(1)
    assert item.age_ms >= 12_000
    assert node.clock.monotonic() - item.envelope.received_at == pytest.approx(12.0)


async def test_a_node_whose_clock_is_behind_makes_no_alert_younger_than_the_queue_says(
    aws: AwsSite, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    await send(BUY, NOW_MS + 60_000)
    receive = aws.client("sqs").receive_message

    class Slow:
        """The same queue, in which a message lay for 11 s."""

        def __getattr__(self, name: str) -> Any:
            return getattr(aws.client("sqs"), name)

        def receive_message(self, **arguments: Any) -> dict[str, Any]:
            answer: dict[str, Any] = receive(**arguments)
            for message in answer.get("Messages", []):
                sent = int(message["Attributes"]["SentTimestamp"])
                message["Attributes"]["ApproximateFirstReceiveTimestamp"] = str(sent + 11_000)
            return answer

    monkeypatch.setattr(node.alerts._queue, "_client", Slow())
    await node.alerts.carry(0)
    (item,) = await node.taken(1)
    assert item.age_ms >= 11_000


async def test_an_inbox_that_is_down_loses_nothing(aws: AwsSite, node: Node, redis: RedisWorld) -> None:
    await send(BUY)
    redis.kill()
    carrying = asyncio.create_task(node.alerts.carry(0))
    await until(lambda: bool(node.clock._sleepers))  # it has failed and waits
    assert aws.waiting("alerts") == 1
    await redis.server.start()

    def time_passes() -> bool:
        node.clock.advance(1.0)
        return carrying.done()

    await until(time_passes)
    assert await carrying == 1
    (item,) = await node.taken(1)
    assert item.age_ms >= 1_000  # it grew older meanwhile
    assert aws.waiting("alerts") == 0


async def test_a_bridge_that_dies_before_the_deletion_brings_no_second_alert(
    aws: AwsSite, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def die(_message: object) -> None:
        raise asyncio.CancelledError

    await send(BUY)
    with monkeypatch.context() as patch:
        patch.setattr(node.alerts._queue, "delete", die)
        with pytest.raises(asyncio.CancelledError):
            await node.alerts.carry(0)
    assert aws.waiting("alerts") == 1
    (raw,) = _all_visible_again(aws)
    await node.alerts._take(raw)
    assert len(await node.taken(1)) == 1
    assert await node.nothing_more()
    assert aws.waiting("alerts") == 0


def _all_visible_again(aws: AwsSite) -> list[Any]:
    """What the queue gives out once its time of invisibility is over."""
    from moto.sqs.models import sqs_backends

    from app.cloud.queues import _message

    queue = sqs_backends["123456789012"][REGION].queues[NAMES.queue("alerts")]
    for message in queue._messages:
        message.change_visibility(0)
    queue.deleted_messages.clear()
    queue.pending_message_groups.clear()
    found = aws.client("sqs").receive_message(
        QueueUrl=aws.queues["alerts"], MessageSystemAttributeNames=["All"], VisibilityTimeout=10
    )
    return [_message(raw) for raw in found["Messages"]]


@pytest.mark.parametrize(
    ("body", "path", "code"),
    [
        (b"buy now", "/webhook", "not_json"),
        (b'{"symbol": "BTCUSDT"}', "/webhook", "side_missing_or_unresolved"),
        (b'{"symbol": "BTCUSDT", "action": "buy"}', "/binance/advanced-trading-webhook", "invalid_balance_percentage"),
    ],
)
async def test_what_is_no_alert_is_told_to_people_and_leaves_the_queue(
    aws: AwsSite, node: Node, body: bytes, path: str, code: str
) -> None:
    await send(body, path=f"{path}/{WEBHOOK_TOKEN}")
    assert await node.alerts.carry(0) == 1
    (notice,) = node.notices
    assert notice.text.startswith(f"{code}: ")
    assert await node.nothing_more()
    assert aws.waiting("alerts") == 0


async def test_an_advanced_request_comes_through_too(node: Node) -> None:
    body = b'{"symbol": "ETHUSDT", "action": "close"}'
    await send(body, path=f"/api/binance/advanced-trading-webhook/{WEBHOOK_TOKEN}")
    await node.alerts.carry(0)
    (item,) = await node.taken(1)
    assert (item.envelope.source, item.envelope.body["action"]) == ("advanced", "close")


async def test_an_unreadable_message_becomes_a_dead_letter_and_holds_up_nothing(aws: AwsSite, node: Node) -> None:
    queue = {"QueueUrl": aws.queues["alerts"], "MessageGroupId": "alerts"}
    aws.client("sqs").send_message(MessageBody="what is this", MessageDeduplicationId="1", **queue)
    await send(BUY)
    for _ in range(10):
        await node.alerts.carry(0)
    assert len(await node.taken(1)) == 1
    assert (aws.waiting("alerts"), aws.waiting("alerts-dlq")) == (0, 1)


# --- commands -----------------------------------------------------------------------------------------------------------


def command(aws: AwsSite, name: str, at_ms: int = NOW_MS, **arguments: str) -> None:
    """As the control API sends one."""
    message = QueuedCommand(f"id-of-{name}", at_ms, {"command": name, **arguments})
    queue = {"QueueUrl": aws.queues["commands"], "MessageGroupId": "commands", "MessageDeduplicationId": message.id}
    aws.client("sqs").send_message(MessageBody=message.encode(), **queue)


async def test_a_command_is_the_operators_and_its_outcome_is_remembered(aws: AwsSite, node: Node) -> None:
    command(aws, "pause")
    await node.commands.carry(0)
    (item,) = await node.taken(1)
    assert (item.envelope.source, item.envelope.body) == ("operator", {"command": "pause"})
    assert [outcome["status"] for outcome in node.commands.outcomes] == ["accepted"]
    await node.trader.reply(item.envelope.alert_id, {"status": "done", "command": "pause", "state": {"equity": "1"}})
    await asyncio.wait_for(asyncio.gather(*node.tasks), PATIENCE)
    assert list(node.commands.outcomes) == [{"id": "id-of-pause", "command": "pause", "received_ms": NOW_MS, "status": "done"}]
    assert aws.waiting("commands") == 0


async def test_a_refused_command_says_why(aws: AwsSite, node: Node) -> None:
    command(aws, "close", trade_id="abc")
    await node.commands.carry(0)
    (item,) = await node.taken(1)
    await node.trader.reply(item.envelope.alert_id, {"http_status": 422, "code": "trade_not_live", "error": "no such trade"})
    await asyncio.wait_for(asyncio.gather(*node.tasks), PATIENCE)
    outcome = node.commands.outcomes[-1]
    assert (outcome["status"], outcome["code"], outcome["error"]) == ("refused", "trade_not_live", "no such trade")


async def test_a_command_delivered_again_is_obeyed_once(aws: AwsSite, node: Node) -> None:
    command(aws, "flatten")
    message = (await node.commands._queue.receive(0))[0]
    await node.commands._take(message)
    await node.commands._take(message)
    assert len(await node.taken(1)) == 1
    assert await node.nothing_more()
    for task in node.tasks:
        task.cancel()


STOPPING, LETTING_TRADE = ("pause", "flatten", "disarm"), ("resume", "arm")


@pytest.mark.parametrize(
    ("name", "age_s", "obeyed"),
    [(name, age_s, age_s < 901) for name in STOPPING for age_s in (301, 899, 901)]
    + [(name, age_s, age_s < 301) for name in LETTING_TRADE for age_s in (299, 301)],
)
async def test_a_command_from_before_an_outage_is_not_obeyed_and_people_are_told(
    aws: AwsSite, node: Node, name: str, age_s: int, obeyed: bool
) -> None:
    command(aws, name, NOW_MS - age_s * 1000)
    await node.commands.carry(0)
    assert await node.nothing_more() is not obeyed
    assert [outcome["status"] for outcome in node.commands.outcomes] == ["accepted" if obeyed else "expired"]
    told = [] if obeyed else [f"not obeyed, too late: {name}"]
    assert [notice.subject for notice in node.notices] == told
    assert aws.waiting("commands") == 0
    for task in node.tasks:
        task.cancel()


# --- status -------------------------------------------------------------------------------------------------------------


async def test_status_is_put_on_changes_and_now_and_then(aws: AwsSite, node: Node, site: Site) -> None:
    shelf = StatusShelf(node.inbox, site.bucket, SITE, node.commands.outcomes, node.clock)
    await node.trader.beat("trader", {"state": "ACTIVE", "equity": "1000"})
    assert await shelf.keep()
    await node.trader.beat("trader", {"state": "ACTIVE", "equity": "1001"})
    assert not await shelf.keep()
    await node.trader.beat("trader", {"state": "HALTED", "equity": "1001"})
    assert await shelf.keep()
    assert json.loads(aws.object("snapshots/status.json")) == {
        "site": SITE,
        "at_ms": node.clock.wall_ms(),
        "inbox": "ok",
        "trader": {"state": "HALTED", "equity": "1001"},
        "commands": [],
    }
    node.clock.advance(31)
    assert await shelf.keep()


# --- notices and exports --------------------------------------------------------------------------------------------------


@asynccontextmanager
async def journal_of(tmp_path: Path) -> AsyncIterator[SqliteJournal]:
    journal = SqliteJournal(tmp_path / "journal.sqlite")
    await journal.open()
    yield journal
    await journal.close()


def note(kind: str, data: dict[str, Any], trade_id: str = "", wall_ms: int = NOW_MS) -> Note:
    return Note(trade_id, kind, wall_ms, wall_ms, data)


async def test_the_journals_news_reach_people_in_order_and_once(aws: AwsSite, site: Site, tmp_path: Path) -> None:
    clock, place = ManualClock(NOW_MS), tmp_path / "bridge.json"
    async with journal_of(tmp_path) as journal:
        journal.append(note("paused", {"reason": "operator"}))  # before the first start
        await journal.flush()
        reader = JournalReader(tmp_path / "journal.sqlite")
        desk = NoticeDesk(reader, site.topics, place, clock)
        assert await desk.tell() == 0
        await journal.open_trade(an_alert(1), a_plan(1))
        entered = {"quantity": "0.018", "average_entry": "85003.10", "r_per_unit": "403.1"}
        journal.append(note("order_sent", {"client_id": "x"}, "trade1"))
        journal.append(note("entered", entered, "trade1"))
        journal.append(note("stop_escalated", {"leg": 0, "symbol": "BTCUSDT"}, "trade1"))
        journal.append(note("breaker_tripped", {"breaker": "day_halt", "reason": "-3.1 R today"}))
        journal.append(a_closing("trade1"))
        await journal.flush()
        assert await desk.tell() == 4
        assert await desk.tell() == 0
        # A new process goes on from where the last one was.
        journal.append(note("paused", {"reason": "closed_externally"}))
        await journal.flush()
        assert await NoticeDesk(reader, site.topics, place, clock).tell() == 1
    told = [(record["TopicArn"].rpartition("-")[2], record["Subject"]) for record in aws.published()]
    assert told == [
        ("info", "tokyo: BTCUSDT BUY opened"),
        ("critical", "tokyo: BTCUSDT BUY: no answer to the stop, a second one is sent"),
        ("critical", "tokyo: breaker tripped: day_halt"),
        ("info", f"tokyo: BTCUSDT BUY closed {a_closing().net_r:+.2f} R"),
        ("critical", "tokyo: trading paused: closed_externally"),
    ]


async def test_an_older_journal_that_was_restored_has_news_again(aws: AwsSite, site: Site, tmp_path: Path) -> None:
    place = tmp_path / "bridge.json"
    place.write_text('{"note": 5000, "closing": 70}')
    async with journal_of(tmp_path) as journal:
        desk = NoticeDesk(JournalReader(tmp_path / "journal.sqlite"), site.topics, place, ManualClock(NOW_MS))
        assert await desk.tell() == 0
        journal.append(note("paused", {"reason": "one"}))
        await journal.flush()
        assert await desk.tell() == 1
    assert len(aws.published()) == 1


async def test_many_notices_come_in_order_over_several_looks(aws: AwsSite, site: Site, tmp_path: Path) -> None:
    async with journal_of(tmp_path) as journal:
        desk = NoticeDesk(JournalReader(tmp_path / "journal.sqlite"), site.topics, tmp_path / "bridge.json", ManualClock(NOW_MS))
        await desk.tell()
        for number in range(120):
            journal.append(note("component", {"tag": "x"}))
            journal.append(note("paused", {"reason": str(number)}))
        await journal.flush()
        assert [await desk.tell() for _ in range(4)] == [50, 50, 20, 0]
    assert [record["Subject"].rpartition(" ")[2] for record in aws.published()] == [str(number) for number in range(120)]


async def test_sns_that_fails_delays_notices_and_loses_none(
    aws: AwsSite, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.cloud.errors import CloudUnavailable

    clock = ManualClock(NOW_MS)
    publish, failures = site.topics._publish, iter([False, True])

    def sometimes(notice: Notice) -> None:
        if next(failures, False):
            raise CloudUnavailable("AWS: no answer")
        publish(notice)

    async with journal_of(tmp_path) as journal:
        desk = NoticeDesk(JournalReader(tmp_path / "journal.sqlite"), site.topics, tmp_path / "bridge.json", clock)
        await desk.tell()
        for reason in ("one", "two"):
            journal.append(note("paused", {"reason": reason}))
        await journal.flush()
        monkeypatch.setattr(type(site.topics), "_publish", lambda _self, notice: sometimes(notice))
        with pytest.raises(CloudUnavailable):
            await desk.tell()
        journal.append(note("paused", {"reason": "three"}))
        await journal.flush()
        await desk.tell()
        await desk.tell()
    subjects = [record["Subject"].rpartition(" ")[2] for record in aws.published()]
    assert subjects == ["one", "two", "three"]


async def test_after_a_long_silence_old_notices_are_counted_not_sent(aws: AwsSite, site: Site, tmp_path: Path) -> None:
    async with journal_of(tmp_path) as journal:
        desk = NoticeDesk(JournalReader(tmp_path / "journal.sqlite"), site.topics, tmp_path / "bridge.json", ManualClock(NOW_MS))
        await desk.tell()
        for age_s in (7_200, 5_000, 10):
            journal.append(note("paused", {"reason": f"{age_s}"}, wall_ms=NOW_MS - age_s * 1000))
        await journal.flush()
        await desk.tell()
    assert [record["Subject"] for record in aws.published()] == ["tokyo: trading paused: 10", "tokyo: 2 notices were not sent"]


async def test_days_are_exported_once_and_read_back_whole(aws: AwsSite, site: Site, tmp_path: Path) -> None:
    closing = a_closing("trade1")
    clock, day = ManualClock(closing.exchange_ms), day_of(closing.exchange_ms)
    async with journal_of(tmp_path) as journal:
        reader = JournalReader(tmp_path / "journal.sqlite")
        exporter = Exporter(reader, into_bucket(site.bucket), clock)
        assert await exporter.export_recent() == []
        await journal.open_trade(an_alert(1), a_plan(1))
        journal.append(note("entered", {"β": 1}, "trade1", closing.exchange_ms))
        journal.append(closing)
        await journal.flush()
        written = await exporter.export_recent()
        assert f"{day}/trades.jsonl" in written
        assert f"{day}/notes.jsonl" in written
        assert await exporter.export_recent() == []
        (trade,) = read_trades(aws.object(f"journal/{day}/trades.jsonl"))
        assert (trade.trade_id, trade.net_r) == ("trade1", closing.net_r)
        assert trade.equity == Decimal("1000.00000001")
        await Exporter(reader, into_folder(tmp_path / "out"), clock).export(day)
        # A process that was away for some days catches up.
        later = Exporter(reader, into_folder(tmp_path / "later"), ManualClock(closing.exchange_ms + 5 * 86_400_000))
        assert await later.export_recent() == written
        assert await later.export_recent() == []
    for name in written:
        assert (tmp_path / "out" / name).read_bytes() == aws.object(f"journal/{name}")


async def test_where_no_trader_ever_ran_there_is_nothing_to_tell_and_no_fault(aws: AwsSite, site: Site, tmp_path: Path) -> None:
    clock, reader = ManualClock(NOW_MS), JournalReader(tmp_path / "journal.sqlite")
    desk = NoticeDesk(reader, site.topics, tmp_path / "bridge.json", clock)
    exporter = Exporter(reader, into_bucket(site.bucket), clock)
    assert (await desk.tell(), await exporter.export_recent()) == (0, [])
    async with journal_of(tmp_path) as journal:
        assert await desk.tell() == 0
        journal.append(note("paused", {"reason": "closed_externally"}))
        await journal.flush()
        assert await desk.tell() == 1
        assert await exporter.export_recent() != []


# --- the whole ------------------------------------------------------------------------------------------------------------


async def test_the_process_carries_alerts_and_keeps_its_status(
    aws: AwsSite, site: Site, redis: RedisWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real time, the real inbox; without a journal yet, which must not keep alerts from coming."""
    monkeypatch.setattr("app.bridge.service.POLL_S", 1)
    stop, inbox, trader = asyncio.Event(), redis.inbox(), redis.inbox()
    reader = JournalReader(tmp_path / "journal.sqlite")
    work = run_bridge(site, inbox, reader, tmp_path / "bridge.json", SignalRules(), SystemClock(), stop)
    running = asyncio.create_task(work)
    await send(BUY, SystemClock().wall_ms())
    (item,) = await trader.take(PATIENCE)
    assert item.age_ms < 5_000
    await until(lambda: "Contents" in aws.client("s3").list_objects_v2(Bucket=BUCKET, Prefix="snapshots/"))
    stop.set()
    await asyncio.wait_for(running, PATIENCE)
