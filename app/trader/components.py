"""Component alerts on their way: the tags heard so far, lasting in the journal, and the signal they make together."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import structlog

from app.bus.envelopes import envelope_for
from app.bus.port import InboxItem
from app.clock import Clock
from app.domain.component_alerts import ComponentAlert
from app.domain.component_tags import HIGHER_TIMEFRAME
from app.domain.components import COMPOSITE_ID, Components, composite, conditions, heard, spent
from app.domain.guards import FUTURE_MS
from app.domain.instrument import Side
from app.domain.refusals import refuse
from app.domain.rules import TradingRules
from app.domain.signal import Alert
from app.domain.signal_rules import SignalRules
from app.domain.verdict import Refusal
from app.storage.port import Journal, JournalUnavailable, Note
from app.trader.replies import Reply, refusal_reply

log = structlog.get_logger(__name__)

TakeAlert = Callable[[InboxItem, Alert], Awaitable[Reply | None]]


class ComponentBook:
    """Every symbol's state, read once, written whenever it changes."""

    def __init__(self, journal: Journal, timeframe_ms: int) -> None:
        self._journal = journal
        self._timeframe_ms = timeframe_ms
        self._states: dict[str, Components] = {}

    async def of(self, symbol: str) -> Components:
        if symbol not in self._states:
            stored = await self._journal.read_state(_name(symbol))
            self._states[symbol] = self._readable(symbol, stored)
        return self._states[symbol]

    def _readable(self, symbol: str, stored: Any) -> Components:
        try:
            return Components.from_json(stored)
        except ValueError as error:
            log.error("components_forgotten", symbol=symbol, error=str(error))
            return Components.empty()

    async def keep(self, symbol: str, state: Components) -> None:
        """Durable before it counts."""
        if state != self._states.get(symbol):
            await self._journal.write_state(_name(symbol), state.to_json())
            self._states[symbol] = state

    async def trade_of(self, alert: Alert) -> str | None:
        """The trade this very signal became already: that of the composite of the same side and bar."""
        if alert.side is None or alert.bar_time_ms is None or is_composite(alert):
            return None
        taken = (await self.of(alert.symbol)).taken.get(alert.side)
        return taken.trade_id if taken is not None and taken.close_ms == alert.bar_time_ms + self._timeframe_ms else None

    async def traded(self, alert: Alert, trade_id: str) -> None:
        """Whatever route a signal took: the taps up to its bar have had theirs."""
        state = await self.of(alert.symbol)
        if alert.side is None or alert.bar_time_ms is None or not state.closes:
            return
        close_ms = alert.bar_time_ms + self._timeframe_ms
        try:
            await self.keep(alert.symbol, spent(state, alert.side, close_ms, trade_id if is_composite(alert) else ""))
        except JournalUnavailable as error:
            if is_composite(alert):
                raise  # its tag is delivered again at the next start, and this noted then
            log.error("tap_not_noted", trade_id=trade_id, error=str(error))


def is_composite(alert: Alert) -> bool:
    return alert.id is not None and alert.id.startswith(COMPOSITE_ID)


def _name(symbol: str) -> str:
    return f"components:{symbol}"


class ComponentIntake:
    """``take_alert`` is told the composite, once it is there, as if it had come by itself."""

    def __init__(
        self,
        book: ComponentBook,
        journal: Journal,
        rules: TradingRules,
        signals: SignalRules,
        clock: Clock,
        take_alert: TakeAlert,
    ) -> None:
        self._book = book
        self._journal = journal
        self._rules = rules
        self._signals = signals
        self._clock = clock
        self._take_alert = take_alert

    async def take(self, item: InboxItem, now_ms: int) -> Reply:
        """One tag: kept, then answered with what holds and what is missing. Repeating it changes nothing."""
        alert_id = item.envelope.alert_id
        try:
            tag = ComponentAlert.from_json(item.envelope.body)
        except ValueError as error:
            log.warning("alert_unreadable", alert_id=alert_id, reason=str(error))
            return refusal_reply(alert_id, refuse("bad_request", field="the stored alert"))
        if (refusal := self._fault(tag, now_ms)) is not None:
            log.info("tag_refused", alert_id=alert_id, code=refusal.code, reason=refusal.message)
            self._note(tag, now_ms, {"alert_id": alert_id, "code": refusal.code, "reason": refusal.message})
            return refusal_reply(alert_id, refusal)
        bar_ms = self._rules.timeframe_ms
        state = heard(await self._book.of(tag.symbol), tag, self._close_ms(tag), bar_ms)
        await self._book.keep(tag.symbol, state)
        found = composite(state, tag.symbol, self._signals, self._rules.timeframe_min)
        signal = None if found is None else await self._fire(item, found)
        self._note(tag, now_ms, {"alert_id": alert_id, "signal": signal})
        sides = {side: conditions(state, side, self._signals, bar_ms) for side in Side}
        return {
            "status": "component",
            "id": alert_id,
            "symbol": tag.symbol,
            "tag": tag.tag.value,
            "as_of_ms": state.now_ms,
            "conditions": {side.value: {"holds": list(six.holds), "missing": list(six.missing)} for side, six in sides.items()},
            "signal": signal,
        }

    def _close_ms(self, tag: ComponentAlert) -> int:
        """The end of the bar its time lies in."""
        interval_ms = self._minutes(tag) * 60_000
        return tag.bar_ms // interval_ms * interval_ms + interval_ms

    def _minutes(self, tag: ComponentAlert) -> int:
        """The length of the tag's bar; where it was not told, that of the chart such a tag belongs on."""
        return tag.tf_min or self._expected_minutes(tag)

    def _expected_minutes(self, tag: ComponentAlert) -> int:
        return self._signals.higher_timeframe_min if tag.tag in HIGHER_TIMEFRAME else self._rules.timeframe_min

    def _fault(self, tag: ComponentAlert, now_ms: int) -> Refusal | None:
        expected = self._expected_minutes(tag)
        if tag.symbol not in self._rules.traded:
            return refuse("symbol_not_traded", "symbol", symbol=tag.symbol, traded=", ".join(self._rules.traded))
        if self._minutes(tag) != expected:
            return refuse("tag_wrong_timeframe", tag=tag.tag, tf=f"{tag.tf_min} min", expected=f"{expected} min")
        if tag.bar_ms > now_ms + FUTURE_MS:
            return refuse("tag_time_ahead", seconds=round((tag.bar_ms - now_ms) / 1000))
        return None

    async def _fire(self, item: InboxItem, alert: Alert) -> Reply:
        """The composite goes the way of any alert. Its tap is spent whatever became of it, but only once that is journalled."""
        side, bar_time_ms = alert.side, alert.bar_time_ms
        if side is None or bar_time_ms is None:
            raise RuntimeError("a composite has a side and a bar")
        envelope = envelope_for(alert, b"", item.envelope.received_ms, item.envelope.received_at)
        reply = await self._take_alert(replace(item, envelope=envelope), alert)
        if reply is not None or await self._journal.alert(envelope.alert_id) is not None:  # else it waits for a trade to end
            state = await self._book.of(alert.symbol)
            await self._book.keep(alert.symbol, spent(state, side, bar_time_ms + self._rules.timeframe_ms))
        log.info("composite_fired", alert_id=envelope.alert_id, symbol=alert.symbol, side=side.value)
        return {"id": envelope.alert_id, "side": side.value, **_in_short(reply)}

    def _note(self, tag: ComponentAlert, now_ms: int, outcome: dict[str, Any]) -> None:
        self._journal.append(Note("", "component", now_ms, self._clock.wall_ms(), {**tag.to_json(), **outcome}))


def _in_short(reply: Reply | None) -> dict[str, Any]:
    if reply is None:
        return {"status": "trade planned"}
    if "code" in reply:
        return {"status": "refused", **{name: reply[name] for name in ("code", "guard", "reason", "error")}}
    return {"status": reply["status"]}
