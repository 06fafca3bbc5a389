"""The exchange as the trader and the stream node see it: a small Protocol in our own types.

Both adapters (``binance``: ccxt over sockets; ``in_memory``: straight onto the simulated venue) pass one contract suite.
Every method may raise ``NotPermitted``, ``NotExecuted`` (with ``RateLimited``) or ``OutcomeUnknown`` of ``exchange.errors``.
"""

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Protocol

from app.domain.contract_terms import ContractTerms
from app.domain.instrument import Instrument
from app.domain.market import Bar, MarkPrice, Quote
from app.domain.orders import (
    Account,
    CommissionRates,
    ExchangeEvent,
    Fill,
    MarginType,
    Order,
    OrderKind,
    OrderState,
    Transfer,
)


class Exchange(Protocol):
    async def connect(self) -> None:
        """Load instruments, check key, permissions and account mode (one-way, single-asset), warm the connections,
        open the private stream. Raises NotPermitted with what to change."""

    async def close(self) -> None: ...

    def instrument(self, symbol: str) -> Instrument:
        """Any USDT-margined perpetual the exchange lists. Raises UnknownSymbol."""

    async def place(self, order: Order) -> OrderState:
        """Send one order, once. Raises OrderRefused (final), NotExecuted, or OutcomeUnknown when even asking by client id
        did not settle within the adapter's time. An already known client id returns that order's state."""

    def rehearse(self, order: Order) -> None:
        """Do what placing this order takes, up to sending it, and forget it: work done a moment ago is quickly done again."""

    async def cancel(self, symbol: str, client_id: str, kind: OrderKind) -> OrderState | None:
        """Cancel and return the order's *final* state, with what it executed; None when the exchange does not have it: it never
        had it, or, unless it is an entry, has surely lost it. An order that was already final is no error."""

    async def arm_countdown(self, symbol: str, milliseconds: int) -> None:
        """Have the exchange cancel all plain orders on ``symbol`` after so long by its own clock, unless told anew; 0 calls it
        off. Conditional orders need not be spared."""

    async def find(self, symbol: str, client_id: str, kind: OrderKind) -> OrderState | None:
        """Ask by client id. None: the exchange says it does not have it (an algo order may lag by seconds)."""

    async def open_orders(self, symbol: str) -> list[OrderState]:
        """Plain and algo orders resting on ``symbol``."""

    async def orders_since(self, symbol: str, since_ms: int) -> list[OrderState]:
        """All plain and algo orders created at or after ``since_ms``, final ones included."""

    async def fills_since(self, symbol: str, since_ms: int) -> list[Fill]:
        """Executions at or after ``since_ms``, oldest first, with our client ids (an algo child's fills carry the algo's)."""

    async def account(self) -> Account: ...

    async def quote(self, symbol: str) -> Quote:
        """One read of the best bid and ask."""

    async def mark_price(self, symbol: str) -> MarkPrice: ...

    async def commission_rates(self, symbol: str) -> CommissionRates: ...

    async def contract_terms(self, symbol: str) -> ContractTerms: ...

    async def probe(self, symbol: str) -> None:
        """A test order that executes nothing, on the way a real one takes: returns once the exchange has judged it."""

    async def set_leverage(self, symbol: str, leverage: int) -> None:
        """Only while flat and without orders on ``symbol``."""

    async def set_margin_type(self, symbol: str, margin_type: MarginType) -> None:
        """Only while flat and without orders on ``symbol``. Being so already is no error."""

    async def funding_paid_since(self, symbol: str, since_ms: int) -> list[tuple[int, Decimal]]:
        """(time, USDT paid: negative when received) of each funding settlement."""

    async def transfers_since(self, since_ms: int) -> list[Transfer]:
        """USDT moved into and out of the account at or after ``since_ms``, oldest first. They may be listed some time late."""

    def events(self) -> AsyncIterator[ExchangeEvent]:
        """The private stream, from ``connect`` on, beginning with StreamUp. Ends on ``close``. One consumer."""


class MarketHistory(Protocol):
    """Public candles, which the stream node warms up from and repairs gaps with."""

    async def bars(self, symbol: str, interval_ms: int, limit: int, end_ms: int | None = None) -> list[Bar]:
        """The newest ``limit`` *closed* candles up to ``end_ms``, oldest first."""
