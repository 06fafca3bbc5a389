"""A short at high funding is held for at most 15 minutes: the open one from when it is seen, the new one from the start."""

from decimal import Decimal

import pytest
from simulation.world import World, simulate, with_rules

from app.domain.instrument import Side

MINUTE_S = 60
HIGH = Decimal("0.0009")


async def held_min(world: World, trade_id: str) -> float:
    stored = await world.ends_properly(trade_id)
    assert stored.closed is not None
    assert stored.closed.reason == "time_limit"
    return (stored.fills[-1].time_ms - stored.fills[0].time_ms) / 60_000


@pytest.mark.parametrize(
    ("side", "seen_after_min", "rate", "held"),
    [
        (Side.SELL, 5, HIGH, 15),
        (Side.SELL, 20, HIGH, 20),
        (Side.SELL, 5, Decimal("0.0008"), 30),
        (Side.BUY, 5, HIGH, 30),
    ],
)
def test_an_open_short_is_held_for_less_long_once_high_funding_is_seen(
    side: Side, seen_after_min: int, rate: Decimal, held: int
) -> None:
    async def story(world: World) -> None:
        trade_id = await world.enters(side)
        await world.clock.sleep(seen_after_min * MINUTE_S)
        world.funding_rate = rate
        assert await held_min(world, trade_id) == pytest.approx(held, abs=0.2)
        assert len(world.notes(trade_id, "hold_shortened")) == (held < 30)

    simulate(story)


def test_what_was_seen_once_holds_through_a_restart() -> None:
    async def story(world: World) -> None:
        trade_id = await world.enters(Side.SELL)
        world.funding_rate = HIGH
        await world.until_said(trade_id, "hold_shortened")
        await world.clock.sleep(1)
        world.funding_rate = Decimal("0.0001")
        await world.restart_trader(after_s=30)
        assert await held_min(world, trade_id) == pytest.approx(15, abs=0.2)

    simulate(story)


def test_a_new_short_knows_from_the_start_where_only_the_paying_side_skips() -> None:
    async def story(world: World) -> None:
        world.funding_rate = HIGH
        await world.clock.sleep(10)
        trade_id = await world.enters(Side.SELL)
        stored = await world.stored(trade_id)
        assert stored.plan.max_hold_min == 15
        world.funding_rate = Decimal("0.0001")
        assert await held_min(world, trade_id) == pytest.approx(15, abs=0.2)

    simulate(story, rules=with_rules(funding={"symmetric": True}))
