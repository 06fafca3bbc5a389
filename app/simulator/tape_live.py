"""The live market as a tape: recorded minutes up to now, trades and mark prices as they come.

It is filled by ``live`` and read by the runtime; it does no I/O. Between two trades the price stands still: a move is a jump.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from app.clock import Clock, ExchangeClock
from app.domain.instrument import Instrument
from app.domain.market import MINUTE_MS
from app.simulator.contracts import CONTRACTS
from app.simulator.tape import Candle
from app.simulator.venue import Tick
from app.simulator.venue_state import FUNDING_INTERVAL_MS, ConstantFunding


@dataclass(frozen=True, slots=True)
class LiveCandle(Candle):
    """As it stands; how it got there is not known."""

    def price_at(self, offset_ms: int, instrument: Instrument) -> Decimal:
        return self.close

    def bought_until(self, offset_ms: int, instrument: Instrument) -> Decimal:
        return self.bought or Decimal(0)

    def until(self, offset_ms: int, instrument: Instrument) -> Candle:
        return self


@dataclass(frozen=True, slots=True)
class LiveTrade:
    """``sold``: the taker sold."""

    time_ms: int
    tick: Tick
    sold: bool


class LiveTape:
    """``history``: closed minutes without gaps, oldest first, the same ones for every symbol."""

    end_ms = None

    def __init__(self, history: dict[str, list[Candle]], clock: Clock) -> None:
        self.symbols = tuple(history)
        self._candles = {symbol: {candle.open_ms: candle for candle in rows} for symbol, rows in history.items()}
        self.first_ms = max(rows[0].open_ms for rows in history.values())
        self.start_ms = min(rows[-1].open_ms for rows in history.values()) + MINUTE_MS
        self._last = {symbol: rows[-1].close for symbol, rows in history.items()}
        self._closed_until = dict.fromkeys(self.symbols, self.start_ms)
        self._told_until = self.start_ms
        self._trades: deque[LiveTrade] = deque()
        self._time = ExchangeClock(clock)
        self.premiums: dict[str, Decimal] = {}
        self.funding = LiveFunding()

    # -- read -------------------------------------------------------------------------------------------------------

    def candle(self, symbol: str, open_ms: int) -> Candle:
        """A minute without trades, or one that is not known yet, stands at the price before it."""
        found = self._candles[symbol].get(open_ms)
        if found is not None:
            return found
        price = self._last[symbol]
        return LiveCandle(open_ms, price, price, price, price, Decimal(0))

    def now_ms(self) -> int:
        return max(self._time.now_ms(), self.start_ms)

    def take_trades(self) -> list[LiveTrade]:
        taken = list(self._trades)
        self._trades.clear()
        return taken

    def take_closed(self) -> list[int]:
        """The ends of minutes that have closed for every symbol since the last call."""
        until = min(self._closed_until.values())
        ends = list(range(self._told_until + MINUTE_MS, until + 1, MINUTE_MS))
        self._told_until = max(self._told_until, until)
        return ends

    # -- filled by the live streams ---------------------------------------------------------------------------------

    def trade(self, symbol: str, time_ms: int, price: Decimal, quantity: Decimal, *, sold: bool) -> None:
        self._time.observe(time_ms)
        instrument = CONTRACTS[symbol].instrument
        price = instrument.round_price(price)
        self._last[symbol] = price
        tick = Tick(symbol, price, instrument.floor_quantity(quantity), jump=True)
        self._trades.append(LiveTrade(time_ms, tick, sold))

    def minute(self, symbol: str, candle: Candle, event_ms: int, *, closed: bool) -> None:
        self._time.observe(event_ms)
        self._candles[symbol][candle.open_ms] = candle
        if closed:
            self._closed_until[symbol] = max(self._closed_until[symbol], candle.open_ms + MINUTE_MS)

    def fill_gap(self, symbol: str, candles: Iterable[Candle]) -> None:
        """Closed minutes that were missed while the connection was down."""
        for candle in candles:
            self.minute(symbol, candle, candle.open_ms + MINUTE_MS, closed=True)

    def closed_until(self, symbol: str) -> int:
        return self._closed_until[symbol]

    def mark(self, symbol: str, time_ms: int, mark: Decimal, rate: Decimal, settlement_ms: int) -> None:
        self._time.observe(time_ms)
        self.premiums[symbol] = mark / self._last[symbol] - 1
        self.funding.rates[symbol, settlement_ms] = rate


class LiveFunding:
    """Rates as the mark price stream announces them, and past ones; where none is known, the constant one."""

    def __init__(self) -> None:
        self.rates: dict[tuple[str, int], Decimal] = {}

    def settled(self, symbol: str, time_ms: int, rate: Decimal) -> None:
        self.rates[symbol, round(time_ms / FUNDING_INTERVAL_MS) * FUNDING_INTERVAL_MS] = rate

    def rate(self, symbol: str, settlement_ms: int) -> Decimal:
        known = self.rates.get((symbol, settlement_ms))
        return ConstantFunding().rate(symbol, settlement_ms) if known is None else known
