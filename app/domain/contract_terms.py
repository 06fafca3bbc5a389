"""What a contract asks of whoever holds it, as the exchange states it: how often funding is due, and the margin to keep."""

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class MarginBracket:
    """Up to ``notional_cap`` USDT, ``maintenance_rate`` of the notional must be kept as margin, or it is liquidated."""

    notional_cap: Decimal
    maintenance_rate: Decimal


@dataclass(frozen=True, slots=True)
class ContractTerms:
    """``brackets``: smallest first, at least one."""

    funding_interval_h: int
    brackets: tuple[MarginBracket, ...]

    def __post_init__(self) -> None:
        if not self.brackets or self.funding_interval_h < 1:
            raise ValueError("a contract has at least one margin bracket and settles funding every few hours")

    def maintenance_rate(self, notional: Decimal) -> Decimal:
        """That of the bracket the notional falls in; beyond them all, the last one's."""
        fitting = (bracket for bracket in self.brackets if notional <= bracket.notional_cap)
        return next(fitting, self.brackets[-1]).maintenance_rate
