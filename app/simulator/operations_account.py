"""What a signed request about the account does, by Binance's parameter names."""

from app.simulator.operations import symbol_or_none
from app.simulator.params import Params
from app.simulator.venue import Venue
from app.simulator.venue_types import MarginType, VenueError
from app.simulator.wire import Json, order_json, plain
from app.simulator.wire_account import (
    account_config_json,
    account_json,
    adl_mark,
    balances_json,
    brackets_json,
    income_json,
    position_risk_json,
    symbol_config_json,
)

_SUCCESS = {"code": 200, "msg": "success"}


def account(venue: Venue, params: Params) -> Json:
    return account_json(venue.account())


def balances(venue: Venue, params: Params) -> list[Json]:
    return balances_json(venue.account())


def position_risk(venue: Venue, params: Params) -> list[Json]:
    symbol = symbol_or_none(params)
    symbols = venue.symbols if symbol is None else (symbol,)
    return position_risk_json([venue.position(each) for each in symbols])


def all_positions(venue: Venue, params: Params) -> list[Json]:
    """The older form of positionRisk: every symbol, with leverage and margin type."""
    symbol = symbol_or_none(params)
    positions = [venue.position(each) for each in (venue.symbols if symbol is None else (symbol,))]
    rows = position_risk_json(positions, flat_too=True)
    for position, row in zip(positions, rows, strict=True):
        isolated = position.margin_type is MarginType.ISOLATED
        row |= {
            "leverage": str(position.leverage),
            "marginType": "isolated" if isolated else "cross",
            "isAutoAddMargin": "false",
            "maxNotionalValue": plain(venue.contract(position.symbol).max_notional(position.leverage)),
        }
    return rows


def set_leverage(venue: Venue, params: Params) -> Json:
    leverage = params.required_integer("leverage")
    position = venue.set_leverage(params.symbol, leverage)
    most = plain(venue.contract(position.symbol).max_notional(leverage))
    return {"symbol": position.symbol, "leverage": leverage, "maxNotionalValue": most}


def leverage_brackets(venue: Venue, params: Params) -> list[Json]:
    symbol = symbol_or_none(params)
    return [brackets_json(venue.contract(each)) for each in (venue.symbols if symbol is None else (symbol,))]


def set_margin_type(venue: Venue, params: Params) -> Json:
    margin_type = params.choice("marginType", MarginType, -1130, "Data sent for parameter 'marginType' is not valid.")
    venue.set_margin_type(params.symbol, margin_type)
    return _SUCCESS


def adjust_margin(venue: Venue, params: Params) -> Json:
    amount, direction = params.required_decimal("amount"), params.required_integer("type")
    if amount <= 0:
        raise VenueError(-4055, "Amount must be positive.")
    if direction not in (1, 2):
        raise VenueError(-4056, "Margin type must be 1 (add) or 2 (reduce).")
    venue.adjust_margin(params.symbol, amount if direction == 1 else -amount)
    return {"amount": plain(amount), "code": 200, "msg": "Successfully modify position margin.", "type": direction}


def adl_quantile(venue: Venue, params: Params) -> list[Json]:
    symbol = symbol_or_none(params)
    positions = [venue.position(each) for each in (venue.symbols if symbol is None else (symbol,))]
    return [{"symbol": p.symbol, "adlQuantile": {"LONG": 0, "SHORT": 0, "BOTH": adl_mark(p)}} for p in positions if p.quantity]


def forced_orders(venue: Venue, params: Params) -> list[Json]:
    """Liquidations and auto-deleveraging."""
    prefixes = {"LIQUIDATION": ("autoclose-",), "ADL": ("adl_autoclose",)}
    kinds = prefixes.get(params.text("autoCloseType") or "", ("autoclose-", "adl_autoclose"))
    symbol = symbol_or_none(params)
    orders = [o for each in (venue.symbols if symbol is None else (symbol,)) for o in venue.all_orders(each)]
    forced = [order_json(o) for o in orders if o.client_id.startswith(kinds)]
    return forced[-params.limit(50, 100) :]


def position_mode(venue: Venue, params: Params) -> Json:
    return {"dualSidePosition": venue.config.hedge_mode}


def set_position_mode(venue: Venue, params: Params) -> Json:
    params.required("dualSidePosition")
    venue.set_hedge_mode(params.flag("dualSidePosition"))
    return _SUCCESS


def multi_assets(venue: Venue, params: Params) -> Json:
    return {"multiAssetsMargin": venue.config.multi_assets}


def set_multi_assets(venue: Venue, params: Params) -> Json:
    params.required("multiAssetsMargin")
    if params.flag("multiAssetsMargin"):
        raise VenueError(-1130, "Multi-assets mode is not offered by this venue. Keep multiAssetsMargin=false.")
    raise VenueError(-4171, "No need to change multi-assets mode.")


def symbol_config(venue: Venue, params: Params) -> list[Json]:
    symbol = symbol_or_none(params)
    symbols = venue.symbols if symbol is None else (symbol,)
    return [symbol_config_json(venue.position(each), venue.contract(each)) for each in symbols]


def account_config(venue: Venue, params: Params) -> Json:
    return account_config_json(venue.config, venue.now_ms)


def commission_rate(venue: Venue, params: Params) -> Json:
    symbol = venue.contract(params.symbol).symbol
    maker, taker = plain(venue.config.maker_fee), plain(venue.config.taker_fee)
    return {"symbol": symbol, "makerCommissionRate": maker, "takerCommissionRate": taker}


def income(venue: Venue, params: Params) -> list[Json]:
    kind, end = params.text("incomeType"), params.integer("endTime")
    entries = venue.income(params.integer("startTime") or 0, symbol_or_none(params))
    found = [i for i in entries if kind in (None, i.type.value) and (end is None or i.time_ms <= end)]
    limit = params.limit(100, 1000)
    chosen = found[:limit] if params.integer("startTime") is not None else found[-limit:]
    return [income_json(entry) for entry in chosen]
