"""The control API behind its Function URL: the operator only, the trader's own request models, commands into the queue once."""

import importlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from aws_lambda_powertools.utilities import parameters
from aws_site import BUCKET, NAMES, OPERATOR_TOKEN, AwsSite, Context, url_event
from statistics_samples import closed

from app.cloud.messages import QueuedCommand
from app.domain.operator_requests import CommandName, read_request
from app.storage.archive import day_of
from app.storage.codec import dump

NOW_MS = 1_765_000_000_000
ADDRESSES = [("GET", "/status"), ("GET", "/trades"), ("GET", "/commands/abc"), ("POST", "/pause"), ("POST", "/close/abc")]
Call = Callable[..., tuple[int, Any]]


@pytest.fixture
def call(site: AwsSite) -> Iterator[Call]:
    module = importlib.import_module("lambdas.control_api.handler")
    parameters.clear_caches()

    def request(method: str, path: str, token: str | None = OPERATOR_TOKEN, **headers: str) -> tuple[int, Any]:
        given = headers if token is None else headers | {"authorization": f"Bearer {token}"}
        answer = module.handler(url_event(method, path, at_ms=NOW_MS, **given), Context())
        return answer["statusCode"], json.loads(answer["body"])

    yield request
    parameters.clear_caches()


def queued(site: AwsSite) -> list[QueuedCommand]:
    found = site.client("sqs").receive_message(QueueUrl=site.queues["commands"], MaxNumberOfMessages=10).get("Messages", [])
    return [QueuedCommand.decode(message["Body"]) for message in found]


def put_status(site: AwsSite, at_ms: int, **changes: Any) -> None:
    trader = {"state": "ACTIVE", "paused": "", "trades": ["abc"], "equity": "1012.5"}
    said = {"site": "tokyo", "at_ms": at_ms, "inbox": "ok", "trader": trader, "commands": []} | changes
    site.client("s3").put_object(Bucket=BUCKET, Key="snapshots/status.json", Body=json.dumps(said).encode())


@pytest.mark.parametrize("token", [None, "", "not the operator's token", f"{OPERATOR_TOKEN}x"])
@pytest.mark.parametrize(("method", "path"), ADDRESSES)
def test_nobody_but_the_operator(site: AwsSite, call: Call, method: str, path: str, token: str | None) -> None:
    status, said = call(method, path, token)
    assert (status, said) == (401, {"detail": "not the operator's token"})
    assert queued(site) == []


def test_without_a_token_set_it_is_off(site: AwsSite, call: Call) -> None:
    site.put_secret(NAMES.secret("operator-token"), "short")
    assert call("POST", "/pause", "short")[0] == 403


@pytest.mark.parametrize("name", ["pause", "resume", "flatten", "disarm"])
def test_a_command_goes_into_the_queue_in_the_traders_words(site: AwsSite, call: Call, name: str) -> None:
    status, said = call("POST", f"/{name}")
    assert (status, said["status"], said["command"]) == (202, "accepted", name)
    (command,) = queued(site)
    assert command == QueuedCommand(said["id"], NOW_MS, {"command": name})
    assert read_request(command.request).command is CommandName(name)


def test_the_address_may_be_written_with_the_slash_it_ends_with(site: AwsSite, call: Call) -> None:
    assert call("POST", "//pause")[0] == 202
    assert [command.request for command in queued(site)] == [{"command": "pause"}]


def test_a_trade_is_closed_by_its_id(site: AwsSite, call: Call) -> None:
    assert call("POST", "/close/a1b2c3")[0] == 202
    assert [command.request for command in queued(site)] == [{"command": "close", "trade_id": "a1b2c3"}]
    status, said = call("POST", "/close/NOT-an-id")
    assert status == 422
    assert "trade_id" in said["detail"]


@pytest.mark.parametrize(("method", "path"), [("POST", "/arm"), ("POST", "/reset/day_halt"), ("GET", "/docs"), ("GET", "/")])
def test_what_lets_trading_begin_anew_is_not_offered(call: Call, method: str, path: str) -> None:
    assert call(method, path)[0] == 404


def test_the_same_request_repeated_is_one_command(site: AwsSite, call: Call) -> None:
    for _ in range(3):
        assert call("POST", "/flatten", idempotency_key="my-flatten-1") == (
            202,
            {"status": "accepted", "command": "flatten", "id": "my-flatten-1"},
        )
    assert len(queued(site)) == 1
    assert call("POST", "/flatten", idempotency_key="x")[0] == 422


def test_status_says_how_old_it_is(site: AwsSite, call: Call) -> None:
    assert call("GET", "/status")[0] == 503
    put_status(site, NOW_MS - 5_000)
    status, said = call("GET", "/status")
    assert (status, said["age_ms"], said["stale"]) == (200, 5_000, False)
    assert said["trader"]["trades"] == ["abc"]
    put_status(site, NOW_MS - 61_000, trader=None)
    assert call("GET", "/status")[1] | {"said": ""} == {
        "site": "tokyo",
        "said": "",
        "age_ms": 61_000,
        "stale": True,
        "inbox": "ok",
        "trader": None,
        "commands": [],
    }


def test_what_became_of_a_command(site: AwsSite, call: Call) -> None:
    put_status(site, NOW_MS, commands=[{"id": "my-pause-1", "command": "pause", "status": "done"}])
    assert call("GET", "/commands/my-pause-1") == (200, {"id": "my-pause-1", "command": "pause", "status": "done"})
    assert call("GET", "/commands/another")[0] == 404


def test_trades_of_the_last_days_newest_first(site: AwsSite, call: Call) -> None:
    trades = [closed(number, closed_ms=NOW_MS - number * 20 * 3_600_000) for number in range(12)]
    for trade in trades:
        site.put_trades(day_of(trade.closed_ms).isoformat(), b"")
    for day in {day_of(trade.closed_ms) for trade in trades}:
        lines = [dump(trade) for trade in reversed(trades) if day_of(trade.closed_ms) == day]
        site.put_trades(day.isoformat(), "\n".join(lines).encode())
    status, said = call("GET", "/trades?days=3")
    assert status == 200
    assert [trade["trade_id"] for trade in said] == [trade.trade_id for trade in trades[:4]]
    assert call("GET", "/trades?days=400")[0] == 422


def test_aws_that_does_not_answer_is_503_and_no_traceback(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OPERATOR_TOKEN", "no-such-secret")
    parameters.clear_caches()
    assert call("GET", "/status") == (503, {"detail": "AWS did not answer as it should: try again"})
