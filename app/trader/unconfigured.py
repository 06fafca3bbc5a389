"""The trader before it has API credentials: it says so to every sender, and waits for POST /binance/config."""

import asyncio
from collections.abc import Mapping
from typing import Any

import structlog

from app.bus import port
from app.bus.port import BusUnavailable, Inbox, InboxItem, Lease
from app.clock import Clock
from app.domain import advanced_answers as answers
from app.trader.advanced_calls import Failed, ensure_binance_client
from app.trader.exchange_keys import KeyKeeper, changed_answer
from app.trader.replies import refusal_reply

log = structlog.get_logger(__name__)

WAIT_S = 0.5
STATE = "NOT_CONFIGURED"


async def wait_for_key(keys: KeyKeeper, inbox: Inbox, lease: Lease, clock: Clock, stop: asyncio.Event) -> None:
    """Until credentials are in force, or ``stop``. Takes from the inbox only while it holds the lease. Raises
    SecretsUnavailable."""
    log.warning("client_not_configured", setting="exchange.api_key (QC_EXCHANGE__API_KEY), or POST /binance/config")
    while not stop.is_set() and await keys.in_force() is None:
        try:
            await inbox.beat("trader", {"state": STATE})
            if not (await lease.renew() or await lease.acquire()):
                await clock.sleep(WAIT_S)
                continue
            for item in await inbox.take(WAIT_S):
                await inbox.reply(item.envelope.alert_id, await _answer(item, keys, clock))
                await inbox.done(item)
        except BusUnavailable as error:
            log.warning("inbox_unreachable", error=str(error))
            await clock.sleep(WAIT_S)


async def _answer(item: InboxItem, keys: KeyKeeper, clock: Clock) -> Mapping[str, Any]:
    envelope = item.envelope
    if envelope.source == port.CONFIG_SOURCE:
        return changed_answer(await keys.change(open_trades=0), clock.wall_ms())
    try:
        ensure_binance_client(None)
    except Failed as failed:
        if envelope.source == port.ADVANCED_SOURCE:
            data = envelope.body.get("webhook_data", {})
            return answers.refused(envelope.alert_id, failed.refusal, data, clock.wall_ms())
        return refusal_reply(envelope.alert_id, failed.refusal)
    raise AssertionError("a client that is not there was found")
