"""A site on a double of AWS inside the test's process (moto), as the infrastructure makes it."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import boto3
import httpx
import pytest
from moto import mock_aws
from moto.server import ThreadedMotoServer

from app.cloud.names import SiteNames

REGION = "ap-northeast-1"
SITE = "tokyo"
NAMES = SiteNames(SITE)
BUCKET = "a-bucket-of-tokyo"
WEBHOOK_TOKEN, OPERATOR_TOKEN = "webhook-token-of-24-chars", "operator-token-24-chars!"


@dataclass
class AwsSite:
    """Whatever is published to one of the three topics lies in the queue ``people``."""

    queues: dict[str, str]
    topics: dict[str, str]

    def client(self, service: str) -> Any:
        return _client(service, os.environ.get("AWS_ENDPOINT_URL"))

    def published(self) -> list[dict[str, Any]]:
        """The SNS records of the notices so far, oldest first; each only once."""
        found = []
        while (
            messages := self.client("sqs").receive_message(QueueUrl=self.queues["people"], MaxNumberOfMessages=10).get("Messages")
        ):
            for message in messages:
                found.append(json.loads(message["Body"]))
                self.client("sqs").delete_message(QueueUrl=self.queues["people"], ReceiptHandle=message["ReceiptHandle"])
        return found

    def waiting(self, queue: str) -> int:
        """Messages not deleted yet, in flight or not."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        attributes = self.client("sqs").get_queue_attributes(QueueUrl=self.queues[queue], AttributeNames=names)["Attributes"]
        return sum(int(attributes[name]) for name in names)

    def object(self, key: str) -> bytes:
        body: bytes = self.client("s3").get_object(Bucket=BUCKET, Key=key)["Body"].read()
        return body

    def put_parameter(self, name: str, value: str) -> None:
        self.client("ssm").put_parameter(Name=NAMES.parameter(name), Value=value, Type="String", Overwrite=True)

    def put_secret(self, name: str, value: str) -> None:
        self.client("secretsmanager").put_secret_value(SecretId=name, SecretString=value)

    def put_trades(self, day: str, lines: bytes) -> None:
        self.client("s3").put_object(Bucket=BUCKET, Key=f"journal/{day}/trades.jsonl", Body=lines)


@cache
def _client(service: str, endpoint: str | None) -> Any:
    """Making one takes longer than most that is done with it; all of them end in the double."""
    return boto3.client(service, region_name=REGION, endpoint_url=endpoint)


@contextmanager
def aws_site(monkeypatch: pytest.MonkeyPatch) -> Iterator[AwsSite]:
    """Nothing here reaches a network; the credentials are nobody's."""
    _nobody(monkeypatch)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        yield _made()


@contextmanager
def served_aws_site(monkeypatch: pytest.MonkeyPatch) -> Iterator[AwsSite]:
    """The same as a server, for other processes: they find it by AWS_ENDPOINT_URL."""
    _nobody(monkeypatch)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    try:
        httpx.post(f"http://{host}:{port}/moto-api/reset")  # its state is the process's, whatever server it had before
        yield _made()
    finally:
        server.stop()


def _nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def _made() -> AwsSite:
    site = AwsSite({}, {})
    _make(site)
    return site


def _make(site: AwsSite) -> None:
    sqs, sns, secrets = site.client("sqs"), site.client("sns"), site.client("secretsmanager")
    for name in ("alerts", "commands"):
        dead = sqs.create_queue(QueueName=f"quantcloud-{SITE}-{name}-dlq.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 5})
        made = sqs.create_queue(QueueName=NAMES.queue(name), Attributes={"FifoQueue": "true", "RedrivePolicy": policy})
        site.queues |= {name: made["QueueUrl"], f"{name}-dlq": dead}
    site.queues["people"] = sqs.create_queue(QueueName="people")["QueueUrl"]
    for severity in ("critical", "warning", "info"):
        site.topics[severity] = sns.create_topic(Name=NAMES.topic(severity))["TopicArn"]
        sns.subscribe(TopicArn=site.topics[severity], Protocol="sqs", Endpoint=f"arn:aws:sqs:{REGION}:123456789012:people")
    site.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    site.put_parameter("bucket", BUCKET)
    site.put_parameter("release", "s3://a-bucket/releases/1.zip")
    for name, value in (
        (NAMES.secret("exchange"), '{"api_key": "", "api_secret": ""}'),
        (NAMES.secret("webhook-token"), WEBHOOK_TOKEN),
        (NAMES.secret("operator-token"), OPERATOR_TOKEN),
        (NAMES.secret("market-redis"), "redis/password"),
        ("quantcloud/telegram", '{"token": "", "chat_id": ""}'),
    ):
        secrets.create_secret(Name=name, SecretString=value)


def url_event(
    method: str, path: str, body: str = "", source: str = "52.89.214.238", at_ms: int = 1_765_000_000_000, **headers: str
) -> dict[str, Any]:
    """What a Function URL hands to its function (payload 2.0)."""
    path, _, query = path.partition("?")
    http = {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": source, "userAgent": "Go-http-client/1.1"}
    context = {
        "accountId": "anonymous",
        "apiId": "url-id",
        "domainName": "url-id.lambda-url.ap-northeast-1.on.aws",
        "domainPrefix": "url-id",
        "http": http,
        "requestId": f"request-{abs(hash((path, body, at_ms)))}",
        "routeKey": "$default",
        "stage": "$default",
        "time": "06/Dec/2025:05:46:40 +0000",
        "timeEpoch": at_ms,
    }
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": {"host": "url-id.lambda-url.ap-northeast-1.on.aws", **{n.replace("_", "-"): v for n, v in headers.items()}},
        "requestContext": context,
        "body": body,
        "isBase64Encoded": False,
    }


class Context:
    """What the runtime hands to a handler beside the event."""

    function_name = "function"
    memory_limit_in_mb = 256
    invoked_function_arn = "arn:aws:lambda:ap-northeast-1:123456789012:function:function"
    aws_request_id = "a-request"

    def __init__(self, left_ms: int = 60_000) -> None:
        self.left_ms = left_ms

    def get_remaining_time_in_millis(self) -> int:
        return self.left_ms
