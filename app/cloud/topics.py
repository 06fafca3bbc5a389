"""Notices to people, by SNS: a line for a subject, words for a body, a topic for how urgent it is."""

import asyncio
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from app.cloud.errors import cloud_errors
from app.cloud.names import SiteNames

_LONGEST_SUBJECT = 100


class Severity(StrEnum):
    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Notice:
    """``kind`` is a stable word for machines (trade_closed, breaker_tripped …)."""

    severity: Severity
    kind: str
    subject: str
    text: str


@dataclass(slots=True)
class Topics:
    """The three topics of a site."""

    client: Any
    names: SiteNames
    account: str
    _region: str = field(init=False)

    def __post_init__(self) -> None:
        self._region = str(self.client.meta.region_name)

    async def publish(self, notice: Notice) -> None:
        """Raises CloudUnavailable."""
        await asyncio.to_thread(self._publish, notice)

    def _publish(self, notice: Notice) -> None:
        topic = self.names.topic(notice.severity)
        with cloud_errors(f"publishing to topic {topic}"):
            self.client.publish(
                TopicArn=f"arn:aws:sns:{self._region}:{self.account}:{topic}",
                Subject=_subject(notice.subject),
                Message=notice.text,
                MessageAttributes={"kind": {"DataType": "String", "StringValue": notice.kind}},
            )


def _subject(text: str) -> str:
    """As SNS takes them: printable ASCII, one line, at most 100 characters."""
    plain = text.replace("−", "-").encode("ascii", "replace").decode()
    return " ".join(plain.split())[:_LONGEST_SUBJECT]
