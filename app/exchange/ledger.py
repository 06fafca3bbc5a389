"""What this process has heard of its orders, from answers and from the stream, whichever came first."""

import asyncio
from collections import OrderedDict
from dataclasses import replace
from decimal import Decimal

from app.domain.orders import OrderKind, OrderState, OrderStatus

_KEEP = 5_000  # orders; the oldest are forgotten
_RANK = {OrderStatus.OPEN: 0, OrderStatus.TRIGGERING: 1, OrderStatus.TRIGGERED: 2}


def _progress(state: OrderState) -> tuple[int, Decimal]:
    return _RANK.get(state.status, 3), state.executed


class Ledger:
    def __init__(self) -> None:
        self._states: OrderedDict[str, OrderState] = OrderedDict()
        self._client_ids: OrderedDict[int, str] = OrderedDict()  # by Binance's order id; an algo's child under the algo's id
        self._children: dict[str, int] = {}  # algo client id → its child's order id
        self._childless: set[str] = set()  # client ids of algo orders that are not over and have no child yet
        self._waiting: dict[str, asyncio.Event] = {}

    def state(self, client_id: str) -> OrderState | None:
        return self._states.get(client_id)

    def record(self, heard: OrderState) -> OrderState:
        """Take a word on an order and return what is known now: answers and events overtake each other, orders never go back."""
        known = self._states.get(heard.client_id)
        state = heard if known is None else _newer(known, heard)
        self._states[heard.client_id] = state
        self._sort_in(state)
        if len(self._states) > _KEEP:
            self._forget_links(self._states.popitem(last=False)[0])
        if state != known and (waiting := self._waiting.get(heard.client_id)):
            waiting.set()
        return state

    def forget(self, client_id: str) -> None:
        """The exchange does not know it any more."""
        self._states.pop(client_id, None)
        self._forget_links(client_id)

    def _forget_links(self, client_id: str) -> None:
        self._children.pop(client_id, None)
        self._childless.discard(client_id)

    def _sort_in(self, state: OrderState) -> None:
        if state.kind is OrderKind.ALGO and not state.status.is_final and state.client_id not in self._children:
            self._childless.add(state.client_id)
        else:
            self._childless.discard(state.client_id)

    def is_behind(self, heard: OrderState) -> bool:
        """Old news: something later is already known."""
        known = self._states.get(heard.client_id)
        return known is not None and _progress(heard) < _progress(known)

    def name(self, order_id: int, client_id: str) -> None:
        """Remember a plain order's number."""
        self._client_ids.setdefault(order_id, client_id)
        if len(self._client_ids) > _KEEP:
            self._client_ids.popitem(last=False)

    def link(self, child_id: int, algo_client_id: str) -> None:
        """An algo order became this plain order."""
        self._children[algo_client_id] = child_id
        self._childless.discard(algo_client_id)
        self._client_ids[child_id] = algo_client_id

    def client_id_of(self, order_id: int) -> str | None:
        return self._client_ids.get(order_id)

    def algo_of(self, order_id: int, client_id: str) -> OrderState | None:
        """The algo order whose child this plain order is, by link or because it bears the algo's name."""
        state = self._states.get(self._client_ids.get(order_id, client_id))
        return state if state is not None and state.kind is OrderKind.ALGO else None

    def childless_algos(self, symbol: str) -> list[OrderState]:
        """Algo orders that may have become a plain order we have not been told of."""
        waiting = (self._states[client_id] for client_id in sorted(self._childless))
        return [state for state in waiting if state.symbol == symbol]

    def changes(self, client_id: str) -> asyncio.Event:
        """Set whenever something new is heard of this order; ``forget_changes`` when no longer waited on."""
        return self._waiting.setdefault(client_id, asyncio.Event())

    def forget_changes(self, client_id: str) -> None:
        self._waiting.pop(client_id, None)


def with_child(algo: OrderState, child: OrderState) -> OrderState:
    """The algo order as its child makes it: executed what the child did, and over when the child is."""
    return replace(
        algo,
        status=child.status if child.status.is_final else OrderStatus.TRIGGERED,
        executed=child.executed,
        updated_ms=max(algo.updated_ms, child.updated_ms),
        average_price=child.average_price,
        reason=child.reason,
    )


def _newer(known: OrderState, heard: OrderState) -> OrderState:
    if _progress(heard) < _progress(known):
        return replace(known, average_price=known.average_price or heard.average_price)
    return replace(
        heard,
        executed=max(heard.executed, known.executed),
        average_price=heard.average_price or (known.average_price if heard.executed <= known.executed else None),
    )
