"""What the engine node leaves in the bucket (status, journal by days), and the queue it takes commands from."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from botocore.exceptions import ClientError

from app.cloud.messages import QueuedCommand
from app.cloud.names import JOURNAL_PREFIX, STATUS_KEY
from app.storage.archive import TRADES, day_of, file_name

DAY = timedelta(days=1)


class Shelf(Protocol):
    """Raises botocore's errors."""

    def status(self) -> dict[str, Any] | None:
        """The node's newest word on itself; None before there was one."""

    def trades(self, now_ms: int, days: int) -> list[dict[str, Any]]:
        """Closed in the last so many days, newest first."""

    def send(self, command: QueuedCommand) -> None: ...


class AwsShelf:
    def __init__(self, s3: Any, sqs: Any, bucket: str, queue_url: str) -> None:
        self._s3 = s3
        self._sqs = sqs
        self._bucket = bucket
        self._queue_url = queue_url

    def status(self) -> dict[str, Any] | None:
        text = self._read(STATUS_KEY)
        return None if text is None else dict(json.loads(text))

    def trades(self, now_ms: int, days: int) -> list[dict[str, Any]]:
        today = day_of(now_ms)
        since_ms = now_ms - days * 86_400_000
        found: list[dict[str, Any]] = []
        for back in range(days + 1):
            text = self._read(f"{JOURNAL_PREFIX}/{file_name(today - back * DAY, TRADES)}")
            lines = [] if text is None else [json.loads(line) for line in text.splitlines()]
            found += [trade for trade in reversed(lines) if trade["closed_ms"] >= since_ms]
        return found

    def send(self, command: QueuedCommand) -> None:
        """Twice with one id is once: here for five minutes, in the trader's inbox for a day."""
        self._sqs.send_message(
            QueueUrl=self._queue_url,
            MessageBody=command.encode(),
            MessageGroupId="commands",
            MessageDeduplicationId=command.id,
        )

    def _read(self, key: str) -> str | None:
        """None where there is nothing: to whom may not list the whole bucket, S3 says "denied" of what is not there."""
        try:
            body: bytes = self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] in ("NoSuchKey", "AccessDenied"):
                return None
            raise
        return body.decode()


def moment(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="seconds")
