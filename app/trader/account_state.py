"""Equity and positions: kept from the private stream and the mark prices, checked by request, never read in the order path."""

from dataclasses import replace
from decimal import Decimal

import structlog

from app.clock import Clock
from app.domain.market import MarkPrice
from app.domain.orders import Account, AccountUpdate, Position

log = structlog.get_logger(__name__)

ZERO = Decimal(0)


class AccountState:
    """Wallet and positions follow the stream, unrealised P&L the marks of the symbols we hear of; others keep what they had at
    the last read. The available balance depends on every order's margin and is known from reads only.

    Whatever came in between, ``age_ms`` counts from the last read: only a read finds out what the stream did not tell.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wallet: Decimal | None = None
        self._unrealized = ZERO
        self._available: Decimal | None = None
        self._read_at = 0.0
        self.positions: dict[str, Position] = {}
        self.is_corrected = False  # a read found another wallet than the stream had led to; until somebody has looked into it

    def read(self, account: Account) -> None:
        """The whole account, by request."""
        if self._wallet not in (None, account.wallet_balance):
            log.info("wallet_corrected", kept=str(self._wallet), read=str(account.wallet_balance))
            self.is_corrected = True
        self._wallet = account.wallet_balance
        self._unrealized = account.unrealized_pnl
        self._available = account.available_balance
        self._read_at = self._clock.monotonic()
        self.positions = {p.symbol: p for p in account.positions if p.quantity != 0}

    def absorb(self, update: AccountUpdate) -> None:
        """A change, by the private stream. Before the first read it says too little to build on."""
        if self._wallet is None:
            return
        self._wallet = update.wallet_balance
        for position in update.positions:
            self._hold(position)

    def mark(self, mark: MarkPrice) -> None:
        """What a position we hold is worth now."""
        if (position := self.positions.get(mark.symbol)) is not None:
            self._hold(replace(position, unrealized_pnl=position.quantity * (mark.mark - position.entry_price)))

    def _hold(self, position: Position) -> None:
        before = self.positions.pop(position.symbol, None)
        if before is not None:
            self._unrealized -= before.unrealized_pnl
        if position.quantity != 0:
            self._unrealized += position.unrealized_pnl
            self.positions[position.symbol] = position

    @property
    def equity(self) -> Decimal | None:
        return None if self._wallet is None else self._wallet + self._unrealized

    @property
    def available(self) -> Decimal | None:
        return self._available

    @property
    def age_ms(self) -> int | None:
        """Milliseconds since the last whole read, on the monotonic clock; None before the first."""
        return None if self._wallet is None else round((self._clock.monotonic() - self._read_at) * 1000)
