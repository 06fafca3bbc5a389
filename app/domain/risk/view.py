"""What planning is told by the risk desk."""

from dataclasses import dataclass
from decimal import Decimal

from app.domain.instrument import Side
from app.domain.risk.breakers import Breaker, Trip
from app.domain.risk.calendar import Calendar


@dataclass(frozen=True, slots=True)
class OpenPosition:
    """``notional``: USDT at mark, negative for a short."""

    symbol: str
    notional: Decimal


@dataclass(frozen=True, slots=True)
class RiskView:
    """The default forbids nothing and changes nothing."""

    trips: tuple[Trip, ...] = ()
    drawdown: Decimal = Decimal(0)  # from the all-time high, transfers aside
    stage: int | None = None  # of the leverage ramp, from 0; None: there is no ramp
    leverage: int | None = None  # in force on the exchange; None: the setting's
    slow: bool = False  # the latency guard has tripped
    positions: tuple[OpenPosition, ...] = ()  # all that is open now, whoever opened it
    calendar: Calendar | None = None  # of high-impact events; None: none is configured

    def trip(self, *breakers: Breaker) -> Trip | None:
        """The first of these that is tripped."""
        return next((trip for trip in self.trips if trip.breaker in breakers), None)

    def side_of(self, symbol: str) -> Side | None:
        """Of what is open there; None: nothing, or not known."""
        held = sum((position.notional for position in self.positions if position.symbol == symbol), Decimal(0))
        return None if not held else Side.BUY if held > 0 else Side.SELL


CALM = RiskView()
