"""Whole trades in virtual time: entry, protection, hedges, targets, trailing and every way to end."""

import pytest
from simulation.world import PRICES, World, simulate, with_rules

from app.domain.risk.rules import RampRules
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


def test_each_symbol_is_isolated_at_the_configured_leverage() -> None:
    async def story(world: World) -> None:
        await world.enters()
        for position in (world.venue.position(symbol) for symbol in PRICES):
            assert (position.leverage, position.margin_type.value) == (7, "ISOLATED")

    simulate(story, rules=with_rules(sizing={"leverage": 7}, risk={"ramp": RampRules(on=False)}))


def test_past_the_last_target_the_time_limit_waits_where_told_to() -> None:
    async def story(world: World) -> None:
        trade_id = await world.alert(ob_top=84_900, ob_bottom=84_720)
        await world.until(lambda: world.position() > 0)
        await world.clock.sleep(31 * 60)
        assert trade_id not in world.store.closings
        assert world.position() > 0

    path = [(0, 85_000), (5, 85_000), (6, 84_980), (60, 85_000), (200, 86_000), (4_000, 86_100)]
    simulate(story, path, rules=with_rules(exits={"hold_past_second_target": True}))
