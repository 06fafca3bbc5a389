"""The REST routes, ``/fapi/v1`` to ``/fapi/v3``: thin shells over the operations and the market data.

``GET /fapi/v1/time`` and recvWindow go by the host's clock, so that unmodified clients work; whatever happens on the
exchange (orders, trades, candles, events) carries exchange time, the tape's.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import orjson
from aiohttp import web

from app.simulator import operations as ops
from app.simulator.auth import Credentials, NotAuthorized, check_timestamp, rest_payload
from app.simulator.limits import RequestCounters
from app.simulator.operations import Operation
from app.simulator.params import Params
from app.simulator.runtime import Answered, Runtime
from app.simulator.tape import bars
from app.simulator.venue_types import VenueError
from app.simulator.wire import Json, plain
from app.simulator.wire_market import (
    INTERVALS_MS,
    book_ticker_json,
    exchange_info_json,
    kline_row,
    level_rows,
    premium_json,
    ticker_json,
)

_DEPTH_LIMITS = (5, 10, 20, 50, 100, 500, 1000)


@dataclass(frozen=True, slots=True)
class Signed:
    """A signed route: what it does, its request weight, and whether it counts as an order (and is delayed as one)."""

    operation: Operation
    weight: int = 1
    is_order: bool = False


SIGNED: dict[tuple[str, str], Signed] = {
    ("POST", "/fapi/v1/order"): Signed(ops.place_order, 0, is_order=True),
    ("PUT", "/fapi/v1/order"): Signed(ops.amend_order, 0, is_order=True),
    ("DELETE", "/fapi/v1/order"): Signed(ops.cancel_order, is_order=True),
    ("GET", "/fapi/v1/order"): Signed(ops.query_order),
    ("POST", "/fapi/v1/order/test"): Signed(ops.test_order, 0),
    ("DELETE", "/fapi/v1/allOpenOrders"): Signed(ops.cancel_all_orders, is_order=True),
    ("GET", "/fapi/v1/openOrder"): Signed(ops.query_open_order),
    ("GET", "/fapi/v1/openOrders"): Signed(ops.open_orders),
    ("GET", "/fapi/v1/allOrders"): Signed(ops.all_orders, 5),
    ("GET", "/fapi/v1/userTrades"): Signed(ops.user_trades, 5),
    ("POST", "/fapi/v1/algoOrder"): Signed(ops.place_algo, 0, is_order=True),
    ("DELETE", "/fapi/v1/algoOrder"): Signed(ops.cancel_algo, is_order=True),
    ("GET", "/fapi/v1/algoOrder"): Signed(ops.query_algo),
    ("DELETE", "/fapi/v1/algoOpenOrders"): Signed(ops.cancel_all_algos, is_order=True),
    ("GET", "/fapi/v1/openAlgoOrders"): Signed(ops.open_algos),
    ("GET", "/fapi/v1/allAlgoOrders"): Signed(ops.all_algos, 5),
    ("GET", "/fapi/v2/account"): Signed(ops.account, 5),
    ("GET", "/fapi/v3/account"): Signed(ops.account, 5),
    ("GET", "/fapi/v2/balance"): Signed(ops.balances, 5),
    ("GET", "/fapi/v3/balance"): Signed(ops.balances, 5),
    ("GET", "/fapi/v3/positionRisk"): Signed(ops.position_risk, 5),
    ("POST", "/fapi/v1/leverage"): Signed(ops.set_leverage),
    ("GET", "/fapi/v1/leverageBracket"): Signed(ops.leverage_brackets),
    ("POST", "/fapi/v1/marginType"): Signed(ops.set_margin_type),
    ("GET", "/fapi/v1/positionSide/dual"): Signed(ops.position_mode, 30),
    ("POST", "/fapi/v1/positionSide/dual"): Signed(ops.set_position_mode),
    ("GET", "/fapi/v1/multiAssetsMargin"): Signed(ops.multi_assets, 30),
    ("POST", "/fapi/v1/multiAssetsMargin"): Signed(ops.set_multi_assets),
    ("GET", "/fapi/v1/symbolConfig"): Signed(ops.symbol_config, 5),
    ("GET", "/fapi/v1/accountConfig"): Signed(ops.account_config, 5),
    ("GET", "/fapi/v1/commissionRate"): Signed(ops.commission_rate, 20),
    ("GET", "/fapi/v1/income"): Signed(ops.income, 30),
}


class Rest:
    def __init__(self, runtime: Runtime, credentials: Credentials) -> None:
        self._runtime = runtime
        self._venue = runtime.venue
        self._credentials = credentials
        self._counters = RequestCounters(runtime.clock)

    def add_to(self, app: web.Application) -> None:
        for (method, path), route in SIGNED.items():
            app.router.add_route(method, path, self._signed(route))
        for path, handler in self._public_routes().items():
            app.router.add_get(path, self._public(handler))
        app.router.add_route("*", "/fapi/v1/listenKey", self._listen_key)

    # -- shells -----------------------------------------------------------------------------------------------------

    def _signed(self, route: Signed) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            body = await request.text()
            with self._runtime.request():
                try:
                    values = self._authorize(request, body)
                    if request.method != "GET":
                        self._credentials.check_order()
                    answer = await self._runtime.execute(route.operation, values, is_order=route.is_order)
                except VenueError as error:
                    return self._refusal(error)
                counts_order = route.is_order and request.method in ("POST", "PUT")
                response = self._answer(answer, self._counters.count(route.weight, is_order=counts_order))
                if route.is_order:
                    await self._write_and_note(request, values, response)
                return response

        return handle

    async def _write_and_note(self, request: web.Request, values: dict[str, str], response: web.Response) -> None:
        """When an order's answer left, for whoever measures a client's reaction."""
        await response.prepare(request)
        await response.write_eof()
        written_at = self._runtime.clock.monotonic()
        self._runtime.answers.append(Answered(written_at, f"{request.method} {request.path}", values, response.status))

    def _authorize(self, request: web.Request, body: str) -> dict[str, str]:
        self._credentials.check_key(request.headers.get("X-MBX-APIKEY"))
        query = request.raw_path.partition("?")[2]
        values = dict(parse_qsl(query, keep_blank_values=True)) | dict(parse_qsl(body, keep_blank_values=True))
        check_timestamp(values, self._runtime.clock.wall_ms())
        self._credentials.check_signature(rest_payload(query, body), values.get("signature"))
        return values

    def _public(self, handler: Callable[[Params], Any]) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            try:
                answer = handler(Params(request.query))
            except VenueError as error:
                return self._refusal(error)
            return self._answer(answer, self._counters.count(1, is_order=False))

        return handle

    def _answer(self, body: Any, headers: dict[str, str]) -> web.Response:
        return web.Response(body=orjson.dumps(body), content_type="application/json", headers=headers)

    def _refusal(self, error: VenueError) -> web.Response:
        body = orjson.dumps({"code": error.code, "msg": error.msg})
        status = 401 if isinstance(error, NotAuthorized) else 400
        headers = self._counters.count(1, is_order=False)
        return web.Response(body=body, status=status, content_type="application/json", headers=headers)

    async def _listen_key(self, request: web.Request) -> web.Response:
        private = self._runtime.private
        try:
            self._credentials.check_key(request.headers.get("X-MBX-APIKEY"))
            match request.method:
                case "POST":
                    answer: Json = {"listenKey": private.start()}
                case "PUT":
                    answer = {"listenKey": private.extend()}
                case "DELETE":
                    private.stop()
                    answer = {}
                case _:
                    raise VenueError(-1000, f"{request.method} is not offered on listenKey.")
        except VenueError as error:
            return self._refusal(error)
        return self._answer(answer, self._counters.count(1, is_order=False))

    # -- market data ------------------------------------------------------------------------------------------------

    def _public_routes(self) -> dict[str, Callable[[Params], Any]]:
        return {
            "/fapi/v1/ping": lambda _params: {},
            "/fapi/v1/time": lambda _params: {"serverTime": self._runtime.clock.wall_ms()},
            "/fapi/v1/exchangeInfo": self._exchange_info,
            "/fapi/v1/klines": self._klines,
            "/fapi/v1/depth": self._depth,
            "/fapi/v1/ticker/bookTicker": self._book_ticker,
            "/fapi/v1/ticker/24hr": self._ticker,
            "/fapi/v1/ticker/price": self._price,
            "/fapi/v2/ticker/price": self._price,
            "/fapi/v1/premiumIndex": self._premium,
            "/fapi/v1/fundingInfo": self._funding_info,
            "/fapi/v1/fundingRate": self._funding_rates,
        }

    def _each(self, params: Params, one: Callable[[str], Json]) -> Any:
        """One object for a symbol, a list of all without one."""
        if params.text("symbol"):
            return one(self._venue.contract(params.symbol).symbol)
        return [one(symbol) for symbol in self._venue.symbols]

    def _exchange_info(self, _params: Params) -> Json:
        contracts = [self._venue.contract(symbol) for symbol in self._venue.symbols]
        return exchange_info_json(contracts, self._runtime.limits, self._runtime.clock.wall_ms())

    def _klines(self, params: Params) -> list[list[object]]:
        symbol, interval = self._venue.contract(params.symbol).symbol, params.required("interval")
        length = INTERVALS_MS.get(interval)
        if length is None:
            raise VenueError(-1120, f"Invalid interval. This venue keeps {', '.join(INTERVALS_MS)}.")
        limit, since, until = params.limit(500, 1500), params.integer("startTime"), params.integer("endTime")
        found = bars(self._runtime.tape, symbol, length, limit, self._venue.now_ms, since, until)
        return [kline_row(bar, length) for bar in found]

    def _depth(self, params: Params) -> Json:
        limit = params.integer("limit") or 500
        if limit not in _DEPTH_LIMITS:
            raise VenueError(-4021, f"Illegal limit. Choose one of {_DEPTH_LIMITS}.")
        bids, asks = self._venue.depth(params.symbol, limit)
        now, update_id = self._venue.now_ms, self._runtime.feed.next_id()
        return {"lastUpdateId": update_id, "E": now, "T": now, "bids": level_rows(bids), "asks": level_rows(asks)}

    def _book_ticker(self, params: Params) -> Any:
        return self._each(params, lambda s: book_ticker_json(self._venue.quote(s), self._runtime.feed.next_id()))

    def _ticker(self, params: Params) -> Any:
        now = self._venue.now_ms
        return self._each(params, lambda s: ticker_json(s, self._runtime.day.at(s, now), now))

    def _price(self, params: Params) -> Any:
        now = self._venue.now_ms
        return self._each(params, lambda s: {"symbol": s, "price": plain(self._venue.last_price(s)), "time": now})

    def _premium(self, params: Params) -> Any:
        return self._each(params, lambda s: premium_json(self._venue, s))

    def _funding_info(self, _params: Params) -> list[Json]:
        cap, hours = "0.00300000", 8
        return [
            {
                "symbol": symbol,
                "adjustedFundingRateCap": cap,
                "adjustedFundingRateFloor": f"-{cap}",
                "fundingIntervalHours": hours,
                "disclaimer": False,
            }
            for symbol in self._venue.symbols
        ]

    def _funding_rates(self, params: Params) -> list[Json]:
        return [
            {"symbol": symbol, "fundingTime": at_ms, "fundingRate": plain(rate), "markPrice": ""}
            for symbol in ((params.symbol,) if params.text("symbol") else self._venue.symbols)
            for at_ms, rate in self._venue.settled_funding(symbol, params.integer("startTime"), params.limit(100, 1000))
        ]
