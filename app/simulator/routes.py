"""Which signed request does what, over REST and over the WebSocket API, and what it costs."""

from collections.abc import Callable
from dataclasses import dataclass

from app.simulator import operations as ops
from app.simulator import operations_account as account
from app.simulator import operations_algo as algo
from app.simulator import operations_batch as batch
from app.simulator.limits import BATCH, ORDER, Cost
from app.simulator.market_data import by_symbol
from app.simulator.operations import Operation, operation_name
from app.simulator.params import Params


@dataclass(frozen=True, slots=True)
class Signed:
    """``is_order``: it reaches the venue as orders do, ``--delay-ms`` later."""

    operation: Operation
    charge: Cost | Callable[[Params], int] = Cost(1)  # noqa: RUF009 - frozen
    is_order: bool = False

    def cost(self, params: Params) -> Cost:
        return self.charge if isinstance(self.charge, Cost) else Cost(self.charge(params))


def _order(operation: Operation, cost: Cost = ORDER) -> Signed:
    return Signed(operation, cost, is_order=True)


_CANCEL = Cost(1)

SIGNED: dict[tuple[str, str], Signed] = {
    ("POST", "/fapi/v1/order"): _order(ops.place_order),
    ("PUT", "/fapi/v1/order"): _order(ops.amend_order),
    ("DELETE", "/fapi/v1/order"): _order(ops.cancel_order, _CANCEL),
    ("GET", "/fapi/v1/order"): Signed(ops.query_order),
    ("POST", "/fapi/v1/order/test"): Signed(ops.test_order, Cost(0)),
    ("POST", "/fapi/v1/batchOrders"): _order(batch.place_batch, BATCH),
    ("PUT", "/fapi/v1/batchOrders"): _order(batch.amend_batch, BATCH),
    ("DELETE", "/fapi/v1/batchOrders"): _order(batch.cancel_batch, _CANCEL),
    ("POST", "/fapi/v1/countdownCancelAll"): Signed(batch.countdown_cancel_all, Cost(10)),
    ("DELETE", "/fapi/v1/allOpenOrders"): _order(ops.cancel_all_orders, _CANCEL),
    ("GET", "/fapi/v1/openOrder"): Signed(ops.query_open_order),
    ("GET", "/fapi/v1/openOrders"): Signed(ops.open_orders, by_symbol(1, 40)),
    ("GET", "/fapi/v1/allOrders"): Signed(ops.all_orders, Cost(5)),
    ("GET", "/fapi/v1/userTrades"): Signed(ops.user_trades, Cost(5)),
    ("POST", "/fapi/v1/algoOrder"): _order(algo.place_algo),
    ("DELETE", "/fapi/v1/algoOrder"): _order(algo.cancel_algo, _CANCEL),
    ("GET", "/fapi/v1/algoOrder"): Signed(algo.query_algo),
    ("DELETE", "/fapi/v1/algoOpenOrders"): _order(algo.cancel_all_algos, _CANCEL),
    ("GET", "/fapi/v1/openAlgoOrders"): Signed(algo.open_algos, by_symbol(1, 40)),
    ("GET", "/fapi/v1/allAlgoOrders"): Signed(algo.all_algos, Cost(5)),
    ("GET", "/fapi/v2/account"): Signed(account.account, Cost(5)),
    ("GET", "/fapi/v3/account"): Signed(account.account, Cost(5)),
    ("GET", "/fapi/v2/balance"): Signed(account.balances, Cost(5)),
    ("GET", "/fapi/v3/balance"): Signed(account.balances, Cost(5)),
    ("GET", "/fapi/v2/positionRisk"): Signed(account.all_positions, Cost(5)),
    ("GET", "/fapi/v3/positionRisk"): Signed(account.position_risk, Cost(5)),
    ("POST", "/fapi/v1/leverage"): Signed(account.set_leverage),
    ("GET", "/fapi/v1/leverageBracket"): Signed(account.leverage_brackets),
    ("POST", "/fapi/v1/marginType"): Signed(account.set_margin_type),
    ("POST", "/fapi/v1/positionMargin"): Signed(account.adjust_margin),
    ("GET", "/fapi/v1/adlQuantile"): Signed(account.adl_quantile, Cost(5)),
    ("GET", "/fapi/v1/forceOrders"): Signed(account.forced_orders, by_symbol(20, 50)),
    ("GET", "/fapi/v1/positionSide/dual"): Signed(account.position_mode, Cost(30)),
    ("POST", "/fapi/v1/positionSide/dual"): Signed(account.set_position_mode),
    ("GET", "/fapi/v1/multiAssetsMargin"): Signed(account.multi_assets, Cost(30)),
    ("POST", "/fapi/v1/multiAssetsMargin"): Signed(account.set_multi_assets),
    ("GET", "/fapi/v1/symbolConfig"): Signed(account.symbol_config, Cost(5)),
    ("GET", "/fapi/v1/accountConfig"): Signed(account.account_config, Cost(5)),
    ("GET", "/fapi/v1/commissionRate"): Signed(account.commission_rate, Cost(20)),
    ("GET", "/fapi/v1/income"): Signed(account.income, Cost(30)),
}

METHODS: dict[str, Signed] = {
    "order.place": _order(ops.place_order),
    "order.test": Signed(ops.test_order, Cost(0)),
    "order.modify": _order(ops.amend_order),
    "order.cancel": _order(ops.cancel_order, _CANCEL),
    "order.status": Signed(ops.query_order),
    "algoOrder.place": _order(algo.place_algo),
    "algoOrder.cancel": _order(algo.cancel_algo, _CANCEL),
    "account.status": Signed(account.account, Cost(5)),
    "v2/account.status": Signed(account.account, Cost(5)),
    "account.balance": Signed(account.balances, Cost(5)),
    "v2/account.balance": Signed(account.balances, Cost(5)),
    "account.position": Signed(account.all_positions, Cost(5)),
    "v2/account.position": Signed(account.position_risk, Cost(5)),
}

_PUBLIC_NAMES = (
    "ping", "time", "exchange_info", "klines", "depth", "trades", "book_ticker", "ticker", "price", "premium_index", "funding",
    "listen_key",
)  # fmt: skip
OPERATION_NAMES = frozenset(operation_name(route.operation) for route in SIGNED.values()) | frozenset(_PUBLIC_NAMES)
