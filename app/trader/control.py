"""The operator's commands carried out, and the pause, whoever asks for it."""

from collections.abc import Callable, Mapping
from typing import Any

import structlog

from app.clock import Clock, ExchangeClock
from app.domain.operator_requests import BadOperatorRequest, CommandName, OperatorRequest, read_request
from app.domain.refusals import refuse
from app.domain.trade.messages import ExitRequested, StopBuying
from app.domain.verdict import Refusal
from app.storage.port import Journal, JournalUnavailable, Note
from app.telemetry.metrics import Metrics
from app.trader.desk import Desk
from app.trader.risk_desk import RiskDesk
from app.trader.switches import SwitchBoard

log = structlog.get_logger(__name__)

Status = Callable[[], Mapping[str, Any]]


class Control:
    def __init__(
        self,
        journal: Journal,
        desk: Desk,
        switches: SwitchBoard,
        risk: RiskDesk,
        clock: Clock,
        exchange_clock: ExchangeClock,
        metrics: Metrics,
        status: Status,
    ) -> None:
        self._journal = journal
        self._desk = desk
        self._switches = switches
        self._risk = risk
        self._clock = clock
        self._exchange_clock = exchange_clock
        self._metrics = metrics
        self._status = status

    async def obey(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """An operator's command. Raises JournalUnavailable where it could not be made to last."""
        try:
            request = read_request(body)
        except BadOperatorRequest as error:
            return _refused(refuse("unknown_command", detail=error))
        refusal = await self._carry_out(request)
        if refusal is not None:
            return _refused(refusal)
        self._note(f"operator_{request.command}", request.to_json())
        return {"status": "done", "command": request.command.value, "state": self._status()}

    async def _carry_out(self, request: OperatorRequest) -> Refusal | None:
        match request.command:
            case CommandName.ARM:
                await self._switches.arm()
            case CommandName.DISARM:
                await self._switches.disarm()
            case CommandName.PAUSE:
                self._desk.tell_all(StopBuying())
                await self.pause("operator")
            case CommandName.RESUME:
                await self._switches.resume()
            case CommandName.FLATTEN:
                self._desk.tell_all(ExitRequested("operator"))
            case CommandName.CLOSE:
                if request.trade_id not in self._desk.trades:
                    return refuse("trade_not_live", trade_id=request.trade_id)
                self._desk.tell(request.trade_id, ExitRequested("operator"))
            case CommandName.RESET:
                if request.breaker is None or not await self._risk.reset(request.breaker):
                    return refuse("breaker_not_tripped", breaker=request.breaker)
        return None

    async def pause(self, reason: str) -> None:
        """Durable, so that a restart does not resume; kept in this process even where the journal cannot be written."""
        log.error("trading_paused", reason=reason)
        try:
            await self._switches.pause(reason)
        except JournalUnavailable as error:
            log.error("pause_not_durable", error=str(error))
        self._note("paused", {"reason": reason})
        self._metrics.emit({"paused": 1}, reason=reason)

    def _note(self, kind: str, data: Mapping[str, Any]) -> None:
        self._journal.append(Note("", kind, self._exchange_clock.now_ms(), self._clock.wall_ms(), data))


def _refused(refusal: Refusal) -> Mapping[str, Any]:
    return {
        "http_status": 422,
        "success": False,
        "code": refusal.code,
        "error": refusal.message,
        "suggestions": list(refusal.suggestions),
    }
