"""POST /binance/advanced-trading-webhook: a request judged by its form, made durable, and answered with the trader's word.

Each address stands also under /tradingview, under /api and under both; the state-aware MA-cross webhook does the same. Never
talks to the exchange.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.responses import JSONResponse

from app.bus.envelopes import advanced_envelope
from app.clock import Clock
from app.domain import advanced_answers as answers
from app.domain.requests import BadRequest, parse_request
from app.gateway.config import GatewayConfig
from app.gateway.delivery import Delivery
from app.gateway.failures import NOT_UNDERSTOOD, Failure, GatewayError, Skipped, answer
from app.gateway.security import Doorkeeper, body_token
from app.gateway.webhook import as_answer, read_body

log = structlog.get_logger(__name__)

NAMES = ("advanced-trading-webhook", "state-aware-ma-cross-webhook")
PREFIXES = ("", "/tradingview", "/api", "/api/tradingview")
_REQUEST_SCHEMA = {
    "type": "object",
    "required": ["symbol", "action"],
    "properties": {
        "symbol": {"type": "string", "description": "any spelling TradingView knows; USDT is added", "examples": ["BTCUSDT"]},
        "action": {"type": "string", "enum": ["buy", "sell", "close"]},
        "balance_percentage": {"type": "number", "minimum": 0.01, "maximum": 1, "description": "buy and sell only"},
        "leverage": {"type": "integer", "minimum": 1, "maximum": 125, "description": "buy and sell only"},
        "entry": {"type": "number", "exclusiveMinimum": 0, "description": "reference price; sizes nothing"},
        "sl": {"type": "number", "exclusiveMinimum": 0, "description": "stop; without it the default one is set"},
        "margin_type": {"type": "string", "enum": ["ISOLATED", "CROSSED"]},
        "id": {"type": "string", "description": "makes repeated deliveries one request"},
        "bar_time": {"description": "when the signal's bar opened; with tf, makes repeated deliveries one request"},
        "tf": {"type": "string"},
        "token": {"type": "string", "format": "password"},
    },
}


_EXAMPLES = {
    "buy": {"value": {"symbol": "BTCUSDT", "action": "buy", "balance_percentage": 0.1, "leverage": 10, "sl": 84000}},
    "close": {"value": {"symbol": "BTCUSDT.P", "action": "close"}},
}


class Carried(BaseModel):
    """``trade`` and ``calculation_details`` of a buy or sell; ``closed_positions`` and ``cancelled_orders`` of a close;
    ``status`` where it was accepted and is not done yet, or is a duplicate."""

    success: bool
    message: str
    id: str
    timestamp: str
    status: str | None = None
    trade: dict[str, Any] | None = None
    calculation_details: dict[str, Any] | None = None
    risk_level: str | None = None
    warnings: list[str] | None = None
    verdicts: list[dict[str, Any]] | None = None
    symbol: str | None = None
    action: str | None = None
    closed_positions: list[dict[str, Any]] | None = None
    cancelled_orders: list[int] | None = None


class NotCarried(Skipped):
    """``webhook_data`` is the request as it was sent, without its token."""

    webhook_data: dict[str, Any]
    timestamp: str


DOCUMENTED: dict[str, Any] = {
    "response_model": Carried,
    "responses": {
        400: {"model": NotCarried, "description": "The body is not a request."},
        401: {"model": Failure, "description": "No valid token."},
        408: {"model": Failure, "description": "The body did not arrive in time."},
        413: {"model": Failure, "description": "The body is too large."},
        422: {"model": NotCarried, "description": "Refused, by us or by the exchange; ``code`` and ``error`` say why."},
        503: {"model": Failure, "description": "Not taken: send it again."},
    },
    "openapi_extra": {
        "requestBody": {"required": True, "content": {"application/json": {"schema": _REQUEST_SCHEMA, "examples": _EXAMPLES}}}
    },
}


@dataclass(frozen=True, slots=True)
class AdvancedWebhook:
    """One delivery from arrival to answer."""

    config: GatewayConfig
    delivery: Delivery
    clock: Clock
    doorkeeper: Doorkeeper

    async def take(self, request: Request, path_token: str | None) -> JSONResponse:
        received_at, received_ms = self.clock.monotonic(), self.clock.wall_ms()
        body = await read_body(request, self.config.max_body_bytes)
        if not self.doorkeeper.admits(request.headers, (path_token, body_token(body))):
            log.warning("webhook_refused", reason="token")
            raise GatewayError("unauthorized")
        asked = parse_request(body)
        if isinstance(asked, BadRequest):
            return self._not_understood(asked)
        envelope = advanced_envelope(asked, body, received_ms, received_at)
        first = await self.delivery.put(envelope)
        if first is not None:
            log.info("request_repeated", id=first)
            return answer(200, answers.repeated(first, self.clock.wall_ms()))
        log.info("request_accepted", id=envelope.alert_id, symbol=asked.symbol, action=asked.action.value)
        reply = await self.delivery.reply(envelope)
        return as_answer(reply or answers.accepted(envelope.alert_id, self.clock.wall_ms()), envelope.alert_id)

    def _not_understood(self, bad: BadRequest) -> JSONResponse:
        log.info("request_not_taken", code=bad.refusal.code)
        content = _without_status(answers.refused("", bad.refusal, bad.webhook_data, self.clock.wall_ms()))
        del content["id"]  # what was not taken has none
        return answer(400 if bad.refusal.code in NOT_UNDERSTOOD else 422, content)


def _without_status(reply: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in reply.items() if name != "http_status"}


def routes(webhook: AdvancedWebhook) -> APIRouter:
    router = APIRouter(tags=["advanced webhook"])

    async def advanced_trading_webhook(request: Request) -> JSONResponse:
        """Buy, sell or close a USDT-margined perpetual, sized by a part of the balance. Token in the body or the header."""
        return await webhook.take(request, None)

    async def advanced_trading_webhook_by_path(request: Request, token: str) -> JSONResponse:
        """The same, the token in the address."""
        return await webhook.take(request, token)

    for name in NAMES:
        for prefix in PREFIXES:
            path, is_first = f"{prefix}/binance/{name}", prefix == PREFIXES[0]
            for suffix, endpoint in (("", advanced_trading_webhook), ("/{token}", advanced_trading_webhook_by_path)):
                router.add_api_route(path + suffix, endpoint, methods=["POST"], include_in_schema=is_first, **DOCUMENTED)
    return router
