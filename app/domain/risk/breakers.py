"""The breakers by name, what each does when it trips, and the events of their trips and resumes."""

from dataclasses import dataclass
from enum import StrEnum

from app.domain.instrument import Side


class Breaker(StrEnum):
    DAY_ENTRIES = "day_entries"  # −2.5 R on the UTC day: no new entries
    DAY_HALT = "day_halt"  # −3 R on the UTC day: everything is closed, too
    ROLLING_24H = "rolling_24h"  # −3 R within 24 hours
    LONG_SIDE = "long_side"  # −3 R of the day's longs
    SHORT_SIDE = "short_side"
    ATH_STOP = "ath_stop"  # 6 % below the all-time high: everything is closed, and only the operator resumes
    ATH_R = "ath_r"  # 6 R below the all-time high
    HIGH_R = "high_r"  # 6 R below the 20-day high
    LATENCY = "latency"  # orders are slow: lower leverage, less risk

    @property
    def flattens(self) -> bool:
        """Its trip closes every open trade."""
        return self in (Breaker.DAY_HALT, Breaker.ATH_STOP)

    @property
    def halts(self) -> bool:
        """While it is tripped nothing is opened, on whichever side."""
        return self not in (Breaker.LONG_SIDE, Breaker.SHORT_SIDE, Breaker.LATENCY)

    @property
    def is_of_the_day(self) -> bool:
        """It resumes at 00:00 UTC."""
        return self in (Breaker.DAY_ENTRIES, Breaker.DAY_HALT, Breaker.LONG_SIDE, Breaker.SHORT_SIDE)

    @classmethod
    def of_side(cls, side: Side) -> "Breaker":
        return cls.LONG_SIDE if side is Side.BUY else cls.SHORT_SIDE


@dataclass(frozen=True, slots=True)
class Trip:
    """A breaker that is tripped. ``at_ms`` is exchange time."""

    breaker: Breaker
    cause: str
    at_ms: int


class Change(StrEnum):
    TRIPPED = "tripped"
    RESUMED = "resumed"


@dataclass(frozen=True, slots=True)
class RiskEvent:
    """For journal, bus and metrics. The trader acts on ``breaker.flattens`` when one is tripped."""

    breaker: Breaker
    change: Change
    cause: str
    at_ms: int
