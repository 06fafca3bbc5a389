"""Orders, their states and what the exchange tells about them, in our own types.

Quantities are in the base asset, prices and fees in USDT, times in Unix milliseconds of exchange time.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from app.domain.instrument import Side


class TimeInForce(StrEnum):
    GTC = "GTC"
    IOC = "IOC"
    GTX = "GTX"  # post-only: refused rather than taking


class Trigger(StrEnum):
    CONTRACT = "CONTRACT_PRICE"
    MARK = "MARK_PRICE"


class MarginType(StrEnum):
    ISOLATED = "ISOLATED"
    CROSSED = "CROSSED"


class OrderKind(StrEnum):
    """Binance keeps plain and conditional ("algo") orders in two books with two sets of endpoints."""

    PLAIN = "PLAIN"
    ALGO = "ALGO"


@dataclass(frozen=True, slots=True)
class MarketOrder:
    client_id: str
    symbol: str
    side: Side
    quantity: Decimal
    reduce_only: bool = False
    kind = OrderKind.PLAIN


@dataclass(frozen=True, slots=True)
class LimitOrder:
    client_id: str
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    time_in_force: TimeInForce
    reduce_only: bool = False
    kind = OrderKind.PLAIN


@dataclass(frozen=True, slots=True)
class StopOrder:
    """STOP_MARKET. With a quantity it is reduce-only; without one it closes the whole position (``closePosition``)."""

    client_id: str
    symbol: str
    side: Side
    trigger: Decimal
    quantity: Decimal | None
    trigger_on: Trigger = Trigger.CONTRACT
    kind = OrderKind.ALGO

    @property
    def closes_position(self) -> bool:
        return self.quantity is None


Order = MarketOrder | LimitOrder | StopOrder


class OrderStatus(StrEnum):
    OPEN = "OPEN"  # resting: NEW or PARTIALLY_FILLED; an algo order waiting for its trigger
    TRIGGERING = "TRIGGERING"  # an algo order handed to the matching engine, outcome not known yet
    TRIGGERED = "TRIGGERED"  # its child order is in the book
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"
    REJECTED = "REJECTED"

    @property
    def is_final(self) -> bool:
        return self in _FINAL


_FINAL = frozenset({OrderStatus.FILLED, OrderStatus.CANCELED, OrderStatus.EXPIRED, OrderStatus.REJECTED})


@dataclass(frozen=True, slots=True)
class OrderState:
    """What the exchange says of one order now.

    ``executed`` is cumulative. For an algo order it is what its child order executed, and the status is final only when
    the child's is. ``average_price`` is None where the reply carries none (placement replies since 2026-07).
    """

    client_id: str
    symbol: str
    side: Side
    kind: OrderKind
    status: OrderStatus
    quantity: Decimal  # 0 for an algo order that closes the whole position
    executed: Decimal
    price: Decimal  # limit price, or trigger of an algo order; 0 for market
    reduce_only: bool
    updated_ms: int
    average_price: Decimal | None = None
    reason: str = ""
    order_id: int = 0  # the exchange's own number, of a plain order or of an algo order


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution. ``client_id`` is the algo order's own id when its child executed."""

    symbol: str
    client_id: str
    venue_trade_id: int
    side: Side
    quantity: Decimal
    price: Decimal
    fee: Decimal  # in ``fee_asset``, positive when paid
    fee_asset: str
    is_maker: bool
    realized_pnl: Decimal
    time_ms: int


@dataclass(frozen=True, slots=True)
class Position:
    symbol: str
    quantity: Decimal  # signed: negative is short
    entry_price: Decimal
    unrealized_pnl: Decimal
    liquidation_price: Decimal = Decimal(0)  # 0 when there is none


_TRANSFERS = frozenset(
    {"DEPOSIT", "WITHDRAW", "ADMIN_DEPOSIT", "ADMIN_WITHDRAW", "ASSET_TRANSFER", "COIN_SWAP_DEPOSIT", "COIN_SWAP_WITHDRAW"}
)


@dataclass(frozen=True, slots=True)
class AccountUpdate:
    """Wallet and positions as changed by an order, funding, a transfer or a liquidation (``reason`` as Binance names it)."""

    reason: str
    wallet_balance: Decimal
    balance_change: Decimal
    positions: tuple[Position, ...]
    time_ms: int

    @property
    def is_transfer(self) -> bool:
        """Money came in or went out that trading neither won nor lost."""
        return self.reason in _TRANSFERS


@dataclass(frozen=True, slots=True)
class StreamDown:
    """The private stream is lost: facts may be missing until ``StreamUp``."""

    reason: str


@dataclass(frozen=True, slots=True)
class StreamUp:
    """The private stream is (back) up: whoever keeps state must now read orders, fills and positions by request."""


ExchangeEvent = OrderState | Fill | AccountUpdate | StreamDown | StreamUp


@dataclass(frozen=True, slots=True)
class Account:
    wallet_balance: Decimal
    available_balance: Decimal
    unrealized_pnl: Decimal
    positions: tuple[Position, ...]

    @property
    def equity(self) -> Decimal:
        return self.wallet_balance + self.unrealized_pnl


@dataclass(frozen=True, slots=True)
class Transfer:
    """USDT moved into the account (negative: out of it). ``transfer_id`` is the exchange's own."""

    transfer_id: int
    amount: Decimal
    time_ms: int


@dataclass(frozen=True, slots=True)
class CommissionRates:
    """Fractions of notional."""

    maker: Decimal
    taker: Decimal
