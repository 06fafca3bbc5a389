"""The leverage ramp: a stage by the number of closed trades, one lower while profit factor or drawdown do not allow it."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from app.domain.risk.rules import RampRules

ZERO = Decimal(0)
REMEMBERED = 150  # trades the profit factor is taken over


@dataclass(frozen=True, slots=True)
class Counted:
    trade_id: str
    net_r: Decimal


@dataclass(frozen=True, slots=True)
class Record:
    """All trades closed so far, and the last of them."""

    trades: int = 0
    recent: tuple[Counted, ...] = ()

    def has(self, trade_id: str) -> bool:
        return any(counted.trade_id == trade_id for counted in self.recent)

    def closed(self, trade_id: str, net_r: Decimal) -> "Record":
        return Record(self.trades + 1, (*self.recent, Counted(trade_id, net_r))[-REMEMBERED:])

    @property
    def profit_factor(self) -> Decimal | None:
        return profit_factor([counted.net_r for counted in self.recent])


def profit_factor(results: Sequence[Decimal]) -> Decimal | None:
    """Won over lost R; infinite without a loss, None without a trade that won or lost."""
    won = lost = ZERO
    for r in results:  # one plain loop: each alert asks for it
        if r > 0:
            won += r
        else:
            lost -= r
    if lost:
        return won / lost
    return Decimal("Infinity") if won else None


def ramp_stage(trades: int, factor: Decimal | None, drawdown: Decimal, rules: RampRules) -> int:
    """From 0. The stage the trades have earned, one lower while the conditions do not hold."""
    stage = sum(1 for count in rules.from_trades if trades >= count) - 1
    holds = factor is not None and factor >= rules.min_profit_factor and drawdown <= rules.max_drawdown
    return stage if holds else max(0, stage - 1)
