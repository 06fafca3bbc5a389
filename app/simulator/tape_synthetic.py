"""A synthetic market: BTC, ETH and SOL from a seed, correlated, without end.

Per minute, BTC's log return is drawn with clustering volatility; an alt's is β times BTC's plus noise of its own, so sized
that their correlation is the given one. The same seed gives the same returns; the start time only dates them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import exp, log, sqrt
from random import Random

from app.domain.market import MINUTE_MS
from app.simulator.contracts import CONTRACTS
from app.simulator.tape import Candle, TapeError

_MINUTE_SD = 0.0004  # of BTC's log return: about 30 % a year
_VOLATILITY_MEMORY, _VOLATILITY_SHOCK = 0.97, 0.12
_WICK = 0.4  # standard deviations a candle reaches beyond its body, on average
_SCRIPTED_NOISE = 0.2  # of the usual noise that is left while a script runs


@dataclass(frozen=True, slots=True)
class Coin:
    symbol: str
    price: str
    beta: float
    correlation: float
    volume: float  # per quiet minute, in the base asset


COINS = (
    Coin("BTCUSDT", "85000", 1.0, 1.0, 60.0),
    Coin("ETHUSDT", "1800", 1.15, 0.82, 2_500.0),
    Coin("SOLUSDT", "140", 1.35, 0.8, 25_000.0),
)


@dataclass(frozen=True, slots=True)
class Segment:
    """BTC goes ``percent`` up or down over ``minutes``, evenly and with little noise; the alts follow by their β."""

    minutes: int
    percent: float


def parse_script(text: str) -> list[Segment]:
    """``MINUTES:PERCENT`` pairs with commas between, such as ``3:0.4,4:0.3,10:-0.5``. Raises TapeError."""
    segments = []
    for part in filter(None, text.split(",")):
        try:
            minutes, percent = part.split(":")
            segment = Segment(int(minutes), float(percent))
        except ValueError:
            raise TapeError(f"script: {part!r} is not MINUTES:PERCENT, such as 3:0.4") from None
        if segment.minutes < 1 or not -20 <= segment.percent <= 20:
            raise TapeError(f"script: {part!r} needs at least 1 minute and a move within ±20 percent")
        segments.append(segment)
    return segments


class SyntheticTape:
    """``history_minutes`` of the past end at the coins' prices at ``start_ms``; from there it goes on for ever."""

    end_ms = None

    def __init__(
        self,
        seed: int,
        start_ms: int,
        *,
        history_minutes: int = 6_000,
        coins: Sequence[Coin] = COINS,
        script: Sequence[Segment] = (),
    ) -> None:
        self.symbols = tuple(coin.symbol for coin in coins)
        self.start_ms = start_ms - start_ms % MINUTE_MS
        self.first_ms = self.start_ms - history_minutes * MINUTE_MS
        self._random = Random(seed)  # noqa: S311 - a market, not a secret
        self._coins = coins
        self._volatility = 0.0
        self._wobble = dict.fromkeys(self.symbols, 0.0)  # scripted noise still to be taken back
        self._levels: dict[str, list[float]] = {symbol: [0.0] for symbol in self.symbols}
        self._draws: dict[str, list[_Draw]] = {symbol: [] for symbol in self.symbols}
        self._script: list[float | None] = []
        for _ in range(history_minutes):
            self._draw_minute()
        self._base = {coin.symbol: log(float(coin.price)) - self._levels[coin.symbol][-1] for coin in coins}
        self._candles: dict[str, dict[int, Candle]] = {symbol: {} for symbol in self.symbols}
        self.script(script)

    @property
    def drawn_until_ms(self) -> int:
        """The minute that a script given now would start with."""
        return self.first_ms + len(self._draws[self.symbols[0]]) * MINUTE_MS

    def script(self, segments: Sequence[Segment]) -> int:
        """Follow ``segments`` from the next minute that nobody has asked for yet; returns when that is."""
        self._script += [segment.percent / 100 / segment.minutes for segment in segments for _ in range(segment.minutes)]
        return self.drawn_until_ms

    def candle(self, symbol: str, open_ms: int) -> Candle:
        found = self._candles[symbol].get(open_ms)
        if found is None:
            index = (open_ms - self.first_ms) // MINUTE_MS
            while index >= len(self._draws[symbol]):
                self._draw_minute()
            found = self._candles[symbol][open_ms] = self._build(symbol, index)
        return found

    def _draw_minute(self) -> None:
        """One minute of every coin. It always draws as many numbers, so a script changes prices but not the seed's noise."""
        drift = self._script.pop(0) if self._script else None
        normal = self._random.gauss
        self._volatility = _VOLATILITY_MEMORY * self._volatility + _VOLATILITY_SHOCK * normal(0, 1)
        deviation = _MINUTE_SD * exp(self._volatility) * (1 if drift is None else _SCRIPTED_NOISE)
        market = normal(0, deviation)
        for coin in self._coins:
            own = normal(0, coin.beta * deviation * sqrt(1 / coin.correlation**2 - 1))
            noise, wobble = coin.beta * market + own, self._wobble[coin.symbol]
            if drift is None:
                move, self._wobble[coin.symbol] = noise - wobble, 0.0
            else:
                move, self._wobble[coin.symbol] = coin.beta * drift + noise - wobble, noise
            self._levels[coin.symbol].append(self._levels[coin.symbol][-1] + move)
            above, below = abs(normal(0, _WICK * deviation)), abs(normal(0, _WICK * deviation))
            activity = exp(normal(0, 0.4)) * (1 + abs(move) / _MINUTE_SD)
            self._draws[coin.symbol].append(_Draw(above, below, coin.volume * activity))

    def _build(self, symbol: str, index: int) -> Candle:
        instrument = CONTRACTS[symbol].instrument
        start, end = (self._base[symbol] + level for level in self._levels[symbol][index : index + 2])
        draw = self._draws[symbol][index]

        def price(level: float) -> Decimal:
            return instrument.round_price(Decimal(exp(level)))

        return Candle(
            open_ms=self.first_ms + index * MINUTE_MS,
            open=price(start),
            high=price(max(start, end) + draw.above),
            low=price(min(start, end) - draw.below),
            close=price(end),
            volume=instrument.floor_quantity(Decimal(draw.volume)),
        )


@dataclass(frozen=True, slots=True)
class _Draw:
    above: float
    below: float
    volume: float
