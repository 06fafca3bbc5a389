"""Our own request budget, driven by what Binance's answers say is used up.

It replaces ccxt's throttler, which makes every order wait for the cost of the one before. Nothing is ever queued here: a request
that does not fit is refused at once with ``RateLimited``. The last part of each limit is kept for protection: stops, reduce-only
orders, cancels and the questions that settle an unknown outcome.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from app.clock import Clock
from app.exchange.errors import RateLimited

_BANNED_UNTIL = re.compile(r"banned until (\d{13})")
_ORDER_WINDOW_S = 10.0


class Priority(Enum):
    """The share of each limit a request may use up."""

    NORMAL = 0.8
    PROTECTIVE = 0.98


@dataclass(slots=True)
class _Window:
    """One limit of Binance's: a counter that starts anew with every full ``seconds`` of its clock."""

    header: str
    seconds: int
    limit: int
    used: int = 0
    index: int = field(default=-1)

    def _turn(self, now_ms: int) -> None:
        index = now_ms // (self.seconds * 1000)
        if index != self.index:
            self.index, self.used = index, 0

    def fits(self, cost: int, share: float, now_ms: int) -> bool:
        self._turn(now_ms)
        return cost == 0 or self.used + cost <= self.limit * share

    def spend(self, cost: int) -> None:
        self.used += cost

    def observe(self, headers: Mapping[str, str], now_ms: int) -> None:
        value = headers.get(self.header)
        if value is not None and value.isdigit():
            self._turn(now_ms)
            self.used = max(self.used, int(value))

    def seconds_left(self, now_ms: int) -> float:
        return self.seconds - (now_ms / 1000) % self.seconds


class Budget:
    """Request weight per address and order counts per account. ``now_ms`` is Binance's clock, whose windows these are."""

    def __init__(
        self, clock: Clock, weight_per_minute: int = 2400, orders_per_minute: int = 1200, orders_per_10s: int = 300
    ) -> None:
        self._clock = clock
        self._weight = _Window("x-mbx-used-weight-1m", 60, weight_per_minute)
        self._orders = (
            _Window("x-mbx-order-count-10s", 10, orders_per_10s),
            _Window("x-mbx-order-count-1m", 60, orders_per_minute),
        )
        self._blocked_until = 0.0
        self._orders_blocked_until = 0.0

    def set_limits(self, weight_per_minute: int, orders_per_minute: int, orders_per_10s: int) -> None:
        """As exchangeInfo states them; the demo exchange allows more."""
        self._weight.limit = weight_per_minute
        self._orders[0].limit, self._orders[1].limit = orders_per_10s, orders_per_minute

    def admit(self, weight: int, orders: int, priority: Priority, now_ms: int) -> None:
        """Take the cost off the budget. Raises RateLimited with the seconds to wait when it does not fit."""
        now = self._clock.monotonic()
        blocked = max(self._blocked_until, self._orders_blocked_until if orders else 0.0)
        if blocked > now:
            raise RateLimited(f"Binance asked us to stop sending for another {blocked - now:.1f} s", retry_after=blocked - now)
        for window, cost in ((self._weight, weight), *((window, orders) for window in self._orders)):
            if not window.fits(cost, priority.value, now_ms):
                raise RateLimited(
                    f"our own budget is used up: {window.header} is at {window.used} of {window.limit}",
                    retry_after=window.seconds_left(now_ms),
                )
        self._weight.spend(weight)
        for window in self._orders:
            window.spend(orders)

    def observe(self, headers: Mapping[str, str], now_ms: int) -> None:
        """Read an answer's headers. ``headers`` has lower-case names."""
        for window in (self._weight, *self._orders):
            window.observe(headers, now_ms)

    def limited(self, status: int, code: int, headers: Mapping[str, str], body: str, now_ms: int) -> float:
        """Binance said 429, 418, -1003 or -1015: stop, and return for how many seconds."""
        wait = self._stated_wait(headers, body, now_ms)
        if wait is None:
            wait = _ORDER_WINDOW_S if code == -1015 else 120.0 if status == 418 else self._weight.seconds_left(now_ms)
        until = self._clock.monotonic() + wait
        if code == -1015:
            self._orders_blocked_until = max(self._orders_blocked_until, until)
        else:
            self._blocked_until = max(self._blocked_until, until)
        return wait

    @staticmethod
    def _stated_wait(headers: Mapping[str, str], body: str, now_ms: int) -> float | None:
        retry_after = headers.get("retry-after", "")
        if retry_after.isdigit():
            return float(retry_after)
        if banned := _BANNED_UNTIL.search(body):
            return max(0.0, (int(banned[1]) - now_ms) / 1000)
        return None
