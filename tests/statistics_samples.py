"""Closed trades for the tests of statistics: one number each, the rest fits."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

from app.domain.instrument import Side
from app.domain.statistics.closed_trade import ClosedTrade, LegResult

UNIT = Decimal(10)  # one R of the trades below, USDT
START_MS = 1_765_000_000_000
HOUR_MS = 3_600_000


def closed(number: int = 0, net_r: Decimal | str = "1", side: Side = Side.BUY, **changes: Any) -> ClosedTrade:
    """Closed an hour after the one before. 0.5 USDT of fees, no funding, no hedge, unless told otherwise."""
    result, fees = Decimal(net_r) * UNIT, Decimal("0.5")
    leg = a_leg(gross=result + fees, fees=fees, side=side)
    trade = ClosedTrade(
        trade_id=f"trade{number:05}",
        symbol="BTCUSDT",
        side=side,
        mode="btc_alpha_hedge",
        opened_ms=START_MS + number * HOUR_MS,
        closed_ms=START_MS + number * HOUR_MS + HOUR_MS // 2,
        reason="targets",
        gross=result + fees,
        fees=fees,
        funding=Decimal(0),
        r_unit=UNIT,
        net_r=Decimal(net_r),
        equity=Decimal(1000),
        p0=Decimal(85_000),
        average_entry=Decimal(85_000),
        entered=Decimal("0.025"),
        legs=(leg,),
    )
    return replace(trade, **changes)


def a_leg(
    symbol: str = "BTCUSDT",
    side: Side = Side.BUY,
    turnover: Decimal | int = 4250,
    gross: Decimal | int = 0,
    fees: Decimal | int = 0,
    **shares: Decimal | None,
) -> LegResult:
    return LegResult(symbol, side, Decimal(turnover), Decimal(gross), Decimal(fees), **shares)


def hedged(number: int, main_r: Decimal | str, hedge_r: Decimal | str) -> ClosedTrade:
    """A trade whose legs made that, fees aside: there are none."""
    main, hedge = Decimal(main_r) * UNIT, Decimal(hedge_r) * UNIT
    legs = (a_leg(gross=main), a_leg("ETHUSDT", Side.SELL, gross=hedge))
    return closed(number, Decimal(main_r) + Decimal(hedge_r), gross=main + hedge, fees=Decimal(0), legs=legs)
