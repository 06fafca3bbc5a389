"""Equity as the value of a unit, as a fund counts it: deposits and withdrawals change the number of units, never the value."""

from dataclasses import dataclass, replace
from decimal import Decimal

from app.domain.risk.days import DAY_MS

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class DayHigh:
    day: int  # UTC days since 1970
    high: Decimal


@dataclass(frozen=True, slots=True)
class UnitValue:
    """USDT per unit; the first equity heard of is one unit's worth. ``reference`` is the all-time high, until a reset."""

    units: Decimal = Decimal(1)
    value: Decimal | None = None
    ath: Decimal = ZERO
    reference: Decimal = ZERO
    highs: tuple[DayHigh, ...] = ()  # one a day, oldest first

    @property
    def drawdown(self) -> Decimal:
        """From the all-time high, as a fraction of it; no reset makes it less."""
        return ZERO if self.value is None or self.ath <= 0 else 1 - self.value / self.ath

    @property
    def recent_high(self) -> Decimal:
        return max((day.high for day in self.highs), default=ZERO)

    def read(self, equity: Decimal, transferred: Decimal, at_ms: int, days: int) -> "UnitValue":
        """After reading ``equity``, which includes ``transferred`` USDT moved in (negative: out) since the reading before."""
        if self.value is None:
            value, units = equity, self.units
        else:
            value = (equity - transferred) / self.units
            units = equity / value if value > 0 and equity > 0 else self.units
        read = replace(self, units=units, value=value, ath=max(self.ath, value), reference=max(self.reference, value))
        return read._noted(at_ms // DAY_MS, days)

    def at(self, now_ms: int, days: int) -> "UnitValue":
        """As it stands then: highs older than ``days`` are forgotten."""
        return replace(self, highs=tuple(high for high in self.highs if high.day > now_ms // DAY_MS - days))

    def _noted(self, day: int, days: int) -> "UnitValue":
        value = ZERO if self.value is None else self.value
        day = max(day, self.highs[-1].day) if self.highs else day  # time does not run backwards
        today = max((high.high for high in self.highs if high.day == day), default=value)
        before = tuple(high for high in self.highs if day - days < high.day < day)
        return replace(self, highs=(*before, DayHigh(day, max(today, value))))

    def restarted(self) -> "UnitValue":
        """The stops measure from here on."""
        return replace(self, reference=ZERO if self.value is None else self.value)

    def window_restarted(self) -> "UnitValue":
        if self.value is None or not self.highs:
            return self
        return replace(self, highs=(DayHigh(self.highs[-1].day, self.value),))
