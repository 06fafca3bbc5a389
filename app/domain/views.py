"""All the facts a plan is made from, as its caller knows them at one moment. Absent facts are None and refuse by name."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from app.domain.instrument import Instrument, Side
from app.domain.market import (
    Bar,
    BarIndicators,
    BetaReading,
    CorrelationReading,
    FlowReading,
    MarkPrice,
    Quote,
    RegimeReading,
    StructureReading,
)
from app.domain.orders import CommissionRates

DEFAULT_MAINTENANCE_RATE = Decimal("0.01")  # twice and more what the majors' first brackets ask


class TradingState(StrEnum):
    ACTIVE = "ACTIVE"
    REDUCING = "REDUCING"  # only what lowers exposure
    HALTED = "HALTED"  # nothing but protective orders


@dataclass(frozen=True, slots=True)
class SymbolView:
    """One symbol as it stands. ``maintenance_rate`` is that of the bracket the trade would fall in."""

    instrument: Instrument
    quote: Quote | None = None
    mark: MarkPrice | None = None
    bars: BarIndicators | None = None  # of the last closed bar of the trading timeframe
    commission: CommissionRates | None = None
    beta: BetaReading | None = None
    flow: FlowReading | None = None
    regime: RegimeReading | None = None
    structure: StructureReading | None = None  # of the trading timeframe
    range: StructureReading | None = None  # of the longer timeframe whose range tells discount from premium
    maintenance_rate: Decimal = DEFAULT_MAINTENANCE_RATE
    funding_interval_h: int = 8
    quarter: Bar | None = None  # the last closed bar of 15 minutes


@dataclass(frozen=True, slots=True)
class MarketView:
    """``now_ms`` is exchange time; ``alert_age_ms`` the time since the gateway received the alert."""

    now_ms: int
    alert_age_ms: int
    symbols: Mapping[str, SymbolView]
    correlations: Mapping[frozenset[str], CorrelationReading] = field(default_factory=dict)  # by the pair


@dataclass(frozen=True, slots=True)
class AccountView:
    """USDT. ``age_ms``: since the account was last confirmed by the exchange."""

    equity: Decimal | None
    available_balance: Decimal | None
    age_ms: int


@dataclass(frozen=True, slots=True)
class DeskView:
    """What the operator and the running trades allow. ``owners`` names who owns a symbol; a free one is absent.

    ``live_trade_side`` is that of the trade under way on the alert's own symbol.
    """

    live: bool  # real money: the live risk applies, and arming is needed
    armed: bool
    trading: TradingState = TradingState.ACTIVE
    owners: Mapping[str, str] = field(default_factory=dict)
    live_trade_side: Side | None = None
