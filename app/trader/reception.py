"""Whatever lies in the inbox, one item after the other: alerts go to the intake, the operator's words to the control."""

from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any

import structlog

from app.bus import port
from app.bus.port import ADVANCED_SOURCE, BusUnavailable, Inbox, InboxItem
from app.clock import Clock
from app.domain.advanced_answers import Answer
from app.domain.refusals import refuse
from app.domain.requests import AdvancedAction
from app.storage.port import JournalUnavailable
from app.trader.advanced import AdvancedTrading
from app.trader.control import Control
from app.trader.intake import Intake
from app.trader.replies import refusal_reply
from app.trader.switches import SwitchBoard

log = structlog.get_logger(__name__)

RETRY_S = 0.5
TAKE_TIMEOUT_S = 1.0


class Reception:
    """The advanced webhook's requests ask the exchange many things and are carried out apart: no alert waits for them.

    What may open something waits for ``begin_trading``; the operator's commands and closes never do.
    """

    def __init__(
        self,
        inbox: Inbox,
        intake: Intake,
        control: Control,
        advanced: AdvancedTrading,
        key_change: Callable[[], Awaitable[Answer]],
        switches: SwitchBoard,
        clock: Clock,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._inbox = inbox
        self._intake = intake
        self._control = control
        self._advanced = advanced
        self._key_change = key_change
        self._switches = switches
        self._clock = clock
        self._spawn = spawn
        self._waiting: deque[tuple[InboxItem, float]] | None = deque()  # until trading begins, and since when (monotonic)

    async def begin_trading(self) -> None:
        """Every symbol is prepared: what waited for that has its turn, in its order and as old as it is by now."""
        while self._waiting:
            item, since = self._waiting.popleft()
            waited_ms = round((self._clock.monotonic() - since) * 1000)
            await self._begin(replace(item, age_ms=item.age_ms + waited_ms))
        self._waiting = None

    async def receive(self) -> None:
        while True:
            try:
                for item in await self._take():
                    if self._waiting is not None and (_may_open(item) or self._comes_after_an_opening(item)):
                        self._waiting.append((item, self._clock.monotonic()))
                    else:
                        await self._begin(item)
            except BusUnavailable as error:
                log.warning("inbox_unreachable", error=str(error))
                await self._clock.sleep(RETRY_S)

    def _comes_after_an_opening(self, item: InboxItem) -> bool:
        """A close does not overtake what it is to close."""
        symbol = item.envelope.body.get("symbol") if item.envelope.source == ADVANCED_SOURCE else None
        return symbol is not None and any(
            waiting.envelope.source == ADVANCED_SOURCE and waiting.envelope.body.get("symbol") == symbol
            for waiting, _ in self._waiting or ()
        )

    async def _begin(self, item: InboxItem) -> None:
        if item.envelope.source == ADVANCED_SOURCE:
            self._spawn(self.handle(item))
        else:
            await self.handle(item)

    async def _take(self) -> Sequence[InboxItem]:
        """Only the holder of the lease takes from the inbox: what it left belongs to the next one."""
        while not self._switches.has_lease:
            await self._clock.sleep(RETRY_S)
        return await self._inbox.take(TAKE_TIMEOUT_S)

    async def handle(self, item: InboxItem) -> None:
        """One alert or command. An inbox or journal that fails meanwhile costs its answer, never the next item or a trade."""
        alert_id = item.envelope.alert_id
        try:
            reply = await self._answer_of(item)
        except JournalUnavailable as error:
            log.error("alert_not_taken", alert_id=alert_id, error=str(error))
            await self.reply(alert_id, {**refusal_reply(alert_id, refuse("journal_unavailable")), "http_status": 503})
            return  # not done: the next start finds it, and it will be too old to trade
        if reply is not None:
            await self.reply(alert_id, reply)
        else:
            await self._clock.sleep(0)  # a trade has begun: its entry goes first
        if self._intake.is_waiting(item):
            return  # a start finds it again
        try:
            await self._inbox.done(item)
        except BusUnavailable as error:
            log.warning("item_not_done", alert_id=alert_id, error=str(error))

    async def _answer_of(self, item: InboxItem) -> Mapping[str, Any] | None:
        match item.envelope.source:
            case port.OPERATOR_SOURCE:
                return await self._control.obey(item.envelope.body)
            case port.ADVANCED_SOURCE:
                return await self._advanced.take(item)
            case port.CONFIG_SOURCE:
                return await self._key_change()
            case _:
                return await self._intake.take(item)

    async def reply(self, alert_id: str, reply: Mapping[str, Any]) -> None:
        try:
            await self._inbox.reply(alert_id, reply)
        except BusUnavailable as error:
            log.warning("reply_not_delivered", alert_id=alert_id, error=str(error))


def _may_open(item: InboxItem) -> bool:
    envelope = item.envelope
    if envelope.source == ADVANCED_SOURCE:
        return bool(envelope.body.get("action") != AdvancedAction.CLOSE)
    return envelope.source not in (port.OPERATOR_SOURCE, port.CONFIG_SOURCE)
