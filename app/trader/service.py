"""The trader: the only process that orders. Here its parts are put together; each has its own file.

It is crash-only: what cannot be handled ends the process, and the next start recovers from journal and exchange.
"""

import asyncio
from collections.abc import Coroutine, Mapping
from dataclasses import replace
from typing import Any

import structlog

from app.bus.port import Inbox, Lease, MarketBus
from app.clock import Clock, ExchangeClock
from app.domain.advanced_answers import Answer
from app.domain.refusals import refuse
from app.domain.trade.messages import StopBuying
from app.exchange.errors import OrderRefused
from app.exchange.port import Exchange
from app.storage.port import Journal
from app.telemetry.metrics import Metrics
from app.trader.account_state import AccountState
from app.trader.advanced import AdvancedTrading
from app.trader.config import TraderConfig
from app.trader.control import Control
from app.trader.desk import Desk
from app.trader.equity_feed import EquityFeed
from app.trader.exchange_keys import KeyKeeper, changed_answer
from app.trader.hearing import Hearing
from app.trader.intake import Intake
from app.trader.latency_probe import LatencyProbe
from app.trader.lease_keeper import LeaseKeeper
from app.trader.live_trade import LiveTrade
from app.trader.market_view import MarketState
from app.trader.planner import Planner
from app.trader.preparation import Preparation, connect
from app.trader.reception import Reception
from app.trader.reconciliation import Reconciler
from app.trader.replies import placed_reply, unfilled_reply
from app.trader.risk_desk import RiskDesk
from app.trader.settlement import Settlement
from app.trader.side_watch import SideWatch
from app.trader.status import StatusBoard
from app.trader.switches import SwitchBoard
from app.trader.trade_metrics import TradeMetrics
from app.trader.upkeep import Upkeep

log = structlog.get_logger(__name__)

KEY_CHANGE_TOLD_S = 0.2  # the operator's answer leaves first
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
        keys: KeyKeeper | None = None,
    ) -> None:
        """``keys``: by whom the exchange's credentials may be changed while it runs."""
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
        self._metrics = Metrics("trader", clock)
        self.risk = RiskDesk(
            config,
            journal,
            self.desk,
            self._market,
            self._account,
            clock,
            self._exchange_clock,
            self._metrics,
            self._spawn,
        )
        self._sides = SideWatch(journal, clock, self._exchange_clock)
        self._equity = EquityFeed(exchange, journal, self._account, self.risk, clock, self._exchange_clock)
        self._trade_metrics = TradeMetrics(self._metrics, self.risk.delayed)
        self._probe = LatencyProbe(exchange, config.rules.symbol, config.probe_every_s, clock, self._metrics, self.risk.delayed)
        self._preparation = Preparation(exchange, self.desk, self._account, config.rules, clock)
        self._planner = Planner(
            config,
            exchange,
            self.desk,
            self._market,
            self._account,
            self._switches,
            clock,
            self._preparation,
            self.risk,
        )
        self._intake = Intake(
            config,
            exchange,
            journal,
            self.desk,
            self._market,
            self._switches,
            clock,
            self._planner,
            self.risk,
            self._metrics,
        )
        self._reconciler = Reconciler(exchange, journal, self.desk, self._market, self._account, clock)
        self._settlement = Settlement(exchange, journal, self._account, clock, self._exchange_clock)
        self._control = Control(
            journal,
            self.desk,
            self._switches,
            self.risk,
            clock,
            self._exchange_clock,
            self._metrics,
            status=lambda: self._status.words(),
        )
        self._advanced = AdvancedTrading(
            config,
            exchange,
            journal,
            self.desk,
            self._account,
            self._switches,
            clock,
            self._intake.one_at_a_time,
            risk=lambda: self.risk.view(None),
            on_margin=self._preparation.forget,
        )
        self._keys = keys
        self.key_changed = asyncio.Event()
        self._reception = Reception(
            inbox, self._intake, self._control, self._advanced, self._change_key, self._switches, clock, self._spawn
        )
        self._hearing = Hearing(
            exchange,
            market_bus,
            self.desk,
            self._market,
            self._account,
            clock,
            self._exchange_clock,
            config.rules.timeframe_ms,
            on_up=self._stream_up,
            on_account=self._equity.updated,
            funding_interval_h=self._preparation.funding_interval_h,
        )
        self._status = StatusBoard(
            config,
            journal,
            self.desk,
            self._market,
            self._account,
            self._switches,
            self._preparation,
            self.risk,
            self._sides,
            self._hearing,
            clock,
            self._exchange_clock,
        )
        self._upkeep = Upkeep(
            config,
            inbox,
            self._reconciler,
            self._hearing,
            self._preparation,
            self.risk,
            self._equity,
            self._status,
            self._metrics,
            clock,
            self._intake.one_at_a_time,
        )
        self.desk.on_finish = lambda live, reason: self._spawn(self._finish(live, reason))
        self.desk.on_repair = lambda live, symbol: self._spawn(self._reconciler.repair(live, symbol))
        self.desk.on_pause = lambda reason: self._spawn(self._control.pause(reason))
        self.desk.on_milestone = self._milestone
        self._group: asyncio.TaskGroup | None = None

    # --- life ---------------------------------------------------------------------------------------------------------

    async def run(self, stop: asyncio.Event) -> None:
        """Until ``stop``, or until ``key_changed``: then another must be made with the new credentials. Raises what ends the
        process: NotPermitted, JournalUnavailable, or a bug."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                group.create_task(self._live())
                ends = [asyncio.ensure_future(event.wait()) for event in (stop, self.key_changed)]
                try:
                    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for end in ends:
                        end.cancel()
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
        await self._hearing.latest_market(self._config.rules.symbol)
        self._account.read(await self._exchange.account())
        await self._reconciler.recover_trades(lives)
        await self.risk.start()
        await self._sides.start()
        log.info("trader_ready", mode=self._config.exchange_name, live_trades=len(self.desk.trades), starts=lives)
        loops = (
            self._hearing.exchange_events,
            self._hearing.market_feed,
            self._prepare,
            self._reception.receive,
            self._upkeep.check_accounts,
            self._upkeep.watch_risk,
            self._probe.run,
            self._lease.keep,
            self._upkeep.heartbeat,
            self._upkeep.measure,
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

    async def _prepare(self) -> None:
        """The exchange may take its time: an operator who wants everything closed does not wait for it. A setting that it refuses
        ends the process, but for open trades: they are managed on, and nothing is opened."""
        try:
            await self._preparation.prepare(self.risk.leverage)
        except OrderRefused as error:
            if not self.desk.trades:
                raise
            log.error("symbols_not_prepared", error=str(error))
            await self._control.pause("setting_refused")
        else:
            await self._reception.begin_trading()
            self._inbox.think_ahead(self._intake.think_ahead)

    def _stream_up(self) -> None:
        self._equity.stream_up()
        self._spawn(self._reconciler.repair_all())

    async def _change_key(self) -> Answer:
        """Nothing is opened while the proposed credentials are tried, nor under the old ones after them: once that is told, this
        trader ends."""
        is_changed = False
        await self._intake.one_at_a_time.acquire()
        try:
            open_trades = len(self.desk.trades) or len(self.desk.owners())  # or one that is just being opened
            refusal = refuse("no_key_proposed") if self._keys is None else await self._keys.change(open_trades)
            is_changed = refusal is None
        finally:
            if not is_changed:
                self._intake.one_at_a_time.release()
        if is_changed:
            asyncio.get_running_loop().call_later(KEY_CHANGE_TOLD_S, self.key_changed.set)
        return changed_answer(refusal, self._clock.wall_ms())

    # --- what a trade reports -------------------------------------------------------------------------------------------

    def _milestone(self, live: LiveTrade, kind: str, data: Mapping[str, Any]) -> None:
        say = log.debug if kind in QUIET else log.info
        say(kind, trade_id=live.trade_id, **{key: value for key, value in data.items() if key not in ("event", "trade_id")})
        self._trade_metrics.milestone(live, kind, data)
        if kind == "protected" and not live.replied:
            live.replied = True
            self._spawn(self._reception.reply(live.alert_id, placed_reply(live)))

    async def _finish(self, live: LiveTrade, reason: str) -> None:
        """Account for it, free its symbols, tell its sender, and let an alert that waited for its end have its turn."""
        closed = await self._settlement.settle(live, reason)
        self.desk.forget(live)
        self.risk.closed(closed)
        if self._sides.closed(closed):
            self._spawn(self._sides.keep())
        self._metrics.emit({"trade_r": float(closed.net_r)})
        if not live.replied:
            live.replied = True
            await self._reception.reply(live.alert_id, unfilled_reply(live, reason))
        if (waiting := self._intake.reversals.pop(live.trade_id, None)) is not None:
            item, taken_at = waiting
            waited_ms = round((self._clock.monotonic() - taken_at) * 1000)
            # its latencies would be those of the trade it waited for
            await self._reception.handle(replace(item, age_ms=item.age_ms + waited_ms, redelivered=True))

    # --- for whoever drives its time --------------------------------------------------------------------------------------

    async def check_account(self) -> None:
        """As the upkeep does every few seconds: where time is virtual, that is rare and asked for."""
        await self._upkeep.check_account()

    def check_risk(self) -> None:
        self._upkeep.check_risk()

    def status(self) -> Mapping[str, Any]:
        """What it says of itself in its heartbeat."""
        return self._status.words()


class _Stopped(Exception):
    """Asked to stop; unwinds the task group."""
