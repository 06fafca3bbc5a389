"""The operator's commands carried out, and the pause, whoever asks for it."""

from collections.abc import Callable, Mapping
from typing import Any

import structlog

from app.clock import Clock, ExchangeClock
from app.domain.trade.messages import ExitRequested, StopBuying
from app.storage.port import Journal, JournalUnavailable, Note
from app.trader.desk import Desk
from app.trader.operator import UnknownCommand, parse_command
from app.trader.switches import SwitchBoard

log = structlog.get_logger(__name__)

Status = Callable[[], Mapping[str, Any]]


class Control:
    def __init__(
        self, journal: Journal, desk: Desk, switches: SwitchBoard, clock: Clock, exchange_clock: ExchangeClock, status: Status
    ) -> None:
        self._journal = journal
        self._desk = desk
        self._switches = switches
        self._clock = clock
        self._exchange_clock = exchange_clock
        self._status = status

    async def obey(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """An operator's command. Raises JournalUnavailable where it could not be made to last."""
        try:
            command = parse_command(body)
        except UnknownCommand as error:
            return {"http_status": 422, "success": False, "code": "unknown_command", "error": str(error), "suggestions": []}
        match command:
            case "arm":
                await self._switches.arm()
            case "disarm":
                await self._switches.disarm()
            case "pause":
                self._desk.tell_all(StopBuying())
                await self.pause("operator")
            case "resume":
                await self._switches.resume()
            case "flatten":
                self._desk.tell_all(ExitRequested("operator"))
        self._note(f"operator_{command}", {})
        return {"status": "done", "command": command, "state": self._status()}

    async def pause(self, reason: str) -> None:
        """Durable, so that a restart does not resume; kept in this process even where the journal cannot be written."""
        log.error("trading_paused", reason=reason)
        try:
            await self._switches.pause(reason)
        except JournalUnavailable as error:
            log.error("pause_not_durable", error=str(error))
        self._note("paused", {"reason": reason})

    def _note(self, kind: str, data: Mapping[str, Any]) -> None:
        self._journal.append(Note("", kind, self._exchange_clock.now_ms(), self._clock.wall_ms(), data))
