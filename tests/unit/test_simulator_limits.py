"""Request weights and order counts: windows, 429, 418 and bans, by a clock of the test's own."""

import pytest

from app.simulator.limits import BATCH, ORDER, Cost, HttpRefusal, OrderCounts, RequestCounters, RequestLimits

WALL_MS = 1_763_600_000_000


class World:
    def __init__(self, limits: RequestLimits) -> None:
        self.now_s = 600.0
        self.orders = OrderCounts(limits)
        self.rest = RequestCounters(limits, self.orders, lambda: self.now_s)
        self.api = RequestCounters(limits, self.orders, lambda: self.now_s)

    def refusal(self, cost: Cost) -> HttpRefusal:
        with pytest.raises(HttpRefusal) as caught:
            self.rest.charge(cost, WALL_MS)
        return caught.value


@pytest.fixture
def world() -> World:
    return World(RequestLimits(weight_1m=100, orders_1m=20, orders_10s=7))


def test_headers_count_within_their_windows(world: World) -> None:
    assert world.rest.charge(Cost(30), WALL_MS) == {"X-MBX-USED-WEIGHT-1M": "30"}
    assert world.rest.charge(BATCH, WALL_MS) == {
        "X-MBX-USED-WEIGHT-1M": "35", "X-MBX-ORDER-COUNT-10S": "5", "X-MBX-ORDER-COUNT-1M": "1",
    }  # fmt: skip
    world.now_s += 10
    assert world.rest.charge(ORDER, WALL_MS)["X-MBX-ORDER-COUNT-10S"] == "1"
    world.now_s += 50
    assert world.rest.charge(Cost(1), WALL_MS) == {"X-MBX-USED-WEIGHT-1M": "1"}


def test_weights_are_apart_and_orders_in_common(world: World) -> None:
    world.rest.charge(Cost(100), WALL_MS)
    world.api.charge(Cost(100), WALL_MS)
    for counters in (world.rest, world.api, world.rest, world.api, world.rest, world.api, world.rest):
        counters.charge(ORDER, WALL_MS)

    refusal = world.refusal(ORDER)
    assert (refusal.status, refusal.body["code"], refusal.headers) == (429, -1015, {"Retry-After": "10"})
    assert world.rest.rate_limits()[1]["count"] == 7


def test_the_minute_of_orders_has_its_own_limit(world: World) -> None:
    for _ in range(4):
        for _ in range(5):
            world.rest.charge(ORDER, WALL_MS)
        world.now_s += 10

    assert "20 orders per MINUTE" in world.refusal(ORDER).body["msg"]


def test_too_much_weight_is_refused_until_the_minute_ends(world: World) -> None:
    world.now_s += 45
    world.rest.charge(Cost(100), WALL_MS)

    refusal = world.refusal(Cost(1))
    assert (refusal.status, refusal.body["code"], refusal.headers) == (429, -1003, {"Retry-After": "15"})
    world.rest.charge(ORDER, WALL_MS)  # weighs nothing
    world.now_s += 15
    world.rest.charge(Cost(1), WALL_MS)


def test_who_does_not_listen_is_banned_longer_each_time(world: World) -> None:
    for ban_s in (120, 240, 480):
        world.rest.charge(Cost(100), WALL_MS)
        while (refusal := world.refusal(Cost(1))).status == 429:
            pass
        assert refusal.headers == {"Retry-After": str(ban_s)}
        assert str(WALL_MS + ban_s * 1000) in refusal.body["msg"]
        world.now_s += ban_s - 1
        assert world.refusal(ORDER).status == 418
        world.now_s += 61


def test_a_client_that_backs_off_is_not_banned(world: World) -> None:
    for _ in range(10):
        world.rest.charge(Cost(100), WALL_MS)
        for _ in range(15):
            assert world.refusal(Cost(1)).status == 429
        world.now_s += 60
