"""Carries out what a trade wants done at the exchange, and turns every answer and every failure into a fact for it."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from app.clock import Clock
from app.domain.orders import OrderState
from app.domain.plan import OrderName
from app.domain.trade.dead_man import COUNTDOWN_MS
from app.domain.trade.messages import (
    ArmCountdown,
    Ask,
    Cancel,
    CancelFailed,
    Event,
    Failure,
    OrderFailed,
    OrderKnown,
    OrderMissing,
    Place,
    QuoteSeen,
    ReadQuote,
    Sweep,
    Swept,
)
from app.exchange.errors import (
    ExchangeError,
    InsufficientMargin,
    NoPositionYet,
    NotExecuted,
    NotPermitted,
    OrderRefused,
    OutcomeUnknown,
    PostOnlyWouldTake,
    RateLimited,
    ReduceOnlyRefused,
    StopAlreadyThere,
    WouldTriggerNow,
)
from app.exchange.port import Exchange

log = structlog.get_logger(__name__)

Report = Callable[[str, Event], None]  # trade id, fact

_FAILURES: tuple[tuple[type[ExchangeError], Failure], ...] = (
    (PostOnlyWouldTake, Failure.POST_ONLY),
    (WouldTriggerNow, Failure.WOULD_TRIGGER),
    (ReduceOnlyRefused, Failure.REDUCE_ONLY),
    (NoPositionYet, Failure.NO_POSITION),
    (StopAlreadyThere, Failure.STOP_EXISTS),
    (InsufficientMargin, Failure.MARGIN),
    (OrderRefused, Failure.INVALID),
    (NotExecuted, Failure.NOT_EXECUTED),
    (NotPermitted, Failure.INVALID),
    (OutcomeUnknown, Failure.UNKNOWN),
)
RETRY_S = 0.5


def failure_of(error: ExchangeError) -> Failure:
    return next((failure for kind, failure in _FAILURES if isinstance(error, kind)), Failure.UNKNOWN)


class Executor:
    """One task per command, started in the order given, so that a stop is first on the socket."""

    def __init__(
        self, exchange: Exchange, clock: Clock, report: Report, spawn: Callable[[Coroutine[Any, Any, None]], None]
    ) -> None:
        self._exchange = exchange
        self._clock = clock
        self._report = report
        self._spawn = spawn
        self._countdowns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)  # by symbol

    def rehearse(self, command: Place) -> None:
        self._exchange.rehearse(command.order)

    def carry_out(self, trade_id: str, command: Place | Cancel | Ask | ArmCountdown | ReadQuote | Sweep) -> None:
        match command:
            case Place():
                self._spawn(self._place(trade_id, command))
            case Cancel():
                self._spawn(self._cancel(trade_id, command))
            case Ask():
                self._spawn(self._ask(trade_id, command))
            case ArmCountdown():
                self._spawn(self._arm_countdown(command))
            case ReadQuote():
                self._spawn(self._read_quote(trade_id, command))
            case Sweep():
                self._spawn(self._sweep(trade_id, command))

    async def _place(self, trade_id: str, command: Place) -> None:
        try:
            state = await self._exchange.place(command.order)
        except ExchangeError as error:
            wait_s = error.retry_after if isinstance(error, RateLimited) else 0.0
            words = (f"{error.code} {error}", wait_s, error.code, error.words)
            self._report(trade_id, OrderFailed(command.order.client_id, failure_of(error), *words))
            return
        self._report(trade_id, OrderKnown(state))

    async def _cancel(self, trade_id: str, command: Cancel) -> None:
        try:
            state = await self._exchange.cancel(command.symbol, command.client_id, command.kind)
        except ExchangeError as error:
            log.warning("cancel_failed", client_id=command.client_id, error=str(error), code=error.code)
            await self._clock.sleep(_pause_after(error))
            self._report(trade_id, CancelFailed(command.client_id))
            return
        self._report(trade_id, OrderMissing(command.client_id) if state is None else OrderKnown(state))

    async def _ask(self, trade_id: str, command: Ask) -> None:
        try:
            state = await self._exchange.find(command.symbol, command.client_id, command.kind)
        except ExchangeError as error:
            self._report(trade_id, OrderFailed(command.client_id, Failure.UNKNOWN, f"{error.code} {error}"))
            return
        self._report(trade_id, OrderMissing(command.client_id) if state is None else OrderKnown(state))

    async def _arm_countdown(self, command: ArmCountdown) -> None:
        """One at a time per symbol, in the order wanted. Calling it off is tried again until no countdown can still run."""
        async with self._countdowns[command.symbol]:
            give_up_at = self._clock.monotonic() + (0.0 if command.milliseconds else COUNTDOWN_MS / 1000)
            while True:
                try:
                    await self._exchange.arm_countdown(command.symbol, command.milliseconds)
                    return
                except ExchangeError as error:
                    log.warning("countdown_not_set", symbol=command.symbol, ms=command.milliseconds, error=str(error))
                    pause = _pause_after(error)
                if self._clock.monotonic() + pause >= give_up_at:
                    return
                await self._clock.sleep(pause)

    async def _read_quote(self, trade_id: str, command: ReadQuote) -> None:
        try:
            quote = await self._exchange.quote(command.symbol)
        except ExchangeError as error:
            log.warning("quote_unreadable", symbol=command.symbol, error=str(error))
            return
        self._report(trade_id, QuoteSeen(quote))

    async def _sweep(self, trade_id: str, command: Sweep) -> None:
        while True:
            try:
                found = await asyncio.gather(*(self._exchange.open_orders(symbol) for symbol in command.symbols))
                account = await self._exchange.account()
            except ExchangeError as error:
                log.warning("sweep_failed", trade_id=trade_id, error=str(error))
                await self._clock.sleep(_pause_after(error))
                continue
            leftovers = tuple(state for states in found for state in states if _is_of(trade_id, state))
            self._report(trade_id, Swept(leftovers, {p.symbol: p.quantity for p in account.positions}))
            return


def _pause_after(error: ExchangeError) -> float:
    return max(RETRY_S, error.retry_after) if isinstance(error, RateLimited) else RETRY_S


def _is_of(trade_id: str, state: OrderState) -> bool:
    name = OrderName.parse(state.client_id)
    return name is not None and name.trade_id == trade_id
