"""The fallback webhook: who may, what is taken, what goes on, and what never shows in a log or an answer."""

import base64
import importlib
import json
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from aws_site import NAMES, WEBHOOK_TOKEN, AwsSite, Context, url_event
from botocore.exceptions import ClientError

from app.cloud.messages import Address, QueuedAlert
from app.gateway.advanced import NAMES as ADVANCED_NAMES
from app.gateway.advanced import PREFIXES
from lambdas.webhook_fallback.addresses import address_of
from lambdas.webhook_fallback.doors import TokenDoor, networks

ALERT = '{"symbol": "BTCUSDT.P", "side": "buy"}'
Call = Callable[..., dict[str, Any]]


@pytest.fixture
def call(site: AwsSite, monkeypatch: pytest.MonkeyPatch) -> Call:
    handler = importlib.import_module("lambdas.webhook_fallback.handler")
    monkeypatch.setattr(handler, "_door", TokenDoor(handler._read_token))

    def request(*args: Any, **kwargs: Any) -> dict[str, Any]:
        event = url_event(*args, **kwargs)
        answer: dict[str, Any] = handler.handler(event, Context())
        return answer

    return request


def queued(site: AwsSite) -> list[QueuedAlert]:
    found = site.client("sqs").receive_message(QueueUrl=site.queues["alerts"], MaxNumberOfMessages=10).get("Messages", [])
    return [QueuedAlert.decode(message["Body"]) for message in found]


@pytest.mark.parametrize(
    ("path", "body", "headers"),
    [
        (f"/webhook/{WEBHOOK_TOKEN}", ALERT, {}),
        ("/webhook", ALERT, {"authorization": f"Bearer {WEBHOOK_TOKEN}"}),
    ],
)
def test_an_alert_with_the_token_goes_on_as_it_came(
    site: AwsSite, call: Call, path: str, body: str, headers: dict[str, str]
) -> None:
    answer = call("POST", path, body, at_ms=1_765_000_000_123, **headers)
    assert answer["statusCode"] == 200
    assert json.loads(answer["body"])["status"] == "accepted"
    assert queued(site) == [QueuedAlert(Address.ALERTS, body.encode(), 1_765_000_000_123)]


@pytest.mark.parametrize(
    "written", [f'"{WEBHOOK_TOKEN}"', f'  "{WEBHOOK_TOKEN}"', f'"\\u{ord(WEBHOOK_TOKEN[0]):04x}{WEBHOOK_TOKEN[1:]}"']
)
def test_a_token_in_the_body_opens_and_goes_no_further(site: AwsSite, call: Call, written: str) -> None:
    body = '{"side": "buy", "token":%s, "symbol": "BTCUSDT", "note": "the \\"token\\": x"}'
    assert call("POST", "/webhook", body % written)["statusCode"] == 200
    (alert,) = queued(site)
    assert alert.body == (body % written.replace(written.strip(), '"***"')).encode()


def test_each_delivery_goes_on_and_the_inbox_says_which_are_one(site: AwsSite, call: Call) -> None:
    """The same words may mean a new trade minutes later: the queue's own five minutes of deduplication must not see them."""
    for at_ms in (1_765_000_000_000, 1_765_000_005_000, 1_765_000_180_000):
        assert call("POST", f"/webhook/{WEBHOOK_TOKEN}", ALERT, at_ms=at_ms)["statusCode"] == 200
    assert [alert.received_ms for alert in queued(site)] == [1_765_000_000_000, 1_765_000_005_000, 1_765_000_180_000]


@pytest.mark.parametrize(
    ("event", "status"),
    [
        (("POST", "/webhook/not-the-token-at-all-no", ALERT), 401),
        (("POST", "/webhook", ALERT), 401),
        (("GET", f"/webhook/{WEBHOOK_TOKEN}", ALERT), 405),
        (("POST", f"/webhook/{WEBHOOK_TOKEN}", ""), 400),
        (("POST", f"/webhook/{WEBHOOK_TOKEN}", "x" * 16_385), 413),
        (("POST", f"/webhook/{WEBHOOK_TOKEN}", ALERT, "198.51.100.7"), 403),
        (("POST", f"/webhook/{WEBHOOK_TOKEN}", ALERT, "nonsense"), 403),
        (("POST", f"/webhooks/{WEBHOOK_TOKEN}", ALERT), 404),
        (("POST", "/", ALERT), 404),
    ],
)
def test_what_is_not_taken_leaves_nothing_in_the_queue(site: AwsSite, call: Call, event: tuple[str, ...], status: int) -> None:
    assert call(*event)["statusCode"] == status
    assert queued(site) == []


@pytest.mark.parametrize("name", ["x-forwarded-for", "x-real-ip", "forwarded", "true-client-ip"])
def test_what_a_sender_says_of_its_address_is_not_believed(site: AwsSite, call: Call, name: str) -> None:
    claim = {name: "for=52.89.214.238" if name == "forwarded" else "52.89.214.238"}
    answer = call("POST", f"/webhook/{WEBHOOK_TOKEN}", ALERT, "198.51.100.7", **claim)
    assert answer["statusCode"] == 403
    assert queued(site) == []


def test_other_senders_are_a_setting(site: AwsSite, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    handler = importlib.import_module("lambdas.webhook_fallback.handler")
    monkeypatch.setattr(handler, "_allowed", networks("198.51.100.0/24, 2001:db8::/32"))
    for source, status in (("198.51.100.7", 200), ("2001:db8::5", 200), ("52.89.214.238", 403)):
        assert call("POST", f"/webhook/{WEBHOOK_TOKEN}", ALERT, source)["statusCode"] == status


def test_bytes_that_are_no_text_go_on_unchanged(site: AwsSite, call: Call) -> None:
    raw = b'{"symbol": "BTC\xff"}'
    handler = importlib.import_module("lambdas.webhook_fallback.handler")
    event = url_event("POST", f"/webhook/{WEBHOOK_TOKEN}") | {"body": base64.b64encode(raw).decode(), "isBase64Encoded": True}
    assert handler.handler(event, Context())["statusCode"] == 200
    assert [alert.body for alert in queued(site)] == [raw]


def test_a_new_token_opens_at_once_and_the_old_one_ends_in_minutes(site: AwsSite, call: Call) -> None:
    at = 1_765_000_000_000
    old, new = f"/webhook/{WEBHOOK_TOKEN}", "/webhook/another-token-of-24-chars"
    assert call("POST", old, ALERT, at_ms=at)["statusCode"] == 200
    site.put_secret(NAMES.secret("webhook-token"), "another-token-of-24-chars")
    assert call("POST", new, ALERT, at_ms=at + 5_000)["statusCode"] == 401  # asked a moment ago
    assert call("POST", new, ALERT, at_ms=at + 20_000)["statusCode"] == 200
    assert call("POST", old, ALERT, at_ms=at + 40_000)["statusCode"] == 401


def test_a_queue_that_fails_is_an_error_of_the_function_and_tells_no_secret(
    call: Call, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The runtime answers 502, which TradingView follows by sending the alert again."""
    handler = importlib.import_module("lambdas.webhook_fallback.handler")

    def fail(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "ServiceUnavailable", "Message": "no"}}, "SendMessage")

    monkeypatch.setattr(handler._queue, "send_message", fail)
    caplog.set_level("INFO", logger="root")
    with pytest.raises(handler.NotTaken, match="ServiceUnavailable") as caught:
        call("POST", f"/webhook/{WEBHOOK_TOKEN}", ALERT)
    told = "".join(traceback.format_exception(caught.value)) + caplog.text
    assert WEBHOOK_TOKEN not in told
    assert "BTCUSDT" not in told


def test_the_addresses_are_the_gateways() -> None:
    assert address_of("/webhook") == (Address.ALERTS, None)
    assert address_of("/webhook/token") == (Address.ALERTS, "token")
    for name in ADVANCED_NAMES:
        for prefix in PREFIXES:
            assert address_of(f"{prefix}/binance/{name}") == (Address.ADVANCED, None)
            assert address_of(f"{prefix}/binance/{name}/token") == (Address.ADVANCED, "token")
    for path in ("/", "/health", "/webhook/a/b", "/binance/config", "/elsewhere/binance/advanced-trading-webhook"):
        assert address_of(path) is None
