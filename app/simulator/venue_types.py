"""The words of the simulated venue: orders, trades, positions, events and its one error.

Values are snapshots: each change makes a new one. Quantities are in the base asset, money in USDT, times in Unix
milliseconds of exchange time. Names in capitals are Binance's own.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from app.domain.instrument import Side

ZERO = Decimal(0)


class VenueError(Exception):
    """A refusal as Binance words it: ``code`` is its (negative) number, ``msg`` its text."""

    def __init__(self, code: int, msg: str) -> None:
        super().__init__(f"{code}: {msg}")
        self.code = code
        self.msg = msg


class OrderType(StrEnum):
    MARKET = "MARKET"
    LIMIT = "LIMIT"
    STOP = "STOP"
    STOP_MARKET = "STOP_MARKET"
    TAKE_PROFIT = "TAKE_PROFIT"
    TAKE_PROFIT_MARKET = "TAKE_PROFIT_MARKET"
    TRAILING_STOP_MARKET = "TRAILING_STOP_MARKET"
    LIQUIDATION = "LIQUIDATION"


LIMIT_ALGO_TYPES = (OrderType.STOP, OrderType.TAKE_PROFIT)
CLOSING_ALGO_TYPES = (OrderType.STOP_MARKET, OrderType.TAKE_PROFIT_MARKET)
ALGO_TYPES = (*LIMIT_ALGO_TYPES, *CLOSING_ALGO_TYPES, OrderType.TRAILING_STOP_MARKET)


class Tif(StrEnum):
    """Time in force. GTE_GTC is what a closePosition order shows: it lives as long as the position."""

    GTC = "GTC"
    IOC = "IOC"
    FOK = "FOK"
    GTX = "GTX"
    GTD = "GTD"
    GTE_GTC = "GTE_GTC"


IMMEDIATE = (Tif.IOC, Tif.FOK)


class PriceMatch(StrEnum):
    """A limit price taken from the book: the nth best of the other side (OPPONENT) or of one's own (QUEUE)."""

    NONE = "NONE"
    OPPONENT = "OPPONENT"
    OPPONENT_5 = "OPPONENT_5"
    OPPONENT_10 = "OPPONENT_10"
    OPPONENT_20 = "OPPONENT_20"
    QUEUE = "QUEUE"
    QUEUE_5 = "QUEUE_5"
    QUEUE_10 = "QUEUE_10"
    QUEUE_20 = "QUEUE_20"

    @property
    def level(self) -> int:
        return int(self.value.partition("_")[2] or 1)


class Status(StrEnum):
    NEW = "NEW"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"

    @property
    def is_open(self) -> bool:
        return self in (Status.NEW, Status.PARTIALLY_FILLED)


class AlgoStatus(StrEnum):
    NEW = "NEW"  # waiting for its trigger
    TRIGGERING = "TRIGGERING"  # handed to the matching engine
    TRIGGERED = "TRIGGERED"  # its child order is in the engine
    FINISHED = "FINISHED"  # the child was executed or cancelled
    CANCELED = "CANCELED"
    REJECTED = "REJECTED"  # the engine refused the child
    EXPIRED = "EXPIRED"  # closePosition without a position any more


class WorkingType(StrEnum):
    CONTRACT_PRICE = "CONTRACT_PRICE"
    MARK_PRICE = "MARK_PRICE"


class Execution(StrEnum):
    """What an ORDER_TRADE_UPDATE reports (its ``x``)."""

    NEW = "NEW"
    CANCELED = "CANCELED"
    CALCULATED = "CALCULATED"  # liquidation, ADL
    EXPIRED = "EXPIRED"
    TRADE = "TRADE"
    AMENDMENT = "AMENDMENT"


class MarginType(StrEnum):
    ISOLATED = "ISOLATED"
    CROSSED = "CROSSED"


class ReduceOnlyPolicy(StrEnum):
    """How a reduce-only market order or triggered stop behaves beside resting reduce-only limits.

    ``priority``: it takes what it needs of the position; resting ones that no longer fit expire.
    ``reject``: it is refused when it and the resting ones together exceed the position.
    ``shrink``: it gets only what the resting ones leave of the position.
    """

    PRIORITY = "priority"
    REJECT = "reject"
    SHRINK = "shrink"


class IncomeType(StrEnum):
    TRANSFER = "TRANSFER"
    COMMISSION = "COMMISSION"
    REALIZED_PNL = "REALIZED_PNL"
    FUNDING_FEE = "FUNDING_FEE"
    INSURANCE_CLEAR = "INSURANCE_CLEAR"


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """A plain order as a client asks for it. ``price`` is None for market orders, and with a ``price_match``.

    ``lives_ms``: how long a GTD order lasts; ``good_till_date`` is how the client said it.
    """

    symbol: str
    side: Side
    type: OrderType
    quantity: Decimal
    client_id: str
    price: Decimal | None = None
    time_in_force: Tif = Tif.GTC
    reduce_only: bool = False
    price_match: PriceMatch = PriceMatch.NONE
    good_till_date: int = 0
    lives_ms: int = 0

    @property
    def rests(self) -> bool:
        """Does it wait in the book for what it cannot take at once?"""
        return self.type is OrderType.LIMIT and self.time_in_force not in IMMEDIATE


@dataclass(frozen=True, slots=True)
class PlainOrder:
    """An order of the matching engine. ``original_type`` differs from ``type`` for the child of a conditional order."""

    order_id: int
    client_id: str
    symbol: str
    side: Side
    type: OrderType
    original_type: OrderType
    time_in_force: Tif
    quantity: Decimal
    price: Decimal  # 0 for market orders
    reduce_only: bool
    close_position: bool
    status: Status
    executed: Decimal
    quote: Decimal  # executed value, in USDT
    realized_pnl: Decimal
    created_ms: int
    updated_ms: int
    priority: int  # place in the queue; lower goes first, an amendment goes to the end
    trigger_price: Decimal = ZERO
    working_type: WorkingType = WorkingType.CONTRACT_PRICE
    price_match: PriceMatch = PriceMatch.NONE
    good_till_date: int = 0
    amendments: int = 0

    @property
    def rests(self) -> bool:
        return self.type is OrderType.LIMIT and self.time_in_force not in IMMEDIATE

    @property
    def remaining(self) -> Decimal:
        return self.quantity - self.executed

    @property
    def average_price(self) -> Decimal:
        return self.quote / self.executed if self.executed else ZERO


@dataclass(frozen=True, slots=True)
class Trade:
    """One execution. ``realized_pnl`` is before fees; ``fee`` is positive when paid."""

    trade_id: int
    order_id: int
    client_id: str
    symbol: str
    side: Side
    price: Decimal
    quantity: Decimal
    fee: Decimal
    is_maker: bool
    realized_pnl: Decimal
    time_ms: int


@dataclass(frozen=True, slots=True)
class AlgoRequest:
    """A conditional order as a client asks for it. ``trigger_price`` is None for trailing stops, ``callback_rate`` (percent)
    for all others; ``price`` is for the limit kinds."""

    symbol: str
    side: Side
    type: OrderType
    client_id: str
    trigger_price: Decimal | None = None
    quantity: Decimal | None = None
    close_position: bool = False
    reduce_only: bool = False
    working_type: WorkingType = WorkingType.CONTRACT_PRICE
    price_protect: bool = False
    price: Decimal | None = None
    price_match: PriceMatch = PriceMatch.NONE
    time_in_force: Tif = Tif.GTC
    activate_price: Decimal | None = None
    callback_rate: Decimal | None = None


@dataclass(frozen=True, slots=True)
class AlgoOrder:
    """A conditional order. ``quantity`` is 0 with ``close_position``; the ``actual_*`` are its child's, once triggered.

    A trailing one has a ``callback_rate`` in percent; from its activation on, ``extreme`` is the best price since.
    """

    algo_id: int
    client_id: str
    symbol: str
    side: Side
    type: OrderType
    quantity: Decimal
    trigger_price: Decimal
    working_type: WorkingType
    reduce_only: bool
    close_position: bool
    price_protect: bool
    status: AlgoStatus
    created_ms: int
    updated_ms: int
    triggered_ms: int = 0
    actual_order_id: int | None = None
    actual_quantity: Decimal = ZERO
    actual_price: Decimal = ZERO
    reject_reason: str = ""
    price: Decimal | None = None
    price_match: PriceMatch = PriceMatch.NONE
    tif: Tif = Tif.GTC
    activate_price: Decimal | None = None
    callback_rate: Decimal | None = None
    extreme: Decimal | None = None

    @property
    def time_in_force(self) -> Tif:
        return Tif.GTE_GTC if self.close_position else self.tif

    @property
    def is_active(self) -> bool:
        """Does a trailing stop follow the price already?"""
        return self.extreme is not None

    @property
    def child(self) -> OrderRequest:
        """The order it sends when triggered, closePosition's quantity still to be filled in."""
        if self.type not in LIMIT_ALGO_TYPES:
            return OrderRequest(
                self.symbol, self.side, OrderType.MARKET, self.quantity, self.client_id, reduce_only=self.reduce_only
            )
        return OrderRequest(
            self.symbol,
            self.side,
            OrderType.LIMIT,
            self.quantity,
            self.client_id,
            self.price,
            self.tif,
            self.reduce_only,
            self.price_match,
        )

    @property
    def watched_price(self) -> Decimal:
        """Where something happens to it next: its trigger, or a trailing stop's activation."""
        if self.callback_rate is None:
            return self.trigger_price
        if self.extreme is None:
            return self.activate_price or ZERO
        return self.extreme * (1 + self.side.sign * self.callback_rate / 100)

    def reaches_activation(self, price: Decimal) -> bool:
        if self.activate_price is None:
            return True
        return (price - self.activate_price) * self.side.sign <= 0

    def triggers_at(self, price: Decimal) -> bool:
        """A stop triggers against its side, a take-profit with it: BUY stop and SELL target at or above."""
        if self.callback_rate is not None and self.extreme is None:
            return False
        is_target = self.type in (OrderType.TAKE_PROFIT, OrderType.TAKE_PROFIT_MARKET)
        rises = (self.side is Side.BUY) is not is_target
        return price >= self.watched_price if rises else price <= self.watched_price


@dataclass(frozen=True, slots=True)
class VenuePosition:
    """``quantity`` is signed: negative is short. ``liquidation_price`` is 0 when there is none."""

    symbol: str
    quantity: Decimal
    entry_price: Decimal
    mark_price: Decimal
    unrealized_pnl: Decimal
    realized_pnl: Decimal  # accumulated on this symbol, before fees
    leverage: int
    margin_type: MarginType
    isolated_wallet: Decimal
    initial_margin: Decimal
    maintenance_margin: Decimal
    open_order_margin: Decimal
    liquidation_price: Decimal
    updated_ms: int

    @property
    def notional(self) -> Decimal:
        return self.quantity * self.mark_price


@dataclass(frozen=True, slots=True)
class VenueAccount:
    wallet_balance: Decimal
    cross_wallet: Decimal  # wallet without what isolated positions hold
    unrealized_pnl: Decimal
    cross_unrealized_pnl: Decimal
    position_margin: Decimal
    open_order_margin: Decimal
    maintenance_margin: Decimal
    available_balance: Decimal
    positions: tuple[VenuePosition, ...]
    updated_ms: int

    @property
    def margin_balance(self) -> Decimal:
        return self.wallet_balance + self.unrealized_pnl

    @property
    def initial_margin(self) -> Decimal:
        return self.position_margin + self.open_order_margin


@dataclass(frozen=True, slots=True)
class Income:
    """One change of the wallet; their sum is the wallet balance."""

    time_ms: int
    type: IncomeType
    symbol: str
    amount: Decimal
    transaction_id: int
    trade_id: int | None = None


@dataclass(frozen=True, slots=True)
class OrderUpdate:
    """ORDER_TRADE_UPDATE; with ``trade`` a TRADE_LITE goes before it. ``order`` is the state after."""

    time_ms: int
    execution: Execution
    order: PlainOrder
    trade: Trade | None = None


@dataclass(frozen=True, slots=True)
class AccountChanged:
    """ACCOUNT_UPDATE: wallet after, by how much it changed without P&L and fees, and the positions touched."""

    time_ms: int
    reason: str  # ORDER, FUNDING_FEE, DEPOSIT, MARGIN_TYPE_CHANGE
    wallet_balance: Decimal
    cross_wallet: Decimal
    balance_change: Decimal
    positions: tuple[VenuePosition, ...]


@dataclass(frozen=True, slots=True)
class AlgoUpdate:
    """ALGO_UPDATE."""

    time_ms: int
    algo: AlgoOrder


@dataclass(frozen=True, slots=True)
class LeverageChanged:
    """ACCOUNT_CONFIG_UPDATE."""

    time_ms: int
    symbol: str
    leverage: int


@dataclass(frozen=True, slots=True)
class MarginCalled:
    """MARGIN_CALL: the position's maintenance margin has come near what stands behind it."""

    time_ms: int
    cross_wallet: Decimal
    position: VenuePosition


VenueEvent = OrderUpdate | AccountChanged | AlgoUpdate | LeverageChanged | MarginCalled
