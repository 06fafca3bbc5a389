"""Which conditions hold, by the tags heard so far, and when the six of a side make a signal. Pure; the trader keeps the state.

What a tag says holds from the close of its bar:

| tags | hold |
|------|------|
| HTF, CONF, TRAIL | until the opposite tag of a later bar |
| OB | ``block_bars`` bars from the last bar in the block on, that one included |
| HW | ``hyperwave_bars`` bars, its own included |
| NO_OVERFLOW | unless an overflow was told of and not its end (or, by setting, not for ``overflow_bars`` bars) |

Bars decide, never arrival: the state keeps the newest bar of each tag, so the order in which tags come, and how often each comes,
changes nothing. Both of a pair on the same bar: neither holds. "Now" is the close of the newest bar told of.

A side fires once per tap of its block. Hits on successive bars are one tap, and whatever signal was taken on a side, by tags or
by an alert of its own, spends every tap up to its bar.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from pydantic import TypeAdapter, ValidationError

from app.domain.component_alerts import ComponentAlert
from app.domain.component_tags import BLOCK_HIT, OPPOSITE, SIX, Tag
from app.domain.instrument import Side
from app.domain.signal import Action, Alert
from app.domain.signal_rules import SignalRules

COMPOSITE_ID = "tap:"
_TAPS_KEPT = 32


@dataclass(frozen=True, slots=True)
class Tap:
    """Successive bars that hit a block, by their closing times; the block's edges as last told."""

    first_ms: int
    last_ms: int
    top: Decimal | None = None
    bottom: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """A signal that became a trade: the close of its bar, and the trade."""

    close_ms: int
    trade_id: str


@dataclass(frozen=True, slots=True)
class Conditions:
    holds: tuple[Tag, ...]
    missing: tuple[Tag, ...]


@dataclass(frozen=True, slots=True)
class Components:
    """One symbol's state. Times are closing times of bars, Unix ms."""

    closes: Mapping[Tag, int]  # the newest bar of each tag
    taps: Mapping[Side, tuple[Tap, ...]]  # oldest first
    price: Decimal | None = None  # the chart's close on the newest bar
    spent: Mapping[Side, int] = field(default_factory=dict)  # up to which bar a side's taps have had their signal
    taken: Mapping[Side, Taken] = field(default_factory=dict)  # the last trade of a side's composite

    @classmethod
    def empty(cls) -> "Components":
        return cls({}, {})

    def to_json(self) -> dict[str, Any]:
        stored: dict[str, Any] = _ADAPTER.dump_python(self, mode="json")
        return stored

    @classmethod
    def from_json(cls, stored: Mapping[str, Any] | None) -> "Components":
        """Raises ValueError when it is damaged."""
        if stored is None:
            return cls.empty()
        try:
            return _ADAPTER.validate_python(stored)
        except ValidationError as error:
            raise ValueError(f"stored components are damaged: {error.error_count()} faults") from error

    @property
    def now_ms(self) -> int:
        return max(self.closes.values(), default=0)


_ADAPTER = TypeAdapter(Components)


def heard(state: Components, tag: ComponentAlert, close_ms: int, bar_ms: int) -> Components:
    """The state with one tag more, of a bar that closed at ``close_ms``; ``bar_ms`` is the length of a trading bar."""
    closes = {**state.closes, tag.tag: max(close_ms, state.closes.get(tag.tag, 0))}
    price = state.price
    if close_ms >= state.now_ms:
        price = tag.close or (price if close_ms == state.now_ms else None)
    side = BLOCK_HIT.get(tag.tag)
    taps = state.taps
    if side is not None:
        taps = {**taps, side: _with_hit(taps.get(side, ()), Tap(close_ms, close_ms, tag.ob_top, tag.ob_bottom), bar_ms)}
    return replace(state, closes=closes, taps=taps, price=price)


def _with_hit(taps: tuple[Tap, ...], hit: Tap, bar_ms: int) -> tuple[Tap, ...]:
    """Joined with the taps it touches; of old ones a few are enough."""
    apart = [tap for tap in taps if hit.first_ms > tap.last_ms + bar_ms or hit.last_ms < tap.first_ms - bar_ms]
    joined = hit
    for tap in (tap for tap in taps if tap not in apart):
        newer = tap if tap.last_ms > joined.last_ms or joined.top is None else joined
        first, last = min(tap.first_ms, joined.first_ms), max(tap.last_ms, joined.last_ms)
        joined = Tap(first, last, newer.top, newer.bottom)
    return tuple(sorted((*apart, joined), key=lambda tap: tap.first_ms)[-_TAPS_KEPT:])


def conditions(state: Components, side: Side, rules: SignalRules, bar_ms: int) -> Conditions:
    holds = {tag: _holds(state, side, tag, rules, bar_ms) for tag in SIX[side]}
    return Conditions(tuple(t for t in SIX[side] if holds[t]), tuple(t for t in SIX[side] if not holds[t]))


def _holds(state: Components, side: Side, tag: Tag, rules: SignalRules, bar_ms: int) -> bool:
    now_ms, told_ms = state.now_ms, state.closes.get(tag)
    if tag is Tag.NO_OVERFLOW:
        overflow_ms = state.closes.get(Tag.OVERFLOW)
        is_over = rules.overflow_bars > 0 and overflow_ms is not None and now_ms - overflow_ms >= rules.overflow_bars * bar_ms
        return overflow_ms is None or is_over or (told_ms or 0) > overflow_ms
    if told_ms is None:
        return False
    if tag in BLOCK_HIT:
        return now_ms - state.taps[side][-1].last_ms < rules.block_bars * bar_ms
    if tag in OPPOSITE:
        return told_ms > state.closes.get(OPPOSITE[tag], 0)
    return now_ms - told_ms < rules.hyperwave_bars * bar_ms


def composite(state: Components, symbol: str, rules: SignalRules, timeframe_min: int) -> Alert | None:
    """The alert of the side whose six hold on a tap that had no signal yet. Its id, and so its key, follows from symbol, side
    and tap; its bar is the newest one told of."""
    bar_ms = timeframe_min * 60_000
    for side in Side:
        taps = state.taps.get(side, ())
        if not taps or taps[-1].first_ms <= state.spent.get(side, 0):
            continue
        if conditions(state, side, rules, bar_ms).missing:
            continue
        tap = taps[-1]
        return Alert(
            symbol,
            Action(side.value),
            price=state.price,
            ob_top=tap.top,
            ob_bottom=tap.bottom,
            tf=str(timeframe_min),
            bar_time_ms=state.now_ms - bar_ms,
            id=f"{COMPOSITE_ID}{symbol}:{side}:{tap.first_ms}",
        )
    return None


def spent(state: Components, side: Side, close_ms: int, trade_id: str = "") -> Components:
    """A signal of that side and bar was taken; with ``trade_id``, it was the composite and became that trade."""
    until = max(close_ms, state.spent.get(side, 0))
    state = replace(state, spent={**state.spent, side: until})
    return replace(state, taken={**state.taken, side: Taken(close_ms, trade_id)}) if trade_id else state
