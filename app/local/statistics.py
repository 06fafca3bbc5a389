"""``quantcloud statistics``: what the journal's closed trades say, as tables or as JSON."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from rich.console import Console
from rich.table import Table

from app.clock import Clock
from app.domain.instrument import Side
from app.domain.rules import TradingMode
from app.domain.signal import normalise_symbol
from app.domain.statistics.closed_trade import ADVANCED_MODE
from app.domain.statistics.execution import STAGES
from app.domain.statistics.measures import Percentiles
from app.domain.statistics.performance import Performance
from app.domain.statistics.report import Statistics
from app.domain.statistics.targets import TargetReached
from app.domain.verdict import Refusal
from app.settings import BadSettings
from app.storage.codec import dump
from app.storage.sqlite import JournalReader
from app.storage.statistics import Question, read_statistics

_MODES = (*(mode.value for mode in TradingMode), ADVANCED_MODE)


def show_statistics(journal: Path, question: Question, as_json: bool, clock: Clock, console: Console | None = None) -> int:
    """Raises JournalUnavailable, and BadSettings where there is none."""
    if not journal.exists():
        raise BadSettings(f"no journal {journal}: name the running system's, such as --journal DIRECTORY/journal.sqlite")
    found = asyncio.run(read_statistics(JournalReader(journal), question, clock.wall_ms()))
    console = console or Console(highlight=False, soft_wrap=True)
    if as_json:
        console.print_json(dump(found))
        return 0
    for line in _headline(found, question):
        console.print(line)
    if found.together.trades:
        for table in (_results(found), _groups(found), _execution(found), _hedges(found), _targets(found)):
            console.print()
            console.print(table)
    for flag in found.flags:
        if not flag.ready:
            console.print(f"{flag.side}: its profit factor is judged over 500 trades; it has {flag.trades}", style="dim")
    for warning in found.warnings:
        console.print(f"! {warning}", style="yellow")
    return 0


def read_question(days: float | None, side: str | None, symbol: str | None, mode: str | None) -> Question:
    """Raises BadSettings, naming the option."""
    if days is not None and not 0 < days <= 36_500:
        raise BadSettings(f"--days: {days:g} is not between 0 and 36500")
    if side is not None and side.upper() not in set(Side):
        raise BadSettings(f"--side: {side!r} is not known; use {' or '.join(Side)}")
    if mode is not None and mode not in _MODES:
        raise BadSettings(f"--mode: {mode!r} is not known; use {' or '.join(_MODES)}")
    name = None if symbol is None else normalise_symbol(symbol)
    if isinstance(name, Refusal):
        raise BadSettings(f"--symbol: {name.message}")
    return Question(days, None if side is None else Side(side.upper()), name, mode)


def _headline(found: Statistics, question: Question) -> list[str]:
    asked = [part.value if isinstance(part, Side) else part for part in (question.side, question.symbol, question.mode) if part]
    since = f"since {_day(found.since_ms)}" if found.since_ms else "since the journal began"
    unfilled = f", {found.unfilled} more bought nothing" if found.unfilled else ""
    of = f" ({', '.join(asked)})" if asked else ""
    return [f"Closed trades {since}{of}: {found.together.trades}{unfilled}. All net of fees and funding."]


def _results(found: Statistics) -> Table:
    groups = {"both sides": found.together} | dict(found.by_side)
    table = _table("Results", *groups)
    for words, values in _result_rows(list(groups.values())):
        table.add_row(words, *values)
    return table


def _groups(found: Statistics) -> Table:
    table = _table("By symbol and mode", "trades", "won", "PF", "average R", "net R", "net USDT", "drawdown")
    for name, p in (*found.by_symbol.items(), *found.by_mode.items()):
        rates = (_percent(p.win_rate), _factor(p), _number(p.average_r, "+.3f"))
        table.add_row(name, str(p.trades), *rates, f"{p.net_r:+.2f}", _money(p.net), f"{p.max_drawdown:.2%}")
    return table


def _result_rows(each: Sequence[Performance]) -> list[tuple[str, list[str]]]:
    return [
        ("trades, a day", [f"{p.trades}, {_number(p.trades_per_day, '.1f')}" for p in each]),
        ("won, lost", [f"{p.wins}, {p.losses}" for p in each]),
        ("win rate", [_percent(p.win_rate) for p in each]),
        ("profit factor", [_factor(p) for p in each]),
        ("average R", [_number(p.average_r, "+.3f") for p in each]),
        ("  95 % sure between", [_between(p.average_r_95) for p in each]),
        ("  won, lost trades", [f"{_number(p.average_win_r, '+.2f')}, {_number(p.average_loss_r, '+.2f')}" for p in each]),
        ("expectancy, USDT", [_money(p.expectancy) for p in each]),
        ("net R (gross)", [f"{p.net_r:+.2f} ({p.gross_r:+.2f})" for p in each]),
        ("fees of a trade, R", [_number(p.fee_r, ".3f") for p in each]),
        ("net, USDT", [_money(p.net) for p in each]),
        ("  gross", [_money(p.gross) for p in each]),
        ("  fees, funding paid", [f"{p.fees:.2f}, {p.funding:.2f}" for p in each]),
        ("return on equity", [_percent(p.net_return, "+.2%") for p in each]),
        ("largest drawdown", [f"{p.max_drawdown:.2%}, {p.max_drawdown_r:.2f} R" for p in each]),
        ("longest streaks won, lost", [f"{p.streaks.longest_win}, {p.streaks.longest_loss}" for p in each]),
    ]


def _execution(found: Statistics) -> Table:
    carried_out = found.execution
    table = _table("Execution, times in ms", "mean", "median", "95 %", "99 %", "worst")
    table.add_row("entry against P0 (worse is +), bp", _number(carried_out.slippage_bp, "+.2f"))
    table.add_row("  in R", _number(carried_out.slippage_r, "+.3f"))
    table.add_row("maker share of entries", _percent(carried_out.entry_maker_share))
    table.add_row("maker share of all legs", _percent(carried_out.maker_share))
    table.add_row("fill to stop acknowledged", *_ranks(carried_out.naked_ms))
    for name, measured in carried_out.stages_ms.items():
        table.add_row(f"alert to {STAGES[name]}", *_ranks(measured))
    return table


def _hedges(found: Statistics) -> Table:
    hedges = found.hedges
    table = _table(f"Hedges, over {hedges.trades} hedged trades, funding aside", "without", "with")
    average = (_number(hedges.average_r_without, "+.3f"), _number(hedges.average_r_with, "+.3f"))
    table.add_row("average R", *average)
    table.add_row("variance of R", _number(hedges.variance_without, ".3f"), _number(hedges.variance_with, ".3f"))
    table.add_row("  reduced by", "", _percent(hedges.reduction))
    table.add_row("correlation with the main leg", "", _number(hedges.correlation, "+.2f"))
    table.add_row("hedge legs, R (of it fees)", "", f"{hedges.hedge_r:+.2f} ({-hedges.hedge_fee_r:.2f})")
    return table


def _targets(found: Statistics) -> Table:
    table = _table("Hoped for by the strategy's authors; not promised", "measured")
    table.add_column("hoped for")
    for reached in found.targets:
        table.add_row(reached.target.name.replace("_", " "), _measured(reached), reached.target.words)
    return table


def _measured(reached: TargetReached) -> str:
    if reached.measured is None:
        return "-"
    shown = f"{reached.measured:.2f}" if reached.target.name == "profit_factor" else f"{reached.measured:.2%}"
    verdict = {True: "[green]✓[/]", False: "[red]✗[/]", None: "[dim](too few)[/]"}[reached.reached]
    return f"{shown} {verdict}"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None)
    table.add_column("", no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _day(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _percent(value: float | None, form: str = ".1%") -> str:
    return _number(value, form)


def _money(value: Decimal | None) -> str:
    return "-" if value is None else f"{value:+.2f}"


def _factor(results: Performance) -> str:
    if results.profit_factor is None:
        return "no loss" if results.wins else "-"
    return f"{results.profit_factor:.2f}"


def _between(interval: tuple[float, float] | None) -> str:
    return "-" if interval is None else f"{interval[0]:+.2f} {interval[1]:+.2f}"


def _ranks(measured: Percentiles | None) -> tuple[str, ...]:
    if measured is None:
        return ("-",)
    return (
        "",
        *(
            f"{value:.1f}" if value < 1000 else f"{value:.0f}"
            for value in (measured.p50, measured.p95, measured.p99, measured.worst)
        ),
    )
