"""A FIFO queue of SQS, read by one process: long polls in a thread, deletion when the reader says so."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.cloud.errors import cloud_errors

HELD_S = 10  # what was received and not deleted is delivered again after so long
_BATCH = 10


@dataclass(frozen=True, slots=True)
class Message:
    """``waited_ms``: in the queue before anybody received it, by the queue's own clock."""

    body: str
    receipt: str
    waited_ms: int
    deliveries: int


class SqsQueue:
    """Every method may raise CloudUnavailable."""

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self._name = name
        self._url: str | None = None

    async def receive(self, wait_s: int) -> Sequence[Message]:
        """In order; what is not deleted is delivered again."""
        return await asyncio.to_thread(self._receive, wait_s)

    async def delete(self, message: Message) -> None:
        await asyncio.to_thread(self._call, "deleting from", "delete_message", ReceiptHandle=message.receipt)

    async def give_back(self, message: Message) -> None:
        """To be delivered again at once: after so many deliveries the queue sets it aside as a dead letter."""
        give_back = {"ReceiptHandle": message.receipt, "VisibilityTimeout": 0}
        await asyncio.to_thread(self._call, "giving back to", "change_message_visibility", **give_back)

    def _receive(self, wait_s: int) -> list[Message]:
        answer = self._call(
            "reading",
            "receive_message",
            MaxNumberOfMessages=_BATCH,
            WaitTimeSeconds=wait_s,
            VisibilityTimeout=HELD_S,
            MessageSystemAttributeNames=["All"],
        )
        return [_message(raw) for raw in answer.get("Messages", ())]

    def _call(self, doing: str, operation: str, **arguments: Any) -> dict[str, Any]:
        with cloud_errors(f"{doing} queue {self._name}"):
            if self._url is None:
                self._url = str(self._client.get_queue_url(QueueName=self._name)["QueueUrl"])
            answer: dict[str, Any] = getattr(self._client, operation)(QueueUrl=self._url, **arguments)
        return answer


def _message(raw: dict[str, Any]) -> Message:
    attributes = raw.get("Attributes", {})
    sent_ms = int(attributes.get("SentTimestamp", 0))
    first_ms = int(attributes.get("ApproximateFirstReceiveTimestamp", sent_ms))
    deliveries = int(attributes.get("ApproximateReceiveCount", 1))
    return Message(raw["Body"], raw["ReceiptHandle"], max(0, first_ms - sent_ms), deliveries)
