"""POST /binance/config: the exchange's API credentials, for whoever bears the operator's token. Write-only.

They go into the secret store and nowhere else; the inbox only says that they are there. The trader tries them and answers.
"""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from fastapi import APIRouter, Request
from pydantic import BaseModel, SecretStr
from starlette.responses import JSONResponse

from app.bus.port import CONFIG_SOURCE, AlertEnvelope, BusUnavailable, Inbox
from app.clock import Clock
from app.domain import advanced_answers as answers
from app.gateway.config import GatewayConfig
from app.gateway.failures import Failure, GatewayError, answer
from app.gateway.security import OPERATOR_BEARER, OperatorDoor
from app.gateway.webhook import read_body
from app.storage.secrets import PROPOSED, ExchangeKey, SecretStore, SecretsUnavailable

log = structlog.get_logger(__name__)

_KEY_KEPT_S = 60
_LONGEST = 512
_SCHEMA = {
    "type": "object",
    "required": ["api_key", "api_secret"],
    "properties": {
        name: {"type": "string", "format": "password", "pattern": "^[!-~]+$", "maxLength": _LONGEST}
        for name in ("api_key", "api_secret")
    },
}


class Configured(BaseModel):
    """``status``: configured (the trader has taken them up) or stored (it will, once it is up)."""

    success: bool
    status: str
    message: str
    timestamp: str


_DOCUMENTED: dict[str, Any] = {
    "response_model": Configured,
    "responses": {
        202: {"model": Configured, "description": "Stored; the trader has not answered yet."},
        401: {"model": Failure, "description": "Not the operator's token."},
        403: {"model": Failure, "description": "No operator's token is set: this address is off."},
        408: {"model": Failure, "description": "The body did not arrive in time."},
        413: {"model": Failure, "description": "The body is too large."},
        422: {"model": Failure, "description": "Not taken up: the exchange refuses them, or trades are open."},
        503: {"model": Failure, "description": "The secret store or the inbox cannot be used."},
    },
    "openapi_extra": {"requestBody": {"required": True, "content": {"application/json": {"schema": _SCHEMA}}}},
}


@dataclass(frozen=True, slots=True)
class ExchangeConfig:
    config: GatewayConfig
    inbox: Inbox
    store: SecretStore
    clock: Clock
    door: OperatorDoor

    async def configure(self, request: Request) -> JSONResponse:
        self.door.check(request.headers)
        key = _read_key(await read_body(request, self.config.max_body_bytes))
        try:
            await self.store.write(PROPOSED, key)
            reply = await self._tell_the_trader()
        except SecretsUnavailable as error:
            log.error("secrets_unavailable", error=str(error))
            raise GatewayError("secrets_unwritable") from None
        except BusUnavailable as error:
            log.error("inbox_unavailable", error=str(error))
            raise GatewayError("inbox_unavailable") from error
        if reply is None:
            message = "Stored: the trader tries them and takes them up when it is up"
            now = answers.timestamp(self.clock.wall_ms())
            return answer(202, Configured(success=True, status="stored", message=message, timestamp=now).model_dump())
        status = reply.get("http_status", 200)
        content = {name: value for name, value in reply.items() if name != "http_status"}
        return answer(status if isinstance(status, int) and 200 <= status < 500 else 200, content)

    async def _tell_the_trader(self) -> Mapping[str, Any] | None:
        name = f"config-{secrets.token_hex(8)}"
        now_ms, now = self.clock.wall_ms(), self.clock.monotonic()
        await self.inbox.put(AlertEnvelope(name, name, _KEY_KEPT_S, {}, now_ms, now, CONFIG_SOURCE))
        log.info("exchange_key_proposed")
        return await self.inbox.wait_reply(name, self.config.reply_within_s)


def _read_key(body: bytes) -> ExchangeKey:
    """Raises GatewayError, which names the field and never its value."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise GatewayError("bad_request", field="the body")
    for name in ("api_key", "api_secret"):
        value = fields.get(name)
        if not isinstance(value, str) or not value.strip() or len(value) > _LONGEST or not value.isascii():
            raise GatewayError("bad_request", field=name)
    return ExchangeKey(SecretStr(fields["api_key"].strip()), SecretStr(fields["api_secret"].strip()))


def routes(config: ExchangeConfig) -> APIRouter:
    router = APIRouter(tags=["operator"], dependencies=[OPERATOR_BEARER])

    async def configure_exchange(request: Request) -> JSONResponse:
        """Replace the exchange's API credentials. Operator's token: ``Authorization: Bearer TOKEN``. Ends arming."""
        return await config.configure(request)

    for prefix in ("", "/api"):
        path = f"{prefix}/binance/config"
        router.add_api_route(path, configure_exchange, methods=["POST"], include_in_schema=not prefix, **_DOCUMENTED)
    return router
