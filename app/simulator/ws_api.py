"""The WebSocket API, ``/ws-fapi/v1``: the same operations, each request signed over its sorted parameters."""

import asyncio
from typing import Any

import orjson
from aiohttp import web

from app.simulator import operations as ops
from app.simulator.auth import Credentials, NotAuthorized, check_timestamp, sorted_payload
from app.simulator.params import Params
from app.simulator.rest import Signed
from app.simulator.runtime import Runtime
from app.simulator.streams import Connection, open_socket
from app.simulator.venue import Venue
from app.simulator.venue_types import MarginType, VenueError
from app.simulator.wire import Json, plain
from app.simulator.wire_account import position_risk_json


def _all_positions(venue: Venue, params: Params) -> list[Json]:
    """account.position, the older form: every symbol, with leverage and margin type."""
    positions = [venue.position(symbol) for symbol in venue.symbols]
    shown = {row["symbol"]: row for row in position_risk_json(positions, flat_too=True)}
    for position in positions:
        isolated = position.margin_type is MarginType.ISOLATED
        shown[position.symbol] |= {
            "leverage": str(position.leverage),
            "marginType": "isolated" if isolated else "cross",
            "isAutoAddMargin": "false",
            "maxNotionalValue": plain(venue.contract(position.symbol).max_notional(position.leverage)),
        }
    wanted = params.text("symbol")
    return [row for symbol, row in shown.items() if wanted in (None, symbol)]


METHODS: dict[str, Signed] = {
    "order.place": Signed(ops.place_order, is_order=True),
    "order.test": Signed(ops.test_order),
    "order.modify": Signed(ops.amend_order, is_order=True),
    "order.cancel": Signed(ops.cancel_order, is_order=True),
    "order.status": Signed(ops.query_order),
    "algoOrder.place": Signed(ops.place_algo, is_order=True),
    "algoOrder.cancel": Signed(ops.cancel_algo, is_order=True),
    "account.status": Signed(ops.account),
    "v2/account.status": Signed(ops.account),
    "account.balance": Signed(ops.balances),
    "v2/account.balance": Signed(ops.balances),
    "account.position": Signed(_all_positions),
    "v2/account.position": Signed(ops.position_risk),
}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


class WsApi:
    def __init__(self, runtime: Runtime, credentials: Credentials) -> None:
        self._runtime = runtime
        self._credentials = credentials
        self.connections: set[Connection] = set()

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        socket = await open_socket(request)
        connection = Connection(socket)
        self.connections.add(connection)
        answering: set[asyncio.Task[None]] = set()

        async def on_text(text: str) -> None:
            task = asyncio.create_task(self._respond(connection, text))
            answering.add(task)
            task.add_done_callback(answering.discard)

        try:
            await connection.serve(on_text)
        finally:
            self.connections.discard(connection)
        return socket

    async def _respond(self, connection: Connection, text: str) -> None:
        try:
            message = orjson.loads(text)
            request_id, method, params = message["id"], message["method"], message.get("params", {})
            values = {name: _text(value) for name, value in params.items()}
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            error = {"code": -1102, "msg": "A request needs id, method and params."}
            connection.send({"id": None, "status": 400, "error": error})
            return
        try:
            with self._runtime.request():
                result = await self._execute(method, values)
        except VenueError as refusal:
            status = 401 if isinstance(refusal, NotAuthorized) else 400
            error = {"code": refusal.code, "msg": refusal.msg}
            connection.send({"id": request_id, "status": status, "error": error})
            return
        connection.send({"id": request_id, "status": 200, "result": result, "rateLimits": []})

    async def _execute(self, method: str, values: dict[str, str]) -> Any:
        route = METHODS.get(method)
        if route is None:
            raise VenueError(-1000, f"Unknown method {method}.")
        self._credentials.check_key(values.get("apiKey"))
        check_timestamp(values, self._runtime.clock.wall_ms())
        self._credentials.check_signature(sorted_payload(values), values.get("signature"))
        if route.is_order:
            self._credentials.check_order()
        return await self._runtime.execute(route.operation, values, is_order=route.is_order)
