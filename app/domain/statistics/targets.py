"""What the strategy was hoped to reach by those who wrote it down. Shown beside what was measured, never promised."""

from collections.abc import Callable
from dataclasses import dataclass

from app.domain.statistics.performance import Performance


@dataclass(frozen=True, slots=True)
class Target:
    """``low`` and ``high`` span all that was written, in the unit of ``measured``: fractions, or a ratio."""

    name: str
    words: str
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class TargetReached:
    """``measured`` is None when there is nothing to measure yet; ``reached`` too, and while there are too few trades."""

    target: Target
    measured: float | None
    reached: bool | None


_WIN_RATE = Target("win_rate", "60 to 70 % of trades won (also 62 to 68 %, 65 %)", 0.60, 0.70)
_PROFIT_FACTOR = Target("profit_factor", "1.6 (also 1.4 to 1.55, 1.35 to 1.45, walk-forward 1.4)", 1.35, 1.6)
_RETURN = Target("return_30d", "6 to 9 % a month (also 20 to 30 %, 31.9 %, 38 to 58 %)", 0.06, 0.58)
_DRAWDOWN = Target("max_drawdown", "at most 2 to 2.5 % of equity in 30 days (three symbols: 4 %)", 0.02, 0.04)
_MEASURES: tuple[tuple[Target, Callable[[Performance], float | None]], ...] = (
    (_WIN_RATE, lambda p: p.win_rate),
    (_PROFIT_FACTOR, lambda p: p.profit_factor),
    (_RETURN, lambda p: p.return_30d),
    (_DRAWDOWN, lambda p: p.max_drawdown if p.trades else None),
)
TARGETS = tuple(target for target, _ in _MEASURES)


def against_targets(results: Performance) -> tuple[TargetReached, ...]:
    """Reached means at least the lowest that was hoped for, or at most the largest drawdown."""
    return tuple(_judged(target, measure(results), results.enough) for target, measure in _MEASURES)


def _judged(target: Target, measured: float | None, enough: bool) -> TargetReached:
    if measured is None or not enough:
        return TargetReached(target, measured, None)
    return TargetReached(target, measured, measured <= target.high if target is _DRAWDOWN else measured >= target.low)
