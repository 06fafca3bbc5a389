"""A side that does not earn is flagged: longs or shorts whose profit factor is too small over their last trades."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from app.domain.risk.ramp import profit_factor
from app.domain.risk.rules import FlagRules


@dataclass(frozen=True, slots=True)
class SideFlag:
    """``profit_factor`` is None until there are enough trades to judge by."""

    trades: int
    profit_factor: Decimal | None
    flagged: bool

    @property
    def is_ready(self) -> bool:
        return self.profit_factor is not None


def side_flag(results: Sequence[Decimal], rules: FlagRules) -> SideFlag:
    """Of one side's net R, oldest first. Only the last ``rules.trades`` count, and nothing is said before there are so many."""
    if len(results) < rules.trades:
        return SideFlag(len(results), None, flagged=False)
    factor = profit_factor(results[-rules.trades :])
    return SideFlag(len(results), factor, flagged=factor is not None and factor < rules.min_profit_factor)
