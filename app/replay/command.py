"""``quantcloud replay``: read the inputs, play them, write the report."""

from pathlib import Path

from rich.console import Console

from app.clock import Clock
from app.domain.rules import TradingRules
from app.domain.signal_rules import SignalRules
from app.replay.alerts import BadReplayInput, read_alerts, read_label
from app.replay.report import Report
from app.replay.session import FillMode, replay, stream_config
from app.replay.stream import history_minutes
from app.replay.summary import report_of, show
from app.simulator.tape import TapeError
from app.simulator.tape_recorded import RecordedTape, load_funding, load_tape


def run_replay(
    klines: Path,
    alerts: Path,
    report_path: Path,
    rules: TradingRules,
    fill_name: str,
    clock: Clock,
    signals: SignalRules | None = None,
) -> int:
    """Exit code: 0 when no invariant broke, else 1. Raises BadReplayInput."""
    if fill_name not in set(FillMode):
        raise BadReplayInput(f"--fill: {fill_name!r} is not known; use {' or '.join(FillMode)}")
    fill = FillMode(fill_name)
    if not report_path.parent.is_dir():
        raise BadReplayInput(f"{report_path}: --report: the folder {report_path.parent} does not exist; make it first")
    console = Console(highlight=False, soft_wrap=True)
    started = clock.monotonic()
    with console.status("replaying ..."):
        report = play(klines, alerts, rules, fill, signals)
    try:
        report_path.write_text(as_text(report), encoding="utf-8")
    except OSError as error:
        raise BadReplayInput(f"{report_path}: --report: cannot be written: {error.strerror}") from None
    show(report, console, clock.monotonic() - started)
    return 1 if report.has_breaches else 0


def as_text(report: Report) -> str:
    """The same report is the same text, byte for byte."""
    return report.model_dump_json(indent=1) + "\n"


def play(klines: Path, alerts: Path, rules: TradingRules, fill: FillMode, signals: SignalRules | None = None) -> Report:
    """Raises BadReplayInput."""
    try:
        tape = _tape(klines, rules)
        funding = load_funding(klines)
    except TapeError as error:
        raise BadReplayInput(str(error)) from None
    timed = read_alerts(alerts, tape.start_ms, tape.end_ms)
    outcome = replay(tape, funding, timed, rules, fill, signals)
    return report_of(outcome, tape, rules, fill, signals, read_label(alerts))


def _tape(klines: Path, rules: TradingRules) -> RecordedTape:
    try:
        config = stream_config(rules)
    except ValueError as error:
        raise BadReplayInput(f"setting rules.timeframe_min: {error}") from None
    tape = load_tape(klines, history_minutes(config))
    for symbol in rules.symbols:
        if symbol not in tape.symbols:
            raise BadReplayInput(f"{klines}: no candles of {symbol}, which the rules trade; expected {symbol}-1m-….csv.gz")
    return tape
