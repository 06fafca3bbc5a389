"""Groups, flags, hedges, execution and targets: what is told of closed trades."""

import json
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shared import shared_path
from statistics_samples import HOUR_MS, START_MS, a_leg, closed, hedged

from app.domain.instrument import Side
from app.domain.statistics.closed_trade import ClosedTrade
from app.domain.statistics.execution import execution
from app.domain.statistics.flags import side_flag
from app.domain.statistics.hedging import hedge_effect
from app.domain.statistics.performance import DAY_MS, performance
from app.domain.statistics.report import Statistics, statistics
from app.domain.statistics.targets import against_targets

UNTIL_MS = START_MS + 40 * DAY_MS


def told_of(trades: list[ClosedTrade], since_ms: int = 0) -> Statistics:
    return statistics(trades, {}, since_ms, UNTIL_MS)


# --- the flag ---------------------------------------------------------------------------------------------------------


def repeated(win: str, loss: str, pairs: int) -> list[Decimal]:
    return [Decimal(win), Decimal(loss)] * pairs


def test_the_recorded_flags_hold() -> None:
    cases = json.loads(shared_path("vectors/mathx.json").read_text())["pf_flag"]
    results = [
        repeated("1", "-1", 250)[:499],
        repeated("1.1", "-1", 250),
        repeated("1.3", "-1", 250),
        repeated("0.5", "-1", 250) + repeated("1.5", "-1", 250),
    ]
    for case, given_results in zip(cases, results, strict=True):
        found = side_flag(Side.BUY, given_results)
        assert (found.ready, found.flagged) == (case["ready"], case["flag"]), case["pattern"]
        assert found.profit_factor == (None if case["pf"] is None else pytest.approx(case["pf"])), case["pattern"]


@given(st.lists(st.decimals(-2, 2, places=1), max_size=520))
def test_a_side_is_never_flagged_early_nor_while_it_earns(rs: list[Decimal]) -> None:
    found = side_flag(Side.SELL, rs)
    assert found.trades == min(len(rs), 500)
    assert not found.flagged or (len(rs) >= 500 and found.profit_factor is not None and found.profit_factor < 1.2)


def test_five_hundred_without_a_loss_are_not_flagged() -> None:
    found = side_flag(Side.BUY, [Decimal(1)] * 500)
    assert (found.ready, found.flagged, found.profit_factor) == (True, False, None)


# --- results ----------------------------------------------------------------------------------------------------------


def test_results_are_net_of_fees_and_funding() -> None:
    """A gross win of 0.03 R costs more than it made."""
    trade = closed(1, "-0.06", gross=Decimal("0.3"), fees=Decimal("0.7"), funding=Decimal("0.2"))
    found = performance([trade], days=1)
    assert (found.wins, found.losses, found.net) == (0, 1, Decimal("-0.6"))
    assert (found.gross_r, found.fee_r, found.net_return) == pytest.approx((0.03, 0.07, -0.0006))


def test_what_did_not_fill_is_counted_apart() -> None:
    unfilled = closed(2, "0", average_entry=None, entered=Decimal(0), r_unit=Decimal(0), legs=())
    found = told_of([closed(1, "1"), unfilled])
    assert (found.together.trades, found.unfilled, found.together.win_rate) == (1, 1, 1.0)


def test_groups_add_up_to_the_whole() -> None:
    trades = [
        closed(1, "1"),
        closed(2, "-1", Side.SELL),
        closed(3, "0.5", symbol="ETHUSDT", mode="triple_alpha"),
        closed(4, "-0.25", mode="advanced"),
    ]
    found = told_of(trades)
    for groups in (found.by_side, found.by_symbol, found.by_mode):
        assert sum(group.trades for group in groups.values()) == 4
        assert sum(group.net for group in groups.values()) == found.together.net == Decimal("2.5")
    assert list(found.by_side) == ["BUY", "SELL"]
    assert list(found.by_symbol) == ["BTCUSDT", "ETHUSDT"]
    assert {mode: group.net_r for mode, group in found.by_mode.items()} == {
        "advanced": -0.25,
        "btc_alpha_hedge": 0.0,
        "triple_alpha": 0.5,
    }


def test_trades_may_come_in_any_order() -> None:
    trades = [closed(number, r) for number, r in enumerate(("1", "-1", "-1", "2", "-0.5"))]
    assert told_of(trades[::-1]) == told_of(trades)


def test_days_count_from_the_first_trade() -> None:
    trades = [closed(number) for number in range(80)]
    assert told_of(trades).together.trades_per_day == pytest.approx(80 / 40)
    later = told_of(trades[:8], since_ms=UNTIL_MS - 20 * DAY_MS)
    assert (later.days, later.together.trades_per_day) == (20, pytest.approx(0.4))
    assert statistics([], {}, UNTIL_MS, UNTIL_MS).days == 1


def test_a_return_a_month_is_told_after_a_month() -> None:
    trade = closed(1, "10")  # 10 % of equity
    assert performance([trade], days=29).return_30d is None
    assert performance([trade], days=30).return_30d == pytest.approx(0.1)
    assert performance([trade, trade], days=60).return_30d == pytest.approx(0.1)


def test_drawdown_of_equity_knows_nothing_of_deposits() -> None:
    """Ten times the equity in between, and the same 10 % lost of it."""
    before = closed(1, "-10")
    after = replace(closed(2, "-100"), equity=Decimal(10_000))
    assert performance([before, after], days=1).max_drawdown == pytest.approx(0.19)


# --- warnings and targets ---------------------------------------------------------------------------------------------


def test_few_trades_are_said_to_be_few_and_reach_no_target() -> None:
    found = told_of([closed(number, "2") for number in range(29)])
    assert found.warnings == ("too few trades to judge by (29): under 30, luck decides",)
    assert not found.together.enough
    assert all(target.reached is None for target in found.targets)


def test_an_average_that_may_be_nothing_is_said_so() -> None:
    wild = told_of([closed(number, "1.05" if number % 2 else "-1") for number in range(60)])
    (warning,) = wild.warnings
    assert warning.startswith("the average R may as well be 0: it lies between -0.2")
    steady = told_of([closed(number, "1.05" if number % 3 else "-1") for number in range(60)])
    assert steady.warnings == ()


def test_a_flagged_side_is_warned_of() -> None:
    flags = {Side.BUY: repeated("1.1", "-1", 250), Side.SELL: repeated("1.3", "-1", 250)}
    found = statistics([], flags, 0, UNTIL_MS)
    assert [flag.flagged for flag in found.flags] == [True, False]
    assert found.warnings[0] == "BUY: profit factor 1.10 over its last 500 trades, under 1.2"


def test_targets_stand_beside_what_was_measured() -> None:
    trades = [closed(number, "1" if number % 3 else "-1") for number in range(60)]
    reached = {t.target.name: (t.measured, t.reached) for t in against_targets(performance(trades, days=40))}
    assert reached["win_rate"] == (pytest.approx(2 / 3), True)
    assert reached["profit_factor"] == (2.0, True)
    assert reached["max_drawdown"] == (pytest.approx(0.01), True)
    assert reached["return_30d"][1] is True
    poor = {t.target.name: t.reached for t in against_targets(performance([closed(n, "-1") for n in range(60)], days=40))}
    assert poor == {"win_rate": False, "profit_factor": False, "return_30d": False, "max_drawdown": False}


# --- hedges -----------------------------------------------------------------------------------------------------------


def test_a_hedge_that_halves_every_result_takes_three_quarters_of_the_variance() -> None:
    results = ("1", "-1", "0.75", "-1", "1.75")
    found = hedge_effect([hedged(n, r, Decimal(r) * Decimal("-0.5")) for n, r in enumerate(results)])
    assert found.trades == 5
    assert found.reduction == pytest.approx(0.75)
    assert found.correlation == pytest.approx(-1)
    assert found.average_r_with == pytest.approx((found.average_r_without or 0) / 2)


def test_a_hedge_the_wrong_way_widens_the_spread() -> None:
    found = hedge_effect([hedged(n, r, r) for n, r in enumerate(("1", "-1", "0.5"))])
    assert found.reduction == pytest.approx(-3)
    assert found.correlation == pytest.approx(1)


def test_trades_without_a_hedge_say_nothing_of_hedging() -> None:
    idle = replace(closed(9), legs=(*closed(9).legs, a_leg("ETHUSDT", Side.SELL, turnover=0)))
    found = hedge_effect([closed(1), closed(2, "-1"), idle, hedged(3, "1", "-0.5")])
    assert (found.trades, found.reduction, found.correlation, found.variance_with) == (1, None, None, None)
    assert hedge_effect([]).trades == 0


def test_what_hedging_cost_and_made() -> None:
    trade = replace(closed(1), legs=(a_leg(gross=8, fees=1), a_leg("ETHUSDT", Side.SELL, gross=-2, fees=1)))
    found = hedge_effect([trade])
    assert (found.average_r_without, found.average_r_with) == pytest.approx((0.7, 0.4))
    assert (found.hedge_r, found.hedge_fee_r) == pytest.approx((-0.3, 0.1))


@given(st.lists(st.tuples(st.decimals(-3, 3, places=2), st.decimals(-3, 3, places=2)), min_size=2, max_size=40))
def test_variances_make_the_reduction(pairs: list[tuple[Decimal, Decimal]]) -> None:
    found = hedge_effect([hedged(number, main, hedge) for number, (main, hedge) in enumerate(pairs)])
    assert found.variance_without is not None
    assert found.variance_with is not None
    assert min(found.variance_without, found.variance_with) >= 0
    if found.reduction is not None:
        assert found.reduction <= 1
        assert (found.reduction > 0) is (found.variance_with < found.variance_without)
    assert found.correlation is None or -1 <= found.correlation <= 1


# --- execution --------------------------------------------------------------------------------------------------------


def test_slippage_is_positive_when_the_entry_was_worse() -> None:
    long = replace(closed(1), average_entry=Decimal(85_017))
    short = replace(closed(2, side=Side.SELL), average_entry=Decimal("85008.5"))
    found = execution([long, short])
    assert found.slippage_bp == pytest.approx((2 - 1) / 2)
    assert found.slippage_r == pytest.approx((17 * 0.025 - 8.5 * 0.025) / 10 / 2)


def test_maker_shares_are_weighted_by_turnover() -> None:
    shares = {"maker_share": Decimal("0.5"), "entry_maker_share": Decimal(1)}
    one = replace(closed(1), legs=(a_leg(turnover=3000, **shares), a_leg("ETHUSDT", Side.SELL, 1000, maker_share=Decimal(1))))
    other = replace(closed(2), legs=(a_leg(turnover=1000, entry_maker_share=Decimal(0)),))
    found = execution([one, other])
    assert found.maker_share == pytest.approx((0.5 * 3000 + 1000) / 4000)
    assert found.entry_maker_share == pytest.approx(0.75)
    assert execution([closed(1)]).maker_share is None


def test_naked_times_and_stages_are_told_in_percentiles() -> None:
    trades = [
        replace(closed(n), naked_ms=(float(n), 80.0), stages_ms={"order_sent": 2.0 + n, "trade_closed": 9e5}) for n in range(20)
    ]
    found = execution(trades)
    assert found.naked_ms is not None
    assert (found.naked_ms.count, found.naked_ms.p50, found.naked_ms.worst) == (40, 19.0, 80.0)
    assert list(found.stages_ms) == ["order_sent"]
    assert found.stages_ms["order_sent"].p50 == 11.0
    assert execution([]).naked_ms is None


def test_nothing_closed_is_no_error() -> None:
    found = told_of([], since_ms=UNTIL_MS - HOUR_MS)
    assert (found.together.trades, found.together.win_rate, found.by_side) == (0, None, {})
    assert found.warnings == ("too few trades to judge by (0): under 30, luck decides",)
