"""Requests of the advanced webhook in any order, with refusals, lost answers, silence and deaths in between: every position they
make was protected or closed, each request made at most one, and nothing is left at the end."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from simulation.test_storms import NO_ANSWER, OVERLOADED, Trouble, last
from simulation.world import World, simulate

from app.domain.plan import OrderName, Purpose
from app.simulator.venue_types import ReduceOnlyPolicy


@dataclass(frozen=True)
class Deed:
    """So many seconds after what came before: a request, or trouble that lasts ``seconds``."""

    after_s: float
    what: str
    seconds: float


REQUESTS = ("buy", "sell", "close")
DEEDS = st.builds(
    Deed,
    st.sampled_from([0.0, 0.012, 0.03, 0.4, 2.0, 12.0]) | st.floats(0, 5),
    st.sampled_from([*REQUESTS, *REQUESTS, "silence", "outage", "slow stream", "dead", "cancels lost"]),
    st.sampled_from([0.1, 1.0, 4.0]),
)
TROUBLES = st.builds(
    Trouble,
    st.sampled_from([Purpose.TAKER, Purpose.STOP, Purpose.BACKSTOP, Purpose.EXIT]),
    st.sampled_from(["before", "after"]),
    st.sampled_from(["refused", "not_executed", "unknown", "late"]),
    st.integers(0, 3),
    st.sampled_from([0.02, 0.3, 0.9, 1.5]),
)


async def do(world: World, deed: Deed, number: int) -> str:
    """The request's id, if it is one."""
    if deed.what in REQUESTS:
        return await world.ask(deed.what, id=f"request {number}")
    if deed.what == "cancels lost":
        world.faults.cancels = [NO_ANSWER, OVERLOADED]
    else:
        await last(world, deed.what, deed.seconds)
    return ""


def weather(deeds: Sequence[Deed], troubles: Sequence[Trouble], policy: ReduceOnlyPolicy) -> None:
    hindered = any(t.purpose is Purpose.EXIT for t in troubles) or any(d.what in ("outage", "silence") for d in deeds)

    async def story(world: World) -> None:
        await world.clock.sleep(1.0)
        for trouble in troubles:
            faults: dict[Purpose, list[Any]] = world.faults.before if trouble.when == "before" else world.faults.after
            faults.setdefault(trouble.purpose, []).append(trouble.fault(world))
        asked = set[str]()
        for number, deed in enumerate(deeds):
            await world.clock.sleep(deed.after_s)
            asked |= {await do(world, deed, number)}
        await world.clock.sleep(30)
        world.faults.before.clear()
        world.faults.after.clear()
        assert world.covered("ETHUSDT")
        await asyncio.wait([world.loop.create_task(world.ask("close", id="the last"))], timeout=15)
        trades = set(world.store.plans)
        event(f"{len(trades)} trades")
        assert trades <= asked
        for trade_id in trades:
            await world.ends_properly(trade_id, timeout_s=300, ignoring={"I1"} if hindered else set())
            names = [OrderName.parse(order.client_id) for order in world.placed]
            entries = [name for name in names if name is not None and name.trade_id == trade_id and name.purpose.is_entry]
            assert len(entries) <= 3
        assert world.position("ETHUSDT") == 0
        assert not world.open_ids()

    simulate(story, policy=policy, watched=False)  # streams are silent for longer than the journal may trail


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(DEEDS, min_size=1, max_size=7), st.lists(TROUBLES, max_size=5), st.sampled_from(list(ReduceOnlyPolicy)))
def test_any_storm_over_the_advanced_webhook_is_weathered(
    deeds: list[Deed], troubles: list[Trouble], policy: ReduceOnlyPolicy
) -> None:
    weather(deeds, troubles, policy)
