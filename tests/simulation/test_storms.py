"""Anything at once: random prices, refusals, lost answers, silence and deaths; the trade still ends beyond reproach."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from simulation.world import BLOCKS, Fault, World, hangs, refuses, simulate

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
    what: Literal["silence", "outage", "kill", "hand", "flatten", "opposite", "adl", "slow stream", "cancels lost", "pause"]
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
        return Purpose.EXIT in purposes or any(deed.what in ("outage", "silence") for deed in self.deeds)


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
    st.sampled_from(["silence", "outage", "kill", "hand", "flatten", "opposite", "adl", "slow stream", "cancels lost", "pause"]),
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
    faults = world.faults
    match deed.what:
        case "silence":
            faults.silent = True
            await world.clock.sleep(deed.seconds)
            faults.silent = False
        case "outage":
            faults.down, faults.silent = OVERLOADED, True
            await world.clock.sleep(deed.seconds)
            faults.down, faults.silent = None, False
        case "kill":
            await world.kill_trader()
            await world.clock.sleep(deed.seconds)
            await world.start_patiently()
        case "hand":
            if world.position():
                closing = Side.SELL if world.position() > 0 else Side.BUY
                world.venue.trade_by_hand("BTCUSDT", closing, min(abs(world.position()), Decimal("0.02")))
        case "adl":
            if world.position():
                world.venue.auto_deleverage("BTCUSDT", min(abs(world.position()), Decimal("0.01")))
        case "flatten" | "pause":
            await world.operator(deed.what)
        case "opposite":
            await world.alert(side=side.opposite.value, id=f"the other way at {world.clock.monotonic()}")
        case "slow stream":
            faults.stream_delay_s = 0.05
            await world.clock.sleep(deed.seconds)
            faults.stream_delay_s = 0.0
        case "cancels lost":
            faults.cancels = [NO_ANSWER, OVERLOADED]


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

    simulate(story, policy=storm.policy, volume=storm.volume, follow=storm.follow)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(STORMS)
def test_any_storm_is_weathered(storm: Storm) -> None:
    weather(storm)
