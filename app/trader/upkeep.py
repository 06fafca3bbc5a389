"""What the trader does whether or not an alert comes: account and risk checked, leverage followed, signs of life given."""

import asyncio

import structlog

from app.bus.port import BusUnavailable, Inbox
from app.clock import Clock
from app.exchange.errors import ExchangeError
from app.telemetry.metrics import Metrics
from app.trader.config import TraderConfig
from app.trader.equity_feed import EquityFeed
from app.trader.hearing import Hearing
from app.trader.preparation import Preparation
from app.trader.reconciliation import Reconciler
from app.trader.risk_desk import RiskDesk
from app.trader.status import StatusBoard

log = structlog.get_logger(__name__)


class Upkeep:
    """``deciding`` is held while something may be about to be opened."""

    def __init__(
        self,
        config: TraderConfig,
        inbox: Inbox,
        reconciler: Reconciler,
        hearing: Hearing,
        preparation: Preparation,
        risk: RiskDesk,
        equity: EquityFeed,
        status: StatusBoard,
        metrics: Metrics,
        clock: Clock,
        deciding: asyncio.Lock,
    ) -> None:
        self._config = config
        self._inbox = inbox
        self._reconciler = reconciler
        self._hearing = hearing
        self._preparation = preparation
        self._risk = risk
        self._equity = equity
        self._status = status
        self._metrics = metrics
        self._clock = clock
        self._deciding = deciding

    async def check_accounts(self) -> None:
        while True:
            await self.check_account()
            await self._clock.sleep(self._config.account_every_s)

    async def check_account(self) -> None:
        """Read the account and hold every trade against it, now."""
        try:
            await self._reconciler.check()
        except ExchangeError as error:
            log.warning("account_unreadable", error=str(error))
            return
        if self._hearing.exchange_up:
            await self._equity.feed()

    def check_risk(self) -> None:
        """Hold the open trades, the equity and the time of day against the breakers, now."""
        self._risk.tick()
        self._equity.tell()

    async def watch_risk(self) -> None:
        while True:
            await self._clock.sleep(self._config.risk_every_s)
            self.check_risk()
            await self._risk.calendar.look()
            await self._risk.keep()
            await self._follow_leverage()

    async def _follow_leverage(self) -> None:
        """The ramp's or the latency guard's, where nothing is open and nothing is just being opened."""
        if not self._preparation.is_done or not self._preparation.needs(self._risk.leverage):
            return
        async with self._deciding:
            try:
                await self._preparation.change_leverage(self._risk.leverage)
            except ExchangeError as error:
                log.warning("leverage_not_set", error=str(error))

    async def measure(self) -> None:
        while True:
            self._metrics.emit(self._status.gauges())
            await self._clock.sleep(self._config.measure_every_s)

    async def heartbeat(self) -> None:
        while True:
            try:
                await self._inbox.beat("trader", self._status.words())
            except BusUnavailable as error:
                log.warning("heartbeat_not_delivered", error=str(error))
            await self._clock.sleep(self._config.heartbeat_s)
