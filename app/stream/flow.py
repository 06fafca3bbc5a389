"""Trades and closed minutes in, volume delta out."""

from dataclasses import asdict, dataclass

from app.domain.market import Bar, FlowReading
from app.indicators.volume_delta import VolumeDelta


@dataclass(frozen=True, slots=True)
class AggregateTrade:
    """Trades of one taker at one price. ``time_ms`` is the event's time, ``traded_ms`` the trade's; ids run on by one."""

    symbol: str
    trade_id: int
    quantity: float
    is_sell: bool  # the taker sold: the buyer was the maker
    traded_ms: int
    time_ms: int


class FlowBook:
    """Every symbol's volume delta. A symbol whose candles do not tell what takers bought never has a reading."""

    def __init__(self, symbols: tuple[str, ...]) -> None:
        self._deltas = {symbol: VolumeDelta() for symbol in symbols}
        self._news: set[str] = set()

    def take(self, trade: AggregateTrade) -> None:
        if (delta := self._deltas.get(trade.symbol)) is not None:
            delta.trade(trade.trade_id, trade.traded_ms, trade.quantity, is_sell=trade.is_sell)
            self._news.add(trade.symbol)

    def settle(self, minute: Bar) -> None:
        if minute.delta is not None:
            self._deltas[minute.symbol].settle(minute.open_ms, minute.delta)

    def news(self) -> list[FlowReading]:
        """The readings of symbols that have traded since the last call."""
        found = {symbol: self._deltas[symbol].reading() for symbol in sorted(self._news)}
        self._news.clear()
        return [FlowReading(symbol, **asdict(flow)) for symbol, flow in found.items() if flow is not None]
