"""From an alert in the inbox to a trade on its way, or a named refusal: facts, rules, durable plan, entry."""

import asyncio
from decimal import Decimal
from typing import Any

import structlog

from app.bus import port
from app.bus.port import InboxItem
from app.clock import Clock
from app.domain.bodies import TAG_TEXT
from app.domain.plan import Plan
from app.domain.planning import ClosesOpposite, PlanIds, Planned, Refused, plan_trade
from app.domain.refusals import refuse
from app.domain.signal import Alert, tag_text_side
from app.domain.structure import RANGE_MS
from app.domain.trade import new_trade
from app.domain.trade.messages import ExitRequested
from app.domain.trade.state import Window
from app.domain.verdict import Refusal, Verdict
from app.domain.views import AccountView, DeskView, MarketView, SymbolView
from app.exchange.errors import ExchangeError
from app.exchange.port import Exchange
from app.storage.port import AlertRecord, DuplicateAlert, Journal
from app.telemetry.metrics import Metrics
from app.trader.account_state import AccountState
from app.trader.components import ComponentBook, ComponentIntake, is_composite
from app.trader.config import TraderConfig
from app.trader.desk import Desk
from app.trader.live_trade import LiveTrade
from app.trader.market_view import MarketState
from app.trader.preparation import Preparation
from app.trader.replies import Reply, refusal_reply, said
from app.trader.risk_desk import RiskDesk
from app.trader.switches import SwitchBoard

log = structlog.get_logger(__name__)


class Intake:
    """Takes one alert at a time. ``take`` returns the reply for the alert's sender, or None when it follows with the trade."""

    def __init__(
        self,
        config: TraderConfig,
        exchange: Exchange,
        journal: Journal,
        desk: Desk,
        market: MarketState,
        account: AccountState,
        switches: SwitchBoard,
        clock: Clock,
        preparation: Preparation,
        risk: RiskDesk,
        metrics: Metrics,
    ) -> None:
        self._config = config
        self._exchange = exchange
        self._journal = journal
        self._desk = desk
        self._market = market
        self._account = account
        self._switches = switches
        self._clock = clock
        self._preparation = preparation
        self._risk = risk
        self._metrics = metrics
        self._book = ComponentBook(journal, config.rules.timeframe_ms)
        self._components = ComponentIntake(self._book, journal, config.rules, config.signals, clock, self._take_alert)
        self.one_at_a_time = asyncio.Lock()  # between deciding to open and having opened nothing else may be decided
        # live trade id → the alert that is to open once it is closed, and when it was taken
        self.reversals: dict[str, tuple[InboxItem, float]] = {}

    async def take(self, item: InboxItem) -> Reply | None:
        async with self.one_at_a_time:
            return await self._take(item)

    async def _take(self, item: InboxItem) -> Reply | None:
        match item.envelope.source:
            case port.COMPONENT_SOURCE:
                return await self._components.take(item, self._desk.now().exchange_ms)
            case port.TEXT_SOURCE:
                return await self._keep_text(item)
        try:
            return await self._take_alert(item, Alert.from_json(item.envelope.body))
        except ValueError as error:
            return await self._refuse(item, refuse("bad_request", field="the stored alert"), str(error))

    async def _take_alert(self, item: InboxItem, alert: Alert) -> Reply | None:
        envelope = item.envelope
        # The inbox has let a new alert through, and the journal's unique key has the last word: only others are looked up first.
        may_be_known = item.redelivered or is_composite(alert)
        if may_be_known and (known := await self._journal.alert(envelope.alert_id)) is not None:  # whatever it did, it did
            if not known.code:
                await self._book.traded(alert, envelope.alert_id)
            return {"status": "duplicate", "id": envelope.alert_id}
        if (earlier := await self._book.trade_of(alert)) is not None:
            await self._journal.refuse(self._record(item, "same_signal", refuse("same_signal", trade=earlier).message, ()))
            return {"status": "duplicate", "id": earlier}
        await self._refresh_quotes(alert.symbol)
        outcome = plan_trade(
            alert,
            self._market_view(item.age_ms),
            self._account_view(),
            self._desk_view(alert.symbol),
            self._config.rules,
            PlanIds(envelope.alert_id, envelope.lasting_key),
            self._risk.view(self._preparation.leverages.get(alert.symbol)),
        )
        try:
            match outcome:
                case Planned(plan, verdicts):
                    await self._open(item, plan, verdicts)
                    await self._book.traded(alert, plan.trade_id)
                    return None
                case Refused(refusal, verdicts):
                    await self._journal.refuse(self._record(item, refusal.code, refusal.message, verdicts))
                    log.info("alert_refused", alert_id=envelope.alert_id, code=refusal.code, reason=refusal.message)
                    self._metrics.emit({"alerts_refused": 1}, code=refusal.code)
                    return refusal_reply(envelope.alert_id, refusal, verdicts)
                case ClosesOpposite(reverse=reverse, verdicts=verdicts):
                    return await self._close_opposite(item, alert.symbol, reverse, verdicts)
        except DuplicateAlert as duplicate:
            return {"status": "duplicate", "id": duplicate.alert_id}

    async def _open(self, item: InboxItem, plan: Plan, verdicts: tuple[Verdict, ...]) -> None:
        """One durable commit, then the entry at once."""
        await self._journal.open_trade(self._record(item, "", "", verdicts), plan)
        received_at = None if item.redelivered else item.envelope.received_at
        opened_at = self._clock.monotonic()
        live = LiveTrade(new_trade(plan), item.envelope.alert_id, received_at, opened_at, verdicts)
        for symbol in plan.symbols:
            if (quote := self._market.quotes.get(symbol)) is not None:
                live.trade.quotes[symbol] = (quote, self._market.quote_seen_at[symbol])
        # While the plan was written a breaker may have tripped, or the lease have run out.
        live.trade.buying_stopped = self._risk.forbids(plan.side) or not self._switches.may_open
        self._desk.start(live, _headline(plan))

    def is_waiting(self, item: InboxItem) -> bool:
        """For the trade against it to be closed: it is not done before that."""
        return any(waiting.receipt == item.receipt for waiting, _ in self.reversals.values())

    def _trade_on(self, symbol: str) -> LiveTrade | None:
        """The strategy's own."""
        plans = ((live, live.trade.plan) for live in self._desk.trades.values())
        return next((live for live, plan in plans if plan.symbol == symbol and plan.is_managed), None)

    async def _close_opposite(self, item: InboxItem, symbol: str, reverse: bool, verdicts: tuple[Verdict, ...]) -> Reply | None:
        if await self._journal.alert(item.envelope.alert_id) is not None:
            raise DuplicateAlert(item.envelope.alert_id)  # ending a trade comes before the record that would say so
        live = self._trade_on(symbol)
        if live is None:
            raise RuntimeError("an opposite trade was planned against that does not live")
        self._desk.tell(live.trade_id, ExitRequested("opposite_signal"))
        if reverse:
            waiting, _ = self.reversals.setdefault(live.trade_id, (item, self._clock.monotonic()))
            if waiting.envelope.alert_id == item.envelope.alert_id:
                return None
        message = f"closes trade {live.trade_id}; opens nothing (exits.reverse_on_opposite is off)"
        await self._journal.refuse(self._record(item, "closed_opposite", message, verdicts))
        answer = {"status": "closing opposite trade", "id": item.envelope.alert_id, "closes": live.trade_id}
        return {**answer, "verdicts": said(verdicts)}

    async def _keep_text(self, item: InboxItem) -> Reply:
        """A text of tags is journalled, and answered as the gateway has answered it already."""
        side = tag_text_side(str(item.envelope.body.get("text", "")))
        refusal = refuse(TAG_TEXT, direction=f"pointing to {side}" if side else "without one direction")
        try:
            await self._journal.refuse(self._record(item, refusal.code, refusal.message, ()))
        except DuplicateAlert as duplicate:
            return {"status": "duplicate", "id": duplicate.alert_id}
        return refusal_reply(item.envelope.alert_id, refusal)

    async def _refuse(self, item: InboxItem, refusal: Refusal, why: str) -> Reply:
        await self._journal.refuse(self._record(item, refusal.code, why, ()))
        log.warning("alert_unreadable", alert_id=item.envelope.alert_id, reason=why)
        return refusal_reply(item.envelope.alert_id, refusal)

    def _record(self, item: InboxItem, code: str, message: str, verdicts: tuple[Verdict, ...]) -> AlertRecord:
        envelope = item.envelope
        return AlertRecord(envelope.alert_id, envelope.lasting_key, envelope.body, envelope.received_ms, code, message, verdicts)

    async def _refresh_quotes(self, symbol: str) -> None:
        """A best quote that is missing or too old is read once by request."""
        rules = self._config.rules
        if symbol not in rules.traded:
            return
        limit_s = rules.freshness.quote_ms / 1000
        for name in (symbol, *rules.hedge_symbols):
            age = self._market.quote_age_s(name)
            if age is not None and age <= limit_s:
                continue
            try:
                self._market.absorb(await self._exchange.quote(name))
            except ExchangeError as error:
                log.warning("quote_unreadable", symbol=name, error=str(error))

    def _market_view(self, alert_age_ms: int) -> MarketView:
        rules = self._config.rules
        return MarketView(
            now_ms=self._desk.now().exchange_ms,
            alert_age_ms=alert_age_ms,
            symbols={
                symbol: SymbolView(
                    instrument=self._exchange.instrument(symbol),
                    quote=self._market.quotes.get(symbol),
                    mark=self._market.marks.get(symbol),
                    bars=self._market.indicators.get((symbol, rules.timeframe_ms)),
                    commission=self._preparation.commissions.get(symbol),
                    beta=self._market.betas.get(symbol),
                    flow=self._market.flows.get(symbol),
                    regime=self._market.regimes.get(symbol),
                    structure=self._market.structures.get((symbol, rules.timeframe_ms)),
                    range=self._market.structures.get((symbol, max(RANGE_MS, rules.timeframe_ms))),
                    quarter=self._market.quarters.get(symbol),
                    maintenance_rate=self._maintenance_rate(symbol),
                    funding_interval_h=self._preparation.terms[symbol].funding_interval_h,
                )
                for symbol in rules.symbols
            },
            correlations=self._market.correlations,
        )

    def _maintenance_rate(self, symbol: str) -> Decimal:
        """Of the largest position the equity could carry: a smaller one's rate is no higher."""
        equity, terms = self._account.equity, self._preparation.terms[symbol]
        return terms.maintenance_rate((equity or Decimal(0)) * self._config.rules.sizing.leverage)

    def _account_view(self) -> AccountView:
        available = self._account.available
        return AccountView(
            self._account.equity, None if available is None else available - self._promised(), self._account.age_ms or 0
        )

    def _promised(self) -> Decimal:
        """Margin of trades still entering, or begun since the balance was read: the read may not show it yet."""
        read_at = self._clock.monotonic() - (self._account.age_ms or 0) / 1000
        young = (t for t in self._desk.trades.values() if t.opened_at >= read_at or t.trade.main.window is not Window.CLOSED)
        return sum((live.trade.plan.margin for live in young), Decimal(0))

    def _desk_view(self, symbol: str) -> DeskView:
        owners = dict.fromkeys(self._account.positions, "foreign") | self._desk.owners()
        under_way = self._trade_on(symbol)
        return DeskView(
            live=self._config.live,
            armed=self._switches.armed,
            trading=self._switches.state,
            owners=owners,
            live_trade_side=None if under_way is None else under_way.trade.plan.side,
        )


def _headline(plan: Plan) -> dict[str, Any]:
    return {
        "symbol": plan.symbol,
        "side": plan.side.value,
        "p0": plan.p0,
        "stop": plan.stop,
        "stop_source": str(plan.stop_source),
        "quantity": plan.quantity,
        "risk_usdt": plan.risk_usdt,
        "worst_case_r": plan.worst_case_r,
        "hedges": [hedge.instrument.symbol for hedge in plan.hedges],
        "warnings": list(plan.warnings),
    }
