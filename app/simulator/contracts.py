"""The perpetuals the simulator lists: filters, leverage brackets and precision, as exchangeInfo publishes them."""

from dataclasses import dataclass
from decimal import Decimal

from app.domain.instrument import Instrument


@dataclass(frozen=True, slots=True)
class Bracket:
    """Up to ``cap`` USDT of notional: the highest leverage, the maintenance rate and the amount deducted from it."""

    cap: Decimal
    max_leverage: int
    maintenance_rate: Decimal
    cum: Decimal


@dataclass(frozen=True, slots=True)
class Contract:
    instrument: Instrument
    base_asset: str
    price_precision: int
    quantity_precision: int
    min_price: Decimal
    max_price: Decimal
    brackets: tuple[Bracket, ...]
    price_band: Decimal = Decimal("0.05")  # PERCENT_PRICE, and how far a market order may walk (marketTakeBound)
    liquidation_fee: Decimal = Decimal("0.0125")  # of the notional, taken when liquidated
    max_orders: int = 200
    max_amendments: int = 10_000
    trigger_protect: Decimal = Decimal("0.05")  # how far last and mark price may differ for a protected trigger

    @property
    def symbol(self) -> str:
        return self.instrument.symbol

    def bracket(self, notional: Decimal) -> Bracket:
        return next((b for b in self.brackets if notional <= b.cap), self.brackets[-1])

    def max_notional(self, leverage: int) -> Decimal:
        return max((b.cap for b in self.brackets if b.max_leverage >= leverage), default=Decimal(0))

    def maintenance_margin(self, notional: Decimal) -> Decimal:
        bracket = self.bracket(notional)
        return notional * bracket.maintenance_rate - bracket.cum


def _brackets(*rows: tuple[int, int, str]) -> tuple[Bracket, ...]:
    """Rows of (cap, leverage, rate). ``cum`` keeps the margin continuous from one bracket to the next."""
    brackets: list[Bracket] = []
    for cap, leverage, rate in rows:
        below = brackets[-1] if brackets else None
        cum = below.cum + below.cap * (Decimal(rate) - below.maintenance_rate) if below else Decimal(0)
        brackets.append(Bracket(Decimal(cap), leverage, Decimal(rate), cum))
    return tuple(brackets)


def _contract(
    base: str,
    *,
    tick: str,
    step: str,
    quantities: tuple[str, str],
    min_notional: str,
    prices: tuple[str, str],
    precisions: tuple[int, int],
    brackets: tuple[Bracket, ...],
    liquidation_fee: str = "0.0125",
) -> Contract:
    instrument = Instrument(
        symbol=f"{base}USDT",
        tick=Decimal(tick),
        step=Decimal(step),
        min_quantity=Decimal(step),
        max_quantity=Decimal(quantities[0]),
        market_max_quantity=Decimal(quantities[1]),
        min_notional=Decimal(min_notional),
    )
    return Contract(
        instrument=instrument,
        base_asset=base,
        price_precision=precisions[0],
        quantity_precision=precisions[1],
        min_price=Decimal(prices[0]),
        max_price=Decimal(prices[1]),
        brackets=brackets,
        liquidation_fee=Decimal(liquidation_fee),
    )


BTC = _contract(
    "BTC",
    tick="0.10",
    step="0.001",
    quantities=("1000", "120"),
    min_notional="50",
    prices=("556.80", "4529764"),
    precisions=(2, 3),
    brackets=_brackets(
        (300_000, 150, "0.004"),
        (800_000, 100, "0.005"),
        (3_000_000, 75, "0.0065"),
        (12_000_000, 50, "0.01"),
        (70_000_000, 25, "0.02"),
        (100_000_000, 20, "0.025"),
        (230_000_000, 10, "0.05"),
        (480_000_000, 5, "0.1"),
        (600_000_000, 4, "0.125"),
        (800_000_000, 3, "0.15"),
        (1_200_000_000, 2, "0.25"),
        (1_800_000_000, 1, "0.5"),
    ),
)
ETH = _contract(
    "ETH",
    tick="0.01",
    step="0.001",
    quantities=("10000", "2000"),
    min_notional="20",
    prices=("39.86", "306177"),
    precisions=(2, 3),
    brackets=_brackets(
        (300_000, 150, "0.004"),
        (800_000, 100, "0.005"),
        (3_000_000, 75, "0.0065"),
        (12_000_000, 50, "0.01"),
        (50_000_000, 25, "0.02"),
        (65_000_000, 20, "0.025"),
        (150_000_000, 10, "0.05"),
        (320_000_000, 5, "0.1"),
    ),
)
SOL = _contract(
    "SOL",
    tick="0.01",
    step="0.01",
    quantities=("1000000", "6000"),
    min_notional="5",
    prices=("0.42", "6857"),
    precisions=(4, 2),
    brackets=_brackets(
        (50_000, 100, "0.005"),
        (400_000, 75, "0.0065"),
        (1_000_000, 50, "0.01"),
        (4_000_000, 25, "0.02"),
        (8_000_000, 20, "0.025"),
        (40_000_000, 10, "0.05"),
        (80_000_000, 5, "0.1"),
    ),
    liquidation_fee="0.015",
)
CONTRACTS = {contract.symbol: contract for contract in (BTC, ETH, SOL)}
