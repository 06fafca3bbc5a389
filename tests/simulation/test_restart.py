"""Killed between any two steps and started again: covered at once, nothing bought on, left behind or traded twice."""

import random
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from simulation.faulty_ports import refuses
from simulation.world import BLOCKS, PRICES, World, simulate

from app.domain.instrument import Side
from app.domain.plan import OrderName, Purpose
from app.exchange.errors import NotExecuted, OutcomeUnknown, RateLimited
from app.simulator.venue_types import ReduceOnlyPolicy
from app.storage.port import StoredTrade

NEAR_BLOCK = {"ob_top": 85_060, "ob_bottom": 84_900}
COVER_S = 2.0
FOR_EVER_S = 1e6  # lists of orders and fills, and questions by id, show nothing


def bought(world: World) -> int:
    """Entry orders the venue has been sent so far."""
    names = [OrderName.parse(order.client_id) for order in world.placed]
    return sum(1 for name in names if name is not None and name.purpose.is_entry)


async def restarts(world: World, after_s: float) -> None:
    """Dead for so long; then within two seconds everything that is open is covered, and nothing is bought on."""
    await world.kill_trader()
    await world.clock.sleep(after_s)
    before = bought(world)
    waits = not world.store.plans  # the alert still lies in the inbox: whoever comes back may trade it
    await world.start_trader()
    await world.clock.sleep(COVER_S)
    assert all(world.covered(symbol) for symbol in PRICES)
    await world.clock.sleep(10.0)
    assert waits or bought(world) == before


async def dies_at(world: World, trade_id: str, kind: str, facts: Mapping[str, Any]) -> None:
    await world.until_said(trade_id, kind, timeout_s=600, **facts)


async def ends(world: World, trade_id: str) -> StoredTrade:
    if trade_id not in world.store.closings:
        await world.operator("flatten")
    return await world.ends_properly(trade_id)


@pytest.mark.parametrize("after_s", [0.5, 2.0, 60.0])
@pytest.mark.parametrize("wait_ms", [1, 100, 400, 699, 704])
@pytest.mark.parametrize("volume", ["5", "0.02"])  # untouched by the market, or partly filled
def test_killed_in_the_maker_wait(wait_ms: int, after_s: float, volume: str) -> None:
    async def story(world: World) -> None:
        trade_id = await world.alert(**NEAR_BLOCK)
        await world.until_said(trade_id, "order_sent")
        if volume != "5":
            world.path = [(0, Decimal(85_000)), (world.clock.monotonic() + 0.05, Decimal(84_979))]
        await world.clock.sleep(wait_ms / 1000)
        await restarts(world, after_s)
        await ends(world, trade_id)

    simulate(story, volume=Decimal(volume))


STEPS: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("planned", {}),
    ("order_sent", {}),
    ("order_acknowledged", {"purpose": "i"}),
    ("fill", {"purpose": "i", "leg": 0}),
    ("entered", {}),
    ("order_acknowledged", {"purpose": "s"}),
    ("covered", {"leg": 0}),
    ("protected", {}),
    ("order_acknowledged", {"purpose": "b"}),
    ("order_acknowledged", {"purpose": "m", "leg": 1}),
    ("fill", {"leg": 1}),
    ("covered", {"leg": 1}),
    ("fill", {"purpose": "t1"}),
    ("break_even", {}),
    ("order_acknowledged", {"purpose": "r"}),
    ("fill", {"purpose": "t2"}),
    ("trailed", {}),
    ("exit", {}),
)


@pytest.mark.parametrize("policy", [ReduceOnlyPolicy.PRIORITY, ReduceOnlyPolicy.REJECT])
@pytest.mark.parametrize(("kind", "facts"), STEPS)
def test_killed_after_any_step_it_ends_properly(kind: str, facts: Mapping[str, Any], policy: ReduceOnlyPolicy) -> None:
    async def story(world: World) -> None:
        trade_id = await world.alert(**BLOCKS[Side.BUY])
        now = world.clock.monotonic()
        world.path = [(now + 5, Decimal(85_000)), (now + 60, Decimal(85_700)), (now + 400, Decimal(85_700))]
        world.path = [*world.path, (now + 450, Decimal(84_000))]
        world.supertrend = (85_450.0, True)
        await dies_at(world, trade_id, kind, facts)
        await restarts(world, 2.0)
        await world.ends_properly(trade_id)

    simulate(story, policy=policy, follow=0.0)


def test_killed_after_it_closed_the_trade_stays_closed() -> None:
    async def story(world: World) -> None:
        trade_id = await world.enters()
        await world.operator("flatten")
        closed = (await world.until_closed(trade_id)).closed
        before = len(world.placed)
        await restarts(world, 0.5)
        assert len(world.placed) == before
        assert (await world.ends_properly(trade_id)).closed == closed

    simulate(story)


def test_killed_again_and_again_no_client_id_is_ever_used_twice() -> None:
    async def story(world: World) -> None:
        trade_id = await world.enters()
        for _ in range(5):
            await world.restart_trader(0.3)
            world.venue.cancel_all_algos("BTCUSDT")  # so that each life has to place stops
            await world.clock.sleep(2.5)
            assert world.covered()
        await ends(world, trade_id)

    simulate(story)


def test_what_was_on_the_wire_when_it_died_is_found_and_removed() -> None:
    """The entry reaches the exchange only after the next life has looked."""

    async def story(world: World) -> None:
        async def slow(order: object) -> None:
            await world.clock.sleep(2.5)

        world.faults.before[Purpose.MAKER] = [slow]
        trade_id = await world.alert(**NEAR_BLOCK)
        await world.until_said(trade_id, "order_sent")
        await world.clock.sleep(0.05)
        await world.restart_trader(0.2)
        stored = await world.ends_properly(trade_id)
        assert any(f"-{Purpose.MAKER}-" in order.client_id for order in world.placed)
        assert stored.closed is not None
        assert world.position() == 0

    simulate(story)


def test_a_hedge_order_on_the_wire_when_it_died_does_not_stay_in_the_book() -> None:
    async def story(world: World) -> None:
        async def at_once(order: object) -> None:
            pass

        async def slow(order: object) -> None:
            await world.clock.sleep(4.0)

        world.faults.before[Purpose.MAKER] = [at_once, slow, slow]  # the main leg's, then the hedges'
        trade_id = await world.enters()
        await world.restart_trader(0.2)
        await world.until(lambda: sum(1 for order in world.placed if "-m-" in order.client_id) == 3)
        await world.clock.sleep(0.2)
        assert world.covered()
        assert not world.venue.open_orders("ETHUSDT")
        assert not world.venue.open_orders("SOLUSDT")
        await ends(world, trade_id)

    simulate(story)


def test_closed_by_a_hand_while_it_was_dead() -> None:
    async def story(world: World) -> None:
        trade_id = await world.enters()
        await world.kill_trader()
        world.venue.trade_by_hand("BTCUSDT", Side.SELL, world.position())
        await world.clock.sleep(2)
        await world.start_trader()
        stored = await world.ends_properly(trade_id)
        assert stored.closed is not None
        assert stored.closed.reason == "closed_externally"

    simulate(story)


@pytest.mark.parametrize("side", list(Side))
def test_stopped_out_while_it_was_dead(side: Side) -> None:
    async def story(world: World) -> None:
        trade_id = await world.enters(side)
        await world.until_said(trade_id, "covered", leg=2)
        price = world.level(trade_id, -1.4)
        await world.kill_trader()
        world.path = [(world.clock.monotonic(), Decimal(85_000)), (world.clock.monotonic() + 20, price)]
        await world.clock.sleep(40)
        assert world.position() == 0
        await world.start_trader()
        stored = await world.ends_properly(trade_id)
        assert stored.closed is not None
        assert stored.closed.reason == "stop"
        assert stored.closed.net_r < 0

    simulate(story)


def test_past_its_time_when_it_comes_back_it_is_closed_at_once() -> None:
    async def story(world: World) -> None:
        trade_id = await world.enters()
        await world.restart_trader(1_900)
        stored = await world.ends_properly(trade_id, timeout_s=30)
        assert stored.closed is not None
        assert stored.closed.reason == "time_limit"

    simulate(story)


def test_a_restart_does_not_forget_a_stop_once_moved() -> None:
    """The decision is in the journal, also where the order did not get out."""

    async def story(world: World) -> None:
        trade_id = await world.enters()
        await world.go_r(trade_id, 1.2)
        await world.until_said(trade_id, "break_even")
        await world.clock.sleep(1)
        level = world.level(trade_id, 0.6)
        world.supertrend = (float(level), True)
        world.faults.before[Purpose.STOP] = [refuses(NotExecuted("overloaded"))] * 100
        await world.until_said(trade_id, "trailed", timeout_s=400)
        await world.kill_trader()
        world.supertrend = (84_700.0, True)
        await world.clock.sleep(0.5)
        world.faults.before.clear()
        await world.start_trader()
        await world.clock.sleep(COVER_S)
        (stop,) = (a for a in world.venue.open_algos("BTCUSDT") if not a.close_position)
        assert stop.trigger_price >= level - 1
        await ends(world, trade_id)

    simulate(story)


def test_the_exchange_is_away_when_it_comes_back() -> None:
    async def story(world: World) -> None:
        trade_id = await world.enters()
        await world.kill_trader()
        world.faults.down = OutcomeUnknown("no answer")
        start = world.loop.create_task(world.start_patiently())
        await world.clock.sleep(20)
        world.faults.down = None
        await start
        await world.clock.sleep(COVER_S)
        assert world.covered()
        await ends(world, trade_id)

    simulate(story)


@pytest.mark.parametrize("seed", range(20))
def test_killed_anywhere_and_more_than_once(seed: int) -> None:
    async def story(world: World) -> None:
        dice = random.Random(seed)
        side = dice.choice(list(Side))
        trade_id = await world.alert(side=side.value, **BLOCKS[side])
        now, price = world.clock.monotonic(), 85_000.0
        path = [(now + 2, Decimal(85_000))]
        for leg in range(8):
            price += dice.uniform(-350, 350)
            path.append((now + 10 + leg * dice.uniform(5, 40) + 40 * leg, Decimal(str(round(price, 1)))))
        world.path = path
        for _ in range(dice.randint(1, 4)):
            await world.clock.sleep(
                dice.choice([dice.uniform(0, 0.05), dice.uniform(0.6, 0.8), dice.uniform(0, 3), dice.uniform(0, 90)])
            )
            await restarts(world, dice.choice([0.1, 1.0, 2.0, 20.0]))
        if trade_id in world.store.plans:
            await world.ends_properly(trade_id)
        else:
            assert '"stale_alert"' in world.store.alerts[trade_id]  # it was never up in time
            assert not world.placed

    simulate(
        story,
        policy=random.Random(seed).choice(list(ReduceOnlyPolicy)),
        volume=Decimal(random.Random(seed).choice(["5", "0.02"])),
    )


def test_orders_the_exchange_no_longer_lists_are_taken_from_the_journal() -> None:
    """Half a minute after a restart that saw empty lists the position is still covered, and the trade can be ended."""

    async def story(world: World) -> None:
        trade_id = await world.enters()
        await world.until_said(trade_id, "protected")
        await world.journal.flush()
        await world.kill_trader()
        world.faults.lag_s = FOR_EVER_S
        await world.start_trader()
        await world.clock.sleep(30.0)
        assert world.position() > 0
        assert world.covered()
        world.faults.lag_s = 0.0
        await ends(world, trade_id)

    simulate(story)


def test_a_position_no_fill_explains_keeps_its_stops_and_pauses_trading() -> None:
    """Neither journal nor lists know the entry, but the position is there: its stops stay until it is understood."""

    async def story(world: World) -> None:
        trade_id = await world.enters()
        await world.until_said(trade_id, "protected")
        await world.journal.flush()
        await world.kill_trader()
        world.faults.lag_s = FOR_EVER_S
        world.store.orders.clear()
        world.store.fills.clear()
        await world.start_trader()
        await world.until_said(trade_id, "position_unexplained")
        await world.clock.sleep(30.0)
        assert world.position() > 0
        assert world.covered()
        assert trade_id not in world.store.closings
        world.faults.lag_s = 0.0
        stored = await world.ends_properly(trade_id)
        assert stored.closed is not None
        assert stored.closed.r_unit > 0

    simulate(story)


def test_an_exchange_that_does_not_answer_at_once_is_asked_again() -> None:
    async def story(world: World) -> None:
        trade_id = await world.enters()
        await world.until_said(trade_id, "protected")
        await world.kill_trader()
        world.faults.connects = [NotExecuted("timestamp outside of the window", -1021), NotExecuted("connection refused")]
        await world.start_trader()
        await ends(world, trade_id)

    simulate(story)


def test_limits_used_up_by_another_program_delay_a_restart_and_do_not_end_it() -> None:
    async def story(world: World) -> None:
        trade_id = await world.enters()
        await world.until_said(trade_id, "protected")
        await world.kill_trader()
        world.faults.connects = [RateLimited("the weight is used up", -1003, retry_after=3.0)]
        before = world.clock.monotonic()
        await world.start_trader()
        assert world.clock.monotonic() - before >= 3.0
        await ends(world, trade_id)

    simulate(story)
