"""What every webhook does with an envelope: make it durable, then wait a moment for the trader's word."""

import asyncio
from dataclasses import dataclass

import structlog

from app.bus.port import AlertEnvelope, BusUnavailable, Inbox, Json
from app.clock import Clock
from app.gateway.failures import GatewayError

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Delivery:
    """``reply_within_s`` counts from the envelope's receipt, for both steps together."""

    inbox: Inbox
    clock: Clock
    reply_within_s: float

    async def put(self, envelope: AlertEnvelope) -> str | None:
        """See ``Inbox.put``. Raises GatewayError: the sender must send it again."""
        try:
            async with asyncio.timeout(self._remaining(envelope)):
                return await self.inbox.put(envelope)
        except (BusUnavailable, TimeoutError) as error:
            log.error("inbox_unavailable", id=envelope.alert_id, error=str(error))
            raise GatewayError("inbox_unavailable") from error

    async def reply(self, envelope: AlertEnvelope) -> Json | None:
        """The trader's word if it comes in time. It is durable by now: whatever fails here, it was taken."""
        remaining = self._remaining(envelope)
        try:
            async with asyncio.timeout(remaining):
                return await self.inbox.wait_reply(envelope.alert_id, remaining)
        except TimeoutError:
            log.info("reply_late", id=envelope.alert_id)
        except BusUnavailable as error:
            log.warning("reply_unreadable", id=envelope.alert_id, error=str(error))
        return None

    def _remaining(self, envelope: AlertEnvelope) -> float:
        return max(0.0, self.reply_within_s - (self.clock.monotonic() - envelope.received_at))
