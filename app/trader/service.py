"""The trader: the only process that orders. Loops bring facts to the desk; the desk's hooks bring back what is beyond one trade.

It is crash-only: what cannot be handled ends the process, and the next start recovers from journal and exchange.
"""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import structlog

from app.bus.port import BusUnavailable, Inbox, InboxItem, Lease, MarketBus
from app.clock import Clock, ExchangeClock
from app.domain.market import BarIndicators, MarketMessage, MarkPrice, Quote
from app.domain.orders import AccountUpdate, ExchangeEvent, Fill, OrderState, StreamDown, StreamUp
from app.domain.refusals import refuse
from app.domain.trade.messages import BarClosed, ExitRequested, QuoteSeen, StopBuying
from app.exchange.errors import ExchangeError, NotExecuted, OrderRefused, OutcomeUnknown, RateLimited
from app.exchange.port import Exchange
from app.storage.port import Journal, JournalUnavailable, Note
from app.trader.account_state import AccountState
from app.trader.accounting import account_for, may_have_funding
from app.trader.config import TraderConfig
from app.trader.desk import Desk
from app.trader.intake import Intake, refusal_reply
from app.trader.live_trade import LiveTrade
from app.trader.market_view import MarketState
from app.trader.operator import UnknownCommand, parse_command
from app.trader.reconciliation import Reconciler
from app.trader.replies import placed_reply, unfilled_reply
from app.trader.switches import SwitchBoard

log = structlog.get_logger(__name__)

BUS_RETRY_S = 0.5
CONNECT_RETRY_S, MAX_CONNECT_WAIT_S, CONNECT_TRIES = 0.5, 10.0, 4
QUIET = frozenset({"order_sent", "order_acknowledged"})  # every one is in the journal; the log needs none of them
TAKE_TIMEOUT_S = 1.0


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
        self._bus = market_bus
        self._journal = journal
        self._lease = lease
        self._clock = clock
        self._exchange_clock = ExchangeClock(clock)
        self._market = MarketState(clock, self._exchange_clock)
        self._account = AccountState(clock)
        self._switches = SwitchBoard(journal, config.key_fingerprint, config.live, clock)
        self._exchange_up = False
        self.desk = Desk(exchange, journal, clock, self._exchange_clock, self._spawn)
        self._intake = Intake(config, exchange, journal, self.desk, self._market, self._account, self._switches, clock)
        self._reconciler = Reconciler(exchange, journal, self.desk, self._market, self._account, clock)
        self.desk.on_finish = lambda live, reason: self._spawn(self._finish(live, reason))
        self.desk.on_repair = lambda live, symbol: self._spawn(self._reconciler.repair(live, symbol))
        self.desk.on_pause = lambda reason: self._spawn(self._pause(reason))
        self.desk.on_milestone = self._milestone
        self._group: asyncio.TaskGroup | None = None

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
        await self._become_holder()
        lives = await self._switches.start()
        await self._connect()
        self._market.absorb_all(await self._latest_market())
        self._account.read(await self._exchange.account())
        await self._reconciler.recover_trades(lives)
        log.info("trader_ready", mode=self._config.exchange_name, live_trades=len(self.desk.trades), starts=lives)
        loops = (self._events, self._market_feed, self._alerts, self._checks, self._keep_lease, self._heartbeat)
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

    async def _connect(self) -> None:
        """What another program on this address has used up of its limits is waited for; an exchange that does not answer is
        asked a few times, since open positions may wait for us; then, and for anything else, the process ends."""
        failures = 0
        while True:
            try:
                await self._exchange.connect()
            except RateLimited as error:
                log.warning("exchange_limits_used_up", error=str(error), retry_after_s=round(error.retry_after, 1))
                await self._clock.sleep(min(max(error.retry_after, CONNECT_RETRY_S), MAX_CONNECT_WAIT_S))
            except NotExecuted as error:
                failures += 1
                if failures == CONNECT_TRIES:
                    raise
                log.warning("exchange_not_connected", error=str(error))
                await self._clock.sleep(CONNECT_RETRY_S)
            else:
                return

    # --- start --------------------------------------------------------------------------------------------------------

    async def _become_holder(self) -> None:
        """Wait for the lease: a second trader touches nothing."""
        while not await self._try_lease():
            await self._clock.sleep(self._config.lease_every_s)

    async def _try_lease(self) -> bool:
        asked_at = self._clock.monotonic()
        try:
            held = await self._lease.renew() or await self._lease.acquire()
        except BusUnavailable as error:
            log.warning("lease_unreachable", setting="redis.inbox_url (QC_REDIS__INBOX_URL)", error=str(error))
            held = False
        self._switches.lease_until = asked_at + self._config.lease_trusted_s if held else 0.0
        return held

    async def _latest_market(self) -> list[MarketMessage]:
        try:
            return list(await self._bus.latest())
        except BusUnavailable:
            return []  # no market data yet: entries stop, recovery goes on

    async def _prepare_symbols(self) -> None:
        """Isolated margin and leverage, only where flat and without orders; commission rates of the account."""
        for symbol in self._config.rules.symbols:
            while True:
                try:
                    await self._prepare_symbol(symbol)
                    break
                except (NotExecuted, OutcomeUnknown) as error:
                    log.warning("symbol_not_prepared", symbol=symbol, error=str(error))
                    await self._clock.sleep(BUS_RETRY_S)

    async def _prepare_symbol(self, symbol: str) -> None:
        self._intake.commissions[symbol] = await self._exchange.commission_rates(symbol)
        if await self._is_in_use(symbol):
            return
        try:
            await self._exchange.set_isolated_margin(symbol)
            await self._exchange.set_leverage(symbol, self._config.rules.sizing.leverage)
        except OrderRefused:
            if not await self._is_in_use(symbol):  # by a hand that came in between
                raise

    async def _is_in_use(self, symbol: str) -> bool:
        self._account.read(await self._exchange.account())
        orders = await self._exchange.open_orders(symbol)
        return symbol in self._account.positions or self.desk.owner_of(symbol) is not None or bool(orders)

    # --- facts --------------------------------------------------------------------------------------------------------

    async def _events(self) -> None:
        async for event in self._exchange.events():
            self._absorb(event)

    def _absorb(self, event: ExchangeEvent) -> None:
        match event:
            case OrderState():
                self._exchange_clock.observe(event.updated_ms)
                self.desk.order_seen(event)
            case Fill():
                self._exchange_clock.observe(event.time_ms)
                self.desk.fill_seen(event)
            case AccountUpdate():
                self._exchange_clock.observe(event.time_ms)
                self._account.absorb(event)
            case StreamDown(reason):
                self._exchange_up = False
                log.warning("private_stream_down", reason=reason)
            case StreamUp():
                self._exchange_up = True
                self._spawn(self._reconciler.repair_all())

    async def _market_feed(self) -> None:
        while True:
            try:
                subscription = self._bus.subscribe()
                self._market.absorb_all(await self._bus.latest())
                async for message in subscription:
                    self._hear(message)
            except BusUnavailable as error:
                log.warning("market_bus_unreachable", error=str(error))
            await self._clock.sleep(BUS_RETRY_S)

    def _hear(self, message: MarketMessage) -> None:
        self._market.absorb(message)
        if isinstance(message, Quote):
            if live := self.desk.owner_of(message.symbol):
                self.desk.tell(live.trade_id, QuoteSeen(message))
        elif isinstance(message, BarIndicators) and message.interval_ms == self._config.rules.timeframe_ms:
            for live in list(self.desk.trades.values()):
                if live.trade.plan.symbol == message.symbol:
                    self.desk.tell(live.trade_id, BarClosed(message))
        elif isinstance(message, MarkPrice):
            self._account.mark(message)

    # --- alerts -------------------------------------------------------------------------------------------------------

    async def _alerts(self) -> None:
        await self._prepare_symbols()
        while True:
            try:
                for item in await self._take():
                    await self._handle(item)
            except BusUnavailable as error:
                log.warning("inbox_unreachable", error=str(error))
                await self._clock.sleep(BUS_RETRY_S)

    async def _take(self) -> Sequence[InboxItem]:
        """Only the holder of the lease takes from the inbox: what it left belongs to the next one."""
        while not self._switches.has_lease:
            await self._clock.sleep(BUS_RETRY_S)
        return await self._inbox.take(TAKE_TIMEOUT_S)

    async def _handle(self, item: InboxItem) -> None:
        """One alert or command. An inbox or journal that fails meanwhile costs its answer, never the next item or a trade."""
        alert_id = item.envelope.alert_id
        try:
            if item.envelope.source == "operator":
                reply: Mapping[str, Any] | None = await self._obey(item.envelope.body)
            else:
                reply = await self._intake.take(item)
        except JournalUnavailable as error:
            log.error("alert_not_taken", alert_id=alert_id, error=str(error))
            await self._reply(alert_id, {**refusal_reply(alert_id, refuse("journal_unavailable")), "http_status": 503})
            return  # not done: the next start finds it, and it will be too old to trade
        if reply is not None:
            await self._reply(alert_id, reply)
        try:
            await self._inbox.done(item)
        except BusUnavailable as error:
            log.warning("item_not_done", alert_id=alert_id, error=str(error))

    async def _obey(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """An operator's command."""
        try:
            command = parse_command(body)
        except UnknownCommand as error:
            return {"http_status": 422, "success": False, "code": "unknown_command", "error": str(error), "suggestions": []}
        match command:
            case "arm":
                await self._switches.arm()
            case "disarm":
                await self._switches.disarm()
            case "pause":
                self.desk.tell_all(StopBuying())
                await self._pause("operator")
            case "resume":
                await self._switches.resume()
            case "flatten":
                self.desk.tell_all(ExitRequested("operator"))
        self._note_system(f"operator_{command}", {})
        return {"status": "done", "command": command, "state": self._status()}

    async def _pause(self, reason: str) -> None:
        """Durable, so that a restart does not resume; kept in this process even where the journal cannot be written."""
        log.error("trading_paused", reason=reason)
        try:
            await self._switches.pause(reason)
        except JournalUnavailable as error:
            log.error("pause_not_durable", error=str(error))
        self._note_system("paused", {"reason": reason})

    def _note_system(self, kind: str, data: Mapping[str, Any]) -> None:
        self._journal.append(Note("", kind, self._exchange_clock.now_ms(), self._clock.wall_ms(), data))

    # --- what a trade reports -------------------------------------------------------------------------------------------

    def _milestone(self, live: LiveTrade, kind: str, data: Mapping[str, Any]) -> None:
        say = log.debug if kind in QUIET else log.info
        say(kind, trade_id=live.trade_id, **{key: value for key, value in data.items() if key not in ("event", "trade_id")})
        if kind == "protected" and not live.replied:
            live.replied = True
            self._spawn(self._reply(live.alert_id, placed_reply(live)))

    async def _reply(self, alert_id: str, reply: Mapping[str, Any]) -> None:
        try:
            await self._inbox.reply(alert_id, reply)
        except BusUnavailable as error:
            log.warning("reply_not_delivered", alert_id=alert_id, error=str(error))

    async def _finish(self, live: LiveTrade, reason: str) -> None:
        """Flat and clean: account for it, durably, then free its symbols."""
        funding = await self._funding(live)
        await self._read_account()  # the margin it held is free again for whoever comes next
        closed = account_for(live, reason, funding, self._exchange_clock.now_ms())
        self._journal.append(closed)
        while not await self._is_written():
            await self._clock.sleep(BUS_RETRY_S)
        self.desk.forget(live)
        log.info("trade_closed", trade_id=live.trade_id, reason=reason, net_r=str(closed.net_r), fees=str(closed.fees))
        if not live.replied:
            live.replied = True
            await self._reply(live.alert_id, unfilled_reply(live, reason))
        if (waiting := self._intake.reversals.pop(live.trade_id, None)) is not None:
            item, taken_at = waiting
            waited_ms = round((self._clock.monotonic() - taken_at) * 1000)
            await self._handle(replace(item, age_ms=item.age_ms + waited_ms))

    async def _read_account(self) -> None:
        try:
            self._account.read(await self._exchange.account())
        except ExchangeError as error:
            log.warning("account_unreadable", error=str(error))

    async def _is_written(self) -> bool:
        try:
            await self._journal.flush()
        except JournalUnavailable as error:
            log.error("journal_unwritable", error=str(error))
            return False
        return True

    async def _funding(self, live: LiveTrade) -> Decimal:
        if not may_have_funding(live.trade.fills.values()):
            return Decimal(0)  # asking costs 30 of the request budget per symbol
        total = Decimal(0)
        since_ms = min(fill.time_ms for fill in live.trade.fills.values())
        for symbol in live.trade.plan.symbols:
            while True:
                try:
                    total += sum((paid for _, paid in await self._exchange.funding_paid_since(symbol, since_ms)), Decimal(0))
                    break
                except ExchangeError as error:
                    log.warning("funding_unreadable", symbol=symbol, error=str(error))
                    await self._clock.sleep(BUS_RETRY_S)
        return total

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

    async def _keep_lease(self) -> None:
        while True:
            await self._clock.sleep(self._config.lease_every_s)
            had = self._switches.lease_until > 0
            if not await self._try_lease() and had:
                log.error("lease_lost")
                self.desk.tell_all(StopBuying())

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
            "exchange_up": self._exchange_up,
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
