"""From an alert in the inbox to a trade on its way, or a named refusal: facts, rules, durable plan, entry."""

import asyncio
from typing import Any

import structlog

from app.bus import port
from app.bus.port import AlertEnvelope, InboxItem
from app.clock import Clock
from app.domain.bodies import TAG_TEXT
from app.domain.plan import Plan
from app.domain.planning import ClosesOpposite, Planned, Refused
from app.domain.refusals import refuse
from app.domain.signal import Alert, tag_text_side
from app.domain.trade import new_trade
from app.domain.trade.messages import ExitRequested
from app.domain.trade.state import Trade
from app.domain.verdict import Refusal, Verdict
from app.exchange.errors import ExchangeError
from app.exchange.port import Exchange
from app.storage.port import AlertRecord, DuplicateAlert, Journal
from app.telemetry.metrics import Metrics
from app.trader.components import ComponentBook, ComponentIntake, is_composite
from app.trader.config import TraderConfig
from app.trader.desk import Desk
from app.trader.live_trade import LiveTrade
from app.trader.market_view import MarketState
from app.trader.planner import Planner
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
        switches: SwitchBoard,
        clock: Clock,
        planner: Planner,
        risk: RiskDesk,
        metrics: Metrics,
    ) -> None:
        self._config = config
        self._exchange = exchange
        self._journal = journal
        self._desk = desk
        self._market = market
        self._switches = switches
        self._clock = clock
        self._planner = planner
        self._risk = risk
        self._metrics = metrics
        self._book = ComponentBook(journal, config.rules.timeframe_ms)
        self._components = ComponentIntake(self._book, journal, config.rules, config.signals, clock, self._take_alert)
        self.one_at_a_time = asyncio.Lock()  # between deciding to open and having opened nothing else may be decided
        # live trade id → the alert that is to open once it is closed, and when it was taken
        self.reversals: dict[str, tuple[InboxItem, float]] = {}

    def think_ahead(self, envelope: AlertEnvelope | None) -> None:
        """It is just being put into the inbox: its plan. None: something is on its way there, not known yet what."""
        if envelope is None:
            self._planner.gather()
        else:
            self._planner.think_ahead(envelope)

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
            await self._journal.refuse(_record(item.envelope, "same_signal", refuse("same_signal", trade=earlier).message, ()))
            return {"status": "duplicate", "id": earlier}
        await self._refresh_quotes(alert.symbol)
        outcome = self._planner.plan(item, alert)
        try:
            match outcome:
                case Planned(plan, verdicts):
                    await self._open(item, plan, verdicts)
                    await self._book.traded(alert, plan.trade_id)
                    return None
                case Refused(refusal, verdicts):
                    await self._journal.refuse(_record(item.envelope, refusal.code, refusal.message, verdicts))
                    log.info("alert_refused", alert_id=envelope.alert_id, code=refusal.code, reason=refusal.message)
                    self._metrics.emit({"alerts_refused": 1}, code=refusal.code)
                    return refusal_reply(envelope.alert_id, refusal, verdicts)
                case ClosesOpposite(reverse=reverse, verdicts=verdicts):
                    return await self._close_opposite(item, alert.symbol, reverse, verdicts)
        except DuplicateAlert as duplicate:
            return {"status": "duplicate", "id": duplicate.alert_id}

    async def _open(self, item: InboxItem, plan: Plan, verdicts: tuple[Verdict, ...]) -> None:
        """One durable commit, then the entry at once."""
        record = _record(item.envelope, "", "", verdicts)
        # What follows is rehearsed while the disk writes: after some milliseconds of rest it would take three times as long.
        await self._journal.open_trade(record, plan, lambda: self._desk.rehearse(self._new_trade(plan)))
        received_at = None if item.redelivered else item.envelope.received_at
        live = LiveTrade(self._new_trade(plan), item.envelope.alert_id, received_at, self._clock.monotonic(), verdicts)
        # While the plan was written a breaker may have tripped, or the lease have run out.
        live.trade.buying_stopped = self._risk.forbids(plan.side) or not self._switches.may_open
        self._desk.start(live, _headline(plan))

    def _new_trade(self, plan: Plan) -> Trade:
        """With the newest quotes."""
        trade = new_trade(plan)
        for symbol in plan.symbols:
            if (quote := self._market.quotes.get(symbol)) is not None:
                trade.quotes[symbol] = (quote, self._market.quote_seen_at[symbol])
        return trade

    def is_waiting(self, item: InboxItem) -> bool:
        """For the trade against it to be closed: it is not done before that."""
        return any(waiting.receipt == item.receipt for waiting, _ in self.reversals.values())

    async def _close_opposite(self, item: InboxItem, symbol: str, reverse: bool, verdicts: tuple[Verdict, ...]) -> Reply | None:
        if await self._journal.alert(item.envelope.alert_id) is not None:
            raise DuplicateAlert(item.envelope.alert_id)  # ending a trade comes before the record that would say so
        live = self._planner.trade_on(symbol)
        if live is None:
            raise RuntimeError("an opposite trade was planned against that does not live")
        self._desk.tell(live.trade_id, ExitRequested("opposite_signal"))
        if reverse:
            waiting, _ = self.reversals.setdefault(live.trade_id, (item, self._clock.monotonic()))
            if waiting.envelope.alert_id == item.envelope.alert_id:
                return None
        message = f"closes trade {live.trade_id}; opens nothing (exits.reverse_on_opposite is off)"
        await self._journal.refuse(_record(item.envelope, "closed_opposite", message, verdicts))
        answer = {"status": "closing opposite trade", "id": item.envelope.alert_id, "closes": live.trade_id}
        return {**answer, "verdicts": said(verdicts)}

    async def _keep_text(self, item: InboxItem) -> Reply:
        """A text of tags is journalled, and answered as the gateway has answered it already."""
        side = tag_text_side(str(item.envelope.body.get("text", "")))
        refusal = refuse(TAG_TEXT, direction=f"pointing to {side}" if side else "without one direction")
        try:
            await self._journal.refuse(_record(item.envelope, refusal.code, refusal.message, ()))
        except DuplicateAlert as duplicate:
            return {"status": "duplicate", "id": duplicate.alert_id}
        return refusal_reply(item.envelope.alert_id, refusal)

    async def _refuse(self, item: InboxItem, refusal: Refusal, why: str) -> Reply:
        await self._journal.refuse(_record(item.envelope, refusal.code, why, ()))
        log.warning("alert_unreadable", alert_id=item.envelope.alert_id, reason=why)
        return refusal_reply(item.envelope.alert_id, refusal)

    async def _refresh_quotes(self, symbol: str) -> None:
        """A best quote that is missing or too old is read once by request."""
        for name in self._planner.stale_quotes(symbol):
            try:
                self._market.absorb(await self._exchange.quote(name))
            except ExchangeError as error:
                log.warning("quote_unreadable", symbol=name, error=str(error))


def _record(envelope: AlertEnvelope, code: str, message: str, verdicts: tuple[Verdict, ...]) -> AlertRecord:
    return AlertRecord(envelope.alert_id, envelope.lasting_key, envelope.body, envelope.received_ms, code, message, verdicts)


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
