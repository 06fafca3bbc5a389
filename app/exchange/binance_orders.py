"""Placing, cancelling and finding orders so that each is executed at most once and ends in a known state.

A request whose outcome is unknown is never sent again blindly. The exchange is asked by client id, and the private stream may
settle it first. Only when the exchange still does not have the order after the receive window, past which it must refuse the
request, and an allowance for lag, is it sure that nothing was executed.
"""

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, repeat
from typing import TypeGuard

from app.clock import Clock
from app.domain.orders import LimitOrder, Order, OrderKind, OrderState, OrderStatus, StopOrder, TimeInForce
from app.domain.plan import OrderName
from app.exchange.binance_order_socket import OrderSocket
from app.exchange.binance_parse import (
    UNREADABLE,
    ZERO,
    Json,
    Params,
    algo_state,
    child_order_id,
    order_params,
    plain_state,
    understood,
)
from app.exchange.binance_queries import AccountQueries
from app.exchange.binance_rest import (
    CANCEL,
    CANCEL_ALGO,
    FIND,
    FIND_ALGO,
    PLACE,
    PLACE_ALGO,
    BinanceConfig,
    BinanceRest,
    Endpoint,
)
from app.exchange.budget import Priority
from app.exchange.codes import DUPLICATE_CLIENT_ID, NO_SUCH_ORDER, STOP_IS_TRIGGERING, UNKNOWN_ORDER
from app.exchange.errors import ExchangeError, NotExecuted, OrderRefused, OutcomeUnknown, PostOnlyWouldTake
from app.exchange.ledger import Ledger

_log = logging.getLogger(__name__)

_FIRST_ASKS_S = (0.1, 0.2, 0.5, 1.0, 2.0)
_GIVE_UP_AFTER_S = 10.0  # of asking, beyond the time at which absence would be believed


def _is_protective(order: Order) -> bool:
    return isinstance(order, StopOrder) or order.reduce_only


def _endpoint(order: Order) -> Endpoint:
    return PLACE_ALGO if order.kind is OrderKind.ALGO else PLACE


def _is_settled(state: OrderState | None, order: Order) -> TypeGuard[OrderState]:
    """Whether this answers what became of its placing: a market or IOC order is soon over, others may rest."""
    may_rest = isinstance(order, StopOrder) or (isinstance(order, LimitOrder) and order.time_in_force is not TimeInForce.IOC)
    return state is not None and (may_rest or state.status.is_final)


class OrderDesk:
    def __init__(
        self,
        rest: BinanceRest,
        socket: OrderSocket | None,
        queries: AccountQueries,
        ledger: Ledger,
        config: BinanceConfig,
        clock: Clock,
    ) -> None:
        self._rest = rest
        self._socket = socket
        self._queries = queries
        self._ledger = ledger
        self._clock = clock
        self._absence_is_sure_after_s = config.recv_window_ms / 1000 + config.lag_allowance_s

    # -- place --------------------------------------------------------------------------------------------------------

    async def place(self, order: Order) -> OrderState:
        """See ``Exchange.place``. Binance itself refuses a second use of a client id only while the first order is open."""
        known = self._ledger.state(order.client_id)
        if known is not None:
            return (await self._ask(order.symbol, order.client_id, order.kind))[0] or known
        sent_at = self._clock.monotonic()
        try:
            state = await self._send(order)
        except OutcomeUnknown as error:
            state = await self._settle(order, sent_at, error, surely_exists=False)
        except OrderRefused as error:
            if error.code != DUPLICATE_CLIENT_ID:
                raise
            state = await self._settle(order, sent_at, error, surely_exists=True)
        return _accepted(order, state)

    def rehearse(self, order: Order) -> None:
        """See ``Exchange.rehearse``."""
        if self._socket is not None:
            self._socket.request(_endpoint(order), order_params(order))

    async def _send(self, order: Order) -> OrderState:
        endpoint = _endpoint(order)
        priority = Priority.PROTECTIVE if _is_protective(order) else Priority.NORMAL
        channel = self._socket if self._socket is not None and self._socket.is_up else self._rest
        reply = await channel.call(endpoint, order_params(order), priority)
        try:
            return self._read_reply(order.kind, reply)
        except UNREADABLE as error:
            raise OutcomeUnknown(f"{endpoint.method}: the answer lacks what it should carry ({error!r})") from None

    def _read_reply(self, kind: OrderKind, reply: Json) -> OrderState:
        if kind is OrderKind.ALGO:
            return self._ledger.record(algo_state(reply))
        state = plain_state(reply)
        self._ledger.name(int(reply["orderId"]), state.client_id)
        return self._ledger.record(state)

    async def _settle(self, order: Order, sent_at: float, error: ExchangeError, *, surely_exists: bool) -> OrderState:
        """Find out what became of a placement. Raises NotExecuted or OutcomeUnknown."""
        sure_at = sent_at + self._absence_is_sure_after_s
        heard = self._ledger.changes(order.client_id)
        try:
            for pause in self._pauses(sure_at):
                heard.clear()
                if _is_settled(state := self._ledger.state(order.client_id), order):
                    return state
                asked_at = self._clock.monotonic()
                state, was_answered = await self._ask(order.symbol, order.client_id, order.kind)
                if _is_settled(state, order):
                    return state
                if was_answered and state is None and asked_at >= sure_at and not surely_exists:
                    raise NotExecuted(f"{order.client_id}: the exchange does not have it; {error}", error.code)
                await self._pause(pause, heard)
        finally:
            self._ledger.forget_changes(order.client_id)
        raise OutcomeUnknown(
            f"{order.client_id}: neither the exchange nor its stream says what became of it; {error}", error.code
        )

    def _pauses(self, sure_at: float) -> Iterator[float]:
        """Waits between questions, one of which is asked just when absence becomes sure; ends when it is time to give up."""
        give_up_at = max(sure_at, self._clock.monotonic()) + _GIVE_UP_AFTER_S
        for pause in chain(_FIRST_ASKS_S, repeat(_FIRST_ASKS_S[-1])):
            now = self._clock.monotonic()
            if now >= give_up_at:
                return
            yield min(pause, sure_at - now) if now < sure_at else pause

    async def _pause(self, seconds: float, heard: asyncio.Event) -> None:
        tasks = [asyncio.ensure_future(self._clock.sleep(seconds)), asyncio.ensure_future(heard.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()

    async def _ask(self, symbol: str, client_id: str, kind: OrderKind) -> tuple[OrderState | None, bool]:
        """(what the exchange has, whether it answered at all)."""
        try:
            return await self.find(symbol, client_id, kind), True
        except ExchangeError:
            return None, False

    # -- cancel -------------------------------------------------------------------------------------------------------

    async def cancel(self, symbol: str, client_id: str, kind: OrderKind) -> OrderState | None:
        """See ``Exchange.cancel``. A cancel may be sent again: it names one order and does the same twice."""
        state = self._ledger.state(client_id)
        if state is not None and state.status.is_final:
            return state
        give_up_at = self._clock.monotonic() + self._absence_is_sure_after_s
        always_absent = True
        heard = self._ledger.changes(client_id)
        try:
            for pause in chain(_FIRST_ASKS_S, repeat(_FIRST_ASKS_S[-1])):
                heard.clear()
                if state is None or state.status is OrderStatus.OPEN:
                    state, was_answered = await self._send_cancel(symbol, client_id, kind), True
                if state is None or not state.status.is_final:
                    state, was_answered = await self._ask(symbol, client_id, kind)
                if state is not None and state.status.is_final:
                    return state
                if was_answered and state is None and self._ledger.state(client_id) is None:
                    return None
                always_absent = always_absent and was_answered and state is None and not heard.is_set()
                if self._clock.monotonic() >= give_up_at:
                    break
                await self._pause(pause, heard)
        finally:
            self._ledger.forget_changes(client_id)
        if always_absent and await self._is_forgotten(symbol, client_id):
            return None
        raise OutcomeUnknown(f"{client_id}: its cancellation could not be settled; the exchange last showed {state}")

    async def _is_forgotten(self, symbol: str, client_id: str) -> bool:
        """Whether an order once known to rest is gone without a word, as after a reset of the demo exchange.

        Never believed of an entry: should it rest after all, buying the rest would buy twice.
        """
        name = OrderName.parse(client_id)
        if name is None or name.purpose.is_entry:
            return False
        try:
            resting = await self._queries.open_orders(symbol)
        except ExchangeError:
            return False
        if any(state.client_id == client_id for state in resting):
            return False
        _log.warning("%s: the exchange no longer knows this order; it is taken as gone", client_id)
        self._ledger.forget(client_id)
        return True

    async def _send_cancel(self, symbol: str, client_id: str, kind: OrderKind) -> OrderState | None:
        """None: it must be asked for, be it gone, triggering or without an answer."""
        try:
            if kind is OrderKind.PLAIN:
                reply = await self._rest.call(CANCEL, {"symbol": symbol, "origClientOrderId": client_id}, Priority.PROTECTIVE)
                # the reply names the cancellation's own id in clientOrderId on some accounts
                return self._ledger.record(plain_state({**reply, "clientOrderId": client_id}))
            reply = await self._rest.call(CANCEL_ALGO, {"clientAlgoId": client_id}, Priority.PROTECTIVE)
            return self._canceled_algo(client_id) if str(reply["code"]) == "200" else None
        except OutcomeUnknown:
            return None
        except OrderRefused as error:
            if error.code in (UNKNOWN_ORDER, STOP_IS_TRIGGERING):
                return None
            raise
        except UNREADABLE:  # a reply that does not say what was executed
            return None

    def _canceled_algo(self, client_id: str) -> OrderState | None:
        """Binance cancels an algo order only before its trigger, so it executed nothing; its reply says no more than yes."""
        known = self._ledger.state(client_id)
        if known is None:
            return None
        return self._ledger.record(replace(known, status=OrderStatus.CANCELED, executed=ZERO, updated_ms=self._rest.server_ms()))

    # -- find ---------------------------------------------------------------------------------------------------------

    async def find(self, symbol: str, client_id: str, kind: OrderKind) -> OrderState | None:
        """See ``Exchange.find``."""
        with understood(client_id):
            if kind is OrderKind.ALGO:
                return await self._find_algo(client_id)
            return await self._find_plain(symbol, client_id)

    async def _find_plain(self, symbol: str, client_id: str) -> OrderState | None:
        order = await self._look_up(FIND, {"symbol": symbol, "origClientOrderId": client_id})
        if order is None:
            return None
        self._ledger.name(int(order["orderId"]), client_id)
        return self._ledger.record(plain_state(order))

    async def _find_algo(self, client_id: str) -> OrderState | None:
        algo = await self._look_up(FIND_ALGO, {"clientAlgoId": client_id})
        if algo is None:
            return None
        child_id = child_order_id(algo)
        if not child_id:
            return self._ledger.record(algo_state(algo))
        self._ledger.link(child_id, client_id)
        child = await self._look_up(FIND, {"symbol": algo["symbol"], "orderId": child_id})
        return self._ledger.record(algo_state(algo, child))

    async def _look_up(self, endpoint: Endpoint, params: Params) -> Json | None:
        try:
            found: Json = await self._rest.read(endpoint, params, Priority.PROTECTIVE)
        except OrderRefused as error:
            if error.code == NO_SUCH_ORDER:
                return None
            raise
        return found


def _accepted(order: Order, state: OrderState) -> OrderState:
    """A post-only order that would have taken may also be accepted first and expire unfilled."""
    post_only = isinstance(order, LimitOrder) and order.time_in_force is TimeInForce.GTX
    if post_only and state.status is OrderStatus.EXPIRED and not state.executed:
        raise PostOnlyWouldTake(f"{order.client_id}: the price {state.price} would have taken")
    return state
