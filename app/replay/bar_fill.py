"""``--fill bar``: the market of a simple, pessimistic backtest, for holding one against the other.

The venue answers at once, has no spread and fills every order whole. Inside a minute of the data, a symbol's adverse extreme
comes before its favourable one, as seen from the position held when the minute begins: stop before target.
"""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

from app.simulator.tape import Candle, Tape
from app.simulator.venue_market import BookShape

ENDLESS_BOOK = BookShape(endless=True)


class AdverseTape:
    """A tape whose minute turns against the positions told at its beginning; where flat, as the tape has it."""

    def __init__(self, tape: Tape) -> None:
        self._tape = tape
        self._minute_ms = 0
        self._held: Mapping[str, Decimal] = {}

    @property
    def symbols(self) -> tuple[str, ...]:
        return self._tape.symbols

    @property
    def first_ms(self) -> int:
        return self._tape.first_ms

    @property
    def start_ms(self) -> int:
        return self._tape.start_ms

    @property
    def end_ms(self) -> int | None:
        return self._tape.end_ms

    def begin(self, minute_ms: int, held: Mapping[str, Decimal]) -> None:
        self._minute_ms, self._held = minute_ms, held

    def candle(self, symbol: str, open_ms: int) -> Candle:
        candle = self._tape.candle(symbol, open_ms)
        held = self._held.get(symbol, Decimal(0)) if open_ms == self._minute_ms else Decimal(0)
        return replace(candle, low_first=held > 0) if held else candle
