"""The node's word on itself, in the bucket for whoever asks from outside: on every change that matters, and now and then."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from app.bus.port import BusUnavailable, Inbox
from app.clock import Clock
from app.cloud.bucket import Bucket
from app.cloud.names import STATUS_KEY

LOOK_EVERY_S = 2.0
AT_LEAST_EVERY_S = 30.0
_MATTERS = ("state", "paused", "halted_by", "armed", "lease", "exchange", "exchange_up", "journal", "trades")


class StatusShelf:
    def __init__(self, inbox: Inbox, bucket: Bucket, site: str, outcomes: Iterable[Mapping[str, Any]], clock: Clock) -> None:
        self._inbox = inbox
        self._bucket = bucket
        self._site = site
        self._outcomes = outcomes
        self._clock = clock
        self._last: str | None = None  # what mattered in the last one put
        self._put_at = 0.0

    async def keep(self) -> bool:
        """Look, and put it if it is time; whether it was. Raises CloudUnavailable."""
        inbox, trader = await self._look()
        commands = [dict(outcome) for outcome in self._outcomes]
        matters = json.dumps([inbox, _matters(trader), commands], sort_keys=True, default=str)
        now = self._clock.monotonic()
        if matters == self._last and now - self._put_at < AT_LEAST_EVERY_S:
            return False
        said = {"site": self._site, "at_ms": self._clock.wall_ms(), "inbox": inbox, "trader": trader, "commands": commands}
        await self._bucket.put(STATUS_KEY, json.dumps(said).encode(), "application/json")
        self._last, self._put_at = matters, now
        return True

    async def _look(self) -> tuple[str, dict[str, Any] | None]:
        try:
            beat = await self._inbox.last_beat("trader")
        except BusUnavailable:
            return "down", None
        return "ok", None if beat is None else dict(beat)


def _matters(trader: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    return None if trader is None else {name: trader.get(name) for name in _MATTERS}
