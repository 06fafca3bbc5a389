"""Request weights and order counts, as told in the answers' headers."""

from dataclasses import dataclass

from app.clock import Clock

_ORDER_WINDOW_S, _MINUTE_S = 10, 60


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


class _Window:
    """Counts within fixed windows of the monotonic clock."""

    def __init__(self, length_s: int) -> None:
        self._length_s = length_s
        self._number = -1
        self._count = 0

    def add(self, amount: int, now_s: float) -> int:
        number = int(now_s // self._length_s)
        if number != self._number:
            self._number, self._count = number, 0
        self._count += amount
        return self._count


class RequestCounters:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._weight = _Window(_MINUTE_S)
        self._orders_10s = _Window(_ORDER_WINDOW_S)
        self._orders_1m = _Window(_MINUTE_S)

    def count(self, weight: int, *, is_order: bool) -> dict[str, str]:
        """Adds one request and gives the headers of its answer."""
        now = self._clock.monotonic()
        headers = {"X-MBX-USED-WEIGHT-1M": str(self._weight.add(weight, now))}
        if is_order:
            headers["X-MBX-ORDER-COUNT-10S"] = str(self._orders_10s.add(1, now))
            headers["X-MBX-ORDER-COUNT-1M"] = str(self._orders_1m.add(1, now))
        return headers
