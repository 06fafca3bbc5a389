"""One trade's report, read from its journal alone: whoever kept the journal, the same account comes of it."""

from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from app.domain.instrument import Side
from app.domain.orders import Fill, OrderStatus
from app.domain.plan import TARGETS, OrderName, Purpose
from app.replay.report import (
    AccountReport,
    ExitReport,
    FillReport,
    HedgeReport,
    NakedReport,
    PlanReport,
    StopReport,
    TargetReport,
    TradeReport,
)
from app.storage.port import Note, StoredTrade, TradeClosed

_R_PLACES, _MONEY_PLACES = Decimal("0.000001"), Decimal("0.00000001")
_NAMED_EXITS = {
    Purpose.TARGET_1: "target_1",
    Purpose.TARGET_2: "target_2",
    Purpose.TARGET_3: "target_3",
    Purpose.BACKSTOP: "backstop",
    Purpose.REDUCE: "reduced",
}
_STOP_EXITS = {"initial": "stop", "break_even": "break_even", "trailed": "trailing_stop"}


def trade_report(stored: StoredTrade, signal: dict[str, Any], line: int | None) -> TradeReport:
    plan = stored.plan
    return TradeReport(
        trade_id=plan.trade_id,
        line=line,
        symbol=plan.symbol,
        side=plan.side.value,
        opened_ms=plan.created_ms,
        signal=signal,
        plan=_plan(stored),
        entries=_entries(stored, plan.symbol, plan.side),
        stops=tuple(sorted(_stops(stored), key=lambda stop: stop.at_ms)),
        exits=_exits(stored, plan.symbol, plan.side),
        hedges=_hedges(stored),
        naked=_naked(stored),
        account=None if stored.closed is None else _account(stored.closed),
    )


def _notes(stored: StoredTrade, *kinds: str) -> list[Note]:
    return [note for note in stored.notes if note.kind in kinds]


def _sent(stored: StoredTrade, leg: int, *purposes: Purpose) -> list[tuple[OrderName, Note]]:
    named = [(OrderName.parse(str(note.data["client_id"])), note) for note in _notes(stored, "order_sent")]
    return [(name, note) for name, note in named if name is not None and name.leg == leg and name.purpose in purposes]


def _plan(stored: StoredTrade) -> PlanReport:
    plan = stored.plan
    targets = []
    for purpose, target in zip(TARGETS, plan.targets, strict=False):
        placed = [note.data for _, note in _sent(stored, 0, purpose)]
        price, quantity = (Decimal(placed[-1]["price"]), Decimal(placed[-1]["quantity"])) if placed else (None, None)
        targets.append(TargetReport(r_multiple=target.r_multiple, part=target.part, price=price, quantity=quantity))
    return PlanReport(
        p0=plan.p0,
        limit=plan.maker_price,
        worst_price=plan.worst_price,
        stop=plan.stop,
        stop_source=plan.stop_source,
        backstop=plan.backstop,
        r_unit=plan.r_per_unit,
        quantity=plan.quantity,
        targets=tuple(targets),
        equity=plan.equity,
        risk_usdt=plan.risk_usdt,
        worst_case_r=rounded_r(plan.worst_case_r),
        fee_r=rounded_r(plan.fee_r),
        warnings=plan.warnings,
    )


def _fills(stored: StoredTrade, symbol: str, side: Side) -> list[Fill]:
    """In the exchange's own sequence."""
    return sorted((f for f in stored.fills if f.symbol == symbol and f.side is side), key=lambda f: f.venue_trade_id)


def _entries(stored: StoredTrade, symbol: str, side: Side) -> tuple[FillReport, ...]:
    return tuple(
        FillReport(at_ms=f.time_ms, price=f.price, quantity=f.quantity, fee=f.fee, maker=f.is_maker)
        for f in _fills(stored, symbol, side)
    )


def _exits(stored: StoredTrade, symbol: str, side: Side) -> tuple[ExitReport, ...]:
    return tuple(
        ExitReport(at_ms=f.time_ms, price=f.price, quantity=f.quantity, fee=f.fee, reason=_exit_reason(stored, f))
        for f in _fills(stored, symbol, side.opposite)
    )


def _exit_reason(stored: StoredTrade, fill: Fill) -> str:
    name = OrderName.parse(fill.client_id)
    if name is None or name.trade_id != stored.plan.trade_id:
        return "external"
    if name.purpose is Purpose.STOP:
        return _STOP_EXITS[_level(stored, fill.client_id)] if name.leg == 0 else "hedge_stop"
    return _NAMED_EXITS.get(name.purpose) or _market_reason(stored, name.leg)


def _market_reason(stored: StoredTrade, leg: int) -> str:
    own = [note for note in _notes(stored, "hedge_exit") if note.data["leg"] == leg] if leg else []
    reasons = [str(note.data["reason"]) for note in own or _notes(stored, "exit")]
    return reasons[0] if reasons else "unknown"


def _level(stored: StoredTrade, client_id: str) -> str:
    """What had brought the main leg's working stop to where that order stood: initial, break_even or trailed."""
    level = "initial"
    for note in stored.notes:
        if note.kind in ("break_even", "trailed"):
            level = note.kind
        elif note.kind == "order_sent" and note.data["client_id"] == client_id:
            break
    return level


def _stops(stored: StoredTrade) -> Iterable[StopReport]:
    states = {state.client_id: state.status for state in stored.orders}
    failed = {str(note.data["client_id"]) for note in _notes(stored, "order_failed")}
    for leg in range(len(stored.plan.hedges) + 1):
        for name, note in _sent(stored, leg, Purpose.STOP, Purpose.BACKSTOP):
            is_backstop = name.purpose is Purpose.BACKSTOP
            kind = "backstop" if is_backstop else _level(stored, name.client_id) if leg == 0 else "hedge"
            quantity, status = note.data["quantity"], states.get(name.client_id)
            yield StopReport.model_validate(
                {
                    "at_ms": note.exchange_ms,
                    "symbol": note.data["symbol"],
                    "role": "backstop" if is_backstop else "working",
                    "kind": kind,
                    "trigger": Decimal(note.data["price"]),
                    "trigger_on": "mark" if is_backstop else "contract",
                    "quantity": None if quantity is None else Decimal(quantity),
                    "status": _status(status, name.client_id in failed),
                }
            )


def _status(status: OrderStatus | None, has_failed: bool) -> str:
    if status is None:
        return "REFUSED" if has_failed else "SENT"
    return status.value


def _hedges(stored: StoredTrade) -> tuple[HedgeReport, ...]:
    return tuple(
        HedgeReport(
            symbol=hedge.instrument.symbol,
            side=hedge.side.value,
            beta=hedge.beta,
            correlation=hedge.correlation,
            ratio=hedge.ratio,
            max_quantity=hedge.max_quantity,
            stop=hedge.stop,
            entries=_entries(stored, hedge.instrument.symbol, hedge.side),
            exits=_exits(stored, hedge.instrument.symbol, hedge.side),
        )
        for hedge in stored.plan.hedges
    )


def _naked(stored: StoredTrade) -> NakedReport:
    each = tuple(float(note.data["naked_ms"]) for note in _notes(stored, "covered", "closed_uncovered"))
    return NakedReport(longest_ms=max(each, default=0.0), total_ms=round(sum(each), 3), each_ms=each)


def _account(closed: TradeClosed) -> AccountReport:
    average = closed.summary["average_entry"]
    return AccountReport(
        closed_ms=closed.exchange_ms,
        reason=closed.reason,
        average_entry=None if average is None else Decimal(average).quantize(_MONEY_PLACES, rounding=ROUND_HALF_EVEN),
        r_unit=closed.r_unit.quantize(_MONEY_PLACES, rounding=ROUND_HALF_EVEN),
        gross=closed.gross,
        fees=closed.fees,
        funding=closed.funding,
        net=closed.gross - closed.fees - closed.funding,
        gross_r=rounded_r(closed.gross / closed.r_unit) if closed.r_unit else Decimal(0),
        net_r=rounded_r(closed.net_r),
    )


def rounded_r(r: Decimal) -> Decimal:
    """R to six places: what is divided has no last digit."""
    return r.quantize(_R_PLACES, rounding=ROUND_HALF_EVEN)
