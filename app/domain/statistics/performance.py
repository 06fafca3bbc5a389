"""Results of a group of closed trades, net of fees and funding. R is each trade's own, as taken."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from app.domain.statistics.closed_trade import ClosedTrade
from app.domain.statistics.measures import (
    ZERO,
    Streaks,
    compounded,
    max_drawdown,
    max_drawdown_sum,
    mean,
    mean_95,
    profit_factor,
    streaks,
)

ENOUGH_TRADES = 30  # under it, nothing measured here tells skill from luck
DAY_MS = 86_400_000
_MONEY_PLACES = Decimal("0.00000001")


@dataclass(frozen=True, slots=True)
class Performance:
    """A trade is won when its net R is above 0. Rates and drawdowns are fractions, money is USDT; None: nothing to measure.

    ``average_r`` is the expectancy in R, ``expectancy`` in USDT a trade. ``average_r_95``: between what the true average lies,
    95 % sure. ``profit_factor`` (of net R) is None without a losing trade. ``max_drawdown`` and ``net_return`` are of equity,
    compounded from each trade's net over the equity it was planned with: transfers change neither. ``return_30d`` is the
    return a 30 days, None under 30 days.
    """

    trades: int
    wins: int
    losses: int
    enough: bool
    win_rate: float | None
    profit_factor: float | None
    average_r: float | None
    average_r_95: tuple[float, float] | None
    average_win_r: float | None
    average_loss_r: float | None
    expectancy: Decimal | None
    net_r: float
    gross_r: float
    fee_r: float | None  # fees of the average trade
    gross: Decimal
    fees: Decimal
    funding: Decimal
    net: Decimal
    max_drawdown_r: float
    max_drawdown: float
    net_return: float
    return_30d: float | None
    streaks: Streaks
    trades_per_day: float | None


def performance(trades: Sequence[ClosedTrade], days: float) -> Performance:
    """Of the filled ones among ``trades``, oldest close first, over so many days."""
    filled = [trade for trade in trades if trade.is_filled]
    results = [trade.net_r for trade in filled]
    wins, losses = [r for r in results if r > 0], [r for r in results if r < 0]
    worth = compounded(trade.net_return for trade in filled)
    net = sum((trade.net for trade in filled), ZERO)
    return Performance(
        trades=len(filled),
        wins=len(wins),
        losses=len(losses),
        enough=len(filled) >= ENOUGH_TRADES,
        win_rate=len(wins) / len(filled) if filled else None,
        profit_factor=profit_factor(results),
        average_r=mean(results),
        average_r_95=mean_95(results),
        average_win_r=mean(wins),
        average_loss_r=mean(losses),
        expectancy=(net / len(filled)).quantize(_MONEY_PLACES) if filled else None,
        net_r=float(sum(results, ZERO)),
        gross_r=float(sum((trade.gross_r for trade in filled), ZERO)),
        fee_r=mean([trade.fee_r for trade in filled]),
        gross=sum((trade.gross for trade in filled), ZERO),
        fees=sum((trade.fees for trade in filled), ZERO),
        funding=sum((trade.funding for trade in filled), ZERO),
        net=net,
        max_drawdown_r=float(max_drawdown_sum(results)),
        max_drawdown=float(max_drawdown(worth)),
        net_return=float(worth[-1] - 1),
        return_30d=_return_30d(float(worth[-1]), days),
        streaks=streaks(results),
        trades_per_day=len(filled) / days if filled and days > 0 else None,
    )


def _return_30d(worth: float, days: float) -> float | None:
    """The steady return that compounds to the same; under 30 days it would be a forecast."""
    return worth ** (30 / days) - 1 if days >= 30 else None
