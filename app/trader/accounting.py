"""The account of a finished trade: gross, fees, funding, net R, slippage, naked time and the latency of every stage."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from app.domain.orders import Fill
from app.domain.results import ZERO, average_price, r_unit, trade_result
from app.domain.trade.state import Leg, Trade
from app.storage.port import TradeClosed
from app.trader.live_trade import LiveTrade

_HOUR_MS = 3_600_000
_SETTLEMENT_SPREAD_MS = 60_000


def account_for(live: LiveTrade, reason: str, funding: Decimal, exchange_ms: int) -> TradeClosed:
    """R = net P&L of all its legs after fees and funding, over filled quantity × |average entry − initial stop|."""
    trade = live.trade
    entered = trade.entered(trade.main)
    unit = ZERO if trade.average_entry is None else r_unit(entered, trade.average_entry, trade.plan.stop)
    result = trade_result(trade.fills.values(), funding, unit, trade.plan.commission)
    summary: Mapping[str, Any] = {
        "reason": reason,
        "owner": trade.plan.owner.value,
        "symbol": trade.plan.symbol,
        "side": trade.plan.side.value,
        "quantity": str(entered),
        "average_entry": None if trade.average_entry is None else str(trade.average_entry),
        "initial_stop": str(trade.plan.stop),
        "last_stop": str(trade.stop),
        "gross": str(result.gross),
        "fees": str(result.fees),
        "fees_in": {asset: str(fee) for asset, fee in result.fees_in.items()},
        "funding": str(funding),
        "net": str(result.net),
        "r_unit": str(unit),
        "gross_r": str(result.gross / unit if unit else ZERO),
        "net_r": str(result.net_r),
        "naked_ms": live.naked_ms,
        "stages_ms": {kind: data["since_alert_ms"] for kind, data in live.milestones.items() if "since_alert_ms" in data},
        "legs": [_leg_account(trade, leg) for leg in trade.legs],
    }
    gross, fees, net_r = result.gross, result.fees, result.net_r
    return TradeClosed(trade.plan.trade_id, exchange_ms, reason, gross, fees, funding, unit, net_r, summary)


def _leg_account(trade: Trade, leg: Leg) -> dict[str, Any]:
    fills = [fill for fill in trade.fills.values() if fill.symbol == leg.symbol]
    entries = [fill for fill in fills if fill.side is leg.side]
    exits = [fill for fill in fills if fill.side is not leg.side]
    result = trade_result(fills, ZERO, ZERO, trade.plan.commission)
    return {
        "symbol": leg.symbol,
        "side": leg.side.value,
        "entered": str(_quantity(entries)),
        "exited": str(_quantity(exits)),
        "average_entry": str(average_price(entries)),
        "average_exit": str(average_price(exits)),
        "maker_share": _maker_share(fills),
        "entry_maker_share": _maker_share(entries),
        "gross": str(result.gross),
        "fees": str(result.fees),
    }


def _maker_share(fills: Sequence[Fill]) -> str | None:
    """Of the quantity; None without fills."""
    total = _quantity(fills)
    return str(_quantity(fill for fill in fills if fill.is_maker) / total) if total else None


def may_have_funding(fills: Iterable[Fill]) -> bool:
    """Whether a settlement can lie between the first fill and the last. Contracts settle on full hours only, some seconds off."""
    times = [fill.time_ms for fill in fills]
    if not times:
        return False
    return (min(times) - _SETTLEMENT_SPREAD_MS) // _HOUR_MS != (max(times) + _SETTLEMENT_SPREAD_MS) // _HOUR_MS


def _quantity(fills: Iterable[Fill]) -> Decimal:
    return sum((fill.quantity for fill in fills), ZERO)
