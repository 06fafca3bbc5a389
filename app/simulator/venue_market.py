"""One symbol's market: the last price, bid and ask around it, and a synthetic order book behind them."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from app.domain.instrument import Side
from app.domain.market import Quote
from app.simulator.contracts import Contract
from app.simulator.venue_types import ZERO, PriceMatch, WorkingType

Level = tuple[Decimal, Decimal]  # price, quantity
_BPS = Decimal("0.0001")
_ENDLESS = Decimal(1_000_000_000)


@dataclass(frozen=True, slots=True)
class BookShape:
    """How the synthetic book looks. It is whole again after each order: nothing we take stays missing.

    The spread is ``spread_bps`` of the price, at least one tick. Levels lie ``level_gap_bps`` apart (at least one tick);
    the best holds ``level_notional`` USDT, and each one behind it half a ``level_notional`` more than the one before.

    An ``endless`` book is that of a simple backtest: no spread, and any quantity at the last price. Orders fill whole; a
    post-only one at the last price fills at once, as maker.
    """

    spread_bps: Decimal = ZERO
    level_gap_bps: Decimal = Decimal("0.2")
    level_notional: Decimal = Decimal(200_000)
    endless: bool = False


class Market:
    def __init__(self, contract: Contract, shape: BookShape, price: Decimal) -> None:
        self.contract = contract
        self._shape = shape
        self.last = price
        self.premium = ZERO

    @property
    def mark(self) -> Decimal:
        """The last price, as the tapes know no index, unless a ``premium`` (a fraction of it) is set."""
        return self.last * (1 + self.premium) if self.premium else self.last

    def working(self, working_type: WorkingType) -> Decimal:
        return self.mark if working_type is WorkingType.MARK_PRICE else self.last

    def last_at(self, price: Decimal, working_type: WorkingType) -> Decimal:
        """The last price at which the working price is ``price``."""
        return price / (1 + self.premium) if self.premium and working_type is WorkingType.MARK_PRICE else price

    def _ticks(self, bps: Decimal) -> int:
        return max(1, int(self.last * bps * _BPS / self.contract.instrument.tick))

    def _spread_ticks(self) -> int:
        return 0 if self._shape.endless else self._ticks(self._shape.spread_bps)

    @property
    def bid(self) -> Decimal:
        """With a spread of one tick the last price is the bid; a wider one lies evenly around it."""
        return self.last - self._spread_ticks() // 2 * self.contract.instrument.tick

    @property
    def ask(self) -> Decimal:
        return self.bid + self._spread_ticks() * self.contract.instrument.tick

    def best(self, side: Side) -> Decimal:
        """The best price an order of ``side`` can take."""
        return self.ask if side is Side.BUY else self.bid

    def crosses(self, side: Side, price: Decimal) -> bool:
        """Would a limit order of ``side`` at ``price`` take at once?"""
        if self._shape.endless:
            return (price - self.last) * side.sign > 0
        return price >= self.ask if side is Side.BUY else price <= self.bid

    def levels(self, side: Side) -> Iterator[Level]:
        """What an order of ``side`` meets, best first, as far as ``price_band`` from the last price."""
        if self._shape.endless:
            yield self.last, _ENDLESS
            return
        instrument = self.contract.instrument
        gap = self._ticks(self._shape.level_gap_bps) * instrument.tick * side.sign
        bound = self.last * (1 + self.contract.price_band * side.sign)
        price, notional = self.best(side), self._shape.level_notional
        while (bound - price) * side.sign >= 0 and price > 0:
            yield price, max(instrument.floor_quantity(notional / price), instrument.step)
            price += gap
            notional += self._shape.level_notional / 2

    def matched_price(self, side: Side, match: PriceMatch) -> Decimal | None:
        """The nth best price of the other side or of one's own; None when the book does not go so deep."""
        book = side if match.value.startswith("OPPONENT") else side.opposite
        return next((price for number, (price, _) in enumerate(self.levels(book), start=1) if number == match.level), None)

    def take(self, side: Side, quantity: Decimal, limit: Decimal | None) -> list[Level]:
        """The executions of a marketable order: it walks the book up to ``limit``; the rest stays unfilled."""
        fills: list[Level] = []
        for price, available in self.levels(side):
            if quantity <= 0 or (limit is not None and (price - limit) * side.sign > 0):
                break
            fills.append((price, min(quantity, available)))
            quantity -= available
        return fills

    def quote(self, now_ms: int) -> Quote:
        bid, bid_quantity = next(self.levels(Side.SELL))
        ask, ask_quantity = next(self.levels(Side.BUY))
        return Quote(self.contract.symbol, bid, bid_quantity, ask, ask_quantity, now_ms)
