"""One market stream connection: subscribes, comes back after every loss, and knows when it is only pretending to live.

A wrong route is acknowledged and then silent, and a dead peer sends nothing: only messages that arrive prove a stream.
The exchange pings every 3 minutes and drops a connection without pong; aiohttp answers those by itself.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
import orjson
import structlog

from app.clock import Clock
from app.stream.backoff import Backoff

SILENT_AFTER_S = 5.0  # no message at all
FIRST_MESSAGE_WITHIN_S = 10.0
LOOK_EVERY_S = 0.5

log = structlog.get_logger(__name__)


class StreamLost(Exception):
    """Why a connection ended; the words appear in the node's health."""


class MarketSocket:
    """``streams`` maps each subscription to how many seconds it may be silent. ``on_message`` gets every JSON object and
    returns the stream whose life it proves, or None. ``name`` is how health and log call the connection."""

    def __init__(
        self,
        name: str,
        url: str,
        streams: Mapping[str, float],
        on_message: Callable[[Mapping[str, Any]], str | None],
        clock: Clock,
        reconnect_after_s: float,
    ) -> None:
        self._name = name
        self._url = url
        self._streams = streams
        self._on_message = on_message
        self._clock = clock
        self._reconnect_after_s = reconnect_after_s
        self._backoff = Backoff(0.1, 10.0)
        self._heard_at: dict[str, float] = {}
        self._is_live = False
        self._lost = "connecting"
        self.connections = 0

    @property
    def problem(self) -> str:
        """Empty while every stream is alive."""
        if not self._is_live:
            return f"{self._name} stream: {self._lost}"
        return self._silence() or ""

    async def run(self) -> None:
        """Connect, read, come back; for ever."""
        while True:
            reason = await self._one_connection()
            self._is_live = False
            self._lost = reason
            wait_s = self._backoff.next_s()
            log.warning("market stream lost", stream=self._name, reason=reason, again_in_s=wait_s)
            await self._clock.sleep(wait_s)

    async def _one_connection(self) -> str:
        """Reads until the connection or its watchdog ends; why."""
        self._heard_at = dict.fromkeys(self._streams, self._clock.monotonic())
        tasks = {asyncio.create_task(self._read()), asyncio.create_task(self._watch())}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        try:
            done.pop().result()
        except (StreamLost, aiohttp.ClientError, OSError) as error:
            return str(error) or type(error).__name__
        return "closed by the exchange"

    async def _read(self) -> None:
        closing = aiohttp.ClientWSTimeout(ws_close=1.0)
        async with aiohttp.ClientSession() as http, http.ws_connect(self._url, timeout=closing) as socket:
            self.connections += 1
            await socket.send_json({"method": "SUBSCRIBE", "params": list(self._streams), "id": 1})
            async for frame in socket:
                if frame.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                    self._take(frame.data)

    def _take(self, data: str | bytes) -> None:
        try:
            message = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise StreamLost(f"sent something that is not JSON: {data[:80]!r}") from error
        if not isinstance(message, dict):
            raise StreamLost(f"sent something that is not an object: {data[:80]!r}")
        if "error" in message or ("code" in message and "msg" in message):
            raise StreamLost(f"subscription refused: {message.get('error', message.get('msg'))}")
        stream = self._on_message(message)
        if stream in self._heard_at:
            self._heard_at[stream] = self._clock.monotonic()
            if not self._is_live:
                self._is_live = True
                self._backoff.reset()

    async def _watch(self) -> None:
        """Ends, with the reason, the connection that is silent or old."""
        started = self._clock.monotonic()
        while True:
            await self._clock.sleep(LOOK_EVERY_S)
            age = self._clock.monotonic() - started
            if age > self._reconnect_after_s:
                raise StreamLost("renewed before the exchange cuts it")
            if not self._is_live and age > FIRST_MESSAGE_WITHIN_S:
                raise StreamLost(f"nothing arrived within {FIRST_MESSAGE_WITHIN_S:.0f} s")
            if self._is_live and (silence := self._silence()):
                raise StreamLost(silence)

    def _silence(self) -> str | None:
        now = self._clock.monotonic()
        if (silent := now - max(self._heard_at.values())) > SILENT_AFTER_S:
            return f"{self._name} stream silent for {silent:.0f} s"
        for stream, may_be_silent_s in self._streams.items():
            if (silent := now - self._heard_at[stream]) > may_be_silent_s:
                return f"{stream} silent for {silent:.0f} s"
        return None
