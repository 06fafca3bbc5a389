"""Reading one account back: orders, fills with our client ids, balances, funding. Windows and pages as Binance limits them."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from decimal import Decimal

from app.domain.contract_terms import ContractTerms
from app.domain.orders import Account, Fill, OrderState, Transfer
from app.exchange.binance_parse import (
    Json,
    Params,
    algo_state,
    child_order_id,
    contract_terms,
    decimal,
    plain_state,
    quote,
    rest_fill,
    rest_position,
    transfer,
    understood,
)
from app.exchange.binance_rest import (
    ACCOUNT,
    ALL_ALGOS,
    ALL_ORDERS,
    BOOK_TICKER,
    BRACKETS,
    FIND,
    FUNDING_INFO,
    INCOME,
    OPEN_ALGOS,
    OPEN_ORDERS,
    POSITIONS,
    USER_TRADES,
    BinanceRest,
    Endpoint,
)
from app.exchange.budget import Priority
from app.exchange.codes import NO_SUCH_ORDER
from app.exchange.errors import OrderRefused
from app.exchange.ledger import Ledger

_PAGE = 1_000
_WINDOW_MS = 7 * 86_400_000 - 1
_ORDER_LIFE_MS = 86_400_000  # how long before its fill an order of ours may have been placed


class AccountQueries:
    def __init__(self, rest: BinanceRest, ledger: Ledger) -> None:
        self._rest = rest
        self._ledger = ledger

    async def open_orders(self, symbol: str) -> list[OrderState]:
        """See ``Exchange.open_orders``."""
        plain, algos = await asyncio.gather(
            self._rest.read(OPEN_ORDERS, {"symbol": symbol}, Priority.PROTECTIVE),
            self._rest.read(OPEN_ALGOS, {"symbol": symbol}, Priority.PROTECTIVE),
        )
        with understood("open orders"):
            states = await self._states(plain, algos)
        return [state for state in states if not state.status.is_final]  # the stream may be ahead of the list

    async def orders_since(self, symbol: str, since_ms: int) -> list[OrderState]:
        """See ``Exchange.orders_since``."""
        with understood("orders"):
            plain, algos = await self._history(symbol, since_ms)
            return await self._states(plain, algos)

    async def _history(self, symbol: str, since_ms: int) -> tuple[list[Json], list[Json]]:
        return await asyncio.gather(
            self._collect(ALL_ORDERS, symbol, since_ms, "orderId", "orderId"),
            self._collect(ALL_ALGOS, symbol, since_ms, "algoId", "algoId"),
        )

    async def _states(self, plain: Iterable[Json], algos: Iterable[Json]) -> list[OrderState]:
        """Algo orders with what their children did; the children not on their own."""
        by_id = {int(order["orderId"]): order for order in plain}
        states = []
        for algo in algos:
            child_id = child_order_id(algo)
            child = None
            if child_id:
                self._ledger.link(child_id, algo["clientAlgoId"])
                child = by_id.pop(child_id, None) or await self._order(algo["symbol"], child_id)
            states.append(self._ledger.record(algo_state(algo, child)))
        for order_id, order in by_id.items():
            if self._ledger.algo_of(order_id, order["clientOrderId"]) is None:
                self._ledger.name(order_id, order["clientOrderId"])
                states.append(self._ledger.record(plain_state(order)))
        return states

    async def _order(self, symbol: str, order_id: int) -> Json | None:
        try:
            order: Json = await self._rest.read(FIND, {"symbol": symbol, "orderId": order_id}, Priority.PROTECTIVE)
        except OrderRefused as error:
            if error.code == NO_SUCH_ORDER:
                return None
            raise
        return order

    async def fills_since(self, symbol: str, since_ms: int) -> list[Fill]:
        """See ``Exchange.fills_since``. Trades bear order numbers only: the orders are read for their client ids."""
        with understood("trades"):
            trades = await self._collect(USER_TRADES, symbol, since_ms, "fromId", "id")
            unnamed = {int(t["orderId"]) for t in trades if self._ledger.client_id_of(int(t["orderId"])) is None}
            if unnamed:
                await self._name_orders(symbol, since_ms, unnamed)
            fills = [rest_fill(trade, self._ledger.client_id_of(int(trade["orderId"])) or "") for trade in trades]
        return sorted(fills, key=lambda fill: (fill.time_ms, fill.venue_trade_id))

    async def _name_orders(self, symbol: str, since_ms: int, unnamed: set[int]) -> None:
        plain, algos = await self._history(symbol, since_ms - _ORDER_LIFE_MS)
        for algo in algos:
            if child_id := child_order_id(algo):
                self._ledger.link(child_id, algo["clientAlgoId"])
        for order in plain:
            self._ledger.name(int(order["orderId"]), order["clientOrderId"])
        for order_id in unnamed:
            if self._ledger.client_id_of(order_id) is None and (found := await self._order(symbol, order_id)) is not None:
                self._ledger.name(order_id, found["clientOrderId"])

    async def _collect(self, endpoint: Endpoint, symbol: str, since_ms: int, from_param: str, id_field: str) -> list[Json]:
        """Everything since, oldest window first. A full page is carried on by number, which reaches to the present."""
        found: dict[int, Json] = {}
        async for row in self._rows(endpoint, symbol, since_ms, from_param, id_field):
            found[int(row[id_field])] = row
        return list(found.values())

    async def _rows(self, endpoint: Endpoint, symbol: str, since_ms: int, from_param: str, id_field: str) -> AsyncIterator[Json]:
        start_ms, now_ms = since_ms, await self._exchange_time(symbol, since_ms)
        while True:
            window: Params = {"symbol": symbol, "startTime": start_ms, "endTime": start_ms + _WINDOW_MS, "limit": _PAGE}
            page: list[Json] = await self._rest.read(endpoint, window, Priority.PROTECTIVE)
            for row in page:
                yield row
            if len(page) == _PAGE:
                break
            start_ms += _WINDOW_MS + 1
            if start_ms > now_ms:
                return
        while len(page) == _PAGE:
            following: Params = {"symbol": symbol, from_param: max(int(row[id_field]) for row in page) + 1, "limit": _PAGE}
            page = await self._rest.read(endpoint, following, Priority.PROTECTIVE)
            for row in page:
                yield row

    async def _exchange_time(self, symbol: str, since_ms: int) -> int:
        """Up to when there can be anything: the host's clock for recent times; a simulated market may live in another year."""
        if since_ms + _WINDOW_MS >= (now_ms := self._rest.server_ms()):
            return now_ms
        return quote(await self._rest.read(BOOK_TICKER, {"symbol": symbol}, Priority.PROTECTIVE)).time_ms

    async def account(self) -> Account:
        """See ``Exchange.account``. USDT only; Binance also lists empty positions where orders rest."""
        account, positions = await asyncio.gather(self._rest.read(ACCOUNT), self._rest.read(POSITIONS))
        with understood("account"):
            usdt: Json = next((asset for asset in account["assets"] if asset["asset"] == "USDT"), {})
            return Account(
                wallet_balance=decimal(usdt.get("walletBalance")),
                available_balance=decimal(usdt.get("availableBalance")),
                unrealized_pnl=decimal(usdt.get("unrealizedProfit")),
                positions=tuple(rest_position(p) for p in positions if decimal(p["positionAmt"])),
            )

    async def contract_terms(self, symbol: str) -> ContractTerms:
        """See ``Exchange.contract_terms``."""
        funding, brackets = await asyncio.gather(self._rest.read(FUNDING_INFO), self._rest.read(BRACKETS, {"symbol": symbol}))
        with understood("contract terms"):
            return contract_terms(symbol, funding, brackets)

    async def transfers_since(self, since_ms: int) -> list[Transfer]:
        """See ``Exchange.transfers_since``."""
        found: dict[int, Transfer] = {}
        while True:
            params: Params = {"incomeType": "TRANSFER", "startTime": since_ms, "limit": _PAGE}
            rows: list[Json] = await self._rest.read(INCOME, params)
            with understood("transfers"):
                moved = [transfer(row) for row in rows if row["asset"] == "USDT"]
                found |= {each.transfer_id: each for each in moved}
                newest_ms = max((int(row["time"]) for row in rows), default=since_ms)
            if len(rows) < _PAGE or newest_ms == since_ms:
                return sorted(found.values(), key=lambda each: (each.time_ms, each.transfer_id))
            since_ms = newest_ms

    async def funding_paid_since(self, symbol: str, since_ms: int) -> list[tuple[int, Decimal]]:
        """See ``Exchange.funding_paid_since``."""
        params: Params = {"symbol": symbol, "incomeType": "FUNDING_FEE", "startTime": since_ms, "limit": _PAGE}
        rows: list[Json] = await self._rest.read(INCOME, params)
        with understood("funding"):
            return sorted((int(row["time"]), -decimal(row["income"])) for row in rows)
