"""R won and lost: on the UTC day, per side, and within 24 hours. Days are counted by exchange time and never run backwards."""

from dataclasses import dataclass, replace
from decimal import Decimal

from app.domain.instrument import Side

DAY_MS = 86_400_000
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class OpenR:
    """R of the open trades, if they were closed now, cost included."""

    long: Decimal = ZERO
    short: Decimal = ZERO

    @property
    def total(self) -> Decimal:
        return self.long + self.short

    @property
    def is_flat(self) -> bool:
        return not self.long and not self.short


FLAT = OpenR()


@dataclass(frozen=True, slots=True)
class Result:
    at_ms: int
    r: Decimal


@dataclass(frozen=True, slots=True)
class DayBook:
    """Closed R. ``seen_ms`` is the latest time heard of; ``window`` holds the results of the last 24 hours."""

    seen_ms: int = 0
    total_r: Decimal = ZERO
    long_r: Decimal = ZERO
    short_r: Decimal = ZERO
    window: tuple[Result, ...] = ()

    @property
    def day(self) -> int:
        return self.seen_ms // DAY_MS

    @property
    def window_r(self) -> Decimal:
        return sum((result.r for result in self.window), ZERO)

    def at(self, now_ms: int) -> "DayBook":
        """As it stands then: a new day begins at nothing, results a day old leave the window. A time gone by changes nothing."""
        if now_ms <= self.seen_ms:
            return self
        window = tuple(result for result in self.window if result.at_ms > now_ms - DAY_MS)
        if now_ms // DAY_MS == self.day:
            return replace(self, seen_ms=now_ms, window=window)
        return DayBook(now_ms, window=window)

    def closed(self, side: Side, r: Decimal, at_ms: int) -> "DayBook":
        """With one more result. One of a day gone by counts within its 24 hours only."""
        book = self.at(at_ms)
        if at_ms > book.seen_ms - DAY_MS:
            book = replace(book, window=(*book.window, Result(at_ms, r)))
        if at_ms // DAY_MS < book.day:
            return book
        if side is Side.BUY:
            return replace(book, total_r=book.total_r + r, long_r=book.long_r + r)
        return replace(book, total_r=book.total_r + r, short_r=book.short_r + r)
