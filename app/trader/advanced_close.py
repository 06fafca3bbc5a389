"""Closing by the advanced webhook: its own positions by ending their trade, others' where the settings allow it (rules 4.8)."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import structlog

from app.domain.advanced_answers import NONE_CLOSED, ClosedPosition, position_type
from app.domain.advanced_rules import AdvancedRules
from app.domain.instrument import Side
from app.domain.orders import MarketOrder, OrderKind, OrderState
from app.domain.plan import OrderName, Purpose
from app.domain.refusals import refuse
from app.domain.trade.messages import ExitRequested
from app.domain.trade.recovery import ATTEMPTS_PER_LIFE
from app.exchange.errors import ReduceOnlyRefused
from app.exchange.port import Exchange
from app.trader.account_state import AccountState
from app.trader.advanced_calls import Failed, call_binance_api, find_instrument
from app.trader.advanced_outcome import cancelled_orders, closed_positions
from app.trader.desk import Desk
from app.trader.live_trade import LiveTrade
from app.trader.switches import SwitchBoard

log = structlog.get_logger(__name__)

CLOSE_WITHIN_S = 30.0
FOREIGN = "foreign"


@dataclass(frozen=True, slots=True)
class CloseTarget:
    """What a close is about, fixed before anything is done: a trade of ours, else what the account holds of the symbol."""

    symbol: str
    owner: str = ""  # as refusals name it; empty: nobody
    trade_id: str = ""
    held: Decimal = Decimal(0)  # signed; of a position that is not ours

    def to_json(self) -> dict[str, str]:
        return {"symbol": self.symbol, "owner": self.owner, "trade_id": self.trade_id, "held": str(self.held)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "CloseTarget":
        return cls(stored["symbol"], stored["owner"], stored["trade_id"], Decimal(stored["held"]))


@dataclass(frozen=True, slots=True)
class Closing:
    """What was done. ``notes``: what was left, and why."""

    positions: tuple[ClosedPosition, ...] = ()
    cancelled: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Closer:
    """What closing needs."""

    rules: AdvancedRules
    exchange: Exchange
    desk: Desk
    account: AccountState
    switches: SwitchBoard


async def find_target(closer: Closer, symbol: str) -> CloseTarget:
    """Read from the exchange what is held. Raises Failed: for a symbol it does not list, or one that is not ours to close."""
    find_instrument(closer.exchange, symbol)
    account = await call_binance_api(closer.exchange.account())
    closer.account.read(account)
    live = closer.desk.owner_of(symbol)
    if live is not None:
        plan = live.trade.plan
        if plan.is_managed and not closer.rules.take_over:
            raise _not_ours(symbol, plan.owner_name, "advanced.take_over")
        return CloseTarget(symbol, plan.owner_name, live.trade_id)
    held = next((position.quantity for position in account.positions if position.symbol == symbol), Decimal(0))
    if held and not closer.rules.close_foreign:
        raise _not_ours(symbol, FOREIGN, "advanced.close_foreign")
    return CloseTarget(symbol, FOREIGN if held else "", held=held)


def _not_ours(symbol: str, owner: str, setting: str) -> Failed:
    return Failed(refuse("not_ours_to_close", symbol=symbol, owner=owner, setting=setting))


async def close_opposite_position(closer: Closer, symbol: str) -> str:
    """End this webhook's own position on the symbol, which the guards have found to be the opposite one; says what it was.

    Raises Failed when it is not flat in time: then nothing may be opened.
    """
    live = closer.desk.owner_of(symbol)
    if live is None:
        return NONE_CLOSED
    side = live.trade.plan.side
    await _end(closer.desk, live, "opposite_signal")
    return f"Closed {position_type(side)} position"


async def handle_close_position(closer: Closer, target: CloseTarget, alert_id: str) -> Closing:
    """Close what the target names, then cancel what rests on the symbol, plain and algo. Does nothing twice. Raises Failed."""
    if target.trade_id:
        return await _close_ours(closer, target)
    positions: list[ClosedPosition] = []
    if target.held:
        positions = await _close_foreign(closer, target, alert_id)
    cancelled, notes = await _clear_orders(closer, target.symbol)
    return Closing(tuple(positions), tuple(cancelled), tuple(notes))


async def _close_ours(closer: Closer, target: CloseTarget) -> Closing:
    live = closer.desk.trades.get(target.trade_id)
    if live is None:
        return Closing()  # it was closed by then
    await _end(closer.desk, live, "close_signal")
    cancelled, notes = await _clear_orders(closer, target.symbol)
    return Closing(tuple(closed_positions(live)), (*cancelled_orders(live), *cancelled), tuple(notes))


async def _end(desk: Desk, live: LiveTrade, reason: str) -> None:
    desk.tell(live.trade_id, ExitRequested(reason))
    try:
        async with asyncio.timeout(CLOSE_WITHIN_S):
            await live.over.wait()
    except TimeoutError:
        log.error("close_unfinished", trade_id=live.trade_id)
        detail = f"trade {live.trade_id} is not over after {CLOSE_WITHIN_S:.0f} s"
        raise Failed(refuse("close_unfinished", symbol=live.trade.plan.symbol, detail=detail)) from None


# --- what is not ours ---------------------------------------------------------------------------------------------------


async def _close_foreign(closer: Closer, target: CloseTarget, alert_id: str) -> list[ClosedPosition]:
    """Reduce-only at market, in parts one order may have, under ids that follow from the request's."""
    instrument = find_instrument(closer.exchange, target.symbol)
    left, side = abs(target.held), Side.SELL if target.held > 0 else Side.BUY
    attempt = closer.switches.lives * ATTEMPTS_PER_LIFE
    closed: list[ClosedPosition] = []
    while left > 0:
        name = OrderName(alert_id, 0, Purpose.EXIT, attempt)
        order = MarketOrder(name.client_id, target.symbol, side, min(left, instrument.market_max_quantity), reduce_only=True)
        state = await call_binance_api(_send_past_obstacles(closer.exchange, order))
        if not state.executed:
            raise Failed(refuse("close_unfinished", symbol=target.symbol, detail=f"{left} is still open"))
        closed.append(ClosedPosition(target.symbol, state.executed, state.order_id, side))
        left -= state.executed
        attempt += 1
    return closed


async def _send_past_obstacles(exchange: Exchange, order: MarketOrder) -> OrderState:
    """Resting reduce-only orders may use up the position: they go, and it is sent again under the next id."""
    try:
        return await exchange.place(order)
    except ReduceOnlyRefused:
        resting = await exchange.open_orders(order.symbol)
        for state in resting:
            if state.kind is OrderKind.PLAIN:
                await exchange.cancel(order.symbol, state.client_id, state.kind)
        name = OrderName.parse(order.client_id)
        if name is None:
            raise
        following = OrderName(name.trade_id, name.leg, name.purpose, name.attempt + ATTEMPTS_PER_LIFE // 2)
        return await exchange.place(MarketOrder(following.client_id, order.symbol, order.side, order.quantity, reduce_only=True))


async def _clear_orders(closer: Closer, symbol: str) -> tuple[list[int], list[str]]:
    """Cancel what still rests there and is not ours, where that is allowed; our own trades leave nothing behind."""
    resting = await call_binance_api(closer.exchange.open_orders(symbol))
    foreign = [state for state in resting if closer.desk.owner_of(symbol) is None]
    if foreign and not closer.rules.close_foreign:
        return [], [f"{len(foreign)} order(s) on {symbol} are not ours and were left (advanced.close_foreign)"]
    return await _cancel(closer.exchange, foreign), []


async def _cancel(exchange: Exchange, states: Iterable[OrderState]) -> list[int]:
    cancelled = []
    for state in states:
        final = await call_binance_api(exchange.cancel(state.symbol, state.client_id, state.kind))
        cancelled.append(state.order_id if final is None else final.order_id or state.order_id)
    return cancelled
