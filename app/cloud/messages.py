"""What Lambdas put into the queues and the engine node takes out. Standard library only: a cold start must be short."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self


class Address(StrEnum):
    """Which webhook an alert was sent to."""

    ALERTS = "webhook"
    ADVANCED = "advanced"


class UnreadableMessage(ValueError):
    """Written by another release, or by nobody of ours."""


@dataclass(frozen=True, slots=True)
class QueuedAlert:
    """An authenticated delivery as it came in, but for its token: what makes two deliveries one alert may be the body's hash.

    ``received_ms`` is the Lambda's wall clock at the request's arrival. Alerts grow stale from then on.
    """

    address: Address
    body: bytes
    received_ms: int

    def encode(self) -> str:
        body = base64.b64encode(self.body).decode()
        return json.dumps({"address": self.address.value, "received_ms": self.received_ms, "body": body})

    @classmethod
    def decode(cls, text: str) -> Self:
        """Raises UnreadableMessage."""
        fields = _object(text)
        try:
            body = base64.b64decode(fields["body"], validate=True)
            return cls(Address(fields["address"]), body, int(fields["received_ms"]))
        except (KeyError, TypeError, ValueError) as error:
            raise UnreadableMessage(f"not an alert of this release: {error!r}") from None


@dataclass(frozen=True, slots=True)
class QueuedCommand:
    """An operator's command, authenticated. ``request`` is an ``OperatorRequest`` as JSON."""

    id: str
    received_ms: int
    request: Mapping[str, Any]

    def encode(self) -> str:
        return json.dumps({"id": self.id, "received_ms": self.received_ms, "request": dict(self.request)})

    @classmethod
    def decode(cls, text: str) -> Self:
        """Raises UnreadableMessage."""
        fields = _object(text)
        try:
            return cls(str(fields["id"]), int(fields["received_ms"]), dict(fields["request"]))
        except (KeyError, TypeError, ValueError) as error:
            raise UnreadableMessage(f"not a command of this release: {error!r}") from None


def _object(text: str) -> dict[str, Any]:
    try:
        fields = json.loads(text)
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise UnreadableMessage("not a JSON object")
    return fields
