"""The trader: the only process that orders. Here its parts are put together; each has its own file.

It is crash-only: what cannot be handled ends the process, and the next start recovers from journal and exchange.
"""

import asyncio
from collections.abc import Coroutine, Mapping
from dataclasses import replace
from typing import Any

import structlog

from app.bus.port import BusUnavailable, Inbox, Lease, MarketBus
from app.clock import Clock, ExchangeClock
from app.domain.trade.messages import StopBuying
from app.exchange.errors import ExchangeError
from app.exchange.port import Exchange
from app.storage.port import Journal
from app.trader.account_state import AccountState
from app.trader.config import TraderConfig
from app.trader.control import Control
from app.trader.desk import Desk
from app.trader.hearing import Hearing
from app.trader.intake import Intake
from app.trader.lease_keeper import LeaseKeeper
from app.trader.live_trade import LiveTrade
from app.trader.market_view import MarketState
from app.trader.preparation import Preparation, connect
from app.trader.reception import Reception
from app.trader.reconciliation import Reconciler
from app.trader.replies import placed_reply, unfilled_reply
from app.trader.settlement import Settlement
from app.trader.switches import SwitchBoard

log = structlog.get_logger(__name__)

QUIET = frozenset({"order_sent", "order_acknowledged"})  # every one is in the journal; the log needs none of them


class Trader:
    def __init__(
        self,
        config: TraderConfig,
        exchange: Exchange,
        inbox: Inbox,
        market_bus: MarketBus,
        journal: Journal,
        lease: Lease,
        clock: Clock,
    ) -> None:
        self._config = config
        self._exchange = exchange
        self._inbox = inbox
        self._journal = journal
        self._clock = clock
        self._exchange_clock = ExchangeClock(clock)
        self._market = MarketState(clock, self._exchange_clock)
        self._account = AccountState(clock)
        self._switches = SwitchBoard(journal, config.key_fingerprint, config.live, clock)
        self.desk = Desk(exchange, journal, clock, self._exchange_clock, self._spawn)
        self._lease = LeaseKeeper(lease, self._switches, config, clock, on_lost=lambda: self.desk.tell_all(StopBuying()))
        self._preparation = Preparation(exchange, self.desk, self._account, config.rules, clock)
        self._intake = Intake(
            config,
            exchange,
            journal,
            self.desk,
            self._market,
            self._account,
            self._switches,
            clock,
            self._preparation.commissions,
        )
        self._reconciler = Reconciler(exchange, journal, self.desk, self._market, self._account, clock)
        self._settlement = Settlement(exchange, journal, self._account, clock, self._exchange_clock)
        self._control = Control(journal, self.desk, self._switches, clock, self._exchange_clock, self._status)
        self._reception = Reception(inbox, self._intake, self._control, self._switches, clock)
        self._hearing = Hearing(
            exchange,
            market_bus,
            self.desk,
            self._market,
            self._account,
            clock,
            self._exchange_clock,
            config.rules.timeframe_ms,
            on_up=lambda: self._spawn(self._reconciler.repair_all()),
        )
        self.desk.on_finish = lambda live, reason: self._spawn(self._finish(live, reason))
        self.desk.on_repair = lambda live, symbol: self._spawn(self._reconciler.repair(live, symbol))
        self.desk.on_pause = lambda reason: self._spawn(self._control.pause(reason))
        self.desk.on_milestone = self._milestone
        self._group: asyncio.TaskGroup | None = None

    # --- life ---------------------------------------------------------------------------------------------------------

    async def run(self, stop: asyncio.Event) -> None:
        """Until ``stop``. Raises what ends the process: NotPermitted, JournalUnavailable, or a bug."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                group.create_task(self._live())
                await stop.wait()
                raise _Stopped
        except* _Stopped:
            pass
        finally:
            await self._journal.flush()
            await self._exchange.close()

    async def _live(self) -> None:
        try:
            await self._start_and_work()
        finally:  # whatever ends it: nothing is begun any more
            self._group = None
            self.desk.close()

    async def _start_and_work(self) -> None:
        await self._lease.become_holder()
        lives = await self._switches.start()
        await connect(self._exchange, self._clock)
        await self._hearing.latest_market()
        self._account.read(await self._exchange.account())
        await self._reconciler.recover_trades(lives)
        log.info("trader_ready", mode=self._config.exchange_name, live_trades=len(self.desk.trades), starts=lives)
        loops = (
            self._hearing.exchange_events,
            self._hearing.market_feed,
            self._alerts,
            self._checks,
            self._lease.keep,
            self._heartbeat,
        )
        async with asyncio.TaskGroup() as group:
            for loop in loops:
                group.create_task(loop())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        if self._group is None:
            work.close()
            return
        try:
            self._group.create_task(work)
        except RuntimeError:  # the group is ending, and with it the process: nothing is begun any more
            work.close()

    async def _alerts(self) -> None:
        await self._preparation.prepare()
        await self._reception.receive()

    # --- what a trade reports -------------------------------------------------------------------------------------------

    def _milestone(self, live: LiveTrade, kind: str, data: Mapping[str, Any]) -> None:
        say = log.debug if kind in QUIET else log.info
        say(kind, trade_id=live.trade_id, **{key: value for key, value in data.items() if key not in ("event", "trade_id")})
        if kind == "protected" and not live.replied:
            live.replied = True
            self._spawn(self._reception.reply(live.alert_id, placed_reply(live)))

    async def _finish(self, live: LiveTrade, reason: str) -> None:
        """Account for it, free its symbols, tell its sender, and let an alert that waited for its end have its turn."""
        await self._settlement.settle(live, reason)
        self.desk.forget(live)
        if not live.replied:
            live.replied = True
            await self._reception.reply(live.alert_id, unfilled_reply(live, reason))
        if (waiting := self._intake.reversals.pop(live.trade_id, None)) is not None:
            item, taken_at = waiting
            waited_ms = round((self._clock.monotonic() - taken_at) * 1000)
            await self._reception.handle(replace(item, age_ms=item.age_ms + waited_ms))

    # --- upkeep -------------------------------------------------------------------------------------------------------

    async def _checks(self) -> None:
        while True:
            await self.check_account()
            await self._clock.sleep(self._config.account_every_s)

    async def check_account(self) -> None:
        """Read the account and hold every trade against it, now. Where time is virtual, checks are rare and asked for."""
        try:
            await self._reconciler.check()
        except ExchangeError as error:
            log.warning("account_unreadable", error=str(error))

    async def _heartbeat(self) -> None:
        while True:
            try:
                await self._inbox.beat("trader", self._status())
            except BusUnavailable as error:
                log.warning("heartbeat_not_delivered", error=str(error))
            await self._clock.sleep(self._config.heartbeat_s)

    def _status(self) -> Mapping[str, Any]:
        age = self._market.quote_age_s(self._config.rules.symbol)
        return {
            "state": self._switches.state.value,
            "paused": self._switches.paused,
            "armed": self._switches.armed,
            "exchange": self._config.exchange_name,
            "exchange_up": self._hearing.exchange_up,
            "feed_warm": self._market.feed_is_warm(),
            "feed_age_ms": None if age is None else round(age * 1000),
            "equity": None if self._account.equity is None else str(self._account.equity),
            "equity_age_ms": self._account.age_ms,
            "journal": "" if self._journal.failed is None else str(self._journal.failed),
            "trades": list(self.desk.trades),
            "exchange_ms": self._exchange_clock.now_ms(),
        }


class _Stopped(Exception):
    """Asked to stop; unwinds the task group."""
