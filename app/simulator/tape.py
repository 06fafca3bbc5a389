"""Tapes: where the simulated market's prices come from, asked for any millisecond.

A tape holds 1-minute candles. Each is replayed as one fixed path: open at 0 s, the extreme nearer to the open at 20 s, the
other at 40 s, the close at 59.999 s, straight lines between, volume spread evenly. Whoever steps through every waypoint
sees the whole candle, whatever the step between them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Protocol

from app.domain.instrument import Instrument, floor_step, round_tick
from app.domain.market import MINUTE_MS
from app.simulator.contracts import CONTRACTS
from app.simulator.venue import Tick

WAYPOINTS_MS = (0, 20_000, 40_000, 59_999)


class TapeError(Exception):
    """A tape that cannot be used; the text names file, row and column where there are any, and the fix."""


@dataclass(frozen=True, slots=True)
class Candle:
    open_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    low_first: bool | None = None  # None: the extreme nearer to the open comes first
    bought: Decimal | None = None  # of the volume, by takers; None: as ``buy_share`` has it

    @property
    def path(self) -> tuple[Decimal, Decimal, Decimal, Decimal]:
        """Prices at ``WAYPOINTS_MS``; with both extremes equally near, the low comes first."""
        high_first = self.high - self.open < self.open - self.low if self.low_first is None else not self.low_first
        if high_first:
            return self.open, self.high, self.low, self.close
        return self.open, self.low, self.high, self.close

    def price_at(self, offset_ms: int, instrument: Instrument) -> Decimal:
        path = self.path
        for index in range(len(path) - 1):
            start, end = WAYPOINTS_MS[index], WAYPOINTS_MS[index + 1]
            if offset_ms <= end:
                way = (path[index + 1] - path[index]) * (offset_ms - start) / (end - start)
                return round_tick(path[index] + way, instrument.tick)
        return self.close

    def volume_until(self, offset_ms: int, instrument: Instrument) -> Decimal:
        end = WAYPOINTS_MS[-1]
        return self.volume if offset_ms >= end else floor_step(self.volume * offset_ms / end, instrument.step)

    @property
    def buy_share(self) -> Decimal:
        """What takers buy of the volume: half, and up to a quarter more or less as the candle closes above or below its open."""
        if self.high == self.low:
            return Decimal("0.5")
        return (2 + (self.close - self.open) / (self.high - self.low)) / 4

    def bought_until(self, offset_ms: int, instrument: Instrument) -> Decimal:
        """Of ``volume_until``, what takers bought."""
        if self.bought is not None:
            return self.bought
        return floor_step(self.volume_until(offset_ms, instrument) * self.buy_share, instrument.step)

    def until(self, offset_ms: int, instrument: Instrument) -> "Candle":
        """The candle as it stands ``offset_ms`` into its minute."""
        if offset_ms >= WAYPOINTS_MS[-1]:
            return self
        last = self.price_at(offset_ms, instrument)
        passed = [p for at, p in zip(WAYPOINTS_MS, self.path, strict=True) if at <= offset_ms] + [last]
        volume = self.volume_until(offset_ms, instrument)
        return Candle(self.open_ms, self.open, max(passed), min(passed), last, volume)


class Tape(Protocol):
    """``first_ms``: the oldest minute; ``start_ms``: where trading starts; ``end_ms``: after the last minute, or None."""

    @property
    def symbols(self) -> tuple[str, ...]: ...

    @property
    def first_ms(self) -> int: ...

    @property
    def start_ms(self) -> int: ...

    @property
    def end_ms(self) -> int | None: ...

    def candle(self, symbol: str, open_ms: int) -> Candle:
        """The whole candle of a minute from ``first_ms`` on and before ``end_ms``."""


def prices_at(tape: Tape, ms: int) -> dict[str, Decimal]:
    minute, offset = ms - ms % MINUTE_MS, ms % MINUTE_MS
    return {s: tape.candle(s, minute).price_at(offset, CONTRACTS[s].instrument) for s in tape.symbols}


def step_times(from_ms: int, to_ms: int, step_ms: int) -> Iterator[int]:
    """The moments in (from, to] to step through: every waypoint, every multiple of ``step_ms``, and the end."""
    at = from_ms
    while at < to_ms:
        minute = at - at % MINUTE_MS
        waypoint = next((minute + w for w in WAYPOINTS_MS if minute + w > at), minute + MINUTE_MS)
        at = min(waypoint, at - at % step_ms + step_ms, to_ms)
        yield at


def ticks(tape: Tape, from_ms: int, to_ms: int) -> list[Tick]:
    """How each symbol moves from one moment of ``step_times`` to the next. A minute's open is a jump from the last close."""
    minute, offset = to_ms - to_ms % MINUTE_MS, to_ms % MINUTE_MS
    moves = []
    for symbol in tape.symbols:
        candle, instrument = tape.candle(symbol, minute), CONTRACTS[symbol].instrument
        before = candle.volume_until(max(0, from_ms - minute), instrument)
        volume = candle.volume_until(offset, instrument) - before
        moves.append(Tick(symbol, candle.price_at(offset, instrument), volume, jump=offset == 0))
    return moves


def merge(candles: Sequence[Candle], open_ms: int) -> Candle:
    """One longer candle of one or more shorter ones in sequence."""
    return Candle(
        open_ms=open_ms,
        open=candles[0].open,
        high=max(candle.high for candle in candles),
        low=min(candle.low for candle in candles),
        close=candles[-1].close,
        volume=sum((candle.volume for candle in candles), Decimal(0)),
    )


def bar_at(tape: Tape, symbol: str, interval_ms: int, open_ms: int, now_ms: int) -> Candle:
    """The bar of ``interval_ms`` that opened at ``open_ms``, as it stands at ``now_ms``."""
    instrument = CONTRACTS[symbol].instrument
    minutes, bought = [], Decimal(0)
    for minute in range(max(open_ms, tape.first_ms), min(open_ms + interval_ms, now_ms + 1), MINUTE_MS):
        candle = tape.candle(symbol, minute)
        bought += candle.bought_until(now_ms - minute, instrument)
        minutes.append(candle.until(now_ms - minute, instrument) if now_ms < minute + MINUTE_MS else candle)
    return replace(merge(minutes, open_ms), bought=bought)


def bars(
    tape: Tape, symbol: str, interval_ms: int, limit: int, now_ms: int, since_ms: int | None, until_ms: int | None
) -> list[Candle]:
    """Up to ``limit`` bars, oldest first, the forming one last: the newest up to ``until_ms``, or the first from ``since_ms``.

    Bars are aligned to the Unix epoch; one that began before the tape did is left out.
    """
    first = -(-tape.first_ms // interval_ms) * interval_ms
    newest = min(now_ms, now_ms if until_ms is None else until_ms) // interval_ms * interval_ms
    if since_ms is None:
        begin = max(first, newest - (limit - 1) * interval_ms)
    else:
        begin = max(first, -(-since_ms // interval_ms) * interval_ms)
        newest = min(newest, begin + (limit - 1) * interval_ms)
    return [bar_at(tape, symbol, interval_ms, at, now_ms) for at in range(begin, newest + 1, interval_ms)]
