"""The private stream's messages into events: names of children, what overtakes what, and duplicates."""

from decimal import Decimal
from typing import Any

import pytest

from app.domain.orders import AccountUpdate, Fill, OrderKind, OrderState, OrderStatus
from app.domain.plan import OrderName, Purpose
from app.exchange.binance_events import EventTranslator
from app.exchange.ledger import Ledger

STOP = OrderName("abcdefghij", 0, Purpose.STOP, 0).client_id
ENTRY = OrderName("abcdefghij", 0, Purpose.TAKER, 0).client_id
CHILD_ID = 800_000_000_007
D = Decimal


class Listener:
    def __init__(self) -> None:
        self.held: list[tuple[int, str]] = []
        self.unfinished: list[str] = []
        self.ledger = Ledger()
        self.translator = EventTranslator(
            self.ledger,
            lambda order_id, symbol: self.held.append((order_id, symbol)),
            lambda algo: self.unfinished.append(algo.client_id),
        )

    def hears(self, *messages: dict[str, Any]) -> list[Any]:
        return [event for message in messages for event in self.translator.translate(message)]


@pytest.fixture
def listener() -> Listener:
    return Listener()


def order(client_id: str, order_id: int, execution: str, status: str, **fields: Any) -> dict[str, Any]:
    body = {
        "s": "BTCUSDT",
        "c": client_id,
        "S": "SELL",
        "o": "MARKET",
        "q": "0.100",
        "p": "0",
        "ap": "0",
        "x": execution,
        "X": status,
        "i": order_id,
        "l": "0",
        "z": "0",
        "T": 1_000,
        "R": True,
        "er": "0",
    }
    return {"e": "ORDER_TRADE_UPDATE", "E": 1_000, "T": 1_000, "o": body | fields}


def trade(
    client_id: str, order_id: int, trade_id: int, status: str = "FILLED", done: str = "0.100", **fields: Any
) -> dict[str, Any]:
    execution = {"l": "0.100", "L": "84590", "n": "4.2", "N": "USDT", "t": trade_id, "rp": "-41", "m": False, "z": done}
    return order(client_id, order_id, "TRADE", status, **(execution | fields))


def algo(status: str, child: int | None = None, **fields: Any) -> dict[str, Any]:
    body = {"caid": STOP, "aid": 1, "s": "BTCUSDT", "S": "SELL", "q": "0.100", "X": status, "tp": "84600", "R": True, "cp": False}
    return {"e": "ALGO_UPDATE", "E": 1_000, "T": 1_000, "o": body | {"ai": str(child or ""), "rm": ""} | fields}


def test_a_plain_orders_execution(listener: Listener) -> None:
    fill, state = listener.hears(trade(ENTRY, 5, 77))
    assert fill == Fill("BTCUSDT", ENTRY, 77, fill.side, D("0.100"), D(84590), D("4.2"), "USDT", False, D(-41), 1_000)
    assert (state.client_id, state.kind, state.status, state.executed) == (ENTRY, OrderKind.PLAIN, OrderStatus.FILLED, D("0.100"))


def test_a_trade_is_told_once(listener: Listener) -> None:
    events = listener.hears(trade(ENTRY, 5, 77), trade(ENTRY, 5, 77))
    assert [type(event) for event in events] == [Fill, OrderState, OrderState]


def test_a_childs_execution_in_good_order(listener: Listener) -> None:
    events = listener.hears(
        algo("NEW"), algo("TRIGGERING"), algo("TRIGGERED", CHILD_ID), trade("x-child", CHILD_ID, 9), algo("FINISHED", CHILD_ID)
    )
    assert [(type(e), e.client_id) for e in events if isinstance(e, Fill)] == [(Fill, STOP)]
    states = [e for e in events if isinstance(e, OrderState)]
    assert {state.client_id for state in states} == {STOP}
    assert [state.status for state in states] == [
        OrderStatus.OPEN,
        OrderStatus.TRIGGERING,
        OrderStatus.TRIGGERED,
        OrderStatus.FILLED,
    ]
    assert states[-1].executed == D("0.100")
    assert listener.unfinished == []


@pytest.mark.parametrize("seen", [("NEW",), ("NEW", "TRIGGERING")])
def test_a_childs_execution_that_comes_too_early_is_held(listener: Listener, seen: tuple[str, ...]) -> None:
    listener.hears(*(algo(status) for status in seen))
    assert listener.hears(order("x-child", CHILD_ID, "NEW", "NEW"), trade("x-child", CHILD_ID, 9)) == []
    assert listener.held == [(CHILD_ID, "BTCUSDT")]
    events = listener.hears(algo("TRIGGERED", CHILD_ID))
    assert [event.client_id for event in events] == [STOP] * 4
    assert [event.status for event in events if isinstance(event, OrderState)][-1] is OrderStatus.FILLED
    assert not listener.translator.is_held(CHILD_ID)


def test_a_child_that_bears_the_algos_name_needs_no_wait(listener: Listener) -> None:
    listener.hears(algo("NEW"))
    fill, state = listener.hears(trade(STOP, CHILD_ID, 9))
    assert (fill.client_id, state.kind) == (STOP, OrderKind.ALGO)
    assert listener.held == []


def test_a_stranger_is_let_go_under_its_own_name(listener: Listener) -> None:
    listener.hears(algo("NEW"))
    assert listener.hears(trade("web_abc", 12, 9)) == []
    fill, state = listener.translator.release(12)
    assert (fill.client_id, state.client_id, state.kind) == ("web_abc", "web_abc", OrderKind.PLAIN)
    assert [type(e) for e in listener.hears(trade("web_abc", 12, 10, z="0.2"))] == [Fill, OrderState], "known now: not held again"


@pytest.mark.parametrize("client_id", ["autoclose-1765", "adl_autoclose", "settlement_autoclose-9"])
def test_what_binance_itself_sends_is_told_at_once(listener: Listener, client_id: str) -> None:
    listener.hears(algo("NEW"))
    assert [event.client_id for event in listener.hears(trade(client_id, 12, 9))] == [client_id] * 2


def test_without_an_algo_order_of_ours_a_stranger_is_told_at_once(listener: Listener) -> None:
    assert [type(event) for event in listener.hears(trade("web_abc", 12, 9))] == [Fill, OrderState]


def test_a_part_executed_child_ends_as_the_child_ends(listener: Listener) -> None:
    events = listener.hears(
        algo("NEW"),
        algo("TRIGGERED", CHILD_ID),
        trade("x", CHILD_ID, 9, "PARTIALLY_FILLED", "0.060", l="0.060"),
        order("x", CHILD_ID, "EXPIRED", "EXPIRED", z="0.060"),
        algo("FINISHED", CHILD_ID),
    )
    assert (events[-1].status, events[-1].executed, events[-1].kind) == (OrderStatus.EXPIRED, D("0.060"), OrderKind.ALGO)


def test_finished_before_its_child_was_seen_to_end_is_to_be_asked_for(listener: Listener) -> None:
    events = listener.hears(algo("NEW"), algo("FINISHED", CHILD_ID))
    assert not any(event.status.is_final for event in events)
    assert listener.unfinished == [STOP]


def test_a_rejected_algo_order_says_why(listener: Listener) -> None:
    [_, state] = listener.hears(algo("NEW"), algo("REJECTED", rm="ReduceOnly Order is rejected."))
    assert (state.status, state.reason, state.executed) == (OrderStatus.REJECTED, "ReduceOnly Order is rejected.", 0)


def test_orders_never_go_back(listener: Listener) -> None:
    listener.hears(trade(ENTRY, 5, 77))
    assert listener.hears(order(ENTRY, 5, "NEW", "NEW")) == []
    known = listener.ledger.state(ENTRY)
    assert known is not None
    assert (known.status, known.executed) == (OrderStatus.FILLED, D("0.100"))


def test_account_updates(listener: Listener) -> None:
    def update(balances: list[dict[str, str]]) -> dict[str, Any]:
        position = {"s": "BTCUSDT", "pa": "-0.1", "ep": "85000", "up": "1.5", "ps": "BOTH", "new": "field"}
        return {"e": "ACCOUNT_UPDATE", "E": 1, "T": 2, "a": {"m": "FUNDING_FEE", "B": balances, "P": [position]}}

    [first] = listener.hears(update([{"a": "USDT", "wb": "990", "cw": "990", "bc": "-10"}]))
    assert isinstance(first, AccountUpdate)
    assert (first.reason, first.wallet_balance, first.balance_change, first.time_ms) == ("FUNDING_FEE", 990, -10, 2)
    assert first.positions[0].quantity == D("-0.1")
    [second] = listener.hears(update([{"a": "BNB", "wb": "1", "cw": "1", "bc": "-0.01"}]))
    assert (second.wallet_balance, second.balance_change) == (990, 0)


@pytest.mark.parametrize(
    "message",
    [
        {"e": "TRADE_LITE", "s": "BTCUSDT", "c": ENTRY, "t": 77},
        {"e": "MARGIN_CALL"},
        {"e": "ACCOUNT_CONFIG_UPDATE"},
        {"e": "something new", "o": {"x": 1}},
        trade(ENTRY, 5, 77, st=2),
    ],
    ids=lambda message: message["e"],
)
def test_what_does_not_concern_us_is_passed_over(listener: Listener, message: dict[str, Any]) -> None:
    assert listener.hears(message) == []


def test_a_liquidation_is_an_execution(listener: Listener) -> None:
    fill, state = listener.hears(order("autoclose-1", 3, "CALCULATED", "FILLED", l="0.1", L="80000", z="0.1", t=0))
    assert (fill.client_id, fill.quantity, state.status) == ("autoclose-1", D("0.1"), OrderStatus.FILLED)
