"""Binance's JSON into our types, and our orders into its parameters. Unknown fields are ignored, absent averages tolerated.

REST answers use long names, stream events one letter each (Binance's own, as in its user data stream page).
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

from app.domain.contract_terms import ContractTerms, MarginBracket
from app.domain.instrument import Instrument, Side
from app.domain.market import MarkPrice, Quote
from app.domain.orders import (
    AccountUpdate,
    Fill,
    LimitOrder,
    MarketOrder,
    Order,
    OrderKind,
    OrderState,
    OrderStatus,
    Position,
    StopOrder,
    Transfer,
)
from app.exchange.errors import NotExecuted
from app.exchange.ledger import with_child

Json = Mapping[str, Any]
Params = dict[str, str | int]
ZERO = Decimal(0)
_FUNDING_INTERVAL_H = 8
UNREADABLE = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError)  # what reading an undocumented answer raises

_PLAIN_STATUS = {
    "NEW": OrderStatus.OPEN,
    "PARTIALLY_FILLED": OrderStatus.OPEN,
    "NEW_INSURANCE": OrderStatus.OPEN,
    "NEW_ADL": OrderStatus.OPEN,
    "FILLED": OrderStatus.FILLED,
    "CANCELED": OrderStatus.CANCELED,
    "REJECTED": OrderStatus.REJECTED,
    "EXPIRED": OrderStatus.EXPIRED,
    "EXPIRED_IN_MATCH": OrderStatus.EXPIRED,
}
_ALGO_STATUS = {
    "NEW": OrderStatus.OPEN,
    "TRIGGERING": OrderStatus.TRIGGERING,
    "TRIGGERED": OrderStatus.TRIGGERED,
    "FINISHED": OrderStatus.TRIGGERED,  # over only when its child is known to be; the child says how
    "CANCELED": OrderStatus.CANCELED,
    "REJECTED": OrderStatus.REJECTED,
    "EXPIRED": OrderStatus.EXPIRED,
}


@contextmanager
def understood(what: str) -> Iterator[None]:
    """Reading an answer to a question: one that is not as documented is as good as none."""
    try:
        yield
    except UNREADABLE as error:
        raise NotExecuted(f"{what}: Binance's answer is not as documented ({error!r})") from None


def decimal(value: object) -> Decimal:
    """Binance leaves a number that does not apply empty or out."""
    return Decimal(str(value)) if value not in (None, "") else ZERO


def _average(value: object) -> Decimal | None:
    return decimal(value) or None


def _reason(value: object) -> str:
    return "" if value in (None, "", 0, "0") else str(value)


def _text(value: Decimal) -> str:
    return format(value, "f")


def order_params(order: Order) -> Params:
    """For POST order or, for a stop, POST algoOrder."""
    common: Params = {"symbol": order.symbol, "side": order.side.value}
    match order:
        case MarketOrder():
            params: Params = {"type": "MARKET", "quantity": _text(order.quantity)}
        case LimitOrder():
            params = {
                "type": "LIMIT",
                "quantity": _text(order.quantity),
                "price": _text(order.price),
                "timeInForce": order.time_in_force.value,
            }
        case StopOrder():
            return common | _stop_params(order)
    if order.reduce_only:
        params["reduceOnly"] = "true"
    return common | params | {"newClientOrderId": order.client_id, "newOrderRespType": "RESULT"}


def _stop_params(order: StopOrder) -> Params:
    size: Params = (
        {"closePosition": "true"} if order.quantity is None else {"quantity": _text(order.quantity), "reduceOnly": "true"}
    )
    params: Params = {
        "algoType": "CONDITIONAL",
        "type": "STOP_MARKET",
        "triggerPrice": _text(order.trigger),
        "workingType": order.trigger_on.value,
        "clientAlgoId": order.client_id,
    }
    return params | size


# -- REST ---------------------------------------------------------------------------------------------------------------


def plain_state(order: Json) -> OrderState:
    return OrderState(
        client_id=order["clientOrderId"],
        symbol=order["symbol"],
        side=Side(order["side"]),
        kind=OrderKind.PLAIN,
        status=_PLAIN_STATUS[order["status"]],
        quantity=decimal(order["origQty"]),
        executed=decimal(order["executedQty"]),
        price=decimal(order.get("price")),
        reduce_only=bool(order.get("reduceOnly")) or bool(order.get("closePosition")),
        updated_ms=int(order["updateTime"]),
        average_price=_average(order.get("avgPrice")),
        order_id=int(order.get("orderId") or 0),
    )


def algo_state(algo: Json, child: Json | None = None) -> OrderState:
    """``child`` is the plain order it became, as REST shows it. Without it a finished algo order is not known to be over."""
    state = OrderState(
        client_id=algo["clientAlgoId"],
        symbol=algo["symbol"],
        side=Side(algo["side"]),
        kind=OrderKind.ALGO,
        status=_ALGO_STATUS[algo["algoStatus"]],
        quantity=ZERO if algo.get("closePosition") else decimal(algo.get("quantity")),
        executed=ZERO,
        price=decimal(algo["triggerPrice"]),
        reduce_only=bool(algo.get("reduceOnly")) or bool(algo.get("closePosition")),
        updated_ms=int(algo["updateTime"]),
        reason=_reason(algo.get("rejectReason")),
        order_id=int(algo.get("algoId") or 0),
    )
    return with_child(state, plain_state(child)) if child is not None else state


def child_order_id(algo: Json) -> int:
    """The plain order an algo order became; 0 before it is triggered."""
    return int(algo.get("actualOrderId") or 0)


def rest_fill(trade: Json, client_id: str) -> Fill:
    return Fill(
        symbol=trade["symbol"],
        client_id=client_id,
        venue_trade_id=int(trade["id"]),
        side=Side(trade["side"]),
        quantity=decimal(trade["qty"]),
        price=decimal(trade["price"]),
        fee=decimal(trade["commission"]),
        fee_asset=trade["commissionAsset"],
        is_maker=bool(trade["maker"]),
        realized_pnl=decimal(trade["realizedPnl"]),
        time_ms=int(trade["time"]),
    )


def rest_position(position: Json) -> Position:
    return Position(
        symbol=position["symbol"],
        quantity=decimal(position["positionAmt"]),
        entry_price=decimal(position["entryPrice"]),
        unrealized_pnl=decimal(position["unRealizedProfit"]),
        liquidation_price=decimal(position.get("liquidationPrice")),
    )


def instrument(listing: Json) -> Instrument:
    filters = {each["filterType"]: each for each in listing["filters"]}
    lot, market_lot = filters["LOT_SIZE"], filters["MARKET_LOT_SIZE"]
    return Instrument(
        symbol=listing["symbol"],
        tick=decimal(filters["PRICE_FILTER"]["tickSize"]).normalize(),
        step=decimal(lot["stepSize"]).normalize(),
        min_quantity=decimal(lot["minQty"]),
        max_quantity=decimal(lot["maxQty"]),
        market_max_quantity=decimal(market_lot["maxQty"]),
        min_notional=decimal(filters["MIN_NOTIONAL"]["notional"]),
    )


def is_usdt_perpetual(listing: Json) -> bool:
    """Open for trading; perpetuals on other assets than coins have contract types of their own."""
    kind, status = str(listing.get("contractType", "")), listing.get("status")
    return kind.endswith("PERPETUAL") and listing.get("marginAsset") == "USDT" and status == "TRADING"


def quote(ticker: Json) -> Quote:
    return Quote(
        symbol=ticker["symbol"],
        bid=decimal(ticker["bidPrice"]),
        bid_quantity=decimal(ticker["bidQty"]),
        ask=decimal(ticker["askPrice"]),
        ask_quantity=decimal(ticker["askQty"]),
        time_ms=int(ticker["time"]),
    )


def mark_price(premium: Json) -> MarkPrice:
    return MarkPrice(
        symbol=premium["symbol"],
        mark=decimal(premium["markPrice"]),
        funding_rate=decimal(premium["lastFundingRate"]),
        next_funding_ms=int(premium["nextFundingTime"]),
        time_ms=int(premium["time"]),
    )


def contract_terms(symbol: str, funding: Iterable[Json], brackets: Iterable[Json]) -> ContractTerms:
    """fundingInfo lists only contracts whose interval or caps were changed from every 8 h."""
    interval = next((int(each["fundingIntervalHours"]) for each in funding if each["symbol"] == symbol), _FUNDING_INTERVAL_H)
    [rows] = [each["brackets"] for each in brackets if each["symbol"] == symbol]
    ordered = sorted(rows, key=lambda row: decimal(row["notionalCap"]))
    return ContractTerms(
        interval, tuple(MarginBracket(decimal(row["notionalCap"]), decimal(row["maintMarginRatio"])) for row in ordered)
    )


def transfer(income: Json) -> Transfer:
    return Transfer(int(income["tranId"]), decimal(income["income"]), int(income["time"]))


# -- user stream --------------------------------------------------------------------------------------------------------


def event_state(order: Json, time_ms: int) -> OrderState:
    """``o`` of ORDER_TRADE_UPDATE."""
    return OrderState(
        client_id=order["c"],
        symbol=order["s"],
        side=Side(order["S"]),
        kind=OrderKind.PLAIN,
        status=_PLAIN_STATUS[order["X"]],
        quantity=decimal(order["q"]),
        executed=decimal(order["z"]),
        price=decimal(order.get("p")),
        reduce_only=bool(order.get("R")) or bool(order.get("cp")),
        updated_ms=time_ms,
        average_price=_average(order.get("ap")),
        reason=_reason(order.get("er")),
        order_id=int(order.get("i") or 0),
    )


def event_fill(order: Json, client_id: str) -> Fill | None:
    """The execution an ORDER_TRADE_UPDATE reports, if it reports one (a liquidation's comes as CALCULATED)."""
    if order["x"] not in ("TRADE", "CALCULATED") or not decimal(order.get("l")):
        return None
    return Fill(
        symbol=order["s"],
        client_id=client_id,
        venue_trade_id=int(order.get("t") or 0),
        side=Side(order["S"]),
        quantity=decimal(order["l"]),
        price=decimal(order["L"]),
        fee=decimal(order.get("n")),
        fee_asset=str(order.get("N") or "USDT"),
        is_maker=bool(order.get("m")),
        realized_pnl=decimal(order.get("rp")),
        time_ms=int(order["T"]),
    )


def event_algo_state(algo: Json, time_ms: int) -> OrderState:
    """``o`` of ALGO_UPDATE, without what its child executed."""
    return OrderState(
        client_id=algo["caid"],
        symbol=algo["s"],
        side=Side(algo["S"]),
        kind=OrderKind.ALGO,
        status=_ALGO_STATUS[algo["X"]],
        quantity=ZERO if algo.get("cp") else decimal(algo.get("q")),
        executed=ZERO,
        price=decimal(algo["tp"]),
        reduce_only=bool(algo.get("R")) or bool(algo.get("cp")),
        updated_ms=time_ms,
        reason=_reason(algo.get("rm")),
        order_id=int(algo.get("aid") or 0),
    )


def event_account(message: Json, wallet_balance: Decimal) -> AccountUpdate:
    """ACCOUNT_UPDATE. ``wallet_balance`` is what we knew, for one that does not touch USDT."""
    update = message["a"]
    usdt: Json = next((b for b in update.get("B", ()) if b["a"] == "USDT"), {"wb": wallet_balance, "bc": ZERO})
    return AccountUpdate(
        reason=str(update["m"]),
        wallet_balance=decimal(usdt["wb"]),
        balance_change=decimal(usdt["bc"]),
        positions=tuple(
            Position(symbol=p["s"], quantity=decimal(p["pa"]), entry_price=decimal(p["ep"]), unrealized_pnl=decimal(p["up"]))
            for p in update.get("P", ())
            if p.get("ps", "BOTH") == "BOTH"
        ),
        time_ms=int(message["T"]),
    )
