"""All statistics of a span of time, from the trades closed in it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from app.domain.instrument import Side
from app.domain.statistics.closed_trade import ClosedTrade
from app.domain.statistics.execution import Execution, execution
from app.domain.statistics.flags import SideFlag, side_flag
from app.domain.statistics.hedging import HedgeEffect, hedge_effect
from app.domain.statistics.performance import DAY_MS, ENOUGH_TRADES, Performance, performance
from app.domain.statistics.targets import TargetReached, against_targets


@dataclass(frozen=True, slots=True)
class Statistics:
    """Trades closed from ``since_ms`` (inclusive) until ``until_ms`` (exclusive). ``days``: from the first of them, or from
    ``since_ms`` if that is later, to the end; at least one. ``flags`` look further back: over a side's last 500 trades."""

    since_ms: int
    until_ms: int
    days: float
    unfilled: int
    together: Performance
    by_side: Mapping[str, Performance]
    by_symbol: Mapping[str, Performance]
    by_mode: Mapping[str, Performance]
    execution: Execution
    hedges: HedgeEffect
    flags: tuple[SideFlag, ...]
    targets: tuple[TargetReached, ...]
    warnings: tuple[str, ...]


def statistics(
    trades: Sequence[ClosedTrade], last_of_sides: Mapping[Side, Sequence[Decimal]], since_ms: int, now_ms: int
) -> Statistics:
    """``trades`` in any order. ``last_of_sides``: net R of each side's last strategy trades, oldest first, whenever closed."""
    ordered = sorted(trades, key=lambda trade: (trade.closed_ms, trade.trade_id))
    until_ms = max(now_ms, ordered[-1].closed_ms + 1) if ordered else now_ms  # a simulated exchange may be ahead of the clock
    days = _days(ordered, since_ms, until_ms)
    together = performance(ordered, days)
    flags = tuple(side_flag(side, results) for side, results in last_of_sides.items())
    return Statistics(
        since_ms=since_ms,
        until_ms=until_ms,
        days=days,
        unfilled=sum(1 for trade in ordered if not trade.is_filled),
        together=together,
        by_side=_grouped(ordered, lambda trade: trade.side.value, days),
        by_symbol=_grouped(ordered, lambda trade: trade.symbol, days),
        by_mode=_grouped(ordered, lambda trade: trade.mode, days),
        execution=execution(ordered),
        hedges=hedge_effect(ordered),
        flags=flags,
        targets=against_targets(together),
        warnings=_warnings(together, flags),
    )


def _days(ordered: Sequence[ClosedTrade], since_ms: int, until_ms: int) -> float:
    begun = min((trade.opened_ms for trade in ordered), default=since_ms)
    return max(1.0, (until_ms - max(begun, since_ms)) / DAY_MS)


def _grouped(trades: Sequence[ClosedTrade], name: Callable[[ClosedTrade], str], days: float) -> dict[str, Performance]:
    groups = dict[str, list[ClosedTrade]]()
    for trade in trades:
        groups.setdefault(name(trade), []).append(trade)
    return {key: performance(groups[key], days) for key in sorted(groups)}


def _warnings(together: Performance, flags: Sequence[SideFlag]) -> tuple[str, ...]:
    said = [
        f"{flag.side.value}: profit factor {flag.profit_factor:.2f} over its last {flag.trades} trades, under 1.2"
        for flag in flags
        if flag.flagged and flag.profit_factor is not None
    ]
    if not together.enough:
        said.append(f"too few trades to judge by ({together.trades}): under {ENOUGH_TRADES}, luck decides")
    elif together.average_r_95 is not None and together.average_r_95[0] <= 0 <= together.average_r_95[1]:
        low, high = together.average_r_95
        said.append(f"the average R may as well be 0: it lies between {low:+.3f} and {high:+.3f}, 95 % sure")
    return tuple(said)
