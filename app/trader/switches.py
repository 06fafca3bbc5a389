"""The trader's lasting switches: armed, paused, recoveries. In the journal, so that they outlive the process."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from app.clock import Clock
from app.domain.views import TradingState
from app.storage.port import Journal

_NAME = "switches"


@dataclass(frozen=True, slots=True)
class Switches:
    armed_key: str = ""  # fingerprint of the exchange key that was armed
    paused: str = ""  # why; empty when trading
    lives: int = 0  # starts of the trader so far

    @classmethod
    def from_json(cls, stored: Mapping[str, Any] | None) -> "Switches":
        return cls() if stored is None else cls(**stored)


class SwitchBoard:
    """Reads once at start; every change but a pause is durable before it counts."""

    def __init__(self, journal: Journal, key_fingerprint: str, live: bool, clock: Clock) -> None:
        self._journal = journal
        self._key = key_fingerprint
        self._live = live
        self._switches = Switches()
        self._clock = clock
        self.lease_until = 0.0  # monotonic; a process that was frozen finds its lease run out, not just unrenewed

    async def start(self) -> int:
        """Load, and count this start. Returns the number of starts so far."""
        stored = Switches.from_json(await self._journal.read_state(_NAME))
        await self._set(replace(stored, lives=stored.lives + 1))
        return self._switches.lives

    async def _set(self, switches: Switches) -> None:
        await self._journal.write_state(_NAME, asdict(switches))
        self._switches = switches

    @property
    def lives(self) -> int:
        """Starts so far, this one included."""
        return self._switches.lives

    @property
    def armed(self) -> bool:
        return not self._live or self._switches.armed_key == self._key

    @property
    def has_lease(self) -> bool:
        return self._clock.monotonic() < self.lease_until

    @property
    def paused(self) -> str:
        return self._switches.paused

    @property
    def may_open(self) -> bool:
        """Armed, with the lease, and not paused."""
        return self.armed and self.state is TradingState.ACTIVE

    @property
    def state(self) -> TradingState:
        if not self.has_lease or self._switches.paused:
            return TradingState.REDUCING
        return TradingState.ACTIVE

    async def arm(self) -> None:
        await self._set(replace(self._switches, armed_key=self._key))

    async def disarm(self) -> None:
        await self._set(replace(self._switches, armed_key=""))

    async def pause(self, reason: str) -> None:
        """Holds at once, durable or not: stopping never waits."""
        self._switches = replace(self._switches, paused=reason)
        await self._set(self._switches)

    async def resume(self) -> None:
        await self._set(replace(self._switches, paused=""))
