"""Whole trades in virtual time: entry, protection, hedges, targets, trailing and every way to end."""

import pytest
from simulation.world import World, simulate

from app.simulator.venue_types import ReduceOnlyPolicy
from app.storage.port import StoredTrade

UP_AND_BACK = [(0, 85_000), (5, 85_000), (6, 84_980), (60, 85_000), (200, 85_900), (400, 86_000), (900, 84_000)]


def kinds(stored: StoredTrade) -> list[str]:
    return [note.kind for note in stored.notes]


@pytest.mark.parametrize("policy", list(ReduceOnlyPolicy))
def test_a_long_reaches_both_targets_trails_and_leaves_nothing(policy: ReduceOnlyPolicy) -> None:
    async def story(world: World) -> None:
        trade_id = await world.alert(ob_top=84_900, ob_bottom=84_720)
        await world.until(lambda: world.position() > 0)
        reply = await world.reply(trade_id)
        assert reply is not None
        assert reply["status"] == "trade placed"
        world.supertrend = (85_600.0, True)
        stored = await world.ends_properly(trade_id)
        assert {"break_even", "trailed", "protected"} <= set(kinds(stored))

    simulate(story, UP_AND_BACK, policy=policy)
