"""Execution scenarios ES-33 to ES-49 and ES-58: other hands on the account, ADL, liquidation, dead streams, funding, the clock.

Each is a row of docs/execution-scenarios.md.
"""

from decimal import Decimal
from pathlib import Path

import pytest
from scenario_market import purpose_of
from scenario_world import POLICIES, ScenarioWorld, scenario, under_every_policy
from simulation.world import BLOCKS, with_rules

from app.domain.instrument import Side
from app.domain.market import MINUTE_MS, MarkPrice
from app.domain.plan import Purpose
from app.domain.risk.rules import RampRules
from app.domain.rules import EntryStyle
from app.simulator.venue_types import IncomeType, ReduceOnlyPolicy

HIGH_LEVERAGE = with_rules(entry={"maker_wait_ms": 60}, risk={"ramp": RampRules(on=False)})  # so that a gap can liquidate
IOC = with_rules(entry={"style": EntryStyle.IOC, "maker_wait_ms": 60})


async def paused(world: ScenarioWorld) -> None:
    """No trade is begun until the operator has looked."""
    refused = await world.reply(await world.alert(id="next", **BLOCKS[Side.BUY]))
    assert refused["code"] == "paused"


# -- the position changes without us -----------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", POLICIES)
async def test_es33_position_closed_by_a_hand(tmp_path: Path, policy: ReduceOnlyPolicy) -> None:
    async with scenario(tmp_path, policy) as world:
        trade_id = await world.enters(Side.SELL)
        await world.by_hand("BTCUSDT", Side.BUY, -world.position())
        await world.ends_properly(trade_id, "closed_externally")
        await paused(world)


@pytest.mark.parametrize("policy", POLICIES)
async def test_es34_position_reduced_by_a_hand(tmp_path: Path, policy: ReduceOnlyPolicy) -> None:
    async with scenario(tmp_path, policy) as world:
        trade_id = await world.enters()
        await world.by_hand("BTCUSDT", Side.SELL, Decimal("0.010"))
        await world.ends_properly(trade_id, "closed_externally")
        await paused(world)


@pytest.mark.parametrize("policy", POLICIES)
async def test_es35_position_added_to_by_a_hand(tmp_path: Path, policy: ReduceOnlyPolicy) -> None:
    """What is not ours stays, and is not ours to protect."""
    async with scenario(tmp_path, policy, watched=False) as world:  # what a hand adds is in no journal
        trade_id = await world.enters()
        await world.by_hand("BTCUSDT", Side.BUY, Decimal("0.050"))
        stored = await world.closed(trade_id)
        assert stored.closed is not None
        assert stored.closed.reason == "closed_externally"
        assert world.positions() == {"BTCUSDT": Decimal("0.050")}
        assert not world.open_ids()
        await paused(world)


@pytest.mark.parametrize("policy", POLICIES)
async def test_es36_hedge_changed_by_a_hand(tmp_path: Path, policy: ReduceOnlyPolicy) -> None:
    async with scenario(tmp_path, policy) as world:
        trade_id = await world.enters()
        await world.by_hand("ETHUSDT", Side.BUY, Decimal("0.5"))
        await world.ends_properly(trade_id, "closed_externally")
        await paused(world)


@pytest.mark.parametrize("policy", POLICIES)
async def test_es37_auto_deleveraging(tmp_path: Path, policy: ReduceOnlyPolicy) -> None:
    async with scenario(tmp_path, policy) as world:
        trade_id = await world.enters()
        await world.control("adl", {"symbol": "BTCUSDT", "quantity": "0.020"})
        stored = await world.ends_properly(trade_id, "closed_externally")
        assert any(fill.client_id == "adl_autoclose" for fill in stored.fills)
        await paused(world)


@pytest.mark.parametrize("side", list(Side))
async def test_es38_liquidation(tmp_path: Path, side: Side) -> None:
    """The stops are gone, by a hand, in the moment the market gaps."""
    async with scenario(tmp_path, rules=HIGH_LEVERAGE) as world:
        trade_id = await world.enters(side)
        world.venue.cancel_all_algos("BTCUSDT")
        world.move(Decimal(85_000) * (1 - side.sign * Decimal("0.06")), jump=True)
        assert world.position() == 0
        # what comes first, the price or the news, gives the reason its name
        stored = await world.ends_properly(trade_id, {"closed_externally", "price_beyond_stop"})
        assert world.notes(trade_id, "closed_externally")
        assert any(fill.client_id.startswith("autoclose-") for fill in stored.fills)
        await paused(world)


# -- dead streams ----------------------------------------------------------------------------------------------------


async def target_filled_unheard(world: ScenarioWorld, trade_id: str) -> None:
    """The first target fills while nobody is told; it is found out, and the stop follows."""
    await world.go_r(trade_id, 1.1)
    await world.until_said(trade_id, "break_even")
    await world.until("the stop for the rest", lambda: [s.quantity for s in world.stops()] == [world.position()])
    await world.until("the stop at break-even", lambda: world.stops()[0].trigger_price >= world.level(trade_id, 0) - 1)


async def test_es39_user_stream_down(tmp_path: Path) -> None:
    """Sockets closed and refused for a second and a half; what was missed is read when it is back."""

    async def story(directory: Path, policy: ReduceOnlyPolicy) -> None:
        async with scenario(directory, policy, watched=False, follow=0.0) as world:  # the journal learns of fills by request
            trade_id = await world.enters()
            await world.break_with({"kind": "private-down", "ms": 1_500})
            await target_filled_unheard(world, trade_id)
            await world.flattened(trade_id)

    await under_every_policy(tmp_path, story)


async def test_es40_user_stream_silent(tmp_path: Path) -> None:
    """Open, and nothing comes: from the alert on, everything is learned by request."""

    async def story(directory: Path, policy: ReduceOnlyPolicy) -> None:
        async with scenario(directory, policy, rules=IOC, watched=False, follow=0.0) as world:
            await world.break_with({"kind": "private-silent"})
            trade_id = await world.enters()
            assert world.covered()
            await target_filled_unheard(world, trade_id)
            await world.flattened(trade_id)

    await under_every_policy(tmp_path, story)


async def test_es41_listen_key_expired(tmp_path: Path) -> None:
    async with scenario(tmp_path, follow=0.0) as world:
        trade_id = await world.enters()
        await world.control("expire-listen-key", {})
        await target_filled_unheard(world, trade_id)
        await world.flattened(trade_id)


@pytest.mark.parametrize("kind", ["event-drop", "event-duplicate", "event-reorder", "event-delay"])
async def test_es42_user_events_lost_doubled_late_and_out_of_order(tmp_path: Path, kind: str) -> None:
    rules = [{"kind": kind, "event": event, "probability": 0.5, "ms": 150} for event in ("ORDER_TRADE_UPDATE", "ALGO_UPDATE")]
    async with scenario(tmp_path, faults=rules, watched=False, follow=0.0) as world:
        trade_id = await world.enters()
        await target_filled_unheard(world, trade_id)
        await world.flattened(trade_id)
        assert sum(await world.struck()) > 0


@pytest.mark.parametrize("policy", POLICIES)
async def test_es43_market_stream_dead_in_an_open_trade(tmp_path: Path, policy: ReduceOnlyPolicy) -> None:
    """No price, no bar: the trade is managed on by requests and fills, and no other is begun."""
    async with scenario(tmp_path, policy, follow=0.0) as world:
        trade_id = await world.enters()
        world.publishes = False
        await world.go_r(trade_id, 1.1)
        await world.until_said(trade_id, "break_even")
        await world.go_r(trade_id, -0.2)
        await world.ends_properly(trade_id, {"break_even", "stop_rejected", "stop_fell_short"})
        await world.pass_time(600)
        await world.until("old prices", lambda: (world.beat()["feed_age_ms"] or 0) > 1_000)
        refused = await world.reply(await world.alert(id="next", **BLOCKS[Side.BUY]))
        assert refused["code"] in ("stale_price", "stale_bars"), refused


async def test_es58_market_stream_silent_at_the_stream_node(tmp_path: Path) -> None:
    """The real stream node hears nothing over sockets that stay open: no entry until it has the market again."""
    async with scenario(tmp_path, rules=IOC, stream_node=True) as world:
        await world.until_the_feed_is_whole()
        trade_id = await world.alert(id="first")
        await world.until_said(trade_id, "protected")
        await world.break_with({"kind": "market-silent"})
        marks = [mark for mark in world.market_server.latest.values() if isinstance(mark, MarkPrice)]
        await world.until("old marks", lambda: world.venue.now_ms - max(mark.time_ms for mark in marks) > 6_000)
        assert world.covered()
        await world.flattened(trade_id)
        refused = await world.reply(await world.alert(id="second"))
        assert refused["code"].startswith("stale_"), refused
        await world.break_with()
        await world.until_the_feed_is_whole()
        trade_id = await world.alert(id="third")
        await world.until_said(trade_id, "protected")
        await world.flattened(trade_id)


async def test_es44_market_stream_dies_in_the_makers_wait(tmp_path: Path) -> None:
    """The price for the rest is read once, by request."""
    async with scenario(tmp_path, rules=with_rules(entry={"maker_wait_ms": 1_300})) as world:
        trade_id = await world.alert(**BLOCKS[Side.BUY])
        await world.until_said(trade_id, "order_acknowledged", purpose="m")
        world.publishes = False
        await world.until_said(trade_id, "protected")
        assert world.position() == world.plans[trade_id].quantity
        world.publishes = True
        await world.flattened(trade_id)


async def test_es45_market_bus_gone(tmp_path: Path) -> None:
    """The stream node's Redis: entries stop, the open trade is managed on."""
    async with scenario(tmp_path, follow=0.0) as world:
        trade_id = await world.enters()
        world.publishes = False
        world.market_server.cut()
        await world.go_r(trade_id, 1.1)
        await world.until_said(trade_id, "break_even")
        world.market_server.restore()
        world.publishes = True
        await world.flattened(trade_id)


async def test_es46_exchange_away_in_an_open_trade(tmp_path: Path) -> None:
    """Neither REST nor stream for a second and a half; its stop works meanwhile, and the books are put right afterwards."""

    async def story(directory: Path, policy: ReduceOnlyPolicy) -> None:
        async with scenario(directory, policy, watched=False, follow=0.0) as world:
            trade_id = await world.enters()
            await world.break_with({"kind": "rest-down", "ms": 1_500}, {"kind": "private-down", "ms": 1_500})
            await world.go_r(trade_id, 1.1)
            assert world.covered()
            await world.until_said(trade_id, "break_even")
            await world.flattened(trade_id)

    await under_every_policy(tmp_path, story)


# -- time ------------------------------------------------------------------------------------------------------------


async def test_es47_funding_inside_the_trade(tmp_path: Path) -> None:
    async with scenario(tmp_path, funding=Decimal("0.0003"), follow=0.0) as world:
        await world.pass_time((world.venue.next_funding_ms - world.venue.now_ms - 8 * MINUTE_MS) / 1000)
        trade_id = await world.enters()
        await world.pass_time(10 * 60)
        stored = await world.flattened(trade_id)
        settled = [row for row in world.venue.income() if row.type is IncomeType.FUNDING_FEE]
        assert {row.symbol for row in settled} == {"BTCUSDT", "ETHUSDT", "SOLUSDT"}
        assert stored.closed is not None
        assert stored.closed.funding == -sum(row.amount for row in settled) != 0


@pytest.mark.parametrize("policy", POLICIES)
async def test_es48_time_limit(tmp_path: Path, policy: ReduceOnlyPolicy) -> None:
    async with scenario(tmp_path, policy) as world:
        trade_id = await world.enters()
        await world.pass_time(1_750)
        assert not world.notes(trade_id, "exit")
        await world.pass_time(60)
        stored = await world.ends_properly(trade_id, "time_limit")
        assert any(purpose_of(fill.client_id) is Purpose.EXIT for fill in stored.fills)


@pytest.mark.parametrize("policy", POLICIES)
async def test_es49_opposite_alert(tmp_path: Path, policy: ReduceOnlyPolicy) -> None:
    async with scenario(tmp_path, policy) as world:
        trade_id = await world.enters()
        reply = await world.reply(await world.alert(Side.SELL, id="the other way", **BLOCKS[Side.SELL]))
        assert reply["closes"] == trade_id
        await world.ends_properly(trade_id, "opposite_signal")
        assert len(world.plans) == 1
