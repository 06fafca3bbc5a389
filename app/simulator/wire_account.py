"""The account as Binance's REST and WebSocket API show it."""

from decimal import Decimal

from app.simulator.contracts import Contract
from app.simulator.venue_state import VenueConfig
from app.simulator.venue_types import ZERO, Income, MarginType, VenueAccount, VenuePosition
from app.simulator.wire import POSITION_SIDE, Json, plain


def account_json(account: VenueAccount) -> Json:
    balance, available = plain(account.wallet_balance), plain(account.available_balance)
    totals = {
        "initialMargin": plain(account.initial_margin),
        "maintMargin": plain(account.maintenance_margin),
        "positionInitialMargin": plain(account.position_margin),
        "openOrderInitialMargin": plain(account.open_order_margin),
        "marginBalance": plain(account.margin_balance),
        "crossWalletBalance": plain(account.cross_wallet),
        "crossUnPnl": plain(account.cross_unrealized_pnl),
    }
    asset = totals | {
        "asset": "USDT",
        "walletBalance": balance,
        "unrealizedProfit": plain(account.unrealized_pnl),
        "availableBalance": available,
        "maxWithdrawAmount": available,
        "updateTime": account.updated_ms,
    }
    return {f"total{name[0].upper()}{name[1:]}": value for name, value in totals.items()} | {
        "totalWalletBalance": balance,
        "totalUnrealizedProfit": plain(account.unrealized_pnl),
        "availableBalance": available,
        "maxWithdrawAmount": available,
        "assets": [asset],
        "positions": [_account_position_json(position) for position in account.positions if _is_shown(position)],
    }


def _is_shown(position: VenuePosition) -> bool:
    """Flat symbols appear while orders rest on them, as rows of zeros."""
    return bool(position.quantity or position.open_order_margin)


def _isolated_margin(position: VenuePosition) -> str:
    isolated = position.margin_type is MarginType.ISOLATED and position.quantity
    return plain(position.isolated_wallet + position.unrealized_pnl) if isolated else "0"


def _account_position_json(position: VenuePosition) -> Json:
    return {
        "symbol": position.symbol,
        "positionSide": POSITION_SIDE,
        "positionAmt": plain(position.quantity),
        "unrealizedProfit": plain(position.unrealized_pnl),
        "isolatedMargin": _isolated_margin(position),
        "notional": plain(position.notional),
        "isolatedWallet": plain(position.isolated_wallet),
        "initialMargin": plain(position.initial_margin),
        "maintMargin": plain(position.maintenance_margin),
        "updateTime": position.updated_ms,
    }


def balances_json(account: VenueAccount) -> list[Json]:
    return [
        {
            "accountAlias": "SgsR",
            "asset": "USDT",
            "balance": plain(account.wallet_balance),
            "crossWalletBalance": plain(account.cross_wallet),
            "crossUnPnl": plain(account.cross_unrealized_pnl),
            "availableBalance": plain(account.available_balance),
            "maxWithdrawAmount": plain(account.available_balance),
            "marginAvailable": True,
            "updateTime": account.updated_ms,
        }
    ]


def adl_mark(position: VenuePosition) -> int:
    """The auto-deleveraging lights: 0 when flat, up to 4 the more a position has won on its margin."""
    if not position.quantity or not position.initial_margin:
        return 0
    won = position.unrealized_pnl / position.initial_margin
    return 1 + sum(won >= Decimal(step) for step in ("0.25", "0.5", "1"))


def position_risk_json(positions: list[VenuePosition], *, flat_too: bool = False) -> list[Json]:
    """positionRisk v3: neither leverage nor margin type, and only symbols with a position or orders unless ``flat_too``."""
    return [
        _account_position_json(position)
        | {
            "entryPrice": plain(position.entry_price),
            "breakEvenPrice": plain(position.entry_price),
            "markPrice": plain(position.mark_price),
            "unRealizedProfit": plain(position.unrealized_pnl),
            "liquidationPrice": plain(position.liquidation_price),
            "marginAsset": "USDT",
            "positionInitialMargin": plain(position.initial_margin),
            "openOrderInitialMargin": plain(position.open_order_margin),
            "adl": adl_mark(position),
            "bidNotional": "0",
            "askNotional": "0",
        }
        for position in positions
        if flat_too or _is_shown(position)
    ]


def symbol_config_json(position: VenuePosition, contract: Contract) -> Json:
    return {
        "symbol": position.symbol,
        "marginType": position.margin_type.value,
        "isAutoAddMargin": False,
        "leverage": position.leverage,
        "maxNotionalValue": plain(contract.max_notional(position.leverage)),
    }


def account_config_json(config: VenueConfig, now_ms: int) -> Json:
    return {
        "feeTier": 0,
        "canTrade": config.can_trade,
        "canDeposit": True,
        "canWithdraw": True,
        "dualSidePosition": config.hedge_mode,
        "multiAssetsMargin": config.multi_assets,
        "tradeGroupId": -1,
        "updateTime": now_ms,
        "makerCommissionRate": plain(config.maker_fee),
        "takerCommissionRate": plain(config.taker_fee),
    }


def brackets_json(contract: Contract) -> Json:
    rows, floor = [], ZERO
    for number, bracket in enumerate(contract.brackets, start=1):
        rows.append(
            {
                "bracket": number,
                "initialLeverage": bracket.max_leverage,
                "notionalCap": int(bracket.cap),
                "notionalFloor": int(floor),
                "maintMarginRatio": float(bracket.maintenance_rate),
                "cum": float(bracket.cum),
            }
        )
        floor = bracket.cap
    return {"symbol": contract.symbol, "brackets": rows}


def income_json(income: Income) -> Json:
    return {
        "symbol": income.symbol,
        "incomeType": income.type.value,
        "income": plain(income.amount),
        "asset": "USDT",
        "info": income.type.value if income.trade_id is None else str(income.trade_id),
        "time": income.time_ms,
        "tranId": income.transaction_id,
        "tradeId": "" if income.trade_id is None else str(income.trade_id),
    }
