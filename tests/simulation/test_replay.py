"""Replays of small made markets and of recorded days, each as its user would run it."""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from recorded_market import HISTORY, START_MS, alert, at, write_alerts, write_funding, write_market
from shared import shared_path

from app.clock import SystemClock
from app.domain.market import MINUTE_MS
from app.domain.risk.rules import BreakerRules, RiskRules
from app.domain.rules import TradingRules
from app.replay.alerts import BadReplayInput
from app.replay.command import as_text, play, run_replay
from app.replay.report import AlertReport, Report, TradeReport
from app.replay.session import FillMode

ROOT = Path(__file__).resolve().parents[2]
UP_THEN_BACK = "1:0,3:0.5,3:0.4,9:0.3,8:-0.9,40:0,4:-0.5,6:0.3,120:0"
DAY_MS = 24 * 60 * MINUTE_MS


# Blind alerts lose: these breakers let them, so that every alert becomes a trade.
_DEAF = BreakerRules(
    day_entries_r=Decimal(1_000),
    day_halt_r=Decimal(1_000),
    rolling_24h_r=Decimal(1_000),
    side_r=Decimal(1_000),
    ath_stop=Decimal("0.99"),
    ath_r=Decimal(1_000),
    high_r=Decimal(1_000),
)
UNSTOPPED = TradingRules(risk=RiskRules(breakers=_DEAF))


@dataclass(frozen=True)
class Case:
    klines: Path
    alerts: Path
    report: Report

    def line(self, number: int) -> AlertReport:
        return next(alert for alert in self.report.alerts if alert.line == number)

    def trade(self, number: int) -> TradeReport:
        return next(trade for trade in self.report.trades if trade.line == number)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """BTC rises through both targets and falls back; later a long is stopped out. Among them, alerts that make no trade."""
    folder = tmp_path_factory.mktemp("replay")
    klines = write_market(folder / "klines", 240, script=UP_THEN_BACK)
    buy = alert("BUY", sl=None, id="first")
    rows = [
        (at(1), buy),
        (at(1) + 5_000, buy),
        (at(2), "not an alert"),
        (at(3), alert("BUY", id="again")),
        (at(4), alert("SELL", symbol_wrong=1, id="close it") | {"symbol": "DOGEUSDT"}),
        (at(63), alert("BUY", id="stopped")),
        (at(120), alert("SELL", bar_time=at(120) - 10 * 180_000, tf="3")),
        (at(150), alert("SELL", id="short")),
        (at(152), alert("BUY", id="opposite")),
        (at(238), alert("BUY", id="too late to end")),
    ]
    alerts = write_alerts(folder / "alerts.jsonl", rows)
    return Case(klines, alerts, play(klines, alerts, TradingRules(), FillMode.BOOK))


def test_every_alert_has_its_verdict(case: Case) -> None:
    said = {alert.line: (alert.verdict, alert.code) for alert in case.report.alerts}
    assert said == {
        1: ("traded", ""),
        2: ("duplicate", "duplicate"),
        3: ("refused", "not_json"),
        4: ("refused", "already_in_trade"),
        5: ("refused", "symbol_not_traded"),
        6: ("traded", ""),
        7: ("refused", "stale_alert"),
        8: ("traded", ""),
        9: ("closed_opposite", "closed_opposite"),
        10: ("open", ""),
    }
    assert case.report.refusals == {
        "already_in_trade": 1,
        "closed_opposite": 1,
        "not_json": 1,
        "stale_alert": 1,
        "symbol_not_traded": 1,
    }


def test_every_guard_is_heard(case: Case) -> None:
    guards = {said.guard for said in case.line(1).guards}
    assert {"action", "symbol", "bar_time", "equity", "quote", "bars", "indicators", "funding", "stop"} <= guards
    assert all(said.passed for said in case.line(1).guards)
    refused = [said for said in case.line(7).guards if not said.passed]
    assert [said.code for said in refused] == ["stale_alert"]
    assert case.line(3).guards == ()


def test_a_winner_is_told_from_plan_to_exit(case: Case) -> None:
    trade = case.trade(1)
    assert [leave.reason for leave in trade.exits][:2] == ["target_1", "target_2"]
    assert trade.exits[-1].reason in ("break_even", "trailing_stop", "supertrend_flip")
    assert [leave.price for leave in trade.exits[:2]] == [target.price for target in trade.plan.targets]
    assert trade.account is not None
    assert trade.account.gross_r > 1
    working = [stop for stop in trade.stops if stop.symbol == "BTCUSDT" and stop.role == "working"]
    assert (working[0].kind, working[0].trigger) == ("initial", trade.plan.stop)
    assert "break_even" in {stop.kind for stop in working}
    assert [stop.trigger for stop in working] == sorted(stop.trigger for stop in working)
    assert [stop.trigger for stop in trade.stops if stop.role == "backstop"] == [trade.plan.backstop]
    assert {hedge.symbol for hedge in trade.hedges} == {"ETHUSDT", "SOLUSDT"}


def test_a_loser_is_stopped_where_its_stop_was(case: Case) -> None:
    trade = case.trade(6)
    assert {leave.reason for leave in trade.exits} == {"stop"}
    assert trade.account is not None
    assert trade.account.reason == "stop"
    assert Decimal("-1.2") < trade.account.gross_r - _hedge_gross(trade) / trade.account.r_unit < Decimal("-0.9")


def _hedge_gross(trade: TradeReport) -> Decimal:
    return sum((_cash(hedge.entries, hedge.exits, 1 if hedge.side == "BUY" else -1) for hedge in trade.hedges), Decimal(0))


def _cash(entries: Iterable[Any], exits: Iterable[Any], sign: int) -> Decimal:
    def paid(fills: Iterable[Any]) -> Decimal:
        return sum((fill.price * fill.quantity for fill in fills), Decimal(0))

    return sign * (paid(exits) - paid(entries))


def test_each_account_follows_from_the_fills_told(case: Case) -> None:
    closed = [(trade, trade.account) for trade in case.report.trades if trade.account is not None]
    assert len(closed) == 3
    for trade, account in closed:
        legs = [(trade.side, trade.entries, trade.exits), *((h.side, h.entries, h.exits) for h in trade.hedges)]
        gross = sum(_cash(entries, exits, 1 if side == "BUY" else -1) for side, entries, exits in legs)
        fees = sum(fill.fee for _, entries, exits in legs for fill in (*entries, *exits))
        bought = sum(fill.quantity for fill in trade.entries)
        assert (account.gross, account.fees, account.net) == (gross, fees, gross - fees - account.funding)
        assert sum(leave.quantity for leave in trade.exits) == bought
        average = sum(fill.price * fill.quantity for fill in trade.entries) / bought
        assert abs(account.r_unit - bought * abs(average - trade.plan.stop)) < Decimal("0.00000001")
        assert abs(account.net_r - account.net / account.r_unit) < Decimal("0.000001")


def test_totals_follow_from_the_trades(case: Case) -> None:
    totals = case.report.totals
    accounts = [trade.account for trade in case.report.trades if trade.account is not None]
    assert (totals.trades, totals.open, totals.unfilled, totals.alerts) == (3, 1, 0, 10)
    assert totals.wins + totals.losses == totals.trades
    assert totals.net == sum(account.net for account in accounts)
    assert totals.longest_naked_ms == max(trade.naked.longest_ms for trade in case.report.trades)
    open_fees = sum(f.fee for t in case.report.trades if t.account is None for leg in (t, *t.hedges) for f in leg.entries)
    assert totals.final_balance == case.report.inputs.balance + totals.net - open_fees


def test_statistics_are_of_the_same_trades(case: Case) -> None:
    totals, found = case.report.totals, case.report.statistics
    together = found.together
    assert (together.trades, together.wins, found.unfilled) == (totals.trades, totals.wins, totals.unfilled)
    assert (together.net, together.fees, together.funding) == (totals.net, totals.fees, totals.funding)
    assert together.net_r == pytest.approx(float(totals.net_r), abs=1e-5)
    assert sum(flag.trades for flag in found.flags) == totals.trades
    assert found.execution.naked_ms is not None
    assert found.execution.naked_ms.worst == totals.longest_naked_ms
    assert found.execution.entry_maker_share is not None
    assert Report.model_validate_json(case.report.model_dump_json()).statistics == found


def test_invariants_were_looked_at_and_held(case: Case) -> None:
    assert {*case.report.invariants} == {f"I{number}" for number in range(1, 8)}
    for invariant in case.report.invariants.values():
        assert invariant.checks > 0
        assert invariant.breaches == ()


def test_longer_steps_leave_nothing_out(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.replay.market.STEPS_MS", (1_000, 250))
    finer = play(case.klines, case.alerts, TradingRules(), FillMode.BOOK)
    assert finer.totals == case.report.totals
    for one, other in zip(finer.trades, case.report.trades, strict=True):
        assert (one.entries, one.plan, one.account and one.account.reason) == (
            other.entries,
            other.plan,
            other.account and other.account.reason,
        )
        assert [leave.reason for leave in one.exits] == [leave.reason for leave in other.exits]


def test_the_report_reads_back_by_its_schema(case: Case) -> None:
    text = as_text(case.report)
    assert Report.model_validate_json(text) == case.report
    assert json.loads(text)["schema_version"] == 1


def replayed(case: Case, report: Path, hash_seed: str, *more: str) -> subprocess.CompletedProcess[str]:
    arguments = ["replay", "--klines", str(case.klines), "--alerts", str(case.alerts), "--report", str(report), *more]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "app", *arguments], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_a_breaker_that_trips_is_reported_and_heard(case: Case) -> None:
    careful = TradingRules(risk=RiskRules(breakers=BreakerRules(day_entries_r=Decimal("0.5"), day_halt_r=Decimal("0.5"))))
    report = play(case.klines, case.alerts, careful, FillMode.BOOK)
    assert not report.has_breaches
    tripped = {event.breaker: event for event in report.breakers if event.change == "tripped"}
    assert {"day_entries", "day_halt"} <= tripped.keys()
    assert all("R on this UTC day" in tripped[name].cause for name in ("day_entries", "day_halt"))
    later = [line for line in report.alerts if line.at_ms > tripped["day_halt"].at_ms and line.verdict == "refused"]
    assert "day_loss_limit" in {line.code for line in later}
    assert Report.model_validate_json(as_text(report)) == report


def test_the_same_inputs_give_the_same_file_byte_for_byte(case: Case, tmp_path: Path) -> None:
    for name, hash_seed in (("one", "1"), ("two", "31337")):
        done = replayed(case, tmp_path / name, hash_seed)
        assert done.returncode == 0, done.stderr
        assert "trades a second" in done.stdout
    one = (tmp_path / "one").read_bytes()
    assert one == (tmp_path / "two").read_bytes()
    assert one == as_text(case.report).encode()


def test_a_mistake_ends_in_one_line_and_code_2(case: Case, tmp_path: Path) -> None:
    mistakes = (
        (Case(case.klines, write_alerts(tmp_path / "early.jsonl", [(START_MS - 1, {})]), case.report), tmp_path / "o", []),
        (Case(tmp_path / "none", case.alerts, case.report), tmp_path / "o", []),
        (case, tmp_path / "none" / "o", []),
        (case, tmp_path / "o", ["--fill", "best"]),
    )
    said = []
    for inputs, report, more in mistakes:
        done = replayed(inputs, report, "0", *more)
        assert (done.returncode, done.stdout) == (2, "")
        said.append(done.stderr.strip())
    assert all("\n" not in line for line in said)
    assert "early.jsonl: line 1: at: " in said[0]
    assert "no such folder" in said[1]
    assert "--report" in said[2]
    assert "--fill: 'best' is not known; use book or bar" in said[3]


def test_a_symbol_without_candles_is_told(case: Case, tmp_path: Path) -> None:
    for path in case.klines.glob("[BE]*"):
        (tmp_path / path.name).symlink_to(path)
    with pytest.raises(BadReplayInput, match="no candles of SOLUSDT"):
        play(tmp_path, case.alerts, TradingRules(), FillMode.BOOK)


def test_a_broken_invariant_is_exit_code_1(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.replay.invariants.NAKED_LIMIT_MS", 1)  # stricter than any round trip can be
    path = tmp_path / "report.json"
    assert run_replay(case.klines, case.alerts, path, TradingRules(), "book", SystemClock()) == 1
    report = Report.model_validate_json(path.read_text())
    assert {name for name, found in report.invariants.items() if found.breaches} == {"I1"}


def test_funding_beside_the_candles_is_paid(tmp_path: Path) -> None:
    klines = write_market(tmp_path / "klines", 600)
    settlement = START_MS - START_MS % (480 * MINUTE_MS) + 480 * MINUTE_MS
    write_funding(klines, "BTCUSDT", {settlement: "0.0005"})
    for symbol in ("ETHUSDT", "SOLUSDT"):
        write_funding(klines, symbol, {settlement: "0"})
    alerts = write_alerts(tmp_path / "a", [(settlement - 2 * MINUTE_MS, alert("BUY"))])
    report = play(klines, alerts, TradingRules(), FillMode.BOOK)
    (trade,) = report.trades
    assert trade.account is not None
    assert trade.account.closed_ms > settlement
    held = sum(fill.quantity for fill in trade.entries)
    before = [leave.quantity for leave in trade.exits if leave.at_ms < settlement]
    assert trade.account.funding / (held - sum(before)) == pytest.approx(Decimal("0.0005") * trade.plan.p0, rel=Decimal("0.01"))


def test_bar_fills_are_whole_without_slippage_and_pessimistic(tmp_path: Path) -> None:
    minute = 6
    base = write_market(tmp_path / "made", 60, script="60:0")
    price = _open_of(base, minute)
    # The high is nearer to the open and reaches both targets; the low reaches the stop, which lies 0.3 % below.
    prices = tuple(str((price * Decimal(by)).quantize(Decimal("0.1"))) for by in ("1", "1.0055", "0.993", "1"))
    klines = write_market(tmp_path / "klines", 60, script="60:0", instead={("BTCUSDT", minute): prices})
    stop = str((price * Decimal("0.997")).quantize(Decimal("0.1")))
    alerts = write_alerts(tmp_path / "a", [(at(minute), alert("BUY", sl=stop))])
    rules = TradingRules()
    (bar,) = play(klines, alerts, rules, FillMode.BAR).trades
    (book,) = play(klines, alerts, rules, FillMode.BOOK).trades
    assert [(fill.price, fill.maker, fill.at_ms) for fill in bar.entries] == [(bar.plan.p0, True, at(minute))]
    assert bar.plan.p0 == price
    assert [(leave.reason, leave.price) for leave in bar.exits] == [("stop", bar.plan.stop)]
    assert bar.naked.longest_ms == 0
    assert [leave.reason for leave in book.exits][:2] == ["target_1", "target_2"]


def test_an_entry_the_price_runs_away_from_and_an_alert_in_the_last_moment(tmp_path: Path) -> None:
    minute = 6
    base = write_market(tmp_path / "made", 10, script="10:0")
    price = _open_of(base, minute)
    prices = tuple(str((price * Decimal(by)).quantize(Decimal("0.1"))) for by in ("1", "1.03", "0.96", "1"))
    klines = write_market(tmp_path / "klines", 10, script="10:0", instead={("BTCUSDT", minute): prices})
    stop = str((price * Decimal("0.998")).quantize(Decimal("0.1")))
    alerts = write_alerts(tmp_path / "a", [(at(minute), alert("BUY", sl=stop)), (at(10) - 1, alert("SELL"))])
    report = play(klines, alerts, TradingRules(), FillMode.BOOK)
    assert [(said.verdict, said.code) for said in report.alerts] == [("unfilled", "price_ran"), ("open", "")]
    assert report.refusals == {"price_ran": 1}
    assert (report.totals.unfilled, report.totals.trades, report.totals.net) == (1, 0, 0)
    assert report.totals.final_balance == report.inputs.balance
    assert not report.has_breaches


def _open_of(klines: Path, minute: int) -> Decimal:
    with gzip.open(klines / "BTCUSDT-1m-made.csv.gz", "rt") as file:
        rows = [row.split(",") for row in file.read().splitlines()[1:]]
    return Decimal(rows[HISTORY + minute][1])


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("fill", "days"), [(FillMode.BOOK, 2), (FillMode.BAR, 1)])
def test_recorded_days_hold_every_invariant(fill: FillMode, days: int, tmp_path: Path) -> None:
    recorded = shared_path("data/klines")
    klines = _first_days(recorded, tmp_path / "klines", days)
    first = _first_ms(klines) + (HISTORY + 1) * MINUTE_MS
    start = first - first % 180_000 + 180_000
    every_ms = 48 * MINUTE_MS
    rows = [(start + n * every_ms, alert("SELL" if n % 3 else "BUY", n=n)) for n in range(days * DAY_MS // every_ms - 1)]
    alerts = write_alerts(tmp_path / "a", rows)
    report = play(klines, alerts, UNSTOPPED, fill)
    assert not report.has_breaches
    assert report.totals.trades + sum(report.refusals.values()) == len(rows)
    assert report.totals.trades > len(rows) / 2, report.refusals
    assert report.breakers == ()
    reasons = {trade.account.reason for trade in report.trades if trade.account is not None}
    assert {"stop", "time_limit"} <= reasons


def _first_days(recorded: Path, folder: Path, days: int) -> Path:
    """The history and so many days after it: a month takes minutes."""
    folder.mkdir()
    for path in sorted(recorded.glob("*USDT-1m-*.csv.gz")):
        with gzip.open(path, "rt") as file:
            lines = file.read().splitlines()[: HISTORY + days * 24 * 60 + 1]
        with gzip.open(folder / path.name, "wt") as file:
            file.write("\n".join(lines) + "\n")
    return folder


def _first_ms(klines: Path) -> int:
    with gzip.open(next(klines.glob("BTC*")), "rt") as file:
        return int(file.read(100).splitlines()[1].split(",")[0])
