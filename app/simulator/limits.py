"""Request weights and order counts: told in the answers' headers, and refused with 429, then 418, beyond the limits."""

from collections.abc import Callable
from dataclasses import dataclass

from app.simulator.wire import Json

_ORDER_WINDOW_S, _MINUTE_S = 10, 60
_PATIENCE = 20  # requests after a 429 until the address is banned
_FIRST_BAN_S, _LONGEST_BAN_S = 120.0, 3 * 86_400.0


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """What exchangeInfo announces: request weight a minute and address, orders a minute and 10 seconds and account."""

    weight_1m: int = 2_400
    orders_1m: int = 1_200
    orders_10s: int = 300

    def times(self, factor: int) -> "RequestLimits":
        """For load tests, which would otherwise measure the limits."""
        return RequestLimits(self.weight_1m * factor, self.orders_1m * factor, self.orders_10s * factor)


BINANCE_LIMITS = RequestLimits()


class HttpRefusal(Exception):
    """An answer by HTTP status rather than by the venue: limits, overload, outage."""

    def __init__(self, status: int, code: int | None, msg: str, retry_after_s: float | None = None) -> None:
        super().__init__(f"{status}: {code}: {msg}")
        self.status = status
        self.body: Json = {"msg": msg} if code is None else {"code": code, "msg": msg}
        self.headers = {} if retry_after_s is None else {"Retry-After": str(max(1, round(retry_after_s)))}


@dataclass(frozen=True, slots=True)
class Cost:
    weight: int = 1
    orders_10s: int = 0
    orders_1m: int = 0


ORDER = Cost(0, 1, 1)
BATCH = Cost(5, 5, 1)


class _Window:
    """Counts within fixed windows of time."""

    def __init__(self, length_s: int, limit: int) -> None:
        self._length_s = length_s
        self.limit = limit
        self._number = -1
        self._count = 0

    def count(self, now_s: float) -> int:
        number = int(now_s // self._length_s)
        if number != self._number:
            self._number, self._count = number, 0
        return self._count

    def add(self, amount: int, now_s: float) -> int:
        self._count = self.count(now_s) + amount
        return self._count

    def has_room(self, amount: int, now_s: float) -> bool:
        return not amount or self.count(now_s) + amount <= self.limit

    def left_s(self, now_s: float) -> float:
        return self._length_s - now_s % self._length_s


class OrderCounts:
    """The account's: REST and the WebSocket API share them."""

    def __init__(self, limits: RequestLimits) -> None:
        self.in_10s = _Window(_ORDER_WINDOW_S, limits.orders_10s)
        self.in_1m = _Window(_MINUTE_S, limits.orders_1m)

    def check(self, cost: Cost, now_s: float) -> None:
        for window, amount, words in (
            (self.in_10s, cost.orders_10s, f"{self.in_10s.limit} orders per TEN_SECONDS"),
            (self.in_1m, cost.orders_1m, f"{self.in_1m.limit} orders per MINUTE"),
        ):
            if not window.has_room(amount, now_s):
                raise HttpRefusal(429, -1015, f"Too many new orders; current limit is {words}.", window.left_s(now_s))


class RequestCounters:
    """One pool of weight, as one IP address has it. ``now_s``: the clock of the windows."""

    def __init__(self, limits: RequestLimits, orders: OrderCounts, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._orders = orders
        self._weight = _Window(_MINUTE_S, limits.weight_1m)
        self._ignored = 0
        self._banned_until_s = 0.0
        self._ban_s = _FIRST_BAN_S

    def charge(self, cost: Cost, wall_ms: int) -> dict[str, str]:
        """Counts one request and gives the headers of its answer. Raises HttpRefusal 429 or 418 beyond the limits."""
        now = self._now_s()
        self._check_weight(cost, now, wall_ms)
        self._orders.check(cost, now)
        self._ignored = 0
        self._weight.add(cost.weight, now)
        headers = self.headers()
        if cost.orders_1m:
            headers["X-MBX-ORDER-COUNT-10S"] = str(self._orders.in_10s.add(cost.orders_10s, now))
            headers["X-MBX-ORDER-COUNT-1M"] = str(self._orders.in_1m.add(cost.orders_1m, now))
        return headers

    def headers(self) -> dict[str, str]:
        return {"X-MBX-USED-WEIGHT-1M": str(self._weight.count(self._now_s()))}

    def rate_limits(self) -> list[Json]:
        """As the WebSocket API tells them beside each answer."""
        now = self._now_s()
        rows = (
            ("REQUEST_WEIGHT", "MINUTE", 1, self._weight),
            ("ORDERS", "SECOND", 10, self._orders.in_10s),
            ("ORDERS", "MINUTE", 1, self._orders.in_1m),
        )
        return [
            {"rateLimitType": kind, "interval": unit, "intervalNum": number, "limit": window.limit, "count": window.count(now)}
            for kind, unit, number, window in rows
        ]

    def _check_weight(self, cost: Cost, now: float, wall_ms: int) -> None:
        left = self._banned_until_s - now
        if left > 0:
            until = wall_ms + round(left * 1000)
            raise HttpRefusal(418, -1003, f"Way too many requests; IP banned until {until}. Please use the websocket.", left)
        if not self._weight.has_room(cost.weight, now):
            self._lose_patience(now)
            text = f"Too many requests; current limit of IP is {self._weight.limit} requests per minute."
            raise HttpRefusal(429, -1003, text, self._weight.left_s(now))

    def _lose_patience(self, now: float) -> None:
        self._ignored += 1
        if self._ignored > _PATIENCE:
            self._ignored = 0
            self._banned_until_s = now + self._ban_s
            self._ban_s = min(_LONGEST_BAN_S, self._ban_s * 2)
