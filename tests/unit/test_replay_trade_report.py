"""A trade's report is read from its journal: what each exit and each stop was for."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from storage_samples import ETH, a_closing, a_fill, a_plan

from app.domain.instrument import Side
from app.domain.orders import Fill, OrderKind, OrderState, OrderStatus
from app.domain.plan import OrderName, Plan, Purpose
from app.replay.trade_report import trade_report
from app.storage.port import Note, StoredTrade

TRADE = "abcdefghij"


def plan() -> Plan:
    return replace(a_plan(), trade_id=TRADE, alert_id=TRADE)


def client_id(purpose: Purpose, attempt: int = 0, leg: int = 0) -> str:
    return OrderName(TRADE, leg, purpose, attempt).client_id


def note(at_ms: int, kind: str, **data: Any) -> Note:
    return Note(TRADE, kind, at_ms, at_ms, data)


def sent(at_ms: int, name: str, price: str | None, quantity: str | None = "0.018", symbol: str = "BTCUSDT") -> Note:
    return note(at_ms, "order_sent", client_id=name, symbol=symbol, type="StopOrder", side="SELL", quantity=quantity, price=price)


def fill(number: int, name: str, side: Side = Side.SELL, symbol: str = "BTCUSDT") -> Fill:
    return replace(a_fill(number, side, symbol), client_id=name)


def stored(*notes: Note, fills: tuple[Fill, ...] = (), orders: tuple[OrderState, ...] = ()) -> StoredTrade:
    return StoredTrade(plan(), notes, orders, fills, None)


STORY = (
    sent(1, client_id(Purpose.STOP), "84600.0"),
    note(2, "break_even", stop="85000.1", previous="84600.0"),
    sent(3, client_id(Purpose.STOP, 1), "85000.1", "0.012"),
    note(4, "trailed", stop="85100.0", previous="85000.1"),
    sent(5, client_id(Purpose.STOP, 2), "85100.0", "0.012"),
    sent(6, client_id(Purpose.BACKSTOP), "84399.9", None),
    sent(7, client_id(Purpose.STOP, leg=1), "3021.5", None, "ETHUSDT"),
    note(8, "hedge_exit", leg=1, symbol="ETHUSDT", reason="stop_rejected"),
    note(9, "exit", reason="time_limit"),
)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (client_id(Purpose.TARGET_1), "target_1"),
        (client_id(Purpose.TARGET_2), "target_2"),
        (client_id(Purpose.STOP, 0), "stop"),
        (client_id(Purpose.STOP, 1), "break_even"),
        (client_id(Purpose.STOP, 2), "trailing_stop"),
        (client_id(Purpose.BACKSTOP), "backstop"),
        (client_id(Purpose.EXIT), "time_limit"),
        (OrderName("zzzzzzzzzz", 0, Purpose.EXIT, 0).client_id, "external"),
        ("autoclose-1765000000000", "external"),
    ],
)
def test_an_exit_is_told_by_what_its_order_was_for(name: str, reason: str) -> None:
    (leave,) = trade_report(stored(*STORY, fills=(fill(1, name),)), {}, 1).exits
    assert leave.reason == reason


@pytest.mark.parametrize(
    ("purpose", "reason"),
    [(Purpose.STOP, "hedge_stop"), (Purpose.REDUCE, "reduced"), (Purpose.EXIT, "stop_rejected")],
)
def test_a_hedge_s_exit_has_its_own_reason(purpose: Purpose, reason: str) -> None:
    trade = stored(*STORY, fills=(fill(1, client_id(purpose, leg=1), Side.BUY, ETH.symbol),))
    (hedge,) = trade_report(trade, {}, 1).hedges
    assert [leave.reason for leave in hedge.exits] == [reason]
    assert hedge.entries == ()


def test_every_stop_says_what_brought_it_there_and_how_it_ended() -> None:
    order = OrderState(
        client_id(Purpose.STOP), "BTCUSDT", Side.SELL, OrderKind.ALGO, OrderStatus.CANCELED, *[Decimal(0)] * 3, True, 3
    )
    failed = note(10, "order_failed", client_id=client_id(Purpose.BACKSTOP), failure="no_position", message="-4509")
    stops = trade_report(stored(*STORY, failed, orders=(order,)), {}, 1).stops
    assert [(s.at_ms, s.role, s.kind, str(s.trigger), s.quantity and str(s.quantity), s.trigger_on, s.status) for s in stops] == [
        (1, "working", "initial", "84600.0", "0.018", "contract", "CANCELED"),
        (3, "working", "break_even", "85000.1", "0.012", "contract", "SENT"),
        (5, "working", "trailed", "85100.0", "0.012", "contract", "SENT"),
        (6, "backstop", "backstop", "84399.9", None, "mark", "REFUSED"),
        (7, "working", "hedge", "3021.5", None, "contract", "SENT"),
    ]


def test_fills_stand_in_the_exchange_s_sequence_and_naked_time_is_summed() -> None:
    fills = (fill(3, client_id(Purpose.TAKER), Side.BUY), fill(1, client_id(Purpose.MAKER), Side.BUY))
    notes = (note(1, "covered", leg=0, naked_ms=2.5), note(2, "closed_uncovered", leg=1, naked_ms=40.125))
    told = trade_report(stored(*notes, fills=fills), {"action": "BUY"}, 4)
    assert [entry.at_ms for entry in told.entries] == [1_765_000_000_101, 1_765_000_000_103]
    assert (told.naked.longest_ms, told.naked.total_ms, told.naked.each_ms) == (40.125, 42.625, (2.5, 40.125))
    assert (told.line, told.signal, told.account) == (4, {"action": "BUY"}, None)


def test_an_account_is_told_in_usdt_and_r() -> None:
    closing = a_closing(TRADE)
    closing = replace(closing, summary={**closing.summary, "average_entry": "85000.1"})
    account = trade_report(replace(stored(), closed=closing), {}, 1).account
    assert account is not None
    assert (account.net, account.gross_r, account.net_r) == (Decimal("9.36"), Decimal("1.562500"), Decimal("1.294400"))
    assert account.average_entry == Decimal("85000.1")
