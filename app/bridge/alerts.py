"""Alerts that came by the fallback webhook, from their queue into the inbox: the same envelopes, the same rules.

An alert leaves the queue only once the inbox has it for good. It is as old as its receipt by the Lambda.
"""

from collections.abc import Callable

import structlog

from app.bridge.delivery import put_for_good
from app.bus.envelopes import advanced_envelope, envelope_for, text_envelope
from app.bus.port import AlertEnvelope, Inbox
from app.clock import Clock
from app.cloud.messages import Address, QueuedAlert, UnreadableMessage
from app.cloud.queues import Message, SqsQueue
from app.cloud.topics import Notice, Severity
from app.domain.bodies import TAG_TEXT, read_message
from app.domain.requests import BadRequest, parse_request
from app.domain.signal_rules import SignalRules
from app.domain.verdict import Refusal

log = structlog.get_logger(__name__)


class AlertBridge:
    """``tell`` gets a notice of what no answer could tell the sender."""

    def __init__(self, queue: SqsQueue, inbox: Inbox, signals: SignalRules, clock: Clock, tell: Callable[[Notice], None]) -> None:
        self._queue = queue
        self._inbox = inbox
        self._signals = signals
        self._clock = clock
        self._tell = tell

    async def carry(self, wait_s: int) -> int:
        """What waits in the queue, in order; how many that were. Raises CloudUnavailable."""
        messages = await self._queue.receive(wait_s)
        for message in messages:
            await self._take(message)
        return len(messages)

    async def _take(self, message: Message) -> None:
        try:
            alert = QueuedAlert.decode(message.body)
        except UnreadableMessage as error:
            log.error("queued_alert_unreadable", error=str(error), deliveries=message.deliveries)
            await self._queue.give_back(message)
            return
        envelope = self._envelope(alert)
        if envelope is not None:
            first = await put_for_good(self._inbox, envelope, lambda: self._age_ms(message, alert), self._clock)
            log.info("alert_repeated" if first else "alert_carried", id=first or envelope.alert_id)
        await self._queue.delete(message)

    def _envelope(self, alert: QueuedAlert) -> AlertEnvelope | None:
        """None: there is nothing in it to be kept."""
        if alert.address is Address.ADVANCED:
            asked = parse_request(alert.body)
            if isinstance(asked, BadRequest):
                self._not_understood(asked.refusal)
                return None
            return advanced_envelope(asked, alert.body, alert.received_ms, 0.0)
        parsed = read_message(alert.body, self._signals)
        if isinstance(parsed, Refusal):
            self._not_understood(parsed)
            return text_envelope(alert.body, alert.received_ms, 0.0) if parsed.code == TAG_TEXT else None
        return envelope_for(parsed, alert.body, alert.received_ms, 0.0)

    def _not_understood(self, refusal: Refusal) -> None:
        log.warning("alert_not_taken", code=refusal.code)
        words = "\n".join((f"{refusal.code}: {refusal.message}", *refusal.suggestions))
        self._tell(Notice(Severity.WARNING, "alert_refused", "an alert by the fallback webhook was not taken", words))

    def _age_ms(self, message: Message, alert: QueuedAlert) -> int:
        """By the clocks of Lambda and node, and never less than the queue's own clock says."""
        return max(message.waited_ms, self._clock.wall_ms() - alert.received_ms, 0)
