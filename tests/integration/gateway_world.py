"""A gateway as it runs: uvicorn on a socket, a real Redis behind it, the journal's file beside it."""

import asyncio
import io
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import structlog
from pydantic import SecretStr

from app.bus.embedded import EmbeddedRedis
from app.bus.port import InboxItem, Json
from app.bus.redis import RedisInbox
from app.clock import SystemClock
from app.gateway.config import GatewayConfig
from app.gateway.server import run_gateway
from app.storage.secrets import FileSecretStore
from app.storage.sqlite import JournalReader, SqliteJournal
from app.telemetry.logging import configure_logging

TOKEN = "correct-horse-battery-staple"
PATIENCE = 5.0
WELL = {"state": "ACTIVE", "armed": True, "exchange": "paper", "exchange_up": True}
WELL |= {"feed_warm": True, "feed_age_ms": 80, "equity_age_ms": 900}


class HastyInbox(RedisInbox):
    """What is put has all the time that it has in earnest. A reply is waited for only where a trader is there to give one,
    else it is as if the time for it were over."""

    replies_due = 0

    async def wait_reply(self, alert_id: str, timeout_s: float) -> Json | None:
        if self.replies_due == 0:
            return None
        self.replies_due -= 1
        return await super().wait_reply(alert_id, timeout_s)


@dataclass
class GatewayWorld:
    redis: EmbeddedRedis
    inbox: RedisInbox  # the trader's end
    gateway_inbox: RedisInbox
    journal: SqliteJournal
    client: httpx.AsyncClient
    log: io.StringIO
    stop: asyncio.Event
    serving: asyncio.Task[None]
    traders: list[asyncio.Task[Any]] = field(default_factory=list)

    async def post(self, body: str | bytes, *, token: str | None = TOKEN, **options: Any) -> httpx.Response:
        path = "/webhook" if token is None else f"/webhook/{token}"
        return await self.client.post(path, content=body, **options)

    async def waiting(self) -> list[InboxItem]:
        return list(await self.inbox.take(0))

    def trader_replies(self, reply: Mapping[str, Any]) -> None:
        """A trader that answers the next alert."""
        if isinstance(self.gateway_inbox, HastyInbox):
            self.gateway_inbox.replies_due += 1
        self.traders.append(asyncio.create_task(self._reply_to_next(reply)))

    async def _reply_to_next(self, reply: Mapping[str, Any]) -> None:
        (item,) = await self.inbox.take(PATIENCE)
        await self.inbox.reply(item.envelope.alert_id, reply)
        await self.inbox.done(item)

    def signal_redis(self, number: signal.Signals) -> None:
        assert self.redis.pid is not None
        os.kill(self.redis.pid, number)


@asynccontextmanager
async def gateway_world(
    directory: Path, *, inbox_at: Callable[[str], RedisInbox] = HastyInbox, **settings: Any
) -> AsyncIterator[GatewayWorld]:
    log, root = io.StringIO(), logging.getLogger()
    handlers, level = list(root.handlers), root.level
    configure_logging("DEBUG", secrets=[SecretStr(TOKEN)], stream=log)
    redis = EmbeddedRedis(directory / "redis", SystemClock())
    await redis.start()
    journal = SqliteJournal(directory / "journal.sqlite")
    await journal.open()
    inbox, gateway_inbox = RedisInbox(redis.url), inbox_at(redis.url)
    config = GatewayConfig(port=0, **{"token": SecretStr(TOKEN)} | settings)
    stop, port = asyncio.Event(), asyncio.get_running_loop().create_future()
    reader = JournalReader(directory / "journal.sqlite")
    store = FileSecretStore(directory / "secrets")
    gateway = run_gateway(config, gateway_inbox, reader, SystemClock(), stop=stop, store=store, started=port.set_result)
    serving = asyncio.create_task(gateway)
    base_url = f"http://127.0.0.1:{await asyncio.wait_for(port, PATIENCE)}"
    try:
        async with httpx.AsyncClient(base_url=base_url, timeout=PATIENCE) as client:
            yield GatewayWorld(redis, inbox, gateway_inbox, journal, client, log, stop, serving)
    finally:
        stop.set()
        await serving
        for closing in (inbox, gateway_inbox, journal):
            await closing.close()
        await redis.stop()
        root.handlers = handlers
        root.setLevel(level)
        structlog.reset_defaults()
