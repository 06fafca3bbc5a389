"""Every way a trade can end, long and short, with and without an order block, whatever Binance does with reduce-only orders."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from decimal import Decimal

import pytest
from simulation.world import PRICES, World, simulate, with_rules

from app.domain.instrument import Side
from app.domain.market import MINUTE_MS
from app.domain.plan import OrderName, Purpose
from app.domain.risk.rules import RampRules
from app.simulator.venue_types import ReduceOnlyPolicy
from app.storage.port import StoredTrade

HIGH_LEVERAGE = with_rules(risk={"ramp": RampRules(on=False)})  # so that a gap can liquidate
Ending = Callable[[World, str, Side], Awaitable[str]]  # plays the trade to its end; returns the reason it must end by


def filled(stored: StoredTrade, purpose: Purpose, leg: int = 0) -> Decimal:
    names = [(OrderName.parse(fill.client_id), fill) for fill in stored.fills]
    ours = (fill.quantity for name, fill in names if name and name.leg == leg and name.purpose is purpose)
    return sum(ours, Decimal(0))


async def initial_stop(world: World, trade_id: str, side: Side) -> str:
    await world.go_r(trade_id, -1.3)
    return "stop"


async def break_even(world: World, trade_id: str, side: Side) -> str:
    await world.go_r(trade_id, 1.1)
    await world.until_said(trade_id, "break_even")
    await world.go_r(trade_id, -0.3)
    return "break_even"


async def trailing_stop(world: World, trade_id: str, side: Side) -> str:
    await world.go_r(trade_id, 1.2)
    world.supertrend = (float(world.level(trade_id, 0.6)), side is Side.BUY)
    await world.until_said(trade_id, "trailed", timeout_s=400)
    await world.go_r(trade_id, 0.2)
    return "trailing_stop"


async def both_targets_and_runner(world: World, trade_id: str, side: Side) -> str:
    await world.go_r(trade_id, 1.8)
    await world.until_said(trade_id, "fill", purpose="t2")
    world.supertrend = (float(world.level(trade_id, 1.2)), side is Side.BUY)
    await world.until_said(trade_id, "trailed", timeout_s=400)
    await world.go_r(trade_id, 1.0)
    stored = await world.until_closed(trade_id)
    assert filled(stored, Purpose.TARGET_1) > 0
    assert filled(stored, Purpose.TARGET_2) > 0
    return "trailing_stop"


async def time_limit(world: World, trade_id: str, side: Side) -> str:
    stored = await world.until_closed(trade_id)
    held_ms = stored.fills[-1].time_ms - stored.fills[0].time_ms
    assert held_ms == pytest.approx(30 * MINUTE_MS, abs=1_500)
    return "time_limit"


async def supertrend_flip(world: World, trade_id: str, side: Side) -> str:
    await world.go_r(trade_id, 1.2)
    world.supertrend = (float(world.level(trade_id, 0.6)), side is Side.BUY)
    await world.until_said(trade_id, "trailed", timeout_s=400)
    world.supertrend = (float(world.level(trade_id, 1.6)), side is not Side.BUY)
    return "supertrend_flip"


async def opposite_signal(world: World, trade_id: str, side: Side) -> str:
    alert_id = await world.alert(side=side.opposite.value, id="the other way")
    reply = await world.reply(alert_id)
    assert reply is not None
    assert reply["closes"] == trade_id
    return "opposite_signal"


async def operator_flattens(world: World, trade_id: str, side: Side) -> str:
    await world.operator("flatten")
    return "operator"


async def closed_by_hand(world: World, trade_id: str, side: Side) -> str:
    world.venue.trade_by_hand("BTCUSDT", side.opposite, abs(world.position()))
    return "closed_externally"


async def partly_closed_by_hand(world: World, trade_id: str, side: Side) -> str:
    world.venue.trade_by_hand("BTCUSDT", side.opposite, Decimal("0.010"))
    return "closed_externally"


async def hedge_closed_by_hand(world: World, trade_id: str, side: Side) -> str:
    await world.until_said(trade_id, "covered", leg=1)
    world.venue.trade_by_hand("ETHUSDT", side, Decimal("0.5"))
    return "closed_externally"


async def auto_deleveraged(world: World, trade_id: str, side: Side) -> str:
    world.venue.auto_deleverage("BTCUSDT", Decimal("0.020"))
    return "closed_externally"


async def liquidated(world: World, trade_id: str, side: Side) -> str:
    """The stops are gone, by a hand, in the moment the market gaps."""
    await world.until_said(trade_id, "covered", leg=1)
    world.venue.cancel_all_algos("BTCUSDT")
    world.path = [(0, Decimal(85_000) * (1 - side.sign * Decimal("0.06")))]
    world.move_to(world.path[0][1], world.venue.now_ms, jump=True)
    return "closed_externally"


ENDINGS: tuple[Ending, ...] = (
    initial_stop,
    break_even,
    trailing_stop,
    both_targets_and_runner,
    time_limit,
    supertrend_flip,
    opposite_signal,
    operator_flattens,
    closed_by_hand,
    partly_closed_by_hand,
    hedge_closed_by_hand,
    auto_deleveraged,
    liquidated,
)


def end_by(ending: Ending, side: Side, *, block: bool, policy: ReduceOnlyPolicy) -> None:
    async def story(world: World) -> None:
        trade_id = await world.enters(side, block=block)
        reason = await ending(world, trade_id, side)
        stored = await world.ends_properly(trade_id)
        assert stored.closed is not None
        # where a triggered stop does not get past resting targets, the market exit does its work
        cut_off = {"stop_rejected", "stop_fell_short"} if policy is not ReduceOnlyPolicy.PRIORITY else set()
        assert stored.closed.reason in {reason} | (cut_off if "stop" in reason or reason == "break_even" else set())
        assert stored.closed.r_unit > 0
        plan_source = "order_block" if block else "atr"
        assert stored.plan.stop_source == plan_source

    simulate(story, policy=policy, rules=HIGH_LEVERAGE)


@pytest.mark.parametrize("policy", list(ReduceOnlyPolicy))
@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize("ending", ENDINGS)
def test_ends_properly_under_every_reduce_only_policy(ending: Ending, side: Side, policy: ReduceOnlyPolicy) -> None:
    end_by(ending, side, block=True, policy=policy)


@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize("ending", [initial_stop, break_even, both_targets_and_runner, time_limit, opposite_signal])
def test_ends_properly_with_a_stop_from_the_average_range(ending: Ending, side: Side) -> None:
    end_by(ending, side, block=False, policy=ReduceOnlyPolicy.PRIORITY)


@pytest.mark.parametrize("side", list(Side))
def test_a_position_too_small_to_split_has_its_stop_moved_by_the_price_alone(side: Side) -> None:
    async def story(world: World) -> None:
        trade_id = await world.enters(side)
        assert not world.venue.open_orders("BTCUSDT")
        assert await break_even(world, trade_id, side) == "break_even"
        stored = await world.ends_properly(trade_id)
        assert stored.closed is not None
        assert stored.closed.reason == "break_even"

    simulate(story, balance=Decimal(260))


@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize("policy", list(ReduceOnlyPolicy))
def test_a_stopped_hedge_is_not_reopened_and_the_main_leg_runs_on(side: Side, policy: ReduceOnlyPolicy) -> None:
    async def story(world: World) -> None:
        trade_id = await world.enters(side)
        await world.until_said(trade_id, "covered", leg=1)
        await world.until_said(trade_id, "covered", leg=2)
        await world.go_r(trade_id, 0.8)
        assert {note.data["leg"] for note in world.notes(trade_id, "hedge_stopped")} == {1, 2}
        assert world.position() != 0
        assert world.covered()
        await world.clock.sleep(60)
        assert world.position("ETHUSDT") == world.position("SOLUSDT") == 0
        await world.go_r(trade_id, -1.2)
        stored = await world.ends_properly(trade_id)
        assert filled(stored, Purpose.STOP, leg=1) == filled(stored, Purpose.TAKER, leg=1) + filled(stored, Purpose.MAKER, leg=1)

    simulate(story, policy=policy)


def test_hedges_shrink_with_each_target_and_end_with_the_last_part() -> None:
    async def story(world: World) -> None:
        trade_id = await world.enters()
        await world.until_said(trade_id, "covered", leg=1)
        full = abs(world.position("ETHUSDT"))
        await world.go_r(trade_id, 1.1)
        await world.until_said(trade_id, "fill", purpose="r", leg=1)
        assert abs(world.position("ETHUSDT")) == pytest.approx(full * Decimal("0.7"), rel=Decimal("0.02"))
        await world.operator("flatten")
        await world.ends_properly(trade_id)

    # ETH and SOL do not follow here, so that their stops stay away
    simulate(story, follow=0.0)


def test_a_hedge_shrinks_in_parts_the_exchange_takes_as_one_market_order() -> None:
    async def story(world: World) -> None:
        trade_id = await world.enters()
        await world.until_said(trade_id, "covered", leg=1)
        full = abs(world.position("ETHUSDT"))
        assert world.trader is not None
        leg = world.trader.desk.trades[trade_id].trade.legs[1]
        most = leg.instrument.floor_quantity(full / 8)
        leg.instrument = replace(leg.instrument, market_max_quantity=most)
        await world.go_r(trade_id, 1.1)
        sent = [note.data for note in world.notes(trade_id, "order_sent") if note.data["client_id"].split("-")[2:4] == ["1", "r"]]
        assert len(sent) >= 3
        assert all(Decimal(order["quantity"]) <= most for order in sent)
        assert abs(world.position("ETHUSDT")) == pytest.approx(full * Decimal("0.7"), rel=Decimal("0.02"))
        await world.operator("flatten")
        await world.ends_properly(trade_id)

    simulate(story, follow=0.0)


@pytest.mark.parametrize(
    ("settings", "missing"),
    [
        ({"correlation": 0.4}, {"ETHUSDT", "SOLUSDT"}),
        ({"betas": {"ETHUSDT": 4.0, "SOLUSDT": 1.3}}, {"ETHUSDT"}),
        ({"betas": {}}, {"ETHUSDT", "SOLUSDT"}),
    ],
)
def test_a_hedge_leg_the_rules_forbid_is_left_out(settings: dict[str, object], missing: set[str]) -> None:
    async def story(world: World) -> None:
        trade_id = await world.enters()
        await world.clock.sleep(3)
        for symbol in PRICES:
            assert (world.position(symbol) == 0) is (symbol in missing), symbol
        await world.go_r(trade_id, -1.2)
        await world.ends_properly(trade_id)

    simulate(story, **settings)


def test_what_a_hand_adds_to_the_position_is_left_to_it() -> None:
    async def story(world: World) -> None:
        trade_id = await world.enters()
        world.venue.trade_by_hand("BTCUSDT", Side.BUY, Decimal("0.050"))
        stored = await world.until_closed(trade_id)
        assert stored.closed is not None
        assert stored.closed.reason == "closed_externally"
        assert world.position() == Decimal("0.050")
        assert world.position("ETHUSDT") == world.position("SOLUSDT") == 0
        assert world.open_ids() == set()
        assert abs(stored.closed.net_r) < 1, "what a hand bought was not bought by the trade"
        assert stored.closed.summary["legs"][0]["entered"] == stored.closed.summary["quantity"]
        reply = await world.reply(await world.alert(id="next"))
        assert reply is not None
        assert reply["code"] == "paused"

    simulate(story, watched=False)  # what a hand adds is in no journal


def test_of_what_a_hand_sells_only_what_closed_the_trade_is_in_its_account() -> None:
    """It sells more than there is, and is short of the rest."""

    async def story(world: World) -> None:
        trade_id = await world.enters()
        held = world.position()
        world.venue.trade_by_hand("BTCUSDT", Side.SELL, held + Decimal("0.050"))
        stored = await world.until_closed(trade_id)
        assert stored.closed is not None
        assert stored.closed.reason == "closed_externally"
        assert world.position() == Decimal("-0.050")
        assert abs(stored.closed.net_r) < 1
        (btc, *_) = stored.closed.summary["legs"]
        assert btc["exited"] == btc["entered"] == str(held)
        assert Decimal(btc["fees"]) < held * 2 * 85_000 * Decimal("0.0005") + 1

    simulate(story, watched=False)


def test_a_first_target_taken_away_by_a_hand_still_brings_the_stop_to_break_even() -> None:
    async def story(world: World) -> None:
        trade_id = await world.enters()
        world.venue.cancel_all_orders("BTCUSDT")
        await world.go_r(trade_id, 1.1)
        await world.until_said(trade_id, "break_even")
        await world.go_r(trade_id, -0.2)
        stored = await world.ends_properly(trade_id)
        assert stored.closed is not None
        assert stored.closed.reason == "break_even"

    simulate(story)


def test_a_symbol_held_by_somebody_else_is_left_alone() -> None:
    async def story(world: World) -> None:
        world.venue.trade_by_hand("ETHUSDT", Side.BUY, Decimal("0.5"))
        world.foreign["ETHUSDT"] = Decimal("0.5")
        await world.clock.sleep(3)
        trade_id = await world.enters()
        await world.until_said(trade_id, "covered", leg=1)
        assert world.position("ETHUSDT") == Decimal("0.5")
        assert world.position("SOLUSDT") < 0
        await world.go_r(trade_id, -1.2)
        stored = await world.ends_properly(trade_id)
        assert stored.closed is not None
        assert stored.closed.reason == "stop"

    simulate(story)
