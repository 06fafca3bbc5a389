"""The request budget: what fits, what is kept for protection, and how long to wait."""

import pytest
from manual_clock import ManualClock

from app.exchange.budget import Budget, Priority
from app.exchange.errors import RateLimited

NOW = 1_765_000_020_000  # 0 s into its minute
assert NOW % 60_000 == 0


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def budget(clock: ManualClock) -> Budget:
    return Budget(clock, weight_per_minute=100, orders_per_minute=50, orders_per_10s=10)


def refuses(budget: Budget, weight: int, orders: int, priority: Priority, now_ms: int = NOW) -> float:
    with pytest.raises(RateLimited) as refused:
        budget.admit(weight, orders, priority, now_ms)
    return refused.value.retry_after


def test_what_fits_is_admitted(budget: Budget) -> None:
    budget.admit(80, 0, Priority.NORMAL, NOW)
    assert refuses(budget, 1, 0, Priority.NORMAL) == 60


def test_the_reserve_is_for_protection(budget: Budget) -> None:
    for _ in range(8):
        budget.admit(0, 1, Priority.NORMAL, NOW)
    refuses(budget, 0, 1, Priority.NORMAL)
    budget.admit(0, 1, Priority.PROTECTIVE, NOW)
    assert refuses(budget, 0, 1, Priority.PROTECTIVE, NOW + 4_000) == 6


def test_a_new_window_starts_empty(budget: Budget) -> None:
    for _ in range(8):
        budget.admit(0, 1, Priority.NORMAL, NOW)
    budget.admit(0, 1, Priority.NORMAL, NOW + 10_000)


def test_the_exchanges_count_stands_over_ours(budget: Budget) -> None:
    """Others may use the same address."""
    budget.observe({"x-mbx-used-weight-1m": "79"}, NOW)
    budget.admit(1, 0, Priority.NORMAL, NOW)
    refuses(budget, 1, 0, Priority.NORMAL)


def test_an_older_answer_does_not_lower_the_count(budget: Budget) -> None:
    budget.admit(80, 0, Priority.NORMAL, NOW)
    budget.observe({"x-mbx-used-weight-1m": "5"}, NOW)
    refuses(budget, 1, 0, Priority.NORMAL)


def test_limits_of_exchange_info(budget: Budget) -> None:
    budget.set_limits(6_000, 1_200, 300)
    budget.admit(4_000, 0, Priority.NORMAL, NOW)


@pytest.mark.parametrize(
    ("status", "headers", "body", "wait"),
    [
        (429, {"retry-after": "7"}, "", 7),
        (418, {}, f"Way too much request weight used; IP banned until {NOW + 30_000}.", 30),
        (429, {}, "", 60),
        (418, {}, "", 120),
    ],
)
def test_told_to_stop_nothing_more_is_sent(
    budget: Budget, clock: ManualClock, status: int, headers: dict[str, str], body: str, wait: float
) -> None:
    assert budget.limited(status, -1003, headers, body, NOW) == wait
    assert refuses(budget, 1, 0, Priority.PROTECTIVE) == wait
    clock.advance(wait)
    budget.admit(1, 0, Priority.PROTECTIVE, NOW)


def test_too_many_orders_stops_orders_only(budget: Budget, clock: ManualClock) -> None:
    budget.limited(400, -1015, {}, "", NOW)
    assert refuses(budget, 0, 1, Priority.PROTECTIVE) == 10
    budget.admit(1, 0, Priority.NORMAL, NOW)
    clock.advance(10)
    budget.admit(0, 1, Priority.NORMAL, NOW)
