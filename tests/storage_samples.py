"""Records for the journal's tests."""

from dataclasses import replace
from decimal import Decimal

from app.domain.instrument import Instrument, Side
from app.domain.orders import Fill, OrderKind, OrderState, OrderStatus
from app.domain.plan import HedgePlan, Plan, Target
from app.domain.rules import TradingRules
from app.domain.verdict import Verdict
from app.storage.port import AlertRecord, Note, TradeClosed

BTC = Instrument("BTCUSDT", Decimal("0.10"), Decimal("0.001"), Decimal("0.001"), Decimal(1000), Decimal(120), Decimal(100))
ETH = Instrument("ETHUSDT", Decimal("0.01"), Decimal("0.001"), Decimal("0.001"), Decimal(10000), Decimal(2000), Decimal(20))


def an_alert(number: int = 1, code: str = "") -> AlertRecord:
    verdicts = (Verdict("freshness", True, "0.4 s old"), Verdict("fees", not code, "", code))
    return AlertRecord(
        f"trade{number}", f"key{number}", {"symbol": "BTCUSDT", "action": "BUY"}, 1_765_000_000_000, code, "", verdicts
    )


def a_plan(number: int = 1) -> Plan:
    hedge = HedgePlan(
        ETH,
        Side.SELL,
        Decimal("1.10"),
        Decimal("0.87"),
        Decimal("24.5"),
        Decimal("0.441"),
        Decimal(3000),
        Decimal("3021.50"),
        Decimal(2999),
    )
    return Plan(
        trade_id=f"trade{number}",
        alert_id=f"trade{number}",
        alert_key=f"key{number}",
        instrument=BTC,
        side=Side.BUY,
        p0=Decimal("85000.10"),
        stop=Decimal("84600.00"),
        stop_source="order_block",
        backstop=Decimal("84399.90"),
        maker_price=Decimal("84990.0"),
        worst_price=Decimal("85100.1"),
        quantity=Decimal("0.018"),
        targets=(Target(Decimal(1), Decimal("0.3")), Target(Decimal("1.5"), Decimal("0.3"))),
        hedges=(hedge,),
        equity=Decimal("1000.00000001"),
        risk_usdt=Decimal("7.5"),
        worst_case_r=Decimal("1.43"),
        fee_r=Decimal("0.13"),
        maker_fee=Decimal("0.0002"),
        taker_fee=Decimal("0.0005"),
        leverage=20,
        created_ms=1_765_000_000_000 + number,
        rules=TradingRules(),
        warnings=("fees are 0.36 R",),
    )


def a_fill(number: int = 1, side: Side = Side.BUY, symbol: str = "BTCUSDT", quantity: str = "0.006") -> Fill:
    fill = Fill(
        symbol,
        "qc-trade1-0-m-1",
        number,
        side,
        Decimal(quantity),
        Decimal("85000.10"),
        Decimal("0.102"),
        "USDT",
        True,
        Decimal(0),
        1,
    )
    return replace(fill, time_ms=1_765_000_000_100 + number)


def an_order(client_id: str = "qc-trade1-0-m-1", status: OrderStatus = OrderStatus.OPEN) -> OrderState:
    return OrderState(
        client_id,
        "BTCUSDT",
        Side.BUY,
        OrderKind.PLAIN,
        status,
        Decimal("0.018"),
        Decimal(0),
        Decimal("84990.0"),
        False,
        1_765_000_000_050,
    )


def a_note(number: int = 1, trade_id: str = "trade1") -> Note:
    return Note(trade_id, f"step{number}", 1_765_000_000_200 + number, 1_765_000_000_201 + number, {"n": number, "why": "β"})


def a_closing(trade_id: str = "trade1", reason: str = "targets") -> TradeClosed:
    money = (Decimal("11.25"), Decimal("1.91"), Decimal("-0.02"), Decimal("7.2"), Decimal("1.2944"))
    leg = {"symbol": "BTCUSDT", "side": "BUY", "entered": "0.018", "exited": "0.018", "average_entry": "85000.00"}
    leg |= {"average_exit": "85625.00", "maker_share": "0.75", "entry_maker_share": "0.5", "gross": "11.25", "fees": "1.91"}
    summary = {"quantity": "0.018", "average_entry": "85000.00", "legs": [leg], "naked_ms": [84.0], "stages_ms": {"fill": 9.5}}
    return TradeClosed(trade_id, 1_765_000_900_000, reason, *money, summary)
