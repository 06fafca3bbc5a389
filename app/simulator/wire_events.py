"""The venue's events as the private stream sends them."""

from app.simulator.venue_types import (
    AccountChanged,
    AlgoUpdate,
    LeverageChanged,
    MarginCalled,
    MarginType,
    OrderUpdate,
    Trade,
    VenueEvent,
    VenuePosition,
)
from app.simulator.wire import POSITION_SIDE, STP_MODE, Json, algo_event_fields, plain, rounded


def event_messages(event: VenueEvent) -> list[Json]:
    """In the sequence of sending: a trade goes out as TRADE_LITE first."""
    match event:
        case OrderUpdate(trade=None):
            return [_order_trade_update(event)]
        case OrderUpdate(trade=Trade() as trade):
            return [_trade_lite(event, trade), _order_trade_update(event)]
        case AccountChanged():
            return [_account_update(event)]
        case AlgoUpdate():
            body = algo_event_fields(event.algo)
            return [{"e": "ALGO_UPDATE", "T": event.time_ms, "E": event.time_ms, "o": body}]
        case LeverageChanged(time_ms=time_ms, symbol=symbol, leverage=leverage):
            return [{"e": "ACCOUNT_CONFIG_UPDATE", "E": time_ms, "T": time_ms, "ac": {"s": symbol, "l": leverage}}]
        case MarginCalled():
            return [_margin_call(event)]
    raise TypeError(f"no message for {event!r}")


def _trade_lite(event: OrderUpdate, trade: Trade) -> Json:
    return {
        "e": "TRADE_LITE",
        "E": event.time_ms,
        "T": event.time_ms,
        "s": trade.symbol,
        "q": plain(event.order.quantity),
        "p": plain(event.order.price),
        "m": trade.is_maker,
        "c": trade.client_id,
        "S": trade.side.value,
        "L": plain(trade.price),
        "l": plain(trade.quantity),
        "t": trade.trade_id,
        "i": trade.order_id,
    }


def _order_trade_update(event: OrderUpdate) -> Json:
    order, trade = event.order, event.trade
    body: Json = {
        "s": order.symbol,
        "c": order.client_id,
        "S": order.side.value,
        "o": order.type.value,
        "f": order.time_in_force.value,
        "q": plain(order.quantity),
        "p": plain(order.price),
        "ap": rounded(order.average_price),
        "sp": plain(order.trigger_price),
        "x": event.execution.value,
        "X": order.status.value,
        "i": order.order_id,
        "l": plain(trade.quantity) if trade else "0",
        "z": plain(order.executed),
        "L": plain(trade.price) if trade else "0",
        "T": event.time_ms,
        "t": trade.trade_id if trade else 0,
        "b": "0",
        "a": "0",
        "m": bool(trade and trade.is_maker),
        "R": order.reduce_only,
        "wt": order.working_type.value,
        "ot": order.original_type.value,
        "ps": POSITION_SIDE,
        "cp": order.close_position,
        "rp": plain(trade.realized_pnl) if trade else "0",
        "pP": False,
        "si": 0,
        "ss": 0,
        "V": STP_MODE,
        "pm": order.price_match.value,
        "gtd": order.good_till_date,
        "er": "0",
    }
    if trade:
        body |= {"n": plain(trade.fee), "N": "USDT"}
    return {"e": "ORDER_TRADE_UPDATE", "E": event.time_ms, "T": event.time_ms, "o": body}


def _margin_call(event: MarginCalled) -> Json:
    position = event.position
    isolated = position.margin_type is MarginType.ISOLATED
    row = {
        "s": position.symbol,
        "ps": POSITION_SIDE,
        "pa": plain(position.quantity),
        "mt": position.margin_type.value,
        "iw": plain(position.isolated_wallet) if isolated else "0",
        "mp": plain(position.mark_price),
        "up": plain(position.unrealized_pnl),
        "mm": plain(position.maintenance_margin),
    }
    return {"e": "MARGIN_CALL", "E": event.time_ms, "cw": plain(event.cross_wallet), "p": [row]}


def _account_update(event: AccountChanged) -> Json:
    balance = {
        "a": "USDT",
        "wb": plain(event.wallet_balance),
        "cw": plain(event.cross_wallet),
        "bc": plain(event.balance_change),
    }
    positions = [_position(position) for position in event.positions]
    update = {"m": event.reason, "B": [balance], "P": positions}
    return {"e": "ACCOUNT_UPDATE", "E": event.time_ms, "T": event.time_ms, "a": update}


def _position(position: VenuePosition) -> Json:
    isolated = position.margin_type is MarginType.ISOLATED
    return {
        "s": position.symbol,
        "pa": plain(position.quantity),
        "ep": plain(position.entry_price),
        "bep": plain(position.entry_price),
        "cr": plain(position.realized_pnl),
        "up": plain(position.unrealized_pnl),
        "mt": "isolated" if isolated else "cross",
        "iw": plain(position.isolated_wallet),
        "ps": POSITION_SIDE,
        "ma": "USDT",
    }
