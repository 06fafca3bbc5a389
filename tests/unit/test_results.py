"""A trade's account from its fills."""

from dataclasses import replace
from decimal import Decimal

from domain_examples import D, mathx
from hypothesis import given
from hypothesis import strategies as st

from app.domain.instrument import Side
from app.domain.orders import CommissionRates, Fill
from app.domain.results import average_price, outcome_r, r_unit, trade_result

RATES = CommissionRates(maker=D("0.0002"), taker=D("0.0005"))


def fill(side: Side, quantity: str, price: str, fee: str = "0", symbol: str = "BTCUSDT", asset: str = "USDT") -> Fill:
    return Fill(symbol, "id", 1, side, D(quantity), D(price), D(fee), asset, False, D(0), 0)


def test_outcome_vectors() -> None:
    for case in mathx("outcome_r"):
        assert outcome_r(case["fills"], case["parts"]) == case["r"], case


def test_the_ladder_of_the_seed_with_a_hedge_fees_and_funding() -> None:
    entries = [fill(Side.BUY, "0.010", "85000", "0.17"), fill(Side.BUY, "0.008", "85000", "0.27")]
    exits = [
        fill(Side.SELL, "0.005", "85400", "0.09"),
        fill(Side.SELL, "0.005", "85600", "0.09"),
        fill(Side.SELL, "0.008", "86000", "0.14"),
    ]
    hedge = [fill(Side.SELL, "0.2", "3000", "0.1", "ETHUSDT"), fill(Side.BUY, "0.2", "3010", "0.1", "ETHUSDT")]
    unit = r_unit(D("0.018"), average_price(entries), D(84_600))
    result = trade_result([*entries, *exits, *hedge], D("0.05"), unit, RATES)
    assert unit == D("7.2")
    assert result.gross == D(2) + D(3) + D(8) - D(2)
    assert result.fees == D("0.96")
    assert result.net == result.gross - D("0.96") - D("0.05")
    assert result.net_r == result.net / unit


def test_commission_in_another_asset_counts_at_the_accounts_rates() -> None:
    bought = replace(fill(Side.BUY, "1", "100", "0.001", asset="BNB"), is_maker=False)
    result = trade_result([bought, fill(Side.SELL, "1", "101", "0.1")], D(0), D(1), RATES)
    assert result.fees == D("0.05") + D("0.1")
    assert result.fees_in == {"BNB": D("0.001")}
    resting = replace(bought, is_maker=True)
    assert trade_result([resting], D(0), D(1), RATES).fees == D("0.02")


def test_nothing_filled_is_nothing() -> None:
    result = trade_result([], D(0), r_unit(D(0), average_price([]), D(84_600)), RATES)
    assert (result.net, result.net_r) == (0, 0)


@given(st.sampled_from(list(Side)), st.decimals("0.001", "10", places=3), st.decimals("1", "1e5", places=1))
def test_a_full_stop_is_minus_one_r(side: Side, quantity: Decimal, distance: Decimal) -> None:
    entry = D(200_000)
    stop = entry - side.sign * distance
    fills = [fill(side, str(quantity), str(entry)), fill(side.opposite, str(quantity), str(stop))]
    assert trade_result(fills, D(0), r_unit(quantity, entry, stop), RATES).net_r == -1
