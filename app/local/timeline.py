"""A trade's notes as lines a person can follow."""

from collections.abc import Callable, Mapping
from typing import Any

from app.domain.plan import OrderName, Purpose
from app.storage.port import Note

_PURPOSES = {
    Purpose.MAKER: "post-only entry",
    Purpose.TAKER: "IOC entry",
    Purpose.STOP: "working stop",
    Purpose.BACKSTOP: "backstop",
    Purpose.TARGET_1: "target 1",
    Purpose.TARGET_2: "target 2",
    Purpose.TARGET_3: "target 3",
    Purpose.REDUCE: "hedge reduction",
    Purpose.EXIT: "market exit",
}


def line_for(note: Note) -> tuple[str, str] | None:
    """(heading, text) of a note worth a line; None for what only machines read."""
    writer = _WRITERS.get(note.kind)
    return None if writer is None else writer(note.data)


def _planned(data: Mapping[str, Any]) -> tuple[str, str]:
    hedges = ", ".join(data["hedges"]) or "none"
    text = f"{data['side']} {data['quantity']} {data['symbol']} near {data['p0']}, stop {data['stop']} ({data['stop_source']})"
    return "plan", f"{text}, risk {float(data['risk_usdt']):.2f} USDT, hedges {hedges}; journalled before any order"


def _sent(data: Mapping[str, Any]) -> tuple[str, str]:
    name = OrderName.parse(data["client_id"])
    what = _PURPOSES[name.purpose] if name else "order"
    quantity = "whole position" if data["quantity"] is None else data["quantity"]
    at = f" at {data['price']}" if data["price"] else " at market"
    return "sent", f"{what}: {data['side']} {quantity} {data['symbol']}{at}"


def _acknowledged(data: Mapping[str, Any]) -> tuple[str, str]:
    return "ack", f"{_PURPOSES[Purpose(data['purpose'])]} {data['symbol']} after {data['latency_ms']:.1f} ms"


def _fill(data: Mapping[str, Any]) -> tuple[str, str]:
    role = "maker" if data["maker"] else "taker"
    text = (
        f"{_PURPOSES[Purpose(data['purpose'])]}: {data['side']} {data['quantity']} {data['symbol']} at {data['price']} ({role})"
    )
    return "fill", text


def _covered(data: Mapping[str, Any]) -> tuple[str, str]:
    return "covered", f"{data['symbol']}: {data['quantity']} under a working stop, naked for {data['naked_ms']:.1f} ms"


def _entered(data: Mapping[str, Any]) -> tuple[str, str]:
    average, r_per_unit = float(data["average_entry"]), float(data["r_per_unit"])
    return "entered", f"{data['quantity']} at {average:.2f}, 1 R is {r_per_unit:.2f} a unit"


_Writer = Callable[[Mapping[str, Any]], tuple[str, str]]
_WRITERS: dict[str, _Writer] = {
    "planned": _planned,
    "order_sent": _sent,
    "order_acknowledged": _acknowledged,
    "order_failed": lambda d: ("refused", f"{d['client_id']}: {d['failure']} {d['message']}"),
    "fill": _fill,
    "covered": _covered,
    "entered": _entered,
    "not_entered": lambda d: ("no entry", f"{d['symbol']}: {d['code']}"),
    "entry_cut_short": lambda d: ("entry", f"{d['symbol']}: the rest is dropped, {d['code']}"),
    "protected": lambda d: ("protected", f"stop {d['stop']}, targets resting"),
    "break_even": lambda d: ("stop", f"to break-even: {d['previous']} → {d['stop']}"),
    "trailed": lambda d: ("stop", f"trailed by SuperTrend AI: {d['previous']} → {d['stop']}"),
    "hedge_stopped": lambda d: ("hedge", f"{d['symbol']} stopped out; not reopened"),
    "buying_stopped": lambda d: ("entry", f"nothing more is bought or hedged: {', '.join(d['symbols'])}"),
    "hedge_too_small": lambda d: ("hedge", f"{d['symbol']}: too small to place"),
    "hedge_exit": lambda d: ("hedge", f"{d['symbol']} closed: {d['reason']}"),
    "stop_escalated": lambda d: ("alarm", f"{d['symbol']}: no answer to the stop, a second one is sent"),
    "exit": lambda d: ("exit", str(d["reason"]).replace("_", " ")),
    "closed_externally": lambda d: ("alarm", f"{d['symbol']} was traded from outside"),
    "recovered": lambda d: ("recovered", f"{d['open_quantity']} open after a restart"),
}
