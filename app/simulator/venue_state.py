"""What the parts of the venue share: its settings, exchange time, markets, counters and the list of events."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol

from app.simulator.contracts import CONTRACTS, Contract
from app.simulator.venue_market import BookShape, Market
from app.simulator.venue_types import ReduceOnlyPolicy, VenueError, VenueEvent

FUNDING_INTERVAL_MS = 8 * 3_600_000


class FundingRates(Protocol):
    def rate(self, symbol: str, settlement_ms: int) -> Decimal:
        """The fraction of notional that longs pay shorts at that settlement."""


@dataclass(frozen=True, slots=True)
class ConstantFunding:
    constant: Decimal = Decimal("0.0001")

    def rate(self, symbol: str, settlement_ms: int) -> Decimal:
        return self.constant


@dataclass(frozen=True, slots=True)
class VenueConfig:
    """``touch_share``: the part of the traded volume a resting order gets while the market trades exactly at its price.

    ``can_trade``, ``hedge_mode`` and ``multi_assets`` are what the account says of itself; trading stays one-way, single-asset.
    """

    balance: Decimal = Decimal(10_000)
    maker_fee: Decimal = Decimal("0.0002")
    taker_fee: Decimal = Decimal("0.0005")
    reduce_only_policy: ReduceOnlyPolicy = ReduceOnlyPolicy.PRIORITY
    leverage: int = 20
    touch_share: Decimal = Decimal("0.3")
    book: BookShape = field(default_factory=BookShape)
    max_algo_orders: int = 200
    can_trade: bool = True
    hedge_mode: bool = False
    multi_assets: bool = False


class VenueState:
    """Mutable and shared; ids count up from fixed starts, so that the same inputs give the same answers."""

    def __init__(
        self,
        config: VenueConfig,
        prices: dict[str, Decimal],
        start_ms: int,
        funding: FundingRates,
        contracts: dict[str, Contract] | None = None,
    ) -> None:
        listed = CONTRACTS if contracts is None else contracts
        self.config = config
        self.now_ms = start_ms
        self.funding = funding
        self.markets = {symbol: Market(listed[symbol], config.book, price) for symbol, price in prices.items()}
        self.events: list[VenueEvent] = []
        self._ids = Ids()
        self._timers: list[tuple[int, int, Callable[[], None]]] = []
        self._timer_count = 0

    def market(self, symbol: str) -> Market:
        market = self.markets.get(symbol)
        if market is None:
            raise VenueError(-1121, "Invalid symbol.")
        return market

    def next_id(self, kind: str) -> int:
        return self._ids.next(kind)

    def at(self, due_ms: int, action: Callable[[], None]) -> None:
        """Have ``action`` run when exchange time gets there; it looks itself whether it is still wanted."""
        self._timer_count += 1
        heapq.heappush(self._timers, (due_ms, self._timer_count, action))

    @property
    def next_timer_ms(self) -> int | None:
        return self._timers[0][0] if self._timers else None

    def run_timer(self) -> None:
        heapq.heappop(self._timers)[2]()

    def emit(self, event: VenueEvent) -> None:
        self.events.append(event)


@dataclass(slots=True)
class Ids:
    """Order, algo, trade and transaction ids live in spaces of their own, of Binance's magnitudes."""

    last: dict[str, int] = field(
        default_factory=lambda: {
            "order": 800_000_000_000,
            "algo": 4_000_000_000_000_000,
            "trade": 6_000_000_000,
            "transaction": 9_000_000_000,
            "priority": 0,
        }
    )

    def next(self, kind: str) -> int:
        self.last[kind] += 1
        return self.last[kind]
