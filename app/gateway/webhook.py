"""POST /webhook: authenticate, parse, make durable, and answer before TradingView hangs up.

2xx means the alert is in the inbox (or was already); a 503 means it is not, and TradingView sends it again.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import structlog
from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from app.bus.envelopes import envelope_for, text_envelope
from app.bus.port import AlertEnvelope, Json
from app.clock import Clock
from app.domain.bodies import TAG_TEXT, read_message
from app.domain.component_alerts import ComponentAlert
from app.domain.verdict import Refusal
from app.gateway.config import GatewayConfig
from app.gateway.delivery import Delivery
from app.gateway.failures import AlertRefused, Failure, GatewayError, Skipped, answer
from app.gateway.security import Doorkeeper, body_token

log = structlog.get_logger(__name__)

_BODY_WITHIN_S = 1.0
_COMPONENT_SCHEMA = {
    "type": "object",
    "description": "one condition of a signal, as a toolkit tells of it",
    "required": ["tag", "symbol", "t"],
    "properties": {
        "tag": {"type": "string", "description": "the toolkit's text, or our name of the condition"},
        "symbol": {"type": "string", "examples": ["BTCUSDT.P"]},
        "t": {"description": "Unix milliseconds or ISO-8601: when the condition's bar opened"},
        "tf": {"type": "string", "description": "the chart's timeframe in minutes"},
        "kit": {"type": "string", "description": "SO, OM, PAC or SMC"},
        "close": {"description": "the chart's price"},
        "ob_top": {"description": "order block, upper edge"},
        "ob_bottom": {"description": "order block, lower edge"},
        "smart_trail": {"description": "recorded, not used"},
        "token": {"type": "string", "format": "password"},
    },
}
_ALERT_SCHEMA = {
    "type": "object",
    "required": ["symbol", "side"],
    "properties": {
        "symbol": {"type": "string", "description": "any spelling TradingView knows", "examples": ["BTCUSDT.P"]},
        "side": {"type": "string", "description": "BUY, SELL or CLOSE (also long, short, exit); aliases: signal, action"},
        "qty": {"description": "may only lower the size the server computes"},
        "sl": {"description": "believed when on the losing side and 0.1 to 3 % away"},
        "tp1": {"description": "recorded, not used"},
        "price": {"description": "the chart's price, when its levels are not the perpetual's"},
        "ob_top": {"description": "order block, upper edge"},
        "ob_bottom": {"description": "order block, lower edge"},
        "atr14": {"description": "recorded, not used"},
        "tf": {"type": "string"},
        "bar_time": {"description": "Unix milliseconds or ISO-8601: when the signal's bar opened"},
        "trail": {"type": "string", "examples": ["AI_SUPERTREND"]},
        "id": {"type": "string", "description": "makes repeated deliveries one alert"},
        "token": {"type": "string", "format": "password"},
    },
}
_BODY_SCHEMA = {"anyOf": [_ALERT_SCHEMA, _COMPONENT_SCHEMA]}

_EXAMPLES = {
    "levels worked out by the server": {"value": {"symbol": "BTCUSDT.P", "side": "BUY"}},
    "with the signal's order block": {
        "value": {
            "symbol": "BTCUSDT.P",
            "side": "SELL",
            "tf": "3",
            "bar_time": "2026-01-01T00:00:00Z",
            "ob_top": 84900,
            "ob_bottom": 84720,
        }
    },
    "one condition of a signal": {
        "value": {
            "kit": "SO",
            "tag": "Bullish Confirmation Signal",
            "symbol": "BTCUSDT.P",
            "tf": "3",
            "t": "2026-01-01T00:00:00Z",
        }
    },
    "end of a trade": {"value": {"symbol": "BTCUSDT.P", "side": "CLOSE", "id": "close-1"}},
}


class Placed(BaseModel):
    """``status``: trade placed (with ``details``: entry_order, sl_order, tp1_order), accepted, duplicate (of ``id``), or
    component (with the ``conditions`` of both sides and the ``signal`` they made). ``verdicts``: what every guard said."""

    status: str
    id: str
    details: dict[str, Any] | None = None
    verdicts: list[dict[str, Any]] | None = None
    conditions: dict[str, Any] | None = None
    signal: dict[str, Any] | None = None


DOCUMENTED: dict[str, Any] = {
    "response_model": Placed,
    "responses": {
        408: {"model": Failure, "description": "The body did not arrive in time."},
        400: {"model": Failure, "description": "The body is not an alert."},
        401: {"model": Failure, "description": "No valid token."},
        413: {"model": Failure, "description": "The body is too large."},
        422: {"model": Skipped, "description": "The alert is refused; ``code`` says why."},
        503: {"model": Failure, "description": "Not taken: send it again."},
    },
    "openapi_extra": {
        "requestBody": {"required": True, "content": {"application/json": {"schema": _BODY_SCHEMA, "examples": _EXAMPLES}}}
    },
}


@dataclass(frozen=True, slots=True)
class Webhook:
    """One delivery from arrival to answer."""

    config: GatewayConfig
    delivery: Delivery
    clock: Clock
    doorkeeper: Doorkeeper

    async def take(self, request: Request, path_token: str | None) -> JSONResponse:
        received_at, received_ms = self.clock.monotonic(), self.clock.wall_ms()
        body = await read_body(request, self.config.max_body_bytes)
        self._authenticate(request, path_token, body)
        self.delivery.inbox.announce()
        parsed = read_message(body, self.config.signals)
        if isinstance(parsed, Refusal):
            log.info("alert_not_taken", code=parsed.code, bytes=len(body))
            if parsed.code == TAG_TEXT:
                await self._keep(text_envelope(body, received_ms, received_at))
            raise AlertRefused(parsed)
        envelope = envelope_for(parsed, body, received_ms, received_at)
        first = await self.delivery.put(envelope)
        if first is not None:
            log.info("alert_repeated", id=first)
            return answer(200, {"status": "duplicate", "id": first})
        reply = await self.delivery.reply(envelope)
        what = parsed.tag if isinstance(parsed, ComponentAlert) else parsed.action
        log.info("alert_accepted", id=envelope.alert_id, symbol=parsed.symbol, what=what.value)
        return as_answer(reply or {"status": "accepted"}, envelope.alert_id)

    def _authenticate(self, request: Request, path_token: str | None, body: bytes) -> None:
        if path_token is not None and self.doorkeeper.admits(request.headers, (path_token,)):
            return
        if not self.doorkeeper.admits(request.headers, (path_token, body_token(body))):
            log.warning("webhook_refused", reason="token")
            raise GatewayError("unauthorized")

    async def _keep(self, envelope: AlertEnvelope) -> None:
        """For the journal only: the answer does not depend on it."""
        try:
            await self.delivery.put(envelope)
        except GatewayError:
            log.warning("text_not_kept", id=envelope.alert_id)


def as_answer(reply: Json, alert_id: str) -> JSONResponse:
    """The reply as the trader gave it, without its ``http_status``. Never a 5xx: the alert was taken and must not come again."""
    content: dict[str, Any] = {**reply}
    http_status = content.pop("http_status", 200)
    content.setdefault("id", alert_id)
    well_formed = isinstance(http_status, int) and 200 <= http_status < 500
    return answer(http_status if well_formed else 200, content)


async def read_body(request: Request, limit: int) -> bytes:
    """The raw body, whatever its type. Raises GatewayError when it is too large or too slow."""
    body = bytearray()
    try:
        async with asyncio.timeout(_BODY_WITHIN_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    raise GatewayError("body_too_large", limit=limit)
    except (TimeoutError, ClientDisconnect) as error:
        raise GatewayError("body_incomplete") from error
    return bytes(body)


class _Direct(APIRoute):
    """Nothing to validate or inject before the raw request is read: the endpoint gets it as it came, some steps sooner."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        async def handle(request: Request) -> Response:
            response: Response = await self.endpoint(request, **request.path_params)
            return response

        return handle


def routes(webhook: Webhook) -> APIRouter:
    router = APIRouter(tags=["alerts"], route_class=_Direct)

    @router.post("/webhook", **DOCUMENTED)
    async def take_alert(request: Request) -> JSONResponse:
        """An alert, its token in the body. Any content type."""
        return await webhook.take(request, None)

    @router.post("/webhook/{token}", **DOCUMENTED)
    async def take_alert_by_path(request: Request, token: str) -> JSONResponse:
        """The same, the token in the address."""
        return await webhook.take(request, token)

    return router
