"""Equity and positions: kept from the private stream, checked by request, never read in the order path."""

from decimal import Decimal

from app.clock import Clock
from app.domain.orders import Account, AccountUpdate, Position


class AccountState:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._account: Account | None = None
        self._read_at = 0.0
        self.positions: dict[str, Position] = {}

    def read(self, account: Account) -> None:
        """The whole account, by request."""
        self._account = account
        self._read_at = self._clock.monotonic()
        self.positions = {p.symbol: p for p in account.positions if p.quantity != 0}

    def absorb(self, update: AccountUpdate) -> None:
        """A change, by the private stream. Balances are only as fresh as the last whole read."""
        for position in update.positions:
            if position.quantity == 0:
                self.positions.pop(position.symbol, None)
            else:
                self.positions[position.symbol] = position

    @property
    def equity(self) -> Decimal | None:
        return None if self._account is None else self._account.equity

    @property
    def available(self) -> Decimal | None:
        return None if self._account is None else self._account.available_balance

    @property
    def age_ms(self) -> int | None:
        """Milliseconds since the last whole read, on the monotonic clock; None before the first."""
        return None if self._account is None else round((self._clock.monotonic() - self._read_at) * 1000)
