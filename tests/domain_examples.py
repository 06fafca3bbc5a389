"""Ready-made facts the tests of the trading rules start from: BTC at 85,000, a healthy market, a funded account."""

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

from shared import shared_path

from app.domain.instrument import Instrument
from app.domain.market import BarIndicators, BetaReading, MarkPrice, Quote
from app.domain.orders import CommissionRates
from app.domain.views import AccountView, DeskView, MarketView, SymbolView

BAR_MS = 180_000
NOW_MS = 1_746_316_980_000 + 4_000  # four seconds into a bar of three minutes
OPEN_MS = NOW_MS - 4_000 - BAR_MS  # of the bar that closed last

D = Decimal


def mathx(part: str) -> Any:
    return json.loads(shared_path("vectors/mathx.json").read_text(), parse_float=Decimal, parse_int=Decimal)[part]


def instrument(symbol: str = "BTCUSDT", tick: str = "0.1", step: str = "0.001", min_notional: str = "50") -> Instrument:
    return Instrument(symbol, D(tick), D(step), D(step), D(1000), D(120), D(min_notional))


BTC = instrument()
ETH = replace(instrument("ETHUSDT", "0.01", "0.001", "20"), max_quantity=D(10_000), market_max_quantity=D(2_000))
SOL = replace(instrument("SOLUSDT", "0.01", "0.01", "5"), max_quantity=D(100_000), market_max_quantity=D(50_000))


def symbol_view(
    of: Instrument, bid: str, ask: str, atr: float, beta: float | None = None, correlation: float = 0.8
) -> SymbolView:
    close = float(bid)
    reading = None if beta is None else BetaReading(of.symbol, "BTCUSDT", beta, correlation, 0.5, 60, NOW_MS - 4_000)
    return SymbolView(
        instrument=of,
        quote=Quote(of.symbol, D(bid), D(5), D(ask), D(5), NOW_MS - 50),
        mark=MarkPrice(of.symbol, D(bid), D("0.0001"), NOW_MS + 7 * 3_600_000, NOW_MS - 500),
        bars=BarIndicators(of.symbol, BAR_MS, OPEN_MS, close, atr, None, None, None),
        commission=CommissionRates(D("0.0002"), D("0.0004")),
        beta=reading,
        maintenance_rate=D("0.005"),
    )


def market(**changed: SymbolView | None) -> MarketView:
    """``market(BTCUSDT=…)`` replaces one symbol; None takes it away."""
    symbols = {
        "BTCUSDT": symbol_view(BTC, "84999.9", "85000", 200.0),
        "ETHUSDT": symbol_view(ETH, "3000", "3000.01", 10.0, beta=0.85),
        "SOLUSDT": symbol_view(SOL, "140", "140.01", 0.5, beta=0.65),
    }
    merged = {**symbols, **changed}
    return MarketView(NOW_MS, 300, {symbol: view for symbol, view in merged.items() if view is not None})


ACCOUNT = AccountView(equity=D(10_000), available_balance=D(10_000), age_ms=500)
DESK = DeskView(live=False, armed=False)
