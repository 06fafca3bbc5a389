"""What market structure says of a trade: its stop, its hedges' stops, whether the price is cheap, and when its reason is gone."""

from collections.abc import Iterable
from decimal import Decimal

from app.domain.instrument import Side
from app.domain.market import MINUTE_MS, OrderBlockView, Quote, StructureReading
from app.domain.numbers import to_decimal
from app.domain.refusals import fail
from app.domain.rules import TradingRules
from app.domain.structure_rules import ChochExit, Discount
from app.domain.verdict import Verdict

RANGE_MS = 15 * MINUTE_MS  # the swing range is that of this interval, or of the trading timeframe where that is longer


def is_current(structure: StructureReading, now_ms: int, rules: TradingRules) -> bool:
    """It is that of the last closed bar; for a moment after a close its predecessor's still is."""
    return now_ms - structure.close_ms < structure.interval_ms + rules.freshness.bar_grace_ms


def tapped_block(side: Side, structure: StructureReading | None, now_ms: int, rules: TradingRules) -> OrderBlockView | None:
    """The newest unmitigated block for a position on ``side`` that the price has reached within the last so many bars."""
    if structure is None or not is_current(structure, now_ms, rules):
        return None
    since_ms = structure.open_ms - rules.structure.tapped_within_bars * structure.interval_ms
    blocks: Iterable[OrderBlockView] = (block for block in structure.blocks if block.bias == side.sign)
    return next((block for block in blocks if block.tapped_ms is not None and block.tapped_ms >= since_ms), None)


def hedge_edge(side: Side, structure: StructureReading | None, now_ms: int, rules: TradingRules) -> Decimal | None:
    """The edge of the coin's own block that proves a hedge on ``side`` wrong; None where structure knows of none."""
    block = tapped_block(side, structure, now_ms, rules) if rules.structure.hedge_edge else None
    return None if block is None else to_decimal(block.bottom if side is Side.BUY else block.top)


def discount(side: Side | None, quote: Quote, ranged: StructureReading | None, now_ms: int, rules: TradingRules) -> Verdict:
    """Longs below the middle of the swing range, shorts above it.

    A range that is not known refuses nothing: it may stay unknown for as long as no swing has both ends, and would lock
    everything. The verdict says so.
    """
    wanted = rules.structure.discount
    if wanted is Discount.OFF or side is None:
        return Verdict("discount", passed=True, reason="not asked")
    middle = None if ranged is None or not is_current(ranged, now_ms, rules) else to_decimal(ranged.range_middle)
    if ranged is None or middle is None:
        return Verdict("discount", passed=True, reason="the swing range is not known, which refuses nothing")
    price, minutes = quote.opposite(side), ranged.interval_ms // MINUTE_MS
    half, name = ("lower", "discount") if side is Side.BUY else ("upper", "premium")
    if (middle - price) * side.sign > 0:
        return Verdict("discount", passed=True, reason=f"in {name}: the middle of the {minutes} min range is {middle:.8g}")
    facts = {"price": price, "half": half, "minutes": minutes, "middle": f"{middle:.8g}"}
    failed = fail("discount", "not_in_discount", symbol=ranged.symbol, side=side.value, **facts)
    return failed if wanted is Discount.REFUSE else Verdict("discount", passed=True, reason=f"only a warning: {failed.reason}")


def has_turned(side: Side, structure: StructureReading, since_ms: int, rules: TradingRules) -> bool:
    """The layer asked for has changed its character against a position on ``side``, on a bar that closed after ``since_ms``."""
    wanted = rules.structure.choch_exit
    if wanted is ChochExit.OFF:
        return False
    choch = structure.internal_choch if wanted is ChochExit.INTERNAL else structure.swing_choch
    return choch is not None and choch.bias == -side.sign and choch.close_ms > since_ms
