"""The advanced webhook's requests carried out: one at a time per symbol, beside the strategy's alerts.

BUY and SELL: judge, read balance and price, size, close the opposite position, set leverage and margin type, then a market
order that runs on the trade machine under the request's own id, its stop first on the socket after the fill. CLOSE: see
``advanced_close``. What is claimed or opened here the strategy finds owned, and the other way round.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import structlog

from app.bus.port import InboxItem
from app.clock import Clock
from app.domain import advanced_answers as answers
from app.domain.advanced import NotOpened, Opening, OpeningFacts, opening_guards, plan_opening
from app.domain.advanced_answers import NONE_CLOSED, Answer
from app.domain.advanced_size import calculate_position_quantity
from app.domain.contract_terms import ContractTerms
from app.domain.orders import CommissionRates
from app.domain.plan import Owner
from app.domain.refusals import refusal_of, refuse
from app.domain.requests import AdvancedAction, AdvancedRequest
from app.domain.risk.view import RiskView
from app.domain.trade import new_trade
from app.domain.verdict import Refusal, Verdict
from app.domain.views import DeskView
from app.exchange.port import Exchange
from app.storage.port import AlertRecord, DuplicateAlert, Journal
from app.trader.account_state import AccountState
from app.trader.advanced_calls import Failed, call_binance_api, ensure_binance_client, find_instrument
from app.trader.advanced_close import (
    FOREIGN,
    Closer,
    CloseTarget,
    close_opposite_position,
    find_target,
    handle_close_position,
)
from app.trader.advanced_outcome import outcome_of
from app.trader.config import TraderConfig
from app.trader.desk import Desk
from app.trader.live_trade import LiveTrade
from app.trader.replies import said
from app.trader.switches import SwitchBoard

__all__ = [
    "AdvancedTrading",
    "calculate_position_quantity",
    "call_binance_api",
    "close_opposite_position",
    "ensure_binance_client",
    "handle_close_position",
]

log = structlog.get_logger(__name__)

CLOSES = "closes"  # where a close's record names its target


@dataclass(slots=True)
class _Request:
    """One request under way, and what has come of it so far. ``since``: monotonic, when it was taken."""

    item: InboxItem
    asked: AdvancedRequest
    since: float
    verdicts: tuple[Verdict, ...] = ()
    opposite: str = NONE_CLOSED

    @property
    def alert_id(self) -> str:
        return self.item.envelope.alert_id


class _Refused(Exception):
    """A guard's word against it."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class AdvancedTrading:
    """``deciding`` is held by whoever decides to open something; ``risk`` tells what the account-level breakers say now;
    ``on_margin`` hears of a symbol whose leverage and margin type are about to be another's."""

    def __init__(
        self,
        config: TraderConfig,
        exchange: Exchange,
        journal: Journal,
        desk: Desk,
        account: AccountState,
        switches: SwitchBoard,
        clock: Clock,
        deciding: asyncio.Lock,
        risk: Callable[[], RiskView],
        on_margin: Callable[[str], None],
    ) -> None:
        self._config = config
        self._exchange = ensure_binance_client(exchange)
        self._journal = journal
        self._desk = desk
        self._account = account
        self._switches = switches
        self._clock = clock
        self._deciding = deciding
        self._risk = risk
        self._on_margin = on_margin
        self._closer = Closer(config.advanced, exchange, desk, account, switches)
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)  # by symbol
        self._commissions: dict[str, CommissionRates] = {}
        self._terms: dict[str, ContractTerms] = {}

    async def take(self, item: InboxItem) -> Answer:
        """What its sender is told. Raises JournalUnavailable: then nothing was opened or closed."""
        since = self._clock.monotonic()
        try:
            asked = AdvancedRequest.from_json(item.envelope.body)
        except ValueError as error:
            log.warning("request_unreadable", alert_id=item.envelope.alert_id)
            refusal = refuse("bad_request", field="the stored request")
            await self._journal.refuse(_record(item, refusal.code, str(error)))
            return answers.refused(item.envelope.alert_id, refusal, {}, self._clock.wall_ms())
        async with self._turns[asked.symbol]:
            return await self._have_its_turn(_Request(item, asked, since))

    async def _have_its_turn(self, request: _Request) -> Answer:
        known = await self._journal.alert(request.alert_id)
        try:
            if request.asked.action is AdvancedAction.CLOSE:
                return await self._close(request, known)
            return await self._open(request) if known is None else self._repeated(request.alert_id)
        except (_Refused, Failed) as refused:
            return await self._refuse(request, refused.refusal)
        except DuplicateAlert as duplicate:
            return self._repeated(duplicate.alert_id)

    # --- buy and sell -------------------------------------------------------------------------------------------------

    async def _open(self, request: _Request) -> Answer:
        symbol = request.asked.symbol
        async with self._deciding:
            self._judge(request)
            self._desk.claims[symbol] = Owner.ADVANCED
        try:
            opening = await self._plan(request)
            request.opposite = await close_opposite_position(self._closer, symbol)
            live = await self._enter(request, opening)
        finally:
            self._desk.claims.pop(symbol, None)
        return await self._outcome(request, opening, live)

    def _judge(self, request: _Request) -> None:
        """Every guard's word. Raises _Refused by the first that failed."""
        request.verdicts = self._asked_now(request)
        if (failed := next((verdict for verdict in request.verdicts if not verdict.passed), None)) is not None:
            raise _Refused(refusal_of(failed))

    def _asked_now(self, request: _Request) -> tuple[Verdict, ...]:
        waited_ms = round((self._clock.monotonic() - request.since) * 1000)
        age_ms, config = request.item.age_ms + waited_ms, self._config
        desk = self._desk_view(request.asked.symbol)
        return tuple(opening_guards(request.asked, age_ms, desk, self._risk(), config.advanced, config.rules))

    def _desk_view(self, symbol: str) -> DeskView:
        live = self._desk.owner_of(symbol)
        return DeskView(
            live=self._config.live,
            armed=self._switches.armed,
            trading=self._switches.state,
            owners=dict.fromkeys(self._account.positions, FOREIGN) | self._desk.owners(),
            live_trade_side=None if live is None else live.trade.plan.side,
        )

    async def _plan(self, request: _Request) -> Opening:
        """The quantity and everything else that is decided before anything is changed. Raises _Refused, Failed."""
        facts = await self._facts(request.asked.symbol)
        envelope, config = request.item.envelope, self._config
        plan = plan_opening(request.asked, facts, config.advanced, config.rules, envelope.alert_id, envelope.lasting_key)
        request.verdicts += plan.verdicts
        if isinstance(plan, NotOpened):
            raise _Refused(refusal_of(plan.verdict))
        return plan

    async def _facts(self, symbol: str) -> OpeningFacts:
        """What the exchange says of account and symbol now; what hardly changes is asked once."""
        exchange, instrument = self._exchange, find_instrument(self._exchange, symbol)
        if symbol not in self._terms:
            self._terms[symbol] = await call_binance_api(exchange.contract_terms(symbol))
        if symbol not in self._commissions:
            self._commissions[symbol] = await call_binance_api(exchange.commission_rates(symbol))
        account = await call_binance_api(exchange.account())
        quote = await call_binance_api(exchange.quote(symbol))
        self._account.read(account)
        now_ms, fees, terms = self._desk.now().exchange_ms, self._commissions[symbol], self._terms[symbol]
        return OpeningFacts(instrument, quote, account.wallet_balance, fees, terms, now_ms)

    async def _enter(self, request: _Request, opening: Opening) -> LiveTrade:
        """Leverage, margin type, the plan in one durable commit, then the order. Raises _Refused, Failed."""
        plan, symbol, decided = opening.plan, opening.plan.symbol, request.verdicts
        self._on_margin(symbol)
        await call_binance_api(self._exchange.set_leverage(symbol, plan.leverage))
        await call_binance_api(self._exchange.set_margin_type(symbol, opening.margin_type))
        self._judge(request)  # a pause, a breaker or a lost lease in between
        request.verdicts = decided
        envelope = request.item.envelope
        await self._journal.open_trade(replace(_record(request.item), verdicts=decided), plan)
        received_at = None if request.item.redelivered else envelope.received_at
        live = LiveTrade(new_trade(plan), envelope.alert_id, received_at, opened_at=self._clock.monotonic(), replied=True)
        live.trade.buying_stopped = not all(verdict.passed for verdict in self._asked_now(request))  # while the plan was written
        self._desk.start(live, _headline(opening))
        return live

    async def _outcome(self, request: _Request, opening: Opening, live: LiveTrade) -> Answer:
        """Once it is protected, or over before it was."""
        waits = [asyncio.ensure_future(event.wait()) for event in (live.protected, live.over)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        done = outcome_of(live)
        if isinstance(done, Refusal):
            return self._refusal(request, done)
        answer = answers.opened(request.alert_id, request.asked, opening, done, request.opposite, self._clock.wall_ms())
        return {**answer, "verdicts": said(request.verdicts)}

    # --- close --------------------------------------------------------------------------------------------------------

    async def _close(self, request: _Request, known: AlertRecord | None) -> Answer:
        """What it closes is durable before it is closed: delivered again, it closes that and nothing newer."""
        if known is None:
            target = await find_target(self._closer, request.asked.symbol)
            record = _record(request.item, CLOSES, target.owner)
            await self._journal.refuse(replace(record, body={**record.body, CLOSES: target.to_json()}))
        elif known.code == CLOSES:
            target = CloseTarget.from_json(known.body[CLOSES])
        else:
            return self._repeated(request.alert_id)
        try:
            done = await handle_close_position(self._closer, target, request.alert_id)
        except Failed as failed:
            return self._refusal(request, failed.refusal)
        if known is not None:
            return self._repeated(request.alert_id)
        symbol = request.asked.symbol
        return answers.closed(request.alert_id, symbol, done.positions, done.cancelled, done.notes, self._clock.wall_ms())

    # --- words --------------------------------------------------------------------------------------------------------

    async def _refuse(self, request: _Request, refusal: Refusal) -> Answer:
        await self._journal.refuse(replace(_record(request.item, refusal.code, refusal.message), verdicts=request.verdicts))
        return self._refusal(request, refusal)

    def _refusal(self, request: _Request, refusal: Refusal) -> Answer:
        log.info("advanced_refused", alert_id=request.alert_id, code=refusal.code, reason=refusal.message)
        data, opposite = request.asked.webhook_data, request.opposite
        answer = answers.refused(request.alert_id, refusal, data, self._clock.wall_ms(), opposite=opposite)
        return {**answer, "verdicts": said(request.verdicts)}

    def _repeated(self, first_id: str) -> Answer:
        return answers.repeated(first_id, self._clock.wall_ms())


def _record(item: InboxItem, code: str = "", message: str = "") -> AlertRecord:
    envelope = item.envelope
    return AlertRecord(envelope.alert_id, envelope.lasting_key, envelope.body, envelope.received_ms, code, message, ())


def _headline(opening: Opening) -> dict[str, Any]:
    plan = opening.plan
    return {
        "owner": plan.owner.value,
        "symbol": plan.symbol,
        "side": plan.side.value,
        "p0": plan.p0,
        "stop": plan.stop,
        "stop_source": plan.stop_source,
        "quantity": plan.quantity,
        "leverage": plan.leverage,
        "margin_type": opening.margin_type.value,
        "risk_usdt": plan.risk_usdt,
        "worst_case_r": plan.worst_case_r,
        "hedges": [],
        "warnings": list(plan.warnings),
    }
