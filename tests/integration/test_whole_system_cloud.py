"""The whole system as a node of a site: its processes real, AWS a server beside them.

Settings and secrets come from there, alerts and commands by its queues; status, notices and the journal's days go there.
"""

import json
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from aws_site import NAMES, REGION, SITE, WEBHOOK_TOKEN, AwsSite, served_aws_site
from system_world import STORY, SystemWorld, system_world

from app.cloud.messages import Address, QueuedAlert, QueuedCommand
from app.storage.archive import day_of, read_trades

pytestmark = pytest.mark.timeout(240)
BUY = '{"symbol": "BTCUSDT.P", "side": "buy", "id": "by-two-routes"}'


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[AwsSite]:
    with served_aws_site(monkeypatch) as site:
        site.put_secret(NAMES.secret("exchange"), '{"api_key": "paper", "api_secret": "paper"}')
        site.put_parameter("rules/sizing/risk", "0.004")
        monkeypatch.setenv("QC_AUTH__TOKEN", WEBHOOK_TOKEN)
        yield site


@pytest.fixture
async def system(aws: AwsSite, tmp_path: Path) -> AsyncIterator[SystemWorld]:
    node = {"QC_CLOUD__SITE": SITE, "QC_CLOUD__REGION": REGION}
    async with system_world(tmp_path, ("--synthetic", "7"), STORY | node) as world:
        await world.stack.launch("bridge")
        await world.at_ease()
        yield world


def queue_alert(aws: AwsSite, system: SystemWorld, number: int) -> None:
    """As the fallback webhook does."""
    alert = QueuedAlert(Address.ALERTS, BUY.encode(), system.clock.wall_ms())
    _send(aws, "alerts", alert.encode(), f"delivery-{number}")


def queue_command(aws: AwsSite, system: SystemWorld, name: str) -> None:
    """As the control API does."""
    command = QueuedCommand(f"{name}-{system.clock.wall_ms()}", system.clock.wall_ms(), {"command": name})
    _send(aws, "commands", command.encode(), command.id)


def _send(aws: AwsSite, queue: str, body: str, name: str) -> None:
    where = {"QueueUrl": aws.queues[queue], "MessageGroupId": queue}
    aws.client("sqs").send_message(MessageBody=body, MessageDeduplicationId=name, **where)


async def test_a_trade_by_way_of_aws(aws: AwsSite, system: SystemWorld) -> None:
    for number in range(2):
        queue_alert(aws, system, number)
    (trade_id,) = await system.until("a trade", lambda: _live_trades(system))
    stored = await system.noted(trade_id, "entered", "protected")
    assert stored.plan.rules.sizing.risk == Decimal("0.004")  # the site's parameter
    answer, _ = await system.post(BUY)  # the same alert by the gateway, with the site's token
    assert (answer.status_code, answer.json()) == (200, {"status": "duplicate", "id": trade_id})

    queue_command(aws, system, "pause")
    queue_command(aws, system, "flatten")
    closed = await system.closed(trade_id)
    assert closed.closed is not None
    assert await system.audit(closed) == []
    status = await system.until("both commands done in the status", lambda: _when_done(aws))
    assert (status["trader"]["paused"], status["inbox"]) == ("operator", "ok")

    heard: list[str] = []
    told = await system.until("what people are told", lambda: _told(aws, heard))
    assert {"trade_opened", "paused", "operator", "trade_closed"} <= set(told)
    assert (aws.waiting("alerts"), aws.waiting("commands")) == (0, 0)
    _no_secret_in(system)

    await system.kill("bridge")  # what it had told is not told again, and the day is exported when it is back
    await system.stack.launch("bridge")
    day = day_of(closed.closed.exchange_ms)
    if day == day_of(system.clock.wall_ms()):
        trades = await system.until("the exported day", lambda: _exported(aws, f"journal/{day}/trades.jsonl"))
        assert [trade.trade_id for trade in trades] == [trade_id]


async def _live_trades(system: SystemWorld) -> list[str]:
    beat = await system.inbox.last_beat("trader")
    return list(beat["trades"]) if beat is not None else []


async def _when_done(aws: AwsSite) -> dict[str, Any] | None:
    said: dict[str, Any] = json.loads(aws.object("snapshots/status.json"))
    return said if [command["status"] for command in said["commands"]] == ["done", "done"] else None


async def _told(aws: AwsSite, heard: list[str]) -> list[str] | None:
    heard += [record["MessageAttributes"]["kind"]["Value"] for record in aws.published()]
    return heard if "trade_closed" in heard else None


async def _exported(aws: AwsSite, key: str) -> Any:
    try:
        return read_trades(aws.object(key))
    except aws.client("s3").exceptions.NoSuchKey:
        return None


def _no_secret_in(system: SystemWorld) -> None:
    """No process wrote one down."""
    for path in system.directory.rglob("*"):
        if path.is_file() and "redis" not in path.parts:
            assert WEBHOOK_TOKEN.encode() not in path.read_bytes(), path
