"""Equity as the risk book may count it: only once it is known how much of it was moved in or out rather than won or lost."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import structlog

from app.clock import Clock, ExchangeClock
from app.domain.orders import AccountUpdate, Transfer
from app.exchange.errors import ExchangeError
from app.exchange.port import Exchange
from app.storage.port import Journal, Note
from app.trader.account_state import AccountState
from app.trader.risk_desk import RiskDesk

log = structlog.get_logger(__name__)

FIRST_LOOK_MS = 60_000  # transfers of the last minute before the very first reading are part of it
ASK_EVERY_S = 5.0  # at first: the exchange lists a transfer some time after telling of it, and asking costs 70 of the budget
BELIEVED_AFTER_S = 300.0  # one the stream told of and no list shows
SEEN_KEPT = 200


class EquityFeed:
    """``feed`` after each reading of the account. Transfers are asked for where one may have happened: at start, after the
    private stream was away, when it tells of one, and when the wallet is not what it had led to."""

    def __init__(
        self,
        exchange: Exchange,
        journal: Journal,
        account: AccountState,
        risk: RiskDesk,
        clock: Clock,
        exchange_clock: ExchangeClock,
    ) -> None:
        self._exchange = exchange
        self._journal = journal
        self._account = account
        self._risk = risk
        self._clock = clock
        self._exchange_clock = exchange_clock
        self._told = Decimal(0)  # by the stream, and not yet found in the exchange's list
        self._told_at = 0.0
        self._must_ask = True
        self._ask_from = 0.0

    def stream_up(self) -> None:
        """It may have missed any number of transfers: only the list knows."""
        self._told, self._must_ask, self._ask_from = Decimal(0), True, 0.0

    def updated(self, update: AccountUpdate) -> None:
        if update.is_transfer:
            self._told += update.balance_change
            self._told_at = self._clock.monotonic()
            self._must_ask = True

    def tell(self) -> None:
        """The equity as it is kept between two reads, where nothing is in doubt."""
        if self._account.equity is not None and not (self._must_ask or self._account.is_corrected):
            self._risk.equity_read(self._account.equity, Decimal(0))

    async def feed(self) -> None:
        """Tell the book, unless it is not clear just now what the equity consists of; then a later reading will do."""
        now = self._clock.monotonic()
        if self._account.is_corrected:  # by then the stream has told why, if it is going to
            self._account.is_corrected, self._must_ask, self._ask_from = False, True, now + ASK_EVERY_S
        if not self._must_ask:
            self.tell()
            return
        if now < self._ask_from:
            return
        waited = now - self._told_at if self._told else 0.0
        self._ask_from = now + max(ASK_EVERY_S, waited / 2)
        try:
            await self._ask()
        except ExchangeError as error:
            log.warning("transfers_unreadable", error=str(error))

    async def _ask(self) -> None:
        fresh = await self._settled()
        if fresh is None or self._account.equity is None:
            return
        moved, told = sum((transfer.amount for transfer in fresh), Decimal(0)), self._told
        if told not in (0, moved):
            if self._clock.monotonic() - self._told_at < BELIEVED_AFTER_S:
                return  # not listed yet
            log.error("transfer_unlisted", told=str(told), listed=str(moved))
            moved = told
        is_first = not self._risk.transfers
        self._risk.transfers = self._mark(fresh)
        self._risk.equity_read(self._account.equity, Decimal(0) if is_first else moved)
        self._told, self._must_ask = Decimal(0), False
        if moved and not is_first:
            log.info("transferred", amount=str(moved))
            wall_ms, data = self._clock.wall_ms(), {"amount": str(moved)}
            self._journal.append(Note("", "transferred", self._exchange_clock.now_ms(), wall_ms, data))

    async def _settled(self) -> list[Transfer] | None:
        """The transfers not yet counted, and the account as it is with them; None when one just came in between."""
        told = self._told
        before = await self._fresh()
        self._account.read(await self._exchange.account())
        after = await self._fresh()
        is_settled = before == after and told == self._told and not self._account.is_corrected
        return after if is_settled else None

    async def _fresh(self) -> list[Transfer]:
        mark: Mapping[str, Any] = self._risk.transfers
        since_ms = int(mark["since_ms"]) if mark else self._exchange_clock.now_ms() - FIRST_LOOK_MS
        seen = set(mark["seen"]) if mark else set()
        return [transfer for transfer in await self._exchange.transfers_since(since_ms) if transfer.transfer_id not in seen]

    def _mark(self, fresh: list[Transfer]) -> Mapping[str, Any]:
        """How far they are counted. One listed late may be older than those already known."""
        mark = self._risk.transfers
        seen = [*(mark["seen"] if mark else ()), *(transfer.transfer_id for transfer in fresh)][-SEEN_KEPT:]
        since_ms = mark["since_ms"] if mark else self._exchange_clock.now_ms() - FIRST_LOOK_MS
        newest_ms = max((transfer.time_ms for transfer in fresh), default=0)
        return {"since_ms": max(since_ms, newest_ms - FIRST_LOOK_MS), "seen": seen}
