"""The lease: of two traders only its holder opens positions (I9)."""

from collections.abc import Callable

import structlog

from app.bus.port import BusUnavailable, Lease
from app.clock import Clock
from app.trader.config import TraderConfig
from app.trader.switches import SwitchBoard

log = structlog.get_logger(__name__)


class LeaseKeeper:
    """``on_lost`` is called once for every time it is lost."""

    def __init__(
        self, lease: Lease, switches: SwitchBoard, config: TraderConfig, clock: Clock, on_lost: Callable[[], None]
    ) -> None:
        self._lease = lease
        self._switches = switches
        self._config = config
        self._clock = clock
        self._on_lost = on_lost

    async def become_holder(self) -> None:
        """Wait for the lease: a second trader touches nothing."""
        while not await self._try():
            await self._clock.sleep(self._config.lease_every_s)

    async def keep(self) -> None:
        while True:
            await self._clock.sleep(self._config.lease_every_s)
            had = self._switches.lease_until > 0
            if not await self._try() and had:
                log.error("lease_lost")
                self._on_lost()

    async def _try(self) -> bool:
        asked_at = self._clock.monotonic()
        try:
            held = await self._lease.renew() or await self._lease.acquire()
        except BusUnavailable as error:
            log.warning("lease_unreachable", setting="redis.inbox_url (QC_REDIS__INBOX_URL)", error=str(error))
            held = False
        self._switches.lease_until = asked_at + self._config.lease_trusted_s if held else 0.0
        return held
