"""The daily report from exported trades: the statistics' own figures, in files and in words."""

import importlib
import json
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from aws_site import AwsSite, Context
from statistics_samples import closed

from app.domain.instrument import Side
from app.domain.statistics.closed_trade import ClosedTrade
from app.domain.statistics.performance import performance
from app.storage.archive import day_of, start_ms
from app.storage.codec import dump

DAY = date(2026, 11, 19)
NOON_MS = start_ms(DAY) + 12 * 3_600_000
DAY_MS = 86_400_000


def put(site: AwsSite, trades: list[ClosedTrade]) -> None:
    for day in {day_of(trade.closed_ms) for trade in trades}:
        lines = [dump(trade) for trade in trades if day_of(trade.closed_ms) == day]
        site.put_trades(day.isoformat(), "".join(f"{line}\n" for line in lines).encode())


def report(site: AwsSite, event: dict[str, Any] | None = None) -> tuple[dict[str, Any], str, dict[str, Any]]:
    """The JSON file, the page and the notice."""
    module = importlib.import_module("lambdas.daily_report.handler")
    done = module.handler(event or {"time": "2026-11-20T00:20:00Z"}, Context())
    (notice,) = site.published()
    name = f"reports/{done['day']}"
    return json.loads(site.object(f"{name}.json")), site.object(f"{name}.html").decode(), notice


@pytest.fixture
def trades() -> list[ClosedTrade]:
    """Three on the day, one the evening before, forty long ago, one of the next day already."""
    of_day = [
        closed(1, "1.5", closed_ms=NOON_MS, stages_ms={"order_sent": 40.0}, naked_ms=(21.0,)),
        closed(2, "-1", Side.SELL, closed_ms=NOON_MS + 1, stages_ms={"order_sent": 60.0}, naked_ms=(35.0,)),
        closed(3, "0.3", closed_ms=NOON_MS + 2, funding=Decimal("0.25")),
    ]
    long_ago = [closed(100 + n, "-0.5", closed_ms=NOON_MS - (n + 31) * DAY_MS) for n in range(40)]
    return [*of_day, closed(4, "2", closed_ms=NOON_MS - DAY_MS), closed(5, "9", closed_ms=NOON_MS + DAY_MS), *long_ago]


@pytest.mark.parametrize(("role", "told"), [("active", 1), ("standby", 0), ("", 1)])
def test_a_standby_sends_no_report_of_its_own_accord(
    site: AwsSite, monkeypatch: pytest.MonkeyPatch, role: str, told: int
) -> None:
    monkeypatch.setenv("ROLE", role)
    module = importlib.import_module("lambdas.daily_report.handler")
    done = module.handler({"time": "2026-11-20T00:20:00Z"}, Context())
    assert (done["report"] is not None, len(site.published())) == (bool(told), told)


def test_what_a_standby_traded_when_it_was_active_can_be_asked_for(
    site: AwsSite, monkeypatch: pytest.MonkeyPatch, trades: list[ClosedTrade]
) -> None:
    monkeypatch.setenv("ROLE", "standby")
    put(site, trades)
    said, _, _ = report(site, {"day": DAY.isoformat()})
    assert said["spans"]["day"]["together"]["trades"] == 3


def test_the_figures_are_those_of_the_statistics(site: AwsSite, trades: list[ClosedTrade]) -> None:
    put(site, trades)
    said, _, _ = report(site)
    expected = performance(trades[:3], 1.0)
    day = said["spans"]["day"]["together"]
    assert (day["trades"], day["wins"], day["net_r"]) == (3, 2, pytest.approx(0.8))
    assert day["profit_factor"] == pytest.approx(expected.profit_factor)
    assert day["net"] == str(expected.net)
    assert {side: each["trades"] for side, each in said["spans"]["day"]["by_side"].items()} == {"BUY": 2, "SELL": 1}
    assert said["spans"]["7 days"]["together"]["trades"] == 4
    assert said["spans"]["30 days"]["together"]["trades"] == 4
    flags = {flag["side"]: flag["trades"] for flag in said["spans"]["day"]["flags"]}
    assert flags == {"BUY": 43, "SELL": 1}  # these look further back


def test_people_get_a_page_and_some_lines(site: AwsSite, trades: list[ClosedTrade]) -> None:
    put(site, trades)
    rate = {"rate_8h": "0.0007", "interval_h": 8, "next_ms": 0, "skip": True, "short_hold_min": None}
    site.put_parameter("funding", json.dumps({"symbols": {"SOLUSDT": rate}}))
    _, page, notice = report(site)
    assert notice["Subject"] == "tokyo: report of 2026-11-19"
    assert notice["TopicArn"] == site.topics["info"]
    assert notice["Message"].startswith("day: 3 trades, 2 won, +0.80 R,")
    assert "alert to order: p50 40 ms, p99 60 ms" in notice["Message"]
    assert "funding per 8 h: SOLUSDT 0.0700 %" in notice["Message"]
    assert page.startswith("<!doctype html>")
    for words in ("tokyo: 2026-11-19", "<td>+0.80</td>", "entry sent", "SOLUSDT", "skipped"):
        assert words in page


def test_a_day_without_trades_is_a_report_too(site: AwsSite) -> None:
    said, _, notice = report(site)
    assert said["spans"]["day"]["together"]["trades"] == 0
    assert notice["Message"].startswith("day: no trades")


def test_another_day_may_be_asked_for(site: AwsSite, trades: list[ClosedTrade]) -> None:
    put(site, trades)
    said, _, _ = report(site, {"day": (DAY - timedelta(days=1)).isoformat()})
    assert said["day"] == "2026-11-18"
    assert said["spans"]["day"]["together"]["net_r"] == 2
