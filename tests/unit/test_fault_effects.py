"""What faults do to requests and events, for any plan: nothing is executed that should not be, nothing lost that should be."""

import asyncio
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from manual_clock import InstantClock
from simulated import BTC, BUY, SELL, make_venue, market, move, stop

from app.simulator.fault_effects import FaultGate, NoAnswer
from app.simulator.faults import Asked, Kind, parse_plan
from app.simulator.limits import HttpRefusal
from app.simulator.routes import OPERATION_NAMES
from app.simulator.venue_types import VenueError

NOT_EXECUTED = {Kind.REQUEST_DROP, Kind.UNKNOWN, Kind.UNAVAILABLE, Kind.TIMEOUT, Kind.RATE_LIMIT, Kind.REFUSE}
UNANSWERED = {Kind.ANSWER_DROP, Kind.UNKNOWN_EXECUTED, Kind.TIMEOUT_EXECUTED}
HARMLESS = {Kind.REQUEST_DELAY, Kind.ANSWER_DELAY}
kinds = st.sampled_from(sorted(NOT_EXECUTED | UNANSWERED | HARMLESS))
rules = st.lists(st.tuples(kinds, st.integers(1, 6)), max_size=4)


def gate_with(*tables: dict[str, Any]) -> FaultGate:
    return FaultGate(make_venue(balance="1000000"), InstantClock(), parse_plan({"fault": list(tables)}, OPERATION_NAMES))


@given(rules)
@settings(max_examples=120, deadline=None)
def test_the_nth_order_is_executed_and_answered_as_its_faults_say(chosen: list[tuple[Kind, int]]) -> None:
    extras = {Kind.REFUSE: {"code": -1}}
    gate = gate_with(*({"kind": k, "nth": n, "client_id": "^e-", "ms": 5} | extras.get(k, {}) for k, n in chosen))
    venue = gate._venue

    async def play() -> list[bool]:
        answered = []
        for number in range(1, 7):
            client_id = f"e-{number}"

            async def execute(client_id: str = client_id) -> Any:
                return market(venue, BUY, "0.01", client_id)

            try:
                await gate.request(Asked("place_order", (client_id,), BTC), {}, execute)
                answered.append(True)
            except (NoAnswer, HttpRefusal, VenueError):
                answered.append(False)
        return answered

    answered = asyncio.run(play())
    executed = {order.client_id for order in venue.all_orders(BTC)}

    for number in range(1, 7):
        struck = {kind for kind, n in chosen if n == number}
        assert (f"e-{number}" in executed) == (not struck & NOT_EXECUTED)
        assert answered[number - 1] == (not struck & (NOT_EXECUTED | UNANSWERED))
    assert venue.position(BTC).quantity == Decimal("0.01") * len(executed)


event_kinds = st.sampled_from(["event-drop", "event-duplicate", "event-reorder", "event-delay"])


@given(st.lists(st.tuples(event_kinds, st.integers(1, 8)), max_size=4))
@settings(max_examples=120, deadline=None)
def test_events_are_lost_or_doubled_only_by_their_faults(chosen: list[tuple[str, int]]) -> None:
    gate = gate_with(*({"kind": kind, "nth": n, "ms": 20} for kind, n in chosen))
    heard: list[int] = []

    async def play() -> None:
        for number in range(1, 9):
            gate.send({"e": "TRADE_LITE", "n": number}, lambda message: heard.append(message["n"]))
        while gate._tasks:
            await asyncio.gather(*gate._tasks)
            await asyncio.sleep(0)

    asyncio.run(play())

    copies = Counter(heard)
    for number in range(1, 9):
        struck = {kind for kind, n in chosen if n == number}
        expected = 0 if "event-drop" in struck else 2 if "event-duplicate" in struck else 1
        assert copies[number] == expected
    undisturbed = [n for n in heard if not {k for k, m in chosen if m == n} - {"event-duplicate"}]
    assert undisturbed == sorted(undisturbed)


def test_a_stuck_order_goes_on_when_its_time_is_over() -> None:
    gate = gate_with({"kind": "algo-stuck", "ms": 2_000})
    venue, clock = gate._venue, gate._clock
    market(venue, BUY, "0.1")
    stop(venue, SELL, "84600", None, "stop")
    move(venue, "84500")

    gate.tick()
    assert venue.algo(client_id="stop").status == "TRIGGERING"
    clock.now += 2.0  # type: ignore[attr-defined]
    gate.tick()
    assert venue.algo(client_id="stop").status == "FINISHED"
    assert venue.position(BTC).quantity == 0


@pytest.mark.parametrize("quantity", ["0.1", None])
def test_a_position_closed_meanwhile_leaves_a_stuck_order_nothing_to_do(quantity: str | None) -> None:
    gate = gate_with({"kind": "algo-stuck", "ms": 2_000})
    venue = gate._venue
    market(venue, BUY, "0.1")
    stop(venue, SELL, "84600", quantity, "stop")
    move(venue, "84500")
    market(venue, SELL, "0.1", reduce_only=True)

    gate.replace(parse_plan({}, OPERATION_NAMES))
    gate.tick()

    assert venue.algo(client_id="stop").status == "REJECTED"
    assert venue.position(BTC).quantity == 0
