"""Routes outside Binance's paths that steer the simulator, for demos and tests. Answered to this host only."""

import ipaddress
from decimal import Decimal, InvalidOperation
from typing import Any

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler

from app.domain.instrument import Side
from app.simulator.faults import FaultError, parse_plan
from app.simulator.params import Params
from app.simulator.routes import OPERATION_NAMES
from app.simulator.runtime import Runtime
from app.simulator.sockets import Connection, close_all
from app.simulator.tape import TapeError
from app.simulator.tape_synthetic import SyntheticTape, parse_script
from app.simulator.venue_types import VenueError
from app.simulator.wire import order_json, plain

MAX_SPEED = 5_000.0
_MAX_PREMIUM_PERCENT = 20


class Control:
    """``POST /simulator/…`` take a JSON object; ``GET /simulator/status`` tells how things stand."""

    def __init__(self, runtime: Runtime, ws_api: set[Connection]) -> None:
        self._runtime = runtime
        self._ws_api = ws_api

    def add_to(self, app: web.Application) -> None:
        app.router.add_get("/simulator/status", self.status)
        app.router.add_get("/simulator/answers", self.answers)
        app.router.add_get("/simulator/faults", self.faults)
        app.router.add_post("/simulator/faults", self.set_faults)
        app.router.add_post("/simulator/speed", self.speed)
        app.router.add_post("/simulator/delay", self.delay)
        app.router.add_post("/simulator/trade", self.trade)
        app.router.add_post("/simulator/adl", self.deleverage)
        app.router.add_post("/simulator/transfer", self.transfer)
        app.router.add_post("/simulator/premium", self.premium)
        app.router.add_post("/simulator/script", self.script)
        app.router.add_post("/simulator/drop-streams", self.drop_streams)
        app.router.add_post("/simulator/expire-listen-key", self.expire_listen_key)

    async def status(self, _request: web.Request) -> web.Response:
        runtime = self._runtime
        return _json(
            {
                "exchangeTime": runtime.venue.now_ms,
                "speed": runtime.speed,
                "delayMs": runtime.delay_ms,
                "inFlight": runtime.in_flight,
                "ended": runtime.has_ended,
                "symbols": {symbol: plain(runtime.venue.last_price(symbol)) for symbol in runtime.venue.symbols},
                "userStreams": len(runtime.private.connections),
                "marketStreams": len(runtime.subscriptions.connections),
                "openOrders": len(runtime.venue.open_orders()),
                "openAlgoOrders": len(runtime.venue.open_algos()),
            }
        )

    async def answers(self, _request: web.Request) -> web.Response:
        """Order answers written since the last call: when (monotonic seconds of this host), to which route, for which order."""
        named = ("symbol", "side", "type", "quantity", "reduceOnly", "newClientOrderId", "clientAlgoId")
        answers = self._runtime.answers
        rows = []
        while answers:
            answer = answers.popleft()
            order = {name: answer.values[name] for name in named if name in answer.values}
            rows.append({"at": answer.at, "route": answer.route, "status": answer.status, **order})
        return _json({"answers": rows})

    async def faults(self, _request: web.Request) -> web.Response:
        """Each rule of the plan in force, how often it matched and how often it struck."""
        counts = self._runtime.gate.faults.counts()
        return _json({"fault": [{"kind": rule.kind, "matched": matched, "struck": struck} for rule, matched, struck in counts]})

    async def set_faults(self, request: web.Request) -> web.Response:
        """A plan as in a file, ``{"seed": 7, "fault": [{"kind": …}]}``; an empty object ends all faults."""
        self._runtime.gate.replace(parse_plan(await _body(request), OPERATION_NAMES))
        return await self.faults(request)

    async def speed(self, request: web.Request) -> web.Response:
        """``{"speed": N}``: 0 stops exchange time."""
        self._runtime.speed = _number(await _body(request), "speed", MAX_SPEED)
        return await self.status(request)

    async def delay(self, request: web.Request) -> web.Response:
        """``{"delayMs": N}``."""
        self._runtime.delay_ms = _number(await _body(request), "delayMs", 60_000)
        return await self.status(request)

    async def trade(self, request: web.Request) -> web.Response:
        """``{"symbol", "side", "quantity"}``: a market order as if sent by hand from the web page."""
        params = Params({name: str(value) for name, value in (await _body(request)).items()})
        side = params.choice("side", Side, -1117, "Invalid side.")
        order = self._runtime.venue.trade_by_hand(params.symbol, side, params.required_decimal("quantity"))
        self._runtime.publish()
        return _json(order_json(order))

    async def deleverage(self, request: web.Request) -> web.Response:
        """``{"symbol", "quantity"}``: auto-deleveraging closes that much of the position."""
        params = Params({name: str(value) for name, value in (await _body(request)).items()})
        order = self._runtime.venue.auto_deleverage(params.symbol, params.required_decimal("quantity"))
        self._runtime.publish()
        return _json(order_json(order))

    async def transfer(self, request: web.Request) -> web.Response:
        """``{"amount"}``: USDT deposited; negative, withdrawn."""
        params = Params({name: str(value) for name, value in (await _body(request)).items()})
        self._runtime.venue.transfer(params.required_decimal("amount"))
        self._runtime.publish()
        return await self.status(request)

    async def premium(self, request: web.Request) -> web.Response:
        """``{"symbol", "percent"}``: how far the mark price lies above the last price from now on; negative, below."""
        params = Params({name: str(value) for name, value in (await _body(request)).items()})
        percent = params.required_decimal("percent")
        if abs(percent) > _MAX_PREMIUM_PERCENT:
            raise VenueError(-1, f"percent: must be within ±{_MAX_PREMIUM_PERCENT}.")
        self._runtime.venue.set_premium(params.symbol, percent / 100)
        self._runtime.publish()
        return await self.status(request)

    async def script(self, request: web.Request) -> web.Response:
        """``{"script": "3:0.4,4:-0.3"}``: BTC's course in MINUTES:PERCENT from the next full minute (synthetic tapes)."""
        tape = self._runtime.tape
        if not isinstance(tape, SyntheticTape):
            raise TapeError("script: only a synthetic tape follows a script")
        return _json({"from": tape.script(parse_script(str((await _body(request)).get("script", ""))))})

    async def drop_streams(self, request: web.Request) -> web.Response:
        """``{"which": "private" | "market" | "api"}``; all of them when not said."""
        which = (await _body(request)).get("which")
        groups = {
            "private": self._runtime.private.connections,
            "market": self._runtime.subscriptions.connections,
            "api": self._ws_api,
        }
        if which is not None and which not in groups:
            raise VenueError(-1130, f"which: {which!r} is none of {', '.join(groups)}.")
        closing = [c for name, connections in groups.items() if which in (None, name) for c in connections]
        return _json({"closed": await close_all(closing)})

    async def expire_listen_key(self, request: web.Request) -> web.Response:
        self._runtime.private.expire(self._runtime.venue.now_ms)
        return await self.status(request)


@web.middleware
async def loopback_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Guards ``/simulator`` and words its refusals."""
    if not request.path.startswith("/simulator/"):
        return await handler(request)
    remote = request.remote
    if remote is None or not ipaddress.ip_address(remote).is_loopback:
        return _json({"code": -1, "msg": "/simulator answers on this host only"}, status=403)
    try:
        return await handler(request)
    except VenueError as error:
        return _json({"code": error.code, "msg": error.msg}, status=400)
    except (TapeError, FaultError) as error:
        return _json({"code": -1, "msg": str(error)}, status=400)


async def _body(request: web.Request) -> dict[str, Any]:
    text = await request.read()
    try:
        body = orjson.loads(text or b"{}")
    except orjson.JSONDecodeError:
        raise VenueError(-1, "The body must be a JSON object.") from None
    if not isinstance(body, dict):
        raise VenueError(-1, "The body must be a JSON object.")
    return body


def _number(body: dict[str, Any], name: str, maximum: float) -> float:
    try:
        value = Decimal(str(body[name]))
    except (KeyError, InvalidOperation):
        raise VenueError(-1, f"{name}: a number is needed.") from None
    if not 0 <= value <= Decimal(maximum):
        raise VenueError(-1, f"{name}: must be between 0 and {maximum:g}.")
    return float(value)


def _json(body: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")
