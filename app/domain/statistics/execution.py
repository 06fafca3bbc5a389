"""How trades were carried out: slippage, maker share, time without a stop, latency of each stage."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from app.domain.statistics.closed_trade import ClosedTrade
from app.domain.statistics.measures import ZERO, Percentiles, mean, percentiles

# Milestones as the journal names them; later ones time the market, not us.
STAGES: Mapping[str, str] = {
    "planned": "plan durable",
    "order_sent": "entry sent",
    "order_acknowledged": "entry acknowledged",
    "fill": "first fill, wait included",
    "covered": "stop acknowledged",
    "targets_resting": "targets acknowledged",
}


@dataclass(frozen=True, slots=True)
class Execution:
    """Slippage is the average entry against P0, positive when it was worse: ``slippage_bp`` in hundredths of a percent,
    ``slippage_r`` in R. Maker shares are fractions weighted by turnover: of all legs in and out, and of the main leg's entry.
    ``naked_ms``: from a fill to the acknowledged stop, every fill of every leg; ``stages_ms``: from the alert's receipt."""

    slippage_bp: float | None
    slippage_r: float | None
    maker_share: float | None
    entry_maker_share: float | None
    naked_ms: Percentiles | None
    stages_ms: Mapping[str, Percentiles]


def execution(trades: Sequence[ClosedTrade]) -> Execution:
    filled = [trade for trade in trades if trade.is_filled]
    slipped = [trade.slippage for trade in filled if trade.slippage is not None]
    slipped_r = [trade.slippage_r for trade in filled if trade.slippage_r is not None]
    average = mean(slipped)
    legs = [leg for trade in filled for leg in trade.legs]
    return Execution(
        slippage_bp=None if average is None else average * 10_000,
        slippage_r=mean(slipped_r),
        maker_share=_weighted([(leg.maker_share, leg.turnover) for leg in legs]),
        entry_maker_share=_weighted([(leg.entry_maker_share, leg.turnover) for trade in filled for leg in trade.legs[:1]]),
        naked_ms=percentiles(ms for trade in filled for ms in trade.naked_ms),
        stages_ms=_stages(trades),
    )


def _weighted(shares: Sequence[tuple[Decimal | None, Decimal]]) -> float | None:
    known = [(share, weight) for share, weight in shares if share is not None]
    total = sum((weight for _, weight in known), ZERO)
    return float(sum((share * weight for share, weight in known), ZERO) / total) if total else None


def _stages(trades: Sequence[ClosedTrade]) -> dict[str, Percentiles]:
    measured = {name: percentiles(t.stages_ms[name] for t in trades if name in t.stages_ms) for name in STAGES}
    return {name: found for name, found in measured.items() if found is not None}
