"""Into the inbox, however long it takes."""

from collections.abc import Callable
from dataclasses import replace

import structlog

from app.bus.port import AlertEnvelope, BusUnavailable, Inbox
from app.clock import Clock

log = structlog.get_logger(__name__)

RETRY_S = 0.5


async def put_for_good(inbox: Inbox, envelope: AlertEnvelope, age_ms: Callable[[], int], clock: Clock) -> str | None:
    """Durable in the inbox; again and again while that does not answer. The answer is ``Inbox.put``'s.

    Giving the message back instead would bring it to the dead letters within seconds of a restart of Redis.
    """
    warned = False
    while True:
        age = age_ms()
        try:
            return await inbox.put(replace(envelope, age_ms=age, received_at=clock.monotonic() - age / 1000))
        except BusUnavailable as error:
            if not warned:
                log.warning("inbox_unreachable", error=str(error))
                warned = True
            await clock.sleep(RETRY_S)
