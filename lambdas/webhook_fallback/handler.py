"""Function URL in, SQS FIFO out. Standard library and boto3 only: TradingView hangs up after 3 s, a cold start included.

The body goes on as it came, but for its token: what it means, whether it is a repetition and whether it is too old is decided on
the engine node, by the code that judges the gateway's alerts. So the answer says that it was taken, never what became of it.
Environment: ALERTS_QUEUE_URL, SECRET_WEBHOOK_TOKEN (the secret's name), ALLOWED_SOURCES (CIDRs; TradingView's when absent).
"""

import base64
import json
import logging
import os
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from app.cloud.messages import QueuedAlert
from app.domain.body_token import without_token
from lambdas.webhook_fallback.addresses import address_of
from lambdas.webhook_fallback.doors import TRADINGVIEW, TokenDoor, comes_from, networks, offered_tokens

log = logging.getLogger()
log.setLevel(logging.INFO)

MAX_BODY_BYTES = 16_384
_PATIENCE = Config(connect_timeout=0.5, read_timeout=0.9, retries={"mode": "standard", "total_max_attempts": 2})


class NotTaken(Exception):
    """AWS failed. Raised out of the handler: an alarm sees that, the sender gets a 5xx, and TradingView sends the alert again."""


_queue = boto3.client("sqs", config=_PATIENCE)
_secrets = boto3.client("secretsmanager", config=_PATIENCE)
_allowed = networks(os.environ.get("ALLOWED_SOURCES") or TRADINGVIEW)


def _read_token() -> str:
    return str(_secrets.get_secret_value(SecretId=os.environ["SECRET_WEBHOOK_TOKEN"])["SecretString"])


_door = TokenDoor(_read_token)


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    request = event["requestContext"]
    received_ms = int(request["timeEpoch"])
    found = address_of(event["rawPath"])
    if found is None:
        return _answer(404, {"error": "no such address"})
    if request["http"]["method"] != "POST":
        return _answer(405, {"error": "alerts are POSTed"})
    if not comes_from(request["http"]["sourceIp"], _allowed):
        log.warning("refused: the sender's address is not allowed")
        return _answer(403, {"error": "not from here"})
    body = _body(event)
    if not 0 < len(body) <= MAX_BODY_BYTES:
        return _answer(413 if body else 400, {"error": f"an alert has 1 to {MAX_BODY_BYTES} bytes"})
    (address, path_token), headers = found, event.get("headers", {})
    try:
        if not _door.admits(offered_tokens(path_token, headers, body), received_ms):
            log.warning("refused: token")
            return _answer(401, {"error": "no valid token"})
        _send(QueuedAlert(address, without_token(body), received_ms), request["requestId"])
    except (ClientError, BotoCoreError) as error:
        raise NotTaken(_named(error)) from None
    log.info("queued an alert of %d bytes", len(body))
    return _answer(200, {"status": "accepted", "id": request["requestId"]})


def _send(alert: QueuedAlert, request_id: str) -> None:
    """Each delivery is its own message: which of them are one alert is the inbox's to say. One group: order is kept."""
    _queue.send_message(
        QueueUrl=os.environ["ALERTS_QUEUE_URL"],
        MessageBody=alert.encode(),
        MessageGroupId="alerts",
        MessageDeduplicationId=request_id,
    )


def _body(event: dict[str, Any]) -> bytes:
    body = event.get("body") or ""
    return base64.b64decode(body) if event.get("isBase64Encoded") else body.encode("utf-8", "surrogatepass")


def _named(error: Exception) -> str:
    code = error.response.get("Error", {}).get("Code", "") if isinstance(error, ClientError) else ""
    return f"{type(error).__name__} {code}".strip()


def _answer(status: int, content: dict[str, Any]) -> dict[str, Any]:
    return {"statusCode": status, "headers": {"content-type": "application/json"}, "body": json.dumps(content)}
