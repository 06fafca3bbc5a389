"""The invariants, checked from what the journal says of one trade: used by demo, replay and tests alike.

What only the exchange knows (orders still open, positions) is given by the caller.
"""

import itertools
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal

from app.domain.instrument import Side
from app.domain.orders import Fill, OrderStatus
from app.domain.plan import OrderName, Purpose
from app.storage.port import Note, StoredTrade

NAKED_LIMIT_MS = 1_000.0
ESCALATION_LIMIT_MS = 2_500.0
EXIT_LIMIT_MS = 3_500.0  # the market exit that ends an escalation leaves at 2.5 s and has a second to be filled


@dataclass(frozen=True, slots=True)
class Breach:
    invariant: str
    what: str


def audit_trade(stored: StoredTrade, open_client_ids: Collection[str], positions: Mapping[str, Decimal]) -> list[Breach]:
    """Everything the finished trade broke; empty when all invariants held. ``positions`` are signed, by symbol."""
    return [
        *_naked(stored),
        *_position_sums(stored, positions),
        *_nothing_left(stored, open_client_ids),
        *_stops_only_tighten(stored),
        *_risk(stored),
        *_intents(stored),
    ]


def _notes(stored: StoredTrade, kind: str) -> list[Note]:
    return [note for note in stored.notes if note.kind == kind]


def _naked(stored: StoredTrade) -> list[Breach]:
    """I1: covered within 1 s of each fill, or the escalation ended within 2.5 s."""
    escalated = bool(_notes(stored, "stop_escalated"))
    limit = ESCALATION_LIMIT_MS if escalated else NAKED_LIMIT_MS
    times = [float(note.data["naked_ms"]) for note in _notes(stored, "covered")]
    to_the_end = [float(note.data["naked_ms"]) for note in _notes(stored, "closed_uncovered")]
    return [
        *(Breach("I1", f"{ms:.0f} ms without a working stop") for ms in times if ms > limit),
        *(Breach("I1", f"{ms:.0f} ms without a working stop before it was closed") for ms in to_the_end if ms > EXIT_LIMIT_MS),
    ]


def _position_sums(stored: StoredTrade, positions: Mapping[str, Decimal]) -> list[Breach]:
    """I3: flat by its own fills, and so is the exchange."""
    sums: dict[str, Decimal] = dict.fromkeys(stored.plan.symbols, Decimal(0))
    for fill in stored.fills:
        sums[fill.symbol] += fill.quantity * fill.side.sign
    return [
        Breach("I3", f"{symbol}: fills sum to {total}, the exchange holds {positions.get(symbol, Decimal(0))}")
        for symbol, total in sums.items()
        if total != 0 or positions.get(symbol, Decimal(0)) != 0
    ]


def _nothing_left(stored: StoredTrade, open_client_ids: Collection[str]) -> list[Breach]:
    """I4: no order of the trade is open."""
    if stored.closed is None:
        return [Breach("I4", "the trade has not closed")]
    ours = (OrderName.parse(client_id) for client_id in open_client_ids)
    left = [name.client_id for name in ours if name is not None and name.trade_id == stored.plan.trade_id]
    return [Breach("I4", f"{client_id} is still open") for client_id in left]


def _stops_only_tighten(stored: StoredTrade) -> list[Breach]:
    """I5: each working stop of the main leg is at least as tight as the one before."""
    triggers = [
        Decimal(str(note.data["price"]))
        for note in _notes(stored, "order_sent")
        if (name := OrderName.parse(str(note.data["client_id"]))) and name.leg == 0 and name.purpose is Purpose.STOP
    ]
    sign = stored.plan.side.sign
    return [
        Breach("I5", f"the working stop went from {before} to {after}")
        for before, after in itertools.pairwise(triggers)
        if (after - before) * sign < 0
    ]


def _risk(stored: StoredTrade) -> list[Breach]:
    """I6: (average entry − initial stop) × quantity is at most the allowed risk, one step of rounding aside."""
    entries = [f for f in stored.fills if f.symbol == stored.plan.symbol and f.side is stored.plan.side]
    quantity = sum((f.quantity for f in entries), Decimal(0))
    if not quantity:
        return []
    average = sum((f.quantity * f.price for f in entries), Decimal(0)) / quantity
    distance = max(Decimal(0), (average - stored.plan.stop) * stored.plan.side.sign)  # filled beyond it, in a gap: nothing more
    loss, allowed = distance * quantity, stored.plan.risk_usdt + distance * stored.plan.instrument.step
    return [Breach("I6", f"at risk {loss:.2f} USDT, allowed {allowed:.2f}")] if loss > allowed else []


def _intents(stored: StoredTrade) -> list[Breach]:
    """I7: every order the exchange knows follows from the plan, in leg and quantity."""
    breaches = []
    sent = [str(note.data["client_id"]) for note in _notes(stored, "order_sent")]
    breaches += [Breach("I7", f"{client_id} was sent twice") for client_id in sorted(set(sent)) if sent.count(client_id) > 1]
    limits = {0: stored.plan.quantity} | {i: hedge.max_quantity for i, hedge in enumerate(stored.plan.hedges, start=1)}
    for order in stored.orders:
        name = OrderName.parse(order.client_id)
        if name is None or name.trade_id != stored.plan.trade_id or name.leg not in limits:
            breaches.append(Breach("I7", f"{order.client_id} is not an order of the plan"))
        elif order.quantity > limits[name.leg] and order.status is not OrderStatus.REJECTED:
            breaches.append(Breach("I7", f"{order.client_id}: {order.quantity} is more than planned ({limits[name.leg]})"))
    for leg, (symbol, side) in _legs(stored).items():
        bought = sum(
            (f.quantity for f in stored.fills if _is_entry(f, stored) and f.symbol == symbol and f.side is side), Decimal(0)
        )
        if bought > limits[leg]:
            breaches.append(Breach("I7", f"{symbol}: {bought} was entered, {limits[leg]} planned"))
    return breaches


def _legs(stored: StoredTrade) -> dict[int, tuple[str, Side]]:
    plan = stored.plan
    return {0: (plan.symbol, plan.side)} | {i: (h.instrument.symbol, h.side) for i, h in enumerate(plan.hedges, start=1)}


def _is_entry(fill: Fill, stored: StoredTrade) -> bool:
    name = OrderName.parse(fill.client_id)
    return name is not None and name.trade_id == stored.plan.trade_id and name.purpose.is_entry
