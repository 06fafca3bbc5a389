"""The profit-factor flag: a side whose last 500 trades made less than 1.2 times what they lost. Vectors: ``pf_flag``."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from app.domain.instrument import Side
from app.domain.risk.ramp import profit_factor

FLAG_TRADES = 500
FLAG_BELOW = Decimal("1.2")


@dataclass(frozen=True, slots=True)
class SideFlag:
    """``profit_factor`` is over the last 500 trades, None before there are 500 and without a losing one among them."""

    side: Side
    trades: int  # counted, at most 500
    ready: bool
    profit_factor: float | None
    flagged: bool


def side_flag(side: Side, results: Sequence[Decimal]) -> SideFlag:
    """``results``: net R of that side's trades, oldest first. Never flagged before 500."""
    last = results[-FLAG_TRADES:]
    if len(last) < FLAG_TRADES:
        return SideFlag(side, len(last), ready=False, profit_factor=None, flagged=False)
    factor = profit_factor(last)
    shown = None if factor is None or factor.is_infinite() else float(factor)
    return SideFlag(side, len(last), True, shown, flagged=factor is not None and factor < FLAG_BELOW)
