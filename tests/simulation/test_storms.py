"""Anything at once: random prices, refusals, lost answers, silence and deaths; the trade still ends beyond reproach."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from simulation.faulty_ports import Fault, hangs, refuses
from simulation.world import BLOCKS, World, simulate

from app.domain.instrument import Side
from app.domain.plan import Purpose
from app.exchange.errors import (
    ExchangeError,
    InsufficientMargin,
    NoPositionYet,
    NotExecuted,
    OutcomeUnknown,
    PostOnlyWouldTake,
    ReduceOnlyRefused,
    WouldTriggerNow,
)
from app.simulator.venue_types import ReduceOnlyPolicy

OVERLOADED, NO_ANSWER = NotExecuted("overloaded", -1008), OutcomeUnknown("no answer")
REFUSALS: dict[Purpose, tuple[ExchangeError, ...]] = {
    Purpose.MAKER: (PostOnlyWouldTake("would take", -5022), InsufficientMargin("margin", -2019)),
    Purpose.TAKER: (InsufficientMargin("margin", -2019),),
    Purpose.STOP: (WouldTriggerNow("crossed", -2021), NoPositionYet("no position", -4509)),
    Purpose.BACKSTOP: (NoPositionYet("no position", -4509),),
    Purpose.TARGET_1: (ReduceOnlyRefused("reduce only", -2022),),
    Purpose.TARGET_2: (ReduceOnlyRefused("reduce only", -2022),),
    Purpose.EXIT: (ReduceOnlyRefused("reduce only", -2022),),
    Purpose.REDUCE: (ReduceOnlyRefused("reduce only", -2022),),
}
PURPOSES = tuple(REFUSALS)


@dataclass(frozen=True)
class Trouble:
    """``before`` the order reaches the venue, or ``after`` it did; refused, lost, or late by ``delay`` seconds."""

    purpose: Purpose
    when: Literal["before", "after"]
    kind: Literal["refused", "not_executed", "unknown", "late"]
    choice: int
    delay: float

    def fault(self, world: World) -> Fault:
        if self.kind == "late":
            return hangs(world.clock, self.delay)
        if self.kind == "unknown" or self.when == "after":
            return refuses(NO_ANSWER)  # what the venue has taken cannot have been refused
        refusals = REFUSALS[self.purpose]
        return refuses(OVERLOADED if self.kind == "not_executed" else refusals[self.choice % len(refusals)])


@dataclass(frozen=True)
class Deed:
    """Something from outside, so many seconds after what came before."""

    after_s: float
    what: str
    seconds: float


@dataclass(frozen=True)
class Storm:
    side: Side
    policy: ReduceOnlyPolicy
    block: bool
    volume: Decimal
    follow: float
    moves: tuple[tuple[float, float], ...]  # (seconds, dollars)
    troubles: tuple[Trouble, ...]
    deeds: tuple[Deed, ...]

    @property
    def hinders_exits(self) -> bool:
        """Where the exchange keeps both stops and exits from being placed, nobody can promise a second."""
        purposes = {trouble.purpose for trouble in self.troubles}
        return Purpose.EXIT in purposes or any(deed.what in ("outage", "silence", "lag") for deed in self.deeds)


LASTING = ("silence", "outage", "lag", "slow stream", "no prices", "dead")
STRIKES = ("hand", "adl", "flatten", "pause", "opposite", "cancels lost", "stops stuck", "stops rejected", "gap")
TROUBLES = st.builds(
    Trouble,
    st.sampled_from(PURPOSES),
    st.sampled_from(["before", "after"]),
    st.sampled_from(["refused", "not_executed", "unknown", "late"]),
    st.integers(0, 3),
    st.sampled_from([0.02, 0.3, 0.9, 1.5, 4.0]),
)
DEEDS = st.builds(
    Deed,
    st.sampled_from([0.0, 0.012, 0.4, 0.71, 0.73, 2.0, 30.0]) | st.floats(0, 60),
    st.sampled_from(LASTING + STRIKES),
    st.sampled_from([0.1, 1.0, 4.0, 12.0]),
)
STORMS = st.builds(
    Storm,
    st.sampled_from(list(Side)),
    st.sampled_from(list(ReduceOnlyPolicy)),
    st.booleans(),
    st.sampled_from([Decimal(5), Decimal("0.02")]),
    st.sampled_from([0.0, 1.0]),
    st.lists(st.tuples(st.sampled_from([0.3, 2.0, 15.0]), st.integers(-450, 450)), min_size=1, max_size=6).map(tuple),
    st.lists(TROUBLES, max_size=6).map(tuple),
    st.lists(DEEDS, max_size=3).map(tuple),
)


async def do(world: World, deed: Deed, side: Side) -> None:
    if deed.what in LASTING:
        await last(world, deed.what, deed.seconds)
    else:
        await strike(world, deed, side)


async def last(world: World, what: str, seconds: float) -> None:
    """Trouble that stays for a while."""
    faults = world.faults
    match what:
        case "silence":
            faults.silent = True
        case "outage":
            faults.down, faults.silent = OVERLOADED, True
        case "lag":
            faults.lag_s = 1.0
        case "slow stream":
            faults.stream_delay_s = 0.05
        case "no prices":
            world.market_server.cut()
        case "dead":
            await world.kill_trader()
    await world.clock.sleep(seconds)
    faults.down, faults.silent, faults.lag_s, faults.stream_delay_s = None, False, 0.0, 0.0
    world.market_server.restore()
    if what == "dead":
        await world.start_patiently()


async def strike(world: World, deed: Deed, side: Side) -> None:
    """Trouble in one moment."""
    held = world.position()
    closing = Side.SELL if held > 0 else Side.BUY
    match deed.what:
        case "hand" if held:
            world.venue.trade_by_hand("BTCUSDT", closing, min(abs(held), Decimal("0.02")))
        case "adl" if held:
            world.venue.auto_deleverage("BTCUSDT", min(abs(held), Decimal("0.01")))
        case "flatten" | "pause":
            await world.operator(deed.what)
        case "opposite":
            await world.alert(side=side.opposite.value, id=f"the other way at {world.clock.monotonic()}")
        case "cancels lost":
            world.faults.cancels = [NO_ANSWER, OVERLOADED]
        case "stops stuck":
            world.stick_triggers(Purpose.STOP)
        case "stops rejected":
            world.reject_triggers(Purpose.STOP)
        case "gap":
            price = world.venue.last_price("BTCUSDT") - side.sign * Decimal(100) * Decimal(str(deed.seconds))
            world.path = [(0, price)]
            world.move_to(price, world.venue.now_ms, jump=True)


def path_from(now: float, moves: Sequence[tuple[float, float]]) -> list[tuple[float, Decimal]]:
    path, price = [(now, Decimal(85_000))], Decimal(85_000)
    for seconds, dollars in moves:
        price += Decimal(dollars)
        path.append((path[-1][0] + seconds, price))
    return path


def weather(storm: Storm) -> None:
    async def story(world: World) -> None:
        for trouble in storm.troubles:
            faults = world.faults.before if trouble.when == "before" else world.faults.after
            faults.setdefault(trouble.purpose, []).append(trouble.fault(world))
        trade_id = await world.alert(side=storm.side.value, **(BLOCKS[storm.side] if storm.block else {}))
        world.path = path_from(world.clock.monotonic(), storm.moves)
        for deed in storm.deeds:
            await world.clock.sleep(deed.after_s)
            await do(world, deed, storm.side)
        await world.clock.sleep(30)
        world.faults.before.clear()
        world.faults.after.clear()
        if trade_id not in world.store.plans:
            event("no trade")
            assert not [o for o in world.placed if f"-{trade_id}-" in o.client_id]
            return
        await asyncio.wait([world.loop.create_task(world.operator("flatten"))], timeout=15)
        stored = await world.ends_properly(trade_id, timeout_s=300, ignoring={"I1"} if storm.hinders_exits else set())
        assert stored.closed is not None
        event(stored.closed.reason)
        for other in set(world.store.plans) - {trade_id}:
            await world.ends_properly(other, timeout_s=300, ignoring={"I1"})

    simulate(
        story, policy=storm.policy, volume=storm.volume, follow=storm.follow, watched=False
    )  # storms silence streams for longer than the journal may trail


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(STORMS)
def test_any_storm_is_weathered(storm: Storm) -> None:
    weather(storm)
