"""The open stand-in's signals through the whole replay: a few recorded days in both modes, as alerts and as component tags.

It is an open stand-in, not LuxAlgo: nothing here says anything about what the strategy earns.
"""

import gzip
import json
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import pytest
from shared import shared_path

from app.domain.market import MINUTE_MS
from app.domain.rules import TradingMode, TradingRules
from app.indicators.luxlike_readings import LABEL
from app.replay.alerts import BadReplayInput, read_alerts, read_label
from app.replay.command import as_text, play
from app.replay.report import Report
from app.replay.session import FillMode, stream_config
from app.replay.signals import ARRIVES_MS, write_signals
from app.replay.stream import history_minutes
from app.simulator.tape_recorded import load_tape

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
DAYS = 4
FROM_MINUTE = 10 * 1_440  # of the recorded month
BTC = TradingRules()
TRIPLE = TradingRules(mode=TradingMode.TRIPLE_ALPHA)


@dataclass(frozen=True)
class Days:
    klines: Path
    folder: Path
    counts: dict[Path, int] = field(default_factory=dict)

    def written(self, form: str, rules: TradingRules, preset: str = "loose") -> tuple[Path, int]:
        path = self.folder / f"{preset}-{form}-{rules.mode}.jsonl"
        if path not in self.counts:
            self.counts[path] = write_signals(self.klines, preset, form, (), path, rules)
        return path, self.counts[path]

    def replayed(self, form: str, rules: TradingRules) -> Report:
        path, _ = self.written(form, rules)
        return play(self.klines, path, rules, FillMode.BOOK)


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> Days:
    """Four days of the recorded month, with the history they need."""
    folder = tmp_path_factory.mktemp("signals")
    recorded = shared_path("data/klines")
    klines = folder / "klines"
    klines.mkdir()
    minutes = history_minutes(stream_config(BTC)) + DAYS * 1_440
    for symbol in SYMBOLS:
        (source,) = recorded.glob(f"{symbol}-1m-*.csv.gz")
        with gzip.open(source, "rt") as rows:
            header, *body = rows.readlines()
        with gzip.open(klines / f"{symbol}-1m-part.csv.gz", "wt") as part:
            part.writelines([header, *body[FROM_MINUTE : FROM_MINUTE + minutes]])
    return Days(klines, folder)


@pytest.fixture(scope="module")
def btc(days: Days) -> Report:
    return days.replayed("composite", BTC)


@pytest.fixture(scope="module")
def triple(days: Days) -> Report:
    return days.replayed("composite", TRIPLE)


@pytest.fixture(scope="module")
def tags(days: Days) -> Report:
    return days.replayed("tags", TRIPLE)


def assert_sound(report: Report) -> None:
    assert not report.has_breaches, [(name, part.breaches) for name, part in report.invariants.items() if part.breaches]
    assert all(part.checks for part in report.invariants.values())
    assert report.inputs.label.startswith(LABEL)


def test_every_alert_says_that_it_is_a_stand_in(days: Days) -> None:
    path, count = days.written("composite", TRIPLE)
    label, *lines = path.read_text().splitlines()
    assert label.startswith(f"# {LABEL}: preset loose")
    assert len(lines) == count > 0
    bodies = [json.loads(line)["body"] for line in lines]
    assert all(body["id"].startswith(LABEL) for body in bodies)
    path, _ = days.written("tags", TRIPLE)
    assert all(json.loads(line)["body"]["kit"].startswith(LABEL) for line in path.read_text().splitlines()[1:])


def test_a_signal_comes_after_its_bar_and_carries_the_stop_of_its_block(days: Days) -> None:
    path, _ = days.written("composite", TRIPLE)
    for line in path.read_text().splitlines()[1:]:
        row = json.loads(line)
        body = row["body"]
        assert row["at"] == body["bar_time"] + 3 * MINUTE_MS + ARRIVES_MS
        assert body["ob_bottom"] <= body["ob_top"]
        is_below = body["sl"] < body["ob_bottom"]
        assert is_below if body["side"] == "BUY" else body["sl"] > body["ob_top"]


def test_strict_agrees_less_often_than_loose(days: Days) -> None:
    assert days.written("composite", TRIPLE, "strict")[1] <= days.written("composite", TRIPLE)[1]


def test_btc_alpha_with_hedges(btc: Report) -> None:
    assert_sound(btc)
    assert {trade.symbol for trade in btc.trades} == {"BTCUSDT"}
    assert any(trade.hedges for trade in btc.trades)
    assert "correlation" not in btc.guards


def test_triple_alpha(triple: Report) -> None:
    assert_sound(triple)
    assert {trade.symbol for trade in triple.trades} > {"BTCUSDT"}
    assert not any(trade.hedges for trade in triple.trades)
    assert triple.guards["correlation"].asked == triple.guards["symbol"].asked
    assert triple.guards["turnover"].asked < triple.guards["correlation"].asked


@pytest.mark.parametrize("name", ["btc", "triple", "tags"])
def test_the_guards_count_what_the_alerts_tell(name: str, request: pytest.FixtureRequest) -> None:
    report: Report = request.getfixturevalue(name)
    spoken = [guard for alert in report.alerts for guard in alert.guards]
    assert sum(guard.asked for guard in report.guards.values()) == len(spoken)
    refused = Counter(guard.code for guard in spoken if guard.code)
    assert sum((Counter(guard.refused) for guard in report.guards.values()), Counter()) == refused
    for alert in report.alerts:
        failed = [guard.code for guard in alert.guards if not guard.passed and not guard.guard.startswith("hedge")]
        assert alert.verdict != "refused" or alert.code in failed


def test_tags_make_the_signals_the_generator_makes(tags: Report, triple: Report) -> None:
    """The server's composites are those of the generator: same symbol, side and bar, but for what windows and taps tell apart."""
    assert_sound(tags)
    composites = [alert for alert in tags.alerts if alert.form == "composite"]
    kept = [alert for alert in tags.alerts if alert.form == "component"]
    assert {alert.verdict for alert in kept} == {"kept"}
    assert tags.totals.alerts == len(kept) > 20 * len(composites) > 0
    made = {alert.at_ms for alert in composites}
    wanted = {alert.at_ms for alert in triple.alerts}
    assert len(made & wanted) >= 0.7 * len(wanted)
    assert all(trade.line is not None for trade in tags.trades)


def test_it_is_repeatable(days: Days, triple: Report) -> None:
    assert as_text(days.replayed("composite", TRIPLE)) == as_text(triple)


def test_the_data_say_which_symbols_there_are(days: Days) -> None:
    out = days.folder / "none.jsonl"
    with pytest.raises(BadReplayInput, match="--symbols: no candles of DOGEUSDT"):
        write_signals(days.klines, "loose", "composite", ("DOGEUSDT",), out, BTC)
    with pytest.raises(BadReplayInput, match="--preset: 'wild' is not known; use strict or loose"):
        write_signals(days.klines, "wild", "composite", (), out, BTC)
    with pytest.raises(BadReplayInput, match="--out: cannot be written"):
        write_signals(days.klines, "loose", "composite", (), days.folder / "no" / "such.jsonl", BTC)


def test_a_label_is_the_first_line_only(tmp_path: Path, days: Days) -> None:
    tape = load_tape(days.klines, history_minutes(stream_config(BTC)))
    row = json.dumps({"at": tape.start_ms, "body": {"symbol": "BTCUSDT", "side": "BUY"}})
    path = tmp_path / "alerts.jsonl"
    path.write_text(f"\n# made by hand\n{row}\n")
    assert read_label(path) == "made by hand"
    assert [alert.line for alert in read_alerts(path, tape.start_ms, tape.end_ms)] == [3]
    path.write_text(f"{row}\n# not here\n")
    assert read_label(path) == ""
    with pytest.raises(BadReplayInput, match="line 2: not JSON"):
        read_alerts(path, tape.start_ms, tape.end_ms)


def test_r_is_what_the_trades_made(triple: Report) -> None:
    closed = [trade.account for trade in triple.trades if trade.account is not None and trade.entries]
    assert triple.totals.net_r == sum((account.net_r for account in closed), Decimal(0))
