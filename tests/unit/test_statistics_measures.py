"""The measures against the vectors, against each other, and against what must hold of any results."""

import json
import math
import statistics as reference
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shared import shared_path
from statistics_samples import closed

from app.domain.statistics.measures import (
    Streaks,
    compounded,
    max_drawdown,
    max_drawdown_sum,
    mean,
    mean_95,
    percentiles,
    profit_factor,
    streaks,
    variance,
)
from app.domain.statistics.performance import performance

results = st.lists(st.decimals(-5, 5, places=2), max_size=60)
some_results = st.lists(st.decimals(-5, 5, places=2), min_size=2, max_size=60)


def vectors(name: str) -> Any:
    return json.loads(shared_path("vectors/mathx.json").read_text())[name]


def test_the_recorded_statistics_hold() -> None:
    case = vectors("stats")
    found = performance([closed(number, str(r)) for number, r in enumerate(case["rs"])], days=1)
    assert (found.trades, found.wins, found.losses) == (case["n"], case["wins"], case["losses"])
    assert found.trades - found.wins - found.losses == case["flat"]
    assert found.win_rate == case["win_rate"]
    assert found.average_r == pytest.approx(case["avg_r"])
    assert found.profit_factor == pytest.approx(case["pf"])


def test_the_recorded_drawdown_holds() -> None:
    case = vectors("max_drawdown")
    assert max_drawdown([Decimal(value) for value in case["equity"]]) == Decimal(str(case["out"]))


def test_a_drawdown_in_r_is_measured_from_the_start_too() -> None:
    assert max_drawdown_sum([Decimal(-1), Decimal(-2), Decimal(4), Decimal("-1.5")]) == 3
    assert max_drawdown_sum([Decimal(1), Decimal(2)]) == 0
    assert max_drawdown_sum([]) == 0


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        ([], Streaks(0, 0, 0)),
        ([1, 1, -1, 1], Streaks(2, 1, 1)),
        ([1, -1, -1, -1], Streaks(1, 3, -3)),
        ([-1, -1, 0, -1], Streaks(0, 2, -1)),
        ([1, 1, 0], Streaks(2, 0, 0)),
    ],
)
def test_streaks(made: list[int], expected: Streaks) -> None:
    assert streaks(Decimal(result) for result in made) == expected


def test_a_profit_factor_needs_a_loss() -> None:
    assert profit_factor([]) is None
    assert profit_factor([Decimal(0)]) is None
    assert profit_factor([Decimal(1)]) is None
    assert profit_factor([Decimal(1), Decimal(-2)]) == 0.5
    assert profit_factor([Decimal(-2)]) == 0


def test_percentiles_are_nearest_ranks() -> None:
    assert percentiles([]) is None
    found = percentiles(float(value) for value in range(200, 0, -1))
    assert found is not None
    assert (found.count, found.p50, found.p95, found.p99, found.worst) == (200, 100.0, 190.0, 198.0, 200.0)


@given(results)
def test_won_over_lost_is_what_the_averages_say(rs: list[Decimal]) -> None:
    """PF = wins × average win / (losses × average loss), and the average R is what win rate and averages make of it."""
    found = performance([closed(number, r) for number, r in enumerate(rs)], days=1)
    wins, losses = found.wins * (found.average_win_r or 0), -found.losses * (found.average_loss_r or 0)
    if found.profit_factor is not None:
        assert found.profit_factor == pytest.approx(wins / losses)
        assert (found.profit_factor > 1) is (found.net_r > 0)
    if rs:
        assert found.average_r == pytest.approx((wins - losses) / len(rs), abs=1e-12)
        assert found.expectancy is not None
        assert float(found.expectancy) == pytest.approx((found.average_r or 0) * 10)
    else:
        assert (found.win_rate, found.average_r, found.expectancy, found.profit_factor) == (None, None, None, None)


@given(some_results, st.randoms(use_true_random=False))
def test_what_does_not_depend_on_order_does_not(rs: list[Decimal], chance: Any) -> None:
    shuffled = list(rs)
    chance.shuffle(shuffled)
    first, second = (performance([closed(n, r) for n, r in enumerate(order)], days=1) for order in (rs, shuffled))
    for name in ("trades", "wins", "losses", "win_rate", "profit_factor", "average_r", "average_r_95", "expectancy", "net_r"):
        assert getattr(first, name) == getattr(second, name), name
    assert (first.net, first.fees, first.funding) == (second.net, second.fees, second.funding)


@given(results)
def test_drawdowns_are_bounded(rs: list[Decimal]) -> None:
    lost, won = sum((-r for r in rs if r < 0), Decimal(0)), sum((r for r in rs if r > 0), Decimal(0))
    fall = max_drawdown_sum(rs)
    assert 0 <= fall <= lost
    assert fall >= lost - won
    part = max_drawdown(compounded(r / 10 for r in rs))
    assert 0 <= part <= 1
    assert (part > 0) is any(r < 0 for r in rs)


@given(st.lists(st.decimals(-30, 30, places=1), max_size=30))
def test_one_unit_never_goes_under_nothing(returns: list[Decimal]) -> None:
    worth = compounded(returns)
    assert worth[0] == 1
    assert all(value >= 0 for value in worth)
    assert 0 <= max_drawdown(worth) <= 1


@given(some_results)
def test_mean_and_variance_are_the_textbook_s(rs: list[Decimal]) -> None:
    floats = [float(r) for r in rs]
    assert mean(rs) == pytest.approx(reference.fmean(floats), abs=1e-12)
    assert variance(rs) == pytest.approx(reference.variance(floats), abs=1e-12)
    between = mean_95(rs)
    assert between is not None
    half = 1.96 * reference.stdev(floats) / math.sqrt(len(rs))
    assert between == pytest.approx((reference.fmean(floats) - half, reference.fmean(floats) + half), rel=1e-3, abs=1e-4)


@given(results)
def test_streaks_fit_the_results(rs: list[Decimal]) -> None:
    found = streaks(rs)
    assert found.longest_win <= sum(1 for r in rs if r > 0)
    assert found.longest_loss <= sum(1 for r in rs if r < 0)
    assert -found.longest_loss <= found.current <= found.longest_win
    assert (found.longest_win > 0) is any(r > 0 for r in rs)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=80))
def test_percentiles_rise_and_are_values(values: list[float]) -> None:
    found = percentiles(values)
    assert found is not None
    assert min(values) <= found.p50 <= found.p95 <= found.p99 <= found.worst == max(values)
    assert {found.p50, found.p95, found.p99} <= set(values)
    assert sum(1 for value in values if value <= found.p95) >= 0.95 * len(values)
