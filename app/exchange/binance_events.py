"""The private stream's messages into our events.

An algo order's child executes under its own number. Binance promises order within one type of message only, so a child's
execution may arrive before the ALGO_UPDATE that says whose child it is: such a message is held until it does, or ``release``.
TRADE_LITE is ignored: ORDER_TRADE_UPDATE follows with the fee.
"""

from collections import OrderedDict
from collections.abc import Callable
from decimal import Decimal

from app.domain.orders import ExchangeEvent, OrderState, OrderStatus
from app.domain.plan import OrderName
from app.exchange.binance_parse import Json, event_account, event_algo_state, event_fill, event_state
from app.exchange.ledger import Ledger, with_child

_KEEP_TRADES = 20_000
_COIN_MARGINED = 2
_SENT_BY_BINANCE = ("autoclose-", "adl_autoclose", "settlement_autoclose-")  # liquidation, deleveraging, delisting


class EventTranslator:
    """``on_hold(order id, symbol)`` is called when an order's messages begin to be held; ``on_unfinished(algo)`` when an algo
    order is said to be finished before its child was seen to end."""

    def __init__(self, ledger: Ledger, on_hold: Callable[[int, str], None], on_unfinished: Callable[[OrderState], None]) -> None:
        self._ledger = ledger
        self._on_hold = on_hold
        self._on_unfinished = on_unfinished
        self._held: dict[int, list[Json]] = {}
        self._trades: OrderedDict[tuple[str, int], None] = OrderedDict()
        self.wallet_balance = Decimal(0)

    def translate(self, message: Json) -> list[ExchangeEvent]:
        """Raises one of ``binance_parse.UNREADABLE`` for a message that is not as documented."""
        order = message.get("o")
        if isinstance(order, dict) and order.get("st", message.get("st")) == _COIN_MARGINED:
            return []
        match message.get("e"):
            case "ORDER_TRADE_UPDATE":
                return self._order_update(message)
            case "ALGO_UPDATE":
                return self._algo_update(message)
            case "ACCOUNT_UPDATE":
                update = event_account(message, self.wallet_balance)
                self.wallet_balance = update.wallet_balance
                return [update]
        return []

    def is_held(self, order_id: int) -> bool:
        return order_id in self._held

    def release(self, order_id: int) -> list[ExchangeEvent]:
        """Emit what is held of this order, as what it is known to be by now."""
        return [event for message in self._held.pop(order_id, []) for event in self._emit_order(message)]

    def _order_update(self, message: Json) -> list[ExchangeEvent]:
        order = message["o"]
        order_id = int(order["i"])
        if order_id in self._held:
            self._held[order_id].append(message)
            return []
        if self._may_be_a_child(order_id, order["c"], order["s"]):
            self._held[order_id] = [message]
            self._on_hold(order_id, order["s"])
            return []
        return self._emit_order(message)

    def _may_be_a_child(self, order_id: int, client_id: str, symbol: str) -> bool:
        if self._ledger.client_id_of(order_id) is not None or self._ledger.state(client_id) is not None:
            return False
        is_named = OrderName.parse(client_id) is not None or client_id.startswith(_SENT_BY_BINANCE)
        return not is_named and bool(self._ledger.childless_algos(symbol))

    def _emit_order(self, message: Json) -> list[ExchangeEvent]:
        order = message["o"]
        order_id, state = int(order["i"]), event_state(order, int(message["T"]))
        algo = self._ledger.algo_of(order_id, state.client_id)
        if algo is not None:
            self._ledger.link(order_id, algo.client_id)
            state = with_child(algo, state)
        else:
            self._ledger.name(order_id, state.client_id)
        events: list[ExchangeEvent] = []
        fill = event_fill(order, state.client_id)
        if fill is not None and self._is_new(fill.symbol, fill.venue_trade_id):
            events.append(fill)
        return events + self._tell(state)

    def _tell(self, state: OrderState) -> list[ExchangeEvent]:
        """What an answer has overtaken is not told any more: an order never goes back."""
        return [] if self._ledger.is_behind(state) else [self._ledger.record(state)]

    def _is_new(self, symbol: str, trade_id: int) -> bool:
        if trade_id <= 0:  # liquidations carry none
            return True
        if (symbol, trade_id) in self._trades:
            return False
        self._trades[symbol, trade_id] = None
        if len(self._trades) > _KEEP_TRADES:
            self._trades.popitem(last=False)
        return True

    def _algo_update(self, message: Json) -> list[ExchangeEvent]:
        algo = message["o"]
        state = event_algo_state(algo, int(message["T"]))
        events = self._tell(state)
        child_id = int(algo.get("ai") or 0)
        if child_id:
            self._ledger.link(child_id, state.client_id)
        events += self.release(child_id)
        now = self._ledger.state(state.client_id)
        if algo["X"] == "FINISHED" and now is not None and now.status is OrderStatus.TRIGGERED:
            self._on_unfinished(now)
        return events
