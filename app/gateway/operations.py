"""/operator/…: the operator's commands and the trader's state, for whoever bears the operator's own token.

Commands go through the inbox as the command line's do: durable, in order with the alerts, obeyed when the trader is up.
"""

import secrets
from dataclasses import dataclass
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Path, Request
from pydantic import BaseModel
from starlette.responses import JSONResponse

from app.bus.port import OPERATOR_SOURCE, AlertEnvelope, BusUnavailable, Inbox
from app.clock import Clock
from app.domain.operator_requests import BadOperatorRequest, CommandName, OperatorRequest, read_request
from app.domain.risk.breakers import Breaker
from app.gateway.config import GatewayConfig
from app.gateway.failures import Failure, GatewayError, answer
from app.gateway.security import OPERATOR_BEARER, OperatorDoor

log = structlog.get_logger(__name__)

_KEY_KEPT_S = 60


class Obeyed(BaseModel):
    """``status``: done (``state`` is the trader's, afterwards) or accepted: not answered yet, it obeys when it is up."""

    status: str
    command: str
    state: dict[str, Any] | None = None


class OperatorStatus(BaseModel):
    """The trader's word on itself, at most 5 s old; ``risk`` is the risk tracker. Amounts are text, in USDT or R."""

    state: str
    paused: str
    halted_by: list[str]
    armed: bool
    lease: bool
    exchange: str
    exchange_up: bool
    trades: list[str]
    equity: str | None
    exchange_ms: int
    risk: dict[str, Any]


_DOCUMENTED: dict[int | str, dict[str, Any]] = {
    401: {"model": Failure, "description": "Not the operator's token."},
    403: {"model": Failure, "description": "No operator's token is set: these addresses are off."},
    503: {"model": Failure, "description": "The inbox or the trader does not answer."},
}
_COMMANDS: dict[int | str, dict[str, Any]] = {
    202: {"model": Obeyed, "description": "In the inbox; the trader has not answered yet."},
    422: {"model": Failure, "description": "No such trade, breaker, or nothing to do."},
    **_DOCUMENTED,
}


_BreakerName = Annotated[str, Path(json_schema_extra={"enum": [breaker.value for breaker in Breaker]})]


@dataclass(frozen=True, slots=True)
class Operations:
    config: GatewayConfig
    inbox: Inbox
    clock: Clock
    door: OperatorDoor

    async def command(self, request: Request, name: CommandName, **arguments: str) -> JSONResponse:
        self.door.check(request.headers)
        try:
            wanted = read_request({"command": name.value, **arguments})
        except BadOperatorRequest as error:
            raise GatewayError("unknown_command", detail=error) from None
        try:
            reply = await self._through_the_inbox(wanted)
        except BusUnavailable as error:
            log.error("command_not_taken", command=name.value, error=str(error))
            raise GatewayError("inbox_unavailable") from error
        if reply is None:
            return answer(202, Obeyed(status="accepted", command=name.value).model_dump())
        status = reply.pop("http_status", 200)
        return answer(status if isinstance(status, int) and 200 <= status <= 503 else 200, reply)

    async def _through_the_inbox(self, wanted: OperatorRequest) -> dict[str, Any] | None:
        name = f"operator-{secrets.token_hex(8)}"
        now_ms, now = self.clock.wall_ms(), self.clock.monotonic()
        await self.inbox.put(AlertEnvelope(name, name, _KEY_KEPT_S, wanted.to_json(), now_ms, now, source=OPERATOR_SOURCE))
        log.info("operator_command", **wanted.to_json())
        reply = await self.inbox.wait_reply(name, self.config.reply_within_s)
        return None if reply is None else dict(reply)

    async def status(self, request: Request) -> JSONResponse:
        self.door.check(request.headers)
        try:
            beat = await self.inbox.last_beat("trader")
        except BusUnavailable as error:
            raise GatewayError("inbox_unavailable") from error
        if beat is None or "risk" not in beat:
            raise GatewayError("trader_absent")
        return answer(200, OperatorStatus.model_validate(dict(beat)).model_dump(mode="json"))


def routes(operations: Operations) -> APIRouter:
    router = APIRouter(prefix="/operator", tags=["operator"], dependencies=[OPERATOR_BEARER])

    @router.post("/pause", response_model=Obeyed, responses=_COMMANDS)
    async def pause(request: Request) -> JSONResponse:
        """No new entries until ``resume``; open trades are managed on."""
        return await operations.command(request, CommandName.PAUSE)

    @router.post("/resume", response_model=Obeyed, responses=_COMMANDS)
    async def resume(request: Request) -> JSONResponse:
        """End a pause. Tripped breakers stay tripped."""
        return await operations.command(request, CommandName.RESUME)

    @router.post("/flatten", response_model=Obeyed, responses=_COMMANDS)
    async def flatten(request: Request) -> JSONResponse:
        """Close every open trade at market. Trading goes on: ``pause`` first to keep it from that."""
        return await operations.command(request, CommandName.FLATTEN)

    @router.post("/close/{trade_id}", response_model=Obeyed, responses=_COMMANDS)
    async def close(request: Request, trade_id: str) -> JSONResponse:
        """Close one trade with its hedges at market."""
        return await operations.command(request, CommandName.CLOSE, trade_id=trade_id)

    @router.post("/reset/{breaker}", response_model=Obeyed, responses=_COMMANDS)
    async def reset(request: Request, breaker: _BreakerName) -> JSONResponse:
        """Let a tripped breaker go: what it measures begins anew."""
        return await operations.command(request, CommandName.RESET, breaker=breaker)

    @router.post("/arm", response_model=Obeyed, responses=_COMMANDS)
    async def arm(request: Request) -> JSONResponse:
        """Let live trading take entries, with the exchange key now in use."""
        return await operations.command(request, CommandName.ARM)

    @router.post("/disarm", response_model=Obeyed, responses=_COMMANDS)
    async def disarm(request: Request) -> JSONResponse:
        """Live trading takes no entries any more; open trades are managed on."""
        return await operations.command(request, CommandName.DISARM)

    @router.get("/status", response_model=OperatorStatus, responses=_DOCUMENTED)
    async def status(request: Request) -> JSONResponse:
        """Trading state and the risk tracker: R of the day, drawdowns, ramp, throttle, latency, exposure and every breaker."""
        return await operations.status(request)

    return router
