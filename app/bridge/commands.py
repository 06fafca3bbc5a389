"""The operator's commands from the control API, out of their queue into the inbox, and what the trader made of them.

Who may command was decided by the Lambda; a command comes into force once, however often it is delivered.
"""

from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import structlog

from app.bridge.delivery import put_for_good
from app.bus.port import LASTING_S, AlertEnvelope, BusUnavailable, Inbox
from app.clock import Clock
from app.cloud.messages import QueuedCommand, UnreadableMessage
from app.cloud.queues import Message, SqsQueue
from app.cloud.topics import Notice, Severity
from app.domain.operator_requests import BadOperatorRequest, CommandName, OperatorRequest, read_request

log = structlog.get_logger(__name__)

LET_TRADE_WITHIN_MS, STOP_WITHIN_MS = 300_000, 900_000
ANSWER_WITHIN_S = 10.0
_REMEMBERED = 20
_LET_TRADE = frozenset({CommandName.ARM, CommandName.RESUME, CommandName.RESET})


class CommandBridge:
    """One that comes too late is not obeyed, and ``tell`` gets a notice of it: it was meant for other trades than today's.

    What stops trading or ends trades may be 15 minutes old, what lets trading begin again five.
    """

    def __init__(
        self,
        queue: SqsQueue,
        inbox: Inbox,
        clock: Clock,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        tell: Callable[[Notice], None],
    ) -> None:
        self._queue = queue
        self._inbox = inbox
        self._clock = clock
        self._spawn = spawn
        self._tell = tell
        self.outcomes: deque[dict[str, Any]] = deque(maxlen=_REMEMBERED)  # newest last

    async def carry(self, wait_s: int) -> int:
        """What waits in the queue, in order; how many that were. Raises CloudUnavailable."""
        messages = await self._queue.receive(wait_s)
        for message in messages:
            await self._take(message)
        return len(messages)

    async def _take(self, message: Message) -> None:
        try:
            command = QueuedCommand.decode(message.body)
            request = read_request(command.request)
        except (UnreadableMessage, BadOperatorRequest) as error:
            log.error("queued_command_unreadable", error=str(error), deliveries=message.deliveries)
            await self._queue.give_back(message)
            return
        age_ms = self._age_ms(message, command)
        if age_ms > (LET_TRADE_WITHIN_MS if request.command in _LET_TRADE else STOP_WITHIN_MS):
            self._expired(command, request, age_ms)
        else:
            await self._put(message, command, request)
        await self._queue.delete(message)

    def _expired(self, command: QueuedCommand, request: OperatorRequest, age_ms: int) -> None:
        if any(outcome["id"] == command.id for outcome in self.outcomes):
            return  # obeyed in time, or told already
        what = " ".join(request.to_json().values())
        log.warning("command_expired", id=command.id, command=what, age_ms=age_ms)
        self._remember(command, request, {"status": "expired"})
        words = f"It came to the node {age_ms // 60_000} minutes after it was given. Give it again if it is still meant."
        self._tell(Notice(Severity.WARNING, "command_expired", f"not obeyed, too late: {what}", words))

    async def _put(self, message: Message, command: QueuedCommand, request: OperatorRequest) -> None:
        name = f"operator-{command.id}"
        body = request.to_json()
        envelope = AlertEnvelope(name, f"command:{command.id}", LASTING_S, body, command.received_ms, 0.0, "operator")
        first = await put_for_good(self._inbox, envelope, lambda: self._age_ms(message, command), self._clock)
        if first is None:
            log.info("command_carried", id=command.id, **body)
            outcome = self._remember(command, request, {"status": "accepted"})
            self._spawn(self._hear(name, outcome))

    async def _hear(self, name: str, outcome: dict[str, Any]) -> None:
        """The trader's answer into the outcome, if it comes soon."""
        try:
            reply = await self._inbox.wait_reply(name, ANSWER_WITHIN_S)
        except BusUnavailable as error:
            log.warning("reply_unreadable", id=name, error=str(error))
            return
        if reply is not None:
            outcome |= _outcome_of(reply)

    def _remember(self, command: QueuedCommand, request: OperatorRequest, said: Mapping[str, Any]) -> dict[str, Any]:
        outcome = {"id": command.id, **request.to_json(), "received_ms": command.received_ms, **said}
        self.outcomes.append(outcome)
        return outcome

    def _age_ms(self, message: Message, command: QueuedCommand) -> int:
        return max(message.waited_ms, self._clock.wall_ms() - command.received_ms, 0)


def _outcome_of(reply: Mapping[str, Any]) -> dict[str, Any]:
    if reply.get("status") == "done":
        return {"status": "done"}
    return {"status": "refused", "code": str(reply.get("code", "")), "error": str(reply.get("error", ""))}
